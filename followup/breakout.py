"""Watching for the first light of a Galactic supernova: which stars, where from, how often.

The stars of the catalogue are rows of a plan like any other, so that they go to every sink.
They are ranked by what the map, their distance and their kind say
(:mod:`skymaps.progenitors`), and no direction is left out for having none: the catalogue is far
from complete. Light may come within a
minute (Wolf-Rayet stars) or two days (red supergiants): the first image is due at once, and
is the reference from before the breakout too.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import erfa
import numpy as np

from followup.observability import Observability, observability
from followup.sites import Instrument
from mmcoord.records import PlanRow
from mmcoord.timescales import mjd_utc
from skymaps.progenitors import Progenitor, RankedProgenitor

__all__ = ["Watch", "watch_plan"]


_STEP = timedelta(minutes=10)
_NOT_UP = 0.02
"""Counted for a star that nobody can observe in the time that is left: as in other plans, it
keeps its row."""
_IN_THE_PLANE_DEG = 5.0
_NEAR_INFRARED = ("j", "h", "k", "ks", "y", "z")
_KINDS = {"rsg": "red supergiant", "bsg": "blue or yellow supergiant", "wr": "Wolf-Rayet star"}
_SATURATION_S = 1.0
"""A star that is to explode is bright: the shortest exposure that the instrument allows."""


@dataclass(frozen=True, slots=True)
class Watch:
    """How long and how often, as the waiting time asks."""

    first_neutrino: datetime
    until: datetime
    cadence: str
    """For people: ``every 10 min until 1 h, ...``."""


def watch_plan(
    stars: Sequence[RankedProgenitor],
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
    ordered = sorted(stars, key=lambda one: (-one.weight, one.star.name))[: 3 * max_rows]
    begin = now.astimezone(UTC).replace(second=0, microsecond=0)
    count = max(1, int((watch.until - begin) / _STEP) + 1)
    utc = mjd_utc(begin) + np.arange(count) * (_STEP / timedelta(days=1))
    if not ordered:
        return ()
    seen = observability(
        [one.star.ra_deg for one in ordered],
        [one.star.dec_deg for one in ordered],
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


def _row(
    number: int,
    ranked: RankedProgenitor,
    seen: Observability,
    begin: datetime,
    watch: Watch,
    instruments: Sequence[Instrument],
) -> PlanRow:
    star = ranked.star
    factors: dict[str, float | None] = {"odds": ranked.weight}
    reasons = {
        "odds": (
            f"{_KINDS[star.kind]} at credible level {ranked.credible_level:.2f} of the map"
            + (f", {star.distance_kpc:.2g} kpc away" if star.distance_kpc else "")
            + "; its share among the stars listed, not the probability that it is this one"
        )
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
        credible_level_2d=ranked.credible_level,
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
    number: int, star: Progenitor, seen: Observability, instruments: Sequence[Instrument]
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


def _suits(instrument: Instrument, star: Progenitor) -> bool:
    """Whether it sees through the dust of the plane; anything suits elsewhere."""
    if not _in_the_plane(star):
        return True
    return any(_is_near_infrared(band.canonical) for band in instrument.bands)


def _band(instrument: Instrument, star: Progenitor) -> str:
    """In the plane the reddest band, else the instrument's preferred one."""
    if _in_the_plane(star):
        for wanted in ("ks", "k", "h", "j", "y", "z", "i"):
            for band in instrument.bands:
                if band.canonical.rpartition(":")[2] == wanted:
                    return band.name
    return instrument.bands[0].name


def _is_near_infrared(canonical: str) -> bool:
    return canonical.rpartition(":")[2] in _NEAR_INFRARED


def _in_the_plane(star: Progenitor) -> bool:
    latitude = erfa.icrs2g(math.radians(star.ra_deg), math.radians(star.dec_deg))[1]
    return abs(math.degrees(float(latitude))) <= _IN_THE_PLANE_DEG
