"""Tiles beside targets: what they are worth, who goes first, what is covered already."""

from __future__ import annotations

import itertools
from datetime import timedelta

import numpy as np
import pytest
from scipy.stats import norm

import skymaps
from followup.assign import Assigned, assign
from followup.elsewhere import ElsewhereSettings
from followup.evidence import TargetEvidence
from followup.factors import RankSettings
from followup.rank import rank
from followup.search import Search, SearchSettings, covered_by_others, search, tile_id
from followup.sites import Downtime, Instrument
from followup.slate import Slate
from followup.tiling import Covered, field_corners, tile_map
from followup.tonight import night_from
from mmcoord.elsewhere import Elsewhere
from mmcoord.records import PlanTile
from mmcoord.timescales import mjd_tai
from tests.followup.sample import EVENT, NOW, instrument, steady, target
from tests.followup.test_tiling import in_field, samples

SETTINGS = RankSettings()
WEIGHT = SearchSettings().weight
PREDICTED = {"lsst:r": steady(20.0)}
"""Five percent of such counterparts are brighter than 19.5, five fainter than 20.5."""


def camera(**changes: object) -> Instrument:
    """Twenty-five square degrees, images of 5 min alone, to r = 22."""
    return instrument(
        **{"id": "wide", "field_deg2": 25.0, "min_exposure_s": 300.0, "max_exposure_s": 300.0}
        | changes
    )


def open_for(minutes: int) -> tuple[Downtime, ...]:
    """Down but for some time from 04:00 on, when RA 60 deg is high over Paranal.

    An observation begins on the grid of 15 min and between two of its times that are allowed, and
    the next time must be allowed, too.
    """
    begin = NOW.replace(hour=3, minute=59) + timedelta(days=1)
    return (
        Downtime(NOW - timedelta(days=1), begin, "closed"),
        Downtime(begin + timedelta(minutes=minutes + 2), NOW + timedelta(days=2), "closed"),
    )


def sought(
    cameras: list[Instrument],
    unfound: float = 1.0,
    covered: tuple[Covered, ...] = (),
    radius: float = 4.0,
) -> Search:
    tiling = tile_map(skymaps.from_circle(60.0, -30.0, radius), cameras, covered=covered)
    numbers = range(len(cameras))
    night = night_from(NOW, SETTINGS)
    found = search(tiling, numbers, cameras, night, PREDICTED, SETTINGS, SearchSettings())
    return found.given(unfound)


def planned(
    targets: list[TargetEvidence],
    cameras: list[Instrument],
    previous: Assigned | None = None,
    covered: tuple[Covered, ...] = (),
) -> Assigned:
    slate = Slate(keep=100)
    rows = rank(targets, event_time=EVENT, now=NOW, instruments=cameras, slate=slate)
    return assign(
        rows,
        slate,
        tolerance=SETTINGS.choice_tolerance,
        previous=previous.rows if previous else (),
        tiles=sought(cameras, slate.unfound, covered),
        previous_tiles=previous.tiles if previous else (),
    )


def candidate(p_kilonova: float, object_id: str = "a", ra_deg: float = 60.0) -> TargetEvidence:
    """Looked into, well inside the map, and bright enough for any image."""
    return target(
        object_id,
        ra_deg=ra_deg,
        credible_level_2d=0.1,
        p_kilonova=p_kilonova,
        p_kilonova_origin="inference",
        predicted={"lsst:r": steady(19.0)},
    )


def test_a_tile_is_worth_the_chance_that_it_shows_what_nobody_has_found() -> None:
    """By hand: P(in the field) x P(m < depth) x unfound x weight, at the zenith of the night."""
    found = sought([camera()], unfound=0.5)
    sheet = found.sheets[0]
    place, step = np.unravel_index(int(sheet.worth.argmax()), sheet.worth.shape)
    airmass = float(sheet.airmass[place, step])
    depth = 22.0 - 1.5 * np.log10(airmass) - 0.126 * (airmass - 1.0)
    faint = 0.5 / norm.ppf(0.95)
    # Moonlight takes up to some tenths of a magnitude more than this; half a magnitude is 0.999.
    reach = norm.cdf((depth - 20.0) / np.hypot(faint, SETTINGS.depth_scatter_mag))
    ra, dec = samples(60.0, -30.0, 4.0, 40_000)
    inside = in_field(ra, dec, found.tiling.ra_deg[place], found.tiling.dec_deg[place], 5.0)
    assert sheet.worth[place, step] == pytest.approx(inside.mean() * reach * 0.5 * WEIGHT, rel=0.05)


def test_the_only_hour_goes_to_a_good_kilonova_and_without_one_to_the_map() -> None:
    """One image fits. Membership 0.9, time not known (0.5), P = 0.95: 0.43 for the target; for the
    fullest tile at most half of what is left of a map that the target explains to nine tenths."""
    cameras = [camera(downtimes=open_for(15))]
    good = planned([candidate(0.95)], cameras)
    assert good.rows[0].instrument == "wide"
    assert good.tiles == ()
    odds = 0.95 / 0.05 * 0.9 * 0.5
    assert sought(cameras, 1 / (1 + odds)).sheets[0].worth.max() < 0.5 / (1 + odds)
    poor = planned([candidate(0.01)], cameras)
    assert poor.rows[0].instrument is None
    assert "does something of more worth" in poor.rows[0].reasons["choice"]
    assert len(poor.tiles) == 1


