"""AT2017gfo: the 3-component fit over ten seeds with dynesty as the peer, the full comparison.

Also what it says of the event: mass of the ejecta, ln B of the kilonova over each contaminant from
the first days' data alone.

Usage: python -m benchmarks.inference_at2017gfo AT2017gfo_corrected.dat [--seeds N] [--first K]
       [--live N] [--until DAY]

Every fit is told on stderr as soon as it is done.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

from benchmarks.skymaps_common import machine, report
from mmcoord.inference.engine import run, warm_up
from mmcoord.inference.files import read_photometry
from mmcoord.inference.job import DistancePrior, Job, SamplerSettings
from mmcoord.timescales import utc_mjd_to_tai

TRIGGER_MJD_UTC = 57982.5285236896


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photometry")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="seed of the first fit")
    parser.add_argument("--live", type=int, default=500, help="of dynesty; 0: without it")
    parser.add_argument("--until", type=float, default=3.0, help="data of the Bayes factors, days")
    arguments = parser.parse_args()
    light = read_photometry(arguments.photometry).photometry
    t0 = utc_mjd_to_tai(TRIGGER_MJD_UTC)
    job = Job(light, t0, DistancePrior("gaussian", 40.0, 1.0), models=("villar17_3",))
    warm_up_s = warm_up()
    fits, cpu_s = [], []
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        cpu = time.process_time()
        fit = run(replace(job, seed=seed)).summary
        cpu_s.append(round(time.process_time() - cpu, 2))
        fits.append(fit)
        told = {key: fit[key] for key in ("seed", "converged", "log_evidence", "ess", "wall_s")}
        print({**told, "cpu_s": cpu_s[-1]}, file=sys.stderr, flush=True)
    log_z = [fit["log_evidence"] for fit in fits]
    mass = fits[0]["derived"]["ejecta_mass_total_msun"] if fits else None
    peer = {}
    if arguments.live:
        settings = SamplerSettings(
            ess_target=4 * arguments.live, max_calls=10**7, backend="dynesty"
        )
        cpu = time.process_time()
        nested = run(replace(job, sampler=settings)).summary
        peer = {
            "n_live": arguments.live,
            "wall_s": nested["wall_s"],
            "cpu_s": round(time.process_time() - cpu, 1),
            "log_evidence": [nested["log_evidence"], nested["log_evidence_err"]],
            "ess": nested["ess"],
        }
    early = tuple(p for p in light if p.obs_mjd_tai < t0 + arguments.until)
    cpu = time.process_time()
    full = run(replace(job, photometry=early, models=("all",))).summary
    best = max(c["log_evidence"] for c in full["comparison"] if c["is_kilonova"])
    report(
        {
            "load_1min_at_end": machine()["load_1min"],
            "warm_up_s": round(warm_up_s, 2),
            "fit_wall_s": [fit["wall_s"] for fit in fits],
            "fit_cpu_s": cpu_s,
            "fit_ess": [fit["ess"] for fit in fits],
            "fit_converged": [fit["converged"] for fit in fits],
            "log_evidence": [round(z, 3) for z in log_z],
            "log_evidence_range": round(max(log_z, default=0.0) - min(log_z, default=0.0), 4),
            "ejecta_mass_total_msun": mass,
            "dynesty": peer,
            "early": {
                "until_day": arguments.until,
                "n_points": full["n_points"],
                "all_models_cpu_s": round(time.process_time() - cpu, 2),
                "p_kilonova": full["p_kilonova"],
                "ln_bayes_factor_of_kilonova_over": {
                    c["model"]: round(best - c["log_evidence"], 1)
                    for c in full["comparison"]
                    if not c["is_kilonova"]
                },
            },
        }
    )


if __name__ == "__main__":
    main()
