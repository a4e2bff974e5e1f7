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
import numpy.typing as npt
from numba import njit

from skymaps.credible import check_level
from skymaps.distance import FAR_BELOW, mills
from skymaps.hermite import monotone_slopes, thinned
from skymaps.skymap import FloatArray, SkyMap, SkyMapError
from skymaps.threads import run_chunks

__all__ = [
    "Curve",
    "VolumeTable",
    "credible_volume_mpc3",
    "level_at",
    "searched_volume_mpc3",
    "tile_log_peaks",
    "volume_table",
]

Curve = tuple[float, float, npt.NDArray, FloatArray, FloatArray, FloatArray, float]
_SQRT2 = math.sqrt(2.0)
_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
_INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
_KNOTS = 1024
_HEAVY = 1e-3
"""Probability of a tile that gets knots of its own."""
_THIN = 1e-6
"""Knots that change the level by less are left out: knots of hundreds of heavy tiles are far more
than their sum needs, whose interpolation is good to some 4e-5."""
_TAIL = 1e-7
"""Probability left beyond the lower end of the table."""
_ERF_STEPS = 256
_ERF_END = 8.5
_ERF = np.array([math.erf(k / _ERF_STEPS / _SQRT2) for k in range(int(_ERF_END * _ERF_STEPS) + 2)])


@njit(cache=True, nogil=True, error_model="numpy")
def _whole_far(x: float) -> float:
    """Integral of t^2 phi(t - x) over t >= 0, divided by exp(-x*x/2), for x < -4.

    With t = r / sigma, x = mu / sigma. For x far below 0 the plain formula is the small
    difference of large terms, hence the Mills ratio.
    """
    return ((x * x + 1.0) * mills(-x) + x) * _INV_SQRT_2PI


@njit(cache=True, nogil=True, error_model="numpy")
def _beyond_far(x: float, u: float) -> float:
    """The part of it beyond t = x + u >= 0."""
    b = x + u
    exponent = x * b - 0.5 * b * b
    if exponent < -40.0:
        return 0.0
    return math.exp(exponent) * ((x * x + 1.0) * mills(u) + x + b) * _INV_SQRT_2PI


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _erf_tabulated(u: float, density: float, table: FloatArray) -> float:
    """erf(u / sqrt 2), u >= 0, from the nearest knot by Taylor's series, to 1e-11.

    ``density`` is phi(u), which the caller has; phi at the knot follows from it.
    """
    if u >= _ERF_END:
        return 1.0
    k = int(u * _ERF_STEPS + 0.5)
    h = k / _ERF_STEPS - u
    # erf'(v) = 2 phi(v); expanded about u, where phi is known, and subtracted from the knot.
    series = h * (1.0 - 0.5 * h * (u - h * (u * u - 1.0) / 3.0))
    return table[k] - 2.0 * density * series


@njit(cache=True, nogil=True, error_model="numpy")
def _mass_above(
    threshold: float,
    peak: FloatArray,
    log_amplitude: FloatArray,
    amplitude: FloatArray,
    x: FloatArray,
    erf_x: FloatArray,
    phi_x: FloatArray,
    weight: FloatArray,
    table: FloatArray,
) -> float:
    """Probability of all points with log density above the threshold.

    Log densities are relative to the highest peak; tiles come with falling peaks. The peak of
    a tile with x < 0 is at r = 0.
    """
    total = 0.0
    rho = math.exp(threshold) * _INV_SQRT_2PI
    for i in range(len(x)):
        if peak[i] <= threshold:
            break
        u = math.sqrt(2.0 * (log_amplitude[i] - threshold))
        xi = x[i]
        if xi < FAR_BELOW:  # here erf_x holds the whole integral
            total += weight[i] * (erf_x[i] - _beyond_far(xi, u))
            continue
        phi_u = rho / amplitude[i]
        erf_u = _erf_tabulated(u, phi_u, table)
        if u < xi:
            mass = (xi * xi + 1.0) * erf_u - 2.0 * u * phi_u
        else:
            mass = (xi * xi + 1.0) * 0.5 * (erf_u + erf_x[i]) + xi * phi_x[i]
            mass -= (2.0 * xi + u) * phi_u
        total += weight[i] * mass
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _masses(
    thresholds: FloatArray, lo: int, hi: int, tiles: tuple[FloatArray, ...], out: FloatArray
) -> None:
    for k in range(lo, hi):
        out[k] = _mass_above(thresholds[k], *tiles)


@dataclass(frozen=True)
class VolumeTable:
    """F(log rho) of one map: probability of all that is denser, on knots of the root depth.

    The depth of a point is top minus its log density; knots ascend in s = sqrt(depth).
    """

    top: float
    """Log density (per Mpc^3) of the densest point of the map."""
    step: float
    """Width in s of the intervals of ``first``."""
    first: npt.NDArray[np.int32]
    """Knot at the beginning of each interval."""
    knot: FloatArray
    """s of the knots."""
    level: FloatArray
    """F at the knots, rising from 0."""
    slope: FloatArray
    """dF/ds at the beginning and end of each cell between knots, shape (2, cells)."""
    total: float
    """Probability of all tiles with a distance."""

    @property
    def curve(self) -> Curve:
        """The fields as the kernels take them."""
        return (self.top, self.step, self.first, self.knot, self.level, self.slope, self.total)


