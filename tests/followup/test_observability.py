"""Observability against astropy's AltAz, astroplan, and eclipses that everybody saw."""

from __future__ import annotations

from datetime import UTC, datetime

import astropy.units as u
import numpy as np
import pytest
from astroplan import (
    AirmassConstraint,
    AtNightConstraint,
    FixedTarget,
    MoonSeparationConstraint,
    Observer,
    moon_illumination,
)
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body, get_sun
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from followup.observability import observability, sin_altitude, sky_over, unit_vectors
from followup.sites import Site
from mmcoord.timescales import mjd_utc
from tests.followup.sample import PALOMAR, PARANAL, instrument

ARCSEC = 1 / 3600


def location(site: Site) -> EarthLocation:
    return EarthLocation.from_geodetic(
        site.longitude_deg * u.deg, site.latitude_deg * u.deg, site.altitude_m * u.m
    )


def frame(site: Site, mjd_utc: np.ndarray) -> AltAz:
    time = Time(mjd_utc, format="mjd", scale="utc")
    return AltAz(obstime=time, location=location(site))


def sphere(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def altitude_deg(ra: np.ndarray, dec: np.ndarray, site: Site, times: np.ndarray) -> np.ndarray:
    sine = sin_altitude(unit_vectors(ra, dec), sky_over([site], times), 0)
    return np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0)))


# From 2018 to the end of the Earth-orientation predictions of any table we may have.
dates = st.floats(58119.0, 61200.0)
sites = st.builds(
    Site,
    id=st.just("x"),
    name=st.just("x"),
    latitude_deg=st.floats(-90.0, 90.0),
    longitude_deg=st.floats(-180.0, 359.9),
    altitude_m=st.floats(0.0, 5000.0),
    source=st.just("test"),
)


