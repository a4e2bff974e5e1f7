"""What importance weights tell: effective size, evidence and its error, the shape of their tail."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mmcoord.inference.mixture import logsumexp

__all__ = ["effective_size", "log_mean", "pareto_k"]

Array = npt.NDArray[np.float64]


def effective_size(log_w: Array) -> float:
    """Kish's effective sample size of log weights."""
    return float(np.exp(2.0 * logsumexp(log_w) - logsumexp(2.0 * log_w)))


def log_mean(log_w: Array) -> tuple[float, float]:
    """ln of the mean weight and its error (delta method)."""
    n = len(log_w)
    log_z = float(logsumexp(log_w)) - float(np.log(n))
    relative = np.exp(log_w - log_z)
    return log_z, float(relative.std(ddof=1) / np.sqrt(n))


def pareto_k(log_w: Array) -> float:
    """Shape of the generalised Pareto tail of the weights (Zhang & Stephens 2009).

    Below 0.7 importance sampling can be trusted (Vehtari et al. 2024, JMLR 25, 72).
    """
    n = len(log_w)
    m = int(min(0.2 * n, 3.0 * np.sqrt(n)))
    ordered = np.sort(np.exp(log_w - log_w.max()))
    tail = ordered[-m:] - ordered[-m - 1]
    tail = tail[tail > 0]
    m = len(tail)
    if m < 5:
        return float("inf") if ordered[-1] > 10.0 * ordered.mean() else 0.0
    grid = 30 + int(np.sqrt(m))
    steps = 1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))
    b = 1.0 / tail[-1] + steps / (3.0 * tail[int(m / 4 + 0.5) - 1])
    k = np.log1p(-b[:, None] * tail).mean(axis=1)
    profile = m * (np.log(-b / k) - k - 1.0)
    weight = np.exp(profile - logsumexp(profile))
    best = float((b * weight).sum())
    shape = float(np.log1p(-best * tail).mean())
    return (m * shape + 5.0) / (m + 10.0)
