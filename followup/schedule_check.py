"""Is a schedule feasible, and what is it worth? Told from the problem alone.

Written without a look at the scheduler's arrays, so that it can judge them.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import numpy.typing as npt

from followup.schedule import Problem

__all__ = ["violations", "worth"]

Int = npt.NDArray[np.int64]


def worth(problem: Problem, chosen: Int) -> float:
    """The objective of a set of options, feasible or not."""
    best: dict[int, float] = defaultdict(float)
    spent = 0.0
    for option in chosen:
        pointing = problem.options.pointing[option]
        for i in range(problem.cover.first[pointing], problem.cover.first[pointing + 1]):
            goal = int(problem.cover.goal[i])
            part = problem.options.value[option] * problem.cover.share[i]
            best[goal] = max(best[goal], float(part))
        spent += float(problem.options.cost[option])
    return math.fsum(best.values()) - problem.price * spent


def violations(problem: Problem, chosen: Int) -> list[str]:
    """Every rule that a set of options breaks, in words; empty: feasible."""
    options, found = problem.options, []
    if len(set(chosen.tolist())) != len(chosen):
        found.append("an option is chosen twice")
    taken: dict[tuple[int, int], int] = {}
    for option in chosen:
        first = int(options.start[option])
        slots = math.ceil(float(options.duration_s[option]) / problem.slot_s - 1e-9)
        if first + slots > problem.n_slots:
            found.append(f"option {option} ends after the last slot")
        for slot in range(first, first + slots):
            place = (int(options.instrument[option]), slot)
            if place in taken:
                found.append(f"options {taken[place]} and {option} collide at {place}")
            taken[place] = int(option)
    for programme, quota in enumerate(problem.quota_s):
        used = sum(options.duration_s[o] for o in chosen if options.programme[o] == programme)
        if used > quota + 1e-6:
            found.append(f"programme {programme} uses {used:g} of {quota:g} s")
    found += _out_of_sequence(problem, chosen)
    return found


def _out_of_sequence(problem: Problem, chosen: Int) -> list[str]:
    starts: dict[int, list[float]] = defaultdict(list)
    for option in chosen:
        pointing = problem.options.pointing[option]
        for i in range(problem.cover.first[pointing], problem.cover.first[pointing + 1]):
            goal = int(problem.cover.goal[i])
            starts[goal].append(float(problem.options.start[option]) * problem.slot_s)
    found = []
    sequences = problem.sequences
    for one, other, least, most in zip(
        sequences.first, sequences.second, sequences.min_gap_s, sequences.max_gap_s, strict=True
    ):
        for later in starts.get(int(other), []):
            gaps = [later - earlier for earlier in starts.get(int(one), [])]
            if not any(least - 1e-6 <= gap <= most + 1e-6 for gap in gaps):
                found.append(f"goal {other} at {later:g} s does not follow goal {one}")
    return found
