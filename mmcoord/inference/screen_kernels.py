"""Loops over the curves of the screening bank."""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr

from mmcoord.inference.fastmath import fast_exp
from mmcoord.inference.likelihood import LIMIT_SIGMA_MAG

__all__ = [
    "add_detection",
    "add_limit",
    "log_mean_exp",
    "marginalise_flat",
    "marginalise_normal",
]

Array32 = npt.NDArray[np.float32]

_FAR = 6.0
_PER_SIGMA = 100.0
_LOG_CDF = log_ndtr(np.arange(-_FAR, _FAR + 2.0 / _PER_SIGMA, 1.0 / _PER_SIGMA)).astype(np.float32)
"""Log of the normal distribution function; linear between nodes it is good to 1e-5."""


@numba.njit(cache=True, fastmath=True)
def add_detection(
    low: np.ndarray,
    high: np.ndarray,
    part: float,
    mag: float,
    weight: float,
    sum_wr: np.ndarray,
    sum_wr2: np.ndarray,
) -> None:
    """Add a point's weighted residual, and its square, to every curve's sums (n_curves,)."""
    f, w, m = np.float32(part), np.float32(weight), np.float32(mag)
    for i in range(len(low)):
        r = m - (low[i] + f * (high[i] - low[i]))
        sum_wr[i] += w * r
        sum_wr2[i] += w * r * r


@numba.njit(cache=True, fastmath=True)
def marginalise_normal(
    sum_wr: np.ndarray,
    sum_wr2: np.ndarray,
    total_w: float,
    share: float,
    mean: np.ndarray,
    deviation: float,
    log_l: np.ndarray,
    shift: np.ndarray,
) -> None:
    """Fill each curve's log likelihood and best shift; its prior is Normal(mean, deviation).

    ``share`` tempers the data: each point counts for so much of itself.
    """
    w = share * total_w
    widening = 1.0 + w * deviation * deviation
    for i in range(len(sum_wr)):
        peak = sum_wr[i] / total_w
        chi2 = share * max(sum_wr2[i] - total_w * peak * peak, 0.0)
        shift[i] = (mean[i] + w * deviation * deviation * peak) / widening
        miss = (peak - mean[i]) ** 2 * w / widening
        log_l[i] = -0.5 * (chi2 + miss + math.log(widening))


@numba.njit(cache=True, fastmath=True)
def marginalise_flat(
    sum_wr: np.ndarray,
    sum_wr2: np.ndarray,
    total_w: float,
    share: float,
    apparent_range: float,
    log_l: np.ndarray,
    shift: np.ndarray,
) -> None:
    """As :func:`marginalise_normal`, with a shift that is flat over ``apparent_range``."""
    constant = 0.5 * math.log(2.0 * math.pi / (share * total_w)) - math.log(apparent_range)
    for i in range(len(sum_wr)):
        peak = sum_wr[i] / total_w
        shift[i] = peak
        log_l[i] = constant - 0.5 * share * max(sum_wr2[i] - total_w * peak * peak, 0.0)


def log_mean_exp(values: Array32, edges: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(n_classes,) log of the mean of exp over ``values[edges[k] : edges[k + 1]]``."""
    top = np.maximum.reduceat(values, edges[:-1])
    return np.asarray(top + np.log(_sum_exp(values, edges, top) / np.diff(edges)))


@numba.njit(cache=True, fastmath=True)
def _sum_exp(values: np.ndarray, edges: np.ndarray, top: np.ndarray) -> np.ndarray:
    out = np.zeros(len(edges) - 1)
    for k in range(len(out)):
        part = values[edges[k] : edges[k + 1]]
        total = 0.0
        highest = float(top[k])
        for i in range(len(part)):
            total += fast_exp(float(part[i]) - highest)
        out[k] = total
    return out


@numba.njit(cache=True, fastmath=True)
def _add_limit(
    low: np.ndarray,
    high: np.ndarray,
    part: float,
    limit: float,
    sigma: float,
    floor: float,
    shift: np.ndarray,
    log_l: np.ndarray,
    log_cdf: np.ndarray,
) -> None:
    f, m, per_sigma = np.float32(part), np.float32(limit), np.float32(1.0 / sigma)
    for i in range(len(log_l)):
        if log_l[i] < floor:
            continue
        z = (low[i] + f * (high[i] - low[i]) + shift[i] - m) * per_sigma
        if z < -_FAR:
            log_l[i] += -0.5 * z * z - 2.7
        elif z < _FAR:
            place = (z + _FAR) * _PER_SIGMA
            k = int(place)
            log_l[i] += log_cdf[k] + (place - k) * (log_cdf[k + 1] - log_cdf[k])


def add_limit(
    low: Array32,
    high: Array32,
    part: float,
    limit: float,
    extra_sigma: float,
    floor: float,
    shift: Array32,
    log_l: Array32,
) -> None:
    """Weigh a limit: the probability that a curve at its best shift is fainter.

    Curves below ``floor`` are left alone: they count for nothing as it is.
    """
    sigma = math.hypot(LIMIT_SIGMA_MAG, extra_sigma)
    _add_limit(low, high, part, limit, sigma, floor, shift, log_l, _LOG_CDF)
