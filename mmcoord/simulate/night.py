"""A practice night: a superevent and the candidates of the nights around it, as messages.

The payloads are exactly what the listeners read: LVK JSON notices, and rows of tables of
candidates and photometry. Everything is marked as practice: the superevent's identifier
begins with ``MS`` and its search is ``MDC``; every candidate carries ``is_practice``. The
same seed and event time give the same bytes. The truth is kept apart from the messages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import healpy
import numpy as np
import numpy.typing as npt

import skymaps
from mmcoord.errors import MmcoordError
from mmcoord.simulate.alerts import HOST_Z_ERR, Observed, TimedMessage, alerts
from mmcoord.simulate.companions import gamma_ray_burst, superevent
from mmcoord.simulate.event import choose_arc
from mmcoord.simulate.objects import (
    KILONOVA_MODEL,
    MIX,
    Kind,
    Light,
    draw_afterglow,
    draw_kilonova,
    population,
    redshift_of,
)
from mmcoord.simulate.packets import Format, packet_alerts
from mmcoord.simulate.sources import SOURCES, Scenario
from mmcoord.simulate.survey import GROUPS, Measurements, Visits, measure, schedule

__all__ = ["Night", "TimedMessage", "Truth", "make_night", "others", "pack", "supernova_at"]

Array = npt.NDArray[np.float64]

_EVENT_AGE = timedelta(days=2.75)
"""Default age of the event: the three nights after it are over."""
_HOST_SHARE = 0.3
"""Share of the supernovae whose host has a redshift; the kilonova's always has."""
_NEAR_SHARE = 0.5
"""Share of the candidates within ``_NEAR_DEG`` of the map's middle; the rest within 60 deg."""
_NEAR_DEG, _FAR_DEG = 15.0, 60.0
_GROUP_NSIDE = 8
_ENOUGH_DETECTIONS = 3
_TRIES = 100


@dataclass(frozen=True, slots=True)
class Truth:
    """What only the examiner knows."""

    event_id: str
    event_time: datetime
    kilonova_id: str | None
    """None: this superevent has none."""
    ra_deg: float
    dec_deg: float
    distance_mpc: float
    model: str
    parameters: Mapping[str, float]
    """Of ``model``, by name; empty without a kilonova."""
    kinds: Mapping[str, Kind]
    """Object id -> what it is, for every candidate of the night."""


@dataclass(frozen=True, slots=True)
class Night:
    """Messages in the order in which they were sent, and the truth."""

    messages: tuple[TimedMessage, ...]
    truth: Truth
    skymap: skymaps.SkyMap
    """The last map, from which the truth was drawn."""

    def __iter__(self) -> Iterator[TimedMessage]:
        return iter(self.messages)


