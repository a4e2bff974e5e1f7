"""Stars that may collapse, and how a map ranks them.

Two lists: some 35 of the nearest, built in (``progenitors.toml``, typed from the papers that
each row names), and the red supergiants of Healy et al. 2024, MNRAS 529, 3630, read from the
file that they publish (``mmcoord data get rsg``). Neither is complete: the catalogue thins
out beyond 5 kpc, and whatever collapses behind dust is in no list. So a star is ranked, and
no direction is ever excluded because no star is known there.

Weights. For a map p(n) and, if known, a distance, a star's weight is

    w = rate(kind) * p(n) * Normal(distance; star's, both errors),

normalised over the stars: their odds against one another if the progenitor is among them.
The rates are relative shares of core collapses per star of a kind: the fraction of collapses
from red supergiants, Wolf-Rayet and other stars (Smith et al. 2011, MNRAS 412, 1522: types
II, Ib/c, the rest) over the number of such stars in a volume is not known to better than a
factor of a few, which :data:`RATES` says honestly by being round.
"""

from __future__ import annotations

import csv
import io
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from skymaps.crossmatch import PreparedMap, match
from skymaps.skymap import SkyMap, SkyMapError

__all__ = [
    "RATES",
    "Progenitor",
    "RankedProgenitor",
    "builtin_progenitors",
    "merge_progenitors",
    "rank_progenitors",
    "read_rsg_catalogue",
]

Kind = Literal["rsg", "bsg", "wr"]

RATES: Mapping[str, float] = MappingProxyType({"rsg": 1.0, "wr": 1.0, "bsg": 0.1})
"""Relative chance per star to be the next: red supergiants and Wolf-Rayet stars alike, hot
and yellow supergiants, most of which have helium left to burn, a tenth."""

RSG_CITATION = "Healy et al. 2024, MNRAS 529, 3630"
_SAME_DEG = 10.0 / 3600.0
"""Entries of two lists closer than this are one star (proper motion and epoch included)."""


@dataclass(frozen=True)
class Progenitor:
    """A star that may collapse."""

    name: str
    kind: Kind
    ra_deg: float
    """ICRS, epoch of the source."""
    dec_deg: float
    source: str
    distance_kpc: float | None = None
    distance_err_kpc: float | None = None
    mass_msun: float | None = None
    v_mag: float | None = None
    k_mag: float | None = None
    radius_rsun: float | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class RankedProgenitor:
    """A star and what a map says of it."""

    star: Progenitor
    credible_level: float
    """Of its position: the probability in the smallest region that contains it."""
    prob_density_sr: float
    weight: float
    """Share among the stars listed; see the module. Not the probability that it is this star."""


@lru_cache(maxsize=1)
def builtin_progenitors() -> tuple[Progenitor, ...]:
    """The nearest candidates, nearest first."""
    document = tomllib.loads(files("skymaps").joinpath("progenitors.toml").read_text())
    stars = [Progenitor(**row | {"aliases": tuple(row["aliases"])}) for row in document["star"]]
    for star in stars:
        if star.kind not in get_args(Kind):
            raise SkyMapError(f"progenitors.toml: {star.name}: kind {star.kind!r}")
    return tuple(sorted(stars, key=lambda star: star.distance_kpc or math.inf))


def read_rsg_catalogue(source: Path | bytes) -> tuple[Progenitor, ...]:
    """Red supergiants of the CSV file of Healy et al. 2024 (651 rows, 177 columns).

    Positions are Gaia DR3's, else DR2's, else 2MASS'. The distance is the one of the paper's
    distance modulus; the eleven close stars at the end have none there.

    Raises
    ------
    SkyMapError
        Not that file; a row without a position, with its number.
    """
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SkyMapError(f"red supergiants: {error}") from error
    needed = {"Alias", "ra", "dec", "2mass_ra", "2mass_decl", "DM"}
    if not rows or needed - set(rows[0]):
        raise SkyMapError("red supergiants: not the catalogue of Healy et al. 2024")
    return tuple(_red_supergiant(row, line) for line, row in enumerate(rows, start=2))


