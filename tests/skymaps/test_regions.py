"""Outlines and coverage maps of credible regions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import skymaps
from skymaps.healpix import to_xyz
from tests.skymaps.maps import gw170817, random_map

SR_TO_DEG2 = (180 / np.pi) ** 2


def signed_area_deg2(ring: np.ndarray) -> float:
    """Area of a small ring by projecting on the tangent plane, with sign."""
    xyz = to_xyz(ring[:, 0], ring[:, 1])
    centre = xyz.mean(axis=0) / np.linalg.norm(xyz.mean(axis=0))
    area = 0.5 * np.cross(xyz, np.roll(xyz, -1, axis=0)).sum(axis=0) @ centre
    return float(area) * SR_TO_DEG2


def test_outline_of_a_circle_encloses_its_area() -> None:
    circle = skymaps.from_circle(359.5, -40.0, 3.0, 0.9)  # across RA 0
    rings = skymaps.credible_region_polygons(circle, 0.9)
    assert len(rings) == 1
    assert abs(signed_area_deg2(rings[0])) == pytest.approx(np.pi * 9, rel=0.02)
    assert rings[0][:, 0].min() < 5
    assert rings[0][:, 0].max() > 355


def test_holes_turn_the_other_way() -> None:
    # A ring: a wide circle whose middle has been emptied.
    wide = skymaps.from_circle(80.0, 20.0, 6.0, 0.9)
    order = wide.order.astype(np.int64)
    pixel = wide.start >> (2 * (29 - order))
    from skymaps.healpix import pixel_center

    ra, dec = pixel_center(order, pixel)
    middle = np.linalg.norm(to_xyz(ra, dec) - to_xyz(80.0, 20.0), axis=1) < np.radians(2.0)
    ring = skymaps.build_map(order[~middle], pixel[~middle], wide.density_sr[~middle])
    areas = sorted(signed_area_deg2(r) for r in skymaps.credible_region_polygons(ring, 0.8))
    assert len(areas) == 2
    assert areas[0] < 0 < areas[1]
    tiles = skymaps.region_tiles(ring, 0.8)
    expected = ring.area_sr[tiles].sum() * SR_TO_DEG2
    assert abs(sum(areas)) == pytest.approx(expected, rel=0.02)


@given(seed=st.integers(0, 2**32 - 1), level=st.floats(0.05, 0.99))
@settings(max_examples=20, deadline=None)
def test_rings_close_on_any_map(seed: int, level: float) -> None:
    skymap = random_map(seed)
    for ring in skymaps.credible_region_polygons(skymap, level, max_pixels=3000):
        steps = np.linalg.norm(to_xyz(*np.roll(ring, -1, axis=0).T) - to_xyz(*ring.T), axis=1)
        assert steps.max() < 1.3  # never a jump wider than the side of a base pixel


@given(seed=st.integers(0, 2**32 - 1), level=st.floats(0.05, 0.999))
@settings(max_examples=25, deadline=None)
def test_region_is_the_smallest_that_holds_the_level(seed: int, level: float) -> None:
    skymap = random_map(seed)
    tiles = skymaps.region_tiles(skymap, level)
    held = skymap.probability[tiles].sum()
    assert held >= level - 1e-12
    lightest = tiles[np.argmin(skymap.density_sr[tiles])]
    assert held - skymap.probability[lightest] < level + 1e-12
    rest = np.setdiff1d(np.arange(len(skymap)), tiles)
    assert skymap.density_sr[tiles].min() >= skymap.density_sr[rest].max(initial=0.0)


@given(seed=st.integers(0, 2**32 - 1), level=st.floats(0.05, 0.999))
@settings(max_examples=15, deadline=None)
def test_coverage_map_is_mocpys(seed: int, level: float) -> None:
    mocpy = pytest.importorskip("mocpy")
    skymap = random_map(seed)
    tiles = skymaps.region_tiles(skymap, level)
    ranges = np.stack([skymap.start[tiles], skymap.end[tiles]], axis=1).astype(np.uint64)
    expected = mocpy.MOC.from_depth29_ranges(max_depth=29, ranges=ranges)
    ours = skymaps.region_moc_json(skymap, level)
    theirs = {k: sorted(v) for k, v in expected.serialize("json").items() if v}
    assert ours == theirs
    assert skymaps.region_moc(skymap, level).sky_fraction == pytest.approx(expected.sky_fraction)


def test_gw170817_region() -> None:
    skymap = gw170817()
    rings = skymaps.credible_region_polygons(skymap, 0.9)
    assert len(rings) == 1
    assert abs(signed_area_deg2(rings[0])) == pytest.approx(31.0, abs=0.5)


def test_levels_at_the_ends() -> None:
    skymap = random_map(0)
    assert skymaps.credible_region_polygons(skymap, 0.0) == []
    assert skymaps.region_moc_json(skymap, 0.0) == {}
    assert skymaps.credible_region_polygons(skymap, 1.0) == []  # the whole sky has no edge
    assert skymaps.region_moc_json(skymap, 1.0) == {"0": list(range(12))}
