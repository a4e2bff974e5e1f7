"""Projections, regions, light curves and formats against independent oracles."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import Angle
from astropy.wcs import WCS
from hypothesis import example, given
from hypothesis import strategies as st

from mmcoord.store.views import Target
from mmcoord.store.views_candidates import Spot
from mmcoord.store.views_log import Point
from mmcoord.web import lightcurve, raw, sky, text
from mmcoord.web.changes import compare
from mmcoord.web.projection import lambert, mollweide, pieces
from tests.web import sample

RA = st.floats(0.0, 359.999)
DEC = st.floats(-89.0, 89.0)


def wcs(code: str, ra0: float, dec0: float) -> WCS:
    """The same projection by astropy (FITS paper II); x grows with RA there."""
    found = WCS(naxis=2)
    found.wcs.ctype = [f"RA---{code}", f"DEC--{code}"]
    found.wcs.crval = [ra0, dec0]
    found.wcs.crpix = [0.0, 0.0]
    found.wcs.cdelt = [1.0, 1.0]
    found.wcs.set()
    return found


# -- projections -------------------------------------------------------------------------


@given(RA, DEC, RA, st.floats(-80.0, 80.0))
def test_lambert_is_the_zenithal_equal_area_projection_seen_from_inside(
    ra: float, dec: float, ra0: float, dec0: float
) -> None:
    x, y = lambert(np.array([ra]), np.array([dec]), ra0, dec0)
    expected = wcs("ZEA", ra0, dec0).wcs_world2pix([[ra, dec]], 0)[0]
    if math.hypot(*(expected + 1.0)) > 110.0:
        return  # near the antipode, where nothing is drawn
    assert (-x[0], y[0]) == pytest.approx(tuple(expected + 1.0), abs=1e-6)


@given(st.floats(-180.0, 180.0), st.floats(-90.0, 90.0))
def test_mollweide_agrees_with_the_fits_convention(offset: float, dec: float) -> None:
    x, y = mollweide(np.array([offset]), np.array([dec]))
    px, py = wcs("MOL", 0.0, 0.0).wcs_world2pix([[offset, dec]], 0)[0] + 1.0
    unit = math.sqrt(2.0) * 180.0 / math.pi  # FITS: x to 2 sqrt(2) rad, ours to 2
    expected_x = -px / unit
    if abs(abs(offset) - 180.0) < 1e-9:
        expected_x = math.copysign(expected_x, -offset)  # the edge is both edges there
    assert x[0] == pytest.approx(expected_x, abs=1e-6)
    assert y[0] == pytest.approx(py / unit, abs=1e-6)


def shoelace(piece: Any) -> float:
    """Area enclosed in the Mollweide plane; the projection keeps areas (whole sky: 2 pi)."""
    x, y = mollweide(piece[:, 0], piece[:, 1])
    return float(abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2))


@pytest.mark.parametrize("ra", [0.0, 90.0, 179.0, 180.0, 181.0, 355.0])
@pytest.mark.parametrize(("dec", "radius"), [(10.0, 20.0), (-60.0, 25.0), (75.0, 30.0)])
def test_a_region_keeps_its_area_where_the_map_is_cut_and_round_a_pole(
    ra: float, dec: float, radius: float
) -> None:
    angles = np.radians(np.linspace(0, 360, 720, endpoint=False))
    lat0, r = math.radians(dec), math.radians(radius)
    lat = np.arcsin(math.sin(lat0) * math.cos(r) + math.cos(lat0) * math.sin(r) * np.cos(angles))
    lon = np.arctan2(
        np.sin(angles) * math.sin(r) * math.cos(lat0), math.cos(r) - math.sin(lat0) * np.sin(lat)
    )
    ring = np.degrees(np.stack([np.radians(ra) + lon, lat], axis=1))
    ring[:, 0] %= 360.0
    found = pieces(ring, 0.0)
    cap = 2 * math.pi * (1 - math.cos(r))
    assert sum(map(shoelace, found)) == pytest.approx(cap / (4 * math.pi) * 2 * math.pi, rel=3e-3)
    for piece in found:
        assert np.abs(piece[:, 0]).max() <= 180.0 + 1e-9


# -- the sky map -------------------------------------------------------------------------


def candidate(
    object_id: str,
    ra: float,
    dec: float,
    *,
    p_kilonova: float | None = None,
    rank: int | None = None,
) -> Spot:
    return Spot(object_id, ra, dec, p_kilonova, rank)


def outlines(ra: float, dec: float, major: float, minor: float) -> dict[str, Any]:
    return {
        "0.5": [sample.ellipse(ra, dec, major / 2, minor / 2)],
        "0.9": [sample.ellipse(ra, dec, major, minor)],
    }


def numbers(path: str) -> Any:
    return np.array(re.findall(r"-?\d+\.\d+", path), dtype=float).reshape(-1, 2)


@given(RA, st.floats(-75.0, 75.0), st.floats(0.05, 30.0))
def test_a_region_lies_inside_the_drawing_east_to_the_left(
    ra: float, dec: float, size: float
) -> None:
    north, east = (ra, min(dec + size / 20, 90.0)), ((ra + size / 20) % 360, dec)
    spots = (("middle", ra, dec), ("north", *north), ("east", *east))
    dots = [candidate(*spot, rank=rank) for rank, spot in enumerate(spots, 1)]
    picture = sky.draw(outlines(ra, dec, size, size / 2), dots)
    assert picture is not None
    for region in picture.regions:
        points = numbers(region.path)
        assert points.min() >= -0.1
        assert (points <= [picture.width + 0.1, picture.height + 0.1]).all()
    if not picture.is_all_sky:
        place = {dot.object_id: dot for dot in picture.dots}
        assert place["east"].x < place["middle"].x
        assert place["north"].y < place["middle"].y


def test_a_wide_region_is_drawn_on_the_whole_sky() -> None:
    ring = [[float(ra), 30.0 * math.sin(math.radians(ra))] for ra in range(0, 200, 5)]
    ring += [[ra, dec + 20.0] for ra, dec in reversed(ring)]
    picture = sky.draw({"0.9": [ring]}, [candidate("a", 10.0, 5.0), candidate("b", 350.0, 80.0)])
    assert picture is not None
    assert picture.is_all_sky
    assert picture.outside == 0
    assert [cloud.number for cloud in picture.clouds] == [2]


def test_candidates_outside_the_window_are_counted() -> None:
    dots = [
        candidate("in", 197.4, -23.4, rank=41),
        candidate("out", 20.0, 40.0, rank=40),
        candidate("unranked and in", 197.5, -23.3),
        candidate("unranked and out", 21.0, 40.0),
    ]
    picture = sky.draw(outlines(197.4, -23.4, 5.0, 2.0), dots)
    assert picture is not None
    assert [dot.object_id for dot in picture.dots] == ["in"]
    assert [cloud.number for cloud in picture.clouds] == [1]
    assert picture.outside == 2


def test_a_candidate_lies_at_one_place_whether_the_plan_holds_it_or_not() -> None:
    place = (197.1, -22.7)
    both = [candidate("ranked", *place, rank=1), candidate("not", *place, p_kilonova=0.95)]
    picture = sky.draw(outlines(197.4, -23.4, 5.0, 2.0), both)
    assert picture is not None
    (cloud,), (dot,) = picture.clouds, picture.dots
    assert points_of(cloud.path) == [(round(dot.x), round(dot.y))]
    assert cloud.shade == 4


def points_of(path: str) -> list[tuple[int, int]]:
    """Where a path's points without length lie: ``m`` goes on from the point before."""
    x = y = 0
    found = []
    for dx, dy in re.findall(r"m(-?\d+) (-?\d+)h0", path):
        x, y = x + int(dx), y + int(dy)
        found.append((x, y))
    assert re.fullmatch(r"(m-?\d+ -?\d+h0)*", path)
    return found


