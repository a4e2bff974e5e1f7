"""Expected information against closed forms, quadrature by scipy, and itself in another way."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from followup.value import information, signal
from followup.value_joint import joint_information
from mmcoord.predictions import ClassPredictions

Array = npt.NDArray[np.float64]
FAR = 40.0
"""A depth at which everything is bright: nothing is lost below a limit."""


def predictions(magnitudes: npt.ArrayLike, probability: npt.ArrayLike) -> ClassPredictions:
    """One band and one time: magnitudes (C, D). Or (C, D, B, T)."""
    mags = np.asarray(magnitudes, np.float32)
    if mags.ndim == 2:
        mags = mags[:, :, None, None]
    return ClassPredictions(
        classes=("kilonova", *(f"other{k}" for k in range(1, len(mags)))),
        probability=np.asarray(probability, np.float64),
        bands=tuple(f"b{k}" for k in range(mags.shape[2])),
        mjd_tai=np.arange(mags.shape[3], dtype=np.float64),
        magnitudes=mags,
        origin="screen",
    )


def normal_draws(n: int, mean: float, sigma: float) -> Array:
    """Draws at the quantiles: their mixture is the normal up to O(1/n)."""
    return mean + sigma * norm.ppf((np.arange(n) + 0.5) / n)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("floor_mag", [0.05, 0.1])
def test_the_linear_gaussian_case_is_exact(sigma: float, floor_mag: float) -> None:
    """I = 1/2 log2(1 + sigma^2 / floor^2), the closed form of a normal seen with normal error."""
    asked = predictions([normal_draws(20_000, 20.0, sigma)], [1.0])
    found = information(asked, [0], [0.0], [FAR], floor_mag=floor_mag, is_corrected=False)
    assert found.about_parameters[0, 0] == pytest.approx(
        0.5 * math.log2(1 + (sigma / floor_mag) ** 2), abs=1e-3
    )


def test_random_draws_scatter_about_the_closed_form_without_bias() -> None:
    rng = np.random.default_rng(1)
    found = [
        information(
            predictions([20.0 + 0.5 * rng.standard_normal(64)], [1.0]), [0], [0.0], [FAR]
        ).about_parameters[0, 0]
        for _ in range(200)
    ]
    closed = 0.5 * math.log2(1 + 25.0)
    error = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found) - closed) < 4 * error
    assert abs(np.mean(found) - closed) < 0.02 * closed


def test_two_normal_classes_by_quadrature() -> None:
    sigma, apart, share = 0.3, 0.5, 0.3
    asked = predictions(
        [normal_draws(10_000, 20.0, sigma), normal_draws(10_000, 20.0 + apart, sigma)],
        [share, 1 - share],
    )
    wide = math.hypot(sigma, 0.1)

    def integrand(y: float) -> float:
        one, two = norm.pdf(y, 0.0, wide), norm.pdf(y, apart, wide)
        both = share * one + (1 - share) * two
        return float(
            share * one * math.log2(one / both) + (1 - share) * two * math.log2(two / both)
        )

    expected = quad(integrand, -3.0, 3.0, limit=200)[0]
    found = information(asked, [0], [0.0], [FAR])
    assert found.about_class[0] == pytest.approx(expected, abs=1e-3)
    assert found.about_first[0] == pytest.approx(expected, abs=1e-3)


def by_quadrature(u: Array, probability: Array, threshold: float) -> tuple[float, float, Array]:
    """Class, first class, parameters, of the draws ``u`` (C, D) as they are."""
    missed = norm.cdf(threshold - u)

    def terms(p_of_class: Array) -> Array:
        mixture = probability @ p_of_class
        rest = max(1.0 - probability[0], 1e-300)
        others = (probability[1:] @ p_of_class[1:]) / rest
        with np.errstate(divide="ignore", invalid="ignore"):
            about = np.where(p_of_class > 1e-290, p_of_class * np.log2(p_of_class / mixture), 0.0)
        tail = others * math.log2(others / mixture) if others > 0 else 0.0
        return np.array([probability @ about, probability[0] * about[0] + rest * tail])

    def single(p: Array) -> Array:
        mean = p.mean(axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(p > 1e-290, p * np.log2(p / mean), 0.0).mean(axis=1)

    grid = np.linspace(threshold, max(threshold, u.max()) + 9.0, 5_001)
    density = norm.pdf(grid[:, None, None] - u)
    among = np.array([terms(d.mean(axis=1)) for d in density])
    classes = np.trapezoid(among, grid, axis=0) + terms(missed.mean(axis=1))
    parameters = np.trapezoid(np.array([single(d) for d in density]), grid, axis=0) + single(missed)
    return float(classes[0]), float(classes[1]), parameters


@pytest.mark.parametrize("depth", [18.0, 21.0, 22.5, 24.0])
def test_detections_and_non_detections_together_by_quadrature(depth: float) -> None:
    rng = np.random.default_rng(3)
    magnitudes = rng.normal([[21.0], [22.0], [23.5]], 0.8, (3, 6)).astype(np.float32)
    probability = np.array([0.2, 0.5, 0.3])
    found = information(
        predictions(magnitudes, probability), [0], [0.0], [depth], is_corrected=False
    )
    c = 0.4 * math.log(10) * 0.1
    expected = by_quadrature(signal(magnitudes, depth, 0.1), probability, math.asinh(5 * c) / c)
    assert found.about_class[0] == pytest.approx(expected[0], abs=2e-3)
    assert found.about_first[0] == pytest.approx(expected[1], abs=2e-3)
    assert found.about_parameters[:, 0] == pytest.approx(expected[2], abs=2e-3)


def test_a_non_detection_alone_can_decide() -> None:
    """At 22 mag a kilonova that has faded to 26 is not seen, a supernova of 20 is: one bit."""
    asked = predictions([np.full(8, 26.0), np.full(8, 20.0)], [0.5, 0.5])
    found = information(asked, [0], [0.0], [22.0])
    assert found.about_class[0] == pytest.approx(1.0, abs=1e-3)
    assert found.detection[0] == pytest.approx(0.5, abs=1e-3)


def test_the_signal_is_a_flux_when_faint_and_a_magnitude_when_bright() -> None:
    assert signal(25.0, 22.0, 0.1) == pytest.approx(5 * 10 ** (-0.4 * 3.0), rel=1e-3)
    step = signal(20.0, FAR, 0.1) - signal(20.1, FAR, 0.1)
    assert step == pytest.approx(1.0, rel=1e-6)  # one error of 0.1 mag


def test_what_cannot_tell_tells_nothing() -> None:
    rng = np.random.default_rng(4)
    draws = rng.normal(21.0, 1.0, (1, 32))
    same = predictions(np.repeat(draws, 3, axis=0), [0.2, 0.3, 0.5])
    found = information(same, [0, 0, -1], [0.0] * 3, [22.0, math.nan, 22.0])
    assert found.about_class == pytest.approx(0.0, abs=1e-9)
    assert found.about_parameters[:, 1:] == pytest.approx(0.0)
    faint = predictions(rng.normal(30.0, 1.0, (3, 32)), [0.2, 0.3, 0.5])
    nothing = information(faint, [0], [0.0], [20.0])
    assert nothing.about_class[0] == pytest.approx(0.0, abs=1e-6)
    assert nothing.about_parameters[:, 0] == pytest.approx(0.0, abs=1e-6)
    certain = information(predictions(rng.normal(21, 1, (2, 32)), [1.0, 0.0]), [0], [0.0], [24.0])
    assert certain.about_class[0] == pytest.approx(0.0, abs=1e-9)


def test_classes_that_differ_only_by_their_draws_hardly_seem_to_differ() -> None:
    """The truth is 0; 64 draws of each let it seem 0.06 bit, of which most is taken back."""
    rng = np.random.default_rng(5)
    plain, corrected = [], []
    for _ in range(100):
        asked = predictions(rng.normal(20.0, 0.5, (3, 64)), [0.2, 0.3, 0.5])
        plain.append(information(asked, [0], [0.0], [FAR], is_corrected=False).about_class[0])
        corrected.append(information(asked, [0], [0.0], [FAR]).about_class[0])
    assert np.mean(plain) > 0.04
    assert np.mean(corrected) < 0.4 * np.mean(plain)


MAGNITUDES = st.floats(15.0, 30.0)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 4).flatmap(
        lambda c: st.tuples(
            st.lists(st.lists(MAGNITUDES, min_size=5, max_size=5), min_size=c, max_size=c),
            st.lists(st.floats(0.01, 1.0), min_size=c, max_size=c),
        )
    ),
    st.floats(16.0, 28.0),
    st.randoms(use_true_random=False),
)
def test_bounds_and_order(case: tuple[list[list[float]], list[float]], depth: float, rnd) -> None:  # type: ignore[no-untyped-def]
    magnitudes, weights = case
    probability = np.array(weights) / sum(weights)
    found = information(predictions(magnitudes, probability), [0], [0.0], [depth])
    entropy = -float(probability @ np.log2(probability))
    assert 0.0 <= found.about_class[0] <= entropy + 0.01
    assert 0.0 <= found.about_first[0] <= 1.0 + 1e-6
    assert (found.about_parameters >= 0.0).all()
    assert 0.0 <= found.detection[0] <= 1.0
    shuffled = [rnd.sample(row, len(row)) for row in magnitudes]
    again = information(predictions(shuffled, probability), [0], [0.0], [depth])
    assert again.about_class == pytest.approx(found.about_class, abs=1e-9)
    assert again.about_parameters == pytest.approx(found.about_parameters, abs=1e-9)


def test_whether_it_is_the_first_class_is_part_of_which_class_it_is() -> None:
    rng = np.random.default_rng(6)
    asked = predictions(rng.normal([[20.0], [21.0], [23.0]], 0.5, (3, 200)), [0.2, 0.4, 0.4])
    found = information(asked, [0] * 5, [0.0] * 5, [19.0, 20.0, 21.0, 22.0, 23.0])
    assert (found.about_first <= found.about_class + 1e-9).all()


def test_magnitudes_are_interpolated_in_time() -> None:
    """A kilonova that fades from 20 to 24 while a supernova stays at 21: half-way 22."""
    fading = np.array([[20.0, 24.0], [20.1, 24.1]])
    staying = np.full((2, 2), 21.0)
    asked = predictions(np.stack([fading, staying])[:, :, None, :], [0.5, 0.5])
    half = predictions([[22.0, 22.1], [21.0, 21.0]], [0.5, 0.5])
    found = information(asked, [0, 0], [0.5, 9.0], [23.0, 22.5])
    assert found.about_class[0] == pytest.approx(
        information(half, [0], [0.0], [23.0]).about_class[0], abs=1e-5
    )
    last = information(predictions([[24.0, 24.1], [21.0, 21.0]], [0.5, 0.5]), [0], [0.0], [22.5])
    assert found.about_class[1] == pytest.approx(last.about_class[0], abs=1e-5)


def test_one_observation_by_nested_monte_carlo() -> None:
    rng = np.random.default_rng(7)
    asked = predictions(rng.normal([[20.5], [21.5], [22.5]], 0.4, (3, 256)), [0.3, 0.3, 0.4])
    nested = joint_information(asked, [0], [0.0], [22.0], n_outcomes=8192)
    found = information(asked, [0], [0.0], [22.0])
    assert nested[0] == pytest.approx(found.about_class[0], abs=0.04)
    assert nested[1] == pytest.approx(found.about_first[0], abs=0.04)


def test_a_second_look_teaches_less_than_the_first_and_a_second_band_more() -> None:
    """Band 1 is band 0 plus a colour that tells the classes apart; a repeat only averages noise."""
    rng = np.random.default_rng(8)
    magnitude = rng.normal(21.0, 0.7, (2, 256))
    colour = np.array([[-0.3], [0.3]])
    asked = predictions(
        np.stack([magnitude, magnitude + colour], axis=2)[:, :, :, None], [0.5, 0.5]
    )
    depth = 24.0
    one = joint_information(asked, [0], [0.0], [depth], n_outcomes=4096)[0]
    twice = joint_information(asked, [0, 0], [0.0, 0.0], [depth] * 2, n_outcomes=4096)[0]
    both = joint_information(asked, [0, 1], [0.0, 0.0], [depth] * 2, n_outcomes=4096)[0]
    assert twice < 0.3
    assert both > one + 0.5


def test_broken_predictions_are_refused() -> None:
    with pytest.raises(ValueError, match="exclusive"):
        information(predictions([[20.0], [21.0]], [0.5, 0.6]), [0], [0.0], [22.0])
    with pytest.raises(ValueError, match="finite"):
        information(predictions([[math.nan], [21.0]], [0.5, 0.5]), [0], [0.0], [22.0])