def _red_supergiant(row: Mapping[str, str], line: int) -> Progenitor:
    ra = _first(row, "ra", "ra_dr2", "2mass_ra")
    dec = _first(row, "dec", "dec_dr2", "2mass_decl")
    if ra is None or dec is None or not abs(dec) <= 90.0:
        raise SkyMapError(f"red supergiants: line {line} ({row['Alias']}): no position")
    modulus = _number(row, "DM")
    distance = None if modulus is None else 10.0 ** (modulus / 5.0 - 2.0)
    error = None
    if distance is not None:
        sides = [_number(row, "DM_sig+"), _number(row, "DM_sig-")]
        known = [abs(side) for side in sides if side is not None]
        if known:
            error = distance * math.log(10.0) / 5.0 * sum(known) / len(known)
    return Progenitor(
        name=" ".join(row["Alias"].split()),
        kind="rsg",
        ra_deg=ra % 360.0,
        dec_deg=dec,
        source=RSG_CITATION,
        distance_kpc=distance,
        distance_err_kpc=error,
        v_mag=_number(row, "visual_or_red_mag_opt"),
        k_mag=_number(row, "k_m"),
        radius_rsun=_number(row, "R*"),
    )


def _first(row: Mapping[str, str], *keys: str) -> float | None:
    return next((x for key in keys if (x := _number(row, key)) is not None), None)


def _number(row: Mapping[str, str], key: str) -> float | None:
    """A finite number, else None (empty, a range as of the close stars)."""
    try:
        value = float(row.get(key) or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def merge_progenitors(
    first: Sequence[Progenitor], second: Iterable[Progenitor]
) -> tuple[Progenitor, ...]:
    """Both lists; of a star in both, the first's values, completed by the second's.

    A star is the same within 10 arcsec.
    """
    merged = list(first)
    ra = np.radians([star.ra_deg for star in first])
    dec = np.radians([star.dec_deg for star in first])
    for star in second:
        if len(first):
            half = np.sin(0.5 * (dec - math.radians(star.dec_deg))) ** 2
            across = np.sin(0.5 * (ra - math.radians(star.ra_deg))) ** 2
            distance = half + np.cos(dec) * math.cos(math.radians(star.dec_deg)) * across
            i = int(np.argmin(distance))
            if distance[i] < math.sin(0.5 * math.radians(_SAME_DEG)) ** 2:
                merged[i] = _completed(merged[i], star)
                continue
        merged.append(star)
    return tuple(merged)


def _completed(star: Progenitor, other: Progenitor) -> Progenitor:
    values = {
        key: getattr(other, key) if value is None else value for key, value in vars(star).items()
    }
    values["aliases"] = tuple(dict.fromkeys((*star.aliases, other.name, *other.aliases)))
    if star.distance_kpc is not None:
        values["distance_err_kpc"] = star.distance_err_kpc
    return Progenitor(**values)


def rank_progenitors(
    skymap: SkyMap | PreparedMap,
    stars: Sequence[Progenitor],
    distance_kpc: float | None = None,
    distance_err_kpc: float | None = None,
) -> list[RankedProgenitor]:
    """Stars by their weight, all of them: nothing is cut.

    Parameters
    ----------
    distance_kpc, distance_err_kpc
        Of the burst, from its counts; stars without a distance are then taken as anywhere
        within 10 kpc.

    Raises
    ------
    SkyMapError
        A distance or error that is not positive.
    """
    if distance_kpc is not None and not (
        distance_kpc > 0.0 and distance_err_kpc is not None and distance_err_kpc > 0.0
    ):
        raise SkyMapError(f"distance {distance_kpc} +- {distance_err_kpc} kpc")
    if not stars:
        return []
    found = match(skymap, [s.ra_deg for s in stars], [s.dec_deg for s in stars])
    density = found.prob_density_sr
    weight = density * np.array([RATES[star.kind] for star in stars])
    if distance_kpc is not None and distance_err_kpc is not None:
        weight = weight * [_distance_factor(s, distance_kpc, distance_err_kpc) for s in stars]
    total = float(weight.sum())
    share = weight / total if total > 0.0 else np.full(len(stars), 1.0 / len(stars))
    ranked = [
        RankedProgenitor(star, float(level), float(p), float(w))
        for star, level, p, w in zip(stars, found.credible_level_2d, density, share, strict=True)
    ]
    return sorted(ranked, key=lambda one: (-one.weight, one.credible_level, one.star.name))


def _distance_factor(star: Progenitor, distance_kpc: float, error_kpc: float) -> float:
    """Density of the burst's distance at the star's (per kpc)."""
    if star.distance_kpc is None:
        return 0.1
    spread = math.hypot(error_kpc, star.distance_err_kpc or 0.3 * star.distance_kpc)
    z = (distance_kpc - star.distance_kpc) / spread
    return math.exp(-0.5 * z * z) / (spread * math.sqrt(2.0 * math.pi))
