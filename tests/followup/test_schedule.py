"""The schedule against every subset, against HiGHS, and against a validator of its own."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.followup_instances import night
from followup.schedule import Cover, Problem, Schedule, Sequences, Warm
from followup.schedule_check import violations, worth
from followup.schedule_exact import solve_exactly
from followup.scheduler import schedule
from tests.followup.nights import problem

KINDS = st.fixed_dictionaries(
    {
        "tiles": st.booleans(),
        "quotas": st.booleans(),
        "price": st.sampled_from([0.0, 0.5]),
        "n_slots": st.integers(4, 12),
        "n_instruments": st.integers(1, 4),
    }
)


def best_of_all_subsets(given: Problem, at_most: int) -> float:
    """The optimum of a tiny problem, by looking at everything."""
    sets = itertools.chain.from_iterable(
        itertools.combinations(range(len(given.options)), size) for size in range(at_most + 1)
    )
    chosen = (np.array(some, np.int64) for some in sets)
    return max(worth(given, some) for some in chosen if not violations(given, some))


def consistent(given: Problem, answer: Schedule) -> None:
    assert violations(given, answer.chosen) == []
    assert answer.objective == pytest.approx(worth(given, answer.chosen), abs=1e-9)
    assert answer.objective <= answer.upper_bound + 1e-9


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "kind", [{}, {"tiles": True, "price": 0.3}, {"quotas": True}, {"sequences": True}]
)
def test_small_cases_against_every_subset(seed: int, kind: dict[str, Any]) -> None:
    small = problem(seed, n_options=13, n_pointings=6, n_instruments=2, n_slots=6, **kind)
    optimum = best_of_all_subsets(small, 6)
    answer = schedule(small)
    consistent(small, answer)
    assert solve_exactly(small, relative_gap=0.0).objective == pytest.approx(optimum)
    # With sequences the search is a good guess; without them tiny cases leave no excuse.
    assert answer.objective >= optimum * (0.95 if kind.get("sequences") else 1 - 1e-9)
    assert answer.upper_bound >= optimum - 1e-9


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=KINDS)
def test_the_bound_is_never_below_the_optimum(seed: int, kind: dict[str, Any]) -> None:
    some = problem(seed, **kind)
    answer, exact = schedule(some), solve_exactly(some, relative_gap=0.0)
    consistent(some, answer)
    assert violations(some, exact.chosen) == []
    assert answer.upper_bound >= exact.objective - 1e-6
    assert answer.objective >= 0.9 * exact.objective


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), tiles=st.booleans(), quotas=st.booleans())
@example(seed=8423, tiles=False, quotas=False)  # moves of one look at a time reach 43 %
def test_sequences_are_kept_and_bounded(seed: int, tiles: bool, quotas: bool) -> None:
    some = problem(seed, n_options=60, sequences=True, tiles=tiles, quotas=quotas)
    answer, exact = schedule(some), solve_exactly(some, relative_gap=0.0)
    consistent(some, answer)
    assert violations(some, exact.chosen) == []
    assert answer.upper_bound >= exact.objective - 1e-6
    assert answer.objective >= 0.85 * exact.objective


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=KINDS, again=st.booleans())
@pytest.mark.long
def test_nothing_is_left_out_for_which_there_is_room(
    seed: int, kind: dict[str, Any], again: bool
) -> None:
    """Also what is worth little beside the rest, in a plan from nothing and in one from another."""
    some = problem(seed, **kind)
    weak = some.options.pointing % 2 == 0
    value = np.where(weak, 1e-3 * some.options.value, some.options.value)
    cost = np.where(weak, 1e-3 * some.options.cost, some.options.cost)
    some = dataclasses.replace(
        some, options=dataclasses.replace(some.options, value=value, cost=cost)
    )
    answer = schedule(some)
    if again:
        held = answer.chosen[~weak[answer.chosen]]
        answer = schedule(some, Warm(held))
    planned = set(some.options.pointing[answer.chosen].tolist())
    for option in np.flatnonzero(~np.isin(some.options.pointing, list(planned))):
        more = np.append(answer.chosen, option)
        if not violations(some, more):
            assert worth(some, more) <= worth(some, answer.chosen) + 1e-9


def test_a_weak_target_takes_the_room_beside_a_strong_one_that_stays() -> None:
    """The weak one would rather have the place of the strong one, which could go elsewhere."""
    slots = np.arange(6)
    two = problem(0, n_options=12, n_pointings=2, n_slots=6, n_instruments=1)
    options = dataclasses.replace(
        two.options,
        pointing=np.repeat(np.arange(2), 6),
        instrument=np.zeros(12, np.int64),
        start=np.tile(slots, 2),
        duration_s=np.full(12, two.slot_s),
        value=np.concatenate([np.ones(6), np.where(slots == 3, 1e-3, 9e-4)]),
        cost=np.zeros(12),
    )
    both = Problem(options, Cover(np.arange(3), np.arange(2), np.ones(2)), 1, 6, two.slot_s)
    answer = schedule(both, Warm(np.array([3])))
    consistent(both, answer)
    assert 3 in answer.chosen
    assert answer.objective == pytest.approx(1.0009)


def test_a_night_full_of_targets_is_close_to_highs() -> None:
    busy = [problem(s, n_options=600, n_pointings=60, n_slots=24) for s in range(5)]
    shares = [schedule(one).objective / solve_exactly(one).objective for one in busy]
    assert min(shares) > 0.985
    assert np.mean(shares) > 0.995


def test_a_night_whose_first_plan_is_far_from_its_bound_is_looked_at_again() -> None:
    """Night 15 of the published ones: one descent and one search end 2.9 % apart."""
    given = night(1000, 20, 15)
    answer = schedule(given)
    consistent(given, answer)
    assert answer.certified_gap < 0.01


def test_a_cadence_pair_is_made_with_its_gap() -> None:
    """g and i twice, four hours apart, on one telescope: the four looks fit only so."""
    slots = np.arange(0, 36)
    looks = np.repeat(np.arange(4), len(slots))
    given = problem(0, n_options=len(looks), n_instruments=1)
    options = dataclasses.replace(
        given.options,
        pointing=looks,
        instrument=np.zeros(len(looks), np.int64),
        start=np.tile(slots, 4),
        duration_s=np.full(len(looks), 900.0),
        value=np.full(len(looks), 1.0),
        cost=np.zeros(len(looks)),
    )
    cover = Cover(np.arange(5), np.arange(4), np.ones(4))
    gap = 4 * 3600.0
    sequences = Sequences(
        np.array([0, 1]), np.array([2, 3]), np.full(2, gap), np.full(2, gap + 1800.0)
    )
    cadence = Problem(options, cover, 1, 36, 900.0, sequences=sequences)
    answer = schedule(cadence)
    consistent(cadence, answer)
    assert answer.objective == pytest.approx(4.0)
    assert answer.certified_gap == pytest.approx(0.0, abs=1e-6)


def test_what_two_tiles_share_counts_once() -> None:
    """Two tiles with 0.6 of their worth in common bring 1.4, by hand."""
    two = problem(0, n_options=2, n_pointings=2, n_slots=4, n_instruments=1)
    cover = Cover(np.array([0, 2, 4]), np.array([0, 1, 1, 2]), np.array([0.4, 0.6, 0.6, 0.4]))
    options = dataclasses.replace(
        two.options,
        pointing=np.array([0, 1]),
        instrument=np.zeros(2, np.int64),
        start=np.array([0, 2]),
        duration_s=np.full(2, 200.0),
        value=np.ones(2),
    )
    answer = schedule(Problem(options, cover, 1, 4, 100.0))
    assert len(answer.chosen) == 2
    assert answer.objective == pytest.approx(1.4)
    assert answer.upper_bound == pytest.approx(1.4, rel=2e-3)


def test_the_same_problem_gives_the_same_plan() -> None:
    some = problem(7, n_options=300, n_pointings=40, tiles=True, quotas=True)
    one, other = schedule(some), schedule(some)
    assert np.array_equal(one.chosen, other.chosen)
    assert one.upper_bound == other.upper_bound


def test_a_plan_without_a_change_stays_and_with_one_hardly_moves() -> None:
    some = problem(8, n_options=600, n_pointings=60, n_slots=24)
    first = schedule(some)
    warm = Warm(first.chosen, first.goal_price, first.quota_price)
    again = schedule(some, warm)
    assert set(again.chosen) == set(first.chosen)
    lost = first.chosen[0]
    value = some.options.value.copy()
    value[lost] = 0.0
    changed = dataclasses.replace(some, options=dataclasses.replace(some.options, value=value))
    after = schedule(changed, warm)
    consistent(changed, after)
    assert len(set(first.chosen) - set(after.chosen)) <= 3
    assert after.objective >= 0.97 * schedule(changed).objective


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_made_again_without_prices_has_a_bound_as_tight_as_plain_sense(seed: int) -> None:
    """No schedule is worth more than what every target would bring by itself."""
    given = problem(seed, n_instruments=12, price=0.1)
    options = given.options
    net = options.value - given.price * options.cost
    fits = options.start * given.slot_s + options.duration_s <= given.n_slots * given.slot_s
    alone = np.zeros(10)
    np.maximum.at(alone, options.pointing[fits], net[fits])
    again = schedule(given, Warm(schedule(given).chosen))
    consistent(given, again)
    assert again.upper_bound <= alone.sum() + 1e-9
    assert again.upper_bound >= solve_exactly(given).objective - 1e-9


def test_an_empty_problem_has_an_empty_plan() -> None:
    empty = problem(0, n_options=0)
    answer = schedule(empty)
    assert len(answer.chosen) == 0
    assert answer.objective == answer.upper_bound == answer.certified_gap == 0.0


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("value", np.nan, "value: negative or not finite"),
        ("cost", -1.0, "cost: negative or not finite"),
        ("duration_s", 0.0, "duration_s: not positive"),
        ("pointing", 99, "pointing: not all in"),
        ("start", -1, "start: not all in"),
        ("programme", 0, "programme: not all in"),
    ],
)
def test_malformed_options_are_refused_by_name(column: str, value: float, words: str) -> None:
    some = problem(1)
    array = getattr(some.options, column).copy()
    array[3] = value
    options = dataclasses.replace(some.options, **{column: array})
    with pytest.raises(ValueError, match=words):
        schedule(dataclasses.replace(some, options=options))


def test_a_goal_that_follows_itself_is_refused() -> None:
    some, gaps = problem(1), np.zeros(2)
    circle = Sequences(np.array([0, 1]), np.array([1, 0]), gaps, gaps + 1)
    with pytest.raises(ValueError, match="follows itself"):
        schedule(dataclasses.replace(some, sequences=circle))
