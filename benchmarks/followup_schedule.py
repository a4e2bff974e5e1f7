"""The schedule on made-up nights (``followup_instances``), beside HiGHS in the same run.

    python -m benchmarks.followup_schedule [--seeds 20] [--large-seeds 5] [--first-seed 0]
                                           [--highs-limit 120]

Per seed: wall and processor seconds, worth as a share of what HiGHS found (at a relative gap
of 1e-3 or its time limit), certified gap; then one change of each kind after the other
(``followup_changes``), each beside a plan of the changed problem from nothing. JSON lines.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.followup_changes import KINDS
from benchmarks.followup_instances import night
from benchmarks.skymaps_common import machine
from followup.schedule import Problem, Schedule
from followup.schedule_check import violations, worth
from followup.schedule_exact import solve_exactly
from followup.schedule_standing import Standing
from followup.scheduler import schedule


def timed(act: Callable[[], Any]) -> tuple[Any, float, float]:
    """The answer, wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    answer = act()
    return answer, time.perf_counter() - wall, time.process_time() - cpu


def checked(problem: Problem, answer: Schedule) -> None:
    assert violations(problem, answer.chosen) == []
    assert abs(worth(problem, answer.chosen) - answer.objective) < 1e-6
    assert answer.objective <= answer.upper_bound


def changes(standing: Standing, seed: int) -> dict[str, Any]:
    """One change of each kind after the other."""
    rng = np.random.default_rng(seed)
    rows = {}
    for name, make in KINDS.items():
        before = standing.schedule
        change = make(standing.problem, before, rng)
        after, wall_s, cpu_s = timed(functools.partial(standing.replan, change))
        problem = standing.problem
        checked(problem, after)
        fresh = schedule(problem)
        rows[name] = {
            "options": len(change.options),
            "wall_s": round(wall_s, 3),
            "cpu_s": round(cpu_s, 3),
            "certified_gap": round(after.certified_gap, 5),
            "share_of_fresh": round(after.objective / fresh.objective, 5),
            "fresh_gap": round(fresh.certified_gap, 5),
            "moved": len(spots(problem, before) - spots(problem, after)),
        }
    return rows


def spots(problem: Problem, answer: Schedule) -> set[tuple[int, ...]]:
    """Pointing, instrument and start of what is planned."""
    options = problem.options
    columns = (options.pointing, options.instrument, options.start)
    return set(zip(*(column[answer.chosen].tolist() for column in columns), strict=True))


def one(n_targets: int, n_telescopes: int, seed: int, highs_limit_s: float) -> dict[str, Any]:
    problem = night(n_targets, n_telescopes, seed)
    standing, wall_s, cpu_s = timed(lambda: Standing(problem))
    answer = standing.schedule
    checked(problem, answer)
    row: dict[str, Any] = {
        "targets": n_targets,
        "telescopes": n_telescopes,
        "seed": seed,
        "options": len(problem.options),
        "wall_s": round(wall_s, 2),
        "cpu_s": round(cpu_s, 2),
        "certified_gap": round(answer.certified_gap, 5),
        "planned": len(answer.chosen),
        "replans": changes(standing, seed),
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
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--highs-limit", type=float, default=120.0)
    wanted = parser.parse_args()
    changes(Standing(night(200, 5, 0)), 0)  # compiles
    print(json.dumps(machine()), flush=True)
    for n in range(wanted.large_seeds):
        print(json.dumps(one(10_000, 50, wanted.first_seed + n, 0.0)), flush=True)
    for n in range(wanted.seeds):
        row = one(1000, 20, wanted.first_seed + n, wanted.highs_limit)
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
