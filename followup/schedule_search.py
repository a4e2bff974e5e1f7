"""Good schedules: insertion with ejection, then ruin and re-creation.

A pointing is put where it gains most after what it pushes out has been put elsewhere. When no
such move helps, a stretch of an instrument's night (and what else its pointings touch) is
cleared and filled again; a worse result is undone (Schrimpf et al. 2000, J. Comp. Phys. 159,
139). Everything is counted in moves, never in seconds: the same problem gives the same plan.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from followup.schedule_arrays import Packed

__all__ = ["State", "empty_state", "improve", "place", "polish"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


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
        bonus=np.zeros(len(packed.index)) if bonus is None else bonus,
        total=np.zeros(1),
        price=np.zeros(n_pointings),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _gain(packed, state, option):
    p = packed.pointing[option]
    total = state.bonus[option] - packed.toll[option]
    for i in range(packed.first[p], packed.first[p + 1]):
        total += max(0.0, packed.value[option] * packed.share[i] - state.worth[packed.goal[i]])
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _without(packed, state, goal, pointing):
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


@njit(cache=True, nogil=True, error_model="numpy")
def _loss(packed, state, option):
    """What taking a placed option away costs."""
    p = packed.pointing[option]
    total = state.bonus[option] - packed.toll[option]
    for i in range(packed.first[p], packed.first[p + 1]):
        goal = packed.goal[i]
        total += state.worth[goal] - _without(packed, state, goal, p)
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _add(packed, state, option):
    p = packed.pointing[option]
    gain = _gain(packed, state, option)
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


@njit(cache=True, nogil=True, error_model="numpy")
def _remove(packed, state, option):
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


@njit(cache=True, nogil=True, error_model="numpy")
def _in_order(packed, state, option):
    """Does a sequence allow this option now?"""
    p = packed.pointing[option]
    before = packed.after[p]
    if before < 0:
        return True
    if state.placed[before] < 0:
        return False
    gap = packed.start[option] - packed.start[state.placed[before]]
    return packed.min_gap[p] <= gap <= packed.max_gap[p]


@njit(cache=True, nogil=True, error_model="numpy")
def _is_free(packed, state, option):
    for slot in range(packed.start[option], packed.start[option] + packed.length[option]):
        if state.busy[packed.instrument[option], slot] >= 0:
            return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _within_quota(packed, state, option, freed_s):
    q = packed.programme[option]
    if q < 0:
        return True
    return state.used_s[q] - freed_s + packed.duration_s[option] <= packed.quota_s[q] + 1e-6


@njit(cache=True, nogil=True, error_model="numpy")
def _best_free(packed, state, p):
    """The option of ``p`` that gains most where nothing has to go, or -1."""
    top, best = 1e-12, -1
    for i in range(packed.of_pointing_first[p], packed.of_pointing_first[p + 1]):
        option = packed.of_pointing[i]
        if packed.value[option] - packed.toll[option] + state.bonus[option] <= top:
            if state.bonus[option] == 0.0 and i > packed.of_pointing_first[p]:
                break
            continue
        if not _is_free(packed, state, option) or not _in_order(packed, state, option):
            continue
        if not _within_quota(packed, state, option, 0.0):
            continue
        gain = _gain(packed, state, option)
        if gain > top:
            top, best = gain, option
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def _best_pushing(packed, state, p, firsts):
    """The option of ``p`` that seems to gain most after pushing others out, or -1."""
    # Handing the whole tuples to functions for each option would cost more than their work.
    value, toll, bonus = packed.value, packed.toll, state.bonus
    all_start, all_length, instrument = packed.start, packed.length, packed.instrument
    pointing, programme, duration = packed.pointing, packed.programme, packed.duration_s
    busy, price, worth = state.busy, state.price, state.worth
    of_pointing = packed.of_pointing
    alone = packed.first[p + 1] - packed.first[p] == 1
    held = worth[packed.goal[packed.first[p]]]
    top, best = 1e-12, -1
    for i in range(packed.of_pointing_first[p], packed.of_pointing_first[p + 1]):
        option = of_pointing[i]
        gain = value[option] - toll[option] + bonus[option]
        if gain <= top and firsts[p] == 0:
            if bonus[option] > 0.0:
                continue
            break
        if packed.after[p] >= 0 and not _in_order(packed, state, option):
            continue
        if alone:
            gain -= min(held, value[option])
        else:
            gain = _gain(packed, state, option)
        if firsts[p]:
            gain += _ahead(packed, state, option, firsts)
        k, start = instrument[option], all_start[option]
        freed_s, last = 0.0, -1
        for slot in range(start, start + all_length[option]):
            other = busy[k, slot]
            if other < 0 or other == last:
                continue
            last = other
            owner = pointing[other]
            if owner == packed.after[p] or state.followers[owner] > 0:
                gain = -np.inf
            gain -= price[owner]
            if gain <= top:
                break
            if programme[other] == programme[option]:
                freed_s += duration[other]
        if gain > top and (programme[option] < 0 or _within_quota(packed, state, option, freed_s)):
            top, best = gain, option
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def _ahead(packed, state, option, firsts):
    """What the followers of a first look could add in free time, were it taken so."""
    p = packed.pointing[option]
    total = 0.0
    for i in range(firsts[p] - 1, len(packed.after)):
        if packed.after[i] != p:
            continue
        for j in range(packed.of_pointing_first[i], packed.of_pointing_first[i + 1]):
            later = packed.of_pointing[j]
            gap = packed.start[later] - packed.start[option]
            if packed.min_gap[i] <= gap <= packed.max_gap[i] and _is_free(packed, state, later):
                total += _gain(packed, state, later)
                break
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _put(packed, state, p, firsts):
    """Put ``p`` where it gains most; what it pushes out goes to the best free place.

    Returns whether the schedule became better; it is unchanged otherwise.
    """
    before = state.total[0]
    option = _best_pushing(packed, state, p, firsts)
    if option < 0:
        return False
    k, start = packed.instrument[option], packed.start[option]
    gone = np.empty(packed.length[option], np.int64)
    n_gone = 0
    for slot in range(start, start + packed.length[option]):
        other = state.busy[k, slot]
        if other >= 0:
            _remove(packed, state, other)
            gone[n_gone] = other
            n_gone += 1
    _add(packed, state, option)
    again = np.full(n_gone + len(state.placed) * (firsts[p] > 0), -1, np.int64)
    n_again = 0
    if firsts[p]:
        for follower in range(firsts[p] - 1, len(packed.after)):
            if packed.after[follower] == p:
                found = _best_free(packed, state, follower)
                if found >= 0:
                    _add(packed, state, found)
                    again[n_again] = found
                    n_again += 1
    for i in range(n_gone):
        if state.placed[packed.pointing[gone[i]]] < 0:
            found = _best_free(packed, state, packed.pointing[gone[i]])
            if found >= 0:
                _add(packed, state, found)
                again[n_again] = found
                n_again += 1
    if state.total[0] > before + 1e-12:
        return True
    for i in range(n_again - 1, -1, -1):
        _remove(packed, state, again[i])
    _remove(packed, state, option)
    for i in range(n_gone):
        _add(packed, state, gone[i])
    state.total[0] = before
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def _refresh(packed, state):
    """Renew the guess of what pushing each placed pointing out would cost."""
    for p in range(len(state.placed)):
        option = state.placed[p]
        if option < 0:
            continue
        if state.followers[p] > 0:
            continue
        loss = _loss(packed, state, option)
        state.price[p] = loss
        here = packed.value[option] - packed.toll[option]
        for i in range(packed.of_pointing_first[p], packed.of_pointing_first[p + 1]):
            other = packed.of_pointing[i]
            if (
                _is_free(packed, state, other)
                and _in_order(packed, state, other)
                and _within_quota(packed, state, other, 0.0)
            ):
                kept = min(1.0, (packed.value[other] - packed.toll[other]) / here)
                state.price[p] = max(0.0, loss * (1.0 - kept))
                break


@njit(cache=True, nogil=True, error_model="numpy")
def place(packed, state, options):
    """Add options in the order given, as far as they fit."""
    for option in options:
        p = packed.pointing[option]
        if (
            state.placed[p] < 0
            and _is_free(packed, state, option)
            and _in_order(packed, state, option)
            and _within_quota(packed, state, option, 0.0)
            and _gain(packed, state, option) > 0.0
        ):
            _add(packed, state, option)


@njit(cache=True, nogil=True, error_model="numpy")
def improve(packed, state, order, firsts, n_rounds):
    """Put what is not placed, in the order given, until a round changes nothing."""
    for _ in range(n_rounds):
        before = state.total[0]
        _refresh(packed, state)
        for p in order:
            if state.placed[p] < 0:
                _put(packed, state, p, firsts)
        if state.total[0] <= before + 1e-9 * max(1.0, before):
            return


@njit(cache=True, nogil=True, error_model="numpy")
def _better_place(packed, state, p):
    """Move a placed pointing to a free place that gains more, if there is one."""
    option = state.placed[p]
    if state.followers[p] > 0:
        return
    before = state.total[0]
    _remove(packed, state, option)
    best = _best_free(packed, state, p)
    if best >= 0:
        _add(packed, state, best)
    if best < 0 or state.total[0] < before:
        if best >= 0:
            _remove(packed, state, best)
        _add(packed, state, option)
        state.total[0] = before


@njit(cache=True, nogil=True, error_model="numpy")
def _clear(packed, state, k, low, high, gone):
    """Take off instrument ``k`` what lies between two slots; returns how many."""
    count, slot = 0, low
    while slot < high:
        option = state.busy[k, slot]
        if option >= 0 and state.followers[packed.pointing[option]] == 0:
            _remove(packed, state, option)
            gone[count] = packed.pointing[option]
            count += 1
        slot += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def polish(packed, state, candidates, firsts, n_tries, seed):
    """Ruin and re-create ``n_tries`` times; keeps only what is better.

    ``candidates``: the pointings that may come in, most wanted first.
    """
    np.random.seed(seed)
    n_instruments, n_slots = state.busy.shape
    if n_instruments == 0 or len(candidates) == 0:
        return
    gone = np.empty(n_instruments * n_slots, np.int64)
    kept_busy, kept_placed = state.busy.copy(), state.placed.copy()
    kept_worth, kept_used = state.worth.copy(), state.used_s.copy()
    kept_followers, kept_total = state.followers.copy(), state.total[0]
    for turn in range(n_tries):
        k = np.random.randint(n_instruments)
        width = 1 + np.random.randint(min(12, n_slots))
        low = np.random.randint(n_slots)
        count = _clear(packed, state, k, low, min(n_slots, low + width), gone)
        if n_instruments > 1:
            other = np.random.randint(n_instruments)
            count += _clear(
                packed, state, other, low, min(n_slots, low + width), gone[count:]
            )
        if count == 0:
            continue
        for _ in range(count):  # what comes back comes in another order
            i, j = np.random.randint(count), np.random.randint(count)
            gone[i], gone[j] = gone[j], gone[i]
        # A few strangers first: they now find room.
        for _ in range(min(12, len(candidates))):
            p = candidates[int(len(candidates) * np.random.random() ** 2)]
            if state.placed[p] < 0:
                _put(packed, state, p, firsts)
            else:
                _better_place(packed, state, p)
        for i in range(count):
            if state.placed[gone[i]] < 0:
                _put(packed, state, gone[i], firsts)
        if state.total[0] > kept_total + 1e-12:
            kept_busy[:], kept_placed[:] = state.busy, state.placed
            kept_worth[:], kept_used[:] = state.worth, state.used_s
            kept_followers[:], kept_total = state.followers, state.total[0]
        else:
            state.busy[:], state.placed[:] = kept_busy, kept_placed
            state.worth[:], state.used_s[:] = kept_worth, kept_used
            state.followers[:], state.total[0] = kept_followers, kept_total
        if turn % 200 == 199:
            _refresh(packed, state)
