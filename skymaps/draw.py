"""Random positions and distances from a map, for simulations and tests."""

from __future__ import annotations

import numpy as np
from numba import njit

from skymaps.healpix import point_on_tile
from skymaps.skymap import MAX_ORDER, FloatArray, IntArray, SkyMap

__all__ = ["draw_position", "draw_positions"]


def draw_position(skymap: SkyMap, rng: np.random.Generator) -> tuple[float, float, float]:
    """One (ra_deg, dec_deg, distance_mpc) drawn from the map; NaN where it has no distance."""
    ra, dec, distance = draw_positions(skymap, rng, 1)
    return float(ra[0]), float(dec[0]), float(distance[0])


def draw_positions(
    skymap: SkyMap, rng: np.random.Generator, n: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """``n`` positions (deg) and distances (Mpc) drawn from the map."""
    cumulative = np.cumsum(skymap.probability)
    tile = np.searchsorted(cumulative, rng.uniform(0.0, cumulative[-1], n), side="right")
    tile = np.minimum(tile, len(skymap) - 1)
    order = skymap.order[tile].astype(np.int64)
    ipix = skymap.start[tile] >> (2 * (MAX_ORDER - order))
    ra, dec = _points(order, ipix, rng.uniform(size=n), rng.uniform(size=n))
    if skymap.distmu_mpc is None or skymap.distsigma_mpc is None:
        return ra, dec, np.full(n, np.nan)
    return ra, dec, _draw_distance(skymap.distmu_mpc[tile], skymap.distsigma_mpc[tile], rng)


@njit(cache=True, nogil=True)
def _points(
    order: IntArray, ipix: IntArray, dx: FloatArray, dy: FloatArray
) -> tuple[FloatArray, FloatArray]:
    ra = np.empty(len(order))
    dec = np.empty(len(order))
    for i in range(len(order)):
        ra[i], dec[i] = point_on_tile(order[i], ipix[i], dx[i], dy[i])
    return ra, dec


def _draw_distance(mu: FloatArray, sigma: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draws from r^2 Normal(r; mu, sigma), r >= 0, by rejection.

    With t = r / sigma the logarithm of the density curves by at least -1 everywhere, so a
    unit normal at its mode, scaled to touch there, lies above it.
    """
    x = mu / sigma
    # The root that does not cancel for x far below 0.
    root = np.sqrt(x * x + 8.0)
    mode = np.where(x >= 0.0, 0.5 * (x + root), 4.0 / (root - x))
    out = np.full(len(mu), np.nan)
    todo = np.flatnonzero(np.isfinite(x))
    while len(todo):
        m, centre = mode[todo], x[todo]
        step = rng.standard_normal(len(todo))
        t = m + step
        with np.errstate(divide="ignore", invalid="ignore"):
            log_ratio = (
                2.0 * np.log(t / m) - 0.5 * ((t - centre) ** 2 - (m - centre) ** 2) + 0.5 * step**2
            )
        accept = (t > 0.0) & (np.log(rng.uniform(size=len(todo))) < log_ratio)
        chosen = todo[accept]
        out[chosen] = t[accept] * sigma[chosen]
        todo = todo[~accept]
    return out
