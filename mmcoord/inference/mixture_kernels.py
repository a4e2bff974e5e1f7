"""The loops of mixture fitting: distances, moments and nearest centres.

One thread, fixed order of sums: the same input gives the same bytes.
"""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["mahalanobis2", "scatter", "squared_distances"]


_BLOCK = 256
"""Points at a time: the innermost loops run over them, in SIMD registers and near cache."""


@numba.njit(cache=True)
def mahalanobis2(x: np.ndarray, mean: np.ndarray, cholesky: np.ndarray) -> np.ndarray:
    """(n, k): squared distances of (n, d) points from k centres, in units of (k, d, d) lower
    factors."""
    n, d = x.shape
    k = len(mean)
    columns = np.ascontiguousarray(x.T)
    z = np.empty((d, _BLOCK))
    total = np.empty(_BLOCK)
    out = np.empty((n, k))
    for first in range(0, n, _BLOCK):
        m = min(_BLOCK, n - first)
        for j in range(k):
            total[:m] = 0.0
            for a in range(d):
                centre = mean[j, a]
                for i in range(m):
                    z[a, i] = columns[a, first + i] - centre
                for b in range(a):
                    factor = cholesky[j, a, b]
                    for i in range(m):
                        z[a, i] -= factor * z[b, i]
                inverse = 1.0 / cholesky[j, a, a]
                for i in range(m):
                    z[a, i] *= inverse
                    total[i] += z[a, i] * z[a, i]
            for i in range(m):
                out[first + i, j] = total[i]
    return out


@numba.njit(cache=True, fastmath={"reassoc", "contract"})
def scatter(x: np.ndarray, weight: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(k, d, d): sums of (x - mean)(x - mean)^T with (n, k) weights."""
    n, d = x.shape
    k = len(mean)
    columns = np.ascontiguousarray(x.T)
    weights = np.ascontiguousarray(weight.T)
    centred = np.empty((d, _BLOCK))
    weighted = np.empty(_BLOCK)
    out = np.zeros((k, d, d))
    for first in range(0, n, _BLOCK):
        m = min(_BLOCK, n - first)
        for j in range(k):
            for a in range(d):
                for i in range(m):
                    centred[a, i] = columns[a, first + i] - mean[j, a]
                    weighted[i] = weights[j, first + i] * centred[a, i]
                for b in range(a + 1):
                    total = 0.0
                    for i in range(m):
                        total += weighted[i] * centred[b, i]
                    out[j, a, b] += total
    for j in range(k):
        for a in range(d):
            for b in range(a):
                out[j, b, a] = out[j, a, b]
    return out


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
