"""Claims: what can be said when, and what they leave worth doing."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from followup.claims import (
    STANDING,
    Claim,
    ClaimState,
    ClaimTimes,
    ClaimWorth,
    Verb,
    next_state,
    worth_left,
)
from followup.rank import rank
from tests.followup.sample import EVENT, NOW, instrument, steady, target

LATER = NOW + timedelta(hours=6)


def claim(group: str, state: ClaimState, hours_ago: float = 0.0, **changes: object) -> Claim:
    said = NOW - timedelta(hours=hours_ago)
    values: dict[str, object] = {"expires_at": LATER if state in STANDING else None}
    return Claim("a", group, state, said, **(values | changes))  # type: ignore[arg-type]


claims = st.builds(
    claim, st.sampled_from("xyz"), st.sampled_from(ClaimState), st.floats(0.0, 1000.0)
)


def test_without_a_claim_nothing_is_said() -> None:
    assert worth_left((), NOW) is None


def test_a_claim_lowers_the_worth_as_computed_by_hand() -> None:
    """0.7 x 0.2 + 0.3 x 1: made with probability 0.7, and then a second is worth a fifth."""
    left = worth_left((claim("ztf", ClaimState.CLAIMED),), NOW)
    assert left is not None
    assert left[0] == pytest.approx(0.44)
    assert "claimed by ztf" in left[1]
    assert "44 %" in left[1]


def test_two_groups_decide_independently() -> None:
    one = claim("ztf", ClaimState.CLAIMED)
    other = claim("lco", ClaimState.STARTED)
    left = worth_left((one, other), NOW)
    assert left is not None
    assert left[0] == pytest.approx((0.7 * 0.2 + 0.3) * (0.95 * 0.2 + 0.05))


def test_what_was_observed_is_worth_observing_again_a_day_later() -> None:
    def worth(hours: float) -> float:
        left = worth_left((claim("ztf", ClaimState.COMPLETED, hours),), NOW)
        assert left is not None
        return left[0]

    assert worth(0.0) == pytest.approx(0.2)
    assert worth(24.0) == pytest.approx(1.0 - 0.8 / math.e)
    assert worth(240.0) > 0.99


@pytest.mark.parametrize("state", [ClaimState.DECLINED, ClaimState.RELEASED, ClaimState.EXPIRED])
def test_what_nobody_means_to_observe_keeps_its_worth(state: ClaimState) -> None:
    assert worth_left((claim("ztf", state),), NOW) is None


def test_a_claim_whose_time_is_over_does_not_count() -> None:
    over = claim("ztf", ClaimState.CLAIMED, expires_at=NOW)
    assert worth_left((over,), NOW) is None


@settings(deadline=None)
@given(st.lists(claims, max_size=5), claims)
def test_one_more_claim_never_raises_the_worth(held: list[Claim], one: Claim) -> None:
    before, after = worth_left(held, NOW), worth_left([*held, one], NOW)
    worth_before = before[0] if before else 1.0
    worth_after = after[0] if after else 1.0
    assert 0.0 <= worth_after <= worth_before <= 1.0
    assert worth_left([one, *held], NOW) is None or worth_after == pytest.approx(
        worth_left([one, *held], NOW)[0]  # type: ignore[index]
    )


def test_two_equal_targets_the_free_one_goes_first_and_the_plan_says_why() -> None:
    seen = steady(20.0)
    common = {"predicted": {"lsst:r": seen}, "p_kilonova": 0.8, "p_kilonova_origin": "screen"}
    free = target("b", **common)
    taken = target("a", claims=(claim("ztf", ClaimState.CLAIMED),), **common)
    rows = rank([taken, free], event_time=EVENT, now=NOW, instruments=[instrument()])
    assert [row.object_id for row in rows] == ["b", "a"]
    assert rows[1].score == pytest.approx(0.44 * rows[0].score)
    assert "claims" not in rows[0].factors
    assert "claimed by ztf" in rows[1].reasons["claims"]


def test_a_much_better_target_stays_first_though_another_group_has_it() -> None:
    """Two groups go to one target where the second observation is worth it."""
    seen = {"lsst:r": steady(20.0)}
    taken = target("a", claims=(claim("ztf", ClaimState.CLAIMED),), predicted=seen, p_kilonova=0.9)
    poor = target("b", predicted=seen, p_kilonova=0.01)
    rows = rank([taken, poor], event_time=EVENT, now=NOW, instruments=[instrument()])
    assert rows[0].object_id == "a"


@pytest.mark.parametrize("state", [None, *STANDING])
def test_an_observation_can_always_be_reported_and_a_target_declined(
    state: ClaimState | None,
) -> None:
    assert next_state(state, Verb.COMPLETE) is ClaimState.COMPLETED
    assert next_state(state, Verb.DECLINE) is ClaimState.DECLINED


def test_what_is_not_claimed_cannot_be_released_nor_what_is_started_claimed() -> None:
    assert next_state(None, Verb.RELEASE) is None
    assert next_state(ClaimState.STARTED, Verb.CLAIM) is None


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"p_claimed": 1.1}, {"second": -0.1}, {"renewal_hours": 0.0}):
        with pytest.raises(ValueError, match=r"in \[0, 1\]|negative"):
            ClaimWorth(**wrong)
    with pytest.raises(ValueError, match="claimed_hours"):
        ClaimTimes(claimed_hours=0.0)
