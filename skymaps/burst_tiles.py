"""Tiles for a density that is a sum of exponentials of concave polynomials of the direction.

Each term exp(a - (2 g.n + n.M.n) / 2) with M positive semidefinite lies below its tangent:
within a tile its logarithm is at most its value at the centre plus slope times radius. That
bound finds narrow rings that no sample of a coarse tile would hit, and proves other tiles
empty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit

from skymaps.galaxy import log_sky_density, log_sky_density_top
from skymaps.healpix import point_on_tile
from skymaps.skymap import FloatArray, IntArray

__all__ = ["Terms", "tile_sphere"]

_FIRST_ORDER = 4
_LAST_ORDER = 13
_UNIFORM = -math.log(4.0 * math.pi)
_SMOOTH = 0.7
"""A tile at the peak is divided while ln density varies by more within it ..."""
_FAINT = 0.1
"""... and one that is fainter while it varies by this share of the difference more."""
_HIDDEN = 3.0
"""A tile is divided while the bound of ln density exceeds it at the centre by more than this."""
_WHOLE = 0.05
"""A tile whose quarters differ by less than this share stays one tile."""
_EMPTY = 10.0
"""A tile whose density is this far in ln below the peak everywhere is left whole."""
_MOST = 20_000
"""Most tiles divided at once, those with the highest bound: what narrower errors would need
beyond these is not resolved."""
_RADIUS = 1.05
"""Largest distance from a tile's centre to its corner, times nside (rad)."""


@dataclass(frozen=True)
class Terms:
    """ln density is the log-sum-exp over rows of a + b.n - n.M.n / 2."""

    level: FloatArray
    """a, shape (h,)."""
    slope: FloatArray
    """b, shape (h, 3)."""
    bend: FloatArray
    """M, shape (h, 3, 3)."""


def tile_sphere(
    terms: Terms, galactic_prior: bool
) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Order, nested index and density of tiles over the whole sphere, and each term's share.

    The density is relative (its maximum is near one); shares sum to one.
    """
    done: list[tuple[IntArray, IntArray, FloatArray]] = []
    peak = -np.inf
    pixels = np.arange(12 * 4**_FIRST_ORDER, dtype=np.int64)
    for level in range(_FIRST_ORDER, _LAST_ORDER + 1):
        centre, quarters, centre_prior, quarter_prior = _grid(level, pixels, galactic_prior)
        middle = np.zeros(len(pixels))
        top = np.empty(len(pixels))
        radius = _RADIUS / 2**level
        _evaluate_bound(centre, terms.level, terms.slope, terms.bend, radius, middle, top)
        is_steep = top - middle > _HIDDEN
        top += log_sky_density_top() if galactic_prior else _UNIFORM
        middle += centre_prior
        value = quarter_prior.copy()
        _evaluate(quarters, terms.level, terms.slope, terms.bend, value)
        value = value.reshape(-1, 4)
        highest = np.maximum(value.max(axis=1), middle)
        lowest = np.minimum(value.min(axis=1), middle)
        peak = max(peak, float(highest.max()))
        split = (is_steep & (top > peak - _EMPTY)) | (
            (highest - lowest > _SMOOTH + _FAINT * (peak - highest)) & (highest > peak - _EMPTY)
        )
        if level == _LAST_ORDER:
            split[:] = False
        if np.count_nonzero(split) > _MOST:
            split &= top >= np.partition(top[split], -_MOST)[-_MOST]
        keep = ~split
        done.append((np.full(int(keep.sum()), level, np.int64), pixels[keep], value[keep]))
        if not split.any():
            break
        pixels = (pixels[split][:, None] * 4 + np.arange(4)).ravel()
    order, ipix, value = (np.concatenate(part) for part in zip(*done, strict=True))
    order, ipix, density = _as_sampled(order, ipix, np.exp(value - peak))
    centre = _centres(order, ipix)
    shares = np.zeros(len(terms.level))
    weight = density * np.exp2(-2.0 * order)
    _add_shares(centre, terms.level, terms.slope, terms.bend, weight, shares)
    return order, ipix, density, shares / shares.sum()


def _as_sampled(
    order: IntArray, ipix: IntArray, density: FloatArray
) -> tuple[IntArray, IntArray, FloatArray]:
    """Tiles whose quarters (columns of ``density``) differ as quarters, the others whole."""
    fine = (np.ptp(density, axis=1) > _WHOLE * density.max(axis=1)) & (
        density.max(axis=1) > math.exp(-_EMPTY)
    )
    return (
        np.concatenate([order[~fine], np.repeat(order[fine] + 1, 4)]),
        np.concatenate([ipix[~fine], (ipix[fine][:, None] * 4 + np.arange(4)).ravel()]),
        np.concatenate([density[~fine].mean(axis=1), density[fine].ravel()]),
    )


def _centres(order: int | IntArray, ipix: IntArray) -> FloatArray:
    """Unit vectors of tiles' centres."""
    out = np.empty((len(ipix), 3))
    _fill_centres(np.broadcast_to(np.asarray(order, np.int64), ipix.shape), ipix, out)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_centres(order: IntArray, ipix: IntArray, out: FloatArray) -> None:
    for k in range(len(ipix)):
        ra, dec = point_on_tile(order[k], ipix[k], 0.5, 0.5)
        ra *= math.pi / 180.0
        dec *= math.pi / 180.0
        out[k, 0] = math.cos(dec) * math.cos(ra)
        out[k, 1] = math.cos(dec) * math.sin(ra)
        out[k, 2] = math.sin(dec)


