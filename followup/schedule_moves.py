"""Moves of a schedule under work: what one brings, whether it is allowed, making it.

The kernels of :mod:`followup.schedule_search` are made of these.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from followup.schedule_arrays import Packed

__all__ = [
    "State",
    "add",
    "best_free",
    "empty_state",
    "gain_of",
    "in_order",
    "inner",
    "is_free",
    "loss_of",
    "remove",
    "within_quota",
]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

inner = njit(
    cache=True, nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
)
"""For kernels that only kernels call: without the wrappers they compile in half the time."""


class State(NamedTuple):
    """A schedule under work, changed in place."""

    busy: Int
    """(K, T) the option that takes each slot; -1: free."""
    placed: Int
    """(P,) the option of each pointing; -1: none."""
    worth: Float
    """(G,) what each goal counts."""
    used_s: Float
    """(Q,) of each programme."""
    followers: Int
    """(P,) how many placed pointings rest on each."""
    bonus: Float
    """(O,) what an option is preferred by: keeps a plan steady. Not part of the objective."""
    total: Float
    """(1,) objective with bonuses."""
    price: Float
    """(P,) what pushing each out seems to cost: what it brings less what it could bring in
    free time elsewhere. A guess, renewed now and then."""


def empty_state(packed: Packed, bonus: Float | None = None) -> State:
    """Nothing planned."""
    n_pointings = len(packed.first) - 1
    return State(
        busy=np.full((len(packed.instrument_first) - 1, packed.n_slots), -1, np.int64),
        placed=np.full(n_pointings, -1, np.int64),
        worth=np.zeros(packed.n_goals),
        used_s=np.zeros(len(packed.quota_s)),
        followers=np.zeros(n_pointings, np.int64),
        bonus=np.zeros(len(packed.which)) if bonus is None else bonus,
        total=np.zeros(1),
        price=np.zeros(n_pointings),
    )


@inner
def gain_of(packed: Packed, state: State, option: int) -> float:
    p = packed.pointing[option]
    total = state.bonus[option] - packed.toll[option]
    for i in range(packed.first[p], packed.first[p + 1]):
        total += max(0.0, packed.value[option] * packed.share[i] - state.worth[packed.goal[i]])
    return total


@inner
def _without(packed: Packed, state: State, goal: int, pointing: int) -> float:
    """What a goal would count if ``pointing`` were not there."""
    top = 0.0
    for i in range(packed.covering_first[goal], packed.covering_first[goal + 1]):
        other = packed.covering[i]
        if other != pointing and state.placed[other] >= 0:
            worth = packed.value[state.placed[other]]
            for j in range(packed.first[other], packed.first[other + 1]):
                if packed.goal[j] == goal:
                    top = max(top, worth * packed.share[j])
    return top


@inner
def loss_of(packed: Packed, state: State, option: int) -> float:
    """What taking a placed option away costs."""
    p = packed.pointing[option]
    total = state.bonus[option] - packed.toll[option]
    for i in range(packed.first[p], packed.first[p + 1]):
        goal = packed.goal[i]
        total += state.worth[goal] - _without(packed, state, goal, p)
    return total


@inner
def add(packed: Packed, state: State, option: int) -> None:
    p = packed.pointing[option]
    gain = gain_of(packed, state, option)
    state.total[0] += gain
    state.price[p] = gain
    for i in range(packed.first[p], packed.first[p + 1]):
        goal = packed.goal[i]
        state.worth[goal] = max(state.worth[goal], packed.value[option] * packed.share[i])
    for slot in range(packed.start[option], packed.start[option] + packed.length[option]):
        state.busy[packed.instrument[option], slot] = option
    state.placed[p] = option
    if packed.programme[option] >= 0:
        state.used_s[packed.programme[option]] += packed.duration_s[option]
    if packed.after[p] >= 0:
        state.followers[packed.after[p]] += 1


@inner
def remove(packed: Packed, state: State, option: int) -> None:
    p = packed.pointing[option]
    state.total[0] -= state.bonus[option] - packed.toll[option]
    for i in range(packed.first[p], packed.first[p + 1]):
        goal = packed.goal[i]
        left = _without(packed, state, goal, p)
        state.total[0] -= state.worth[goal] - left
        state.worth[goal] = left
    for slot in range(packed.start[option], packed.start[option] + packed.length[option]):
        state.busy[packed.instrument[option], slot] = -1
    state.placed[p] = -1
    if packed.programme[option] >= 0:
        state.used_s[packed.programme[option]] -= packed.duration_s[option]
    if packed.after[p] >= 0:
        state.followers[packed.after[p]] -= 1


@inner
def in_order(packed: Packed, state: State, option: int) -> bool:
    """Does a sequence allow this option now?"""
    p = packed.pointing[option]
    before = packed.after[p]
    if before < 0:
        return True
    if state.placed[before] < 0:
        return False
    gap = packed.start[option] - packed.start[state.placed[before]]
    return packed.min_gap[p] <= gap <= packed.max_gap[p]


@inner
def is_free(packed: Packed, state: State, option: int) -> bool:
    for slot in range(packed.start[option], packed.start[option] + packed.length[option]):
        if state.busy[packed.instrument[option], slot] >= 0:
            return False
    return True


@inner
def within_quota(packed: Packed, state: State, option: int, freed_s: float) -> bool:
    q = packed.programme[option]
    if q < 0:
        return True
    return state.used_s[q] - freed_s + packed.duration_s[option] <= packed.quota_s[q] + 1e-6


@inner
def best_free(packed: Packed, state: State, p: int) -> int:
    """The option of ``p`` that gains most where nothing has to go, or -1."""
    top, best = 1e-12, -1
    for i in range(packed.of_pointing_first[p], packed.of_pointing_end[p]):
        option = packed.of_pointing[i]
        if packed.value[option] - packed.toll[option] + state.bonus[option] <= top:
            if state.bonus[option] == 0.0 and i > packed.of_pointing_first[p]:
                break
            continue
        if not is_free(packed, state, option) or not in_order(packed, state, option):
            continue
        if not within_quota(packed, state, option, 0.0):
            continue
        gain = gain_of(packed, state, option)
        if gain > top:
            top, best = gain, option
    return best