def make_night(
    seed: int,
    *,
    event_time: datetime | None = None,
    n_candidates: int = 2000,
    scenario: Scenario = Scenario(),  # noqa: B008  frozen
    fmt: Format = "table",
) -> Night:
    """Make a practice night.

    Parameters
    ----------
    seed
        Same seed, ``event_time`` and ``scenario``, same bytes.
    event_time
        Aware; by default so that the last message is sent shortly before the present.
    n_candidates
        Objects in all, with the kilonova and the afterglow (at least 2). A candidate makes
        about ten messages as rows of tables, one for each detection as packets.
    scenario
        What the superevent is and what becomes of it. The kilonova of a NSBH is drawn as that
        of a BNS: what is practised is the way, not the model.
    fmt
        How candidates are sent.

    Raises
    ------
    ValueError
        A naive time, a negative seed or too few candidates.
    ConfigError
        A format whose schemas are not installed.
    """
    if event_time is None:
        event_time = datetime.now(UTC).replace(microsecond=0) - _EVENT_AGE
    if event_time.tzinfo is None:
        raise ValueError(f"event_time {event_time!r} has no time zone")
    if seed < 0:
        raise ValueError(f"seed {seed!r} is negative")
    if n_candidates < 2:
        raise ValueError(f"n_candidates {n_candidates!r} is below 2")
    event_time = event_time.astimezone(UTC)
    source = SOURCES[scenario.origin]
    for_event, for_truth, for_survey, for_others, for_names = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5)
    )
    event_id = f"MS{event_time:%y%m%d}{_letters(seed)}"
    arc = choose_arc(for_event, event_time, source.distance_mpc)
    messages, sent, drawn_from = superevent(arc, event_id, event_time, scenario)
    groups = schedule(for_survey)
    ra, dec, distance = skymaps.draw_position(drawn_from, for_truth)
    parameters: dict[str, float] = {}
    objects: list[Observed] = []
    if source.has_kilonova:
        kilonova, parameters = _kilonova(for_truth, groups, ra, dec, distance)
        objects.append(kilonova)
    objects += others(for_others, groups, arc.centre, n_candidates - len(objects))
    if scenario.with_grb:
        messages += gamma_ray_burst(for_truth, seed, event_time, ra, dec)
    numbers = for_names.permutation(len(objects))
    packed, names = pack(for_names, objects, numbers, event_id, event_time, fmt)
    messages += packed
    messages.sort(key=lambda message: message.sent_at)  # stable: a candidate before its points
    kinds = {name: thing.kind for name, thing in zip(names, objects, strict=True)}
    truth = Truth(
        event_id=event_id,
        event_time=event_time,
        kilonova_id=names[0] if source.has_kilonova else None,
        ra_deg=ra,
        dec_deg=dec,
        distance_mpc=distance,
        model=KILONOVA_MODEL,
        parameters=parameters,
        kinds=dict(sorted(kinds.items())),
    )
    return Night(tuple(messages), truth, sent)


def pack(
    rng: np.random.Generator,
    objects: Sequence[Observed],
    numbers: npt.NDArray[np.int64],
    event_id: str,
    event_time: datetime,
    fmt: Format,
) -> tuple[list[TimedMessage], list[str]]:
    """The candidates' messages, and the objects' identifiers in the order of ``objects``."""
    messages: list[TimedMessage] = []
    names: list[str] = []
    for thing, number in zip(objects, numbers, strict=True):
        if fmt == "table":
            names.append(f"{event_id}-{number:05d}")
            messages += alerts(rng, thing, names[-1], event_time)
        else:
            digest = hashlib.sha256(event_id.encode()).digest()
            identifier = (int.from_bytes(digest[:5], "big") << 20) + int(number)
            names.append(str(identifier))
            messages += packet_alerts(rng, thing, identifier, event_time, fmt)
    return messages, names


def _kilonova(
    rng: np.random.Generator, groups: tuple[Visits, ...], ra: float, dec: float, distance: float
) -> tuple[Observed, dict[str, float]]:
    """A kilonova at that place, drawn anew until the survey sees it often enough.

    Only the light curve is drawn again, never the place, so the map stays calibrated.
    """
    visits = groups[_group(np.array([ra]), np.array([dec]))[0]]
    host = float(redshift_of(np.array([distance]))[0]) + HOST_Z_ERR * rng.standard_normal()
    for _ in range(_TRIES):
        light, parameters = draw_kilonova(rng, distance)
        seen = measure(rng, light.mag(np.array([0]), visits), visits)
        if np.count_nonzero(seen.detected) >= _ENOUGH_DETECTIONS:
            return Observed(Kind.KILONOVA, ra, dec, max(host, 1e-4), visits, seen), parameters
    raise MmcoordError(f"no kilonova at {distance:.0f} Mpc is bright enough to practise with")


def supernova_at(
    rng: np.random.Generator, groups: tuple[Visits, ...], ra: float, dec: float
) -> Observed:
    """A stripped-envelope supernova at that place, drawn anew until it is seen often enough."""
    visits = groups[_group(np.array([ra]), np.array([dec]))[0]]
    for _ in range(_TRIES):
        light = population(rng, Kind.SUPERNOVA_IBC, 1)
        seen = measure(rng, light.mag(np.array([0]), visits), visits)
        if np.count_nonzero(seen.detected) >= _ENOUGH_DETECTIONS:
            host = float(light.redshift[0])
            return Observed(Kind.SUPERNOVA_IBC, ra, dec, host, visits, seen)
    raise MmcoordError("no supernova is bright enough to practise with")


