"""Which catalogue entries (TNS, YSE-PZ) are an object of ours, and the other way round.

An entry is the object if it lies within some arcseconds of it, or if a survey's name of the entry
is the object's identifier. Places are looked up by ranges of HEALPix indices: a circle lies
within the pixel of its centre and the neighbours of that pixel, at any order at which pixels are
wide enough; that holds across pixel borders, at the poles and at right ascension zero. What
the ranges find is then measured on the sphere.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import BigInteger, column, select, values
from sqlalchemy.orm import Session

from mmcoord.records import KnownTransient
from mmcoord.store.tables import CandidateRow, KnownNameRow, KnownTransientRow
from mmcoord.store.types import table

__all__ = [
    "MATCH_ARCSEC",
    "KnownAs",
    "Place",
    "identify",
    "is_empty",
    "known_as",
    "name_key",
    "name_keys",
    "near",
    "objects_named",
    "separation_arcsec",
]

MATCH_ARCSEC = 1.5
"""Default radius: TNS positions of different surveys scatter by about an arcsecond."""

_MAX_ARCSEC = 3600.0
_ORDER = 29
_PIXELS_PER_RADIUS = 4.0
"""Width of a pixel in radii: HEALPix pixels are as narrow as half the root of their area."""
_RANGES = 2000
"""Ranges a statement: two parameters each, SQLite takes 32,766."""
_NAMES = 1000
_FORGOTTEN = re.compile(r"[\s\-_]+")
_PREFIX = re.compile(r"^(at|sn|tde|frb|grb)(?=(1[0-9]|20)\d\d[a-z])")

_known: Any = table(KnownTransientRow)
_known_name: Any = table(KnownNameRow)
_candidate: Any = table(CandidateRow)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Place:
    """An object of ours."""

    object_id: str
    ra_deg: float
    dec_deg: float


@dataclass(frozen=True, slots=True)
class KnownAs:
    """A catalogue entry as the identity of an object."""

    entry: KnownTransient
    separation_arcsec: float
    by_name: bool
    """Whether the entry names the object; else it is only near to it."""


# -- names ------------------------------------------------------------------------------------


def name_key(name: str) -> str:
    """A name in a form in which spellings agree: no blanks, hyphens, underscores; lower case."""
    return _FORGOTTEN.sub("", name).lower()


def name_keys(*names: str) -> set[str]:
    """Keys of names; one with a prefix that changes (AT becomes SN) is also known without it."""
    whole = {name_key(name) for name in names} - {""}
    return whole | {_PREFIX.sub("", key) for key in whole}


# -- the sphere ---------------------------------------------------------------------------------


def separation_arcsec(
    ra_1: FloatArray, dec_1: FloatArray, ra_2: FloatArray, dec_2: FloatArray
) -> FloatArray:
    """Great-circle distance, arcsec, by the haversine formula (exact for small distances)."""
    ra_1, dec_1, ra_2, dec_2 = (np.radians(x) for x in (ra_1, dec_1, ra_2, dec_2))
    h = (
        np.sin((dec_2 - dec_1) / 2) ** 2
        + np.cos(dec_1) * np.cos(dec_2) * np.sin((ra_2 - ra_1) / 2) ** 2
    )
    return np.asarray(np.degrees(2 * np.arcsin(np.sqrt(np.clip(h, 0.0, 1.0)))) * 3600.0)


def near(
    session: Session, rows: Any, ra_deg: FloatArray, dec_deg: FloatArray, radius_arcsec: float
) -> list[Any]:
    """Rows of a table with ``hpx29`` that may lie within the radius of any of the positions.

    None is missing, each comes once, and some are a few radii away.

    Raises
    ------
    ValueError
        A radius that is not in (0, 1 deg].
    """
    found: list[Any] = []
    ranges = _ranges(ra_deg, dec_deg, radius_arcsec)
    for start in range(0, len(ranges), _RANGES):
        span = (
            values(column("lo", BigInteger), column("hi", BigInteger), name="span")
            .data([(int(lo), int(hi)) for lo, hi in ranges[start : start + _RANGES]])
            .cte("span")
        )
        found += session.execute(
            select(rows).select_from(
                span.join(rows, (rows.c.hpx29 >= span.c.lo) & (rows.c.hpx29 < span.c.hi))
            )
        ).all()
    return found


def _ranges(ra_deg: FloatArray, dec_deg: FloatArray, radius_arcsec: float) -> IntArray:
    """Half-open ranges at order 29 that hold the circles, sorted, shape (n, 2)."""
    if not 0.0 < radius_arcsec <= _MAX_ARCSEC:
        raise ValueError(f"radius_arcsec: {radius_arcsec!r} is not in (0, {_MAX_ARCSEC:g}]")
    if not len(ra_deg):
        return np.empty((0, 2), np.int64)
    import healpy  # brings a plotting library, which commands that read should not wait for

    order = _order(radius_arcsec)
    centre = healpy.ang2pix(2**order, ra_deg, dec_deg, nest=True, lonlat=True)
    around = healpy.get_all_neighbours(2**order, centre, nest=True)
    pixels = np.unique(np.concatenate([centre.ravel(), around.ravel()]).astype(np.int64))
    pixels = pixels[pixels >= 0]  # a pixel at a corner of the base has only seven neighbours
    first = np.flatnonzero(np.diff(pixels, prepend=-2) != 1)
    last = np.append(first[1:], len(pixels)) - 1
    shift = 2 * (_ORDER - order)
    return np.stack([pixels[first] << shift, (pixels[last] + 1) << shift], axis=1)


def _order(radius_arcsec: float) -> int:
    """The finest order whose pixels are wide enough."""
    pixel_rad = math.radians(_PIXELS_PER_RADIUS * radius_arcsec / 3600.0)
    return max(0, min(_ORDER, math.floor(math.log2(math.sqrt(math.pi / 3.0) / pixel_rad))))


# -- objects and entries --------------------------------------------------------------------------


def is_empty(session: Session) -> bool:
    """Whether no catalogue has been read at all."""
    return session.execute(select(_known.c.identifier).limit(1)).first() is None


def known_as(
    session: Session, places: Sequence[Place], radius_arcsec: float = MATCH_ARCSEC
) -> dict[str, tuple[KnownAs, ...]]:
    """The entries of each object that has any: named ones first, then the nearest.

    Raises
    ------
    ValueError
        A radius that is not in (0, 1 deg].
    """
    if not places or is_empty(session):
        return {}
    ra, dec = _columns(places)
    entries = {
        (row.catalogue, row.identifier): row
        for row in near(session, _known, ra, dec, radius_arcsec)
    }
    named = _named(session, [place.object_id for place in places], entries)
    found: dict[str, list[KnownAs]] = defaultdict(list)
    if entries:
        keys = list(entries)
        there = [entries[key] for key in keys]
        for i, j in _pairs(ra, dec, *_columns(there), radius_arcsec):
            _add(found[places[i].object_id], places[i], there[j], by_name=False)
    by_id = {place.object_id: place for place in places}
    for object_id, rows in named.items():
        for row in rows:
            _add(found[object_id], by_id[object_id], row, by_name=True)
    return {
        object_id: tuple(
            sorted(own, key=lambda k: (not k.by_name, k.separation_arcsec, k.entry.catalogue))
        )
        for object_id, own in found.items()
    }


def identify(
    places: Sequence[Place], entries: Sequence[KnownTransient], radius_arcsec: float = MATCH_ARCSEC
) -> list[str]:
    """Objects that are any of the entries, by place or by name, sorted. Pure."""
    if not places or not entries:
        return []
    keys = {key for entry in entries for key in name_keys(entry.name, *entry.names)}
    found = {place.object_id for place in places if name_key(place.object_id) in keys}
    pairs = _pairs(*_columns(places), *_columns(entries), radius_arcsec)
    return sorted(found | {places[i].object_id for i, _ in pairs})


def objects_named(session: Session, name: str) -> list[str]:
    """Candidates that a catalogue knows by this name (``AT2017gfo``), sorted."""
    entries = _by_keys(session, name_keys(name))
    rows = [row for own in entries.values() for row in own]
    if not rows:
        return []
    ra, dec = _columns(rows)
    near_by = near(session, _candidate, ra, dec, MATCH_ARCSEC)
    found = set()
    if near_by:
        pairs = _pairs(ra, dec, *_columns(near_by), MATCH_ARCSEC)
        found = {near_by[j].object_id for _, j in pairs}
    names = sorted({own for row in rows for own in row.names})
    for start in range(0, len(names), _NAMES):
        found |= set(
            session.execute(
                select(_candidate.c.object_id).where(
                    _candidate.c.object_id.in_(names[start : start + _NAMES])
                )
            ).scalars()
        )
    return sorted(found)


def _columns(places: Sequence[Any]) -> tuple[FloatArray, FloatArray]:
    return (
        np.array([place.ra_deg for place in places], np.float64),
        np.array([place.dec_deg for place in places], np.float64),
    )


def _pairs(
    ra_1: FloatArray, dec_1: FloatArray, ra_2: FloatArray, dec_2: FloatArray, radius_arcsec: float
) -> list[tuple[int, int]]:
    """All pairs (row of the first, row of the second) within the radius."""
    import healpy

    nside = 2 ** _order(radius_arcsec)
    home = healpy.ang2pix(nside, ra_2, dec_2, nest=True, lonlat=True)
    order = np.argsort(home, kind="stable")
    centre = healpy.ang2pix(nside, ra_1, dec_1, nest=True, lonlat=True)
    around = np.vstack([centre, healpy.get_all_neighbours(nside, centre, nest=True)])
    first = np.searchsorted(home[order], around, side="left")
    last = np.searchsorted(home[order], around, side="right")
    pairs: set[tuple[int, int]] = set()
    for ring, i in zip(*np.nonzero((last > first) & (around >= 0)), strict=True):
        j = order[first[ring, i] : last[ring, i]]
        apart = separation_arcsec(ra_1[i], dec_1[i], ra_2[j], dec_2[j])
        pairs |= {(int(i), int(row)) for row in j[apart <= radius_arcsec]}
    return sorted(pairs)


def _named(
    session: Session, object_ids: Sequence[str], entries: Mapping[tuple[str, str], Any]
) -> dict[str, list[Any]]:
    """Entries that name an object, by object."""
    key_of = {object_id: name_key(object_id) for object_id in object_ids}
    by_key = _by_keys(session, set(key_of.values()) - {""})
    return {object_id: by_key[key] for object_id, key in key_of.items() if key in by_key}


def _by_keys(session: Session, keys: Collection[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    ordered = sorted(keys)
    for start in range(0, len(ordered), _NAMES):
        rows = session.execute(
            select(_known_name.c.key, _known)
            .join(
                _known,
                (_known.c.catalogue == _known_name.c.catalogue)
                & (_known.c.identifier == _known_name.c.identifier),
            )
            .where(_known_name.c.key.in_(ordered[start : start + _NAMES]))
        )
        for row in rows:
            found[row.key].append(row)
    return found


def _add(found: list[KnownAs], place: Place, row: Any, *, by_name: bool) -> None:
    apart = separation_arcsec(
        np.float64(place.ra_deg),  # type: ignore[arg-type]
        np.float64(place.dec_deg),  # type: ignore[arg-type]
        np.float64(row.ra_deg),  # type: ignore[arg-type]
        np.float64(row.dec_deg),  # type: ignore[arg-type]
    )
    entry = _record(row)
    others = [k for k in found if (k.entry.catalogue, k.entry.identifier) != _key(entry)]
    found[:] = [*others, KnownAs(entry, float(apart), by_name)]


def _key(entry: KnownTransient) -> tuple[str, str]:
    return (entry.catalogue, entry.identifier)


def _record(row: Any) -> KnownTransient:
    return KnownTransient(
        catalogue=row.catalogue,
        identifier=row.identifier,
        name=row.name,
        ra_deg=row.ra_deg,
        dec_deg=row.dec_deg,
        names=tuple(row.names),
        classification=row.classification,
        redshift=row.redshift,
        redshift_err=row.redshift_err,
        discovered_mjd_tai=row.discovered_mjd_tai,
        host=row.host,
        modified_at=row.modified_at,
        attributes=row.attributes,
    )
