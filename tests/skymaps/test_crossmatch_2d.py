"""Density and credible level in two dimensions."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import skymaps
from skymaps.credible import tile_levels
from tests.skymaps.maps import random_map, random_positions, real_blobs, real_map, real_names

SEEDS = st.integers(0, 2**32 - 1)


def plain_twin(skymap: skymaps.SkyMap, ra: float, dec: float) -> tuple[float, float]:
    """The definition, tile by tile."""
    index = skymaps.order29_index(ra, dec)[0]
    density = 0.0
    for i in range(len(skymap)):
        if skymap.start[i] <= index < skymap.end[i]:
            density = skymap.density_sr[i]
    level = sum(
        skymap.probability[i] for i in range(len(skymap)) if skymap.density_sr[i] >= density
    )
    return density, level


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_kernel_is_the_definition(seed: int) -> None:
    skymap = random_map(seed)
    ra, dec = random_positions(np.random.default_rng(seed), 5)
    answer = skymaps.match(skymap, ra, dec)
    for i in range(5):
        density, level = plain_twin(skymap, ra[i], dec[i])
        assert answer.prob_density_sr[i] == density
        assert answer.credible_level_2d[i] == pytest.approx(level, abs=1e-12)


def test_every_real_map_agrees_with_ligo_skymap() -> None:
    ligo = pytest.importorskip("ligo.skymap.postprocess")
    from astropy import units as u
    from astropy.coordinates import SkyCoord
    from ligo.skymap.io import read_sky_map

    ra, dec = random_positions(np.random.default_rng(3), 5_000)
    for name in real_names():
        table = read_sky_map(io.BytesIO(real_blobs()[name]), moc=True)
        # Flat float32 maps stay float32 there, so that its sums are only good to 1e-8.
        single = table["PROBDENSITY"].dtype.itemsize == 4
        table = table["UNIQ", "PROBDENSITY"]
        theirs = ligo.crossmatch(table, SkyCoord(ra * u.deg, dec * u.deg))
        mine = skymaps.match(real_map(name), ra, dec)
        values, counts = np.unique(real_map(name).density_sr, return_counts=True)
        distinct = np.isin(mine.prob_density_sr, values[counts == 1])
        relative = 3e-7 if single else 1e-12
        assert mine.prob_density_sr == pytest.approx(theirs.probdensity, rel=relative), name
        gap = np.abs(mine.credible_level_2d - theirs.searched_prob)[distinct]
        assert gap.max(initial=0.0) < (1e-6 if single else 1e-9), name


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_row_order_and_splitting_change_nothing(seed: int) -> None:
    skymap = random_map(seed, is_3d=True)
    rng = np.random.default_rng(seed)
    order = skymap.order.astype(int)
    pixel = skymap.start >> (2 * (29 - order))
    columns = [skymap.density_sr, *skymap.distances]
    chosen = rng.uniform(size=len(skymap)) < 0.3
    order2 = np.concatenate([order[~chosen], np.repeat(order[chosen] + 1, 4)])
    pixel2 = np.concatenate([pixel[~chosen], (4 * pixel[chosen][:, None] + np.arange(4)).ravel()])
    columns2 = [np.concatenate([c[~chosen], np.repeat(c[chosen], 4)]) for c in columns]
    shuffle = rng.permutation(len(order2))
    other = skymaps.build_map(
        order2[shuffle],
        pixel2[shuffle],
        columns2[0][shuffle],
        tuple(c[shuffle] for c in columns2[1:]),
    )
    ra, dec = random_positions(rng, 300)
    distance = rng.uniform(0, 400, 300)
    first = skymaps.match(skymap, ra, dec, distance, 5.0)
    second = skymaps.match(other, ra, dec, distance, 5.0)
    assert np.array_equal(first.prob_density_sr, second.prob_density_sr)
    for field, tolerance in (
        ("credible_level_2d", 1e-12),
        ("prob_density_mpc3", 1e-12),
        ("credible_level_3d", 1e-6),
    ):
        expected = pytest.approx(getattr(second, field), abs=tolerance)
        assert getattr(first, field) == expected, field
    for level in (0.3, 0.9):
        # A region cuts through tiles of one density in part, whichever way they are divided.
        assert skymaps.credible_area_deg2(skymap, level) == pytest.approx(
            skymaps.credible_area_deg2(other, level), rel=1e-9
        )


def test_shuffled_rows_are_the_same_map() -> None:
    skymap = random_map(5)
    order = skymap.order.astype(int)
    pixel = skymap.start >> (2 * (29 - order))
    shuffle = np.random.default_rng(0).permutation(len(skymap))
    other = skymaps.build_map(order[shuffle], pixel[shuffle], skymap.density_sr[shuffle])
    assert other.content_id == skymap.content_id


def test_batch_composition_changes_nothing() -> None:
    skymap = random_map(11, is_3d=True)
    rng = np.random.default_rng(0)
    ra, dec = random_positions(rng, 1000)
    distance = rng.uniform(1, 300, 1000)
    whole = skymaps.match(skymap, ra, dec, distance)
    alone = skymaps.match(skymap, ra[17], dec[17], distance[17])
    ra[500], distance[501] = np.nan, np.nan
    mixed = skymaps.match(skymap, ra, dec, distance)
    for field in (
        "prob_density_sr",
        "credible_level_2d",
        "prob_density_mpc3",
        "credible_level_3d",
        "distance_mean_mpc",
        "distance_std_mpc",
    ):
        assert getattr(alone, field)[0] == getattr(whole, field)[17] == getattr(mixed, field)[17]
    assert np.isnan(mixed.prob_density_sr[500])
    assert np.isnan(mixed.credible_level_2d[500])
    assert np.isnan(mixed.credible_level_3d[501])
    assert mixed.credible_level_2d[501] == whole.credible_level_2d[501]


def test_ties_share_one_level() -> None:
    flat = skymaps.build_map(np.ones(48, int), np.arange(48), np.full(48, 1 / (4 * np.pi)))
    assert tile_levels(flat) == pytest.approx(np.ones(48))
    half = np.where(np.arange(48) < 24, 2.0, 1.0)
    levels = tile_levels(skymaps.build_map(np.ones(48, int), np.arange(48), half))
    assert levels == pytest.approx(np.where(np.arange(48) < 24, 2 / 3, 1.0))


def test_outside_the_tiles_the_level_is_one_and_the_density_zero() -> None:
    part = skymaps.build_map([3, 3], [5, 300], [1.0, 2.0])
    ra, dec = skymaps.draw_position(part, np.random.default_rng(0))[:2]
    answer = skymaps.match(part, [ra, ra + 180.0], [dec, -dec])
    assert answer.prob_density_sr[0] > 0.0
    assert answer.prob_density_sr[1] == 0.0
    assert answer.credible_level_2d[1] == 1.0
    assert any("covers" in repair for repair in part.repairs)


def test_levels_of_drawn_positions_are_uniform_on_a_gaussian() -> None:
    from scipy.stats import kstest

    circle = skymaps.from_circle(80.0, 30.0, 8.0, 0.9)
    p_values = []
    for seed in range(20):
        ra, dec, _ = skymaps.draw_positions(circle, np.random.default_rng(seed), 2000)
        levels = skymaps.match(circle, ra, dec).credible_level_2d
        p_values.append(kstest(levels, "uniform").pvalue)
    assert min(p_values) > 0.01 / 20
    assert kstest(p_values, "uniform").pvalue > 0.01


def test_searched_area_is_the_sum_of_denser_tiles() -> None:
    skymap = random_map(21)
    for density in (skymap.density_sr[4], skymap.density_sr.max(), 0.0):
        expected = skymap.area_sr[skymap.density_sr >= density].sum() * (180 / np.pi) ** 2
        assert skymaps.searched_area_deg2(skymap, density)[0] == pytest.approx(expected)
    assert np.isnan(skymaps.searched_area_deg2(skymap, np.nan)[0])


def test_wrong_shapes_are_refused() -> None:
    skymap = random_map(1)
    with pytest.raises(skymaps.SkyMapError, match="positions"):
        skymaps.match(skymap, [1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(skymaps.SkyMapError, match="distances"):
        skymaps.match(skymap, [1.0, 2.0], [1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(skymaps.SkyMapError, match="level"):
        skymaps.credible_area_deg2(skymap, 1.5)
