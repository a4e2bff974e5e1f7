"""Host galaxies: is the candidate in one, by chance or not, and at the event's distance? Pure.

**Chance coincidence** (Bloom, Kulkarni & Djorgovski 2002, AJ 123, 1111, equations 1 to 3): the mean
surface density of galaxies brighter than R = m is

    sigma(<= m) = 10^(0.33 (m - 24) - 2.44) / (0.33 ln 10)   per arcsec^2

and the chance that one of them lies within r is 1 - exp(-pi r^2 sigma). r is the offset, or twice
the half-light radius inside it, never less than three errors of the position. Without a magnitude
the density is that of the catalogue around (Coughlin et al. do so for galaxies of the map's
volume): n galaxies as near in distance within a circle of the sky.

**Distance**: |d_host - d_map| in errors of both, as the chance of a larger difference,
erfc(|z| / sqrt 2), which is uniform over true hosts as a credible level is.

**Factor**: with q = 1 - P(chance) of the likeliest host and c its agreement,

    host = q c + (1 - q) unknown

so that a galaxy that may be there by chance says nothing, and no host in a catalogue that is not
complete says nothing either: a weight, never a veto.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import erfc

from followup.factors import Factor

__all__ = [
    "Galaxies",
    "GalaxySource",
    "HostSettings",
    "chance_by_density",
    "chance_by_magnitude",
    "distance_agreement",
    "host",
    "joined",
]

Float = npt.NDArray[np.float64]

_SMALL_SCATTER = 0.05


@dataclass(frozen=True, slots=True)
class Galaxies:
    """``n`` galaxies of a catalogue; NaN where a number is not known."""

    catalogue: str
    name: tuple[str, ...]
    ra_deg: Float
    dec_deg: Float
    distance_mpc: Float
    """Luminosity distance."""
    distance_err_mpc: Float
    magnitude: Float
    """In or near R; what the source states otherwise."""
    radius_arcsec: Float
    """Half-light radius."""
    log_mass: Float
    """log10 of the stellar mass in solar masses."""

    def __len__(self) -> int:
        return len(self.ra_deg)


class GalaxySource(Protocol):
    """Anything that knows the galaxies around a place."""

    def near(self, ra_deg: float, dec_deg: float, radius_deg: float) -> Galaxies:
        """All galaxies of the catalogue within the radius, in no particular order."""


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How hosts are counted.

    Raises
    ------
    ValueError
        A value out of range.
    """

    unknown: float = 0.5
    """Factor where nothing is known of a host."""
    floor: float = 0.02
    """Factor of a sure host at a wrong distance: distances and maps can be wrong."""
    largest_offset_kpc: float = 100.0
    """Farther from its centre a galaxy is no host: short bursts lie within 75 kpc (Fong et al.
    2022, ApJ 940, 56)."""
    widest_arcmin: float = 30.0
    """Search radius at most, and where the density is measured without magnitudes."""
    position_error_arcsec: float = 0.3
    small_scatter: float = _SMALL_SCATTER
    """Relative error of a distance at least: peculiar motions, calibration."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or value <= 0:
                raise ValueError(f"{field.name}: {value!r} is not positive and finite")
        if max(self.unknown, self.floor) > 1:
            raise ValueError("unknown and floor are in (0, 1]")


def chance_by_magnitude(
    offset_arcsec: npt.ArrayLike, magnitude: npt.ArrayLike, radius_arcsec: npt.ArrayLike = 0.0
) -> Float:
    """P(a galaxy as bright lies so near by chance); Bloom et al. (2002), equations 1 to 3."""
    r = np.maximum(
        np.asarray(offset_arcsec, np.float64), 2.0 * np.nan_to_num(np.asarray(radius_arcsec))
    )
    density = 10.0 ** (0.33 * (np.asarray(magnitude, np.float64) - 24.0) - 2.44)
    density /= 0.33 * math.log(10.0)
    return np.asarray(-np.expm1(-math.pi * r**2 * density))


def chance_by_density(offset_arcsec: npt.ArrayLike, n: npt.ArrayLike, area_deg2: float) -> Float:
    """P(one of ``n`` galaxies in ``area_deg2`` lies so near by chance)."""
    density = np.asarray(n, np.float64) / (area_deg2 * 3600.0**2)
    return np.asarray(-np.expm1(-math.pi * np.asarray(offset_arcsec, np.float64) ** 2 * density))


def distance_agreement(
    host_mpc: npt.ArrayLike,
    host_err_mpc: npt.ArrayLike,
    map_mpc: float,
    map_err_mpc: float,
    small_scatter: float = _SMALL_SCATTER,
) -> Float:
    """Chance of a larger difference between a true host's distance and the map's."""
    mean = np.asarray(host_mpc, np.float64)
    error = np.fmax(np.asarray(host_err_mpc, np.float64), small_scatter * mean)
    z = np.abs(mean - map_mpc) / np.hypot(error, map_err_mpc)
    return np.asarray(erfc(z / math.sqrt(2.0)))


def host(
    source: GalaxySource | None,
    ra_deg: float,
    dec_deg: float,
    *,
    map_mpc: float | None,
    map_err_mpc: float | None,
    has_own_distance: bool = False,
    settings: HostSettings | None = None,
) -> Factor:
    """The host factor of one candidate.

    Parameters
    ----------
    source
        None: no catalogue is installed.
    map_mpc, map_err_mpc
        Distance of the event along the line of sight; None: not known.
    has_own_distance
        The candidate's own distance is in its 3D credible level already: the host's distance is
        told and not counted a second time.
    """
    settings = settings or HostSettings()
    if source is None:
        return _unknown("no catalogue of galaxies is installed", settings)
    reach_deg = _reach_deg(map_mpc, map_err_mpc, settings)
    found = source.near(ra_deg, dec_deg, reach_deg)
    if not len(found):
        return _unknown(
            f"{found.catalogue} has no galaxy within {60 * reach_deg:.1f} arcmin, "
            "and is not complete",
            settings,
        )
    offset = _offset_arcsec(found, ra_deg, dec_deg, settings)
    chance = _chance(found, offset, reach_deg)
    with np.errstate(invalid="ignore"):
        offset_kpc = offset / 206.265 * found.distance_mpc
    chance = np.where(offset_kpc > settings.largest_offset_kpc, 1.0, chance)
    best = int(np.argmin(chance))
    name = found.name[best] or "a galaxy"
    place = f"{offset[best]:.1f} arcsec from {name} ({found.catalogue})"
    if math.isfinite(offset_kpc[best]):
        place += f", {offset_kpc[best]:.1f} kpc"
    surely = 1.0 - float(chance[best])
    if surely < 0.05:
        return _unknown(f"no likely host; nearest by chance {place}", settings)
    place += f", by chance with probability {chance[best]:.2g}"
    distance, error = float(found.distance_mpc[best]), float(found.distance_err_mpc[best])
    if map_mpc is None or map_err_mpc is None or not math.isfinite(distance):
        told = "its distance" if map_mpc is not None else "the event's distance"
        agreement, said = settings.unknown, f"{told} is not known"
    elif has_own_distance:
        agreement, said = 1.0, f"at {distance:.0f} Mpc, which the 3D level counts already"
    else:
        agreement = float(
            distance_agreement(distance, error, map_mpc, map_err_mpc, settings.small_scatter)
        )
        said = (
            f"at {distance:.0f} Mpc where the map has {map_mpc:.0f} +- {map_err_mpc:.0f}: "
            f"{100 * agreement:.0f} % of true hosts lie farther off"
        )
    value = surely * agreement + (1.0 - surely) * settings.unknown
    floored = max(settings.floor, value)
    return Factor(floored, floored, f"{place}; {said}")


def _reach_deg(map_mpc: float | None, map_err_mpc: float | None, settings: HostSettings) -> float:
    """Angle of the largest offset at the nearest distance that the map allows."""
    widest = settings.widest_arcmin / 60.0
    if map_mpc is None or map_err_mpc is None:
        return widest
    nearest = max(map_mpc - 2.0 * map_err_mpc, 0.1 * map_mpc, 1.0)
    return min(widest, math.degrees(1e-3 * settings.largest_offset_kpc / nearest))


def _offset_arcsec(found: Galaxies, ra_deg: float, dec_deg: float, settings: HostSettings) -> Float:
    """Distance from the centres, never less than three errors of the position."""
    lat, lats = math.radians(dec_deg), np.radians(found.dec_deg)
    half_lon = np.radians(found.ra_deg - ra_deg) / 2
    h = np.sin((lats - lat) / 2) ** 2 + math.cos(lat) * np.cos(lats) * np.sin(half_lon) ** 2
    apart = np.degrees(2 * np.arcsin(np.sqrt(np.clip(h, 0.0, 1.0)))) * 3600.0
    return np.asarray(np.maximum(apart, 3.0 * settings.position_error_arcsec))


def _chance(found: Galaxies, offset: Float, reach_deg: float) -> Float:
    by_density = chance_by_density(offset, len(found), math.pi * reach_deg**2)
    by_magnitude = chance_by_magnitude(offset, found.magnitude, found.radius_arcsec)
    return np.where(np.isfinite(found.magnitude), by_magnitude, by_density)


def _unknown(reason: str, settings: HostSettings) -> Factor:
    return Factor(None, settings.unknown, f"not known ({reason}); counted as {settings.unknown:g}")


def joined(catalogues: Sequence[Galaxies]) -> Galaxies:
    """Galaxies of several catalogues as one; the names say from which."""
    if len(catalogues) == 1:
        return catalogues[0]
    return Galaxies(
        catalogue=" and ".join(g.catalogue for g in catalogues),
        name=tuple(name for g in catalogues for name in g.name),
        **{
            field.name: np.concatenate([getattr(g, field.name) for g in catalogues])
            for field in fields(Galaxies)
            if field.name not in ("catalogue", "name")
        },
    )