@settings(max_examples=40, deadline=None)
@given(site=sites, date=dates, seed=st.integers(0, 2**32 - 1))
def test_altitude_is_within_an_arcsecond_of_astropy(site: Site, date: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ra, dec = sphere(rng, 50)
    times = date + np.sort(rng.uniform(0, 1, 6))
    oracle = SkyCoord(ra * u.deg, dec * u.deg)[:, None].transform_to(frame(site, times)[None])
    difference = altitude_deg(ra, dec, site, times) - oracle.alt.deg
    assert np.abs(difference).max() < 1 * ARCSEC
    assert np.median(np.abs(difference)) < 0.02 * ARCSEC


@settings(max_examples=10, deadline=None)
@given(site=sites, date=dates)
def test_near_the_zenith_too(site: Site, date: float) -> None:
    """Within 0.1 deg of it, where the altitude turns and its arcsine is steepest."""
    zenith = sky_over([site], [date]).zenith[0, 0]
    aside = np.random.default_rng(1).normal(size=(20, 3)) * np.radians(0.05)
    places = zenith + aside
    places /= np.linalg.norm(places, axis=1)[:, None]
    ra = np.degrees(np.arctan2(places[:, 1], places[:, 0])) % 360.0
    dec = np.degrees(np.arcsin(places[:, 2]))
    times = np.array([date])
    oracle = SkyCoord(ra * u.deg, dec * u.deg)[:, None].transform_to(frame(site, times)[None])
    assert np.abs(altitude_deg(ra, dec, site, times) - oracle.alt.deg).max() < 1 * ARCSEC


@settings(max_examples=25, deadline=None)
@given(site=sites, date=dates)
def test_sun_and_moon_agree_with_astropy(site: Site, date: float) -> None:
    times = date + np.linspace(0, 1, 7)
    sky = sky_over([site], times)
    sun = get_sun(Time(times, format="mjd")).transform_to(frame(site, times))
    moon = get_body("moon", Time(times, format="mjd"), location(site)).transform_to(
        frame(site, times)
    )
    assert np.abs(sky.sun_altitude_deg[0] - sun.alt.deg).max() < 1 * ARCSEC
    # Light takes 1.3 s from the Moon, which moves 0.5 arcsec a second.
    assert np.abs(sky.moon_altitude_deg[0] - moon.alt.deg).max() < 3 * ARCSEC


def test_illumination_agrees_with_astroplan_over_a_month() -> None:
    times = 61000.0 + np.arange(30.0)
    ours = sky_over([PARANAL], times).moon_illumination
    oracle = moon_illumination(Time(times, format="mjd"))
    assert np.abs(ours - oracle).max() < 0.005
    assert ours.min() < 0.02
    assert ours.max() > 0.98


def test_the_eclipse_of_2017_covers_the_sun_at_carbondale() -> None:
    """Totality began near 18:20 UTC on 2017-08-21 at 37.7 N, 89.2 W."""
    carbondale = Site("c", "Carbondale", 37.727, -89.217, 126.0, "NASA eclipse map")
    at = Time("2017-08-21T18:21:20").mjd
    sky = sky_over([carbondale], [at])
    sun = get_sun(Time(at, format="mjd"))
    toward_sun = unit_vectors([sun.ra.deg], [sun.dec.deg])[0]  # geocentric, of date's GCRS
    apart = np.degrees(np.arccos(np.clip(sky.moon[0, 0] @ toward_sun, -1, 1)))
    assert apart < 0.05
    assert sky.moon_illumination[0] < 0.001
    assert abs(sky.sun_altitude_deg[0, 0] - sky.moon_altitude_deg[0, 0]) < 0.05


def test_the_moon_is_full_at_the_lunar_eclipse_of_2018() -> None:
    """Greatest eclipse 2018-07-27 20:22 UTC."""
    sky = sky_over([PARANAL], [Time("2018-07-27T20:22").mjd])
    assert sky.moon_illumination[0] > 0.999


@pytest.mark.filterwarnings(
    # astroplan measures the Moon's distance across frames of different origin.
    "ignore::astropy.coordinates.errors.NonRotationTransformationWarning"
)
@pytest.mark.parametrize("site", [PARANAL, PALOMAR], ids=lambda site: site.id)
@pytest.mark.parametrize("date", [58232.0, 61010.0], ids=["2018", "2025"])
def test_masks_agree_with_astroplan(site: Site, date: float) -> None:
    camera = instrument(site=site, max_airmass=1.8, moon_separation_deg=45.0)
    ra, dec = sphere(np.random.default_rng(3), 60)
    times = date + np.arange(48) / 48
    seen = observability(ra, dec, [camera], times)
    observer = Observer(location=location(site))
    grid = Time(times, format="mjd")
    stars = [FixedTarget(SkyCoord(r * u.deg, d * u.deg)) for r, d in zip(ra, dec, strict=True)]
    airy = AirmassConstraint(max=1.8, boolean_constraint=True)
    dark = AtNightConstraint(max_solar_altitude=-18 * u.deg)
    apart = MoonSeparationConstraint(min=45 * u.deg)
    moon_up = observer.moon_altaz(grid).alt.deg > 0
    oracle = (
        airy(observer, stars, grid, grid_times_targets=True)
        & dark(observer, stars, grid, grid_times_targets=True)
        & (apart(observer, stars, grid, grid_times_targets=True) | ~moon_up)
    )
    # The limits themselves are hit by chance to within the two codes' arcseconds only rarely.
    assert (seen.allowed[0] != oracle).sum() <= 2
    assert oracle.any()
    assert not oracle.all()


def test_airmass_is_astropys_secz_where_allowed_and_infinite_elsewhere() -> None:
    ra, dec = sphere(np.random.default_rng(4), 40)
    times = 61010.0 + np.arange(24) / 24
    seen = observability(ra, dec, [instrument()], times)
    oracle = SkyCoord(ra * u.deg, dec * u.deg)[:, None].transform_to(frame(PARANAL, times)[None])
    allowed = seen.allowed[0]
    assert np.allclose(seen.airmass[0][allowed], oracle.secz.value[allowed], rtol=1e-5)
    assert np.isinf(seen.airmass[0][~allowed]).all()
    index, airmass = seen.best()
    up = allowed.any(axis=1)
    assert (index[0][up] == seen.airmass[0][up].argmin(axis=1)).all()
    assert (index[0][~up] == -1).all()
    assert np.isinf(airmass[0][~up]).all()


def test_the_zenith_limit_takes_a_target_overhead_away() -> None:
    times = 61010.0 + np.arange(0, 1, 1 / 288)
    free = observability([60.0], [PARANAL.latitude_deg], [instrument()], times)
    blind = observability(
        [60.0], [PARANAL.latitude_deg], [instrument(max_altitude_deg=87.0)], times
    )
    lost = free.allowed & ~blind.allowed
    assert lost.any()
    assert (free.airmass[lost] < 1 / np.sin(np.radians(87.0)) + 1e-6).all()
    assert (blind.allowed <= free.allowed).all()


def test_a_target_is_not_changed_by_its_neighbours() -> None:
    ra, dec = sphere(np.random.default_rng(5), 101)
    cameras = [instrument(), instrument(id="north", site=PALOMAR)]
    times = 61010.0 + np.arange(96) / 96
    together = observability(ra, dec, cameras, times)
    for row in (0, 50, 100):
        alone = observability(ra[row : row + 1], dec[row : row + 1], cameras, times)
        assert np.array_equal(alone.airmass[:, 0], together.airmass[:, row])


def test_nights_far_ahead_need_no_network_and_give_no_warning() -> None:
    """Past the Earth-orientation tables and past erfa's idea of known leap seconds."""
    sky = sky_over([PARANAL], [mjd_utc(datetime(2035, 6, 1, 4, tzinfo=UTC)), 58128.0])
    assert np.isfinite(sky.zenith).all()
    assert sky.sun_altitude_deg[0, 0] < -18


def test_a_polar_summer_has_no_darkness() -> None:
    pole = Site("pole", "pole", 85.0, 0.0, 0.0, "test")
    june = Time("2026-06-21").mjd + np.arange(48) / 48
    seen = observability([0.0], [80.0], [instrument(site=pole)], june)
    assert not seen.dark.any()
    assert not seen.allowed.any()
    assert not seen.up_in_dark.any()


def test_no_targets_or_no_instruments_give_empty_arrays() -> None:
    assert observability([], [], [instrument()], [61010.0]).allowed.shape == (1, 0, 1)
    assert observability([1.0], [2.0], [], [61010.0]).allowed.shape == (0, 1, 1)
