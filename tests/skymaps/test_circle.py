"""Error circles and ellipses hold what they say, exactly on the sphere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import skymaps
from skymaps.circle import _contained, _solve_k0
from skymaps.healpix import to_xyz


def apart_deg(ra: np.ndarray, dec: np.ndarray, ra0: float, dec0: float) -> np.ndarray:
    chord = np.linalg.norm(to_xyz(ra, dec) - to_xyz(ra0, dec0), axis=-1)
    return np.degrees(2 * np.arcsin(np.clip(chord / 2, 0, 1)))


@given(
    ra=st.floats(0, 360),
    sin_dec=st.floats(-1, 1),
    log_radius=st.floats(-4.0, 2.0),
    containment=st.floats(0.2, 0.99),
)
@settings(max_examples=25, deadline=None)
def test_circle_holds_its_containment(
    ra: float, sin_dec: float, log_radius: float, containment: float
) -> None:
    radius, dec = 10.0**log_radius, float(np.degrees(np.arcsin(sin_dec)))
    uniform = (1 - np.cos(np.radians(radius))) / 2
    if containment <= uniform:
        with pytest.raises(skymaps.SkyMapError, match="uniform"):
            skymaps.from_circle(ra, dec, radius, containment)
        return
    circle = skymaps.from_circle(ra, dec, radius, containment)
    assert circle.probability.sum() == pytest.approx(1.0, abs=1e-9)
    drawn = skymaps.draw_positions(circle, np.random.default_rng(0), 40_000)
    inside = np.mean(apart_deg(drawn[0], drawn[1], ra, dec) < radius)
    assert inside == pytest.approx(containment, abs=4 * 0.5 / np.sqrt(40_000) + 2e-3)


def test_small_circle_is_a_gaussian() -> None:
    circle = skymaps.from_circle(50.0, -20.0, 0.1, 0.3934693402873666)  # 1 sigma = 0.1 deg
    expected = 1 / (2 * np.pi * np.radians(0.1) ** 2)
    peak = skymaps.match(circle, 50.0, -20.0).prob_density_sr[0]
    assert peak == pytest.approx(expected, rel=0.01)
    one_sigma = skymaps.match(circle, 50.0, -19.9).prob_density_sr[0]
    assert one_sigma == pytest.approx(expected * np.exp(-0.5), rel=0.05)
    assert skymaps.credible_area_deg2(circle, 0.9) == pytest.approx(
        2 * np.pi * 0.1**2 * np.log(10), rel=0.01
    )


def test_concentration_is_von_mises_fishers() -> None:
    radius = np.radians(30.0)
    k0 = _solve_k0(np.full(8, radius), 0.7)
    kappa = k0 / (1 - np.cos(radius))
    exact = (1 - np.exp(-kappa * (1 - np.cos(radius)))) / (1 - np.exp(-2 * kappa))
    assert exact == pytest.approx(0.7, abs=1e-12)
    assert _contained(k0, np.full(3, radius)) == pytest.approx(0.7, abs=1e-12)


def test_ellipse_holds_its_containment_along_its_axes() -> None:
    ellipse = skymaps.from_ellipse(10.0, 60.0, 6.0, 2.0, 30.0, 0.9)
    assert skymaps.credible_area_deg2(ellipse, 0.9) == pytest.approx(np.pi * 6 * 2, rel=0.01)
    a = np.radians(30.0)
    cases = ((5.9 * np.sin(a), 5.9 * np.cos(a)), (1.9 * np.cos(a), -1.9 * np.sin(a)))
    for east, north in cases:  # just inside on the major and on the minor axis
        dec = 60.0 + north
        level = skymaps.match(ellipse, 10.0 + east / np.cos(np.radians(dec)), dec)
        assert level.credible_level_2d[0] == pytest.approx(0.88, abs=0.04)


@pytest.mark.parametrize(
    "arguments",
    [
        (np.nan, 0, 1, 0.9),
        (0, 91, 1, 0.9),
        (0, 0, 0, 0.9),
        (0, 0, -1, 0.9),
        (0, 0, 181, 0.9),
        (0, 0, 1, 0),
        (0, 0, 1, 1),
        (0, 0, 90, 0.4),
    ],
)
def test_impossible_circles_are_refused(arguments: tuple[float, ...]) -> None:
    with pytest.raises(skymaps.SkyMapError, match="error region"):
        skymaps.from_circle(*arguments)
