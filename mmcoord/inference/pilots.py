"""Dispersed pilots: independent waste-free SMC samplers that find where the posterior lies.

Tempering from the prior to the posterior; every state of the short chains is kept (Dau & Chopin
2022, "waste-free SMC"). Moves are random walks, differential evolution and, every third step,
independent proposals from a mixture fitted to the pilot's own population: these carry chains
between modes, without them the share of each mode drifts from stage to stage until one is lost.
The pilots' own evidences scatter by units of ln Z, so they only tell importance sampling where
to look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from mmcoord.inference.mixture import MAX_X, Mixture, fit, log_prior, logsumexp

__all__ = ["LogLikelihood", "Pilot", "run_pilots"]

Array = npt.NDArray[np.float64]

LogLikelihood = Callable[[Array], Array]
"""(n, d) points in the unit cube -> (n,) log likelihoods, finite or -inf."""

_LOWEST = -1e280
_MAX_STAGES = 80
_BROAD = 0.45
_KEEP = 0.5
"""Fraction of effective samples that sets the next temperature."""


@dataclass(frozen=True)
class Pilot:
    """What one pilot found."""

    x: Array
    """(n, d) final population in probit space."""
    log_likelihood: Array
    broad: Array
    """(n, d) population at about 0.4 of the likelihood's exponent: modes that the final
    population holds too few of are still well filled there."""
    log_evidence: float
    """Rough."""


def run_pilots(
    log_likelihood: LogLikelihood,
    n_dim: int,
    rng: np.random.Generator,
    *,
    n_pilots: int = 2,
    n_chains: int,
    n_steps: int,
) -> tuple[list[Pilot], int]:
    """Run the pilots side by side; returns them and the number of likelihood calls."""
    size = n_chains * n_steps
    x = rng.standard_normal((n_pilots, size, n_dim))
    ll = evaluate(log_likelihood, x.reshape(-1, n_dim)).reshape(n_pilots, size)
    calls = n_pilots * size
    beta = np.zeros(n_pilots)
    log_z = np.zeros(n_pilots)
    scale = np.full(n_pilots, 2.38 / np.sqrt(n_dim))
    broad = x.copy()
    for _ in range(_MAX_STAGES):
        active = np.flatnonzero(beta < 1.0)
        if len(active) == 0:
            break
        weights = np.empty((len(active), size))
        for a, p in enumerate(active):
            step = _next_step(ll[p], beta[p])
            increment = step * ll[p]
            log_z[p] += float(logsumexp(increment)) - np.log(size)
            weights[a] = np.exp(increment - logsumexp(increment))
            beta[p] = min(beta[p] + step, 1.0)
        x[active], ll[active] = _move(
            log_likelihood, x[active], ll[active], weights, beta[active], scale, active, rng,
            n_chains, n_steps,
        )  # fmt: skip
        calls += len(active) * size
        for p in active:
            if beta[p] <= _BROAD:
                broad[p] = x[p]
    pilots = [Pilot(x[p], ll[p], broad[p], float(log_z[p])) for p in range(n_pilots)]
    return pilots, calls


def evaluate(log_likelihood: LogLikelihood, x: Array) -> Array:
    """Log likelihood at (n, d) points in probit space; what is not finite counts as nothing."""
    return np.nan_to_num(log_likelihood(ndtr(x)), nan=_LOWEST, posinf=_LOWEST, neginf=_LOWEST)


def systematic(weights: Array, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Indices of n systematic draws from normalised weights."""
    positions = (rng.random() + np.arange(n)) / n
    edges = np.cumsum(weights)
    return np.minimum(np.searchsorted(edges / edges[-1], positions), len(weights) - 1)


def _next_step(ll: Array, beta: float) -> float:
    """Largest temperature step that keeps half of the effective samples."""

    def effective(step: float) -> float:
        log_w = step * (ll - ll.max())
        return float(np.exp(2.0 * logsumexp(log_w) - logsumexp(2.0 * log_w)))

    low, high = 0.0, 1.0 - beta
    if effective(high) >= _KEEP * len(ll):
        return high
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if effective(middle) > _KEEP * len(ll) else (low, middle)
    return max(low, 1e-12)


