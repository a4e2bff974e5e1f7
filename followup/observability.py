"""When a target can be observed: altitude, darkness and Moon for many targets at once.

The chain is the IAU 2006/2000A celestial-to-terrestrial matrix (``erfa.c2t06a``: bias,
precession, nutation, Earth rotation, polar motion) with stellar aberration, annual and diurnal.
Instead of rotating the targets, the zenith of each site is rotated into the celestial frame; with
target ``p``, zenith ``z`` (unit vectors, GCRS) and the observer's
velocity ``v`` in units of c, aberration being special relativity's (Urban and Seidelmann 2013,
Explanatory Supplement, equation 7.40), with ``b = sqrt(1 - v^2)``,

    sin(altitude) = [b z.p + (1 + p.v / (1 + b)) z.v] / (1 + p.v)

Terms of order v^2 count: near the zenith, dropping them is 4 arcsec.

Altitudes are those of the vacuum: no refraction (1.7 arcmin at 30 deg). Light deflection is
left out (0.004 arcsec at 45 deg from the Sun). Earth orientation comes from the tables
bundled with astropy; nothing is downloaded, and beyond their end UT1 = UTC and no polar
motion are assumed, at most 0.9 s or 14 arcsec.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import erfa
import numpy as np
import numpy.typing as npt
from astropy.utils import iers

from followup.sites import Instrument, Site
from skymaps.threads import run_chunks

__all__ = [
    "Observability",
    "Sky",
    "dots",
    "illuminated_fraction",
    "observability",
    "sin_altitude",
    "sky_over",
    "unit_vectors",
]

Array = npt.NDArray[np.float64]

_MJD = 2400000.5
_AU_M = 149597870700.0
_C_AU_PER_DAY = 299792458.0 * 86400.0 / _AU_M
_EARTH_RATE = 7.292115e-5  # rad/s, IERS Conventions 2010 table 1.1


@dataclass(frozen=True, slots=True)
class Sky:
    """The turning sky over ``S`` sites at ``T`` times. Vectors are GCRS."""

    times_mjd_utc: Array
    """(T,)"""
    zenith: Array
    """(S, T, 3) unit vectors along the geodetic vertical."""
    velocity: Array
    """(S, T, 3) observer's barycentric velocity over c."""
    meridian: Array
    """(S, T, 3) unit vectors to where the site's meridian cuts the equator."""
    pole: Array
    """(T, 3) the Earth's axis, north."""
    sun: Array
    """(S, T, 3) unit vectors to the Sun's centre."""
    sun_altitude_deg: Array
    """(S, T) of the Sun's centre."""
    moon: Array
    """(S, T, 3) unit vectors to the Moon's centre as seen from the site."""
    moon_altitude_deg: Array
    """(S, T) of the Moon's centre, with parallax."""
    moon_illumination: Array
    """(T,) lit fraction of the disc, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Observability:
    """Which of ``N`` targets ``I`` instruments can observe at which of ``T`` times."""

    times_mjd_utc: Array
    """(T,)"""
    allowed: npt.NDArray[np.bool_]
    """(I, N, T): dark, within the altitude and airmass limits, far enough from the Moon."""
    airmass: npt.NDArray[np.float32]
    """(I, N, T) plane-parallel, 1 / sin(altitude); infinite where not allowed."""
    dark: npt.NDArray[np.bool_]
    """(I, T): Sun below the instrument's limit."""
    up_in_dark: npt.NDArray[np.bool_]
    """(I, N): within altitude and airmass limits at some dark time, whatever the Moon."""

    def best(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Index of the earliest time of least airmass and that airmass, each (I, N).

        Where no time is allowed the index is -1 and the airmass infinite.
        """
        index = np.argmin(self.airmass, axis=2)
        airmass = np.take_along_axis(self.airmass, index[..., None], axis=2)[..., 0]
        return np.where(np.isfinite(airmass), index, -1), airmass


def unit_vectors(ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> Array:
    """Unit vectors (N, 3) of ICRS positions in degrees."""
    ra, dec = np.radians(np.asarray(ra_deg, float)), np.radians(np.asarray(dec_deg, float))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def sky_over(sites: Sequence[Site], times_mjd_utc: npt.ArrayLike) -> Sky:
    """Zenith, Sun and Moon over ``sites`` at ``times_mjd_utc`` (T,), MJD on the UTC scale.

    The last few are kept; their arrays cannot be written to.
    """
    utc = np.atleast_1d(np.asarray(times_mjd_utc, float))
    return _sky_over(tuple(sites), tuple(utc.tolist()))


@functools.lru_cache(maxsize=16)
def _sky_over(sites: tuple[Site, ...], times_mjd_utc: tuple[float, ...]) -> Sky:
    utc = np.array(times_mjd_utc)
    tt, to_terrestrial = _earth(utc)
    zenith, place_au = _places(sites, to_terrestrial)
    helio, bary = erfa.epv00(_MJD, tt)  # TDB - TT < 2 ms moves nothing here
    velocity = bary["v"] / _C_AU_PER_DAY + _rotation_velocity(place_au, to_terrestrial)
    sun = -helio["p"]
    moon = erfa.moon98(_MJD, tt)["p"]
    sun_seen, moon_seen = _unit(sun - place_au), _unit(moon - place_au)
    sky = Sky(
        times_mjd_utc=utc,
        zenith=zenith,
        velocity=velocity,
        meridian=_meridians(sites, to_terrestrial),
        pole=to_terrestrial[:, 2, :],  # the terrestrial z axis seen in GCRS
        sun=sun_seen,
        sun_altitude_deg=_asin_deg(_seen_sine(zenith, sun_seen, velocity)),
        moon=moon_seen,
        # The Moon shares the Earth's orbital motion: no annual aberration.
        moon_altitude_deg=_asin_deg(np.sum(zenith * moon_seen, axis=-1)),
        moon_illumination=illuminated_fraction(sun, moon),
    )
    for field in dataclasses.fields(Sky):
        getattr(sky, field.name).flags.writeable = False
    return sky


def illuminated_fraction(sun: Array, moon: Array) -> Array:
    """Lit fraction of the Moon's disc from geocentric vectors (..., 3) in one unit.

    (1 + cos i) / 2 with i the angle at the Moon between Sun and Earth; Meeus (1998)
    equation 48.1.
    """
    cosine = np.sum(_unit(sun - moon) * _unit(-moon), axis=-1)
    fraction: Array = (1.0 + cosine) / 2.0
    return fraction


def sin_altitude(
    targets: npt.NDArray[Any],
    sky: Sky,
    site: int,
    columns: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[Any]:
    """Sine of the altitude, (N, T'), of ``targets`` (N, 3) over one site of ``sky``.

    ``columns`` picks T' of the times; None takes all.
    Computed in the precision of ``targets``. Written out by components, not as a matrix
    product: a target's answer then does not depend on which others are in the array.
    """
    zenith, velocity = sky.zenith[site], sky.velocity[site]
    if columns is not None:
        zenith, velocity = zenith[columns], velocity[columns]
    slowed = np.sqrt(1.0 - np.sum(velocity * velocity, axis=-1))
    shift = np.sum(zenith * velocity, axis=-1)
    vertical = dots(targets, zenith * slowed[:, None])
    drift = dots(targets, velocity)
    vertical += shift.astype(targets.dtype)
    vertical += drift * (shift / (1.0 + slowed)).astype(targets.dtype)
    np.add(drift, 1, out=drift)
    np.divide(vertical, drift, out=vertical)
    return vertical


def observability(
    ra_deg: npt.ArrayLike,
    dec_deg: npt.ArrayLike,
    instruments: Sequence[Instrument],
    times_mjd_utc: npt.ArrayLike,
) -> Observability:
    """All targets x instruments x times at once, in single precision (0.02 arcsec at 45 deg).

    Parameters
    ----------
    ra_deg, dec_deg
        (N,) ICRS.
    times_mjd_utc
        (T,) MJD on the UTC scale.
    """
    targets = unit_vectors(ra_deg, dec_deg).astype(np.float32)
    sites = list(dict.fromkeys(instrument.site for instrument in instruments))
    sky = sky_over(sites, times_mjd_utc) if sites else None
    n_times = len(np.atleast_1d(np.asarray(times_mjd_utc)))
    shape = (len(instruments), len(targets), n_times)
    result = Observability(
        times_mjd_utc=np.atleast_1d(np.asarray(times_mjd_utc, float)),
        allowed=np.zeros(shape, bool),
        airmass=np.full(shape, np.inf, np.float32),
        dark=np.zeros((shape[0], shape[2]), bool),
        up_in_dark=np.zeros(shape[:2], bool),
    )
    if sky is not None:

        def fill(low: int, high: int) -> None:
            for number in range(low, high):
                instrument = instruments[number]
                _fill(result, number, instrument, targets, sky, sites.index(instrument.site))

        run_chunks(fill, len(instruments), serial_below=1 if result.allowed.size > 1e6 else 1000)
    return result


def _fill(
    result: Observability,
    number: int,
    instrument: Instrument,
    targets: npt.NDArray[np.float32],
    sky: Sky,
    site: int,
) -> None:
    if instrument.is_in_space:
        dark = np.ones(len(sky.times_mjd_utc), bool)
    else:
        dark = sky.sun_altitude_deg[site] <= instrument.sun_altitude_deg
    result.dark[number] = dark
    columns = np.flatnonzero(dark & ~instrument.is_down(sky.times_mjd_utc))
    if not len(columns) or not len(targets):
        return
    if instrument.is_in_space:
        sine = np.ones((len(targets), len(columns)), targets.dtype)
        within = _apart(targets, sky.sun[site, columns], instrument.sun_separation_deg)
        moon_up = np.ones(len(columns), bool)
    else:
        sine = sin_altitude(targets, sky, site, columns)
        lowest = max(np.sin(np.radians(instrument.min_altitude_deg)), 1.0 / instrument.max_airmass)
        highest = np.sin(np.radians(instrument.max_altitude_deg))
        within = (sine >= np.float32(lowest)) & (sine <= np.float32(highest))
        if instrument.max_hour_angle_h < 12.0:
            within &= _near_meridian(targets, sky, site, columns, instrument.max_hour_angle_h)
        moon_up = sky.moon_altitude_deg[site, columns] > 0.0
    result.up_in_dark[number] = within.any(axis=1)
    if moon_up.any() and instrument.moon_separation_deg > 0.0:
        moon = sky.moon[site, columns[moon_up]]
        within[:, moon_up] &= _apart(targets, moon, instrument.moon_separation_deg)
    window = slice(columns[0], columns[-1] + 1)
    if len(columns) == window.stop - window.start:  # one unbroken night: no scatter needed
        result.allowed[number, :, window] = within
        np.divide(1, sine, out=result.airmass[number, :, window], where=within)
    else:
        result.allowed[number][:, columns] = within
        result.airmass[number][:, columns] = np.where(within, 1 / sine, np.inf)


def _apart(
    targets: npt.NDArray[np.float32], bodies: Array, least_deg: float
) -> npt.NDArray[np.bool_]:
    """(N, T) whether targets are at least so far from a moving body (T, 3)."""
    nearest = np.float32(np.cos(np.radians(least_deg)))
    return np.asarray(dots(targets, bodies) <= nearest)


def _near_meridian(
    targets: npt.NDArray[np.float32], sky: Sky, site: int, columns: npt.NDArray[np.int64],
    most_h: float,
) -> npt.NDArray[np.bool_]:  # fmt: skip
    """(N, T') whether the hour angle is at most ``most_h``, without aberration."""
    north = dots(targets, sky.pole[columns])
    across = np.sqrt(np.maximum(0, 1 - north * north))
    least = np.float32(np.cos(np.radians(15.0 * most_h)))
    return np.asarray(dots(targets, sky.meridian[site, columns]) >= least * across)


def _earth(utc: Array) -> tuple[Array, Array]:
    """Terrestrial time (MJD) and the GCRS-to-ITRS matrices (T, 3, 3)."""
    dut1_s, x_rad, y_rad = _orientation(utc)
    with warnings.catch_warnings():
        # Years past erfa's leap-second table are "dubious": the last known offset is used.
        warnings.simplefilter("ignore", erfa.ErfaWarning)
        tai1, tai2 = erfa.utctai(_MJD, utc)
    tt1, tt2 = erfa.taitt(tai1, tai2)
    matrix = erfa.c2t06a(tt1, tt2, _MJD, utc + dut1_s / 86400.0, x_rad, y_rad)
    return np.asarray((tt1 - _MJD) + tt2), np.asarray(matrix)


@functools.cache
def _orientation_table() -> Any:
    with iers.conf.set_temp("auto_download", False):
        return iers.IERS_Auto.open()


def _orientation(utc: Array) -> tuple[Array, Array, Array]:
    """UT1-UTC in s and the pole's x and y in rad; zero beyond the bundled table."""
    table = _orientation_table()
    with iers.conf.set_temp("auto_download", False):
        dut1, dut1_status = table.ut1_utc(_MJD, utc, return_status=True)
        x, y, pole_status = table.pm_xy(_MJD, utc, return_status=True)
    outside = (iers.TIME_BEFORE_IERS_RANGE, iers.TIME_BEYOND_IERS_RANGE)
    no_dut1, no_pole = np.isin(dut1_status, outside), np.isin(pole_status, outside)
    return (
        np.where(no_dut1, 0.0, dut1.to_value("s")),
        np.where(no_pole, 0.0, x.to_value("rad")),
        np.where(no_pole, 0.0, y.to_value("rad")),
    )


def _places(sites: Sequence[Site], to_terrestrial: Array) -> tuple[Array, Array]:
    """Zeniths (unit) and geocentric places (au) of the sites in GCRS, each (S, T, 3)."""
    lon = np.radians([site.longitude_deg for site in sites])
    lat = np.radians([site.latitude_deg for site in sites])
    height = np.array([site.altitude_m for site in sites], float)
    normal = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
    place_m = erfa.gd2gc(1, lon, lat, height)  # 1: WGS84
    turned = [np.einsum("tji,sj->sti", to_terrestrial, v) for v in (normal, place_m)]
    return turned[0], turned[1] / _AU_M


def _meridians(sites: Sequence[Site], to_terrestrial: Array) -> Array:
    lon = np.radians([site.longitude_deg for site in sites])
    equator = np.stack([np.cos(lon), np.sin(lon), np.zeros(len(sites))], -1)
    return np.asarray(np.einsum("tji,sj->sti", to_terrestrial, equator))


def _rotation_velocity(place_au: Array, to_terrestrial: Array) -> Array:
    """Velocity over c of the sites by the Earth's rotation, (S, T, 3)."""
    axis = to_terrestrial[:, 2, :]  # the terrestrial z axis seen in GCRS
    return np.cross(axis[None], place_au) * (_EARTH_RATE * 86400.0 / _C_AU_PER_DAY)


def dots(targets: npt.NDArray[Any], vectors: Array) -> npt.NDArray[Any]:
    """(N, 3) . (T, 3) -> (N, T), element by element: no row sees the others."""
    v = vectors.astype(targets.dtype)
    total: npt.NDArray[Any] = targets[:, :1] * v[:, 0]
    total += targets[:, 1:2] * v[:, 1]
    total += targets[:, 2:3] * v[:, 2]
    return total


def _seen_sine(zenith: Array, direction: Array, velocity: Array) -> Array:
    """:func:`sin_altitude` for one moving body, all (S, T, 3), to first order in v."""
    drift = np.sum(direction * velocity, axis=-1)
    vertical = np.sum(zenith * direction, axis=-1)
    sine: Array = vertical * (1.0 - drift) + np.sum(zenith * velocity, axis=-1)
    return sine


def _unit(vectors: Array) -> Array:
    unit: Array = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def _asin_deg(sine: Array) -> Array:
    angle: Array = np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0)))
    return angle
