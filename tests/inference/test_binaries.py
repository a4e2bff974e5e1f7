"""Ejecta from binaries, viewing angles and cocoons: closed forms, geometry, MOSFiT's tables."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcoord.inference.kernels import C_CM_S, DAY_S, MSUN_G, SIGMA_CGS
from mmcoord.inference.models import registry
from mmcoord.inference.models.cocoon import cocoon_sphere
from mmcoord.inference.models.components import (
    KAPPA_GAMMA_TRAPPED,
    NOTHING_MORE,
    SPHERICAL,
    bolometric_luminosity,
    component_magnitudes,
)
from mmcoord.inference.models.nicholl21 import BNS, bns_ejecta, collapse_mass, component_masses
from mmcoord.inference.models.nsbh import isco_radius, nsbh_ejecta
from mmcoord.inference.models.viewing import aspects, polar_area
from mmcoord.inference.passbands import passbands
from tests.inference.light import monochromatic_table, rows_of
from tests.shared import shared

Array = npt.NDArray[np.float64]
C_KM_S = 299792.458


def column(name: str, *, of: str) -> Array:
    return np.array([float(row[name]) for row in rows_of(shared(f"kn/oracle/{of}.csv"))])


def slow_polar_area(cos_view: float, cos_open: float) -> float:
    """Both caps' parts that face the observer, element by element of the sphere."""
    mu = cos_open + (1 - cos_open) * (np.arange(1000) + 0.5) / 1000
    phi = 2 * np.pi * (np.arange(1000) + 0.5) / 1000
    across = np.sqrt(1 - mu[:, None] ** 2) * np.cos(phi) * np.sqrt(1 - cos_view**2)
    facing = [np.maximum(sign * mu[:, None] * cos_view + across, 0.0) for sign in (1, -1)]
    element = (1 - cos_open) / 1000 * 2 * np.pi / 1000
    return float(sum(f.sum() for f in facing) * element)


@given(st.floats(0.0, 1.0), st.floats(0.02, 0.98))
@settings(max_examples=60, deadline=None)
def test_visible_area_is_that_of_the_sphere(cos_view: float, cos_open: float) -> None:
    ours = float(polar_area(np.array([cos_view]), np.array([cos_open]))[0])
    assert ours == pytest.approx(slow_polar_area(cos_view, cos_open), abs=3e-3)
    assert 0.0 <= ours <= np.pi + 1e-9


def test_visible_area_differs_from_mosfits_by_one_power() -> None:
    # MOSFiT has sin(open) where the area of an ellipse needs sin^2(open); with its power its
    # table comes out, and the independent geometry above then does not.
    of = "mosfit_darbha_kasen_area"
    view, opening = column("cos_theta", of=of), column("cos_theta_open", of=of)
    blue, red = column("area_blue", of=of), column("area_red", of=of)
    theirs = polar_area(view, opening, ellipse_power=1)
    np.testing.assert_allclose(theirs, blue, atol=1e-6)
    np.testing.assert_allclose(np.pi - theirs, red, atol=1e-6)
    reference = polar_area(np.full_like(view, 0.5), opening, ellipse_power=1)
    # Its reference area keeps a far cap that is negative (only possible with the wrong power).
    tabled = column("area_blue_ref", of=of)
    kept = np.isclose(tabled, reference, atol=1e-6)
    assert kept.mean() == 0.75
    assert np.all(tabled[~kept] < reference[~kept])
    geometry = np.array([slow_polar_area(*pair) for pair in zip(view, opening, strict=True)])
    assert np.abs(blue - geometry).max() > 0.5


def test_aspects_are_one_at_the_reference_angle_and_share_the_sphere() -> None:
    view, opening = np.linspace(0, 1, 11), np.full(11, 0.7)
    polar, equatorial = aspects(view, opening)
    assert polar[5] == pytest.approx(1.0)
    assert equatorial[5] == pytest.approx(1.0)
    assert np.all(np.diff(polar) > 0)
    assert np.all(np.diff(equatorial) < 0)