@lru_cache(maxsize=2)
def _first_grid(galactic_prior: bool) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Centres of the coarsest tiles and of their quarters, and ln of the prior at each."""
    pixels = np.arange(12 * 4**_FIRST_ORDER, dtype=np.int64)
    centre = _centres(_FIRST_ORDER, pixels)
    quarters = _centres(_FIRST_ORDER + 1, np.arange(4 * len(pixels), dtype=np.int64))
    return (
        centre,
        quarters,
        _log_prior(centre, galactic_prior),
        _log_prior(quarters, galactic_prior),
    )


def _grid(
    level: int, pixels: IntArray, galactic_prior: bool
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """The same for any tiles."""
    if level == _FIRST_ORDER:
        return _first_grid(galactic_prior)
    centre = _centres(level, pixels)
    quarters = _centres(level + 1, (pixels[:, None] * 4 + np.arange(4)).ravel())
    return (
        centre,
        quarters,
        _log_prior(centre, galactic_prior),
        _log_prior(quarters, galactic_prior),
    )


def _log_prior(xyz: FloatArray, galactic_prior: bool) -> FloatArray:
    return log_sky_density(xyz) if galactic_prior else np.full(len(xyz), _UNIFORM)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _term(x: float, y: float, z: float, level: float, slope: FloatArray, bend: FloatArray) -> float:
    return (
        level
        + slope[0] * x
        + slope[1] * y
        + slope[2] * z
        - 0.5 * (bend[0, 0] * x * x + bend[1, 1] * y * y + bend[2, 2] * z * z)
        - bend[0, 1] * x * y
        - bend[0, 2] * x * z
        - bend[1, 2] * y * z
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _evaluate(
    xyz: FloatArray, level: FloatArray, slope: FloatArray, bend: FloatArray, out: FloatArray
) -> None:
    """Adds the log-sum-exp of the terms to ``out``."""
    term = np.empty(len(level))
    for k in range(len(xyz)):
        best = -np.inf
        for h in range(len(level)):
            term[h] = _term(xyz[k, 0], xyz[k, 1], xyz[k, 2], level[h], slope[h], bend[h])
            best = max(best, term[h])
        total = 0.0
        for h in range(len(level)):
            if term[h] > best - 40.0:
                total += math.exp(term[h] - best)
        out[k] += best + math.log(total)


@njit(cache=True, nogil=True, error_model="numpy")
def _evaluate_bound(
    xyz: FloatArray,
    level: FloatArray,
    slope: FloatArray,
    bend: FloatArray,
    radius: float,
    out: FloatArray,
    top: FloatArray,
) -> None:
    """The same, and a bound of it within ``radius`` of each point."""
    n_terms = len(level)
    term = np.empty(n_terms)
    bound = np.empty(n_terms)
    for k in range(len(xyz)):
        x = xyz[k, 0]
        y = xyz[k, 1]
        z = xyz[k, 2]
        best = -np.inf
        highest = -np.inf
        for h in range(n_terms):
            term[h] = _term(x, y, z, level[h], slope[h], bend[h])
            dx = slope[h, 0] - bend[h, 0, 0] * x - bend[h, 0, 1] * y - bend[h, 0, 2] * z
            dy = slope[h, 1] - bend[h, 1, 0] * x - bend[h, 1, 1] * y - bend[h, 1, 2] * z
            dz = slope[h, 2] - bend[h, 2, 0] * x - bend[h, 2, 1] * y - bend[h, 2, 2] * z
            # On the sphere: across the line of sight by the radius, along it by its square.
            along = dx * x + dy * y + dz * z
            across = math.sqrt(max(dx * dx + dy * dy + dz * dz - along * along, 0.0))
            bound[h] = term[h] + across * radius + max(-along, 0.0) * 0.5 * radius * radius
            best = max(best, term[h])
            highest = max(highest, bound[h])
        total = 0.0
        total_bound = 0.0
        for h in range(n_terms):
            if term[h] > best - 40.0:
                total += math.exp(term[h] - best)
            if bound[h] > highest - 40.0:
                total_bound += math.exp(bound[h] - highest)
        out[k] += best + math.log(total)
        top[k] = highest + math.log(total_bound)


@njit(cache=True, nogil=True, error_model="numpy")
def _add_shares(
    xyz: FloatArray,
    level: FloatArray,
    slope: FloatArray,
    bend: FloatArray,
    weight: FloatArray,
    shares: FloatArray,
) -> None:
    """Divides the weight of each point among the terms."""
    term = np.empty(len(level))
    for k in range(len(xyz)):
        best = -np.inf
        for h in range(len(level)):
            term[h] = _term(xyz[k, 0], xyz[k, 1], xyz[k, 2], level[h], slope[h], bend[h])
            best = max(best, term[h])
        total = 0.0
        for h in range(len(level)):
            term[h] = math.exp(term[h] - best)
            total += term[h]
        for h in range(len(level)):
            shares[h] += weight[k] * term[h] / total
