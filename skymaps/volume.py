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
from skymaps.skymap import FloatArray, SkyMap, SkyMapError
from skymaps.threads import run_chunks

__all__ = [
    "GAUSS_RULE",
    "VolumeTable",
    "credible_volume_mpc3",
    "level_at",
    "searched_volume_mpc3",
    "tile_log_peaks",
    "volume_levels",
    "volume_levels_gridded",
    "volume_table",
]

_SQRT2 = math.sqrt(2.0)
_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
_INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
_KNOTS = 1024
_REACH = 6.0
"""A distance error is integrated this many standard deviations to either side."""
_RESOLUTION = 0.25
"""Largest step in a gridded distance, in standard deviations of the tile's Gaussian."""
_FAR_OUT = 12.0
"""Standard deviations from a tile's mean beyond which its density is not looked at."""
GAUSS_RULE = np.array(np.polynomial.legendre.leggauss(48))
"""Nodes and weights of the integration over a piece of a distance error."""
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
    """F(log rho) of one map: probability of all that is denser.

    Knot k is at log rho = top - (k * step)^2.
    """

    top: float
    """Log density (per Mpc^3) of the densest point of the map."""
    step: float
    level: FloatArray
    """F at the knots, rising from 0."""
    slope: FloatArray
    """dF per knot, for cubic Hermite interpolation."""
    total: float
    """Probability of all tiles with a distance."""

    @property
    def curve(self) -> tuple[float, float, FloatArray, FloatArray, float]:
        """The fields as the kernels take them."""
        return self.top, self.step, self.level, self.slope, self.total


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
    # Each tile adds a square root at its peak; even knots in the root of the depth follow
    # those of the densest tiles, which hold the most.
    step = math.sqrt(depth) / (_KNOTS - 1)
    thresholds = -np.square(step * np.arange(_KNOTS))
    # Knots cost more the lower they are; dealt in turn, all threads have the same to do.
    deal = np.argsort(np.arange(_KNOTS) % 16, kind="stable")
    dealt, level = np.empty(_KNOTS), np.empty(_KNOTS)
    run_chunks(
        lambda lo, hi: _masses(thresholds[deal], lo, hi, tiles, dealt),
        _KNOTS,
        workers,
        serial_below=2,
    )
    level[deal] = dealt
    return VolumeTable(top, step, level, _monotone_slopes(level), total)


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


def _monotone_slopes(y: FloatArray) -> FloatArray:
    """Slopes per knot that keep a cubic Hermite curve monotone (Fritsch & Butland 1984)."""
    d = np.diff(y)
    slope = np.empty_like(y)
    slope[0], slope[-1] = d[0], d[-1]
    left, right = d[:-1], d[1:]
    same = left * right > 0.0
    slope[1:-1] = np.where(same, 2.0 * left * right / np.where(same, left + right, 1.0), 0.0)
    return slope


@njit(cache=True, nogil=True, error_model="numpy")
def level_at(
    log_density: float, curve: tuple[float, float, FloatArray, FloatArray, float]
) -> float:
    """Interpolate the table (see :attr:`VolumeTable.curve`) at one log density."""
    top, step, level, slope, total = curve
    depth = top - log_density
    if depth <= 0.0:
        return 0.0
    t = math.sqrt(depth) / step
    if not t < len(level) - 1:
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


@njit(cache=True, nogil=True, error_model="numpy")
def volume_levels(
    tile: npt.NDArray,
    distance: FloatArray,
    errors: FloatArray,
    lo: int,
    hi: int,
    model: tuple[FloatArray, FloatArray, FloatArray],
    curve: tuple[float, float, FloatArray, FloatArray, float],
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
    curve: tuple[float, float, FloatArray, FloatArray, float],
    rule: FloatArray,
) -> float:
    """Level averaged over the candidate's distance.

    The level is the same constant wherever the density is below the table. Only where it is
    not is the difference integrated, by Gauss-Legendre in pieces that end at d and at mu.
    """
    mu, sigma, log_amplitude = gaussian
    top, step, knots, _, total = curve
    end = step * (len(knots) - 1)
    above_table = log_amplitude - (top - end * end)
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
    curve: tuple[float, float, FloatArray, FloatArray, float],
    density_out: FloatArray,
    level_out: FloatArray,
) -> None:
    """The same for distances known as densities ``pdf[candidate, node]`` over ``grid[node]``.

    ``distance[node]`` is the distance there (grid and distance may both be distances, or a
    redshift and its distance). Both are taken as linear between the nodes.
    """
    mu, sigma, log_amplitude = model
    total = curve[4]
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
            near = distance[j] - mu[k] < _FAR_OUT * sigma[k]
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
