"""A schedule that stands, changed again and again: against the same problem stated anew."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.followup_changes import KINDS
from benchmarks.followup_instances import night
from followup.schedule import Change, Options, Problem, changed
from followup.schedule_arrays import Packed, pack
from followup.schedule_bound import descend, start_prices
from followup.schedule_check import violations, worth
from followup.schedule_exact import solve_exactly
from followup.schedule_patch import Roomy
from followup.schedule_standing import Standing
from followup.scheduler import schedule
from tests.followup.nights import problem

KINDS_OF_PROBLEM = st.fixed_dictionaries(
    {
        "tiles": st.booleans(),
        "quotas": st.booleans(),
        "sequences": st.booleans(),
        "price": st.sampled_from([0.0, 0.5]),
    }
)


def some_change(given: Problem, rng: np.random.Generator) -> Change:
    """Some targets or an instrument get other options, or none, or everybody gets more."""
    n_pointings = len(given.cover.first) - 1
    new = problem(
        int(rng.integers(2**32)),
        n_options=int(rng.integers(0, 15)),
        n_pointings=n_pointings,
        n_instruments=given.n_instruments,
        n_slots=given.n_slots,
        quotas=len(given.quota_s) > 0,
    ).options
    which = rng.integers(4)
    return Change(
        new,
        pointings=rng.integers(0, n_pointings, 2) if which in (0, 2) else np.zeros(0, np.int64),
        instruments=rng.integers(0, given.n_instruments, 1) if which == 1 else np.zeros(0, int),
    )


def listed(packed: Packed) -> tuple[dict[int, list[int]], dict[tuple[int, int, int], list[int]]]:
    """What stands in the lists of each pointing and of each group, by the problem's numbers."""
    by_pointing, by_group = {}, {}
    for p in range(len(packed.first) - 1):
        ids = packed.of_pointing[packed.of_pointing_first[p] : packed.of_pointing_end[p]]
        assert (np.diff(packed.value[ids] - packed.toll[ids]) <= 0).all()
        assert (packed.pointing[ids] == p).all()
        by_pointing[p] = sorted(packed.which[ids].tolist())
    for k in range(len(packed.instrument_first) - 1):
        groups = range(packed.instrument_first[k], packed.instrument_first[k + 1])
        keys = [(int(packed.group_start[g]), int(packed.group_length[g])) for g in groups]
        assert keys == sorted(set(keys))
        for g, (start, length) in zip(groups, keys, strict=True):
            ids = packed.of_group[packed.group_first[g] : packed.group_end[g]]
            assert (np.diff(packed.value[ids] - packed.toll[ids]) <= 0).all()
            assert (packed.start[ids] == start).all()
            assert (packed.length[ids] == length).all()
            if len(ids):
                by_group[k, start, length] = sorted(packed.which[ids].tolist())
    return by_pointing, by_group


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=KINDS_OF_PROBLEM, n_changes=st.integers(1, 12))
def test_arrays_that_were_changed_hold_what_those_made_anew_hold(
    seed: int, kind: dict[str, object], n_changes: int
) -> None:
    rng = np.random.default_rng(seed)
    now = problem(seed, **kind)  # type: ignore[arg-type]
    roomy = Roomy(pack(now))
    for _ in range(n_changes):
        change = some_change(now, rng)
        fresh = pack(dataclasses.replace(now, options=change.options))
        gone = roomy.options_of(change.pointings, change.instruments)
        roomy.exchange(gone, fresh, len(now.options))
        now = changed(now, change)
    anew = pack(now)
    assert listed(roomy.packed) == listed(anew)
    prices = rng.uniform(0, 2, anew.n_goals), rng.uniform(0, 0.01, len(anew.quota_s))
    bounds = [
        descend(packed, start_prices(packed, *prices), 0.0, 1)[0].bound
        for packed in (roomy.packed, anew)
    ]
    assert bounds[0] == pytest.approx(bounds[1])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=KINDS_OF_PROBLEM, n_changes=st.integers(1, 5))
def test_after_every_change_the_schedule_is_feasible_and_its_bound_holds(
    seed: int, kind: dict[str, object], n_changes: int
) -> None:
    rng = np.random.default_rng(seed)
    standing = Standing(problem(seed, **kind))  # type: ignore[arg-type]
    for _ in range(n_changes):
        answer = standing.replan(some_change(standing.problem, rng))
        now = standing.problem
        assert violations(now, answer.chosen) == []
        assert answer.objective == pytest.approx(worth(now, answer.chosen), abs=1e-9)
        exact = solve_exactly(now, relative_gap=0.0)
        assert answer.upper_bound >= exact.objective - 1e-6
        assert answer.objective >= 0.8 * exact.objective


def test_many_changes_of_a_night_lose_little_against_plans_from_nothing() -> None:
    standing, rng = Standing(night(300, 8, 3)), np.random.default_rng(3)
    for turn in range(20):
        make = list(KINDS.values())[turn % len(KINDS)]
        answer = standing.replan(make(standing.problem, standing.schedule, rng))
        assert violations(standing.problem, answer.chosen) == []
    fresh = schedule(standing.problem)
    assert answer.objective >= 0.98 * fresh.objective
    assert answer.certified_gap <= fresh.certified_gap + 0.02


def test_a_change_moves_little_else() -> None:
    standing, rng = Standing(night(300, 8, 4)), np.random.default_rng(4)
    moved, stayed = 0, 0
    for make in KINDS.values():
        before = standing.schedule.chosen
        change = make(standing.problem, standing.schedule, rng)
        after = standing.replan(change).chosen
        options = standing.problem.options
        touched = np.isin(options.pointing, change.pointings)
        touched |= np.isin(options.instrument, change.instruments)
        could_stay = before[~touched[before]]
        stayed += int(np.isin(could_stay, after).sum())
        moved += int((~np.isin(could_stay, after)).sum())
    assert moved <= 0.2 * stayed


def test_a_change_of_nothing_loses_nothing() -> None:
    standing = Standing(night(100, 4, 5))
    before = standing.schedule
    none = Options(*(column[:0] for column in dataclasses.astuple(standing.problem.options)))
    after = standing.replan(Change(none))
    assert after.objective >= before.objective
    assert after.upper_bound <= before.upper_bound + 1e-9


def test_a_malformed_change_is_refused_and_the_schedule_stands() -> None:
    standing = Standing(night(100, 4, 6))
    before, before_change = standing.schedule, standing.problem
    change = KINDS["posterior"](standing.problem, before, np.random.default_rng(6))
    broken = dataclasses.replace(change.options, value=np.full(len(change.options), np.nan))
    with pytest.raises(ValueError, match="value: negative or not finite"):
        standing.replan(dataclasses.replace(change, options=broken))
    with pytest.raises(ValueError, match=r"change.pointings: not all in 0 to 99"):
        standing.replan(dataclasses.replace(change, pointings=np.array([100])))
    assert np.array_equal(standing.schedule.chosen, before.chosen)
    assert len(standing.problem.options) == len(before_change.options)
    assert standing.replan(change).objective <= before.objective + 1e-9
