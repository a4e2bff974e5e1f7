"""The likelihood of arrival times, for given clocks, as a polynomial of second degree.

With y_i = t_i - b_i, a_i = r_i / c and A the matrix of the a_i, the residuals y + A n are
t0 + g delta + noise, where t0 (flat prior) is the arrival at the geocentre and delta (Gaussian
prior) the logarithm of the distance over the assumed one, which moves the biases. Both are
linear and integrated out: -2 ln L = (y + A n)^T P (y + A n) + const, with
P = W - W B (B^T W B + Lambda)^-1 B^T W, B = [1, g], W the inverse variances. Generalised
least squares over all pairs of detectors with their full covariance is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

from skymaps.skymap import FloatArray

__all__ = ["Hypotheses", "Times", "least_chi2", "p_value", "weigh_clocks"]

_Weigh = Callable[[npt.NDArray[np.bool_]], "Hypotheses"]
_FEW = 24
"""Up to so many detectors all pairs of wrong clocks are tried; with more, the likely ones."""
_NEGLIGIBLE = 14.0
"""A hypothesis this far in ln below the best is left out."""


@dataclass(frozen=True)
class Times:
    """What the likelihood needs, one element per detector."""

    delay_s: FloatArray
    """Time less bias."""
    light_s: FloatArray
    """Positions over the speed of light, GCRS, shape (n, 3)."""
    sigma_s: FloatArray
    drift_s: FloatArray
    """Change of the bias with the logarithm of the distance."""
    ln_distance_sigma: float


@dataclass(frozen=True)
class Hypotheses:
    """For each set of wrong clocks: ln(weight) - (c + 2 g.n + n.M.n) / 2."""

    wrong: npt.NDArray[np.bool_]
    """Which clocks are wrong, shape (h, n); the first row has none."""
    log_weight: FloatArray
    constant: FloatArray
    linear: FloatArray
    """g, shape (h, 3)."""
    quadratic: FloatArray
    """M, shape (h, 3, 3), positive semidefinite."""

    def __len__(self) -> int:
        return len(self.log_weight)

    def take(self, rows: npt.NDArray[np.intp]) -> Hypotheses:
        """Some of them, in the order given."""
        return Hypotheses(
            self.wrong[rows],
            self.log_weight[rows],
            self.constant[rows],
            self.linear[rows],
            self.quadratic[rows],
        )

    def least_chi2(self) -> FloatArray:
        """Of the direction that fits each best."""
        return least_chi2(self.constant, self.linear, self.quadratic)

    def peak(self) -> FloatArray:
        """Largest logarithm of each over the sphere."""
        return self.log_weight - 0.5 * self.least_chi2()


def weigh_clocks(times: Times, probability: float, density_hz: float, at_most: int) -> Hypotheses:
    """All sets of at most so many wrong clocks that matter, the set without any first.

    With more than 24 detectors single clocks are tried, and the worst is put aside before
    the next is looked for.
    """
    n = len(times.delay_s)
    at_most = min(at_most, n - 1)

    def weigh(wrong: npt.NDArray[np.bool_]) -> Hypotheses:
        return _hypotheses(times, wrong, probability, density_hz)

    none = np.zeros((1, n), bool)
    if at_most == 0 or probability == 0.0:
        return weigh(none)
    if n <= _FEW:
        sets = [pick for k in range(1, at_most + 1) for pick in combinations(range(n), k)]
        wrong = np.zeros((len(sets) + 1, n), bool)
        for row, pick in enumerate(sets, start=1):
            wrong[row, list(pick)] = True
    else:
        wrong = _likely_sets(weigh, n)
    found = weigh(wrong)
    peak = found.peak()
    matters = peak > peak.max() - _NEGLIGIBLE
    matters[0] = True
    return found.take(np.flatnonzero(matters))


def _likely_sets(weigh: _Weigh, n: int) -> npt.NDArray[np.bool_]:
    """Sets of wrong clocks of many detectors, by putting the worst aside one by one."""
    aside = np.zeros(n, bool)
    sets = [aside]
    while aside.sum() < n - 3:
        one_more = aside | np.eye(n, dtype=bool)[~aside]
        found = weigh(np.vstack([aside[None], one_more]))
        peak = found.peak()
        worst = int(np.argmax(peak))
        near = peak > peak[worst] - _NEGLIGIBLE
        sets += list(found.wrong[near])
        if worst == 0:
            break
        aside = found.wrong[worst]
    unique = {row.tobytes(): row for row in sets}
    return np.array(list(unique.values()))


def _hypotheses(
    times: Times, wrong: npt.NDArray[np.bool_], probability: float, density_hz: float
) -> Hypotheses:
    weight = np.where(wrong, 0.0, times.sigma_s**-2.0)
    nuisance = np.stack([np.ones_like(times.drift_s), times.drift_s], axis=1)
    # About a middle value: a common offset of all times must not cost precision.
    delay = times.delay_s - np.median(times.delay_s)
    data = np.column_stack([delay, times.light_s])
    inner = np.einsum("hn,ni,nj->hij", weight, nuisance, nuisance)
    spread = times.ln_distance_sigma
    prior = spread**-2.0 if spread > 0.0 else 0.0
    if spread > 0.0:
        inner[:, 1, 1] += prior
    else:
        inner[:, 0, 1] = inner[:, 1, 0] = 0.0
        inner[:, 1, 1] = prior = 1.0
    cross = np.einsum("hn,ni,nj->hij", weight, nuisance, data)
    if spread <= 0.0:
        cross[:, 1] = 0.0
    form = np.einsum("hn,ni,nj->hij", weight, data, data)
    form -= np.einsum("hki,hkj->hij", cross, np.linalg.solve(inner, cross))
    bad = wrong.sum(axis=1)
    good = wrong.shape[1] - bad
    log_sigma = np.where(wrong, 0.0, np.log(times.sigma_s)).sum(axis=1)
    log_weight = (
        0.5 * math.log(prior)
        - log_sigma
        - 0.5 * (good - 1) * math.log(2.0 * math.pi)
        - 0.5 * np.log(np.linalg.det(inner))
        + good * math.log1p(-probability)
    )
    if bad.any():
        log_weight += bad * (math.log(probability) + math.log(density_hz))
    return Hypotheses(wrong, log_weight, form[:, 0, 0], form[:, 0, 1:], form[:, 1:, 1:])


def least_chi2(constant: FloatArray, linear: FloatArray, quadratic: FloatArray) -> FloatArray:
    """Least values of c + 2 g.n + n.M.n over unit vectors n, for h polynomials at once.

    M is positive semidefinite. The minimum has (M + lambda) n = -g with lambda above minus the
    least eigenvalue, found by bisection of |n| = 1 (More & Sorensen 1983, SIAM J. Sci. Stat.
    Comput. 4, 553).
    """
    values, vectors = np.linalg.eigh(quadratic)
    values = np.maximum(values, 0.0)
    g = np.einsum("hij,hi->hj", vectors, linear)
    scale = np.maximum(np.maximum(values[:, -1], np.abs(g).max(axis=1)), 1e-30)
    floor = 1e-13 * scale
    gap = values - values[:, :1]

    def solution(above: FloatArray) -> FloatArray:
        """n for lambda so much above its limit."""
        return np.asarray(-g / (gap + above[:, None]))

    low = floor.copy()
    high = floor + 2.0 * np.linalg.norm(g, axis=1) + 1e-12 * scale
    for _ in range(60):
        middle = 0.5 * (low + high)
        inside = np.sum(solution(middle) ** 2, axis=1) <= 1.0
        high = np.where(inside, middle, high)
        low = np.where(inside, low, middle)
    n = solution(high)
    n /= np.maximum(np.linalg.norm(n, axis=1), 1e-300)[:, None]
    # Where even the floor is inside, the direction of the least eigenvalue is free to
    # complete the unit vector.
    free = solution(floor)
    is_free = np.linalg.norm(free, axis=1) <= 1.0
    rest = np.sqrt(np.maximum(1.0 - np.sum(free[:, 1:] ** 2, axis=1), 0.0))
    free[:, 0] = np.copysign(rest, -g[:, 0])
    n = np.where(is_free[:, None], free, n)
    return np.asarray(constant + 2.0 * np.sum(g * n, axis=1) + np.sum(values * n * n, axis=1))


def p_value(all_good: Hypotheses, n_detectors: int) -> float:
    """Chance of a larger least chi-square, were all clocks right; 1 with one detector.

    Detectors in one place, on a line or in a plane leave more degrees of freedom than N - 3;
    where none are left, times can only fail by more than the light travel allows, which one
    degree describes.
    """
    if n_detectors < 2:
        return 1.0
    values = np.linalg.eigvalsh(all_good.quadratic[0])
    rank = int(np.count_nonzero(values > 1e-9 * max(float(values[-1]), 1e-300)))
    free = max(n_detectors - 1 - min(rank, 2), 1)
    least = float(all_good.least_chi2()[0])
    return float(chdtrc(free, max(least, 0.0)))
