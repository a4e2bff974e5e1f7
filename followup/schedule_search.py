"""Good schedules: insertion with ejection, then ruin and re-creation.

A pointing is put where it gains most after what it pushes out has been put elsewhere. When no
such move helps, a stretch of two instruments' time is cleared and filled again; a worse result
is undone (Schrimpf et al. 2000, J. Comp. Phys. 159, 139). Everything is counted in moves, never
in seconds: the same problem gives the same plan.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from followup.schedule_arrays import Packed
from followup.schedule_moves import (
    State,
    add,
    best_free,
    gain_of,
    in_order,
    inner,
    is_free,
    loss_of,
    remove,
    within_quota,
)

__all__ = ["fill", "improve", "place", "polish", "take_off"]

Int = npt.NDArray[np.int64]


@inner
def _best_pushing(packed: Packed, state: State, p: int, firsts: Int) -> int:
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
    for i in range(packed.of_pointing_first[p], packed.of_pointing_end[p]):
        option = of_pointing[i]
        gain = value[option] - toll[option] + bonus[option]
        if gain <= top and firsts[p] == 0:
            if bonus[option] > 0.0:
                continue
            break
        if packed.after[p] >= 0 and not in_order(packed, state, option):
            continue
        if alone:
            gain -= min(held, value[option])
        else:
            gain = gain_of(packed, state, option)
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
        if gain > top and (programme[option] < 0 or within_quota(packed, state, option, freed_s)):
            top, best = gain, option
    return best


@inner
def _ahead(packed: Packed, state: State, option: int, firsts: Int) -> float:
    """What the followers of a first look could add in free time, were it taken so."""
    p = packed.pointing[option]
    total = 0.0
    for i in range(firsts[p] - 1, len(packed.after)):
        if packed.after[i] != p:
            continue
        for j in range(packed.of_pointing_first[i], packed.of_pointing_end[i]):
            later = packed.of_pointing[j]
            gap = packed.start[later] - packed.start[option]
            if packed.min_gap[i] <= gap <= packed.max_gap[i] and is_free(packed, state, later):
                total += gain_of(packed, state, later)
                break
    return total


@inner
def _put(packed: Packed, state: State, p: int, firsts: Int) -> bool:
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
            remove(packed, state, other)
            gone[n_gone] = other
            n_gone += 1
    add(packed, state, option)
    again = np.full(n_gone + len(state.placed) * (firsts[p] > 0), -1, np.int64)
    n_again = 0
    if firsts[p]:
        for follower in range(firsts[p] - 1, len(packed.after)):
            if packed.after[follower] == p:
                found = best_free(packed, state, follower)
                if found >= 0:
                    add(packed, state, found)
                    again[n_again] = found
                    n_again += 1
    for i in range(n_gone):
        if state.placed[packed.pointing[gone[i]]] < 0:
            found = best_free(packed, state, packed.pointing[gone[i]])
            if found >= 0:
                add(packed, state, found)
                again[n_again] = found
                n_again += 1
    if state.total[0] > before + 1e-12:
        return True
    for i in range(n_again - 1, -1, -1):
        remove(packed, state, again[i])
    remove(packed, state, option)
    for i in range(n_gone):
        add(packed, state, gone[i])
    state.total[0] = before
    return False


@inner
def _refresh(packed: Packed, state: State) -> None:
    """Renew the guess of what pushing each placed pointing out would cost."""
    for p in range(len(state.placed)):
        option = state.placed[p]
        if option < 0:
            continue
        if state.followers[p] > 0:
            continue
        loss = loss_of(packed, state, option)
        state.price[p] = loss
        here = packed.value[option] - packed.toll[option]
        for i in range(packed.of_pointing_first[p], packed.of_pointing_end[p]):
            other = packed.of_pointing[i]
            if (
                is_free(packed, state, other)
                and in_order(packed, state, other)
                and within_quota(packed, state, other, 0.0)
            ):
                kept = min(1.0, (packed.value[other] - packed.toll[other]) / here)
                state.price[p] = max(0.0, loss * (1.0 - kept))
                break


@njit(cache=True, nogil=True, error_model="numpy")
def place(packed: Packed, state: State, options: Int) -> None:
    """Add options in the order given, as far as they fit."""
    for option in options:
        p = packed.pointing[option]
        if (
            state.placed[p] < 0
            and is_free(packed, state, option)
            and in_order(packed, state, option)
            and within_quota(packed, state, option, 0.0)
            and gain_of(packed, state, option) > 0.0
        ):
            add(packed, state, option)


@njit(cache=True, nogil=True, error_model="numpy")
def fill(packed: Packed, state: State, order: Int) -> None:
    """Put what is not placed and gains where nothing has to go.

    The search guesses what pushing others out costs, and where it guesses wrongly tries no other
    place: what is worth little beside the rest would be left out though there is room.
    """
    for _ in range(2):  # a second look follows its first, whichever comes first in the order
        for p in order:
            if state.placed[p] < 0:
                option = best_free(packed, state, p)
                if option >= 0:
                    add(packed, state, option)


@inner
def _better_place(packed: Packed, state: State, p: int) -> None:
    """Move a placed pointing to a free place that gains more, if there is one."""
    option = state.placed[p]
    if state.followers[p] > 0:
        return
    before = state.total[0]
    remove(packed, state, option)
    best = best_free(packed, state, p)
    if best >= 0:
        add(packed, state, best)
    if best < 0 or state.total[0] < before:
        if best >= 0:
            remove(packed, state, best)
        add(packed, state, option)
        state.total[0] = before


@njit(cache=True, nogil=True, error_model="numpy")
def take_off(packed: Packed, state: State, options: Int) -> None:
    """Remove placed options in the order given: followers before what they follow."""
    for option in options:
        remove(packed, state, option)


@njit(cache=True, nogil=True, error_model="numpy")
def improve(
    packed: Packed, state: State, order: Int, firsts: Int, n_rounds: int, moves: bool = False
) -> None:
    """Put what is not placed, in the order given, until a round changes nothing.

    ``moves``: what is placed goes to a better free place in its turn.
    """
    for _ in range(n_rounds):
        before = state.total[0]
        _refresh(packed, state)
        for p in order:
            if state.placed[p] < 0:
                _put(packed, state, p, firsts)
            elif moves:
                _better_place(packed, state, p)
        if state.total[0] <= before + 1e-9 * max(1.0, before):
            return


@inner
def _clear(packed: Packed, state: State, k: int, low: int, high: int, gone: Int) -> int:
    """Take off instrument ``k`` what lies between two slots; returns how many."""
    count, slot = 0, low
    while slot < high:
        option = state.busy[k, slot]
        if option >= 0 and state.followers[packed.pointing[option]] == 0:
            remove(packed, state, option)
            gone[count] = packed.pointing[option]
            count += 1
        slot += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def polish(
    packed: Packed, state: State, candidates: Int, firsts: Int, n_tries: int, seed: int, spots: Int
) -> None:
    """Ruin and re-create ``n_tries`` times; keeps only what is better.

    ``candidates``: the pointings that may come in, most wanted first. ``spots``: (S, 2)
    instruments and slots about which it is done; none: anywhere.
    """
    np.random.seed(seed)  # noqa: NPY002
    n_instruments, n_slots = state.busy.shape
    if n_instruments == 0 or len(candidates) == 0:
        return
    gone = np.empty(n_instruments * n_slots, np.int64)
    kept_busy, kept_placed = state.busy.copy(), state.placed.copy()
    kept_worth, kept_used = state.worth.copy(), state.used_s.copy()
    kept_followers, kept_total = state.followers.copy(), state.total[0]
    for turn in range(n_tries):
        k = np.random.randint(n_instruments)  # noqa: NPY002
        width = 1 + np.random.randint(min(12, n_slots))  # noqa: NPY002
        low = np.random.randint(n_slots)  # noqa: NPY002
        if len(spots):
            spot = spots[np.random.randint(len(spots))]  # noqa: NPY002
            k, low = spot[0], max(0, spot[1] - np.random.randint(width))  # noqa: NPY002
        count = _clear(packed, state, k, low, min(n_slots, low + width), gone)
        if n_instruments > 1:
            other = np.random.randint(n_instruments)  # noqa: NPY002
            count += _clear(packed, state, other, low, min(n_slots, low + width), gone[count:])
        if count == 0:
            continue
        for _ in range(count):  # what comes back comes in another order
            i, j = np.random.randint(count), np.random.randint(count)  # noqa: NPY002
            gone[i], gone[j] = gone[j], gone[i]
        # A few strangers first: they now find room.
        for _ in range(min(12, len(candidates))):
            p = candidates[int(len(candidates) * np.random.random() ** 2)]  # noqa: NPY002
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
