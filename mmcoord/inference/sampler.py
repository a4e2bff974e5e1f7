"""Posterior draws and evidence: dispersed pilots, Student-t mixtures, importance sampling.

Two mixtures are fitted to two independent pilots, and half of the importance draws come
from each. Every estimate can therefore be made twice, from two searches that know nothing of
each other: if one missed a mode that the other found, their evidences differ. "Converged" is
written only when

* the effective sample size reaches its target,
* the Pareto shape of the weights is below 0.7 (Vehtari et al. 2024), and of each half's below
  0.85,
* the two halves' ln Z agree within three of their errors and within 0.15,

and every mode that a census of either pilot's hot population leads to has had its share of
the draws.

Until then importance sampling (:mod:`~mmcoord.inference.importance`) goes on.

With a ``start``, the mixture of a posterior of older data, one half comes from a bridge that begins
there and the other from a small pilot of its own from the prior. The same importance sampling
against the whole likelihood and prior follows, so that the evidence owes nothing to the start. A
bridge that is long, a pilot that finds better than the bridge, or no convergence within a few
rounds: everything begins again from the prior.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import ndtr
from threadpoolctl import threadpool_limits

from mmcoord.inference.importance import Posterior, Search, importance
from mmcoord.inference.job import SamplerSettings
from mmcoord.inference.mixture import Mixture
from mmcoord.inference.pilots import LogLikelihood, Pilot, census, run_bridge, run_pilots, some

__all__ = ["Posterior", "sample"]

_N_PILOTS = 2
_MAX_GENERATIONS = 20
_SCOUT_MARGIN = 20.0
_UPDATE_GENERATIONS = 10
_UPDATE_BATCHES = 48
"""Half rounds of importance sampling that an update may take to converge."""
_BETTER = 3.0
"""In ln likelihood: what a small pilot has to find above the bridge to discredit it."""


def sample(
    log_likelihood: LogLikelihood,
    n_dim: int,
    seed: int,
    settings: SamplerSettings | None = None,
    *,
    must_reach: float = -np.inf,
    start: Mixture | None = None,
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
    start : Mixture, optional
        ``Posterior.proposal`` of the same model on older data: saves most of the search.
    """
    settings = settings or SamplerSettings()
    if settings.backend != "smc-is":
        from mmcoord.inference import nested

        others = {"dynesty": nested.sample_dynesty, "nautilus": nested.sample_nautilus}
        return others[settings.backend](log_likelihood, n_dim, seed, settings)
    # One thread for linear algebra: matrices are small, and sums must not depend on how many
    # threads there are. The likelihood's own threads are Numba's and do not sum.
    with threadpool_limits(limits=1, user_api="blas"):
        rng = np.random.default_rng(seed)
        if start is None or start.mean.shape[1] != n_dim:
            return _from_prior(log_likelihood, n_dim, rng, settings, must_reach)
        found = _from_earlier(log_likelihood, start, rng, settings, must_reach)
        if found.converged or found.ruled_out:
            return found
        cold = _from_prior(log_likelihood, n_dim, rng, settings, must_reach)
        calls = found.n_calls + cold.n_calls
        return replace(cold, n_calls=calls, begun=f"prior: {found.reason}")


def _from_prior(
    log_likelihood: LogLikelihood,
    n_dim: int,
    rng: np.random.Generator,
    settings: SamplerSettings,
    must_reach: float,
) -> Posterior:
    calls = 0
    if must_reach > -np.inf:
        scouts, calls = _scouts(log_likelihood, n_dim, rng, _N_PILOTS)
        if _highest(scouts) < must_reach - _SCOUT_MARGIN:
            return _ruled_out(scouts, rng, calls)
    n_chains, n_steps, n_walks = 60 + 20 * n_dim, 30, 30
    if settings.ess_target < 1000:
        n_chains, n_walks = n_chains // 2, n_walks // 2
    pilots, pilot_calls = run_pilots(
        log_likelihood, n_dim, rng, n_pilots=_N_PILOTS, n_chains=n_chains, n_steps=n_steps
    )
    calls += pilot_calls
    if _highest(pilots) < must_reach:
        return _ruled_out(pilots, rng, calls)
    searches = []
    for pilot in pilots:
        search, census_calls = _search(log_likelihood, pilot, rng, n_walks)
        searches.append(search)
        calls += census_calls
    return importance(log_likelihood, searches, rng, settings, calls, _MAX_GENERATIONS)


