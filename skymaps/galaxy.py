"""Where on the sky core collapses of the Milky Way are expected.

A thin disc, rho ~ exp(-R / 2.9 kpc) exp(-|z| / 95 pc), seen from R = 8.7 kpc, 24 pc above
the plane: the model of Adams et al. 2013, ApJ 778, 164, for the progenitors of core
collapses, integrated along the line of sight. Their parameters are typed from notes on the
paper. No bulge: its stars are too old to collapse. A share of the probability is
spread over the whole sky (:data:`ISOTROPIC_SHARE`), for the Magellanic Clouds, the halo and
what the model does not know: a prior may rank directions, it must not exclude any.
"""

from __future__ import annotations

import math
from functools import lru_cache

import erfa
import numpy as np
from numba import njit

from skymaps.skymap import FloatArray

__all__ = ["ISOTROPIC_SHARE", "draw_disc", "log_sky_density", "log_sky_density_top"]

ISOTROPIC_SHARE = 0.1
"""Share of the prior that is uniform on the sky."""
SCALE_LENGTH_KPC = 2.9
SCALE_HEIGHT_KPC = 0.095
SUN_RADIUS_KPC = 8.7
SUN_HEIGHT_KPC = 0.024
_N_LON = 181
_N_LAT = 257
_FLARE = 6.0
"""Latitude nodes at 90 deg * sinh(6 u) / sinh(6): 0.02 deg apart in the plane."""


def _icrs_to_galactic() -> FloatArray:
    axes = erfa.g2icrs(np.radians([0.0, 90.0, 0.0]), np.radians([0.0, 0.0, 90.0]))
    return np.ascontiguousarray(erfa.s2c(*axes))


_ROTATION = _icrs_to_galactic()


@lru_cache(maxsize=1)
def _log_table() -> FloatArray:
    """ln of the disc's density per sr, by |l| (1 deg) and b (sinh-spaced); integrates to one."""
    lon = np.radians(np.linspace(0.0, 180.0, _N_LON))
    u = np.linspace(-1.0, 1.0, _N_LAT)
    lat = 0.5 * np.pi * np.sinh(_FLARE * u) / math.sinh(_FLARE)
    log_s = np.linspace(math.log(1e-3), math.log(40.0), 400)
    s = np.exp(log_s)
    out = np.empty((_N_LON, _N_LAT))
    z = SUN_HEIGHT_KPC + np.sin(lat)[:, None] * s
    along = np.cos(lat)[:, None] * s
    for i, angle in enumerate(lon):
        radius = np.hypot(SUN_RADIUS_KPC - along * math.cos(angle), along * math.sin(angle))
        rho = np.exp(-radius / SCALE_LENGTH_KPC - np.abs(z) / SCALE_HEIGHT_KPC)
        out[i] = np.trapezoid(rho * s**3, log_s, axis=1)
    ring = np.trapezoid(out * np.cos(lat), lat, axis=1)
    return np.log(out / (2.0 * np.trapezoid(ring, lon)))


def log_sky_density(xyz: FloatArray) -> FloatArray:
    """ln of the prior per steradian at unit vectors of ICRS, shape (n, 3)."""
    out = np.empty(len(xyz))
    _interpolate(np.ascontiguousarray(xyz), _ROTATION, _log_table(), ISOTROPIC_SHARE, out)
    return out


def log_sky_density_top() -> float:
    """Upper bound of :func:`log_sky_density`."""
    return float(np.logaddexp(_log_table().max(), -math.log(4.0 * math.pi)))


@njit(cache=True, nogil=True)
def _interpolate(
    xyz: FloatArray, rotation: FloatArray, table: FloatArray, floor: float, out: FloatArray
) -> None:
    middle = (table.shape[1] - 1) // 2
    uniform = floor / (4.0 * math.pi)
    stretch = math.sinh(_FLARE) / (0.5 * math.pi)
    for k in range(len(xyz)):
        x = 0.0
        y = 0.0
        z = 0.0
        for j in range(3):
            x += rotation[0, j] * xyz[k, j]
            y += rotation[1, j] * xyz[k, j]
            z += rotation[2, j] * xyz[k, j]
        lon = abs(math.atan2(y, x)) * (180.0 / math.pi)
        lat = math.asin(min(1.0, max(-1.0, z)))
        column = middle * (1.0 + math.asinh(lat * stretch) / _FLARE)
        i = min(int(lon), table.shape[0] - 2)
        j = min(max(int(column), 0), table.shape[1] - 2)
        a = lon - i
        b = column - j
        value = (1.0 - a) * ((1.0 - b) * table[i, j] + b * table[i, j + 1]) + a * (
            (1.0 - b) * table[i + 1, j] + b * table[i + 1, j + 1]
        )
        out[k] = math.log((1.0 - floor) * math.exp(value) + uniform)


def draw_disc(n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Positions drawn from the disc itself: (ra_deg, dec_deg, distance_kpc)."""
    radius = rng.gamma(2.0, SCALE_LENGTH_KPC, n)
    angle = rng.uniform(0.0, 2.0 * np.pi, n)
    height = rng.laplace(0.0, SCALE_HEIGHT_KPC, n)
    xyz = np.stack(
        [
            SUN_RADIUS_KPC - radius * np.cos(angle),
            radius * np.sin(angle),
            height - SUN_HEIGHT_KPC,
        ],
        axis=-1,
    )
    distance = np.linalg.norm(xyz, axis=-1)
    icrs = (xyz / distance[:, None]) @ _ROTATION
    ra, dec = erfa.c2s(icrs)
    return np.degrees(ra) % 360.0, np.degrees(dec), distance
