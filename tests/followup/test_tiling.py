"""Fields over a map against samples of the map and astropy's tangent plane."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from astropy.wcs import WCS

import skymaps
from followup.sites import Instrument
from followup.tiling import Covered, Tiling, tile_map
from tests.followup.sample import instrument


def camera(field_deg2: float, name: str = "wide") -> Instrument:
    return instrument(id=name, field_deg2=field_deg2)


def in_field(ra: np.ndarray, dec: np.ndarray, ra0: float, dec0: float, side: float) -> np.ndarray:
    """Inside a square of the tangent plane, by astropy's WCS."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [ra0, dec0], [0.0, 0.0], [1.0, 1.0]
    x, y = wcs.wcs_world2pix(ra, dec, 0)
    half = np.degrees(np.tan(np.radians(side / 2)))
    ahead = np.cos(np.radians(dec)) * np.cos(np.radians(dec0)) * np.cos(
        np.radians(ra - ra0)
    ) + np.sin(np.radians(dec)) * np.sin(np.radians(dec0))
    return (ahead > 0) & (np.abs(x + 1) <= half) & (np.abs(y + 1) <= half)


def samples(ra0: float, dec0: float, radius: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of a 2D normal whose 90 % radius is given, small and away from the poles."""
    rng = np.random.default_rng(1)
    sigma = radius / np.sqrt(-2 * np.log(0.1))
    dec = dec0 + sigma * rng.normal(size=n)
    return ra0 + sigma * rng.normal(size=n) / np.cos(np.radians(dec)), dec


def by_patches(tiling: Tiling, fields: np.ndarray) -> float:
    cover = tiling.cover
    goals = {int(g) for f in fields for g in cover.goal[cover.first[f] : cover.first[f + 1]]}
    return float(sum(tiling.patch_probability[g] for g in goals))


def test_what_a_field_holds_is_what_samples_of_the_map_say() -> None:
    tiling = tile_map(skymaps.from_circle(60.0, -20.0, 6.0), [camera(47.0), camera(9.6, "deep")])
    ra, dec = samples(60.0, -20.0, 6.0, 40_000)
    for field in range(len(tiling.ra_deg)):
        side = np.sqrt([47.0, 9.6][tiling.instrument[field]])
        inside = in_field(ra, dec, tiling.ra_deg[field], tiling.dec_deg[field], side)
        # 0.95 of the map is tiled; the rest is what the region leaves out.
        assert tiling.probability[field] == pytest.approx(inside.mean(), abs=0.03)


def test_patches_that_two_cameras_share_are_counted_once() -> None:
    tiling = tile_map(skymaps.from_circle(60.0, -20.0, 6.0), [camera(47.0), camera(9.6, "deep")])
    everything = np.arange(len(tiling.ra_deg))
    wide = everything[tiling.instrument == 0]
    assert tiling.probability.sum() > 1.5
    assert by_patches(tiling, everything) <= 1.0
    assert by_patches(tiling, wide) == pytest.approx(0.95, abs=0.02)
    assert by_patches(tiling, everything) + tiling.outside == pytest.approx(1.0)
    for field in everything:
        assert by_patches(tiling, np.array([field])) == pytest.approx(tiling.probability[field])


@pytest.mark.parametrize("dec", [-89.0, -60.0, 0.0, 85.0])
def test_the_grid_leaves_no_hole_anywhere_on_the_sky(dec: float) -> None:
    tiling = tile_map(skymaps.from_circle(10.0, dec, 4.0), [camera(3.0)], least=0.0)
    assert tiling.outside == pytest.approx(0.05, abs=0.012)


def test_what_others_cover_is_taken_off_by_their_chance_of_detection() -> None:
    circle, wide = skymaps.from_circle(60.0, -20.0, 3.0), camera(47.0)
    free = tile_map(circle, [wide], least=0.0)
    half = tile_map(circle, [wide], least=0.0, covered=[Covered(60.0, -20.0, 400.0, 0.5)])
    assert half.probability.sum() == pytest.approx(0.5 * free.probability.sum())
    gone = tile_map(circle, [wide], covered=[Covered(60.0, -20.0, 400.0, 1.0)])
    assert len(gone.ra_deg) == 0


def test_a_field_wider_than_a_hemisphere_is_refused() -> None:
    with pytest.raises(ValueError, match="wider than 60 deg"):
        tile_map(
            skymaps.from_circle(60.0, -20.0, 3.0),
            [dataclasses.replace(camera(47.0), field_deg2=8000.0)],
        )
