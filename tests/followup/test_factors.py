"""The factors that do not depend on the telescope: values, monotony, unknown in between."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from followup.factors import RankSettings, classified, kilonova, membership, timing
from mmcoord.records import KnownTransient
from mmcoord.timescales import mjd_tai
from tests.followup.sample import EVENT, target

SETTINGS = RankSettings()
T0 = mjd_tai(EVENT)
shares = st.floats(0.0, 1.0)


def test_membership_is_what_lies_farther_out_and_prefers_the_volume() -> None:
    both = membership(target(credible_level_2d=0.2, credible_level_3d=0.7), SETTINGS)
    assert both.value == pytest.approx(0.3)
    assert "3D" in both.reason
    flat = membership(target(credible_level_2d=0.2), SETTINGS)
    assert flat.value == pytest.approx(0.8)
    assert "2D" in flat.reason


def test_the_far_edge_of_the_map_is_unlikely_but_not_impossible() -> None:
    assert membership(target(credible_level_2d=1.0), SETTINGS).counted == SETTINGS.floor


def test_the_default_for_an_unknown_place_is_the_mean_over_true_counterparts() -> None:
    """Levels of true counterparts are uniform; the mean of 1 - u is one half."""
    unknown = membership(target(), SETTINGS)
    assert unknown.value is None
    assert unknown.counted == 0.5
    assert "not known" in unknown.reason


@pytest.mark.parametrize(
    ("delay", "before", "expected"),
    [
        (0.0, False, 1.0),
        (2.9, False, 1.0),
        (6.0, False, math.exp(-1.0)),
        (6.0, None, 0.5 * math.exp(-1.0)),
        (1.0, None, 0.5),
        (1.0, True, 0.01),
        (-0.1, None, 0.01),
        (100.0, False, 0.01),
    ],
)
def test_time_factor_by_hand(delay: float, before: bool | None, expected: float) -> None:
    source = target(first_detection_mjd_tai=T0 + delay, detected_before_event=before)
    factor = timing(source, EVENT, SETTINGS)
    assert factor.value == pytest.approx(expected)
    assert "event" in factor.reason


def test_no_detection_and_no_event_time_are_unknown() -> None:
    assert timing(target(), EVENT, SETTINGS).value is None
    assert timing(target(first_detection_mjd_tai=T0), None, SETTINGS).value is None


def test_the_kilonova_factor_says_who_judged() -> None:
    inferred = kilonova(target(p_kilonova=0.8, p_kilonova_origin="inference"), SETTINGS)
    screened = kilonova(target(p_kilonova=0.8, p_kilonova_origin="screen"), SETTINGS)
    neither = kilonova(target(), SETTINGS)
    assert inferred.value == screened.value == 0.8
    assert "inference" in inferred.reason
    assert "screen" in screened.reason
    assert neither.value is None
    assert neither.counted == SETTINGS.prior_kilonova


def test_a_probability_out_of_range_is_refused_and_nan_is_not_known() -> None:
    with pytest.raises(ValueError, match=r"a: p_kilonova 1\.5"):
        kilonova(target(p_kilonova=1.5), SETTINGS)
    assert kilonova(target(p_kilonova=math.nan), SETTINGS).value is None


@given(one=shares, other=shares)
def test_more_evidence_never_lowers_a_factor(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert (
        membership(target(credible_level_2d=high), SETTINGS).counted
        <= membership(target(credible_level_2d=low), SETTINGS).counted
    )
    assert (
        kilonova(target(p_kilonova=low), SETTINGS).counted
        <= kilonova(target(p_kilonova=high), SETTINGS).counted
    )


@given(early=st.floats(0.0, 60.0), later=st.floats(0.0, 60.0))
def test_appearing_later_is_never_better(early: float, later: float) -> None:
    first, second = sorted((early, later))

    def counted(delay: float, before: bool | None) -> float:
        source = target(first_detection_mjd_tai=T0 + delay, detected_before_event=before)
        return timing(source, EVENT, SETTINGS).counted

    assert counted(second, False) <= counted(first, False)
    assert counted(first, True) <= counted(first, None) <= counted(first, False)


@pytest.mark.parametrize(
    "changes",
    [
        {"floor": 0.0},
        {"prior_kilonova": 1.5},
        {"step_minutes": 0.0},
        {"choice_tolerance": 1.0},
        {"late_decay_day": math.nan},
        {"persistence_mag": -0.1},
    ],
)
def test_settings_out_of_range_are_named(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        RankSettings(**changes)


def known(kind: str | None, days_before: float = -1.0, catalogue: str = "tns") -> KnownTransient:
    return KnownTransient(
        catalogue, "1", "AT 2026abc", 60.0, -30.0,
        classification=kind, discovered_mjd_tai=T0 - days_before,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "days_before", "expected"),
    [
        (None, 0.0, None),
        ("", 0.0, None),
        ("Other", 0.0, None),
        ("Galaxy", 0.0, None),
        ("Afterglow", 0.0, None),
        ("SN Ia", -1.0, 0.01),
        ("SN Ia", 100.0, 0.01),
        ("SN Ia", 729.0, 0.01),
        ("SN Ia", 731.0, None),
        ("CV", 0.0, 0.01),
        ("Kilonova", -2.0, 1.0),
    ],
)
def test_what_a_spectroscopic_type_counts(
    kind: str | None, days_before: float, expected: float | None
) -> None:
    factor = classified(target(known=(known(kind, days_before),)), EVENT, SETTINGS)
    assert factor.value == expected
    assert factor.counted == (1.0 if expected is None else expected)
    assert ("not known" in factor.reason) == (expected is None)


def test_a_classification_is_shown_with_its_source() -> None:
    factor = classified(target(known=(known("SN Ic-BL", catalogue="ysepz"),)), EVENT, SETTINGS)
    assert factor.reason == "classified as SN Ic-BL, not a kilonova (YSE-PZ: AT 2026abc)"


def test_catalogues_that_contradict_each_other_do_not_rule_a_kilonova_out() -> None:
    both = target(known=(known("SN Ia"), known("Kilonova", catalogue="ysepz")), p_kilonova=0.1)
    assert classified(both, EVENT, SETTINGS).value == 1.0
    assert kilonova(both, SETTINGS, EVENT).value == 1.0


def test_a_kilonova_of_years_ago_makes_no_kilonova_of_today() -> None:
    old = target(known=(known("Kilonova", 2000.0),), p_kilonova=0.1, p_kilonova_origin="screen")
    assert kilonova(old, SETTINGS, EVENT).value == 0.1


def test_without_a_time_of_the_event_every_type_counts() -> None:
    assert classified(target(known=(known("SN Ia", 2000.0),)), None, SETTINGS).value == 0.01
