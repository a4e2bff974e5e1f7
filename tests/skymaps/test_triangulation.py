"""Maps from arrival times: against brute force, symmetries, and what must be refused."""

from __future__ import annotations

import dataclasses

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import chi2, multivariate_normal

from skymaps import combined_map, credible_area_deg2, from_circle, match, overlap_integral
from skymaps.arrival_model import least_chi2
from skymaps.credible import tile_levels
from skymaps.detectors import Timing, builtin_detectors
from skymaps.earth import LIGHT_M_S, gcrs_position_m
from skymaps.galaxy import ISOTROPIC_SHARE, draw_disc, log_sky_density
from skymaps.healpix import pixel_center, to_xyz
from skymaps.skymap import FloatArray, SkyMap, SkyMapError
from skymaps.triangulation import (
    Arrival,
    BadClocks,
    Pointing,
    Triangulation,
    relative_seconds,
    triangulate,
)

TABLE = builtin_detectors()
TRUSTED = BadClocks(at_most=0)
MJD = 61_000.3
FIVE = ("IceCube", "Super-K", "JUNO", "KM3NeT", "NOvA")
RA, DEC = 251.0, -31.0


def _position_s(arrivals: list[Arrival], mjd: float = MJD) -> FloatArray:
    return (
        gcrs_position_m(
            [a.lon_deg for a in arrivals],
            [a.lat_deg for a in arrivals],
            [a.height_m for a in arrivals],
            mjd,
        )
        / LIGHT_M_S
    )


def burst(
    names: tuple[str, ...] = FIVE,
    ra: float = RA,
    dec: float = DEC,
    *,
    seed: int | None = None,
    sigma_s: float | None = None,
    mjd: float = MJD,
) -> list[Arrival]:
    """Arrivals of a burst, exact or with noise."""
    arrivals = []
    for name in names:
        timing = TABLE[name].timing("light_curve")
        if sigma_s is not None:
            timing = Timing(sigma_s, 0.0, 0.0)
        arrivals.append(Arrival.of(TABLE[name], 0.0, timing))
    delay = -_position_s(arrivals, mjd) @ to_xyz(ra, dec)
    if seed is not None:
        rng = np.random.default_rng(seed)
        delay += rng.standard_normal(len(names)) * [a.sigma_s for a in arrivals]
    return [dataclasses.replace(a, time_s=float(t)) for a, t in zip(arrivals, delay, strict=True)]


def shifted(arrivals: list[Arrival], name: str, by_s: float) -> list[Arrival]:
    return [
        dataclasses.replace(a, time_s=a.time_s + by_s) if a.detector == name else a
        for a in arrivals
    ]


def level(skymap: SkyMap, ra: float = RA, dec: float = DEC) -> float:
    return float(match(skymap, ra, dec).credible_level_2d[0])


def flat(arrivals: list[Arrival], **options: object) -> Triangulation:
    return triangulate(arrivals, MJD, galactic_prior=False, **options)  # type: ignore[arg-type]


def same_map(first: SkyMap, second: SkyMap, rel: float = 1e-6) -> bool:
    """The same density everywhere that matters."""
    ra, dec = hp.pix2ang(16, np.arange(hp.nside2npix(16)), lonlat=True)
    a, b = (match(m, ra, dec).prob_density_sr for m in (first, second))
    return bool(np.allclose(a, b, rtol=rel, atol=1e-6 * a.max()))


# -- the likelihood ------------------------------------------------------------------------


@pytest.mark.parametrize("names", [FIVE, FIVE[:4], FIVE[:3], FIVE[:2]])
def test_density_is_that_of_generalised_least_squares_over_differences(
    names: tuple[str, ...],
) -> None:
    """Oracle: a multivariate normal of the differences to the first, with full covariance."""
    arrivals = burst(names, seed=3)
    answer = flat(arrivals, bad_clocks=TRUSTED)
    sigma = np.array([a.sigma_s for a in arrivals])
    times = np.array([a.time_s for a in arrivals])
    to_first = np.eye(len(names))[1:] - np.eye(len(names))[0]
    covariance = to_first @ np.diag(sigma**2) @ to_first.T
    dense = tile_levels(answer.skymap) < 0.95
    ipix = answer.skymap.start >> (2 * (29 - answer.skymap.order.astype(np.int64)))
    n = to_xyz(*pixel_center(answer.skymap.order[dense].astype(np.int64), ipix[dense]))
    x = (times + n @ _position_s(arrivals).T) @ to_first.T
    expected = multivariate_normal.logpdf(x, cov=covariance)
    found = np.log(answer.skymap.density_sr[dense])
    # Tiles whose quarters differ by less than 5 % hold their mean.
    assert np.ptp(found - expected) < 0.06