@given(
    st.lists(
        st.tuples(st.floats(192.0, 203.0), st.floats(-27.0, -20.0), st.floats(0.0, 1.0)),
        min_size=1,
        max_size=30,
    )
)
def test_every_candidate_of_a_cloud_lies_where_it_would_if_it_were_in_the_plan(
    some: list[tuple[float, float, float]],
) -> None:
    here = outlines(197.4, -23.4, 5.0, 2.0)
    loose = [candidate(f"c{k}", ra, dec, p_kilonova=p) for k, (ra, dec, p) in enumerate(some)]
    drawn = sky.draw(here, loose)
    # Ranks from 4 on do not widen the window.
    planned = sky.draw(here, [spot._replace(rank=4 + k) for k, spot in enumerate(loose)])
    assert drawn is not None
    assert planned is not None
    assert sum(cloud.number for cloud in drawn.clouds) + drawn.outside == len(some)
    assert drawn.outside == planned.outside
    for cloud in drawn.clouds:
        points = points_of(cloud.path)
        assert len(set(points)) == len(points)
        dots = [(dot.x, dot.y) for dot in planned.dots if dot.shade == cloud.shade]
        assert len(dots) == cloud.number
        for one, others in ((points, dots), (dots, points)):
            for x, y in one:
                assert min(max(abs(x - u), abs(y - v)) for u, v in others) <= 0.56


