"""Distances along the line of sight, over the sky, and from redshifts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

import skymaps
from skymaps.distance import conditional_moments, log_norm, mills
from skymaps.redshift import PLANCK15, redshift_distance
from tests.skymaps.maps import gw170817, random_map, real_map, real_names


def by_quadrature(x: float, power: int) -> float:
    """Integral of t^power exp(-(t - x)^2 / 2 + min(x, 0)^2 / 2) over t >= 0."""
    shift = 0.5 * min(x, 0.0) ** 2
    end = max(x, 0.0) + 12.0 if x > -3 else 60.0 / -x
    value, _ = quad(
        lambda t: t**power * np.exp(-0.5 * (t - x) ** 2 + shift),
        0.0,
        end,
        points=[x] if 0 < x < end else None,
        epsabs=0,
        epsrel=1e-12,
        limit=200,
    )
    return value


@given(x=st.floats(-30.0, 30.0), sigma=st.floats(0.1, 2000.0))
@settings(max_examples=60, deadline=None)
def test_moments_and_norm_are_those_of_the_integral(x: float, sigma: float) -> None:
    i2, i3, i4 = (by_quadrature(x, k) for k in (2, 3, 4))
    mean, std = conditional_moments(np.array([x * sigma]), np.array([sigma]))
    assert mean[0] == pytest.approx(sigma * i3 / i2, rel=1e-8)
    assert std[0] == pytest.approx(sigma * np.sqrt(i4 / i2 - (i3 / i2) ** 2), rel=1e-6)
    expected = -np.log(i2) + 0.5 * min(x, 0.0) ** 2 + 0.5 * np.log(2 * np.pi) - 2 * np.log(sigma)
    assert log_norm(np.array([x * sigma]), np.array([sigma]))[0] == pytest.approx(
        expected, abs=1e-8
    )


def test_norm_agrees_with_distnorm_of_real_maps() -> None:
    for name in real_names(is_3d=True):
        skymap = real_map(name)
        use = skymap.has_distance
        mu, sigma, norm = (c[use] for c in skymap.distances)
        assert log_norm(mu, sigma) == pytest.approx(np.log(norm), abs=1e-5), name


def test_mills_ratio() -> None:
    from scipy.special import erfcx

    for z in (4.0, 5.5, 12.0, 300.0):
        assert mills(z) == pytest.approx(erfcx(z / np.sqrt(2)) * np.sqrt(np.pi / 2), rel=1e-13)


def test_sky_summary_is_the_mixture_of_its_directions() -> None:
    skymap = random_map(3, is_3d=True)
    mean, _ = skymaps.conditional_moments(*skymap.distances[:2])
    p = skymap.probability
    expected = np.sum(p * mean)
    assert skymaps.distance_summary(skymap)[0] == pytest.approx(expected)
    draws = skymaps.draw_positions(skymap, np.random.default_rng(0), 200_000)[2]
    assert skymaps.distance_summary(skymap) == pytest.approx((draws.mean(), draws.std()), rel=5e-3)


def test_summary_agrees_with_the_headers_of_lvk_maps() -> None:
    for name in real_names(is_3d=True):
        header = real_map(name).header
        mean, std = skymaps.distance_summary(real_map(name))
        # The header is from the pipeline's own samples or finer grid.
        assert mean == pytest.approx(header["DISTMEAN"], rel=0.01), name
        assert std == pytest.approx(header["DISTSTD"], rel=0.04), name


def test_ligo_skymap_agrees_where_it_is_accurate() -> None:
    ligo = pytest.importorskip("ligo.skymap.distance")
    skymap = gw170817()
    use = skymap.has_distance
    mean, std, _ = ligo.parameters_to_moments(skymap.distmu_mpc[use], skymap.distsigma_mpc[use])
    mine = skymaps.conditional_moments(skymap.distmu_mpc[use], skymap.distsigma_mpc[use])
    assert mine[0] == pytest.approx(mean, rel=1e-9)
    assert mine[1] == pytest.approx(std, rel=1e-8)


def test_two_dimensional_maps_have_no_distance() -> None:
    with pytest.raises(skymaps.SkyMapError, match="2D"):
        skymaps.distance_summary(random_map(0))
    assert np.isnan(skymaps.draw_position(random_map(0), np.random.default_rng(0))[2])


def test_luminosity_distance_is_astropys() -> None:
    from astropy.cosmology import FlatLambdaCDM, Planck15

    z = np.geomspace(1e-5, 8.0, 60)
    flat = FlatLambdaCDM(67.74, 0.3075).luminosity_distance(z).value
    assert PLANCK15.luminosity_distance_mpc(z) == pytest.approx(flat, rel=1e-9)
    near = z < 1.0  # radiation and neutrino masses are left out
    planck = Planck15.luminosity_distance(z[near]).value
    assert PLANCK15.luminosity_distance_mpc(z[near]) == pytest.approx(planck, rel=1e-3)


def test_peculiar_velocity_dominates_nearby_and_vanishes_far_away() -> None:
    distance, below, above = redshift_distance([0.009783, 0.5], [0.0001, 0.01])
    assert distance[0] == pytest.approx(43.6, abs=0.2)
    hubble = 299_792.458 / 67.74
    assert below[0] == pytest.approx(hubble * np.hypot(0.0001, 0.00101), rel=0.03)
    quiet = redshift_distance(0.5, 0.01, peculiar_velocity_km_s=0.0)
    assert above[1] == pytest.approx(quiet[2][0], rel=0.02)


def test_no_redshift_is_no_distance() -> None:
    distance, below, _ = redshift_distance([np.nan, 0.0, -0.001, 0.0005])
    assert np.isnan(distance[:3]).all()
    assert below[3] == pytest.approx(distance[3] * 0.001001 / 0.0005, rel=1e-2)
    with pytest.raises(skymaps.SkyMapError, match="negative"):
        redshift_distance(0.1, -0.1)
