"""Dispersed pilots: independent waste-free SMC samplers that find where the posterior lies.

Tempering from the prior to the posterior; every state of the short chains is kept (Dau & Chopin
2022, "waste-free SMC"). Moves are random walks, differential evolution and, every third step,
independent proposals from a mixture fitted to the pilot's own population: these carry chains
between modes, without them the share of each mode drifts from stage to stage until one is lost.
The pilots' own evidences scatter by units of ln Z, so they only tell importance sampling where
to look.

A pilot may also begin at a known proposal instead of the prior (:func:`run_bridge`): the posterior
of older data, say. Tempering then goes from that proposal to the posterior, by the same moves.

Where the likelihood has a cliff, the temperature passes it faster than chains can follow, and they
arrive far below where the posterior's mass lies. A pilot therefore goes on at the posterior's own
temperature until its chains no longer rise.

Resampling lets a minor mode die out by chance. :func:`census` therefore takes the population of
a high temperature, where modes are still evenly filled, down to the posterior without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from mmcoord.inference.mixture import MAX_X, Mixture, fit, log_prior, logsumexp, shapes_of

__all__ = ["LogLikelihood", "Pilot", "census", "run_bridge", "run_pilots", "some"]

Array = npt.NDArray[np.float64]

LogLikelihood = Callable[[Array], Array]
"""(n, d) points in the unit cube -> (n,) log likelihoods, finite or -inf."""

_LOWEST = -1e280
_MAX_STAGES = 80
_BROAD = 0.25
_KEEP = 0.5
"""Fraction of effective samples that sets the next temperature."""
_SETTLING_STAGES = 25
_SETTLED = 0.3
"""Rise of ln posterior density within a stage, from its first third to its last, that is none."""
_BRIDGE_STAGES = 6
"""A longer bridge means that old and new posterior have little in common."""
_CENSUS = ((0.5, 15), (1.0, 15), (1.0, 25))
"""Exponent of the likelihood and steps of each round of walks."""
_CENSUS_PARTS = 12
"""Parts of the hot population, at most one more than dimensions."""
_CENSUS_WIDER = 1.3
"""A few walks that have just arrived do not yet fill a mode."""
_CENSUS_DEPTH = 15.0
"""In ln posterior density below the pilots' median: what lies deeper holds no mass."""


