"""Credible level in three dimensions, against direct quadrature."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy.stats import kstest

import skymaps
from skymaps.redshift import PLANCK15
from skymaps.volume import level_at, volume_table
from tests.skymaps.maps import random_map, real_map, real_names, smooth_map


@njit
def quadrature(thresholds, density, area, mu, sigma, norm, steps):
    """Probability above each log density: every tile's rho r^2 summed over a fine grid of r."""
    n = len(thresholds)
    out = np.zeros(n + 1)
    for i in range(len(mu)):
        x = mu[i] / sigma[i]
        first = max(0.0, mu[i] - 9.0 * sigma[i])
        last = max(mu[i], 0.0) + 9.0 * sigma[i]
        if x < -2.0:
            last = min(last, 60.0 * sigma[i] / -x)
        h = (last - first) / steps
        top = np.log(density[i] * norm[i] / (np.sqrt(2 * np.pi) * sigma[i]))
        k = 0
        for j in range(steps):
            r = first + (j + 0.5) * h
            z = (r - mu[i]) / sigma[i]
            log_rho = top - 0.5 * z * z
            while k < n and thresholds[k] <= log_rho:
                k += 1
            while k > 0 and thresholds[k - 1] > log_rho:
                k -= 1
            out[k] += area[i] * np.exp(log_rho) * r * r * h
    return np.cumsum(out[::-1])[::-1][1:]


def check_against_quadrature(skymap: skymaps.SkyMap, steps: int) -> float:
    table = volume_table(skymap)
    assert table is not None
    depth = table.knot[-1] ** 2
    rng = np.random.default_rng(0)
    spread = np.concatenate([rng.uniform(0, depth, 100), rng.uniform(0, depth**0.5, 100) ** 2])
    thresholds = np.sort(table.top - np.append(spread, [-1.0, depth + 5.0]))
    use = skymap.has_distance & (skymap.density_sr > 0)
    expected = quadrature(
        thresholds,
        skymap.density_sr[use],
        skymap.area_sr[use],
        *(c[use] for c in skymap.distances),
        steps,
    )
    mine = np.array([level_at(t, table.curve) for t in thresholds])
    return float(np.abs(mine - expected).max())


def test_table_is_within_1e_4_on_every_real_map() -> None:
    for name in real_names(is_3d=True):
        assert check_against_quadrature(real_map(name), 1000) < 1e-4, name


@pytest.mark.parametrize("seed", range(5))
def test_table_on_few_tiles_of_all_kinds(seed: int) -> None:
    # Up to a third of the probability in one tile: every tile's peak is a kink of the curve.
    assert check_against_quadrature(random_map(seed, is_3d=True), 20_000) < 1e-4


def test_far_end_is_the_probability_with_distance() -> None:
    skymap = real_map(real_names(is_3d=True)[0])
    lost = skymap.probability[~skymap.has_distance].sum()
    table = volume_table(skymap)
    assert table is not None
    assert table.total == pytest.approx(1.0 - lost, abs=1e-8)
    assert level_at(-1e5, table.curve) == table.total


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
def test_level_never_falls_with_falling_density(seed: int) -> None:
    table = volume_table(random_map(seed, is_3d=True))
    assert table is not None
    levels = [level_at(table.top - d, table.curve) for d in np.linspace(-1, 40, 1500)]
    assert np.all(np.diff(levels) >= -1e-12)
    assert levels[0] == 0.0


def test_levels_of_drawn_points_are_uniform() -> None:
    skymap = random_map(8, is_3d=True, splits=400)
    p_values = []
    for seed in range(20):
        drawn = skymaps.draw_positions(skymap, np.random.default_rng(seed), 2000)
        p_values.append(kstest(skymaps.match(skymap, *drawn).credible_level_3d, "uniform").pvalue)
    # Twenty independent p-values: each above 0.01 / 20, and uniform together.
    assert min(p_values) > 0.01 / 20
    assert kstest(p_values, "uniform").pvalue > 0.01


def test_density_is_the_product_of_its_factors() -> None:
    skymap = random_map(2, is_3d=True)
    ra, dec, r = skymaps.draw_positions(skymap, np.random.default_rng(0), 50)
    answer = skymaps.match(skymap, ra, dec, r)
    tile = np.searchsorted(skymap.start, skymaps.order29_index(ra, dec), side="right") - 1
    mu, sigma, norm = (c[tile] for c in skymap.distances)
    normal = np.exp(-0.5 * ((r - mu) / sigma) ** 2) / (np.sqrt(2 * np.pi) * sigma)
    expected = skymap.density_sr[tile] * norm * normal
    assert answer.prob_density_mpc3 == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("two_piece", [False, True])
def test_distance_errors_average_density_and_level(two_piece: bool) -> None:
    rng = np.random.default_rng(4)
    skymap = smooth_map(6)
    prepared = skymaps.prepare(skymap)
    n, steps = 200, 20_000
    ra, dec, r = skymaps.draw_positions(skymap, rng, n)
    below = r * rng.uniform(0.01, 0.8, n)
    above = r * rng.uniform(0.01, 0.8, n) if two_piece else below
    answer = skymaps.match(prepared, ra, dec, r, (below, above) if two_piece else below)
    grid = (np.arange(steps) + 0.5) / steps * (r + 8 * above)[:, None]
    weight = np.exp(
        -0.5
        * ((grid - r[:, None]) / np.where(grid < r[:, None], below[:, None], above[:, None])) ** 2
    )
    weight /= weight.sum(axis=1, keepdims=True)
    exact = skymaps.match(prepared, np.repeat(ra, steps), np.repeat(dec, steps), grid.ravel())
    level = np.sum(weight * exact.credible_level_3d.reshape(n, steps), axis=1)
    density = np.sum(weight * exact.prob_density_mpc3.reshape(n, steps), axis=1)
    assert answer.credible_level_3d == pytest.approx(level, abs=2e-4)
    assert answer.prob_density_mpc3 == pytest.approx(density, rel=1e-4)


