"""Positions that are uncertain by more than a tile."""

import numpy as np
import pytest

import skymaps
from tests.skymaps.maps import random_map, random_positions


def test_gaussian_on_a_gaussian_is_a_wider_gaussian() -> None:
    sigma_map, sigma = 2.0, 1.5
    skymap = skymaps.from_circle(80.0, 60.0, sigma_map, 1 - np.exp(-0.5))
    answer = skymaps.match_position_error(skymap, 80.0, 62.0, sigma)
    variance = np.radians(1.0) ** 2 * (sigma_map**2 + sigma**2)
    expected = np.exp(-0.5 * np.radians(2.0) ** 2 / variance) / (2 * np.pi * variance)
    assert answer.prob_density_sr[0] == pytest.approx(expected, rel=0.01)


def test_mean_level_is_that_of_random_positions() -> None:
    skymap = skymaps.from_circle(10.0, -30.0, 5.0, 0.9)
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1.0, (2, 200_000))
    dec = -28.0 + y
    ra = 11.0 + x / np.cos(np.radians(dec))
    expected = skymaps.match(skymap, ra, dec).credible_level_2d.mean()
    answer = skymaps.match_position_error(skymap, 11.0, -28.0, 1.0)
    assert answer.credible_level_2d[0] == pytest.approx(expected, abs=5e-3)


def test_no_error_is_the_plain_answer_and_nan_is_nan() -> None:
    skymap = random_map(3, is_3d=True)
    ra, dec = random_positions(np.random.default_rng(0), 50)
    plain = skymaps.match(skymap, ra, dec, 80.0)
    exact = skymaps.match_position_error(skymap, ra, dec, 0.0, 80.0)
    tiny = skymaps.match_position_error(skymap, ra, dec, 1e-9, 80.0)
    for name in ("prob_density_sr", "credible_level_2d", "credible_level_3d"):
        assert np.array_equal(getattr(plain, name), getattr(exact, name))
        assert getattr(tiny, name) == pytest.approx(getattr(plain, name), rel=1e-12)
    assert np.isnan(skymaps.match_position_error(skymap, 1.0, 2.0, np.nan).prob_density_sr[0])
    with pytest.raises(skymaps.SkyMapError, match="position error"):
        skymaps.match_position_error(skymap, 1.0, 2.0, -1.0)
