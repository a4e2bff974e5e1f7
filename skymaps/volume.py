"""Credible levels in three dimensions, in closed form.

A map in 3D has the density per volume rho(n, r) = p(n) N Normal(r; mu, sigma): the r^2 of the
distance posterior cancels against that of the volume element. Where a tile's density is above
a threshold is therefore one interval of r, cut at r = 0, and the probability in it has a
closed form. The credible level of a point is the sum of these over all tiles, F(log rho),
tabulated once for each map and interpolated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from skymaps.distance import FAR_BELOW, mills, phi
from skymaps.skymap import FloatArray, SkyMap
from skymaps.threads import run_chunks

__all__ = ["VolumeTable", "level_at", "tile_log_peaks", "volume_levels", "volume_table"]

_SQRT2 = math.sqrt(2.0)
_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
_KNOTS = 512
_DEPTH = 45.0
"""The table ends this many e-folds below the densest point."""


@njit(cache=True, nogil=True)
def _scaled_mass(x: float, u: float) -> float:
    """Integral of t^2 phi(t - x) over t >= 0 and abs(t - x) <= u, divided by exp(-x*x/2) if x < -4.

    With t = r / sigma, x = mu / sigma. For x far below 0 the plain formula is the small
    difference of large terms, hence the Mills ratio.
    """
    b = x + u
    if b <= 0.0:
        return 0.0
    if x >= FAR_BELOW:
        a = max(x - u, 0.0)
        za = a - x
        if za > 1.0:
            inside = 0.5 * (math.erfc(za / _SQRT2) - math.erfc(u / _SQRT2))
        else:
            inside = 0.5 * (math.erf(u / _SQRT2) - math.erf(za / _SQRT2))
        return (x * x + 1.0) * inside + (x + a) * phi(za) - (x + b) * phi(u)
    whole = (x * x + 1.0) * mills(-x) + x
    beyond = math.exp(x * b - 0.5 * b * b) * ((x * x + 1.0) * mills(u) + x + b)
    return (whole - beyond) * math.exp(-_LOG_SQRT_2PI)


@njit(cache=True, nogil=True)
def _mass_above(
    threshold: float,
    log_amplitude: FloatArray,
    x: FloatArray,
    weight: FloatArray,
) -> float:
    """Probability of all points with log density above the threshold."""
    total = 0.0
    for i in range(len(x)):
        below = log_amplitude[i] - threshold
        if below > 0.0:
            total += weight[i] * _scaled_mass(x[i], math.sqrt(2.0 * below))
    return total


@njit(cache=True, nogil=True)
def _masses(
    thresholds: FloatArray,
    lo: int,
    hi: int,
    log_amplitude: FloatArray,
    x: FloatArray,
    weight: FloatArray,
    out: FloatArray,
) -> None:
    for k in range(lo, hi):
        out[k] = _mass_above(thresholds[k], log_amplitude, x, weight)


@dataclass(frozen=True)
class VolumeTable:
    """F(log rho) of one map: probability of all that is denser, on even knots."""

    lowest: float
    """Log density (per Mpc^3) of the first knot."""
    step: float
    level: FloatArray
    """F at the knots, falling; the last is 0 at the densest point of the map."""
    slope: FloatArray
    """dF per knot, for cubic Hermite interpolation."""
    total: float
    """Probability of all tiles with a distance."""


def _tile_terms(
    skymap: SkyMap, distances: tuple[FloatArray, FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """For tiles with distance and probability: mu / sigma, log amplitude, weight."""
    mu, sigma, norm = distances
    use = np.isfinite(mu) & (skymap.density_sr > 0.0)
    mu, sigma, norm = mu[use], sigma[use], norm[use]
    x = mu / sigma
    log_pn = np.log(skymap.density_sr[use]) + np.log(norm)
    scale = np.where(x < FAR_BELOW, -0.5 * x * x, 0.0)
    weight = skymap.area_sr[use] * np.exp(log_pn + 2.0 * np.log(sigma) + scale)
    return x, log_pn - np.log(sigma) - _LOG_SQRT_2PI, weight


def volume_table(skymap: SkyMap, *, workers: int | None = None) -> VolumeTable | None:
    """Tabulate F(log rho); None for a map in which no tile has a distance."""
    if skymap.distances is None:
        return None
    x, log_amplitude, weight = _tile_terms(skymap, skymap.distances)
    if len(x) == 0:
        return None
    peaks = log_amplitude - 0.5 * np.minimum(x, 0.0) ** 2
    top = float(peaks.max())
    thresholds = np.linspace(top - _DEPTH, top, _KNOTS)
    level = np.empty(_KNOTS)
    # Knots cost more the lower they are; dealing them in turn keeps both threads busy.
    deal = np.random.default_rng(0).permutation(_KNOTS)
    dealt = np.empty(_KNOTS)
    run_chunks(
        lambda lo, hi: _masses(thresholds[deal], lo, hi, log_amplitude, x, weight, dealt),
        _KNOTS,
        workers,
    )
    level[deal] = dealt
    level[-1] = 0.0
    total = _mass_above(-1e6, log_amplitude, x, weight)
    step = thresholds[1] - thresholds[0]
    return VolumeTable(float(thresholds[0]), float(step), level, _monotone_slopes(level), total)


def _monotone_slopes(y: FloatArray) -> FloatArray:
    """Slopes per knot that keep a cubic Hermite curve monotone (Fritsch & Butland 1984)."""
    d = np.diff(y)
    slope = np.empty_like(y)
    slope[0], slope[-1] = d[0], d[-1]
    left, right = d[:-1], d[1:]
    same = left * right > 0.0
    slope[1:-1] = np.where(same, 2.0 * left * right / np.where(same, left + right, 1.0), 0.0)
    return slope


@njit(cache=True, nogil=True)
def level_at(
    log_density: float,
    lowest: float,
    step: float,
    level: FloatArray,
    slope: FloatArray,
    total: float,
) -> float:
    """Interpolate the table at one log density."""
    t = (log_density - lowest) / step
    last = len(level) - 1
    if t >= last:
        return 0.0
    if not t > 0.0:
        return total
    k = int(t)
    h = t - k
    g = 1.0 - h
    return (
        level[k] * (1.0 + 2.0 * h) * g * g
        + slope[k] * h * g * g
        + level[k + 1] * h * h * (3.0 - 2.0 * h)
        - slope[k + 1] * h * h * g
    )


def tile_log_peaks(skymap: SkyMap) -> FloatArray:
    """log(p N / (sqrt(2 pi) sigma)) of each tile; NaN: no distance."""
    if skymap.distances is None:
        return np.empty(0)
    _, sigma, norm = skymap.distances
    with np.errstate(divide="ignore"):
        log_p = np.log(skymap.density_sr)
    return log_p + np.log(norm) - np.log(sigma) - _LOG_SQRT_2PI


@njit(cache=True, nogil=True)
def volume_levels(
    tile: np.ndarray,
    distance: FloatArray,
    error: FloatArray,
    mu: FloatArray,
    sigma: FloatArray,
    log_amplitude: FloatArray,
    lowest: float,
    step: float,
    level: FloatArray,
    slope: FloatArray,
    total: float,
    density_out: FloatArray,
    level_out: FloatArray,
) -> None:
    """3D density and level of candidates in known tiles; NaN where either has no distance.

    With an error, both are averaged over Normal(distance, error) cut at zero, by an even rule
    whose spacing resolves the narrower of the candidate's and the tile's Gaussian.
    """
    for i in range(len(tile)):
        density_out[i] = np.nan
        level_out[i] = np.nan
        k = tile[i]
        d = distance[i]
        if k < 0 or not (d >= 0.0 and math.isfinite(d)) or not math.isfinite(mu[k]):
            continue
        s = error[i]
        if not s > 0.0:
            z = (d - mu[k]) / sigma[k]
            log_density = log_amplitude[k] - 0.5 * z * z
            density_out[i] = math.exp(log_density)
            level_out[i] = level_at(log_density, lowest, step, level, slope, total)
            continue
        half = 5.0 * s
        count = math.ceil(2.0 * half / (0.25 * min(s, sigma[k]))) + 1
        count = min(max(count, 41), 2001)
        norm = 0.0
        density_sum = 0.0
        level_sum = 0.0
        for j in range(count):
            r = d - half + 2.0 * half * (j + 0.5) / count
            if r < 0.0:
                continue
            z = (r - d) / s
            w = math.exp(-0.5 * z * z)
            z = (r - mu[k]) / sigma[k]
            log_density = log_amplitude[k] - 0.5 * z * z
            norm += w
            density_sum += w * math.exp(log_density)
            level_sum += w * level_at(log_density, lowest, step, level, slope, total)
        density_out[i] = density_sum / norm
        level_out[i] = level_sum / norm