def _tile_terms(
    skymap: SkyMap, distances: tuple[FloatArray, FloatArray, FloatArray]
) -> tuple[float, tuple[FloatArray, ...], npt.NDArray[np.intp]]:
    """The highest log density, the arrays that ``_mass_above`` takes, and whose tiles they are."""
    mu, sigma, norm = distances
    use = np.flatnonzero(np.isfinite(mu) & (skymap.density_sr > 0.0))
    log_pn = np.log(skymap.density_sr[use]) + np.log(norm[use])
    log_amplitude = log_pn - np.log(sigma[use]) - _LOG_SQRT_2PI
    x = mu[use] / sigma[use]
    peak = log_amplitude - 0.5 * np.square(np.minimum(x, 0.0))
    falling = np.argsort(-peak, kind="stable")
    use, x = use[falling], x[falling]
    log_pn, log_amplitude, peak = log_pn[falling], log_amplitude[falling], peak[falling]
    top = float(peak[0]) if len(use) else 0.0
    log_amplitude, peak = log_amplitude - top, peak - top
    amplitude = np.exp(np.clip(log_amplitude, -700.0, 700.0))
    scale = np.where(x < FAR_BELOW, -0.5 * x * x, 0.0)
    weight = skymap.area_sr[use] * np.exp(log_pn + 2.0 * np.log(sigma[use]) + scale)
    phi_x = np.exp(-0.5 * x * x) * _INV_SQRT_2PI
    return top, (peak, log_amplitude, amplitude, x, _erf_or_whole(x), phi_x, weight, _ERF), use


@njit(cache=True, nogil=True, error_model="numpy")
def _erf_or_whole(x: FloatArray) -> FloatArray:
    out = np.empty(len(x))
    for i in range(len(x)):
        out[i] = _whole_far(x[i]) if x[i] < FAR_BELOW else math.erf(x[i] / _SQRT2)
    return out


def volume_table(skymap: SkyMap, *, workers: int | None = None) -> VolumeTable | None:
    """Tabulate F(log rho); None for a map in which no tile has a distance."""
    if skymap.distances is None:
        return None
    top, tiles, _ = _tile_terms(skymap, skymap.distances)
    if len(tiles[0]) == 0:
        return None
    total = float(_mass_above(-690.0, *tiles))
    depth = -_where_mass_is(total * (1.0 - _TAIL), tiles)
    knot, first, kink, step = _knots(depth, tiles)
    # Knots cost more the lower they are; dealt in turn, all threads have the same to do.
    deal = np.argsort(np.arange(len(knot)) % 16, kind="stable")
    thresholds = -np.square(knot[deal])
    dealt, level = np.empty(len(knot)), np.empty(len(knot))
    run_chunks(
        lambda lo, hi: _masses(thresholds, lo, hi, tiles, dealt), len(knot), workers, serial_below=2
    )
    level[deal] = dealt
    level = np.maximum.accumulate(level)  # rounding
    even = knot[first]
    kept = thinned(knot, level, kink, first, _THIN)
    kink = np.searchsorted(kept, kink)
    knot, level = knot[kept], level[kept]
    slope = monotone_slopes(knot, level, kink)
    first = np.searchsorted(knot, even).astype(np.int32)
    return VolumeTable(top, step, first, knot, level, slope, total)


def _knots(
    depth: float, tiles: tuple[FloatArray, ...]
) -> tuple[FloatArray, npt.NDArray[np.int32], npt.NDArray[np.intp], float]:
    """Knots in s, the one at the beginning of each even interval, kinks, and that interval.

    Each tile adds a square root of the depth below its peak. Even knots in s follow those of
    the densest tiles, which hold the most, and thousands of small ones are smooth together;
    a tile that holds much by itself gets knots of its own that crowd towards its peak.
    """
    peak, weight_of = tiles[0], _tile_masses(tiles)
    step = math.sqrt(depth) / (_KNOTS - 1)
    even = step * np.arange(_KNOTS)
    # Tiles of one peak count together: dividing a tile in four makes no other knots.
    begin = np.flatnonzero(np.append(True, peak[1:] != peak[:-1]))
    peak, weight_of = peak[begin], np.add.reduceat(weight_of, begin)
    heavy = np.flatnonzero((weight_of > _HEAVY) & (-peak < depth))
    below = np.append(0.0, 1e-7 * 1.5 ** np.arange(40))
    own = np.sqrt((-peak[heavy])[:, None] + below).ravel()
    knot = np.unique(np.concatenate([even, own[own < even[-1]]]))
    kink = np.searchsorted(knot, np.sqrt(-peak[heavy]))
    return knot, np.searchsorted(knot, even).astype(np.int32), kink, step


