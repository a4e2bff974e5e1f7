"""Two events on one sky: do their maps agree, and what do they say together.

The overlap integral compares "one source" with "two unrelated directions",
I = 4 pi * integral of p1 p2 over the sphere (Ashton et al. 2018, ApJ 860, 6; RAVEN, Urban
2016). It is 1 for a uniform map, above 1 where maps support one another. Both maps are
constant on tiles, and tiles are ranges of indices, so merging the two lists gives the integral
exactly.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from skymaps.build import build_map
from skymaps.circle import from_circle
from skymaps.crossmatch import match
from skymaps.distance import log_norm
from skymaps.skymap import MAX_ORDER, NPIX_MAX, FloatArray, IntArray, SkyMap, SkyMapError

__all__ = ["combined_map", "overlap_integral", "overlap_with_circle", "overlap_with_point"]

_SR_PER_INDEX = 4.0 * math.pi / NPIX_MAX
_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


def overlap_integral(first: SkyMap, second: SkyMap) -> float:
    """I of two maps; symmetric, 0 when they have no direction in common."""
    return (
        4.0
        * math.pi
        * float(
            _integral(
                first.start,
                first.end,
                first.density_sr,
                second.start,
                second.end,
                second.density_sr,
            )
        )
    )


def overlap_with_point(skymap: SkyMap, ra_deg: float, dec_deg: float) -> float:
    """I of a map and a position known far better than the map.

    Raises
    ------
    SkyMapError
        Not a position.
    """
    density = float(match(skymap, ra_deg, dec_deg).prob_density_sr[0])
    if math.isnan(density):
        raise SkyMapError(f"not a position: {ra_deg}, {dec_deg}")
    return 4.0 * math.pi * density


def overlap_with_circle(
    skymap: SkyMap, ra_deg: float, dec_deg: float, radius_deg: float, containment: float = 0.9
) -> float:
    """I of a map and an error circle (see :func:`skymaps.from_circle`)."""
    return overlap_integral(skymap, from_circle(ra_deg, dec_deg, radius_deg, containment))


def combined_map(first: SkyMap, second: SkyMap) -> SkyMap:
    """The map of a source that both maps see: their product, normalised.

    Distances are those of the map that has them. When both have, the densities per volume
    are multiplied: in each direction two Gaussians in r make one, and the directions are
    weighted by how well the two distances agree. A direction in which only one of two 3D maps
    has a distance keeps that one.

    Raises
    ------
    SkyMapError
        The maps exclude each other.
    """
    start, order, a, b = _common_tiles(
        first.start, first.end, first.order, second.start, second.end, second.order
    )
    positive = (first.density_sr[a] > 0.0) & (second.density_sr[b] > 0.0)
    start, order, a, b = start[positive], order[positive], a[positive], b[positive]
    if len(start) == 0:
        raise SkyMapError("the maps exclude each other: their product is zero everywhere")
    log_density = np.log(first.density_sr[a]) + np.log(second.density_sr[b])
    distances: tuple[FloatArray, FloatArray, FloatArray] | None = None
    if first.distances is not None and second.distances is not None:
        mu, sigma, norm, weight = _both_distances(first.distances, a, second.distances, b)
        distances = (mu, sigma, norm)
        log_density += weight
    elif first.distances is not None or second.distances is not None:
        owner, tile = (first, a) if first.distances is not None else (second, b)
        assert owner.distances is not None
        mu, sigma, norm = owner.distances
        distances = (mu[tile], sigma[tile], norm[tile])
    density = np.exp(log_density - log_density.max())
    density /= float(np.sum(density * np.pi / 3.0 * np.exp2(-2.0 * order)))
    ipix = start >> (2 * (MAX_ORDER - order))
    parents = ",".join(str(m.header.get("OBJECT", "map")) for m in (first, second))
    return build_map(
        order,
        ipix,
        density,
        distances,
        header={"CREATOR": "skymaps", "OBJECT": parents},
    )


def _both_distances(
    first: tuple[FloatArray, FloatArray, FloatArray],
    a: IntArray,
    second: tuple[FloatArray, FloatArray, FloatArray],
    b: IntArray,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """mu, sigma, norm of the product and the logarithm of the weight of each direction.

    Per volume rho = p N Normal(r; mu, sigma), so that rho1 rho2 is p1 p2 N1 N2
    Normal(mu1; mu2, hypot(sigma1, sigma2)) Normal(r; mu, sigma), whose integral over r^2 dr
    is the weight: that times 1 / N of the product.
    """
    mu1, sigma1, norm1 = (column[a] for column in first)
    mu2, sigma2, norm2 = (column[b] for column in second)
    with np.errstate(invalid="ignore"):
        precision = sigma1**-2.0 + sigma2**-2.0
        mu = (mu1 / sigma1**2 + mu2 / sigma2**2) / precision
        sigma = precision**-0.5
        spread = np.hypot(sigma1, sigma2)
        log_n = log_norm(mu, sigma)
        weight = (
            np.log(norm1)
            + np.log(norm2)
            - 0.5 * ((mu1 - mu2) / spread) ** 2
            - np.log(spread)
            - _LOG_SQRT_2PI
            - log_n
        )
    both = np.isfinite(mu1) & np.isfinite(mu2)
    one = np.isfinite(mu1)
    # Without a second distance nothing is known about agreement: the median weight of the
    # directions that have one keeps such a tile from standing out either way.
    neutral = float(np.median(weight[both])) if both.any() else 0.0
    mu = np.where(both, mu, np.where(one, mu1, mu2))
    sigma = np.where(both, sigma, np.where(one, sigma1, sigma2))
    norm = np.where(both, np.exp(log_n), np.where(one, norm1, norm2))
    return mu, sigma, norm, np.where(both, weight, neutral)


@njit(cache=True, nogil=True)
def _integral(
    start1: IntArray,
    end1: IntArray,
    density1: FloatArray,
    start2: IntArray,
    end2: IntArray,
    density2: FloatArray,
) -> float:
    total = 0.0
    lost = 0.0  # compensation: the sum does not depend on how tiles are divided
    i = 0
    j = 0
    while i < len(start1) and j < len(start2):
        lo = max(start1[i], start2[j])
        hi = min(end1[i], end2[j])
        if lo < hi:
            term = density1[i] * density2[j] * ((hi - lo) * _SR_PER_INDEX) - lost
            new = total + term
            lost = (new - total) - term
            total = new
        if end1[i] <= end2[j]:
            i += 1
        else:
            j += 1
    return total


@njit(cache=True, nogil=True)
def _common_tiles(
    start1: IntArray,
    end1: IntArray,
    order1: npt.NDArray,
    start2: IntArray,
    end2: IntArray,
    order2: npt.NDArray,
) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Where both maps have tiles: the finer tile, and the tile of each map that holds it."""
    n = len(start1) + len(start2)
    start = np.empty(n, np.int64)
    order = np.empty(n, np.int64)
    a = np.empty(n, np.int64)
    b = np.empty(n, np.int64)
    count = 0
    i = 0
    j = 0
    while i < len(start1) and j < len(start2):
        # Tiles of a hierarchy are nested or apart, so that their intersection is the finer.
        if max(start1[i], start2[j]) < min(end1[i], end2[j]):
            start[count] = max(start1[i], start2[j])
            order[count] = max(order1[i], order2[j])
            a[count] = i
            b[count] = j
            count += 1
        if end1[i] <= end2[j]:
            i += 1
        else:
            j += 1
    return start[:count], order[:count], a[:count], b[:count]