def test_tiles_and_targets_share_a_night_and_never_a_minute() -> None:
    cameras = [camera(), camera(id="deep", field_deg2=9.0)]
    targets = [candidate(0.5, f"t{n}", 57.0 + n) for n in range(6)]
    got = planned(targets, cameras)
    assert len(got.tiles) > 2
    assert sum(row.instrument is not None for row in got.rows) == 6
    asked = [*got.tiles, *(row for row in got.rows if row.instrument)]
    for one in cameras:
        spans = sorted(
            (a.start - timedelta(seconds=one.slew_s),
             a.start + timedelta(seconds=a.exposure_s + one.overhead_s))
            for a in asked if a.instrument == one.id
        )  # fmt: skip
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    assert got.objective <= got.upper_bound
    assert 0 <= got.certified_gap < 0.1
    assert f", {len(got.tiles)} tiles, worth" in got.sentence


def test_what_two_cameras_show_is_new_once() -> None:
    cameras = [camera(), camera(id="deep", field_deg2=9.0)]
    got = planned([], cameras)
    assert {tile.instrument for tile in got.tiles} == {"wide", "deep"} or len(got.tiles) > 0
    ra, dec = samples(60.0, -30.0, 4.0, 40_000)
    side = {"wide": 5.0, "deep": 3.0}
    covers = np.zeros(len(ra), bool)
    for tile in got.tiles:
        covers |= in_field(ra, dec, tile.ra_deg, tile.dec_deg, side[tile.instrument])
        assert tile.new_probability <= tile.probability + 1e-12
    new = sum(tile.new_probability for tile in got.tiles)
    # The tiled region is the 95 % one: samples beyond it count nothing.
    assert new == pytest.approx(min(covers.mean(), 0.95), abs=0.03)


def test_a_tile_stays_where_it_is_when_nothing_changes() -> None:
    cameras = [camera()]
    targets = [candidate(0.5, f"t{n}", 57.0 + n) for n in range(3)]
    first = planned(targets, cameras)
    again = planned(targets, cameras, previous=first)
    assert again.tiles == first.tiles
    assert again.rows == first.rows


def test_fields_that_are_covered_are_left_alone() -> None:
    cameras = [camera()]
    everything = Covered(60.0, -30.0, 900.0, 1.0)
    assert planned([], cameras, covered=(everything,)).tiles == ()
    half = planned([], cameras, covered=(Covered(60.0, -30.0, 900.0, 0.5),))
    free = planned([], cameras)
    first, then = _fullest(free), _fullest(half)
    assert then.probability == first.probability
    assert then.score == pytest.approx(first.score / 2)


def _fullest(got: Assigned) -> PlanTile:
    return max(got.tiles, key=lambda tile: tile.score)


def test_others_cover_by_the_chance_that_they_saw_it() -> None:
    """Depth 20.5 in r: the counterpart is brighter with about 95 %, less the depth's scatter."""
    when = mjd_tai(NOW) - 0.3
    others = ElsewhereSettings()

    def pointing(**changes: object) -> Elsewhere:
        values = {
            "source": "treasuremap", "key": "1", "who": "GOTO", "status": "completed",
            "obs_mjd_tai": when, "ra_deg": 60.0, "dec_deg": -30.0, "band": "sdss:r",
            "depth_mag": 20.5, "radius_deg": 2.0,
        }  # fmt: skip
        return Elsewhere(**(values | changes))  # type: ignore[arg-type]

    def chance(**changes: object) -> float:
        (found,) = covered_by_others([pointing(**changes)], PREDICTED, when - 1.0, SETTINGS)
        return found.detection

    faint = 0.5 / norm.ppf(0.95)
    seen = norm.cdf(0.5 / np.hypot(faint, SETTINGS.depth_scatter_mag))
    assert chance() == pytest.approx(others.completed * seen)
    assert chance(status="planned") == pytest.approx(others.planned * seen)
    assert chance(depth_mag=None) == pytest.approx(others.completed * others.unknown_depth)
    assert chance(band="gaia:g") == pytest.approx(others.completed * others.unknown_depth)
    assert chance(radius_deg=None) == pytest.approx(others.completed * others.unknown_field * seen)
    nothing = [
        pointing(status="cancelled"),
        pointing(obs_mjd_tai=when - 2.0),
        pointing(radius_deg=0.0),
    ]
    assert covered_by_others(nothing, PREDICTED, when - 1.0, SETTINGS) == ()


def test_corners_of_a_field_are_those_of_its_tangent_plane() -> None:
    for ra, dec in ((0.5, 10.0), (120.0, -88.0), (200.0, 60.0)):
        corners = field_corners(ra, dec, 9.0)
        slightly = (np.array([ra, dec]) - corners) * 1e-3
        for corner, inwards in zip(corners, slightly, strict=True):
            inwards[0] = (inwards[0] / 1e-3 + 180.0) % 360.0 - 180.0
            just_in = corner + np.array([inwards[0] * 1e-3, inwards[1]])
            assert in_field(just_in[:1], just_in[1:], ra, dec, 3.0).all() or abs(dec) > 80
        apart = skymaps_separation(corners, ra, dec)
        # From the middle to a corner: tan = sqrt(2) tan(1.5 deg).
        wanted = np.degrees(np.arctan(np.sqrt(2.0) * np.tan(np.radians(1.5))))
        assert apart == pytest.approx(np.full(4, wanted), abs=1e-9)


def skymaps_separation(corners: np.ndarray, ra: float, dec: float) -> np.ndarray:
    """By astropy."""
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    middle = SkyCoord(ra * u.deg, dec * u.deg)
    return np.asarray(SkyCoord(corners * u.deg).separation(middle).deg)


def test_the_name_of_a_field_is_the_same_in_every_plan() -> None:
    found = sought([camera()])
    assert len(set(found.ids)) == len(found.ids)
    assert set(sought([camera()], radius=2.0).ids) <= set(found.ids)
    assert tile_id("decam", 7.5, -0.25) == "tile-decam-007.50-00.25"