def test_binary_neutron_star_ejecta_are_mosfits() -> None:
    # Its collapse mass takes Msun/km for the compactness (G Msun/c^2 = 1 km); with that its table
    # comes out. Speeds: it stops its mean over angles up to 0.01 rad early.
    of = "mosfit_bns_ejecta"
    theirs = {k: column(k, of=of) for k in rows_of(shared(f"kn/oracle/{of}.csv"))[0]}
    e = bns_ejecta(
        theirs["Mchirp"], theirs["q"], theirs["R_ns_km"], theirs["Mtov"], theirs["disk_frac"],
        theirs["alpha"], length_km=1.0,
    )  # fmt: skip
    for ours, name in (
        (e.mass_dynamical, "mejecta_dyn"),
        (e.mass_blue, "mejecta_blue"),
        (e.mass_red, "mejecta_red"),
        (e.mass_purple, "mejecta_purple"),
        (e.speed_purple * C_KM_S, "vejecta_purple"),
        (e.kappa_purple, "kappa_purple"),
    ):
        np.testing.assert_allclose(ours, theirs[name], rtol=1e-6, err_msg=name)
    for ours, name in ((e.speed_blue, "vejecta_blue"), (e.speed_red, "vejecta_red")):
        np.testing.assert_allclose(ours * C_KM_S, theirs[name], rtol=3e-3, err_msg=name)
    heavy, light = component_masses(theirs["Mchirp"], theirs["q"])
    np.testing.assert_allclose(heavy, theirs["M1"], rtol=1e-6)
    np.testing.assert_allclose(light, theirs["M2"], rtol=1e-6)


@pytest.mark.parametrize(
    ("tov_msun", "radius_km", "simulated_msun"),
    # Bauswein, Baumgarte & Janka (2013): equations of state DD2, SFHo, LS220, NL3.
    [(2.42, 13.26, 3.35), (2.06, 11.77, 2.95), (2.04, 12.52, 3.05), (2.79, 14.81, 3.85)],
)
def test_collapse_mass_is_that_of_simulations(
    tov_msun: float, radius_km: float, simulated_msun: float
) -> None:
    ours = collapse_mass(np.array([tov_msun]), np.array([radius_km]))[0]
    assert ours == pytest.approx(simulated_msun, rel=0.025)
    # The negative control: without G Msun/c^2 it is off by a fifth.
    assert (
        collapse_mass(np.array([tov_msun]), np.array([radius_km]), 1.0)[0] > 1.15 * simulated_msun
    )


@given(st.floats(0.9, 1.8), st.floats(0.4, 1.0))
def test_component_masses_give_back_the_chirp_mass(chirp: float, ratio: float) -> None:
    m1, m2 = component_masses(np.array([chirp]), np.array([ratio]))
    assert (m1 * m2)[0] ** 0.6 / (m1 + m2)[0] ** 0.2 == pytest.approx(chirp)
    assert (m2 / m1)[0] == pytest.approx(ratio)


def test_a_heavy_binary_collapses_and_leaves_little() -> None:
    chirp = np.array([1.1, 1.19, 1.3, 1.44, 1.6])
    flat = np.ones(5)
    e = bns_ejecta(chirp, 0.9 * flat, 12.0 * flat, 2.1 * flat, 0.2 * flat, 0.5 * flat)
    assert np.all(np.diff(e.mass_purple) <= 0)
    assert e.mass_purple[-1] == pytest.approx(0.2e-3)  # the fit's floor of 1e-3 Msun
    assert np.all((e.kappa_purple > 3.0) & (e.kappa_purple < 5.7))
    assert np.all(np.diff(e.speed_purple) <= 0)
    # A remnant that lives adds a wind to the blue ejecta; one that collapses does not.
    alone = bns_ejecta(chirp, 0.9 * flat, 12.0 * flat, 2.1 * flat, 0.2 * flat, flat)
    threshold = collapse_mass(2.1 * flat, 12.0 * flat)
    lives = sum(component_masses(chirp, 0.9 * flat)) < threshold
    assert lives.any()
    assert not lives.all()
    np.testing.assert_allclose(e.mass_blue / alone.mass_blue, np.where(lives, 2.0, 1.0))


def test_black_hole_ejecta_are_mosfits() -> None:
    # MOSFiT multiplies the dynamical mass by 1.68; published is 1 (the model's own).
    of = "mosfit_nsbh_ejecta"
    theirs = {k: column(k, of=of) for k in rows_of(shared(f"kn/oracle/{of}.csv"))[0]}
    half = np.full(5, 0.5)
    e = nsbh_ejecta(
        theirs["Mbh"], theirs["Mns"], theirs["chi"], theirs["R"], half, dynamical_factor=1.68
    )
    for ours, name in (
        (e.mass_remnant, "Mrem"),
        (e.mass_dynamical, "mejecta_dyn"),
        (e.mass_disk, "Mdisc"),
        (e.mass_magnetic, "mejecta_magnetic"),
        (e.mass_blue, "mejecta_thermal_blue"),
        (e.mass_purple, "mejecta_thermal_purple"),
        (e.speed_dynamical * C_KM_S, "vejecta_dyn"),
        (e.speed_magnetic * C_KM_S, "vejecta_magnetic"),
        (e.speed_thermal * C_KM_S * np.ones(5), "vejecta_thermal"),
    ):
        np.testing.assert_allclose(ours, theirs[name], rtol=1e-6, atol=1e-9, err_msg=name)


