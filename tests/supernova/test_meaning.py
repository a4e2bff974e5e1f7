"""Class, distance and waiting time of a burst."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcoord.supernova.burst import SuperK
from mmcoord.supernova.classify import classify
from mmcoord.supernova.distance import (
    Yield,
    best_distance,
    distance_from_counts,
    distance_kpc_of,
)
from mmcoord.supernova.waiting import CLASSES, WaitingTime, cadence_at
from tests.supernova.test_burst import T0
from tests.supernova.test_falsealarm import burst


def test_the_classes_sum_to_one_and_the_two_collapses_stay_undetermined():
    found, real = classify(burst("IceCube", "Super-K", "LVD"))
    assert math.fsum(found.probabilities().values()) == pytest.approx(1.0)
    assert found.probability_real == pytest.approx(real.probability)
    assert not found.determined
    assert "undetermined" in found.verdict
    assert found.failed / found.core_collapse == pytest.approx(0.25)
    assert "time series" in found.missing


def test_an_accident_is_called_noise():
    found, _ = classify(burst("LVD", "SNO+", silent=("IceCube", "Super-K")))
    assert found.verdict == "noise"


def test_a_flag_makes_it_a_pre_supernova():
    found, _ = classify(burst("KamLAND", "Super-K", "SNO+", is_pre_supernova=True))
    assert found.verdict == "pre-supernova"
    assert found.core_collapse == 0.0


# -- distance ----------------------------------------------------------------------------


@given(st.floats(0.3, 100.0))
def test_the_inverse_square_law(kpc):
    n = 5000.0 * (10.0 / kpc) ** 2
    found = distance_from_counts([Yield("Super-K", n, 5000.0)])
    assert found.kpc == pytest.approx(kpc)


def test_a_quarter_to_a_third_is_what_the_models_leave():
    """However many neutrinos (research note, 4.4: 25-30 %): half of ln N's spread at most."""
    many = distance_from_counts([Yield("IceCube", 5e5, 5e5)])
    assert 0.15 < many.log_sigma < 0.30
    few = distance_from_counts([Yield("HALO", 4, 6)])
    assert few.log_sigma > many.log_sigma


def test_background_is_not_signal():
    found = distance_from_counts([Yield("X", 150.0, 100.0, background=50.0)])
    assert found.kpc == pytest.approx(10.0)
    with pytest.raises(ValueError, match="background"):
        distance_from_counts([Yield("X", 50.0, 100.0, background=50.0)])


def test_both_units_of_the_distance_are_understood():
    assert distance_kpc_of(0.0025) == pytest.approx(2.5)
    assert distance_kpc_of(2.5) == 2.5
    with pytest.raises(ValueError, match="no distance"):
        distance_kpc_of(float("nan"))


def test_super_kamiokandes_own_distance_goes_first():
    own = SuperK(n_events=64176, distance_kpc=2.5, distance_err_kpc=0.4)
    found = best_distance(own, [Yield("Super-K", 64176, 5000)])
    assert found is not None
    assert (found.kpc, found.err_kpc) == (2.5, pytest.approx(0.4))
    counted = best_distance(SuperK(n_events=64176), [Yield("Super-K", 64176, 5000)])
    assert counted is not None
    assert counted.kpc == pytest.approx(2.8, abs=0.05)
    assert best_distance(None, []) is None


# -- waiting -----------------------------------------------------------------------------


def test_the_probability_grows_to_that_of_any_light_at_all():
    waiting = WaitingTime(p_failed=0.2)
    curve = waiting.probability_before(np.geomspace(1e-3, 1e4, 200))
    assert np.all(np.diff(curve) >= 0)
    assert curve[-1] == pytest.approx(0.8)


@given(st.floats(0.01, 0.79))
def test_the_quantile_inverts_the_probability(p):
    waiting = WaitingTime(p_failed=0.2)
    hours = waiting.quantile_h(p)
    assert hours is not None
    assert float(waiting.probability_before(hours)) == pytest.approx(p, abs=1e-4)


def test_there_is_no_quantile_beyond_the_failed_ones():
    assert WaitingTime(p_failed=0.2).quantile_h(0.85) is None


def test_ninety_percent_of_each_class_lie_between_its_bounds():
    rng = np.random.default_rng(2)
    for one in CLASSES:
        draws = np.exp(rng.normal(one.mu, one.sigma, 20000))
        inside = np.mean((draws > one.low_h) & (draws < one.high_h))
        assert inside == pytest.approx(0.90, abs=0.01)


def test_sn_1987a_lies_among_the_blue_supergiants():
    """Its light came between 2 and 3 hours after the neutrinos (Arnett et al. 1989)."""
    blue = next(one for one in CLASSES if one.name == "blue supergiant")
    assert blue.low_h < 2.0
    assert blue.high_h > 3.0


def test_after_a_day_without_light_a_red_supergiant_or_a_black_hole_is_left():
    left = WaitingTime(p_failed=0.2).by_class(24.0)
    assert math.fsum(left.values()) == pytest.approx(1.0)
    assert left["red supergiant"] + left["no light (black hole)"] > 0.99
    assert left["no light (black hole)"] > 0.2


@pytest.mark.parametrize(("hours", "minutes"), [(0.0, 10), (0.99, 10), (1.0, 30), (6.0, 60)])
def test_looks_come_less_often_with_time(hours, minutes):
    assert cadence_at(T0, T0 + timedelta(hours=hours)) == timedelta(minutes=minutes)


def test_the_watch_ends():
    assert cadence_at(T0, T0 + timedelta(hours=48)) is None
