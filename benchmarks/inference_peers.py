"""ln Z and posterior of our sampler and of others on the same likelihood.

AT2017gfo (three components, 11 dimensions; or other models on its first days) and simulated
kilonovae of one component (6 dimensions).

Usage: python -m benchmarks.inference_peers [AT2017gfo_corrected.dat] [--simulations N]
       [--models M ...] [--until DAY] [--live N] [--walks N ...] [--nautilus]
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from benchmarks.inference_at2017gfo import TRIGGER_MJD_UTC
from benchmarks.inference_sbc import likelihood_of, simulate
from benchmarks.skymaps_common import machine, report
from mmcoord.inference.files import read_photometry
from mmcoord.inference.job import DistancePrior, Job, SamplerSettings
from mmcoord.inference.likelihood import Data, Likelihood
from mmcoord.inference.models import registry
from mmcoord.inference.sampler import sample
from mmcoord.timescales import utc_mjd_to_tai

Array = npt.NDArray[np.float64]


def dynesty(likelihood: Likelihood, n_live: int, walks: int, seed: int) -> tuple[Array, Any]:
    """Equally weighted draws, and (ln Z, error, calls), from random walks of ``walks`` steps."""
    from dynesty import NestedSampler
    from dynesty.utils import resample_equal

    def one(u: Array) -> float:
        return float(np.nan_to_num(likelihood(u[None, :])[0], nan=-1e280, neginf=-1e280))

    rng = np.random.default_rng(seed)
    run = NestedSampler(
        one, lambda u: u, likelihood.n_dim, nlive=n_live, sample="rwalk", walks=walks,
        bound="multi", rstate=rng,
    )  # fmt: skip
    run.run_nested(print_progress=False, dlogz=0.05)
    found = run.results
    weights = np.exp(found.logwt - found.logz[-1])
    draws = resample_equal(found.samples, weights / weights.sum(), rstate=rng)
    return draws, (float(found.logz[-1]), float(found.logzerr[-1]), int(np.sum(found.ncall)))


def worst_quantile(one: Array, two: Array) -> float:
    """Largest difference of a quantile, in widths of the 90 % interval."""
    q1, q2 = (np.quantile(draws, [0.05, 0.5, 0.95], axis=0) for draws in (one, two))
    return round(float((np.abs(q1 - q2) / (q2[2] - q2[0])).max()), 3)


def compare(name: str, likelihood: Likelihood, arguments: argparse.Namespace) -> dict[str, Any]:
    start = time.process_time()
    ours = sample(likelihood, likelihood.n_dim, 1, SamplerSettings(ess_target=4000))
    line: dict[str, Any] = {
        "case": name,
        "ours": [ours.log_evidence, ours.log_evidence_err],
        "converged": ours.converged,
        "cpu_s": round(time.process_time() - start, 1),
    }
    for walks in arguments.walks:
        start = time.process_time()
        draws, (log_z, error, calls) = dynesty(likelihood, arguments.live, walks, 1)
        line[f"dynesty_walks_{walks}"] = {
            "log_evidence": [log_z, error],
            "difference_in_errors": round(
                (log_z - ours.log_evidence) / float(np.hypot(error, ours.log_evidence_err)), 2
            ),
            "worst_quantile": worst_quantile(ours.u, draws),
            "calls": calls,
            "cpu_s": round(time.process_time() - start, 1),
        }
    if arguments.nautilus:
        start = time.process_time()
        settings = SamplerSettings(ess_target=4000, max_calls=2_000_000, backend="nautilus")
        theirs = sample(likelihood, likelihood.n_dim, 1, settings)
        line["nautilus"] = {
            "log_evidence": [theirs.log_evidence, theirs.log_evidence_err],
            "worst_quantile": worst_quantile(ours.u, theirs.u),
            "calls": theirs.n_calls,
            "cpu_s": round(time.process_time() - start, 1),
        }
    print(line, machine()["load_1min"], file=sys.stderr, flush=True)
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photometry", nargs="?")
    parser.add_argument("--simulations", type=int, default=5)
    parser.add_argument("--models", nargs="*", default=["villar17_3"], help="of AT2017gfo")
    parser.add_argument("--until", type=float, default=1000.0, help="data of AT2017gfo, days")
    parser.add_argument("--live", type=int, default=1000)
    parser.add_argument("--walks", type=int, nargs="*", default=[100])
    parser.add_argument("--nautilus", action="store_true")
    arguments = parser.parse_args()
    numba.set_num_threads(1)
    lines = []
    for seed in range(arguments.simulations):
        _, points = simulate(np.random.default_rng(1000 + seed))
        lines.append(compare(f"simulation {seed}", likelihood_of(points), arguments))
    if arguments.photometry:
        light = read_photometry(arguments.photometry).photometry
        t0 = utc_mjd_to_tai(TRIGGER_MJD_UTC)
        early = tuple(p for p in light if p.obs_mjd_tai < t0 + arguments.until)
        job = Job(early, t0, DistancePrior("gaussian", 40.0, 1.0))
        for name in arguments.models:
            likelihood = Likelihood(registry.load(name), Data.of(job), job)
            lines.append(compare(f"AT2017gfo, {len(early)} points, {name}", likelihood, arguments))
    report({"cases": lines})


if __name__ == "__main__":
    main()