def _around_peak(skymap: SkyMap, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Positions within the 95 % region."""
    ra = rng.uniform(0.0, 360.0, 200_000)
    dec = np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, 200_000)))
    inside = match(skymap, ra, dec).credible_level_2d < 0.95
    return ra[inside][:300], dec[inside][:300]


@pytest.mark.parametrize("with_prior", [False, True])
def test_areas_are_those_of_a_fine_flat_grid(with_prior: bool) -> None:
    arrivals = burst(FIVE[:4], seed=4)
    answer = triangulate(arrivals, MJD, galactic_prior=with_prior, bad_clocks=TRUSTED)
    nside = 256
    n = np.array(hp.pix2vec(nside, np.arange(hp.nside2npix(nside)))).T
    x = np.array([a.time_s for a in arrivals]) + n @ _position_s(arrivals).T
    weight = np.array([a.sigma_s for a in arrivals]) ** -2.0
    mean = x @ weight / weight.sum()
    log_p = -0.5 * ((x - mean[:, None]) ** 2 @ weight)
    if with_prior:
        log_p += log_sky_density(n)
    p = np.sort(np.exp(log_p - log_p.max()))[::-1]
    p /= p.sum()
    for wanted in (0.5, 0.68, 0.9):
        area = np.searchsorted(np.cumsum(p), wanted) * hp.nside2pixarea(nside, degrees=True)
        assert credible_area_deg2(answer.skymap, wanted) == pytest.approx(area, rel=0.03)


def test_an_unknown_distance_is_integrated_over() -> None:
    """Oracle: the sum of maps over a grid of distances, weighted by their evidence."""
    timing = [TABLE[name].timing() for name in FIVE[:4]]
    base = burst(FIVE[:4], seed=6)
    arrivals = [
        dataclasses.replace(
            a,
            time_s=a.time_s + 1.3 * t.bias_s,
            sigma_s=t.sigma_s,
            bias_s=t.bias_s,
            bias_per_ln_distance_s=t.bias_per_ln_distance_s,
        )
        for a, t in zip(base, timing, strict=True)
    ]
    answer = flat(arrivals, bad_clocks=TRUSTED, ln_distance_sigma=0.4)
    n = np.array(hp.pix2vec(64, np.arange(hp.nside2npix(64)))).T
    weight = np.array([a.sigma_s for a in arrivals]) ** -2.0
    total = np.zeros(len(n))
    for step in np.linspace(-2.0, 2.0, 81):
        bias = np.array([a.bias_s + step * a.bias_per_ln_distance_s for a in arrivals])
        x = np.array([a.time_s for a in arrivals]) - bias + n @ _position_s(arrivals).T
        mean = x @ weight / weight.sum()
        total += np.exp(-0.5 * ((x - mean[:, None]) ** 2 @ weight) - 0.5 * (step / 0.4) ** 2)
    p = np.sort(total)[::-1] / total.sum()
    area = np.searchsorted(np.cumsum(p), 0.9) * hp.nside2pixarea(64, degrees=True)
    assert credible_area_deg2(answer.skymap, 0.9) == pytest.approx(area, rel=0.03)


@given(st.integers(0, 10_000), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_least_chi_square_on_the_sphere_is_that_of_a_minimiser(seed: int, rank: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(rank, 3)) * rng.uniform(0.1, 5.0)
    y = rng.normal(size=rank) * rng.uniform(0.1, 5.0)
    form, linear, constant = a.T @ a, a.T @ y, float(y @ y)

    def of(x: FloatArray) -> float:
        n = x / np.linalg.norm(x)
        return float(np.sum((y + a @ n) ** 2))

    best = min(minimize(of, start).fun for start in rng.normal(size=(8, 3)))
    found = least_chi2(np.array([constant]), linear[None], form[None])[0]
    assert found == pytest.approx(best, rel=1e-5, abs=1e-7)


def test_p_values_are_uniform_when_all_is_well() -> None:
    p = [triangulate(burst(seed=k), MJD, galactic_prior=False).p_value for k in range(40)]
    assert 0.3 < np.mean(p) < 0.7
    assert np.mean(np.array(p) < 0.2) == pytest.approx(0.2, abs=0.19)


# -- symmetries ----------------------------------------------------------------------------


def test_turning_earth_and_source_turns_the_map() -> None:
    """A sidereal day later in longitude: sites moved east by an angle, the source too."""
    turn = 40.0
    arrivals = burst(seed=2)
    moved = [dataclasses.replace(a, lon_deg=a.lon_deg + turn) for a in arrivals]
    first, second = flat(arrivals), flat(moved)
    rng = np.random.default_rng(1)
    ra, dec = _around_peak(first.skymap, rng)
    # About the axis of date, which precession has moved by 0.15 deg from that of the ICRS.
    a = match(first.skymap, ra, dec).credible_level_2d
    b = match(second.skymap, ra + turn, dec).credible_level_2d
    # Levels are those of tiles, which do not turn; on the average that cancels.
    assert abs(np.mean(a - b)) < 0.01
    assert np.abs(a - b).mean() < 0.05
    area = [credible_area_deg2(x.skymap, 0.9) for x in (first, second)]
    assert area[0] == pytest.approx(area[1], rel=0.02)


@given(st.permutations(range(5)))
@settings(max_examples=10, deadline=None)
def test_the_order_of_detectors_does_not_matter(order: list[int]) -> None:
    arrivals = burst(seed=2)
    again = flat([arrivals[i] for i in order])
    assert again.skymap.content_id == flat(arrivals).skymap.content_id


@given(st.floats(-1e5, 1e5))
@settings(max_examples=10, deadline=None)
def test_a_constant_on_all_times_changes_nothing(constant_s: float) -> None:
    arrivals = burst(seed=2)
    moved = [dataclasses.replace(a, time_s=a.time_s + constant_s) for a in arrivals]
    assert same_map(flat(arrivals).skymap, flat(moved).skymap, rel=1e-4)


@pytest.mark.parametrize(("unit", "scale"), [("s", 1), ("ms", 10**3), ("us", 10**6)])
def test_units_of_time_are_the_same_seconds(unit: str, scale: int) -> None:
    ns = 1_700_000_000_123_456_789 + np.array([0, 1_500_000, -37_000_000])
    exact = relative_seconds(ns, "ns")
    assert exact == pytest.approx([0.0, 0.0015, -0.037], abs=0)
    coarse = relative_seconds((ns - ns[0]) * scale / 1e9, unit)  # type: ignore[arg-type]
    assert coarse == pytest.approx(exact, abs=1e-12)
    assert relative_seconds(ns.astype("datetime64[ns]")) == pytest.approx(exact, abs=0)


def test_nonsense_times_are_refused() -> None:
    for times, unit in (([], "s"), ([1.0], "min"), (["now"], "s"), ([[1.0]], "s")):
        with pytest.raises(SkyMapError, match="times"):
            relative_seconds(times, unit)  # type: ignore[arg-type]


# -- how many detectors --------------------------------------------------------------------


def test_one_detector_gives_the_prior() -> None:
    answer = triangulate(burst(FIVE[:1]), MJD)
    n = np.array(hp.pix2vec(256, np.arange(hp.nside2npix(256)))).T
    p = np.sort(np.exp(log_sky_density(n)))[::-1]
    p /= p.sum()
    for wanted in (0.5, 0.9):
        area = np.searchsorted(np.cumsum(p), wanted) * hp.nside2pixarea(256, degrees=True)
        assert credible_area_deg2(answer.skymap, wanted) == pytest.approx(area, rel=0.04)
    assert "says nothing" in answer.notes[0]
    assert answer.p_value == 1.0


def test_two_detectors_give_a_ring() -> None:
    answer = flat(burst(("Super-K", "IceCube"), sigma_s=1e-3), bad_clocks=TRUSTED)
    assert answer.notes[0].startswith("a ring")
    baseline = np.diff(_position_s(burst(("Super-K", "IceCube"))), axis=0)[0]
    axis = baseline / np.linalg.norm(baseline)
    centre = float(np.degrees(np.arccos(axis @ to_xyz(RA, DEC))))
    levels = tile_levels(answer.skymap)
    dense = answer.skymap.probability[levels < 0.9].sum()
    assert dense == pytest.approx(0.9, abs=0.02)
    rng = np.random.default_rng(0)
    ra, dec = _around_peak(answer.skymap, rng)
    angle = np.degrees(np.arccos(to_xyz(ra, dec) @ axis))
    width = np.degrees(1.414e-3 / (np.linalg.norm(baseline) * np.sin(np.radians(centre))))
    assert np.abs(angle - centre).max() < 3.0 * width


def test_three_detectors_give_mirrored_regions_and_a_fourth_chooses() -> None:
    three = flat(burst(FIVE[:3]), bad_clocks=TRUSTED)
    r = _position_s(burst(FIVE[:3]))
    normal = np.cross(*(r[1:] - r[0]))
    normal /= np.linalg.norm(normal)
    n = to_xyz(RA, DEC)
    mirror = n - 2.0 * (n @ normal) * normal
    at = np.degrees(np.arctan2(mirror[1], mirror[0])), np.degrees(np.arcsin(mirror[2]))
    a, b = match(three.skymap, [RA, at[0]], [DEC, at[1]]).prob_density_sr
    assert a == pytest.approx(b, rel=0.3)
    assert "mirror" in three.notes[0]
    four = flat(burst((*FIVE[:3], "DUNE")), bad_clocks=TRUSTED)
    a, b = match(four.skymap, [RA, at[0]], [DEC, at[1]]).prob_density_sr
    assert a > 20.0 * b
    assert not four.notes


def test_two_detectors_in_one_place_say_nothing() -> None:
    answer = flat(burst(("Super-K", "KamLAND")))
    assert credible_area_deg2(answer.skymap, 1.0) == pytest.approx(41_253.0, rel=1e-3)
    density = answer.skymap.density_sr * 4.0 * np.pi
    assert density == pytest.approx(1.0, abs=0.01)
    assert "too close" in answer.notes[0]


def test_a_coincident_third_detector_is_as_good_as_a_better_clock() -> None:
    pair = burst(("IceCube", "Super-K"))
    twin = dataclasses.replace(pair[1], detector="twin")
    better = dataclasses.replace(pair[1], sigma_s=pair[1].sigma_s / np.sqrt(2.0))
    assert same_map(
        flat([*pair, twin], bad_clocks=TRUSTED).skymap,
        flat([pair[0], better], bad_clocks=TRUSTED).skymap,
        rel=0.02,
    )


def test_hundreds_of_detectors() -> None:
    rng = np.random.default_rng(11)
    many = [
        Arrival(
            f"d{i}", rng.uniform(-180, 180), np.degrees(np.arcsin(rng.uniform(-1, 1))), 0, 0, 0.01
        )
        for i in range(300)
    ]
    delay = -_position_s(many) @ to_xyz(RA, DEC) + 0.01 * rng.standard_normal(300)
    delay[[7, 100, 222]] += [0.3, -0.2, 4.0]
    arrivals = [dataclasses.replace(a, time_s=float(t)) for a, t in zip(many, delay, strict=True)]
    answer = flat(arrivals)
    wrong = {name for name, p in answer.bad_clock_probability.items() if p > 0.5}
    assert wrong == {"d7", "d100", "d222"}
    assert level(answer.skymap) < 0.99
    # The error of a direction from N sites over a sphere, 0.01 s / (R/c sqrt(N / 3)).
    sigma = np.degrees(0.01 / (0.02125 * np.sqrt(297 / 3.0)))
    assert credible_area_deg2(answer.skymap, 0.9) == pytest.approx(
        np.pi * chi2.ppf(0.9, 2) * sigma**2, rel=0.15
    )


# -- wrong clocks --------------------------------------------------------------------------


@pytest.mark.parametrize("culprit", FIVE)
def test_a_clock_that_is_far_off_is_named_and_does_no_harm(culprit: str) -> None:
    arrivals = burst(seed=9)
    answer = flat(shifted(arrivals, culprit, 3.0))
    assert answer.culprit == culprit
    assert not answer.is_consistent
    without = flat([a for a in arrivals if a.detector != culprit])
    assert level(answer.skymap) == pytest.approx(level(without.skymap), abs=0.1)
    assert any(culprit in note for note in answer.notes)


def test_of_five_clocks_that_off_by_50_ms_is_named_or_allowed_for() -> None:
    """Some shifts can be taken up by the other four, where one of them times badly."""
    named = 0
    for culprit in FIVE:
        for by_s in (0.05, -0.05):
            answer = flat(shifted(burst(seed=9), culprit, by_s))
            assert answer.culprit in (culprit, None)
            assert level(answer.skymap) < 0.97
            named += answer.culprit == culprit
    assert named >= 8


def test_two_wrong_clocks_of_seven_are_named() -> None:
    arrivals = burst((*FIVE, "DUNE", "Hyper-K"), seed=9)
    answer = flat(shifted(shifted(arrivals, "JUNO", 0.06), "NOvA", -0.08))
    wrong = {name for name, p in answer.bad_clock_probability.items() if p > 0.5}
    assert wrong == {"JUNO", "NOvA"}
    assert answer.culprit is None
    assert level(answer.skymap) < 0.95


def test_two_detectors_further_apart_in_time_than_light_are_no_confident_ring() -> None:
    answer = flat(shifted(burst(("Super-K", "JUNO")), "JUNO", 0.05))
    assert not answer.is_consistent
    assert answer.p_value < 1e-6
    assert answer.culprit is None
    assert answer.bad_clock_probability["JUNO"] == pytest.approx(0.5, abs=0.01)
    assert answer.skymap.density_sr * 4.0 * np.pi == pytest.approx(1.0, abs=0.01)
    assert any("no direction explains" in note for note in answer.notes)
    assert any("cannot be told" in note for note in answer.notes)


def test_far_off_times_of_three_are_said_to_contradict() -> None:
    answer = flat(shifted(burst(FIVE[:3]), "IceCube", 7.0))
    assert not answer.is_consistent
    assert level(answer.skymap) < 0.95


def test_trusted_clocks_that_contradict_still_say_so() -> None:
    answer = flat(shifted(burst(), "JUNO", 0.05), bad_clocks=TRUSTED)
    assert not answer.is_consistent
    assert set(answer.bad_clock_probability.values()) == {0.0}


def test_a_good_clock_is_not_blamed() -> None:
    for seed in range(20):
        answer = flat(burst(seed=seed))
        assert max(answer.bad_clock_probability.values()) < 0.5


# -- priors and pointings ------------------------------------------------------------------


def test_the_galactic_prior_integrates_to_one_and_excludes_nothing() -> None:
    n = np.array(hp.pix2vec(256, np.arange(hp.nside2npix(256)))).T
    p = np.exp(log_sky_density(n))
    assert p.mean() * 4.0 * np.pi == pytest.approx(1.0, abs=2e-3)
    assert p.min() >= 0.999 * ISOTROPIC_SHARE / (4.0 * np.pi)


def test_the_galactic_prior_is_the_sky_of_stars_drawn_from_the_disc() -> None:
    ra, dec, distance = draw_disc(400_000, np.random.default_rng(2))
    counts = np.bincount(hp.ang2pix(8, ra, dec, lonlat=True), minlength=hp.nside2npix(8))
    fine = np.array(hp.pix2vec(256, np.arange(hp.nside2npix(256)))).T
    p = np.exp(log_sky_density(fine)) - ISOTROPIC_SHARE / (4.0 * np.pi)
    p = hp.ud_grade(p, 8) * hp.nside2pixarea(8) / (1.0 - ISOTROPIC_SHARE) * 400_000
    big = p > 200.0
    assert np.abs(counts - p)[big].max() < 5.0 * np.sqrt(p[big].max())
    assert counts[big].sum() == pytest.approx(p[big].sum(), rel=0.01)
    assert 7.0 < np.median(distance) < 11.0


def test_a_pointing_alone_is_its_circle() -> None:
    pointing = Pointing(RA, DEC, 3.7)
    answer = flat(burst(("Super-K",)), pointings=[pointing])
    expected = from_circle(RA, DEC, 3.7, 0.68)
    for wanted in (0.5, 0.68, 0.9):
        area = credible_area_deg2(expected, wanted)
        assert credible_area_deg2(answer.skymap, wanted) == pytest.approx(area, rel=0.02)
    # 68 % within 3.7 deg is 90 % within 87 deg2 (Gaussian: pi r90^2).
    assert credible_area_deg2(answer.skymap, 0.9) == pytest.approx(87.0, rel=0.03)


def test_a_pointing_is_multiplied_and_breaks_the_mirror() -> None:
    three = flat(burst(FIVE[:3]), bad_clocks=TRUSTED)
    both = flat(burst(FIVE[:3]), pointings=[Pointing(RA + 2.0, DEC, 5.0)], bad_clocks=TRUSTED)
    circle = from_circle(RA + 2.0, DEC, 5.0, 0.68)
    product = combined_map(three.skymap, circle)
    for wanted in (0.68, 0.9):
        assert credible_area_deg2(both.skymap, wanted) == pytest.approx(
            credible_area_deg2(product, wanted), rel=0.05
        )
    assert not any("disagree" in note for note in both.notes)


def test_a_pointing_against_the_times_is_said() -> None:
    answer = flat(burst(), pointings=[Pointing(RA + 90.0, 60.0, 4.0, source="Super-K")])
    assert any("Super-K disagree" in note for note in answer.notes)


# -- what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sigma_s": 0.0}, "not positive"),
        ({"sigma_s": -1e-3}, "not positive"),
        ({"sigma_s": float("nan")}, "not positive"),
        ({"time_s": float("inf")}, "not a time"),
        ({"bias_s": float("nan")}, "not a time"),
        ({"lat_deg": 91.0}, "not a place"),
        ({"lon_deg": float("nan")}, "not a place"),
        ({"detector": "Super-K"}, "more than once"),
    ],
)
def test_what_is_no_arrival_is_refused_by_name(change: dict[str, object], says: str) -> None:
    arrivals = burst()
    arrivals[0] = dataclasses.replace(arrivals[0], **change)  # type: ignore[arg-type]
    with pytest.raises(SkyMapError, match=says):
        flat(arrivals)


def test_other_nonsense_is_refused() -> None:
    with pytest.raises(SkyMapError, match="no arrival"):
        flat([])
    with pytest.raises(SkyMapError, match="time of the burst"):
        triangulate(burst(), float("nan"))
    for wrong in (Pointing(10.0, 95.0, 3.0), Pointing(0.0, 0.0, 0.0), Pointing(0.0, 0.0, 3.0, 1.0)):
        with pytest.raises(SkyMapError):
            flat(burst(), pointings=[wrong])
    with pytest.raises(SkyMapError, match="BadClocks"):
        flat(burst(), bad_clocks=BadClocks(probability=1.0))


_ROW = st.tuples(
    st.floats(-1e3, 1e3), st.floats(1e-3, 10.0), st.floats(-180, 180), st.floats(-90, 90)
)


@given(st.lists(_ROW, min_size=1, max_size=6), st.booleans())
@settings(max_examples=25, deadline=None)
def test_any_finite_times_give_a_sound_map(
    rows: list[tuple[float, float, float, float]], prior: bool
) -> None:
    arrivals = [
        Arrival(f"d{i}", lon, lat, 0.0, time, sigma)
        for i, (time, sigma, lon, lat) in enumerate(rows)
    ]
    answer = triangulate(arrivals, MJD, galactic_prior=prior)
    assert float(answer.skymap.probability.sum()) == pytest.approx(1.0, abs=1e-6)
    assert not answer.skymap.repairs
    assert 0.0 <= answer.p_value <= 1.0
    assert all(0.0 <= p <= 1.0 + 1e-9 for p in answer.bad_clock_probability.values())
    assert credible_area_deg2(answer.skymap, 0.5) <= credible_area_deg2(answer.skymap, 0.9)


# -- calibration, in small (the whole: benchmarks/skymaps_coverage.py) --------------------


def test_regions_hold_the_source_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    levels = []
    for seed in range(60):
        ra, dec = rng.uniform(0, 360), np.degrees(np.arcsin(rng.uniform(-1, 1)))
        answer = flat(burst(FIVE[:4], ra, dec, seed=seed), bad_clocks=TRUSTED)
        levels.append(level(answer.skymap, ra, dec))
    # Binomial, 3 sigma of 60.
    assert np.mean(np.array(levels) <= 0.68) == pytest.approx(0.68, abs=0.18)
    assert np.mean(np.array(levels) <= 0.9) == pytest.approx(0.9, abs=0.12)


def test_it_overlaps_with_a_gravitational_wave_of_the_same_place() -> None:
    answer = flat(burst(seed=2))
    here, there = from_circle(RA, DEC, 10.0), from_circle(RA + 180.0, -DEC, 10.0)
    assert overlap_integral(answer.skymap, here) > 20.0
    # Not zero: a clock may be wrong.
    assert overlap_integral(answer.skymap, there) < 0.2
