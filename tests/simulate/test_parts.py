"""The map against closed forms and ligo.skymap; the survey's noise against its definition."""

from __future__ import annotations

import io
import math
from datetime import UTC, datetime

import astropy.units as u
import healpy
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from scipy import integrate, stats

import skymaps
from mmcoord.simulate.event import REVISIONS, Revision, arc_map, choose_arc
from mmcoord.simulate.objects import Kind, population, redshift_of
from mmcoord.simulate.survey import BANDS, GROUPS, Visits, measure, schedule

EVENT = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)


def one_map(revision: Revision = REVISIONS[-1], seed: int = 5) -> skymaps.SkyMap:
    arc = choose_arc(np.random.default_rng(seed), EVENT)
    return arc_map(arc, revision, event_id="MS261122aaa", event_time=EVENT)


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda r: str(r.alert_type))
def test_the_area_is_that_of_a_gaussian(revision: Revision) -> None:
    """90 % of a 2D Gaussian lies within 2 pi ln(10) s1 s2; the arc's bend keeps the area."""
    expected = 2 * math.pi * math.log(10) * revision.across_deg * revision.along_deg
    assert skymaps.credible_area_deg2(one_map(revision), 0.9) == pytest.approx(expected, rel=0.05)


def test_tiles_cover_the_whole_sky_once_and_sum_to_one() -> None:
    skymap = one_map()
    assert (skymap.end - skymap.start).sum() == 12 * 4**29
    assert skymap.probability.sum() == pytest.approx(1.0, abs=1e-9)


def test_the_distance_norm_normalises() -> None:
    skymap = one_map()
    assert skymap.distances is not None
    peak = int(np.argmax(skymap.density_sr))
    mu, sigma, norm = (float(column[peak]) for column in skymap.distances)
    total, _ = integrate.quad(
        lambda r: norm * r**2 * stats.norm.pdf(r, mu, sigma), 0.0, mu + 12 * sigma
    )
    assert total == pytest.approx(1.0, abs=1e-6)


@pytest.mark.filterwarnings(
    # ligo.skymap documents its ufuncs through a function that numpy 2 deprecates.
    "ignore:_add_newdoc_ufunc is deprecated:DeprecationWarning"
)
def test_ligo_skymap_finds_the_drawn_places_uniform_in_the_map() -> None:
    """Another program's searched probabilities, in area and in volume."""
    from ligo.skymap.io import read_sky_map
    from ligo.skymap.postprocess.crossmatch import crossmatch

    skymap = one_map()
    rng = np.random.default_rng(11)
    ra, dec, distance = skymaps.draw_positions(skymap, rng, 400)
    moc = read_sky_map(io.BytesIO(skymaps.to_fits_bytes(skymap)), moc=True)
    found = crossmatch(moc, SkyCoord(ra * u.deg, dec * u.deg, distance * u.Mpc))
    assert stats.kstest(found.searched_prob, "uniform").pvalue > 1e-3
    assert stats.kstest(found.searched_prob_vol, "uniform").pvalue > 1e-3


def test_the_arc_is_up_at_night_and_off_the_galactic_plane() -> None:
    from astropy.coordinates import get_sun
    from astropy.time import Time

    sun = get_sun(Time(EVENT.replace(tzinfo=None)))
    for seed in range(30):
        arc = choose_arc(np.random.default_rng(seed), EVENT)
        ra, dec = healpy.vec2ang(arc.centre, lonlat=True)
        centre = SkyCoord(ra * u.deg, dec * u.deg)[0]
        assert centre.separation(SkyCoord(sun.ra, sun.dec)).deg > 60
        assert abs(centre.galactic.b.deg) > 24.9
        assert np.linalg.norm(arc.axis) == pytest.approx(1.0)
        assert 60 <= arc.distance_mpc <= 140


def flat_visits(depth: float, count: int) -> Visits:
    return Visits(np.arange(float(count)), np.zeros(count, np.int64), np.full(count, depth))


def test_half_of_the_sources_at_the_depth_are_detected() -> None:
    seen = measure(np.random.default_rng(1), np.full((200, 50), 24.0), flat_visits(24.0, 50))
    share = seen.detected.mean()
    assert share == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(10_000))


def test_fluxes_scatter_as_their_errors_say() -> None:
    true = 21.0
    seen = measure(np.random.default_rng(2), np.full((100, 100), true), flat_visits(24.0, 100))
    assert seen.detected.all()
    flux = 10.0 ** (-0.4 * (seen.mag - true))
    sigma = seen.mag_err * flux * math.log(10.0) / 2.5
    pulls = (flux - 1.0) / sigma
    assert pulls.mean() == pytest.approx(0.0, abs=0.05)
    assert pulls.std() == pytest.approx(1.0, abs=0.05)


def test_bright_sources_keep_the_calibration_error_and_dark_ones_give_limits() -> None:
    seen = measure(np.random.default_rng(3), np.array([[14.0], [60.0]]), flat_visits(24.0, 1))
    assert seen.mag_err[0, 0] == pytest.approx(0.01 * 2.5 / math.log(10.0), rel=0.05)
    assert not seen.detected[1, 0]
    assert seen.mag[1, 0] == 24.0


def test_every_group_is_visited_before_and_after_in_time_order() -> None:
    groups = schedule(np.random.default_rng(4))
    assert len(groups) == GROUPS
    for visits in groups:
        assert (np.diff(visits.t_day) > 0).all()
        assert visits.t_day[0] < 0 < visits.t_day[-1]
        after = visits.t_day[visits.t_day > 0]
        assert 0.3 <= after[0] < 0.6
        first_night = [BANDS[b] for b in visits.band[visits.t_day > 0][:3]]
        assert len(set(first_night)) == 3


def test_redshift_gives_the_distance_back() -> None:
    from astropy.cosmology import Planck18

    distance = np.array([40.0, 100.0, 250.0])
    back = Planck18.luminosity_distance(redshift_of(distance)).value
    assert back == pytest.approx(distance, rel=1e-4)


@pytest.mark.parametrize(
    "kind", [kind for kind in Kind if kind not in (Kind.KILONOVA, Kind.AFTERGLOW)]
)
def test_a_row_of_a_population_does_not_depend_on_the_rows_asked_for(kind: Kind) -> None:
    light = population(np.random.default_rng(5), kind, 12)
    visits = schedule(np.random.default_rng(6))[0]
    together = light.mag(np.arange(12), visits)
    assert together.shape == (12, len(visits.t_day))
    assert np.isfinite(together).all()
    for row in (0, 7):
        assert np.allclose(light.mag(np.array([row]), visits)[0], together[row], atol=1e-9)
