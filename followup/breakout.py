"""Watching for the first light of a Galactic supernova: which stars, where from, how often.

The stars of the catalogue inside the region are rows of a plan like any other, so that they
go to every sink. They are ranked by what the map and their kind say, never left out for being
faint or unlikely: the catalogue of progenitors is far from complete. Light may come within a
minute (Wolf-Rayet stars) or two days (red supergiants): the first image is due at once, and
is the reference from before the breakout too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from followup.observability import Observability, observability
from followup.sites import Instrument
from mmcoord.records import PlanRow
from mmcoord.timescales import mjd_utc

__all__ = ["Watch", "WatchStar", "watch_plan"]


_STEP = timedelta(minutes=10)
_LEAST_WEIGHT = 1e-3
_NOT_UP = 0.02
"""Counted for a star that nobody can observe in the time that is left: as in other plans, it
keeps its row."""
_IN_THE_PLANE_DEG = 5.0
_NEAR_INFRARED = ("j", "h", "k", "ks", "y", "z")
_SATURATION_S = 1.0
"""A star that is to explode is bright: the shortest exposure that the instrument allows."""


@dataclass(frozen=True, slots=True)
class WatchStar:
    """A star that may be the progenitor."""

    name: str
    ra_deg: float
    dec_deg: float
    kind: str
    """``red supergiant``, ``Wolf-Rayet`` ..."""
    weight: float
    """Relative prior of its kind; ranks, and gates nothing."""
    credible_level: float
    """Of the map, 2D: 0 at its peak, 1 at the far edge."""
    galactic_latitude_deg: float
    distance_kpc: float | None = None
    magnitude: float | None = None
    """Apparent magnitude before the explosion, where known."""


@dataclass(frozen=True, slots=True)
class Watch:
    """How long and how often, as the waiting time asks."""

    first_neutrino: datetime
    until: datetime
    cadence: str
    """For people: ``every 10 min until 1 h, ...``."""


def watch_plan(
    stars: Sequence[WatchStar],
    watch: Watch,
    now: datetime,
    instruments: Sequence[Instrument],
    *,
    max_rows: int,
) -> tuple[PlanRow, ...]:
    """Rank the stars and give each the place from which it can be watched soonest.

    Times are a grid of 10 min from ``now`` until the end of the watch. The same inputs in
    any order give the same rows.

    Raises
    ------
    ValueError
        A time without a zone.
    """
    if now.tzinfo is None or watch.until.tzinfo is None:
        raise ValueError("a time without a zone")
    ordered = sorted(stars, key=lambda star: (-_prior(star), star.name))[: 3 * max_rows]
    begin = now.astimezone(UTC).replace(second=0, microsecond=0)
    count = max(1, int((watch.until - begin) / _STEP) + 1)
    utc = mjd_utc(begin) + np.arange(count) * (_STEP / timedelta(days=1))
    if not ordered:
        return ()
    seen = observability(
        [star.ra_deg for star in ordered],
        [star.dec_deg for star in ordered],
        instruments,
        utc,
    )
    rows = [
        _row(number, star, seen, begin, watch, instruments) for number, star in enumerate(ordered)
    ]
    rows.sort(key=lambda row: (-row.score, row.object_id))
    return tuple(
        dataclasses.replace(row, rank=place) for place, row in enumerate(rows[:max_rows], start=1)
    )


def _prior(star: WatchStar) -> float:
    return (1.0 - star.credible_level) * max(star.weight, _LEAST_WEIGHT)


def _row(
    number: int,
    star: WatchStar,
    seen: Observability,
    begin: datetime,
    watch: Watch,
    instruments: Sequence[Instrument],
) -> PlanRow:
    factors: dict[str, float | None] = {
        "membership": 1.0 - star.credible_level,
        "kind": max(star.weight, _LEAST_WEIGHT),
    }
    reasons = {
        "membership": f"at credible level {star.credible_level:.2f} of the map",
        "kind": f"{star.kind}: ranks it, leaves nothing out",
    }
    choice = _soonest(number, star, seen, instruments)
    instrument: Instrument | None = None
    start: datetime | None = None
    band: str | None = None
    if choice is None:
        factors["observability"] = _NOT_UP
        reasons["observability"] = (
            "no instrument has it up in the dark before the watch ends; other sites, "
            f"daylight and radio telescopes may. Counted as {_NOT_UP:g}"
        )
    else:
        place, index = choice
        instrument = instruments[place]
        start = begin + index * _STEP
        wait_h = (start - begin) / timedelta(hours=1)
        factors["observability"] = 1.0 / (1.0 + wait_h / 6.0)
        when = "now" if index == 0 else f"in {wait_h:.1f} h"
        reasons["observability"] = (
            f"up {when} at {instrument.id}, airmass {float(seen.airmass[place, number, index]):.2f}"
        )
        band = _band(instrument, star)
    reasons["cadence"] = watch.cadence
    score = float(np.prod([value for value in factors.values() if value is not None]))
    return PlanRow(
        rank=0,
        object_id=star.name,
        ra_deg=star.ra_deg,
        dec_deg=star.dec_deg,
        score=float(f"{score:.12g}"),
        factors=factors,
        reasons=reasons,
        credible_level_2d=star.credible_level,
        credible_level_3d=None,
        p_kilonova=None,
        run_key=None,
        instrument=instrument.id if instrument else None,
        band=band,
        start=start,
        exposure_s=max(instrument.min_exposure_s, _SATURATION_S) if instrument else None,
        predicted_mag=None,
        distance_mpc=star.distance_kpc / 1000.0 if star.distance_kpc else None,
        distance_err_mpc=None,
    )


def _soonest(
    number: int, star: WatchStar, seen: Observability, instruments: Sequence[Instrument]
) -> tuple[int, int] | None:
    """(instrument, time): earliest, then near-infrared in the plane, then least airmass."""
    options = []
    for place, instrument in enumerate(instruments):
        allowed = seen.allowed[place, number]
        if not allowed.any():
            continue
        index = int(np.argmax(allowed))
        airmass = float(seen.airmass[place, number, index])
        options.append((index, not _suits(instrument, star), airmass, instrument.id, place))
    if not options:
        return None
    best = min(options)
    return best[4], best[0]


def _suits(instrument: Instrument, star: WatchStar) -> bool:
    """Whether it sees through the dust of the plane; anything suits elsewhere."""
    if abs(star.galactic_latitude_deg) > _IN_THE_PLANE_DEG:
        return True
    return any(_is_near_infrared(band.canonical) for band in instrument.bands)


def _band(instrument: Instrument, star: WatchStar) -> str:
    """In the plane the reddest band, else the instrument's preferred one."""
    if abs(star.galactic_latitude_deg) <= _IN_THE_PLANE_DEG:
        for wanted in ("ks", "k", "h", "j", "y", "z", "i"):
            for band in instrument.bands:
                if band.canonical.rpartition(":")[2] == wanted:
                    return band.name
    return instrument.bands[0].name


def _is_near_infrared(canonical: str) -> bool:
    return canonical.rpartition(":")[2] in _NEAR_INFRARED
