"""Posterior draws and evidence: dispersed pilots, Student-t mixtures, importance sampling.

Two mixtures are fitted to two independent pilots, and half of the importance draws come
from each. Every estimate can therefore be made twice, from two searches that know nothing of
each other: if one missed a mode that the other found, their evidences differ. "Converged" is
written only when

* the effective sample size reaches its target,
* the Pareto shape of the weights is below 0.7 (Vehtari et al. 2024), and of each half's below
  0.85,
* the two halves' ln Z agree within three of their errors and within 0.15.

Until then mixtures are refitted to the weighted draws and new draws are made; only draws from
the final, fixed mixtures enter the estimates, which keeps them unbiased.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from threadpoolctl import threadpool_limits

from mmcoord.inference.job import SamplerSettings
from mmcoord.inference.mixture import Mixture, fit, log_prior, logsumexp
from mmcoord.inference.pilots import LogLikelihood, Pilot, evaluate, run_pilots, systematic

__all__ = ["Posterior", "pareto_k", "sample"]

Array = npt.NDArray[np.float64]

_N_PILOTS = 2
_MAX_GENERATIONS = 20
_HALVES_DLOGZ = 0.15
_KHAT_MAX = 0.7
_KHAT_MAX_HALF = 0.85
"""The halves only check each other; what is reported rests on the joint weights."""
_MAX_DRAWS = 4000
_SCOUT_MARGIN = 20.0


@dataclass(frozen=True)
class Posterior:
    """What the sampler found, in the unit cube."""

    u: Array
    """(n, d) equally weighted draws."""
    log_evidence: float
    log_evidence_err: float
    ess: float
    khat: float
    converged: bool
    ruled_out: bool
    """Stopped early: no point found reaches the evidence that it had to reach."""
    n_calls: int
    reason: str
    """Why it did not converge, or empty."""


@dataclass
class _Draws:
    """Importance draws from the two mixtures of one generation."""

    x: Array
    log_target: Array
    log_q: Array
    """(2, n): densities of both mixtures at every draw."""
    half: npt.NDArray[np.int64]

    def log_weights(self) -> Array:
        mixed = logsumexp(self.log_q, axis=0) - np.log(2.0)
        return np.asarray(self.log_target - mixed)

    def of_half(self, half: int) -> Array:
        chosen = self.half == half
        return np.asarray(self.log_target[chosen] - self.log_q[half, chosen])

    def joined(self, other: _Draws) -> _Draws:
        return _Draws(
            np.concatenate([self.x, other.x]),
            np.concatenate([self.log_target, other.log_target]),
            np.concatenate([self.log_q, other.log_q], axis=1),
            np.concatenate([self.half, other.half]),
        )


def sample(
    log_likelihood: LogLikelihood,
    n_dim: int,
    seed: int,
    settings: SamplerSettings | None = None,
    *,
    must_reach: float = -np.inf,
) -> Posterior:
    """Draw from likelihood x uniform prior on the unit cube.

    Parameters
    ----------
    log_likelihood : callable
        Vectorised, (n, n_dim) -> (n,).
    n_dim : int
    seed : int
        Same seed, same bytes.
    settings : SamplerSettings, optional
    must_reach : float
        A ln Z that matters. Where even the highest likelihood found lies below it, the model is
        ruled out, since Z cannot exceed the maximum likelihood, and sampling stops.
    """
    # One thread for linear algebra: matrices are small, and sums must not depend on how many
    # threads there are. The likelihood's own threads are Numba's and do not sum.
    with threadpool_limits(limits=1, user_api="blas"):
        return _sample(log_likelihood, n_dim, seed, settings or SamplerSettings(), must_reach)


def _sample(
    log_likelihood: LogLikelihood,
    n_dim: int,
    seed: int,
    settings: SamplerSettings,
    must_reach: float,
) -> Posterior:
    if settings.backend == "dynesty":
        from mmcoord.inference.nested import sample_nested

        return sample_nested(log_likelihood, n_dim, seed, settings)
    rng = np.random.default_rng(seed)
    calls = 0
    if must_reach > -np.inf:
        scouts, calls = run_pilots(
            log_likelihood, n_dim, rng, n_pilots=_N_PILOTS, n_chains=30 + 8 * n_dim, n_steps=12
        )
        if max(float(p.log_likelihood.max()) for p in scouts) < must_reach - _SCOUT_MARGIN:
            return _ruled_out(scouts, rng, calls)
    n_chains, n_steps = 60 + 20 * n_dim, 30
    if settings.ess_target < 1000:
        n_chains //= 2
    pilots, pilot_calls = run_pilots(
        log_likelihood, n_dim, rng, n_pilots=_N_PILOTS, n_chains=n_chains, n_steps=n_steps
    )
    calls += pilot_calls
    if max(float(p.log_likelihood.max()) for p in pilots) < must_reach:
        return _ruled_out(pilots, rng, calls)
    return _importance(log_likelihood, n_dim, pilots, rng, settings, calls)


def _importance(
    log_likelihood: LogLikelihood,
    n_dim: int,
    pilots: list[Pilot],
    rng: np.random.Generator,
    settings: SamplerSettings,
    calls: int,
) -> Posterior:
    k = 4 if n_dim <= 4 else 8
    batch = 500 + 150 * n_dim
    sources = [pilot.x for pilot in pilots]
    mixtures = [
        fit(np.concatenate([_thinned(x, n_dim, rng) for x in (p.x, p.broad)]), k + 4, rng)
        for p in pilots
    ]
    draws: _Draws | None = None
    history: list[tuple[Array, Array]] = []
    tried: list[tuple[float, list[Mixture]]] = []
    generation = 0
    while True:
        new = _draw(log_likelihood, mixtures, batch, rng)
        calls += 2 * batch
        draws = new if draws is None else draws.joined(new)
        problem = _problem(draws, settings)
        if generation > 0 and (not problem or calls >= settings.max_calls):
            return _posterior(draws, rng, calls, problem)
        if generation == 0 or (_needs_refit(draws) and generation < _MAX_GENERATIONS):
            generation += 1
            log_w = draws.log_weights()
            history.append((draws.x, log_w))
            tried.append((effective_size(log_w) / len(log_w), mixtures))
            mixtures = _refit(history, sources, k, n_dim, rng)
            if generation == _MAX_GENERATIONS:
                # Fresh draws follow, so choosing by what was seen does not bias them.
                mixtures = max(tried[-3:], key=lambda pair: pair[0])[1]
            draws = None
            batch = min(int(1.3 * batch), 4 * (500 + 150 * n_dim))


def _draw(
    log_likelihood: LogLikelihood, mixtures: list[Mixture], n: int, rng: np.random.Generator
) -> _Draws:
    x = np.concatenate([mixture.draw(n, rng) for mixture in mixtures])
    log_target = evaluate(log_likelihood, x) + log_prior(x)
    log_q = np.stack([mixture.log_density(x) for mixture in mixtures])
    return _Draws(x, log_target, log_q, np.repeat([0, 1], n))


def _problem(draws: _Draws, settings: SamplerSettings) -> str:
    log_w = draws.log_weights()
    ess = effective_size(log_w)
    if ess < settings.ess_target:
        return f"effective sample size {ess:.0f} is below {settings.ess_target}"
    halves = [draws.of_half(h) for h in (0, 1)]
    khat = pareto_k(log_w)
    if khat > _KHAT_MAX:
        return f"Pareto k-hat {khat:.2f} is above {_KHAT_MAX}"
    khat = max(pareto_k(w) for w in halves)
    if khat > _KHAT_MAX_HALF:
        return f"Pareto k-hat of one half, {khat:.2f}, is above {_KHAT_MAX_HALF}"
    (z0, e0), (z1, e1) = (log_mean(w) for w in halves)
    if abs(z0 - z1) > max(3.0 * float(np.hypot(e0, e1)), 0.02) or abs(z0 - z1) > _HALVES_DLOGZ:
        return f"independent halves differ by {abs(z0 - z1):.2f} in ln Z: a mode may be missing"
    return ""


def _needs_refit(draws: _Draws) -> bool:
    log_w = draws.log_weights()
    halves = [draws.of_half(h) for h in (0, 1)]
    (z0, e0), (z1, e1) = (log_mean(w) for w in halves)
    return (
        effective_size(log_w) < 0.08 * len(log_w)
        or pareto_k(log_w) > _KHAT_MAX
        or max(pareto_k(w) for w in halves) > _KHAT_MAX_HALF
        or abs(z0 - z1) > max(3.0 * float(np.hypot(e0, e1)), 0.05)
    )


def _refit(
    history: list[tuple[Array, Array]],
    sources: list[Array],
    k: int,
    n_dim: int,
    rng: np.random.Generator,
) -> list[Mixture]:
    """New mixtures from all weighted draws so far, with some of each pilot kept.

    Weights are tempered until they rest on enough points to fit; what either half found is
    now known to both.
    """
    x = np.concatenate([points for points, _ in history])
    log_w = np.concatenate([weights - np.log(len(weights)) for _, weights in history])
    power = 1.0
    while effective_size(power * log_w) < 80 * n_dim and power > 0.02:
        power *= 0.85
    weights = np.exp(power * log_w - logsumexp(power * log_w))
    mixtures = []
    for half in (0, 1):
        chosen = x[systematic(weights, 1500 + 300 * n_dim, rng)]
        kept = sources[half][rng.integers(len(sources[half]), size=200)]
        mixtures.append(fit(np.concatenate([chosen[half::2], kept]), k, rng))
    return mixtures


def _posterior(draws: _Draws, rng: np.random.Generator, calls: int, problem: str) -> Posterior:
    log_w = draws.log_weights()
    log_z, error = log_mean(log_w)
    ess = effective_size(log_w)
    chosen = systematic(np.exp(log_w - logsumexp(log_w)), int(np.clip(ess, 200, _MAX_DRAWS)), rng)
    return Posterior(
        u=ndtr(draws.x[rng.permutation(chosen)]),
        log_evidence=log_z,
        log_evidence_err=error,
        ess=ess,
        khat=pareto_k(log_w),
        converged=not problem,
        ruled_out=False,
        n_calls=calls,
        reason=problem,
    )


def _ruled_out(pilots: list[Pilot], rng: np.random.Generator, calls: int) -> Posterior:
    values = np.array([p.log_evidence for p in pilots])
    best = max(pilots, key=lambda p: p.log_evidence)
    chosen = rng.integers(len(best.x), size=200)
    return Posterior(
        u=ndtr(best.x[chosen]),
        log_evidence=float(values.mean()),
        log_evidence_err=float(values.std(ddof=1)),
        ess=0.0,
        khat=float("inf"),
        converged=False,
        ruled_out=True,
        n_calls=calls,
        reason="ruled out by its highest likelihood; evidence from the pilots alone",
    )


def _thinned(x: Array, n_dim: int, rng: np.random.Generator) -> Array:
    size = min(len(x), 500 + 150 * n_dim)
    return np.asarray(x[rng.choice(len(x), size=size, replace=False)])


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