@pytest.mark.parametrize(
    "broken",
    [{}, {"0.9": []}, {"0.9": [[]]}, {"0.9": [["a", "b"]]}, {"0.9": [[[1, 2], [3]]]},
     {"0.9": [[[1.0, float("nan")], [2.0, 2.0], [3.0, 3.0]]]}, {"0.9": None}],
)  # fmt: skip
def test_broken_outlines_are_left_out(broken: dict[str, Any]) -> None:
    assert sky.draw(broken, []) is None
    picture = sky.draw(broken, [candidate("a", 10.0, 5.0)])
    assert picture is not None
    assert picture.regions == ()


@pytest.mark.parametrize(
    ("p", "shade"), [(None, 0), (0.0, 1), (0.1, 2), (0.49, 2), (0.5, 3), (0.9, 4), (1.0, 4)]
)
def test_shades_follow_the_legend(p: float | None, shade: int) -> None:
    here = (10.0, 5.0)
    some = [candidate("a", *here, p_kilonova=p), candidate("b", *here, p_kilonova=p, rank=1)]
    picture = sky.draw(outlines(*here, 5.0, 2.0), some)
    assert picture is not None
    assert [one.shade for one in (*picture.clouds, *picture.dots)] == [shade, shade]


# -- the light curve ---------------------------------------------------------------------


def point(day: float, mag: float, band: str = "lsst:r", *, limit: bool = False) -> Point:
    return Point(60000.0 + day, band, mag, None if limit else 0.1, limit)


def test_brighter_is_higher_and_later_is_to_the_right() -> None:
    drawn = lightcurve.draw([point(1.0, 18.0), point(3.0, 20.0)], None, 60000.0)
    assert drawn is not None
    first, second = drawn.bands[0].marks
    assert first.x < second.x
    assert first.y < second.y
    assert first.y_bright < first.y < first.y_faint
    assert drawn.event_x is not None
    assert drawn.event_x < first.x


def test_axes_read_what_the_points_are() -> None:
    """A point is where its value lies between the ticks."""
    drawn = lightcurve.draw([point(2.5, 19.25), point(6.0, 22.0)], None, 60000.0)
    assert drawn is not None
    for ticks, value, at in (
        (drawn.x_ticks, 2.5, drawn.bands[0].marks[0].x),
        (drawn.y_ticks, 19.25, drawn.bands[0].marks[0].y),
    ):
        places = [(float(tick.text), tick.at) for tick in ticks]
        expected = np.interp(value, *zip(*places, strict=True))
        assert at == pytest.approx(expected, abs=0.1)