@dataclass(frozen=True)
class Pilot:
    """What one pilot found."""

    x: Array
    """(n, d) final population in probit space."""
    log_likelihood: Array
    broad: Array
    """(n, d) population at about 0.2 of the likelihood's exponent: modes that the final
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
    settle: bool = True,
) -> tuple[list[Pilot], int]:
    """Run pilots from the prior, side by side; returns them and the number of calls."""
    x = rng.standard_normal((n_pilots, n_chains * n_steps, n_dim))
    pilots, calls, _ = _temper(
        log_likelihood, x, log_prior, rng, n_chains, n_steps, _MAX_STAGES,
        _SETTLING_STAGES if settle else 0,
    )  # fmt: skip
    return pilots, calls


def run_bridge(
    log_likelihood: LogLikelihood,
    start: Mixture,
    rng: np.random.Generator,
    *,
    n_chains: int,
    n_steps: int,
) -> tuple[Pilot | None, int]:
    """A pilot that begins at ``start``; None if it is still under way after six stages."""
    x = start.draw(n_chains * n_steps, rng)[None]
    pilots, calls, arrived = _temper(
        log_likelihood, x, start.log_density, rng, n_chains, n_steps, _BRIDGE_STAGES,
        _SETTLING_STAGES,
    )  # fmt: skip
    return (pilots[0] if arrived else None), calls


def _temper(
    log_likelihood: LogLikelihood,
    x: Array,
    log_base: Callable[[Array], Array],
    rng: np.random.Generator,
    n_chains: int,
    n_steps: int,
    max_stages: int,
    settling_stages: int,
) -> tuple[list[Pilot], int, bool]:
    """From (n_pilots, size, d) draws of a base density to the posterior.

    Returns the pilots, the number of calls and whether all of them arrived.
    """
    n_pilots, size, n_dim = x.shape

    def score(points: Array) -> tuple[Array, Array]:
        """ln of the base density, and of what tempering multiplies it by."""
        shape, flat = points.shape[:-1], points.reshape(-1, n_dim)
        base, gain = log_base(flat), evaluate(log_likelihood, flat)
        if log_base is not log_prior:
            gain = gain + log_prior(flat) - base
        return base.reshape(shape), gain.reshape(shape)

    base, gain = score(x)
    calls = n_pilots * size
    beta = np.zeros(n_pilots)
    log_z = np.zeros(n_pilots)
    scale = np.full(n_pilots, 2.38 / np.sqrt(n_dim))
    broad = x.copy()
    for _ in range(max_stages):
        active = np.flatnonzero(beta < 1.0)
        if len(active) == 0:
            break
        weights = np.empty((len(active), size))
        for a, p in enumerate(active):
            step = _next_step(gain[p], beta[p])
            increment = step * gain[p]
            log_z[p] += float(logsumexp(increment)) - np.log(size)
            weights[a] = np.exp(increment - logsumexp(increment))
            beta[p] = min(beta[p] + step, 1.0)
        x[active], base[active], gain[active] = _move(
            score, (x[active], base[active], gain[active]), weights, beta[active], scale, active,
            rng, n_chains, n_steps,
        )  # fmt: skip
        calls += len(active) * size
        for p in active:
            if beta[p] <= _BROAD:
                broad[p] = x[p]
    late = np.zeros(size)
    late[-(n_steps // 3) * n_chains :] = 1.0 / (n_steps // 3 * n_chains)
    for _ in range(settling_stages):
        density = (base + gain).reshape(n_pilots, n_steps, n_chains)
        active = np.array([p for p in range(n_pilots) if beta[p] >= 1.0 and _rises(density[p])])
        if len(active) == 0:
            break
        x[active], base[active], gain[active] = _move(
            score, (x[active], base[active], gain[active]), np.tile(late, (len(active), 1)),
            beta[active], scale, active, rng, n_chains, n_steps,
        )  # fmt: skip
        calls += len(active) * size
    if log_base is not log_prior:
        gain = gain + base - log_prior(x.reshape(-1, n_dim)).reshape(n_pilots, size)
    pilots = [Pilot(x[p], gain[p], broad[p], float(log_z[p])) for p in range(n_pilots)]
    return pilots, calls, bool(np.all(beta >= 1.0))


def census(
    log_likelihood: LogLikelihood, pilot: Pilot, rng: np.random.Generator, *, n_walks: int
) -> tuple[Mixture, int]:
    """One component for each part of the hot population, where it leads to; and the calls.

    ``n_walks`` begin in each part: random walks down to the posterior's own temperature, without
    resampling and with steps of each part's own shape, so that a walk ends in the mode that it
    began in. Weights are equal: how many walks lead to a mode says nothing of its mass. A part
    from which no walk comes within reach of the posterior is left out; there may be none left.
    """
    d = pilot.x.shape[1]
    parts = fit(some(pilot.broad, 600 + 120 * d, rng), min(_CENSUS_PARTS, d + 1), rng, n_rounds=8)
    label = parts.nearest(pilot.broad)
    members = [np.flatnonzero(label == j) for j in range(len(parts.mean))]
    members = [m for m in members if len(m) > 0]
    begin = np.concatenate([rng.choice(m, size=n_walks) for m in members])
    x, label = pilot.broad[begin], label[begin]
    cholesky, k = parts.cholesky, len(parts.mean)
    scale = np.full(k, 1.7 / np.sqrt(d))
    prior, ll = log_prior(x), evaluate(log_likelihood, x)
    for beta, n_steps in _CENSUS:
        for step in range(n_steps):
            z = rng.standard_normal(x.shape)
            proposal = x + scale[label, None] * np.einsum("nij,nj->ni", cholesky[label], z)
            proposal = proposal.clip(-MAX_X, MAX_X)
            new_prior, new_ll = log_prior(proposal), evaluate(log_likelihood, proposal)
            accept = np.log(rng.random(len(x))) < beta * (new_ll - ll) + new_prior - prior
            x = np.where(accept[:, None], proposal, x)
            prior, ll = np.where(accept, new_prior, prior), np.where(accept, new_ll, ll)
            rate = np.bincount(label, accept, k) / n_walks
            scale *= np.exp((rate - 0.25) / np.sqrt(step + 1.0))
        _, cholesky = shapes_of(x, label, parts.mean, cholesky)
    typical = float(np.median(pilot.log_likelihood + log_prior(pilot.x)))
    good = ll + prior > typical - _CENSUS_DEPTH
    mean, cholesky = shapes_of(x[good], label[good], parts.mean, cholesky)
    reached = np.unique(label[good])
    log_weight = np.full(len(reached), -np.log(max(len(reached), 1)))
    calls = (1 + sum(n for _, n in _CENSUS)) * len(x)
    return Mixture(log_weight, mean[reached], _CENSUS_WIDER * cholesky[reached]), calls


def some(x: Array, n: int, rng: np.random.Generator) -> Array:
    """At most n of (m, d) points, at random."""
    return np.asarray(x[rng.choice(len(x), size=min(n, len(x)), replace=False)])


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


def _rises(density: Array) -> bool:
    """Whether (n_steps, n_chains) of ln density are still on their way up."""
    third = len(density) // 3
    rise = density[-third:].mean(axis=0) - density[:third].mean(axis=0)
    error = float(rise.std(ddof=1)) / np.sqrt(len(rise))
    return float(rise.mean()) > max(_SETTLED, 2.0 * error)


def _move(
    score: Callable[[Array], tuple[Array, Array]],
    here: tuple[Array, Array, Array],
    weights: Array,
    beta: Array,
    scale: Array,
    active: npt.NDArray[np.int64],
    rng: np.random.Generator,
    n_chains: int,
    n_steps: int,
) -> tuple[Array, Array, Array]:
    """Resample n_chains per pilot, run n_steps, keep every state.

    ``here`` and what is returned: points (pilots, size, d), ln base and gain (pilots, size).
    """
    x = here[0]
    n_active, size, d = x.shape
    cholesky = np.empty((n_active, d, d))
    chain = np.empty((n_active, n_chains, d))
    base = np.empty((n_active, n_chains))
    gain = np.empty((n_active, n_chains))
    donors = np.empty((n_active, size, d))
    mixtures: list[Mixture] = []
    for a in range(n_active):
        mean = weights[a] @ x[a]
        centred = x[a] - mean
        covariance = (centred * weights[a][:, None]).T @ centred
        cholesky[a] = np.linalg.cholesky(covariance + 1e-9 * np.eye(d))
        start = rng.permutation(systematic(weights[a], n_chains, rng))
        chain[a], base[a], gain[a] = (values[a][start] for values in here)
        donors[a] = x[a][systematic(weights[a], size, rng)]
        sparse = some(donors[a], 600 + 120 * d, rng)
        mixtures.append(fit(sparse, 4 if d <= 4 else 8, rng, n_rounds=8))
    states = np.empty((n_active, n_steps, n_chains, d))
    bases = np.empty((n_active, n_steps, n_chains))
    gains = np.empty((n_active, n_steps, n_chains))
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
        new_base, new_gain = score(proposal)
        ratio = new_base - base + beta[:, None] * (new_gain - gain) + correction
        accept = np.log(rng.random((n_active, n_chains))) < ratio
        chain = np.where(accept[..., None], proposal, chain)
        base = np.where(accept, new_base, base)
        gain = np.where(accept, new_gain, gain)
        states[:, step], bases[:, step], gains[:, step] = chain, base, gain
        if step % 3 != 2:
            rate = (accept & walks).sum(axis=1) / np.maximum(walks.sum(axis=1), 1)
            scale[active] *= np.exp((rate - 0.25) / np.sqrt(step + 1.0))
    shape = (n_active, size)
    return states.reshape(*shape, d), bases.reshape(shape), gains.reshape(shape)


def _difference(donors: Array, n_chains: int, gamma: float, rng: np.random.Generator) -> Array:
    """Differential evolution: gamma times the difference of two of the pilot's own points."""
    n_active, size, _ = donors.shape
    first, second = rng.integers(size, size=(2, n_active, n_chains))
    pilots = np.arange(n_active)[:, None]
    return np.asarray(gamma * (donors[pilots, first] - donors[pilots, second]))
