"""Depths, exposures and the chance to be within reach."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from followup.brightness import (
    depth_mag,
    expected_magnitudes,
    exposure_for,
    reach_probability,
)
from followup.evidence import Prediction
from followup.factors import RankSettings
from followup.sites import Band
from tests.followup.sample import instrument, target

SETTINGS = RankSettings()
R = Band("r", "lsst:r", 22.0)
TIMES = np.array([60000.0, 60001.0, 60002.0])


def test_four_times_the_exposure_goes_one_factor_of_two_in_flux_deeper() -> None:
    camera = instrument()
    one, four = (depth_mag(camera, R, np.array(1.0), t) for t in (300.0, 1200.0))
    assert one == pytest.approx(22.0)
    assert four - one == pytest.approx(2.5 * math.log10(2.0))


def test_the_loss_at_airmass_two_is_extinction_plus_seeing() -> None:
    """k (X - 1) = 0.126; seeing grows by 2^0.6, so the sky under the star by 2^1.2."""
    loss = 22.0 - float(depth_mag(instrument(), R, np.array(2.0), 300.0))
    assert loss == pytest.approx(0.126 + 1.25 * math.log10(2.0**1.2))


def test_the_exposure_reaches_what_was_asked_for() -> None:
    camera = instrument(min_exposure_s=1.0, max_exposure_s=80000.0)
    for mag, airmass in ((20.0, 1.0), (22.3, 1.4), (23.0, 1.9)):
        seconds = exposure_for(camera, R, airmass, mag, snr=5.0)
        depth = float(depth_mag(camera, R, np.array(airmass), seconds))
        assert mag <= depth <= mag + 1.25 * math.log10((seconds + 1) / seconds) + 0.6 / seconds
    assert exposure_for(camera, R, 1.0, 22.0, snr=10.0) == pytest.approx(4 * 300, abs=1)


def test_the_exposure_stays_within_the_instruments_limits() -> None:
    camera = instrument()
    assert exposure_for(camera, R, 1.0, 10.0, snr=10.0) == 10.0
    assert exposure_for(camera, R, 1.0, 40.0, snr=10.0) == 300.0


def test_predictions_are_interpolated_and_never_extrapolated() -> None:
    curve = Prediction([60000.5, 60001.5], [19.0, 20.0], [20.0, 21.0], [21.0, 22.0])
    expected = expected_magnitudes([target(predicted={"lsst:r": curve})], "lsst:r", TIMES, SETTINGS)
    assert expected.median[0].tolist() == pytest.approx([math.nan, 20.5, math.nan], nan_ok=True)
    assert expected.is_predicted[0]


def test_another_surveys_band_stands_in_and_a_foreign_one_does_not() -> None:
    curve = Prediction([59999.0, 60009.0], [19.0] * 2, [20.0] * 2, [21.0] * 2)
    only_r = [target(predicted={"lsst:r": curve})]
    assert expected_magnitudes(only_r, "decam:r", TIMES, SETTINGS).used == ("lsst:r",)
    infrared = expected_magnitudes(only_r, "2mass:ks", TIMES, SETTINGS)
    assert infrared.used == (None,)
    assert np.isnan(infrared.median).all()


def test_the_chance_is_that_of_the_quantiles_given() -> None:
    """With no scatter of the depth, P(m < q05) = 5 %, P(m < q95) = 95 %."""
    curve = Prediction([59999.0, 60009.0], [19.0] * 2, [20.0] * 2, [23.0] * 2)
    expected = expected_magnitudes([target(predicted={"lsst:r": curve})], "lsst:r", TIMES, SETTINGS)
    depth = np.array([[19.0, 20.0, 23.0]])
    chance = reach_probability(expected, np.array([0]), depth, 1e-9)
    assert chance[0] == pytest.approx([0.05, 0.5, 0.95], abs=1e-6)


def test_scatter_of_the_depth_adds_in_quadrature() -> None:
    width = 1.0
    low, high = (float(stats.norm.ppf(q, 20.0, width)) for q in (0.05, 0.95))
    curve = Prediction([59999.0, 60009.0], [low] * 2, [20.0] * 2, [high] * 2)
    expected = expected_magnitudes([target(predicted={"lsst:r": curve})], "lsst:r", TIMES, SETTINGS)
    chance = reach_probability(expected, np.array([0]), np.full((1, 3), 21.0), 0.75)
    assert chance[0, 0] == pytest.approx(stats.norm.cdf(1.0 / math.hypot(1.0, 0.75)), abs=1e-9)


def test_too_faint_to_state_is_known_and_not_a_number_is_not() -> None:
    times = [59999.0, 60009.0]
    faint = Prediction(times, [None, None], [None, None], [None, None])  # type: ignore[list-item]
    gone = Prediction(times, np.full(2, np.inf), np.full(2, np.inf), np.full(2, np.inf))
    lost = Prediction(times, [np.nan] * 2, [np.nan] * 2, [np.nan] * 2)
    targets = [
        target(name, predicted={"lsst:r": p})
        for name, p in zip("abc", (faint, gone, lost), strict=True)
    ]
    expected = expected_magnitudes(targets, "lsst:r", TIMES, SETTINGS)
    chance = reach_probability(expected, np.arange(3), np.full((3, 3), 27.0), 0.3)
    assert (chance[:2] < 1e-6).all()
    assert np.isnan(chance[2]).all()


def test_last_seen_is_carried_on_with_a_growing_error() -> None:
    source = [target(latest_mag=21.0, latest_band="ztf:r", latest_mjd_tai=59999.0)]
    same = expected_magnitudes(source, "lsst:r", TIMES, SETTINGS)
    assert (same.median == 21.0).all()
    assert (np.diff(same.sigma_faint[0]) > 0).all()
    assert same.sigma_faint[0, 0] == pytest.approx(math.hypot(0.3, 0.5))
    assert not same.is_predicted[0]
    neighbour = expected_magnitudes(source, "lsst:g", TIMES, SETTINGS)
    assert (neighbour.sigma_faint > same.sigma_faint).all()
    assert np.isnan(expected_magnitudes(source, "2mass:ks", TIMES, SETTINGS).median).all()
    radio = [target(latest_mag=21.0, latest_band="radio-3GHz", latest_mjd_tai=59999.0)]
    assert np.isnan(expected_magnitudes(radio, "lsst:r", TIMES, SETTINGS).median).all()


@pytest.mark.parametrize(
    "curve",
    [
        Prediction([1.0, 2.0], [19.0], [20.0, 20.0], [21.0, 21.0]),
        Prediction([2.0, 1.0], [19.0] * 2, [20.0] * 2, [21.0] * 2),
        Prediction([], [], [], []),
    ],
    ids=["lengths", "order", "empty"],
)
def test_a_broken_prediction_is_named(curve: Prediction) -> None:
    with pytest.raises(ValueError, match="a: prediction in lsst:r"):
        expected_magnitudes([target(predicted={"lsst:r": curve})], "lsst:r", TIMES, SETTINGS)


@given(
    median=st.floats(15.0, 28.0),
    widths=st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 3.0)),
    depth=st.floats(15.0, 28.0),
    gain=st.floats(0.0, 5.0),
)
def test_brighter_or_deeper_is_never_less_likely_to_be_seen(
    median: float, widths: tuple[float, float], depth: float, gain: float
) -> None:
    def chance(mid: float, limit: float) -> float:
        low, high = mid - widths[0], mid + widths[1]
        curve = Prediction([59999.0, 60009.0], [low] * 2, [mid] * 2, [high] * 2)
        expected = expected_magnitudes(
            [target(predicted={"lsst:r": curve})], "lsst:r", TIMES, SETTINGS
        )
        return float(reach_probability(expected, np.array([0]), np.full((1, 3), limit), 0.3)[0, 0])

    here = chance(median, depth)
    assert 0.0 <= here <= 1.0
    assert chance(median - gain, depth) >= here - 1e-12
    assert chance(median, depth + gain) >= here - 1e-12
