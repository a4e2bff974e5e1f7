"""Accidents against supernovae."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from mmcoord.supernova.burst import Burst, Sighting, SuperK
from mmcoord.supernova.falsealarm import Rules, coincidence_rate_hz, probability_real
from tests.supernova.test_burst import T0

YEAR_S = 365.25 * 86400
WEEK_S = 7 * 86400


def burst(*detectors: str, spread_s: float = 0.02, p: float | None = None, **more: object) -> Burst:
    sightings = tuple(
        Sighting(name, T0 + timedelta(seconds=spread_s * i / max(1, len(detectors) - 1)), p)
        for i, name in enumerate(detectors)
    )
    empty = Burst(("E",), sightings, (), (), (), False, False, False, (), None, T0, 1)
    return replace(empty, **more)  # type: ignore[arg-type]


def test_the_rates_of_the_published_rule():
    """0.078 a year for two of ten, once in 200,000 years for three (research note, 2.6)."""
    two = coincidence_rate_hz(2, n=10, rate_hz=1 / WEEK_S, window_s=10)
    three = coincidence_rate_hz(3, n=10, rate_hz=1 / WEEK_S, window_s=10)
    assert two * YEAR_S == pytest.approx(0.078, abs=0.001)
    assert 1 / (three * YEAR_S) == pytest.approx(2e5, rel=0.05)


def test_the_rate_of_coincidences_is_that_of_a_simulation():
    """Poisson alarms of four detectors, at rates where coincidences are common."""
    rng = np.random.default_rng(1)
    n, rate, window, span = 4, 1e-3, 10.0, 2e7
    times = [np.sort(rng.uniform(0, span, rng.poisson(rate * span))) for _ in range(n)]
    pairs = sum(
        int(
            (
                np.searchsorted(times[j], times[i] + window) - np.searchsorted(times[j], times[i])
            ).sum()
        )
        for i in range(n)
        for j in range(n)
        if i != j
    )
    expected = coincidence_rate_hz(2, n=n, rate_hz=rate, window_s=window) * span
    assert pairs == pytest.approx(expected, abs=4 * math.sqrt(expected))


def test_a_bare_pair_is_28_percent_likely_and_three_are_practically_certain():
    assert probability_real(burst("LVD", "SNO+")).probability == pytest.approx(0.28, abs=0.01)
    assert probability_real(burst("LVD", "SNO+", "KamLAND")).probability > 0.999


def test_a_pair_of_small_ones_while_the_big_ones_are_on_and_silent_is_nothing():
    silent = burst("LVD", "SNO+", silent=("IceCube", "JUNO", "NOvA", "Super-K"))
    assert probability_real(silent).probability < 1e-6
    off = burst("LVD", "SNO+", off=("IceCube", "JUNO", "NOvA", "Super-K"))
    assert probability_real(off).probability == probability_real(burst("LVD", "SNO+")).probability


def test_even_three_small_ones_are_doubted_while_all_big_ones_are_silent():
    three = burst("HALO", "LZ", "XENONnT", silent=("IceCube", "JUNO", "Super-K"))
    assert probability_real(three).probability < 0.05


def test_strong_p_values_help_and_weak_ones_say_nothing():
    bare = probability_real(burst("LVD", "SNO+")).probability
    assert probability_real(burst("LVD", "SNO+", p=0.1)).probability == bare
    assert probability_real(burst("LVD", "SNO+", p=1e-9)).probability > 0.98


def test_times_that_no_supernova_gives_make_it_an_accident():
    assert probability_real(burst("LVD", "SNO+", spread_s=4.9)).probability == pytest.approx(
        0.28, abs=0.01
    )
    assert probability_real(burst("LVD", "SNO+", spread_s=9.5)).probability < 0.001


def test_super_kamiokande_alone_is_believed_with_a_burst_of_thousands_only():
    strong = burst(superk=SuperK(n_events=6000))
    assert probability_real(strong).probability > 0.95
    named = burst("Super-K", superk=SuperK(n_events=6000))
    assert probability_real(named).probability == probability_real(strong).probability
    weak = burst(superk=SuperK(n_events=20))
    assert probability_real(weak).probability < 0.01


def test_super_kamiokandes_alert_makes_a_pair_with_it_certain():
    pair = burst("Super-K", "LVD", superk=SuperK(n_events=6000))
    assert probability_real(pair).probability > 0.9999


def test_nobody_left_is_nothing():
    assert probability_real(burst()).probability == 0.0


@pytest.mark.parametrize(("r", "n"), [(0, 3), (4, 3)])
def test_impossible_groups_are_refused(r, n):
    with pytest.raises(ValueError, match="detectors"):
        coincidence_rate_hz(r, n=n, rate_hz=1.0, window_s=1.0)


def test_what_is_assumed_is_a_setting():
    half = Rules(false_alarm_hz=0.5 / WEEK_S)
    rare = probability_real(burst("LVD", "SNO+"), half)
    assert rare.false_alarm_rate_hz == pytest.approx(
        probability_real(burst("LVD", "SNO+")).false_alarm_rate_hz / 4
    )