def _from_earlier(
    log_likelihood: LogLikelihood,
    start: Mixture,
    rng: np.random.Generator,
    settings: SamplerSettings,
    must_reach: float,
) -> Posterior:
    """From the posterior of older data; not converged: begin again from the prior."""
    n_dim = start.mean.shape[1]
    scouts, calls = _scouts(log_likelihood, n_dim, rng, 1)
    bridge, bridge_calls = run_bridge(
        log_likelihood, start, rng, n_chains=30 + 10 * n_dim, n_steps=20
    )
    calls += bridge_calls
    if _highest(scouts if bridge is None else [*scouts, bridge]) < must_reach - _SCOUT_MARGIN:
        return _ruled_out(scouts, rng, calls)
    if bridge is None:
        return _given_up(scouts, rng, calls, "the bridge from the earlier posterior is long")
    if _highest(scouts) > _highest([bridge]) + _BETTER:
        return _given_up(scouts, rng, calls, "a pilot found better than the earlier posterior")
    searches = []
    for pilot in (bridge, *scouts):
        search, census_calls = _search(log_likelihood, pilot, rng, 15)
        # What the earlier posterior knew is looked at again, also where the bridge lost it.
        searches.append(replace(search, modes=search.modes.beside(start, 0.5)))
        calls += census_calls
    limit = min(settings.max_calls, calls + _UPDATE_BATCHES * (500 + 150 * n_dim))
    brief = replace(settings, max_calls=limit)
    found = importance(log_likelihood, searches, rng, brief, calls, _UPDATE_GENERATIONS)
    return replace(found, begun="earlier posterior")


def _scouts(
    log_likelihood: LogLikelihood, n_dim: int, rng: np.random.Generator, n: int
) -> tuple[list[Pilot], int]:
    """Pilots too small for a posterior, large enough to see how high the likelihood rises."""
    return run_pilots(
        log_likelihood, n_dim, rng, n_pilots=n, n_chains=30 + 8 * n_dim, n_steps=12, settle=False
    )


def _highest(pilots: list[Pilot]) -> float:
    return max(float(pilot.log_likelihood.max()) for pilot in pilots)


def _search(
    log_likelihood: LogLikelihood, pilot: Pilot, rng: np.random.Generator, n_walks: int
) -> tuple[Search, int]:
    modes, calls = census(log_likelihood, pilot, rng, n_walks=n_walks)
    n_hot = 500 + 150 * pilot.x.shape[1]
    # A hot population that leads nowhere lies elsewhere, and is no guide to the posterior's flanks.
    hot = pilot.broad if len(modes.mean) else pilot.x
    return Search(pilot.x, some(hot, n_hot, rng), modes), calls


def _given_up(pilots: list[Pilot], rng: np.random.Generator, calls: int, reason: str) -> Posterior:
    return replace(_ruled_out(pilots, rng, calls), ruled_out=False, reason=reason)


def _ruled_out(pilots: list[Pilot], rng: np.random.Generator, calls: int) -> Posterior:
    values = np.array([p.log_evidence for p in pilots])
    best = max(pilots, key=lambda p: p.log_evidence)
    chosen = rng.integers(len(best.x), size=200)
    return Posterior(
        u=ndtr(best.x[chosen]),
        log_evidence=float(values.mean()),
        log_evidence_err=float(np.ptp(values)) if len(values) > 1 else _SCOUT_MARGIN,
        ess=0.0,
        khat=float("inf"),
        converged=False,
        ruled_out=True,
        n_calls=calls,
        reason="ruled out by its highest likelihood; evidence from the pilots alone",
    )