def others(
    rng: np.random.Generator, groups: tuple[Visits, ...], centre: Array, n: int
) -> list[Observed]:
    """The afterglow and, by :data:`MIX`, whatever else is detected at least once."""
    found: list[Observed] = []
    while not found:
        found = _observe(rng, groups, centre, draw_afterglow(rng), 1)
    shares = np.array(list(MIX.values()))
    edges = np.round(np.cumsum(shares / shares.sum()) * (n - 1)).astype(int)
    for kind, wanted in zip(MIX, np.diff(edges, prepend=0), strict=True):
        kept: list[Observed] = []
        while len(kept) < wanted:
            drawn = 2 * int(wanted) + 10
            kept += _observe(rng, groups, centre, population(rng, kind, drawn), drawn)
        found += kept[: int(wanted)]
    return found


def _observe(
    rng: np.random.Generator, groups: tuple[Visits, ...], centre: Array, light: Light, n: int
) -> list[Observed]:
    """Put ``n`` objects on the sky and observe them; those never detected are left out."""
    near = rng.uniform(size=n) < _NEAR_SHARE
    ra, dec = _places(rng, centre, np.where(near, _NEAR_DEG, _FAR_DEG))
    group = _group(ra, dec)
    host = rng.uniform(size=n) < _HOST_SHARE
    redshift = light.redshift + HOST_Z_ERR * rng.standard_normal(n)
    found: list[tuple[int, Observed]] = []
    for number, visits in enumerate(groups):
        rows = np.flatnonzero(group == number)
        if not len(rows):
            continue
        seen = measure(rng, light.mag(rows, visits), visits)
        for place in np.flatnonzero(seen.detected.any(axis=1)):
            row = int(rows[place])
            one = slice(place, place + 1)
            found.append(
                (
                    row,
                    Observed(
                        kind=light.kind,
                        ra_deg=float(ra[row]),
                        dec_deg=float(dec[row]),
                        host_redshift=float(redshift[row])
                        if host[row] and redshift[row] > HOST_Z_ERR
                        else None,
                        visits=visits,
                        seen=Measurements(seen.detected[one], seen.mag[one], seen.mag_err[one]),
                    ),
                )
            )
    found.sort(key=lambda pair: pair[0])
    return [thing for _, thing in found]


def _places(rng: np.random.Generator, centre: Array, radius_deg: Array) -> tuple[Array, Array]:
    """Uniform places (deg) in discs of ``radius_deg`` (n,) around ``centre``."""
    n = len(radius_deg)
    cosine = 1.0 - rng.uniform(size=n) * (1.0 - np.cos(np.radians(radius_deg)))
    angle = rng.uniform(0.0, 2.0 * np.pi, n)
    east = np.cross([0.0, 0.0, 1.0], centre)
    east /= np.linalg.norm(east)
    north = np.cross(centre, east)
    sine = np.sqrt(1.0 - cosine**2)
    vectors = (
        cosine[:, None] * centre
        + (sine * np.cos(angle))[:, None] * east
        + (sine * np.sin(angle))[:, None] * north
    )
    ra = np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0])) % 360.0
    return np.where(ra >= 360.0, 0.0, ra), np.degrees(np.arcsin(np.clip(vectors[:, 2], -1, 1)))


def _group(ra_deg: Array, dec_deg: Array) -> npt.NDArray[np.int64]:
    """Which group of fields a place belongs to."""
    pixel = healpy.ang2pix(_GROUP_NSIDE, ra_deg, dec_deg, lonlat=True)
    group: npt.NDArray[np.int64] = np.asarray(pixel, np.int64) % GROUPS
    return group


def _letters(seed: int) -> str:
    """Three letters, aaa to zzz, by seed; 17,576 nights of one date have names of their own."""
    letters = ""
    for _ in range(3):
        seed, digit = divmod(seed, 26)
        letters = chr(ord("a") + digit) + letters
    return letters
