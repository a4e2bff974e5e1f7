"""Predictions from the bank, for candidates without a posterior and for every class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from followup.brightness import expected_magnitudes
from followup.evidence import Prediction, TargetEvidence
from followup.factors import RankSettings
from mmcoord.inference.classes import (
    CLASSES,
    class_priors,
    probabilities_of,
    verdict_of,
)
from mmcoord.inference.models import registry
from mmcoord.inference.outlook import class_predictions, predictions
from mmcoord.inference.screening import ScreenRequest, screen
from mmcoord.records import Photometry
from tests.inference.light import T0, simulate
from tests.inference.test_screening import AT2017GFO_LIKE

BANDS = ("lsst:g", "lsst:r", "lsst:i")
AHEAD = T0 + np.array([2.7, 3.2, 4.2, 5.2])
MODEL = registry.load("villar17_3")


def fading(days: list[float], **more: float) -> tuple[Photometry, ...]:
    return simulate(MODEL, AT2017GFO_LIKE, days, list(BANDS), **more)  # type: ignore[arg-type]


def request(days: list[float], **more: float) -> ScreenRequest:
    return ScreenRequest(fading(days), T0, 100.0, 15.0, **more)


def test_predictions_hold_the_truth_and_have_the_shape_of_a_runs() -> None:
    found = predictions(request([0.6, 1.6, 2.6]), BANDS, AHEAD)
    assert tuple(found) == BANDS
    truth = fading([float(t) for t in AHEAD - T0], err=1e-6)
    inside = 0
    for band in BANDS:
        curve = found[band]
        assert set(curve) == {"mjd_tai", "q05", "q50", "q95"}
        low, mid, high = (np.array(curve[q], dtype=float) for q in ("q05", "q50", "q95"))
        assert np.all((low <= mid) & (mid <= high))
        real = np.array([p.mag_ab for p in truth if p.band == band])
        inside += int(((real > low - 0.3) & (real < high + 0.3)).sum())
    assert inside >= 10  # of 12; the bank's own spacing is 0.25 mag
    # The planner takes them as they are.
    target = TargetEvidence(
        "a", 10.0, 10.0,
        predicted={b: Prediction(*(c[q] for q in ("mjd_tai", "q05", "q50", "q95")))
                   for b, c in found.items()},
    )  # fmt: skip
    taken = expected_magnitudes([target], "lsst:r", AHEAD[:2], RankSettings())
    assert taken.median[0] == pytest.approx([c for c in found["lsst:r"]["q50"][:2]])  # type: ignore[arg-type]


def test_more_nights_narrow_the_prediction() -> None:
    widths = []
    for days in ([0.6], [0.6, 1.6, 2.6]):
        curve = predictions(request(days), BANDS, AHEAD[:1])["lsst:r"]
        widths.append(float(curve["q95"][0] or 60.0) - float(curve["q05"][0] or 0.0))
    assert widths[1] < widths[0]


def test_nothing_is_predicted_from_nothing_or_beyond_the_bank() -> None:
    assert predictions(ScreenRequest((), T0, 100.0, 15.0), BANDS, AHEAD) == {}
    assert predictions(request([0.6]), BANDS, T0 + np.array([-1.0, 15.0])) == {}
    assert class_predictions(ScreenRequest((), T0, 100.0, 15.0), BANDS, AHEAD) is None
    part = class_predictions(request([0.6]), BANDS, T0 + np.array([-1.0, 3.0, 15.0]))
    assert part is not None
    assert part.mjd_tai.tolist() == [T0 + 3.0]


def test_each_class_goes_on_from_what_was_seen_in_its_own_way() -> None:
    seen = request([0.6, 1.6, 2.6])
    found = class_predictions(seen, BANDS, AHEAD)
    assert found is not None
    assert found.classes == CLASSES
    assert found.magnitudes.shape == (len(CLASSES), 64, len(BANDS), len(AHEAD))
    assert found.probability == pytest.approx(screen(seen).probabilities)
    assert found.origin == "screen"
    last = {p.band: p.mag_ab for p in seen.photometry}
    now = np.median(found.magnitudes[:, :, :, 0], axis=1)
    later = np.median(found.magnitudes[:, :, :, -1], axis=1)
    steady = CLASSES.index("steady")
    assert abs(later[steady] - now[steady]).max() < 0.4
    assert later[0, 0] - now[0, 0] > 1.0  # a kilonova's g fades
    for k, band in enumerate(BANDS):  # and starts about where it was last seen
        assert abs(now[0, k] - last[band]) < 1.0


def test_the_same_seed_gives_the_same_draws_and_another_others() -> None:
    one, same, other = (
        class_predictions(request([0.6]), BANDS, AHEAD, seed=seed) for seed in (1, 1, 2)
    )
    assert one is not None
    assert same is not None
    assert other is not None
    assert np.array_equal(one.magnitudes, same.magnitudes)
    assert not np.array_equal(one.magnitudes, other.magnitudes)


def test_a_finished_run_gives_the_probabilities_and_the_kilonovas_quantiles() -> None:
    comparison = [
        {"model": "villar17_3", "is_kilonova": True, "probability": 0.5},
        {"model": "villar17_2", "is_kilonova": True, "probability": 0.2},
        {"model": "sn_ia", "is_kilonova": False, "probability": 0.3},
    ]
    curve = {
        "lsst:r": {
            "mjd_tai": [T0 + 1, T0 + 10],
            "q05": [20.0, 20.0],
            "q50": [21.0, 21.0],
            "q95": [23.0, None],
        }
    }
    found = class_predictions(
        request([0.6]), BANDS, AHEAD, n_draws=1001,
        run_summary={"p_kilonova": 0.7, "comparison": comparison}, run_light_curve=curve,
    )  # fmt: skip
    assert found is not None
    assert found.origin == "inference"
    assert dict(zip(found.classes, found.probability, strict=True)) == pytest.approx(
        {**dict.fromkeys(CLASSES, 0.0), "kilonova": 0.7, "sn_ia": 0.3}
    )
    draws = found.magnitudes[0, :, 1, 0]
    assert np.quantile(draws, [0.05, 0.5]) == pytest.approx([20.0, 21.0], abs=0.02)
    assert found.magnitudes[0, :, 0].std() != pytest.approx(draws.std())


def test_milky_way_dust_is_in_what_will_be_observed() -> None:
    from mmcoord.inference.screening import mw_extinction

    plain = predictions(request([0.6, 1.6]), ("lsst:r",), AHEAD)["lsst:r"]
    dusty = predictions(request([0.6, 1.6], ebv_mw=0.2), ("lsst:r",), AHEAD)["lsst:r"]
    # The same observed light, so about the same light tomorrow, whatever the dust.
    assert dusty["q50"][0] == pytest.approx(plain["q50"][0], abs=0.5)
    assert mw_extinction("lsst:r", 0.2) > 0.4


def test_classes_of_a_summary() -> None:
    assert probabilities_of({}) == {}
    assert probabilities_of({"p_kilonova": None, "comparison": [{"model": "a"}]}) == {}
    seen_before = {
        "p_kilonova": 0.0,
        "comparison": [
            {"model": "villar17_1", "is_kilonova": True, "probability": 0.9},
            {"model": "sn_ia", "is_kilonova": False, "probability": 0.1},
        ],
    }
    assert probabilities_of(seen_before) == {"kilonova": 0.0, "sn_ia": 1.0}


@given(st.floats(0.0, 1.0))
def test_a_verdict_for_every_probability(p: float) -> None:
    word = verdict_of(p)
    assert (word == "favoured") == (p > 0.9)
    assert (word == "not favoured") == (p < 0.1)


@settings(max_examples=50)
@given(st.floats(1e-6, 1.0 - 1e-6))
def test_class_priors_add_up_at_any_base_rate(rate: float) -> None:
    priors = dict(class_priors(rate))
    assert priors["kilonova"] == pytest.approx(rate)
    assert sum(priors.values()) == pytest.approx(1.0)
    assert priors["sn_ia"] / priors["steady"] == pytest.approx(0.40 / 0.15)
