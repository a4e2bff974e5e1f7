"""What several observations teach together: a repeat little, a second band or night more.

For cadence pairs and second looks; one observation alone is :func:`followup.value.information`.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from followup.value import FLOOR_MAG, interpolated, signal, threshold_of
from mmcoord.predictions import ClassPredictions

__all__ = ["joint_information"]

Float = npt.NDArray[np.float64]

_NAT = 1.0 / math.log(2.0)
_HALF_LN_2PI = 0.5 * math.log(2.0 * math.pi)


def joint_information(
    predictions: ClassPredictions,
    band: npt.ArrayLike,
    mjd_tai: npt.ArrayLike,
    depth_mag: npt.ArrayLike,
    *,
    floor_mag: float = FLOOR_MAG,
    n_outcomes: int = 1024,
    seed: int = 0,
) -> tuple[float, float]:
    """Information of ``K`` observations taken together: about the class, and whether the first.

    Nested Monte Carlo: outcomes are drawn from the draws of light curves, and the likelihood of a
    class is the mean over its draws. A finite number of draws makes each outcome seem to know where
    it came from; the jackknife over two halves of the draws takes that back to first order. Bits,
    never negative; the error is about ``1 / sqrt(n_outcomes)``.
    """
    rng = np.random.default_rng(seed)
    bands, times = np.asarray(band, np.int64), np.asarray(mjd_tai, np.float64)
    magnitudes = np.asarray(predictions.magnitudes, np.float32).transpose(2, 3, 0, 1)
    mags = interpolated(magnitudes, np.asarray(predictions.mjd_tai, np.float64), bands, times)
    depth = np.asarray(depth_mag, np.float64)
    seen = np.ascontiguousarray(signal(mags, depth[:, None, None], floor_mag).transpose(1, 2, 0))
    threshold = threshold_of(floor_mag)
    probability = np.asarray(predictions.probability, np.float64)
    whole = _nested(seen, probability, threshold, n_outcomes, rng)
    halves = [_nested(seen[:, k::2], probability, threshold, n_outcomes, rng) for k in (0, 1)]
    corrected = 2.0 * whole - 0.5 * (halves[0] + halves[1])
    return max(0.0, float(corrected[0])), max(0.0, float(corrected[1]))


def _nested(
    seen: Float, probability: Float, threshold: float, n_outcomes: int, rng: np.random.Generator
) -> Float:
    """(2,) bits about the class and about the first class, of the draws (C, D, K) as they are."""
    n_classes, n_draws, n_seen = seen.shape
    # Stratified: every class has its share of the outcomes, to within one.
    of_class = np.searchsorted(
        np.cumsum(probability), (np.arange(n_outcomes) + rng.random()) / n_outcomes, side="right"
    ).clip(max=n_classes - 1)
    of_draw = rng.integers(n_draws, size=n_outcomes)
    values = seen[of_class, of_draw] + rng.standard_normal((n_outcomes, n_seen))
    with np.errstate(divide="ignore"):
        log_joint = _outcome_log_likelihood(seen, values, threshold) + np.log(probability)
    top = log_joint.max(axis=1, keepdims=True)
    posterior = np.exp(log_joint - top)
    posterior /= posterior.sum(axis=1, keepdims=True)
    gain = np.log(posterior[np.arange(n_outcomes), of_class] / probability[of_class])
    first = np.where(of_class == 0, posterior[:, 0], 1.0 - posterior[:, 0]).clip(1e-300)
    prior = np.where(of_class == 0, probability[0], 1.0 - probability[0])
    return np.array([gain.mean(), np.log(first / prior).mean()]) * _NAT


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _outcome_log_likelihood(seen: Float, values: Float, threshold: float) -> Float:
    """(S, C) log mean likelihood of outcomes ``values`` (S, K) under the draws (C, D, K)."""
    n_classes, n_draws, n_seen = seen.shape
    out = np.empty((len(values), n_classes))
    for s in range(len(values)):
        for c in range(n_classes):
            total = 0.0
            for d in range(n_draws):
                log_l = 0.0
                for k in range(n_seen):
                    if values[s, k] < threshold:
                        below = 0.5 * math.erfc(-(threshold - seen[c, d, k]) / math.sqrt(2.0))
                        log_l += math.log(max(below, 1e-300))
                    else:
                        log_l += -0.5 * (values[s, k] - seen[c, d, k]) ** 2 - _HALF_LN_2PI
                total += math.exp(max(log_l, -690.0))
            out[s, c] = math.log(max(total / n_draws, 1e-300))
    return out
