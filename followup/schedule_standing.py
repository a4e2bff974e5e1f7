"""A schedule that stands: kept with all that it was made with, so that a change costs little.

A new plan after one change differs from the last in a few places, and its problem in a few
options. :class:`Standing` therefore keeps the packed arrays, the plan under work and the prices of
the bound. A change exchanges options in place (:mod:`followup.schedule_patch`); what stood and can
stand stays; the search looks at what the change touches and at the time that it freed; the bound
begins at the old prices and is valid for the changed problem, whatever they are. Where the
certified gap becomes wider than that of the last thorough plan, the whole is looked at again.
"""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import numpy.typing as npt

from followup.schedule import Change, Problem, Schedule, Warm, changed
from followup.schedule_arrays import Packed, pack
from followup.schedule_bound import Dual, descend, plain_prices, start_prices
from followup.schedule_patch import Roomy
from followup.schedule_search import fill, improve, place, polish, take_off
from followup.scheduler import (
    ANYWHERE,
    KEEP,
    chosen_of,
    firsts_of,
    gap_of,
    is_small_cadence,
    repaired,
    schedule,
    solve,
    wanted,
    worth_of,
)

__all__ = ["Standing"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_NARROW = 0.005
"""So much wider than after the last thorough plan the gap may be left as it is."""
_WIDE = 0.01
"""The whole is looked at again when it is so much wider."""
_FEW_STEPS, _MOST_STEPS = 20, 1000
_STEPS_OF_OPTIONS = 300_000_000
"""A thorough descent has so many steps times options, and begins anew where that is enough."""
_SHORT_STEP, _LONG_STEP = 0.006, 0.1
"""The prices of a long descent are nearly the best; a longer step leads away from them."""
_DRIFT = 0.01
"""A plan that has come to be worth so much less than another could be gives way to it."""
_FEW_TRIES, _MANY_TRIES = 100, 300
_BEST_OF_GROUP = 20
"""Of those that could use freed time, so many a start and length are tried."""
_ROUNDS = 3
_IN_TURN = 500
"""So many of the other pointings are looked at with each change, in turn: small losses add up."""


class Standing:
    """The schedule of a problem, ready for changes of the problem.

    Not for sequences in so small a problem that HiGHS solves it: there each plan is made anew.
    """

    schedule: Schedule
    """The one that stands."""

    def __init__(self, problem: Problem, warm: Warm | None = None) -> None:
        """As :func:`followup.scheduler.schedule`; raises what it raises."""
        self._problem = problem
        self._changes: list[Change] = []
        self._n_numbered = len(problem.options)
        self._turn = 0
        self._is_small_cadence = is_small_cadence(problem)
        begin = time.perf_counter()
        if self._is_small_cadence:
            self.schedule = schedule(problem, warm)
            return
        solved = solve(problem, warm)
        self._roomy = Roomy(solved.packed)
        self._state = solved.state
        self._dual = solved.dual
        self._make_room()
        self._thorough_gap = gap_of(self._dual, worth_of(self._packed, self._state))
        self.schedule = self._told(begin)

    @property
    def problem(self) -> Problem:
        """The problem with all its changes, in whose numbers the schedule speaks."""
        for change in self._changes:
            self._problem = changed(self._problem, change)
        self._changes.clear()
        return self._problem

    def replan(self, change: Change) -> Schedule:
        """The schedule after a change. Nothing depends on the clock.

        Raises
        ------
        ValueError
            The new options are malformed; the schedule that stood still stands.
        """
        begin = time.perf_counter()
        if self._is_small_cadence:
            return self._anew(change)
        fresh = self._fresh(change)
        gone = self._roomy.options_of(change.pointings, change.instruments)
        packed, state = self._packed, self._state
        lost = gone[state.placed[packed.pointing[gone]] == gone]
        lost = self._with_followers(lost)
        take_off(packed, state, lost)
        come = self._roomy.exchange(gone, fresh, self._n_numbered)
        self._n_numbered += len(change.options)
        self._changes.append(change)
        self._make_room()
        packed, state = self._packed, self._state
        back = self._again(lost, come)
        self._prefer(back)
        place(packed, state, back)
        touched = self._touched(change, lost, come)
        spots = self._spots(change, lost)
        self._search(touched, spots, change.instruments)
        self._bound(touched)
        self.schedule = self._told(begin)
        return self.schedule

    @property
    def _packed(self) -> Packed:
        return self._roomy.packed

    def _anew(self, change: Change) -> Schedule:
        before, after = self.schedule, changed(self.problem, change)
        self.schedule = schedule(after, Warm(before.chosen, before.goal_price, before.quota_price))
        self._problem = after
        return self.schedule

    def _fresh(self, change: Change) -> Packed:
        packed = self._packed
        for name, some, end in (
            ("pointings", change.pointings, len(packed.first) - 1),
            ("instruments", change.instruments, len(packed.instrument_first) - 1),
        ):
            if len(some) and (some.min() < 0 or some.max() >= end):
                raise ValueError(f"change.{name}: not all in 0 to {end - 1}")
        return pack(dataclasses.replace(self._problem, options=change.options))

    def _make_room(self) -> None:
        """As many bonuses as there is room for options."""
        more = len(self._packed.which) - len(self._state.bonus)
        if more > 0:
            bonus = np.concatenate([self._state.bonus, np.zeros(more)])
            self._state = self._state._replace(bonus=bonus)

    def _with_followers(self, options: Int) -> Int:
        """Placed options with all that rests on them, what rests before what it rests on."""
        packed, state = self._packed, self._state
        if not (packed.after >= 0).any():
            return options
        ordered: list[int] = []
        waiting = [int(p) for p in packed.pointing[options]]
        while waiting:
            p = waiting.pop()
            ordered = [other for other in ordered if other != p] + [p]
            waiting += np.flatnonzero((packed.after == p) & (state.placed >= 0)).tolist()
        return np.asarray(state.placed[ordered[::-1]])

    def _again(self, lost: Int, come: Int) -> Int:
        """The options among those lost and come that are as what was planned: first looks first."""
        packed = self._packed
        stands = lost[self._roomy.is_standing(lost)]
        spot = self._spot_numbers(come)
        same = come[np.isin(spot, self._spot_numbers(lost))]
        both = np.concatenate([stands, same])
        worth = packed.value[both] - packed.toll[both]
        return np.asarray(both[np.lexsort((-worth, packed.start[both]))])

    def _spot_numbers(self, options: Int) -> Int:
        """One number for a pointing, an instrument and a start."""
        packed = self._packed
        n_instruments = len(packed.instrument_first) - 1
        place = packed.pointing[options].astype(np.int64) * n_instruments
        return np.asarray(
            (place + packed.instrument[options]) * packed.n_slots + packed.start[options]
        )

    def _prefer(self, back: Int) -> None:
        """What is planned is worth a little more than it brings, and nothing else is."""
        packed, state = self._packed, self._state
        stood = np.concatenate([state.placed[state.placed >= 0], back])
        state.bonus[:] = 0.0
        state.bonus[stood] = KEEP * packed.value[stood]

    def _touched(self, change: Change, lost: Int, come: Int) -> Int:
        """Pointings of which more has changed than what one instrument can do for them."""
        packed = self._packed
        elsewhere = come[~np.isin(packed.instrument[come], change.instruments)]
        some = packed.pointing[np.concatenate([lost, elsewhere])].astype(np.int64)
        return np.asarray(np.union1d(change.pointings, some))

    def _spots(self, change: Change, lost: Int) -> Int:
        """(S, 2) instruments and slots about which something may be gained."""
        packed, placed = self._packed, self._state.placed[change.pointings]
        some = np.concatenate([lost, placed[placed >= 0]])
        return np.stack([packed.instrument[some], packed.start[some]], axis=1).astype(np.int64)

    def _search(self, touched: Int, spots: Int, instruments: Int) -> None:
        packed, state = self._packed, self._state
        firsts, everybody = firsts_of(packed), wanted(packed)
        near = self._roomy.best_of(self._groups_about(spots, instruments), _BEST_OF_GROUP)
        some = everybody[np.isin(everybody, np.union1d(touched, packed.pointing[near]))]
        improve(packed, state, some, firsts, _ROUNDS, True)
        if len(spots):
            polish(packed, state, some, firsts, _FEW_TRIES, 0, spots)
        self._turn += 1
        step = len(everybody) // _IN_TURN + 1
        improve(packed, state, everybody[self._turn % step :: step], firsts, 1, True)
        polish(packed, state, everybody, firsts, _FEW_TRIES, self._turn, ANYWHERE)
        fill(packed, state, some)

    def _groups_about(self, spots: Int, instruments: Int) -> Int:
        """Groups of options with these instruments, or that would take the time of a spot."""
        packed = self._packed
        edge = packed.instrument_first
        owner = np.repeat(np.arange(len(edge) - 1), np.diff(edge))
        about = np.isin(owner, instruments)
        end = packed.group_start + packed.group_length
        for k, slot in np.unique(spots, axis=0):
            about |= (owner == k) & (packed.group_start <= slot) & (slot < end)
        return np.flatnonzero(about)

    def _bound(self, touched: Int) -> None:
        """A bound of the changed problem, and a thorough plan where it asks for one."""
        packed = self._packed
        worth = worth_of(packed, self._state)
        self._dual = self._first_prices(touched, worth)
        if gap_of(self._dual, worth) > self._thorough_gap + _NARROW:
            self._dual, _ = descend(packed, self._dual, worth, _FEW_STEPS)
        if gap_of(self._dual, worth) > self._thorough_gap + _WIDE:
            self._look_at_all()

    def _first_prices(self, touched: Int, worth: float) -> Dual:
        """The prices that prove most: the old ones, those with what is touched priced at the most
        that it brings, or everything so."""
        packed, old, plain = self._packed, self._dual, plain_prices(self._packed)
        kept = start_prices(packed, old.goal_price, old.quota_price)
        own = np.concatenate(
            [packed.goal[packed.first[p] : packed.first[p + 1]] for p in touched]
            or [np.zeros(0, np.int64)]
        )
        raised = kept.goal_price.copy()
        raised[own] = plain.goal_price[own]
        tried = [
            descend(packed, kept._replace(goal_price=price, step=_SHORT_STEP), worth, 1)[0]
            for price in (kept.goal_price, raised)
        ]
        return min(*tried, plain, key=lambda one: one.bound)

    def _look_at_all(self) -> None:
        """The descent to its end, and a plan from its prices where that is worth the moves."""
        packed, state = self._packed, self._state
        firsts, everybody = firsts_of(packed), wanted(packed)
        worth = worth_of(packed, state)
        begins = self._dual._replace(step=_LONG_STEP)
        n_steps = min(_MOST_STEPS, _STEPS_OF_OPTIONS // self._roomy.n_options)
        if n_steps == _MOST_STEPS:
            begins = start_prices(packed, None, None)
        dual, picked = descend(packed, begins, worth, n_steps)
        self._dual = min(self._dual, dual, key=lambda one: one.bound)
        other = repaired(packed, firsts, picked, np.zeros(len(packed.which)))
        for one in (state, other):
            polish(packed, one, everybody, firsts, _MANY_TRIES, 0, ANYWHERE)
        reached = max(worth_of(packed, state), worth_of(packed, other))
        if reached > worth_of(packed, state) * (1.0 + _DRIFT):
            self._state = other
        self._thorough_gap = gap_of(self._dual, reached)

    def _told(self, begin: float) -> Schedule:
        objective = worth_of(self._packed, self._state)
        return Schedule(
            chosen=chosen_of(self._packed, self._state),
            objective=objective,
            upper_bound=max(objective, self._dual.bound),
            goal_price=self._dual.goal_price,
            quota_price=self._dual.quota_price,
            wall_s=time.perf_counter() - begin,
        )
