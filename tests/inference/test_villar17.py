"""Kilonova kernels against quadrature, other programs and conservation laws."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from mmcoord.inference.kernels import C_CM_S, DAY_S, MSUN_G, photospheres
from mmcoord.inference.models.base import Model
from mmcoord.inference.models.components import (
    NOTHING_MORE,
    SPHERICAL,
    bolometric_luminosity,
    component_magnitudes,
    heating_rate,
    thermalization_coefficients,
)
from mmcoord.inference.models.villar17 import ONE_COMPONENT, THREE_COMPONENTS, TWO_COMPONENTS
from mmcoord.inference.passbands import passbands
from tests.inference.light import monochromatic_table, parameters_of, rows_of
from tests.shared import shared

Array = npt.NDArray[np.float64]
TRAPPED = 1e4


def heating(mass_msun: float, speed_c: float, t_s: Array) -> Array:
    """L_in from its definition, as a plain twin of the kernel's."""
    a, b, d = thermalization_coefficients(mass_msun, speed_c)
    t_day = np.asarray(t_s) / DAY_S
    y = 2 * b * t_day**d
    thermal = 0.36 * (np.exp(-a * t_day) + np.log1p(y) / y)
    return np.asarray(
        mass_msun
        * MSUN_G
        * np.array([heating_rate(float(t)) for t in np.atleast_1d(t_s)])
        * thermal
    )


def slow_luminosity(mass_msun: float, speed_c: float, kappa: float, t_day: float) -> float:
    """2/t_d^2 int L_in t' exp((t'^2 - t^2)/t_d^2) dt' by adaptive quadrature in ln t."""
    td2 = 2 * kappa * mass_msun * MSUN_G / (13.7 * speed_c * C_CM_S**2)
    t_s = t_day * DAY_S

    def integrand(ln_t: float) -> float:
        t = np.exp(ln_t)
        return float(heating(mass_msun, speed_c, t)[0] * t * t * np.exp((t * t - t_s * t_s) / td2))

    knots = [1e-4, 0.1, 1.0, 1.3, 1.6, 3.0, 30.0, 1e3, 1e4, t_s / 3, t_s / 1.2, t_s]
    edges = np.log(sorted(knot for knot in knots if knot <= t_s))
    pieces = [quad(integrand, a, b, epsrel=1e-9, limit=400)[0] for a, b in pairwise(edges)]
    return float(2 / td2 * sum(pieces))


@pytest.mark.parametrize(
    ("mass", "speed", "kappa"), [(0.02, 0.27, 0.5), (0.05, 0.15, 3.0), (0.01, 0.1, 10.0)]
)
def test_luminosity_equals_adaptive_quadrature(mass: float, speed: float, kappa: float) -> None:
    t_day = np.array([0.2, 0.7, 2.0, 6.0, 15.0])
    fast = bolometric_luminosity(mass, speed, kappa, TRAPPED, t_day)
    slow = [slow_luminosity(mass, speed, kappa, t) for t in t_day]
    np.testing.assert_allclose(-2.5 * np.log10(fast / np.array(slow)), 0.0, atol=1e-3)


@given(st.floats(1e-3, 0.1), st.floats(0.03, 0.4), st.floats(0.3, 20.0), st.floats(0.05, 25.0))
@settings(max_examples=40, deadline=None)
def test_luminosity_equals_quadrature_all_over_the_priors(
    mass: float, speed: float, kappa: float, t_day: float
) -> None:
    fast = bolometric_luminosity(mass, speed, kappa, TRAPPED * 1e6, np.array([t_day]))[0]
    assert abs(2.5 * np.log10(fast / slow_luminosity(mass, speed, kappa, t_day))) < 1e-3


def test_photospheres_are_those_of_the_oracle_table() -> None:
    # Its own luminosity in, its temperature and radius out.
    rows = rows_of(shared("kn/oracle/mosfit_lbol_T_R.csv"))
    assert len(rows) == 209
    for row in rows:
        light, speed, floor, t_day = (
            float(row[k]) for k in ("Lbol_erg_s", "vej_c", "Tfloor_K", "t_rest_day")
        )
        ln_t, r2 = np.empty(1), np.empty(1)
        photospheres(np.array([light]), np.log([t_day]), speed * C_CM_S, floor, ln_t, r2)
        assert np.exp(ln_t[0]) == pytest.approx(float(row["T_K"]), rel=1e-5)
        assert np.sqrt(r2[0]) == pytest.approx(float(row["R_cm"]), rel=1e-5)


