"""The schedule's problem as a mixed-integer program for HiGHS: the exact peer.

Used to test and to measure :mod:`followup.schedule`, and by it for a few looks that hang together;
minutes for many where that takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, csr_array

from followup.schedule import Problem

__all__ = ["Exact", "solve_exactly"]

Int = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Exact:
    """What HiGHS found."""

    chosen: Int
    objective: float
    upper_bound: float
    """Its own dual bound."""


class _Rows:
    """Rows ``low <= a.x <= high`` of a sparse matrix, gathered one by one."""

    def __init__(self) -> None:
        self.row: list[np.ndarray] = []
        self.column: list[np.ndarray] = []
        self.weight: list[np.ndarray] = []
        self.low: list[float] = []
        self.high: list[float] = []

    def add(
        self, column: npt.ArrayLike, weight: npt.ArrayLike, high: float, low: float = -np.inf
    ) -> None:
        where = np.asarray(column, np.int64)
        self.row.append(np.full(len(where), len(self.high)))
        self.column.append(where)
        self.weight.append(np.broadcast_to(np.asarray(weight, float), where.shape))
        self.low.append(low)
        self.high.append(high)

    def constraint(self, n_columns: int) -> LinearConstraint:
        place = (np.concatenate(self.row), np.concatenate(self.column))
        matrix = coo_array((np.concatenate(self.weight), place), shape=(len(self.high), n_columns))
        return LinearConstraint(csr_array(matrix), np.array(self.low), np.array(self.high))


def solve_exactly(
    problem: Problem, *, relative_gap: float = 1e-3, time_limit_s: float = 300.0
) -> Exact:
    """The best schedule to within ``relative_gap``, or the best found in the time.

    Variables: ``x_o`` (option taken) and, for pointings of more than one goal, ``u_og`` (the
    goal counted for that option).
    """
    options, cover = problem.options, problem.cover
    length = np.ceil(options.duration_s / problem.slot_s - 1e-9).astype(np.int64)
    keep = np.flatnonzero(options.start + length <= problem.n_slots)
    n = len(keep)
    if n == 0:
        return Exact(np.zeros(0, np.int64), 0.0, 0.0)
    pointing, start = options.pointing[keep], options.start[keep]
    gain = -problem.price * options.cost[keep]
    by_goal: dict[int, list[int]] = {}
    extra_gain: list[float] = []
    rows = _Rows()
    for x in range(n):
        low, high = cover.first[pointing[x]], cover.first[pointing[x] + 1]
        if high - low == 1:
            gain[x] += options.value[keep[x]]
            by_goal.setdefault(int(cover.goal[low]), []).append(x)
            continue
        for i in range(low, high):
            u = n + len(extra_gain)
            extra_gain.append(float(options.value[keep[x]] * cover.share[i]))
            by_goal.setdefault(int(cover.goal[i]), []).append(u)
            rows.add([u, x], [1.0, -1.0], 0.0)
    for members in by_goal.values():
        rows.add(members, 1.0, 1.0)
    _one_at_a_time(rows, options.instrument[keep], start, length[keep], problem.n_slots)
    for programme, quota in enumerate(problem.quota_s):
        where = np.flatnonzero(options.programme[keep] == programme)
        rows.add(where, options.duration_s[keep][where], float(quota))
    _in_sequence(rows, problem, by_goal, start)
    total = n + len(extra_gain)
    objective = np.concatenate([gain, extra_gain])
    answer = milp(
        -objective,
        integrality=np.ones(total),
        bounds=Bounds(0, 1),
        constraints=rows.constraint(total),
        options={"mip_rel_gap": relative_gap, "time_limit": time_limit_s},
    )
    if answer.x is None:
        return Exact(np.zeros(0, np.int64), 0.0, np.inf)
    bound = answer.mip_dual_bound
    return Exact(
        keep[answer.x[:n] > 0.5],
        float(-answer.fun),
        float(-bound) if bound is not None else np.inf,
    )


def _one_at_a_time(rows: _Rows, instrument: Int, start: Int, length: Int, n_slots: int) -> None:
    for k in np.unique(instrument):
        mine = np.flatnonzero(instrument == k)
        for slot in range(n_slots):
            busy = mine[(start[mine] <= slot) & (slot < start[mine] + length[mine])]
            if len(busy) > 1:
                rows.add(busy, 1.0, 1.0)


def _in_sequence(rows: _Rows, problem: Problem, by_goal: dict[int, list[int]], start: Int) -> None:
    sequences, far = problem.sequences, 2.0 * problem.n_slots
    for one, other, least, most in zip(
        sequences.first, sequences.second, sequences.min_gap_s, sequences.max_gap_s, strict=True
    ):
        before, later = by_goal.get(int(one), []), by_goal.get(int(other), [])
        both = [*later, *before]
        rows.add(both, [1.0] * len(later) + [-1.0] * len(before), 0.0)
        apart = np.concatenate([start[later], -start[before]]).astype(float)
        gap_low, gap_high = least / problem.slot_s, min(most / problem.slot_s, far)
        on = np.array([1.0] * len(later) + [0.0] * len(before))
        # With the second taken: gap_low <= start(second) - start(first) <= gap_high.
        rows.add(both, apart - (gap_low + far) * on, np.inf, -far)
        rows.add(both, apart + (far - gap_high) * on, far)