def test_gridded_distance_agrees_with_the_gaussian_it_samples() -> None:
    skymap = smooth_map(6)
    ra, dec, r = skymaps.draw_positions(skymap, np.random.default_rng(1), 40)
    r = np.maximum(r, 40.0)  # the grid must resolve the Gaussian
    grid = np.linspace(0.0, 1500.0, 3001)
    pdf = np.exp(-0.5 * ((grid - r[:, None]) / (0.15 * r[:, None])) ** 2)
    gridded = skymaps.match_distance_pdf(skymap, ra, dec, grid, pdf)
    direct = skymaps.match(skymap, ra, dec, r, 0.15 * r)
    assert gridded.credible_level_3d == pytest.approx(direct.credible_level_3d, abs=1e-3)
    # Far out in a Gaussian's tail, straight lines between its nodes are off by per cents.
    faint = 1e-4 * direct.prob_density_mpc3.max()
    assert gridded.prob_density_mpc3 == pytest.approx(direct.prob_density_mpc3, rel=5e-3, abs=faint)
    # The same as a photo-z: nodes in redshift, density per redshift.
    z = np.linspace(0.0, 0.3, 3001)
    distance = PLANCK15.luminosity_distance_mpc(z)
    jacobian = np.gradient(distance, z)
    photo = np.exp(-0.5 * ((distance - r[:, None]) / (0.15 * r[:, None])) ** 2) * jacobian
    by_z = skymaps.match_distance_pdf(skymap, ra, dec, z, photo, distance)
    assert by_z.credible_level_3d == pytest.approx(direct.credible_level_3d, abs=1e-3)


def test_missing_distance_is_null_and_not_one() -> None:
    skymap = random_map(6, is_3d=True)
    ra, dec, r = skymaps.draw_positions(skymap, np.random.default_rng(0), 4)
    answer = skymaps.match(skymap, ra, dec, [r[0], np.nan, -1.0, np.inf])
    assert np.array_equal(np.isnan(answer.credible_level_3d), [False, True, True, True])
    assert np.isfinite(answer.credible_level_2d).all()
    flat = skymaps.match(random_map(6), ra, dec, r)
    assert np.isnan(flat.credible_level_3d).all()
    grid = skymaps.match_distance_pdf(skymap, ra[:2], dec[:2], [0, 900], [[0, 0], [1, 1]])
    assert np.array_equal(np.isnan(grid.credible_level_3d), [True, False])


def test_tile_without_distance_keeps_its_2d_answer() -> None:
    mu, sigma, norm = (np.array(c) for c in random_map(9, is_3d=True).distances)
    source = random_map(9)
    mu[::2] = np.inf
    order = source.order.astype(int)
    skymap = skymaps.build_map(
        order, source.start >> (2 * (29 - order)), source.density_sr, (mu, sigma, norm)
    )
    ra, dec, r = skymaps.draw_positions(skymap, np.random.default_rng(0), 300)
    assert np.isnan(r).any()
    answer = skymaps.match(skymap, ra, dec, 50.0)
    assert np.array_equal(np.isnan(answer.credible_level_3d), np.isnan(r))
    assert np.array_equal(np.isnan(answer.distance_mean_mpc), np.isnan(r))
    assert np.isfinite(answer.credible_level_2d).all()


def test_credible_and_searched_volume_are_one_another_s_inverse() -> None:
    skymap = random_map(6, is_3d=True, splits=400)
    ra, dec, r = skymaps.draw_positions(skymap, np.random.default_rng(2), 20)
    answer = skymaps.match(skymap, ra, dec, r)
    searched = skymaps.searched_volume_mpc3(skymap, answer.prob_density_mpc3)
    for i in range(20):
        credible = skymaps.credible_volume_mpc3(skymap, answer.credible_level_3d[i])
        assert credible == pytest.approx(searched[i], rel=0.02)


def test_volume_of_one_shell_is_its_formula() -> None:
    n = np.ones(12)
    shell = skymaps.build_map(
        np.zeros(12), np.arange(12), n / (4 * np.pi), (100 * n, n, n / (100.0**2 + 1))
    )
    # Far from zero the level 0.9 is +- 1.645 sigma of the Gaussian.
    expected = 4 / 3 * np.pi * ((100 + 1.6449) ** 3 - (100 - 1.6449) ** 3)
    assert skymaps.credible_volume_mpc3(shell, 0.9) == pytest.approx(expected, rel=1e-3)
    with pytest.raises(skymaps.SkyMapError, match="2D"):
        skymaps.credible_volume_mpc3(random_map(0), 0.9)


def test_bad_grids_are_refused() -> None:
    skymap = random_map(6, is_3d=True)
    with pytest.raises(skymaps.SkyMapError, match="ascend"):
        skymaps.match_distance_pdf(skymap, 0, 0, [2, 1], [[1, 1]])
    with pytest.raises(skymaps.SkyMapError, match="shape"):
        skymaps.match_distance_pdf(skymap, 0, 0, [1, 2], [[1, 1, 1]])
