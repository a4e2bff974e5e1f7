"""Density and credible level in 3D, exact or averaged over a candidate's distance."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from skymaps.skymap import FloatArray
from skymaps.volume import Curve, level_at

__all__ = ["GAUSS_RULE", "volume_levels", "volume_levels_gridded"]

_SQRT2 = math.sqrt(2.0)
_REACH = 6.0
"""A distance error is integrated this many standard deviations to either side."""
_RESOLUTION = 0.25
"""Largest step in a gridded distance, in standard deviations of the tile's Gaussian."""
_FAR_OUT = 12.0
"""Standard deviations from a tile's densest point beyond which it is not looked at."""
GAUSS_RULE = np.array(np.polynomial.legendre.leggauss(48))
"""Nodes and weights of the integration over a piece of a distance error."""


@njit(cache=True, nogil=True, error_model="numpy")
def volume_levels(
    tile: npt.NDArray,
    distance: FloatArray,
    errors: FloatArray,
    lo: int,
    hi: int,
    model: tuple[FloatArray, FloatArray, FloatArray],
    curve: Curve,
    rule: FloatArray,
    density_out: FloatArray,
    level_out: FloatArray,
) -> None:
    """3D density and level of candidates lo..hi in known tiles; NaN where one has no distance.

    ``errors`` has shape (2, candidates): below and above the distance; or (2, 0) when all are
    exact. Density and level are averaged over the two-piece normal distribution, cut at zero.
    ``model`` is (mu, sigma, log amplitude) of the tiles, ``rule`` is :data:`GAUSS_RULE`.
    """
    mu, sigma, log_amplitude = model
    for i in range(lo, hi):
        density_out[i] = np.nan
        level_out[i] = np.nan
        k = tile[i]
        d = distance[i]
        if k < 0 or not (d >= 0.0 and math.isfinite(d)) or not math.isfinite(mu[k]):
            continue
        below = errors[0, i] if errors.shape[1] else 0.0
        above = errors[1, i] if errors.shape[1] else 0.0
        if below > 0.0 and above > 0.0:
            gaussian = (mu[k], sigma[k], log_amplitude[k])
            density_out[i] = _mean_density(d, below, above, gaussian)
            level_out[i] = _mean_level(d, below, above, gaussian, curve, rule)
        else:
            z = (d - mu[k]) / sigma[k]
            log_density = log_amplitude[k] - 0.5 * z * z
            density_out[i] = math.exp(log_density)
            level_out[i] = level_at(log_density, curve)


