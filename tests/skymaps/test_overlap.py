"""Two events on one sky."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import skymaps
from skymaps.coincidence import GRB_RATE_HZ, TARGETED_LIMITS_HZ
from tests.shared import shared
from tests.skymaps.maps import random_map

SEEDS = st.integers(0, 2**32 - 1)
UNIFORM = skymaps.build_map(np.zeros(12), np.arange(12), np.full(12, 1 / (4 * np.pi)))


def plain_twin(first: skymaps.SkyMap, second: skymaps.SkyMap) -> float:
    """Every pair of tiles."""
    total = 0.0
    for i in range(len(first)):
        lo = np.maximum(first.start[i], second.start)
        hi = np.minimum(first.end[i], second.end)
        area = np.maximum(hi - lo, 0) * 4 * np.pi / (12 * 4.0**29)
        total += float(np.sum(first.density_sr[i] * second.density_sr * area))
    return 4 * np.pi * total


@given(one=SEEDS, two=SEEDS)
@settings(max_examples=25, deadline=None)
def test_overlap_is_symmetric_exact_and_one_for_a_uniform_map(one: int, two: int) -> None:
    first, second = random_map(one), random_map(two)
    overlap = skymaps.overlap_integral(first, second)
    assert overlap == pytest.approx(plain_twin(first, second), rel=1e-12)
    assert overlap == pytest.approx(skymaps.overlap_integral(second, first), rel=1e-14)
    assert skymaps.overlap_integral(first, UNIFORM) == pytest.approx(1.0, abs=1e-12)


def test_overlap_of_two_circles_is_that_of_two_gaussians() -> None:
    sigma1, sigma2, apart = 0.8, 0.5, 1.0  # deg; 0.3935 is 1 sigma
    one = skymaps.from_circle(100.0, 0.0, sigma1, 1 - math.exp(-0.5))
    two = skymaps.from_circle(100.0 + apart, 0.0, sigma2, 1 - math.exp(-0.5))
    variance = np.radians(1.0) ** 2 * (sigma1**2 + sigma2**2)
    expected = 2 / variance * np.exp(-0.5 * np.radians(apart) ** 2 / variance)
    assert skymaps.overlap_integral(one, two) == pytest.approx(expected, rel=0.01)
    by_circle = skymaps.overlap_with_circle(one, 101.0, 0.0, sigma2, 1 - math.exp(-0.5))
    assert by_circle == pytest.approx(expected, rel=0.01)


def test_point_is_the_limit_of_a_small_circle() -> None:
    skymap = skymaps.from_circle(100.0, 10.0, 8.0)
    point = skymaps.overlap_with_point(skymap, 101.0, 11.0)
    assert skymaps.overlap_with_circle(skymap, 101.0, 11.0, 0.01) == pytest.approx(point, rel=0.02)
    with pytest.raises(skymaps.SkyMapError, match="position"):
        skymaps.overlap_with_point(skymap, np.nan, 0.0)


@given(one=SEEDS, two=SEEDS)
@settings(max_examples=15, deadline=None)
def test_combined_map_is_the_normalised_product(one: int, two: int) -> None:
    first, second = random_map(one, is_3d=True), random_map(two)
    both = skymaps.combined_map(first, second)
    assert both.probability.sum() == pytest.approx(1.0)
    ra, dec, _ = skymaps.draw_positions(both, np.random.default_rng(one), 50)
    answers = [skymaps.match(m, ra, dec) for m in (first, second, both)]
    product = answers[0].prob_density_sr * answers[1].prob_density_sr
    evidence = skymaps.overlap_integral(first, second) / (4 * np.pi)
    assert answers[2].prob_density_sr == pytest.approx(product / evidence, rel=1e-9)
    assert answers[2].distance_mean_mpc == pytest.approx(answers[0].distance_mean_mpc)


def test_product_in_3d_is_the_product_of_densities_in_space() -> None:
    first, second = random_map(1, is_3d=True), random_map(2, is_3d=True)
    both = skymaps.combined_map(first, second)
    rng = np.random.default_rng(0)
    ra, dec, r = skymaps.draw_positions(both, rng, 200)
    one, two, product = (
        skymaps.match(m, ra, dec, r).prob_density_mpc3 for m in (first, second, both)
    )
    ratio = product / (one * two)
    # One constant everywhere: the normalisation of the product.
    assert ratio == pytest.approx(np.full(200, ratio[0]), rel=1e-6)


def test_maps_that_exclude_each_other() -> None:
    north = skymaps.build_map([0], [0], [1.0])
    south = skymaps.build_map([0], [8], [1.0])
    assert skymaps.overlap_integral(north, south) == 0.0
    with pytest.raises(skymaps.SkyMapError, match="exclude"):
        skymaps.combined_map(north, south)
    assert skymaps.joint_far_space_time(1e-9, 0.0) == math.inf


def test_gw170817_with_grb170817a() -> None:
    notice = json.loads(shared("gw/MS181101ab-ext-update.json").read_text())
    wave = skymaps.load(notice["event"]["skymap"])
    published = skymaps.load(notice["external_coinc"]["combined_skymap"])
    # Product = wave * burst / (I / 4 pi): what the notice's two maps say of the burst's own.
    assert np.array_equal(published.uniq, wave.uniq)
    ratio = published.density_sr / wave.density_sr
    pixel = wave.start >> (2 * (29 - wave.order.astype(np.int64)))
    burst = skymaps.build_map(wave.order, pixel, ratio)
    # ... and the overlap integral that follows, against the one behind the notice's rates.
    rates = notice["external_coinc"]
    quoted = rates["time_coincidence_far"] / rates["time_sky_position_coincidence_far"]
    assert skymaps.overlap_integral(wave, burst) == pytest.approx(quoted, rel=0.05)
    # A circle of that centre and width, which is not quite Fermi's own map, gives about the
    # published product.
    xyz = _centres(burst)
    mean = (burst.probability[:, None] * xyz).sum(axis=0)
    mean /= np.linalg.norm(mean)
    apart = np.degrees(np.arccos(np.clip(xyz @ mean, -1, 1)))
    by = np.argsort(apart)
    radius = np.interp(0.68, np.cumsum(burst.probability[by]), apart[by])
    ra, dec = np.degrees(np.arctan2(mean[1], mean[0])) % 360, np.degrees(np.arcsin(mean[2]))
    ours = skymaps.combined_map(wave, skymaps.from_circle(ra, dec, radius, 0.68))
    assert skymaps.credible_area_deg2(ours, 0.9) == pytest.approx(
        skymaps.credible_area_deg2(published, 0.9), rel=0.1
    )
    assert skymaps.distance_summary(ours) == pytest.approx(
        skymaps.distance_summary(published), rel=0.02
    )


def _centres(skymap: skymaps.SkyMap) -> np.ndarray:
    from skymaps.healpix import pixel_center, to_xyz

    order = skymap.order.astype(np.int64)
    return to_xyz(*pixel_center(order, skymap.start >> (2 * (29 - order))))


def test_joint_rates_of_raven() -> None:
    window = skymaps.WINDOWS_S["GRB_CBC"]
    assert (window.begin_s, window.end_s) == (-1.0, 5.0)
    assert window.holds(1.7)
    assert not window.holds(-1.1)
    # Abbott et al. 2017, ApJL 848 L13: any GRB in 6 s of a wave with one false alarm in 80,000 yr.
    far = skymaps.joint_far_untargeted(1e-9, window)
    assert far == pytest.approx(6.0 * 310 / 31_536_000 * 1e-9)
    assert skymaps.joint_far_space_time(far, 30.0) == pytest.approx(far / 30)
    assert skymaps.joint_far_untargeted(1e-9, window, 2 * GRB_RATE_HZ) == pytest.approx(2 * far)


def test_targeted_rate_is_the_chance_of_a_smaller_product() -> None:
    limits = TARGETED_LIMITS_HZ["Fermi"]
    window = skymaps.WINDOWS_S["GRB_CBC_SubFermi"]
    far_gw, far_grb = 0.2 * limits[0], 0.1 * limits[1]
    rate = skymaps.joint_far_targeted(far_gw, far_grb, window, *limits)
    # Chance that two uniform variables have a product below 0.02, from random numbers.
    u = np.random.default_rng(0).uniform(size=(2, 2_000_000))
    chance = np.mean(u[0] * u[1] < 0.02)
    assert rate == pytest.approx(chance * 12.0 * limits[0] * limits[1], rel=0.01)
    with pytest.raises(skymaps.SkyMapError, match="limit"):
        skymaps.joint_far_targeted(2 * limits[0], far_grb, window, *limits)
    assert skymaps.joint_far_targeted(0.0, far_grb, window, *limits) == 0.0


@pytest.mark.parametrize("rate", [-1.0, math.nan, math.inf])
def test_rates_that_are_none_are_refused(rate: float) -> None:
    with pytest.raises(skymaps.SkyMapError, match="rate"):
        skymaps.joint_far_untargeted(rate, skymaps.WINDOWS_S["SNEWS"])
