"""Samplers that others maintain, behind the interface of ours: slower, independent.

dynesty is the cross-check. nautilus is for models so slow that calls are all that counts: it asks
for a tenth of dynesty's, whole batches at a time, and spends the time on regressions instead.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from mmcoord.errors import ConfigError
from mmcoord.inference.importance import Posterior
from mmcoord.inference.job import SamplerSettings
from mmcoord.inference.pilots import LogLikelihood

__all__ = ["sample_dynesty", "sample_nautilus"]

Array = npt.NDArray[np.float64]

_MAX_DRAWS = 4000


def sample_dynesty(
    log_likelihood: LogLikelihood, n_dim: int, seed: int, settings: SamplerSettings
) -> Posterior:
    """Nested sampling (Speagle 2020) with random walks.

    Live points follow the target: about a quarter of the effective size asked for.
    """
    import dynesty
    import numba
    from dynesty.utils import resample_equal

    rng = np.random.default_rng(seed)
    n_live = max(50 * n_dim, settings.ess_target // 4)

    def one(u: Array) -> float:
        return float(_finite(log_likelihood(u[None, :]))[0])

    run = dynesty.NestedSampler(
        one, lambda u: u, n_dim, nlive=n_live, sample="rwalk", bound="multi", rstate=rng
    )
    threads = numba.get_num_threads()
    numba.set_num_threads(1)  # one point a call: waking threads would cost more than it gives
    try:
        run.run_nested(print_progress=False, dlogz=0.05, maxcall=settings.max_calls)
    finally:
        numba.set_num_threads(threads)
    results = run.results
    weights = np.exp(results.logwt - results.logz[-1])
    weights = weights / weights.sum()
    ess = float(1.0 / (weights**2).sum())
    n_calls = int(np.sum(results.ncall))
    draws = resample_equal(results.samples, weights, rstate=rng)
    problem = "" if n_calls < settings.max_calls else "stopped at the limit of likelihood calls"
    return Posterior(
        u=_few(draws, ess, rng),
        log_evidence=float(results.logz[-1]),
        log_evidence_err=float(results.logzerr[-1]),
        ess=ess,
        khat=0.0,
        converged=not problem,
        ruled_out=False,
        n_calls=n_calls,
        reason=problem,
    )


def sample_nautilus(
    log_likelihood: LogLikelihood, n_dim: int, seed: int, settings: SamplerSettings
) -> Posterior:
    """Importance nested sampling with regressions of the likelihood (Lange 2023).

    Points of the exploration do not enter the estimates.

    Raises
    ------
    ConfigError
        nautilus is not installed.
    """
    try:
        from nautilus import Sampler
    except ImportError:
        raise ConfigError(
            "sampler 'nautilus' is not installed: pip install 'mmcoord[nautilus]'"
        ) from None
    run = Sampler(
        lambda u: u,
        lambda u: _finite(log_likelihood(u)),
        n_dim=n_dim,
        n_live=max(100 * n_dim, settings.ess_target // 2),
        n_networks=2,
        vectorized=True,
        pass_dict=False,
        seed=seed,
    )
    with threadpool_limits(limits=1):
        done = run.run(
            n_eff=settings.ess_target, n_like_max=settings.max_calls, discard_exploration=True
        )
        draws, log_w, _ = run.posterior()
    weights = np.exp(log_w - log_w.max())
    ess = float(run.n_eff)
    rng = np.random.default_rng(seed)
    size = int(np.clip(ess, 200, _MAX_DRAWS))
    chosen = rng.choice(len(draws), size=size, p=weights / weights.sum())
    return Posterior(
        u=np.asarray(draws[chosen]),
        log_evidence=float(run.log_z),
        log_evidence_err=float(1.0 / np.sqrt(max(ess, 1.0))),
        ess=ess,
        khat=0.0,
        converged=bool(done),
        ruled_out=False,
        n_calls=int(run.n_like),
        reason="" if done else "stopped at the limit of likelihood calls",
    )


def _finite(values: Array) -> Array:
    return np.nan_to_num(values, nan=-1e280, posinf=-1e280, neginf=-1e280)


def _few(draws: Array, ess: float, rng: np.random.Generator) -> Array:
    size = min(len(draws), int(np.clip(ess, 200, _MAX_DRAWS)))
    return np.asarray(draws[rng.choice(len(draws), size=size, replace=False)])