@njit(cache=True, nogil=True, error_model="numpy")
def _between(a: float, b: float) -> float:
    """Integral of exp(-z*z/2) from a to b >= a, without loss where both are far out."""
    if a > 0.0:
        inside = math.erfc(a / _SQRT2) - math.erfc(b / _SQRT2)
    elif b < 0.0:
        inside = math.erfc(-b / _SQRT2) - math.erfc(-a / _SQRT2)
    else:
        inside = math.erf(b / _SQRT2) - math.erf(a / _SQRT2)
    return inside * math.sqrt(0.5 * math.pi)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _whole_two_piece(d: float, below: float, above: float) -> float:
    """Integral of the two-piece normal shape over r >= 0."""
    return below * _between(-d / below, 0.0) + above * _between(0.0, 40.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _mean_density(
    d: float, below: float, above: float, gaussian: tuple[float, float, float]
) -> float:
    """Density averaged over the candidate's distance: a product of Gaussians on either side."""
    mu, sigma, log_amplitude = gaussian
    total = 0.0
    for side in range(2):
        s = below if side == 0 else above
        width = sigma * s / math.hypot(sigma, s)
        middle = width * width * (mu / (sigma * sigma) + d / (s * s))
        a = ((0.0 if side == 0 else d) - middle) / width
        b = (d - middle) / width if side == 0 else max(a, 0.0) + 40.0
        spread = (mu - d) / math.hypot(sigma, s)
        total += math.exp(log_amplitude - 0.5 * spread * spread) * width * _between(a, b)
    return total / _whole_two_piece(d, below, above)


@njit(cache=True, nogil=True, error_model="numpy")
def _mean_level(
    d: float,
    below: float,
    above: float,
    gaussian: tuple[float, float, float],
    curve: Curve,
    rule: FloatArray,
) -> float:
    """Level averaged over the candidate's distance.

    The level is the same constant wherever the density is below the table. Only where it is
    not is the difference integrated, by Gauss-Legendre in pieces that end at d and at mu.
    """
    mu, sigma, log_amplitude = gaussian
    total = curve[6]
    above_table = log_amplitude - (curve[0] - curve[3][-1] ** 2)
    if above_table <= 0.0:
        return total
    reach = math.sqrt(2.0 * above_table) * sigma
    lo = max(0.0, mu - reach, d - _REACH * below)
    hi = min(mu + reach, d + _REACH * above)
    if hi <= lo:
        return total
    first = min(max(min(d, mu), lo), hi)
    second = min(max(max(d, mu), lo), hi)
    missing = 0.0
    for piece in range(3):
        a = lo if piece == 0 else (first if piece == 1 else second)
        b = first if piece == 0 else (second if piece == 1 else hi)
        if b <= a:
            continue
        half = 0.5 * (b - a)
        for j in range(rule.shape[1]):
            r = a + half * (1.0 + rule[0, j])
            z = (r - d) / (below if r < d else above)
            weight = rule[1, j] * half * math.exp(-0.5 * z * z)
            z = (r - mu) / sigma
            missing += weight * (total - level_at(log_amplitude - 0.5 * z * z, curve))
    return total - missing / _whole_two_piece(d, below, above)


@njit(cache=True, nogil=True, error_model="numpy")
def volume_levels_gridded(
    tile: npt.NDArray,
    distance: FloatArray,
    pdf: FloatArray,
    grid: FloatArray,
    lo: int,
    hi: int,
    model: tuple[FloatArray, FloatArray, FloatArray],
    curve: Curve,
    density_out: FloatArray,
    level_out: FloatArray,
) -> None:
    """The same for distances known as densities ``pdf[candidate, node]`` over ``grid[node]``.

    ``distance[node]`` is the distance there (grid and distance may both be distances, or a
    redshift and its distance). Both are taken as linear between the nodes.
    """
    mu, sigma, log_amplitude = model
    total = curve[6]
    for i in range(lo, hi):
        density_out[i] = np.nan
        level_out[i] = np.nan
        k = tile[i]
        if k < 0 or not math.isfinite(mu[k]):
            continue
        norm = 0.0
        density = 0.0
        missing = 0.0
        for j in range(len(grid) - 1):
            left, right = pdf[i, j], pdf[i, j + 1]
            if not (left >= 0.0 and right >= 0.0 and left + right > 0.0):
                continue
            norm += 0.5 * (left + right) * (grid[j + 1] - grid[j])
            near = distance[j] - max(mu[k], 0.0) < _FAR_OUT * sigma[k]
            if not (near and mu[k] - distance[j + 1] < _FAR_OUT * sigma[k]):
                continue  # neither density nor a level below the total
            span = distance[j + 1] - distance[j]
            count = int(min(max(span / (_RESOLUTION * sigma[k]), 1.0), 1000.0)) + 1
            for c in range(count):
                f = (c + 0.5) / count
                w = (left + f * (right - left)) * (grid[j + 1] - grid[j]) / count
                z = (distance[j] + f * span - mu[k]) / sigma[k]
                log_density = log_amplitude[k] - 0.5 * z * z
                density += w * math.exp(log_density)
                missing += w * (total - level_at(log_density, curve))
        if norm > 0.0:
            density_out[i] = density / norm
            level_out[i] = total - missing / norm