def test_luminosity_equals_the_oracle_table() -> None:
    table = rows_of(shared("kn/oracle/mosfit_lbol_T_R.csv"))
    groups = defaultdict(list)
    for row in table:
        groups[row["set"]].append(row)
    assert len(groups) == 11
    for rows in groups.values():
        mass, speed, kappa, leak = (
            float(rows[0][k]) for k in ("mej_msun", "vej_c", "kappa", "kappa_gamma")
        )
        t_day = np.array([float(r["t_rest_day"]) for r in rows])
        exact = np.array([float(r["Lbol_exact"]) for r in rows])
        ours = bolometric_luminosity(mass, speed, kappa, leak, t_day)
        np.testing.assert_allclose(-2.5 * np.log10(ours / exact), 0.0, atol=1e-3)


def differences(model: str) -> Array:
    """Our magnitudes minus redback's, point by point, for all its rows of one model.

    Both are monochromatic at redback's effective wavelengths: the pass bands' table is
    replaced by B_nu at those wavelengths.
    """
    groups = defaultdict(list)
    for row in rows_of(shared("kn/oracle/redback_mono_mags.csv")):
        if row["model"] == model:
            groups[row["set"]].append(row)
    out: list[float] = []
    for rows in groups.values():
        p = parameters_of(rows[0]["params"])
        suffixes = [s for s in ("", "_1", "_2", "_3") if f"mej{s}" in p]
        mass, speed, kappa = (
            np.array([[p[f"{k}{s}"] for s in suffixes]]) for k in ("mej", "vej", "kappa")
        )
        floor = np.array([[p.get(f"temperature_floor{s}", 2500.0) for s in suffixes]])
        waves = sorted({float(r["lambda_eff_A"]) for r in rows})
        ordered = sorted(rows, key=lambda r: float(r["t_obs_day"]))
        t_day = np.array([float(r["t_obs_day"]) for r in ordered])
        band = np.array([waves.index(float(r["lambda_eff_A"])) for r in ordered])
        distance_mpc = np.array([float(rows[0]["dl_cm"]) / 3.0856775814913673e24])
        ours = component_magnitudes(
            mass, speed, kappa, floor, p.get("kappa_gamma", TRAPPED), distance_mpc,
            np.array([p["redshift"]]), t_day, band, monochromatic_table(np.array(waves)),
            SPHERICAL, NOTHING_MORE,
        )[0]  # fmt: skip
        theirs = np.array([float(r["mag_ab"]) for r in ordered])
        out.extend((ours - theirs)[np.isfinite(theirs)])
    return np.array(out)


@pytest.mark.parametrize("model", ["mosfit_kilonova", "mosfit_rprocess"])
def test_magnitudes_agree_with_redback(model: str) -> None:
    delta = differences(model)
    assert abs(np.median(delta)) < 0.01
    # redback's own diffusion integral is off by up to 0.076 mag from quadrature, so a few
    # percent of its rows (blue bands, kappa = 10) may differ by more than 0.05.
    assert np.mean(np.abs(delta) > 0.05) < 0.03
    assert np.abs(delta).max() < 0.08


@pytest.mark.parametrize(
    "model", ["one_component_kilonova_model", "three_component_kilonova_model"]
)
def test_the_check_catches_redbacks_missing_factor_two(model: str) -> None:
    delta = differences(model)
    assert abs(np.median(delta)) > 0.5


ejecta = st.tuples(st.floats(1e-3, 0.1), st.floats(0.05, 0.4), st.floats(0.3, 15.0))


@given(ejecta)
@settings(max_examples=25, deadline=None)
def test_late_light_is_the_heating(shape: tuple[float, float, float]) -> None:
    mass, speed, kappa = shape
    td_day = np.sqrt(2 * kappa * mass * MSUN_G / (13.7 * speed * C_CM_S**2)) / DAY_S
    t_day = np.array([max(20.0 * td_day, 1.0)])
    if t_day[0] < 99.0:
        ours = bolometric_luminosity(mass, speed, kappa, TRAPPED * 1e6, t_day)
        np.testing.assert_allclose(ours, heating(mass, speed, t_day * DAY_S), rtol=0.01)


