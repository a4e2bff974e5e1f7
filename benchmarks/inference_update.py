"""AT2017gfo night by night: each run begins with the one before, and again from the prior.

The two answers are compared in the same run: ln Z within 4 of its errors (and 0.15, what two
cold starts may differ by), quantiles within a share of the 90 % interval. The first night compiles
and is not reported.

Usage: python -m benchmarks.inference_update AT2017gfo_corrected.dat [--model M] [--nights N]
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import replace
from typing import Any

from benchmarks.inference_at2017gfo import TRIGGER_MJD_UTC
from benchmarks.skymaps_common import machine, report
from mmcoord.inference.engine import run
from mmcoord.inference.files import read_photometry
from mmcoord.inference.job import DistancePrior, Job
from mmcoord.inference.start import Start
from mmcoord.timescales import utc_mjd_to_tai


def worst_quantile(one: dict[str, Any], two: dict[str, Any]) -> float:
    """Largest difference of a quantile, in widths of the 90 % interval."""
    worst = 0.0
    for name, mine in one["parameters"].items():
        theirs = two["parameters"][name]
        width = theirs["hi90"] - theirs["lo90"]
        for key in ("median", "lo90", "hi90"):
            worst = max(worst, abs(mine[key] - theirs[key]) / width)
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photometry")
    parser.add_argument("--model", default="villar17_3")
    parser.add_argument("--nights", type=int, default=8)
    arguments = parser.parse_args()
    light = read_photometry(arguments.photometry).photometry
    t0 = utc_mjd_to_tai(TRIGGER_MJD_UTC)
    whole = Job(light, t0, DistancePrior("gaussian", 40.0, 1.0), models=(arguments.model,))
    before = None
    nights = []
    for day in range(1, arguments.nights + 1):
        job = replace(whole, photometry=tuple(p for p in light if p.obs_mjd_tai < t0 + day + 0.5))
        cold_cpu = time.process_time()
        cold = run(job)
        cold_cpu = time.process_time() - cold_cpu
        if before is not None:
            warm_cpu = time.process_time()
            warm = run(replace(job, start=Start(before.run_key, before.proposals)))
            warm_cpu = time.process_time() - warm_cpu
            mine, theirs = warm.summary, cold.summary
            dlogz = mine["log_evidence"] - theirs["log_evidence"]
            error = math.hypot(mine["log_evidence_err"], theirs["log_evidence_err"])
            nights.append(
                {
                    "day": day,
                    "n_points": mine["n_points"],
                    "begun": mine["comparison"][0]["begun"],
                    "converged": [mine["converged"], theirs["converged"]],
                    "wall_s": [mine["wall_s"], theirs["wall_s"]],
                    "cpu_s": [round(warm_cpu, 2), round(cold_cpu, 2)],
                    "calls": [c["comparison"][0]["n_calls"] for c in (mine, theirs)],
                    "ess": [mine["ess"], theirs["ess"]],
                    "log_evidence": [mine["log_evidence"], theirs["log_evidence"]],
                    "dlogz_in_errors": round(dlogz / error, 2),
                    "worst_quantile": round(worst_quantile(mine, theirs), 3),
                    "agree": abs(dlogz) < max(4 * error, 0.15),
                    "load_1min": machine()["load_1min"],
                }
            )
            print(nights[-1], file=sys.stderr, flush=True)
            before = warm
        else:
            before = cold
    report({"update_first_cold_second": nights, "all_agree": all(n["agree"] for n in nights)})


if __name__ == "__main__":
    main()
