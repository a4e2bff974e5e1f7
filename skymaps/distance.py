"""Distance along the line of sight and over the whole sky.

A tile's conditional distance posterior is p(r) = N r^2 Normal(r; mu, sigma) for r >= 0
(Singer et al. 2016, ApJL 829, L15, equation 1). With x = mu / sigma its moments are ratios
of J_k(x), the integral of t^k phi(t - x) over t >= 0, which obeys
J_k = x J_(k-1) + (k - 1) J_(k-2).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from skymaps.skymap import FloatArray, SkyMap, SkyMapError
from skymaps.threads import run_chunks

__all__ = [
    "NORM_RECOMPUTED",
    "NORM_UNUSABLE",
    "conditional_moments",
    "distance_summary",
    "log_norm",
    "mend_norms",
    "mills",
    "phi",
]

_SQRT2 = math.sqrt(2.0)
_INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
FAR_BELOW = -4.0
"""Below this mu / sigma the recursion cancels and the series in e^(-u) is used."""
_CUT_AWAY = 9.0
"""Above this mu / sigma the cut at r = 0 takes less than rounding does."""
_LARGEST_X = 1e6
"""Beyond this mu / sigma there is neither a meaning nor double precision left."""
DISTNORM_TOLERANCE = 1e-2
"""Relative disagreement of DISTNORM with DISTMU and DISTSIGMA beyond which it is replaced."""
NORM_RECOMPUTED, NORM_UNUSABLE = 1, 2
_NODES, _WEIGHTS = np.polynomial.laguerre.laggauss(40)


@njit(cache=True, nogil=True, inline="always")
def phi(z: float) -> float:
    """Density of the standard normal distribution."""
    return _INV_SQRT_2PI * math.exp(-0.5 * z * z)


@njit(cache=True, nogil=True, error_model="numpy")
def mills(z: float) -> float:
    """Mills ratio Q(z) / phi(z) for z >= 4 by its continued fraction, to rounding."""
    f = z
    for k in range(24, 0, -1):
        f = z + k / f
    return 1.0 / f


@njit(cache=True, nogil=True, error_model="numpy")
def _moment_ratios(x: float, nodes: FloatArray, weights: FloatArray) -> tuple[float, float]:
    """J_3 / J_2 and J_4 / J_2."""
    if x < FAR_BELOW:
        j2 = 0.0
        j3 = 0.0
        j4 = 0.0
        for i in range(len(nodes)):
            t = nodes[i] / -x
            w = weights[i] * math.exp(-0.5 * t * t) * t * t
            j2 += w
            j3 += w * t
            j4 += w * t * t
        return j3 / j2, j4 / j2
    j0 = 0.5 * math.erfc(-x / _SQRT2)
    j1 = x * j0 + phi(x)
    j2 = x * j1 + j0
    j3 = x * j2 + 2.0 * j1
    j4 = x * j3 + 3.0 * j2
    return j3 / j2, j4 / j2


@njit(cache=True, nogil=True, error_model="numpy")
def _moments(
    mu: FloatArray, sigma: FloatArray, nodes: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    mean = np.full(len(mu), np.nan)
    std = np.full(len(mu), np.nan)
    for i in range(len(mu)):
        if math.isfinite(mu[i]) and sigma[i] > 0.0:
            m1, m2 = _moment_ratios(mu[i] / sigma[i], nodes, weights)
            mean[i] = sigma[i] * m1
            std[i] = sigma[i] * math.sqrt(max(m2 - m1 * m1, 0.0))
    return mean, std


@njit(cache=True, nogil=True, error_model="numpy")
def _j2(x: float) -> float:
    """J_2(x) for x >= -4."""
    if x < _CUT_AWAY:
        return (x * x + 1.0) * 0.5 * math.erfc(-x / _SQRT2) + x * phi(x)
    return x * x + 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def _log_j2(x: float) -> float:
    """log J_2(x)."""
    if x < FAR_BELOW:
        # phi(x) taken out, so that it cannot underflow.
        return math.log(((x * x + 1.0) * mills(-x) + x) * _INV_SQRT_2PI) - 0.5 * x * x
    return math.log(_j2(x))


@njit(cache=True, nogil=True, error_model="numpy")
def _log_norms(mu: FloatArray, sigma: FloatArray, lo: int, hi: int, out: FloatArray) -> None:
    for i in range(lo, hi):
        x = mu[i] / sigma[i]
        usable = math.isfinite(mu[i]) and sigma[i] > 0.0 and abs(x) <= _LARGEST_X
        out[i] = -_log_j2(x) - 2.0 * math.log(sigma[i]) if usable else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def mend_norms(
    mu: FloatArray, sigma: FloatArray, norm: FloatArray, lo: int, hi: int, state: npt.NDArray
) -> None:
    """Compare DISTNORM with the norm that mu and sigma imply; replace it where they disagree.

    ``state`` says of each tile in lo..hi: 0 sound, NORM_RECOMPUTED or NORM_UNUSABLE.
    """
    for i in range(lo, hi):
        m, s, n = mu[i], sigma[i], norm[i]
        x = m / s
        state[i] = 0
        if (
            not (math.isfinite(m) and 0.0 < s < math.inf and 0.0 < n < math.inf)
            or not abs(x) <= _LARGEST_X
        ):
            state[i] = NORM_UNUSABLE
        elif x >= FAR_BELOW and abs(n * s * s * _j2(x) - 1.0) < DISTNORM_TOLERANCE:
            continue  # nearly all, without a logarithm
        else:
            log_implied = -_log_j2(x) - 2.0 * math.log(s)
            if not abs(math.log(n) - log_implied) < DISTNORM_TOLERANCE:
                norm[i] = math.exp(log_implied)
                usable = norm[i] > 0.0 and math.isfinite(norm[i])
                state[i] = NORM_RECOMPUTED if usable else NORM_UNUSABLE


def log_norm(mu_mpc: FloatArray, sigma_mpc: FloatArray) -> FloatArray:
    """Logarithm of DISTNORM (Mpc^-2) that normalises p(r); NaN where there is no distance."""
    mu = np.ascontiguousarray(mu_mpc, np.float64)
    sigma = np.ascontiguousarray(sigma_mpc, np.float64)
    out = np.empty(len(mu))
    run_chunks(lambda lo, hi: _log_norms(mu, sigma, lo, hi, out), len(mu))
    return out


def conditional_moments(mu_mpc: FloatArray, sigma_mpc: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation (Mpc) of p(r) for each (mu, sigma); NaN where there is none."""
    return _moments(
        np.ascontiguousarray(mu_mpc, np.float64),
        np.ascontiguousarray(sigma_mpc, np.float64),
        _NODES,
        _WEIGHTS,
    )


def distance_summary(skymap: SkyMap) -> tuple[float, float]:
    """Mean and standard deviation (Mpc) of the distance, marginal over the sky.

    Tiles without a distance are left out and the rest renormalised.

    Raises
    ------
    SkyMapError
        The map has no distances.
    """
    if skymap.distmu_mpc is None or skymap.distsigma_mpc is None:
        raise SkyMapError("a map in 2D has no distance")
    mean, std = conditional_moments(skymap.distmu_mpc, skymap.distsigma_mpc)
    good = np.isfinite(mean) & np.isfinite(std)
    weight = skymap.probability[good]
    total = float(weight.sum())
    if total <= 0.0:
        raise SkyMapError("no tile with probability has a distance")
    first = float(np.sum(weight * mean[good])) / total
    second = float(np.sum(weight * (std[good] ** 2 + (mean[good] - first) ** 2))) / total
    return first, math.sqrt(second)
