"""The loops of mixture fitting: densities, memberships and nearest centres.

One thread, fixed order of sums: the same input gives the same bytes.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from mmcoord.inference.fastmath import fast_exp, fast_log

__all__ = ["log_mixture_density", "memberships", "squared_distances"]


_BLOCK = 256
"""Points at a time: the innermost loops run over them, in SIMD registers and near cache."""


@numba.njit(cache=True, nogil=True)
def _whitening(mean: np.ndarray, cholesky: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse factors, one below the other (k d, d), and the centres seen through them (k d,)."""
    k, d = mean.shape
    inverse = np.zeros((k * d, d))
    for j in range(k):
        for a in range(d):
            row = j * d + a
            inverse[row, a] = 1.0
            for b in range(a):
                factor = cholesky[j, a, b]
                for c in range(b + 1):
                    inverse[row, c] -= factor * inverse[j * d + b, c]
            for c in range(a + 1):
                inverse[row, c] /= cholesky[j, a, a]
    centre = np.zeros(k * d)
    for row in range(k * d):
        for c in range(d):
            centre[row] += inverse[row, c] * mean[row // d, c]
    return inverse, centre


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _distances2(points: np.ndarray, inverse: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(k, m): squared distances of (d, m) points from the centres, in units of the factors."""
    d, m = points.shape
    seen = np.dot(inverse, points)
    out = np.zeros((len(centre) // d, m))
    for row in range(len(centre)):
        j = row // d
        for i in range(m):
            step = seen[row, i] - centre[row]
            out[j, i] += step * step
    return out


@numba.njit(cache=True, nogil=True)
def _constants(log_weight: np.ndarray, cholesky: np.ndarray, dof: float) -> np.ndarray:
    """(k,): ln of weight times density at the centre of each Student-t."""
    k, d = cholesky.shape[:2]
    out = np.empty(k)
    norm = math.lgamma(0.5 * (dof + d)) - math.lgamma(0.5 * dof) - 0.5 * d * math.log(dof * math.pi)
    for j in range(k):
        out[j] = norm + log_weight[j]
        for a in range(d):
            out[j] -= math.log(cholesky[j, a, a])
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def log_mixture_density(
    x: np.ndarray,
    log_weight: np.ndarray,
    mean: np.ndarray,
    cholesky: np.ndarray,
    dof: float,
    wide_scale: float,
    log_shares: np.ndarray,
) -> np.ndarray:
    """(n,): ln density at (n, d) points.

    ``log_shares`` (3,) are ln shares of the Student-t components (k,), of the same components
    ``wide_scale`` times as wide, and of a standard normal.
    """
    n, d = x.shape
    k = len(mean)
    inverse, centre = _whitening(mean, cholesky)
    constant = _constants(log_weight, cholesky, dof)
    power = 0.5 * (dof + d)
    to_wide = log_shares[1] - log_shares[0] - d * math.log(wide_scale)
    normal = log_shares[2] - log_shares[0] - 0.5 * d * math.log(2.0 * math.pi)
    out = np.empty(n)
    for first in range(0, n, _BLOCK):
        m = min(_BLOCK, n - first)
        points = np.ascontiguousarray(x[first : first + m].T)
        distance2 = _distances2(points, inverse, centre)
        parts = np.empty((2 * k + 1, m))
        for j in range(k):
            for i in range(m):
                parts[j, i] = constant[j] - power * fast_log(1.0 + distance2[j, i] / dof)
            for i in range(m):
                wide = fast_log(1.0 + distance2[j, i] / (dof * wide_scale * wide_scale))
                parts[k + j, i] = constant[j] + to_wide - power * wide
        parts[2 * k, :] = 0.0
        for a in range(d):
            for i in range(m):
                parts[2 * k, i] -= 0.5 * points[a, i] * points[a, i]
        top = np.empty(m)
        for i in range(m):
            parts[2 * k, i] += normal
            top[i] = parts[2 * k, i]
        for j in range(2 * k):
            for i in range(m):
                top[i] = max(top[i], parts[j, i])
        total = np.zeros(m)
        for j in range(2 * k + 1):
            for i in range(m):
                total[i] += fast_exp(parts[j, i] - top[i])
        for i in range(m):
            out[first + i] = log_shares[0] + top[i] + fast_log(total[i])
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def memberships(
    x: np.ndarray, log_weight: np.ndarray, mean: np.ndarray, cholesky: np.ndarray, dof: float
) -> tuple[np.ndarray, np.ndarray]:
    """(n, k) twice: the share of each Student-t component in the density at each of (n, d) points,
    and the weight with which the point counts for its shape (Peel & McLachlan 2000, eq. 20)."""
    n, d = x.shape
    k = len(mean)
    inverse, centre = _whitening(mean, cholesky)
    constant = _constants(log_weight, cholesky, dof)
    power = 0.5 * (dof + d)
    share, scale = np.empty((n, k)), np.empty((n, k))
    for first in range(0, n, _BLOCK):
        m = min(_BLOCK, n - first)
        points = np.ascontiguousarray(x[first : first + m].T)
        distance2 = _distances2(points, inverse, centre)
        parts = np.empty((k, m))
        top = np.full(m, -np.inf)
        for j in range(k):
            for i in range(m):
                parts[j, i] = constant[j] - power * fast_log(1.0 + distance2[j, i] / dof)
                top[i] = max(top[i], parts[j, i])
        total = np.zeros(m)
        for j in range(k):
            for i in range(m):
                parts[j, i] = fast_exp(parts[j, i] - top[i])
                total[i] += parts[j, i]
        for j in range(k):
            for i in range(m):
                share[first + i, j] = parts[j, i] / total[i]
                scale[first + i, j] = (dof + d) / (dof + distance2[j, i])
    return share, scale


@numba.njit(cache=True)
def squared_distances(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(n, k) of (n, d) points from (k, d) centres."""
    n, d = x.shape
    k = len(centres)
    out = np.empty((n, k))
    for i in range(n):
        for j in range(k):
            total = 0.0
            for a in range(d):
                step = x[i, a] - centres[j, a]
                total += step * step
            out[i, j] = total
    return out