def test_innermost_orbit_has_its_known_values() -> None:
    np.testing.assert_allclose(isco_radius(np.array([0.0, 1.0, -1.0])), [6.0, 1.0, 9.0])


@given(
    st.floats(3.0, 12.0), st.floats(1.1, 2.0), st.floats(-0.5, 0.95), st.floats(10.5, 14.0)
)  # fmt: skip
def test_black_hole_ejecta_share_what_is_left(
    hole: float, star: float, spin: float, radius: float
) -> None:
    e = nsbh_ejecta(*(np.array([x]) for x in (hole, star, spin, radius, 0.7)))
    assert 0.0 <= e.mass_dynamical[0] <= e.mass_remnant[0] < 1.3 * star
    assert e.mass_disk[0] + e.mass_dynamical[0] == pytest.approx(e.mass_remnant[0])
    expelled = e.mass_blue[0] + e.mass_purple[0] + e.mass_magnetic[0]
    assert expelled <= 1.7 * 0.29 * e.mass_disk[0] + 1e-15
    faster = nsbh_ejecta(
        *(np.array([x]) for x in (hole, star, min(spin + 0.04, 0.97), radius, 0.7))
    )
    assert faster.mass_remnant[0] >= e.mass_remnant[0]


def test_a_slow_heavy_hole_swallows_the_star_and_there_is_no_light() -> None:
    model = registry.load("nsbh")
    theta = np.array([[3.5, 0.12, 0.0, 11.5, 0.5, 0.7, 2500.0, 0.0]])
    mags = model.magnitudes(
        theta, np.array([100.0]), np.array([0.02]), np.array([0.5, 2.0]), np.zeros(2, dtype=int),
        passbands(("lsst:i",)),
    )  # fmt: skip
    assert np.all(mags == 60.0)
    assert model.derived["ejecta_mass_total_msun"][1](theta)[0] == 0.0


def test_line_of_sight_changes_early_light_only() -> None:
    # L(theta)/L = 1 + 1.4 (2 + u)/(1 + e^u) (A/A_ref - 1): at u = 0 a factor 1 + 1.4 (A/A_ref - 1).
    wave = np.array([1e6])  # so red that the flux is proportional to T R^2
    one = [np.array([[x]]) for x in (0.03, 0.2, 1.0, 1e-3)]
    t_day, band = np.array([1e-3, 1.5, 60.0]), np.zeros(3, dtype=np.int64)
    common = (KAPPA_GAMMA_TRAPPED, np.array([40.0]), np.zeros(1), t_day, band)
    table = monochromatic_table(wave)
    plain, seen = (
        component_magnitudes(*one, *common, table, aspect, NOTHING_MORE)[0]
        for aspect in (SPHERICAL, np.array([[1.2]]))
    )
    td_day = np.sqrt(2 * 0.03 * MSUN_G / (13.7 * 0.2 * C_CM_S**2)) / DAY_S
    u = t_day / (0.59 * td_day)
    factor = 1 + 1.4 * (2 + u) / (1 + np.exp(np.minimum(u, 600))) * 0.2
    # T ~ L^(1/4) at R = v t, and F ~ T in the Rayleigh-Jeans limit.
    np.testing.assert_allclose(plain - seen, 2.5 * np.log10(factor) / 4, atol=2e-3)
    assert factor[0] > 1.27
    assert abs(factor[2] - 1) < 1e-6


def test_more_flux_is_added_to_the_components() -> None:
    one = [np.array([[x]]) for x in (0.03, 0.2, 1.0, 2500.0)]
    t_day, band = np.array([0.5, 2.0]), np.zeros(2, dtype=np.int64)
    common = (KAPPA_GAMMA_TRAPPED, np.array([40.0]), np.zeros(1), t_day, band)
    table = passbands(("lsst:r",)).blackbody
    plain = component_magnitudes(*one, *common, table, SPHERICAL, NOTHING_MORE)
    double = component_magnitudes(*one, *common, table, SPHERICAL, 10 ** (-0.4 * plain))
    np.testing.assert_allclose(plain - double, 2.5 * np.log10(2.0), atol=1e-9)


