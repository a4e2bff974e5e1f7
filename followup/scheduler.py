"""Solving the schedule: a bound from prices, a plan from search, each helping the other.

The relaxed solutions of :mod:`followup.schedule_bound` say who deserves which slot;
:mod:`followup.schedule_search` makes feasible plans of them and betters these; what a plan
reaches sets the length of the next price steps.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from followup.schedule import Problem, Schedule, Warm
from followup.schedule_arrays import Packed, pack
from followup.schedule_bound import Dual, descend, plain_prices, start_prices
from followup.schedule_exact import solve_exactly
from followup.schedule_moves import State, empty_state
from followup.schedule_search import fill, improve, place, polish

__all__ = [
    "ANYWHERE",
    "KEEP",
    "Solved",
    "chosen_of",
    "firsts_of",
    "gap_of",
    "is_small_cadence",
    "repaired",
    "schedule",
    "solve",
    "wanted",
    "worth_of",
]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

KEEP = 0.02
"""A planned observation moves only for more than this fraction of its value."""
ANYWHERE = np.zeros((0, 2), np.int64)
_STEPS = 1000
_WARM_STEPS = 200
_TRIES = 300
_MANY = 6
"""Times as many moves for plans that are far from their bound."""
_CLOSE = 1e-3
"""A certified gap below which a fresh plan is not sought."""
_FAR = 0.01
"""A certified gap above which a fresh plan is sought again, at prices that have come closer ..."""
_AGAIN = 2
"""... at most so often ..."""
_AGAIN_OPTIONS = 200_000
"""... where the options are no more than these."""
_LOOSE = 0.05
"""The same for a plan that should rather stay as it is ..."""
_TIGHT = 0.005
"""... for which no tighter bound than this is sought."""
_EXACT_OPTIONS = 500
"""Looks that hang together go to HiGHS up to so many, where the gap is not even loose."""
_EXACT_S = 5.0
"""Far more than so few take; the answer would depend on the machine only beyond it."""


def schedule(problem: Problem, warm: Warm | None = None, *, effort: float = 1.0) -> Schedule:
    """A schedule and its certificate; the same input gives the same answer.

    Parameters
    ----------
    warm
        The earlier schedule in the new problem's numbering: what need not move stays
        (:data:`KEEP`), and the bound starts from its prices.
    effort
        Multiplies the number of steps and moves.

    Raises
    ------
    ValueError
        The problem is malformed; the message says where.
    """
    begin = time.perf_counter()
    solved = solve(problem, warm, effort=effort)
    chosen = chosen_of(solved.packed, solved.state)
    objective, bound = worth_of(solved.packed, solved.state), solved.dual.bound
    if is_small_cadence(problem) and gap_of(solved.dual, objective) > _LOOSE:
        exact = solve_exactly(problem, time_limit_s=_EXACT_S)
        bound = min(bound, exact.upper_bound)
        if exact.objective > objective:
            chosen, objective = np.sort(exact.chosen), exact.objective
    return Schedule(
        chosen=chosen,
        objective=objective,
        upper_bound=max(objective, bound),
        goal_price=solved.dual.goal_price,
        quota_price=solved.dual.quota_price,
        wall_s=time.perf_counter() - begin,
    )


class Solved(NamedTuple):
    """A schedule and its prices in the arrays that it was made with."""

    packed: Packed
    state: State
    dual: Dual


def solve(problem: Problem, warm: Warm | None = None, *, effort: float = 1.0) -> Solved:
    """:func:`schedule` by bound and search alone."""
    packed = pack(problem)
    plain = plain_prices(packed)
    if warm is not None and warm.goal_price is None:
        dual = plain
    else:
        dual = start_prices(
            packed, warm.goal_price if warm else None, warm.quota_price if warm else None
        )
    firsts = firsts_of(packed)
    bonus = _bonus(packed, warm)
    best = _greedy(packed, firsts, bonus, _kept(packed, warm))
    everybody, n_tries = wanted(packed), round(_TRIES * effort)
    if warm is not None:
        polish(packed, best, everybody, firsts, n_tries, 0, ANYWHERE)
        fill(packed, best, everybody)
        if gap_of(plain, worth_of(packed, best)) <= _TIGHT:
            return Solved(packed, best, plain)
    n_steps = round((_STEPS if warm is None else _WARM_STEPS) * effort)
    enough = 0.0 if warm is None else _TIGHT
    dual, picked = descend(packed, dual, worth_of(packed, best), n_steps, enough=enough)
    dual = min(dual, plain, key=lambda one: one.bound)
    if gap_of(dual, worth_of(packed, best)) > (_CLOSE if warm is None else _LOOSE):
        again = _AGAIN if warm is None and _may_come_close(packed) else 0
        for turn in range(1 + again):
            other = repaired(packed, firsts, picked, bonus)
            for one in (best, other):
                polish(packed, one, everybody, firsts, (1 + turn) * _MANY * n_tries, turn, ANYWHERE)
            best = _better(best, other)
            if turn == again or gap_of(dual, worth_of(packed, best)) <= _FAR:
                break
            dual, picked = descend(packed, dual, worth_of(packed, best), n_steps)
    elif warm is None:
        polish(packed, best, everybody, firsts, n_tries, 0, ANYWHERE)
    fill(packed, best, everybody)
    return Solved(packed, best, dual)


def _may_come_close(packed: Packed) -> bool:
    """Whether the bound knows all that limits the plan, and looking again costs little."""
    return len(packed.which) <= _AGAIN_OPTIONS and not np.any(packed.after >= 0)


def is_small_cadence(problem: Problem) -> bool:
    """Whether looks hang together and are few: moves of one look at a time are then stuck at
    times, and HiGHS is done in a fraction of a second."""
    return len(problem.sequences.first) > 0 and len(problem.options.start) <= _EXACT_OPTIONS


def _greedy(packed: Packed, firsts: Int, bonus: Float, kept: Int) -> State:
    state = empty_state(packed, bonus)
    place(packed, state, kept)
    density = (packed.value - packed.toll) / packed.length
    if not len(kept):
        place(packed, state, np.argsort(-density, kind="stable"))
    if len(kept):
        improve(packed, state, wanted(packed), firsts, 1)
    return state


def repaired(packed: Packed, firsts: Int, picked: Int, bonus: Float) -> State:
    """A feasible plan out of a relaxed one, the most rewarding of each pointing first."""
    state = empty_state(packed, bonus)
    net = packed.value - packed.toll
    place(packed, state, picked[np.argsort(-net[picked], kind="stable")])
    improve(packed, state, wanted(packed), firsts, 3)
    return state


def _better(one: State, other: State) -> State:
    return other if other.total[0] > one.total[0] else one


def wanted(packed: Packed) -> Int:
    """Pointings with any option, the most valuable first."""
    has = np.flatnonzero(packed.of_pointing_end > packed.of_pointing_first)
    top = packed.of_pointing[packed.of_pointing_first[has]]
    net = packed.value[top] - packed.toll[top]
    return np.asarray(has[np.argsort(-net, kind="stable")])


def firsts_of(packed: Packed) -> Int:
    """1 + the lowest follower of each pointing; 0: nothing follows it."""
    firsts = np.zeros(len(packed.after), np.int64)
    for follower in np.flatnonzero(packed.after >= 0)[::-1]:
        firsts[packed.after[follower]] = 1 + follower
    return firsts


def _kept(packed: Packed, warm: Warm | None) -> Int:
    """The earlier choice as packed options, by start so that first looks come first."""
    if warm is None:
        return np.zeros(0, np.int64)
    where = np.flatnonzero(np.isin(packed.which, warm.chosen))
    return where[np.argsort(packed.start[where], kind="stable")]


def _bonus(packed: Packed, warm: Warm | None) -> Float:
    bonus = np.zeros(len(packed.which))
    kept = _kept(packed, warm)
    bonus[kept] = KEEP * packed.value[kept]
    return bonus


def chosen_of(packed: Packed, state: State) -> Int:
    placed = state.placed[state.placed >= 0]
    order = np.lexsort((packed.start[placed], packed.instrument[placed]))
    return packed.which[placed[order]]


def worth_of(packed: Packed, state: State) -> float:
    placed = state.placed[state.placed >= 0]
    return float(state.worth.sum() - packed.toll[placed].sum())


def gap_of(dual: Dual, worth: float) -> float:
    return 1.0 - worth / dual.bound if dual.bound > 0 else 0.0
