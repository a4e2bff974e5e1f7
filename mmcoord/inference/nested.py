"""dynesty behind the sampler's interface: slower, maintained by others, used as cross-check."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mmcoord.inference.job import SamplerSettings
from mmcoord.inference.pilots import LogLikelihood
from mmcoord.inference.sampler import Posterior

__all__ = ["sample_nested"]

_MAX_DRAWS = 4000


def sample_nested(
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

    def one(u: npt.NDArray[np.float64]) -> float:
        return float(np.nan_to_num(log_likelihood(u[None, :])[0], nan=-1e280, neginf=-1e280))

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
    size = min(len(draws), int(np.clip(ess, 200, _MAX_DRAWS)))
    problem = "" if n_calls < settings.max_calls else "stopped at the limit of likelihood calls"
    return Posterior(
        u=np.asarray(draws[rng.choice(len(draws), size=size, replace=False)]),
        log_evidence=float(results.logz[-1]),
        log_evidence_err=float(results.logzerr[-1]),
        ess=ess,
        khat=0.0,
        converged=not problem,
        ruled_out=False,
        n_calls=n_calls,
        reason=problem,
    )