def test_cocoon_radiates_piro_and_kollmeiers_light() -> None:
    mass, speed, kappa, cos_cocoon, shock_s = 1e-3, 0.15, 0.5, 0.9, 1.7
    v = speed * C_CM_S
    td = np.sqrt(kappa * mass * MSUN_G / (4 * np.pi * C_CM_S * v))
    thin_day = td / np.sqrt(speed) / DAY_S
    theta = np.arccos(cos_cocoon)
    for t_day in (0.1, 0.5, 1.0):
        temperature, radius = cocoon_sphere(mass, speed, kappa, cos_cocoon, shock_s, t_day)
        light = (theta**2 / 2) ** (1 / 3) * mass * MSUN_G * v * C_CM_S * shock_s / td**2
        light *= (t_day * DAY_S / td) ** (-4 / 3) * (1 + np.tanh(thin_day - t_day)) / 2
        ours = 4 * np.pi * SIGMA_CGS * radius**2 * temperature**4
        assert ours == pytest.approx(light, rel=1e-9)
        front = min(v * (t_day / thin_day) ** -0.5, C_CM_S)
        assert radius == pytest.approx(front * t_day * DAY_S)
    assert cocoon_sphere(0.0, speed, kappa, cos_cocoon, shock_s, 1.0) == (0.0, 0.0)
    assert cocoon_sphere(mass, speed, kappa, 1.0, shock_s, 1.0) == (0.0, 0.0)


def test_the_cocoon_brightens_the_first_day() -> None:
    plain, shocked = registry.load("nicholl21_bns"), registry.load("nicholl21_bns_cocoon")
    theta = [1.188, 0.98, 12.0, 2.17, 0.2, 0.3, 0.9, 2500.0, 0.3, 0.0]
    t_day, band = np.array([0.1, 0.5, 10.0]), np.zeros(3, dtype=np.int64)
    at = (np.array([40.0]), np.array([0.0098]), t_day, band, passbands(("lsst:u",)))
    without = plain.magnitudes(np.array([theta]), *at)[0]
    gain = without - shocked.magnitudes(np.array([[*theta, 0.8]]), *at)[0]
    assert gain[0] > 0.3
    assert 0.0 <= gain[2] < 0.01
    none = shocked.magnitudes(np.array([[*theta, 1.0]]), *at)[0]
    np.testing.assert_array_equal(none, without)


def test_binary_of_gw170817_shines_like_its_kilonova() -> None:
    # AT2017gfo (Villar et al. 2017, corrected for dust): i = 17.0 to 17.9 at 0.5 d, 18.0 to 18.9 at
    # 2.5 d. The masses alone, with the middle of the other priors, come within a magnitude.
    theta = np.array([[1.188, 0.92, 12.0, 2.2, 0.3, 0.5, 0.9, 2000.0, 0.0, 0.0]])
    mags = BNS.magnitudes(
        theta, np.array([40.0]), np.array([0.0098]), np.array([0.5, 2.5]), np.zeros(2, dtype=int),
        passbands(("lsst:i",)),
    )[0]  # fmt: skip
    assert mags[0] == pytest.approx(17.4, abs=1.2)
    assert mags[1] == pytest.approx(18.4, abs=1.2)


def test_a_star_above_the_largest_mass_gives_no_light() -> None:
    theta = np.array([[1.7, 0.5, 12.0, 2.2, 0.3, 0.5, 0.9, 2000.0, 0.0, 0.0]])
    mags = BNS.magnitudes(
        theta, np.array([40.0]), np.array([0.01]), np.array([1.0]), np.zeros(1, dtype=int),
        passbands(("lsst:i",)),
    )  # fmt: skip
    assert mags[0, 0] == 60.0


def test_components_of_one_sphere_are_the_bolometric_light() -> None:
    # Summed over the whole spectrum, the blackbody's flux is L/(4 pi D^2).
    nodes = np.geomspace(300.0, 3e6, 1500)
    one = [np.array([[x]]) for x in (0.02, 0.25, 0.7, 3000.0)]
    distance_cm = 40 * 3.0856775814913673e24
    for t in (0.3, 3.0):
        mags = component_magnitudes(
            *one, KAPPA_GAMMA_TRAPPED, np.array([40.0]), np.zeros(1), np.full(len(nodes), t),
            np.arange(len(nodes)), monochromatic_table(nodes), SPHERICAL, NOTHING_MORE,
        )[0]  # fmt: skip
        nu = C_CM_S / (nodes * 1e-8)
        flux = np.trapezoid(10 ** (-0.4 * mags[::-1]) * 3.631e-20, nu[::-1])
        light = bolometric_luminosity(0.02, 0.25, 0.7, KAPPA_GAMMA_TRAPPED, np.array([t]))[0]
        assert flux * 4 * np.pi * distance_cm**2 == pytest.approx(light, rel=2e-3)