def test_points_long_before_or_after_are_counted_not_drawn() -> None:
    drawn = lightcurve.draw([point(-300.0, 21.0), point(1.0, 18.0)], None, 60000.0)
    assert drawn is not None
    assert drawn.outside == 1
    assert drawn.n_points == 2
    assert len(drawn.bands[0].marks) == 1


def test_the_posterior_breaks_where_the_model_is_too_faint_to_state() -> None:
    days = [60000.5, 60001.5, 60002.5, 60003.5, 60004.5]
    curve = {
        "mjd_tai": days,
        "q05": [18.0, 18.5, None, 20.0, 20.5],
        "q50": [18.3, 18.8, None, 20.3, None],
        "q95": [18.6, None, None, 21.0, None],
    }
    drawn = lightcurve.draw([point(1.0, 18.0)], {"lsst:r": curve}, 60000.0)
    assert drawn is not None
    band = drawn.bands[0]
    assert band.area.count("Z") == 2
    assert band.median.count("M") == 1
    assert "nan" not in band.area + band.median


def test_bands_are_ordered_by_wavelength_and_a_few_are_shown() -> None:
    names = ["2mass:ks", "ztf:g", "ps1:y", "sdss:u", "lsst:r", "lsst:z", "2mass:j", "swift:uvw1"]
    drawn = lightcurve.draw([point(1.0, 18.0, name) for name in names], None, 60000.0)
    assert drawn is not None
    assert [band.name for band in drawn.bands] == [
        "sdss:u", "ztf:g", "lsst:r", "lsst:z", "ps1:y", "2mass:j", "2mass:ks", "swift:uvw1",
    ]  # fmt: skip
    assert sum(band.shown for band in drawn.bands) == 5
    everything = lightcurve.draw(
        [point(1.0, 18.0, name) for name in names], None, None, all_bands=True
    )
    assert everything is not None
    assert all(band.shown for band in everything.bands)


@given(
    st.lists(
        st.builds(
            point,
            st.floats(-1e4, 1e4),
            st.floats(-30.0, 60.0),
            st.sampled_from(["lsst:g", "x", "2mass:ks"]),
            limit=st.booleans(),
        ),
        max_size=20,
    )
)
def test_any_photometry_can_be_drawn(points: list[Point]) -> None:
    drawn = lightcurve.draw(points, None, 60000.0)
    assert (drawn is None) == (not points)
    if drawn is not None:
        assert sum(len(band.marks) for band in drawn.bands) == len(points) - drawn.outside
        assert 2 <= len(drawn.y_ticks) <= 9


# -- what changed ------------------------------------------------------------------------


def target(rank: int, name: str, score: float, **factors: float | None) -> Target:
    return Target(rank, name, score, {"factors": factors})


def test_moves_name_the_factor_that_changed_most() -> None:
    old = [target(1, "a", 0.5, kilonova=0.5, time=1.0), target(2, "b", 0.4), target(3, "c", 0.1)]
    new = [target(1, "b", 0.4), target(2, "d", 0.3), target(3, "a", 0.1, kilonova=0.1, time=0.9)]
    moves = {m.object_id: m for m in compare(old, new)}
    assert [(m.object_id, m.before, m.after) for m in compare(old, new)] == [
        ("b", 2, 1), ("d", None, 2), ("a", 1, 3), ("c", 3, None),
    ]  # fmt: skip
    assert (moves["a"].factor, moves["a"].factor_before, moves["a"].factor_after) == (
        "kilonova", 0.5, 0.1,
    )  # fmt: skip