def _move(
    log_likelihood: LogLikelihood,
    x: Array,
    ll: Array,
    weights: Array,
    beta: Array,
    scale: Array,
    active: npt.NDArray[np.int64],
    rng: np.random.Generator,
    n_chains: int,
    n_steps: int,
) -> tuple[Array, Array]:
    """Resample n_chains per pilot, run n_steps, keep every state: (pilots, size, d)."""
    n_active, size, d = x.shape
    cholesky = np.empty((n_active, d, d))
    chain = np.empty((n_active, n_chains, d))
    chain_ll = np.empty((n_active, n_chains))
    donors = np.empty((n_active, size, d))
    mixtures: list[Mixture] = []
    for a in range(n_active):
        mean = weights[a] @ x[a]
        centred = x[a] - mean
        covariance = (centred * weights[a][:, None]).T @ centred
        cholesky[a] = np.linalg.cholesky(covariance + 1e-9 * np.eye(d))
        start = rng.permutation(systematic(weights[a], n_chains, rng))
        chain[a], chain_ll[a] = x[a][start], ll[a][start]
        donors[a] = x[a][systematic(weights[a], size, rng)]
        sparse = donors[a][rng.choice(size, size=min(size, 600 + 120 * d), replace=False)]
        mixtures.append(fit(sparse, 4 if d <= 4 else 8, rng, n_rounds=8))
    states = np.empty((n_active, n_steps, n_chains, d))
    states_ll = np.empty((n_active, n_steps, n_chains))
    prior = log_prior(chain.reshape(-1, d)).reshape(n_active, n_chains)
    for step in range(n_steps):
        correction = np.zeros((n_active, n_chains))
        walks = np.zeros((n_active, n_chains), dtype=bool)
        if step % 3 == 2:
            proposal = np.stack([m.draw(n_chains, rng) for m in mixtures])
            for a, mixture in enumerate(mixtures):
                correction[a] = mixture.log_density(chain[a]) - mixture.log_density(proposal[a])
        else:
            z = rng.standard_normal((n_active, n_chains, d))
            walks = rng.random((n_active, n_chains)) < 0.5
            proposal = chain + np.where(
                walks[..., None],
                scale[active][:, None, None] * np.einsum("aij,anj->ani", cholesky, z),
                _difference(donors, n_chains, 1.0 if step % 9 == 7 else 2.38 / np.sqrt(2 * d), rng)
                + 1e-4 * z,
            )
            proposal = proposal.clip(-MAX_X, MAX_X)
        new_ll = evaluate(log_likelihood, proposal.reshape(-1, d)).reshape(n_active, n_chains)
        new_prior = log_prior(proposal.reshape(-1, d)).reshape(n_active, n_chains)
        gain = beta[:, None] * (new_ll - chain_ll) + new_prior - prior + correction
        accept = np.log(rng.random((n_active, n_chains))) < gain
        chain = np.where(accept[..., None], proposal, chain)
        chain_ll = np.where(accept, new_ll, chain_ll)
        prior = np.where(accept, new_prior, prior)
        states[:, step], states_ll[:, step] = chain, chain_ll
        if step % 3 != 2:
            rate = (accept & walks).sum(axis=1) / np.maximum(walks.sum(axis=1), 1)
            scale[active] *= np.exp((rate - 0.25) / np.sqrt(step + 1.0))
    return states.reshape(n_active, size, d), states_ll.reshape(n_active, size)


def _difference(donors: Array, n_chains: int, gamma: float, rng: np.random.Generator) -> Array:
    """Differential evolution: gamma times the difference of two of the pilot's own points."""
    n_active, size, _ = donors.shape
    first, second = rng.integers(size, size=(2, n_active, n_chains))
    pilots = np.arange(n_active)[:, None]
    return np.asarray(gamma * (donors[pilots, first] - donors[pilots, second]))
