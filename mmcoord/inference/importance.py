"""Importance sampling from two mixtures, one for each of two searches, until the weights are good.

Half of the draws come from each mixture, so that every estimate can be made twice. Mixtures are
refitted to the weighted draws and new draws are made; only draws from the final, fixed mixtures
enter the estimates, which keeps them unbiased.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from mmcoord.inference.job import SamplerSettings
from mmcoord.inference.mixture import Mixture, fit, log_prior, logsumexp
from mmcoord.inference.pilots import LogLikelihood, evaluate, some, systematic
from mmcoord.inference.weights import effective_size, log_mean, pareto_k

__all__ = ["Posterior", "Search", "importance"]

Array = npt.NDArray[np.float64]

_HALVES_DLOGZ = 0.15
_KHAT_MAX = 0.7
_KHAT_MAX_HALF = 0.85
"""The halves only check each other; what is reported rests on the joint weights."""
_MAX_DRAWS = 4000
_MODES = 0.12
"""Share of the draws for the modes that the searches met, whatever their mass."""
_MIN_GENERATIONS = 2
"""Refits before draws count: a minor mode is met in the first round and filled in the second."""
_HISTORY = 4
"""Generations whose draws mixtures are fitted to."""


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
    proposal: Mixture | None = None
    """What an update with newer data begins with; None if it did not converge."""
    begun: str = "prior"
    """Where sampling began: ``prior``, ``earlier posterior``, or ``prior: `` and why the earlier
    posterior was no use."""


@dataclass(frozen=True)
class Search:
    """What one of the two searches met, in probit space."""

    x: Array
    """Its idea of the posterior."""
    hot: Array
    """Points of a higher temperature."""
    modes: Mixture
    """A component for every mode it met; may be empty."""


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


@dataclass
class _Generation:
    """Draws, the two mixtures that they are from, and the densities of other generations'."""

    number: int
    draws: _Draws
    mixtures: list[Mixture]
    seen: dict[int, Array] = field(default_factory=dict)
    """By another generation's number: (2, n) log densities of its mixtures."""

    def log_densities(self, other: _Generation) -> Array:
        """(2, n): of another generation's mixtures at these draws; computed once."""
        if other is self:
            return self.draws.log_q
        if other.number not in self.seen:
            self.seen[other.number] = _log_q(other.mixtures, self.draws.x)
        return self.seen[other.number]


def importance(
    log_likelihood: LogLikelihood,
    searches: list[Search],
    rng: np.random.Generator,
    settings: SamplerSettings,
    calls: int,
    max_generations: int,
) -> Posterior:
    """Draw until converged or out of calls.

    Parameters
    ----------
    searches : two of them
    calls : int
        Made so far.
    max_generations : int
        How often mixtures are refitted.
    """
    n_dim = searches[0].x.shape[1]
    k = 4 if n_dim <= 4 else 10
    batch = 500 + 150 * n_dim
    mixtures = [
        fit(np.concatenate([some(s.x, 500 + 150 * n_dim, rng), s.hot]), k + 4, rng).beside(
            s.modes, _MODES
        )
        for s in searches
    ]
    draws: _Draws | None = None
    history: list[_Generation] = []
    generation = 0
    while True:
        new = _draw(log_likelihood, mixtures, batch, rng)
        calls += 2 * batch
        draws = new if draws is None else draws.joined(new)
        problem = _problem(draws, settings)
        out_of_calls = calls >= settings.max_calls
        if generation >= _MIN_GENERATIONS and (not problem or out_of_calls):
            return _posterior(draws, rng, calls, problem)
        if generation < _MIN_GENERATIONS or (_needs_refit(draws) and generation < max_generations):
            generation += 1
            history = [*history[1 - _HISTORY :], _Generation(generation, draws, mixtures)]
            mixtures = _refit(history, searches, k, rng)
            if generation == max_generations:
                # Fresh draws follow, so choosing by what was seen does not bias them.
                mixtures = max(history, key=lambda past: _efficiency(past.draws)).mixtures
            draws = None
            batch = min(int(1.3 * batch), 4 * (500 + 150 * n_dim))


def _draw(
    log_likelihood: LogLikelihood, mixtures: list[Mixture], n: int, rng: np.random.Generator
) -> _Draws:
    x = np.concatenate([mixture.draw(n, rng) for mixture in mixtures])
    log_target = evaluate(log_likelihood, x) + log_prior(x)
    return _Draws(x, log_target, _log_q(mixtures, x), np.repeat([0, 1], n))


def _log_q(mixtures: list[Mixture], x: Array) -> Array:
    return np.stack([mixture.log_density(x) for mixture in mixtures])


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


def _efficiency(draws: _Draws) -> float:
    return effective_size(draws.log_weights()) / len(draws.x)


def _refit(
    history: list[_Generation],
    searches: list[Search],
    k: int,
    rng: np.random.Generator,
) -> list[Mixture]:
    """New mixtures from the weighted draws of the last generations, with some of each search's
    points and all modes that either met.

    A draw is weighed against all generations together (Cornuet et al. 2012): one that its own
    could hardly make does not outweigh the rest. Weights are tempered until they rest on enough
    points to fit; what either half found is now known to both.
    """
    x = np.concatenate([past.draws.x for past in history])
    n_dim = x.shape[1]
    log_target = np.concatenate([past.draws.log_target for past in history])
    log_q = [
        np.concatenate([at.log_densities(past) for at in history], axis=1)
        + np.log(len(past.draws.x))
        for past in history
    ]
    log_w = log_target - logsumexp(np.concatenate(log_q), axis=0)
    power = 1.0
    while effective_size(power * log_w) < 80 * n_dim and power > 0.02:
        power *= 0.85
    weights = np.exp(power * log_w - logsumexp(power * log_w))
    mixtures = []
    modes = searches[0].modes.beside(searches[1].modes, 0.5)
    for search in searches:
        chosen = x[systematic(weights, 750 + 150 * n_dim, rng)]
        kept = search.x[rng.integers(len(search.x), size=200)]
        mixtures.append(fit(np.concatenate([chosen, kept]), k, rng).beside(modes, _MODES))
    return mixtures


def _posterior(draws: _Draws, rng: np.random.Generator, calls: int, problem: str) -> Posterior:
    log_w = draws.log_weights()
    log_z, error = log_mean(log_w)
    ess = effective_size(log_w)
    weights = np.exp(log_w - logsumexp(log_w))
    chosen = rng.permutation(systematic(weights, int(np.clip(ess, 200, _MAX_DRAWS)), rng))
    x = draws.x[chosen]
    return Posterior(
        u=ndtr(x),
        log_evidence=log_z,
        log_evidence_err=error,
        ess=ess,
        khat=pareto_k(log_w),
        converged=not problem,
        ruled_out=False,
        n_calls=calls,
        reason=problem,
        proposal=None if problem else fit(x, 4 if x.shape[1] <= 4 else 8, rng),
    )