def test_the_same_plan_has_no_moves() -> None:
    rows = [target(1, "a", 0.5, time=None), target(2, "b", 0.4)]
    assert compare(rows, rows) == []
    assert compare(rows, [target(1, "a", 0.5000001), target(2, "b", 0.4)]) == []


# -- formats -----------------------------------------------------------------------------


@given(RA)
def test_right_ascension_agrees_with_astropy(ra: float) -> None:
    shown = text.ra_sexagesimal(ra)
    assert re.fullmatch(r"[0-2]\d:[0-5]\d:[0-5]\d\.\d\d", shown)
    difference = Angle(shown, unit=u.hourangle).deg - ra
    assert abs((difference + 180.0) % 360.0 - 180.0) * 3600 / 15 <= 0.00501


@given(st.floats(-90.0, 90.0))
def test_declination_agrees_with_astropy(dec: float) -> None:
    shown = text.dec_sexagesimal(dec)
    assert re.fullmatch(r"[+-]\d\d:[0-5]\d:[0-5]\d\.\d", shown)
    assert Angle(shown, unit=u.deg).deg * 3600 == pytest.approx(dec * 3600, abs=0.0501)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(359.9999999, "00:00:00.00"), (0.0, "00:00:00.00"), (197.450354, "13:09:48.08")],
)
def test_rounding_never_shows_sixty(value: float, shown: str) -> None:
    assert text.ra_sexagesimal(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.2, "200 ms"), (1.13, "1.1 s"), (17.2, "17 s"), (99.6, "1.7 min"), (6000, "1.7 h"),
     (172800, "2.00 d"), (254361600, "8.1 yr"), (-5, "-5.0 s"), (None, "–"), (math.nan, "–")],
)  # fmt: skip
def test_durations(value: float | None, shown: str) -> None:
    assert text.duration(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.5e-9, "1 per 21 yr"), (1e-7, "1 per 116 d"), (1e-3, "86 per d"), (0.0, "0 Hz as stated"),
     (9.11e-14, "1 per 350,000 yr"), (None, "–"), (math.inf, "–")],
)  # fmt: skip
def test_false_alarm_rates(value: float | None, shown: str) -> None:
    assert text.far(value) == shown


@given(st.floats(-1e300, 1e300))
def test_amounts_keep_three_digits(value: float) -> None:
    shown = text.amount(value)
    assert float(shown) == pytest.approx(value, rel=6e-3, abs=1e-300)


@given(st.floats(0.0, 1.0))
def test_no_probability_reads_as_certain_and_a_factor_only_where_it_is(p: float) -> None:
    assert text.probability(p) not in ("0", "1", "0.000", "1.000")
    assert (text.factor(p) in ("0", "1")) == (p in (0.0, 1.0))


def test_ages_count_both_ways() -> None:
    now = datetime(2027, 3, 4, tzinfo=UTC)
    assert text.ago(now - timedelta(seconds=200), now) == "3.3 min ago"
    assert text.ago(now + timedelta(days=3), now) == "in 3.00 d"


# -- notices -----------------------------------------------------------------------------


@given(st.binary(max_size=3000))
@example(b"Obj\x01")
@example(b"<a/>")
def test_any_bytes_can_be_shown(payload: bytes) -> None:
    shown = raw.pretty(payload)
    if payload.startswith(b"Obj\x01"):
        assert shown.kind == f"Avro container file, {len(payload):,} bytes"
    else:
        assert shown.kind in ("JSON", "XML", "text", "binary")


def test_a_deep_document_is_shown_as_text() -> None:
    shown = raw.pretty(b"[" * 200_000)
    assert shown.kind == "text"
    assert "60,000 of 200,000" in shown.note


def test_long_strings_are_cut_wherever_they_are() -> None:
    document, number = raw.shorten({"a": ["x" * 1000, {"b": "y" * 201, "c": "z" * 200}]})
    assert number == 2
    assert document["a"][0] == "x" * 60 + "… (1,000 characters)"
    assert document["a"][1]["c"] == "z" * 200
