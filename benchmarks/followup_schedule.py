"""The schedule on made-up nights (``followup_instances``), beside HiGHS in the same run.

    python -m benchmarks.followup_schedule [--seeds 20] [--large-seeds 5] [--highs-limit 120]

Per seed: wall and processor seconds, worth as a share of what HiGHS found (at a relative gap
of 1e-3 or its time limit), certified gap; then one change and the plan anew. JSON lines.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from typing import Any

import numpy as np

from benchmarks.followup_instances import night
from benchmarks.skymaps_common import machine
from followup.schedule import Problem, Schedule, Warm
from followup.schedule_check import violations, worth
from followup.schedule_exact import solve_exactly
from followup.scheduler import schedule


def timed(problem: Problem, warm: Warm | None = None) -> tuple[Schedule, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    answer = schedule(problem, warm)
    return answer, time.perf_counter() - wall, time.process_time() - cpu


def without_one(problem: Problem, before: Schedule) -> Problem:
    """The most valuable planned target is claimed by somebody else."""
    options = problem.options
    best = before.chosen[np.argmax(options.value[before.chosen])]
    gone = options.pointing == options.pointing[best]
    value = np.where(gone, 0.0, options.value)
    return dataclasses.replace(problem, options=dataclasses.replace(options, value=value))


def one(n_targets: int, n_telescopes: int, seed: int, highs_limit_s: float) -> dict[str, Any]:
    problem = night(n_targets, n_telescopes, seed)
    answer, wall_s, cpu_s = timed(problem)
    assert violations(problem, answer.chosen) == []
    assert abs(worth(problem, answer.chosen) - answer.objective) < 1e-6
    changed = without_one(problem, answer)
    again, again_s, again_cpu_s = timed(
        changed, Warm(answer.chosen, answer.goal_price, answer.quota_price)
    )
    assert violations(changed, again.chosen) == []
    row: dict[str, Any] = {
        "targets": n_targets,
        "telescopes": n_telescopes,
        "seed": seed,
        "options": len(problem.options),
        "wall_s": round(wall_s, 2),
        "cpu_s": round(cpu_s, 2),
        "certified_gap": round(answer.certified_gap, 5),
        "replan_wall_s": round(again_s, 2),
        "replan_cpu_s": round(again_cpu_s, 2),
        "replan_gap": round(again.certified_gap, 5),
        "planned": len(answer.chosen),
        "moved": len(set(answer.chosen.tolist()) - set(again.chosen.tolist())),
        "load_1min": machine()["load_1min"],
    }
    if highs_limit_s > 0:
        wall, cpu = time.perf_counter(), time.process_time()
        exact = solve_exactly(problem, relative_gap=1e-3, time_limit_s=highs_limit_s)
        row["highs_wall_s"] = round(time.perf_counter() - wall, 1)
        row["highs_cpu_s"] = round(time.process_time() - cpu, 1)
        row["share_of_highs"] = round(answer.objective / exact.objective, 5)
        row["share_of_highs_bound"] = round(answer.objective / exact.upper_bound, 5)
    return row


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--large-seeds", type=int, default=5)
    parser.add_argument("--highs-limit", type=float, default=120.0)
    wanted = parser.parse_args()
    schedule(night(30, 3, 0))  # compiles
    print(json.dumps(machine()), flush=True)
    for seed in range(wanted.large_seeds):
        print(json.dumps(one(10_000, 50, seed, 0.0)), flush=True)
    for seed in range(wanted.seeds):
        print(json.dumps(one(1000, 20, seed, wanted.highs_limit)), flush=True)


if __name__ == "__main__":
    main()