@njit(cache=True, nogil=True, error_model="numpy")
def _tile_masses(tiles: tuple[FloatArray, ...]) -> FloatArray:
    """Probability of each tile."""
    _, _, _, x, erf_x, phi_x, weight, _ = tiles
    out = np.empty(len(x))
    for i in range(len(x)):
        whole = (x[i] * x[i] + 1.0) * 0.5 * (1.0 + erf_x[i]) + x[i] * phi_x[i]
        out[i] = weight[i] * (erf_x[i] if x[i] < FAR_BELOW else whole)
    return out


def _where_mass_is(mass: float, tiles: tuple[FloatArray, ...]) -> float:
    """Threshold above which there is ``mass``, or a little lower, by bisection."""
    low, high = -690.0, 0.0
    for _ in range(11):
        middle = 0.5 * (low + high)
        if _mass_above(middle, *tiles) >= mass:
            low = middle
        else:
            high = middle
    return low


@njit(cache=True, nogil=True, error_model="numpy")
def _volume_above(
    threshold: float,
    peak: FloatArray,
    log_amplitude: FloatArray,
    x: FloatArray,
    sigma: FloatArray,
    area: FloatArray,
) -> float:
    """Volume in Mpc^3 of all points with log density above the threshold."""
    total = 0.0
    for i in range(len(x)):
        if peak[i] <= threshold:
            break
        u = math.sqrt(2.0 * (log_amplitude[i] - threshold))
        far = (x[i] + u) * sigma[i]
        near = max(x[i] - u, 0.0) * sigma[i]
        total += area[i] * (far * far * far - near * near * near) / 3.0
    return total


def searched_volume_mpc3(skymap: SkyMap, density_mpc3: npt.ArrayLike) -> FloatArray:
    """Volume that is denser than each given density per Mpc^3 (NaN gives NaN).

    Volumes are those of Euclidean space with luminosity distance as radius, as the maps are
    made.

    Raises
    ------
    SkyMapError
        The map has no distances.
    """
    top, terms, geometry = _volume_terms(skymap)
    density = np.atleast_1d(np.asarray(density_mpc3, np.float64))
    volume = np.full(density.shape, np.nan)
    for i in np.flatnonzero(~np.isnan(density)):
        threshold = math.log(density[i]) - top if density[i] > 0.0 else -690.0
        volume[i] = _volume_above(threshold, *terms[:2], terms[3], *geometry)
    return volume


def credible_volume_mpc3(skymap: SkyMap, level: float) -> float:
    """Volume of the smallest region in space that holds ``level`` of the probability.

    Raises
    ------
    SkyMapError
        The map has no distances, or they hold less than ``level``.
    """
    check_level(level)
    _, terms, geometry = _volume_terms(skymap)
    low, high = -690.0, 0.0
    if _mass_above(low, *terms) < level:
        raise SkyMapError(f"less than {level:g} of the probability has a distance")
    for _ in range(80):
        middle = 0.5 * (low + high)
        if _mass_above(middle, *terms) >= level:
            low = middle
        else:
            high = middle
    return float(_volume_above(high, *terms[:2], terms[3], *geometry))


def _volume_terms(
    skymap: SkyMap,
) -> tuple[float, tuple[FloatArray, ...], tuple[FloatArray, FloatArray]]:
    """Those of :func:`_tile_terms`, and sigma and area of the tiles in the same sequence."""
    if skymap.distances is None:
        raise SkyMapError("a map in 2D has no volume")
    top, terms, use = _tile_terms(skymap, skymap.distances)
    return top, terms, (skymap.distances[1][use], skymap.area_sr[use])


@njit(cache=True, nogil=True, error_model="numpy")
def level_at(log_density: float, curve: Curve) -> float:
    """Interpolate the table (see :attr:`VolumeTable.curve`) at one log density."""
    top, step, first, knot, level, slope, total = curve
    depth = top - log_density
    if depth <= 0.0:
        return 0.0
    s = math.sqrt(depth)
    cell = s / step
    if not cell < len(first) - 1:
        return total
    k = np.int64(first[int(cell)])
    while k < len(knot) - 2 and knot[k + 1] <= s:
        k += 1
    width = knot[k + 1] - knot[k]
    h = (s - knot[k]) / width
    g = 1.0 - h
    return (
        level[k] * (1.0 + 2.0 * h) * g * g
        + slope[0, k] * width * h * g * g
        + level[k + 1] * h * h * (3.0 - 2.0 * h)
        - slope[1, k] * width * h * h * g
    )


def tile_log_peaks(skymap: SkyMap) -> FloatArray:
    """log(p N / (sqrt(2 pi) sigma)) of each tile; NaN: no distance."""
    if skymap.distances is None:
        return np.empty(0)
    _, sigma, norm = skymap.distances
    with np.errstate(divide="ignore"):
        log_p = np.log(skymap.density_sr)
    return log_p + np.log(norm) - np.log(sigma) - _LOG_SQRT_2PI
