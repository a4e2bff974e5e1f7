"""Indices against healpy, on points where one unit in the last place decides."""

import healpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skymaps.healpix import (
    boundary_xyz,
    nest_to_ring,
    order29_index,
    order29_of,
    pixel_center,
    point_on_tile,
    to_xyz,
)
from tests.skymaps.maps import random_positions

NSIDE = 1 << 29


def by_healpy(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    return healpy.ang2pix(NSIDE, ra, dec, nest=True, lonlat=True)


def test_random_points_agree() -> None:
    ra, dec = random_positions(np.random.default_rng(1), 1_000_000)
    assert np.array_equal(order29_index(ra, dec), by_healpy(ra, dec))


@pytest.mark.parametrize("order", range(30))
def test_corners_and_centres_of_every_order_agree(order: int) -> None:
    rng = np.random.default_rng(order)
    pixels = np.unique(np.append(rng.integers(0, 12 * 4**order, 500), [0, 12 * 4**order - 1]))
    corners = np.moveaxis(healpy.boundaries(1 << order, pixels, nest=True), 1, 2).reshape(-1, 3)
    for ra, dec in (
        healpy.vec2ang(corners, lonlat=True),
        healpy.pix2ang(1 << order, pixels, nest=True, lonlat=True),
    ):
        dec = np.clip(dec, -90.0, 90.0)
        assert np.array_equal(order29_index(ra, dec), by_healpy(ra, dec))


def test_ring_boundaries_poles_and_meridians_agree() -> None:
    sines = np.concatenate([np.arange(-64, 65) / 96.0, [2 / 3, -2 / 3]])
    decs = np.degrees(np.arcsin(sines))
    decs = np.concatenate([decs, [-90, 90, 0, 45, -45, 41.810314895778596, 89.4, 89.43, -89.43]])
    decs = np.concatenate([decs, np.nextafter(decs, 0), np.nextafter(decs, 90)])
    ras = np.concatenate([np.arange(0, 361, 5.625), [np.nextafter(360, 0), -0.0, 1e-300, -45]])
    ra, dec = (a.ravel() for a in np.meshgrid(ras, np.clip(decs, -90, 90)))
    assert np.array_equal(order29_index(ra, dec), by_healpy(ra, dec))


@pytest.mark.parametrize("scale_deg", [1e-13, 1e-9, 1e-6, 1e-3, 0.3, 0.573, 3.0])
@pytest.mark.parametrize("pole", [1, -1])
def test_polar_caps_agree(scale_deg: float, pole: int) -> None:
    rng = np.random.default_rng(7)
    ra = rng.uniform(0, 360, 20_000)
    dec = pole * (90.0 - scale_deg * rng.uniform(0, 1, 20_000))
    assert np.array_equal(order29_index(ra, dec), by_healpy(ra, dec))


def test_no_position_is_minus_one() -> None:
    bad = order29_index([np.nan, 10, 10, np.inf, 10], [0, np.nan, 90.1, 0, -np.inf])
    assert np.array_equal(bad, [-1] * 5)
    assert order29_of(np.nan, 0.0) == -1


def test_threads_change_nothing() -> None:
    ra, dec = random_positions(np.random.default_rng(2), 200_000)
    assert np.array_equal(order29_index(ra, dec, workers=1), order29_index(ra, dec, workers=3))


@pytest.mark.parametrize("order", [0, 1, 2, 5, 8])
def test_ring_numbers_agree(order: int) -> None:
    out = np.empty(12 * 4**order, np.int64)
    nest_to_ring(order, 0, len(out), out)
    assert np.array_equal(out, healpy.nest2ring(1 << order, np.arange(len(out))))


@given(order=st.integers(0, 29), where=st.floats(0, 1, exclude_max=True))
@settings(deadline=None)  # the first example compiles
def test_centre_is_healpys_and_lies_in_its_tile(order: int, where: float) -> None:
    pixel = int(where * 12 * 4**order)
    ra, dec = pixel_center(np.array([order]), np.array([pixel]))
    expected = healpy.pix2ang(1 << order, pixel, nest=True, lonlat=True)
    assert (ra[0], dec[0]) == pytest.approx(expected, abs=1e-12)
    assert order29_index(ra, dec)[0] >> (2 * (29 - order)) == pixel


@given(
    order=st.integers(0, 20),
    where=st.floats(0, 1, exclude_max=True),
    dx=st.floats(1e-6, 1 - 1e-6),
    dy=st.floats(1e-6, 1 - 1e-6),
)
@settings(deadline=None)
def test_point_on_a_tile_is_in_it(order: int, where: float, dx: float, dy: float) -> None:
    pixel = int(where * 12 * 4**order)
    ra, dec = point_on_tile(order, pixel, dx, dy)
    assert order29_of(ra, dec) >> (2 * (29 - order)) == pixel


def test_outline_is_healpys() -> None:
    for order, pixel in ((0, 4), (3, 700), (10, 12 * 4**10 - 1)):
        mine = boundary_xyz(order, pixel, 1)
        theirs = healpy.boundaries(1 << order, pixel, step=1, nest=True).T
        gaps = np.linalg.norm(mine[:, None] - theirs[None], axis=-1)
        assert gaps.min(axis=1).max() < 1e-12
    assert np.allclose(np.linalg.norm(to_xyz([10.0], [20.0]), axis=1), 1.0)