@given(ejecta)
@settings(max_examples=15, deadline=None)
def test_energy_is_conserved_with_full_trapping(shape: tuple[float, float, float]) -> None:
    # Arnett: the energy E(t) inside obeys d(E t)/dt = (L_in - L) t, and L = 2 t E / t_d^2.
    mass, speed, kappa = shape
    td2 = 2 * kappa * mass * MSUN_G / (13.7 * speed * C_CM_S**2)
    t_s = np.geomspace(17.0, min(max(30.0 * np.sqrt(td2), DAY_S), 99.0 * DAY_S), 3000)
    light = bolometric_luminosity(mass, speed, kappa, TRAPPED * 1e8, t_s / DAY_S)
    heat = heating(mass, speed, t_s)
    out, into = (np.trapezoid(f * t_s**2, np.log(t_s)) for f in (light, heat))
    held = 0.5 * td2 * (light[-1] - light[0])
    assert out + held == pytest.approx(into, rel=1e-3)


def test_twice_the_opacity_is_a_root_two_longer_diffusion() -> None:
    # The light depends on t and t_d^2 = 2 kappa m/(13.7 v c) only, so kappa x2 = 13.7 c / 2.
    t_day = np.array([0.5, 1.0, 3.0])
    fast = bolometric_luminosity(0.02, 0.2, 2.0, TRAPPED * 1e6, t_day)
    slow = [slow_luminosity(0.02, 0.2, 2.0, t) for t in t_day]
    np.testing.assert_allclose(fast, slow, rtol=1e-3)
    peak = [
        np.geomspace(0.01, 20, 400)[
            np.argmax(
                bolometric_luminosity(0.02, 0.2, k, TRAPPED, np.geomspace(0.01, 20, 400))
                / heating(0.02, 0.2, np.geomspace(0.01, 20, 400) * DAY_S)
            )
        ]
        for k in (1.0, 2.0)
    ]
    assert peak[1] / peak[0] == pytest.approx(np.sqrt(2.0), rel=0.05)


def test_more_mass_is_more_light_late() -> None:
    t_day = np.array([8.0, 12.0])
    lights = [bolometric_luminosity(m, 0.2, 1.0, TRAPPED, t_day) for m in (0.005, 0.01, 0.03, 0.08)]
    assert np.all(np.diff(lights, axis=0) > 0)


def test_redshift_acts_by_the_temperature_identity() -> None:
    # A source at z seen at t(1+z) and nu/(1+z) has (1+z) times the flux density of the same
    # source at z = 0: monochromatic tables at lambda and lambda(1+z) must say so.
    theta = np.array([[0.03]]), np.array([[0.2]]), np.array([[1.0]]), np.array([[2500.0]])
    t_day, band, d = np.array([1.0, 4.0]), np.zeros(2, dtype=np.int64), np.array([100.0])
    z, wave = 0.3, np.array([5000.0])
    near = component_magnitudes(
        *theta, TRAPPED, d, np.zeros(1), t_day, band, monochromatic_table(wave),
        SPHERICAL, NOTHING_MORE,
    )  # fmt: skip
    far = component_magnitudes(
        *theta, TRAPPED, d, np.full(1, z), t_day * (1 + z), band,
        monochromatic_table(wave * (1 + z)), SPHERICAL, NOTHING_MORE,
    )  # fmt: skip
    np.testing.assert_allclose(far, near - 2.5 * np.log10(1 + z), atol=2e-3)


@pytest.mark.parametrize("model", [ONE_COMPONENT, TWO_COMPONENTS, THREE_COMPONENTS])
def test_samples_do_not_know_of_each_other(model: Model) -> None:
    rng = np.random.default_rng(3)
    theta = model.theta(rng.random((7, len(model.parameters))))
    d, z = np.linspace(20, 200, 7), np.linspace(0.004, 0.05, 7)
    t_day = np.repeat([-1.0, 0.5, 2.0], 2)
    band = np.tile([0, 1], 3)
    bands = passbands(("lsst:g", "2mass:ks"))
    together = model.magnitudes(theta, d, z, t_day, band, bands)
    alone = [
        model.magnitudes(theta[k : k + 1], d[k : k + 1], z[k : k + 1], t_day, band, bands)[0]
        for k in range(7)
    ]
    np.testing.assert_array_equal(together, alone)
    assert np.all(together[:, :2] == 60.0)  # no light before the event
