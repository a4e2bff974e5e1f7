"""Contaminant models against physics, another program, and known supernovae."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from mmcoord.errors import ConfigError
from mmcoord.inference.kernels import C_CM_S, DAY_S, MSUN_G, SIGMA_CGS
from mmcoord.inference.models import registry
from mmcoord.inference.models.base import Parameter
from mmcoord.inference.models.nickel import nickel_luminosity, passed_on_1e50_erg
from mmcoord.inference.models.shock_cooling import shock_cooling
from mmcoord.inference.models.sn_ia import SN_IA
from mmcoord.inference.passbands import passbands
from tests.inference.light import C_CM_S as C
from tests.inference.light import parameters_of, planck, rows_of
from tests.shared import shared

PC_CM = 3.0856775814913673e18


@pytest.mark.parametrize("name", registry.names())
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_every_model_is_finite_over_its_prior(name: str, seed: int) -> None:
    model = registry.load(name)
    theta = model.theta(np.random.default_rng(seed).random((50, len(model.parameters))))
    for column, parameter in zip(theta.T, model.parameters, strict=True):
        assert np.all((column >= parameter.low) & (column <= parameter.high))
    d = np.geomspace(10, 1000, 50)
    mags = model.magnitudes(
        theta, d, d * 2.3e-4, np.array([-20.0, -0.1, 1e-6, 0.3, 5.0, 14.0]),
        np.array([0, 1, 2, 0, 1, 2]), passbands(("lsst:u", "ztf:g", "2mass:ks"), 0.1),
    )  # fmt: skip
    assert mags.shape == (50, 6)
    assert np.all(np.isfinite(mags))
    assert mags.max() <= 60.0


def test_an_unknown_model_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="no model 'nope': there are afterglow"):
        registry.load("nope")


@given(
    kind=st.sampled_from(["uniform", "log_uniform", "normal"]),
    low=st.floats(0.1, 5.0),
    width=st.floats(0.5, 10.0),
)
def test_priors_map_the_unit_interval_onto_their_range(
    kind: Literal["log_uniform", "normal", "uniform"], low: float, width: float
) -> None:
    parameter = Parameter("x", "", low, low + width, kind, mean=low + 0.3 * width, std=0.4)
    u = np.linspace(0, 1, 101)
    x = parameter.from_unit(u)
    assert np.all(np.diff(x) >= 0)
    assert x[0] == pytest.approx(low)
    # A normal's far tail ends where double precision does.
    assert x[-1] == pytest.approx(low + width, rel=1e-9 if kind != "normal" else 0.2)
    assert x[-1] <= low + width


def test_shock_cooling_has_nmmas_light() -> None:
    # NMMA leaves out the pi of F = pi B (R/D)^2, so its fluxes are below L/(4 pi D^2) by just
    # that factor; with it the two programs agree.
    delta = []
    for row in rows_of(shared("kn/oracle/nmma_abs_mags.csv")):
        theirs = float(row["abs_mag_ab_10pc"]) - 2.5 * np.log10(np.pi)
        if row["model"] != "Piro2021" or theirs > 0.0:
            continue
        p = parameters_of(row["params"])
        temperature, radius = shock_cooling(
            10 ** p["log10_Menv"], 10 ** p["log10_Renv"], 10 ** p["log10_Ee"],
            float(row["t_rest_day"]),
        )  # fmt: skip
        nu = np.array([C / (float(row["lambda_A"]) * 1e-8)])
        flux = np.pi * planck(nu, np.array([temperature]))[0] * (radius / (10 * PC_CM)) ** 2
        delta.append(-2.5 * np.log10(flux / 3.631e-20) - theirs)
    assert len(delta) > 150
    np.testing.assert_allclose(delta, 0.0, atol=1e-3)


def test_shock_cooling_radiates_what_its_luminosity_says() -> None:
    temperature, radius = shock_cooling(0.1, 1e13, 1e50, 0.5)
    light = 4 * np.pi * SIGMA_CGS * radius**2 * temperature**4
    vt = np.sqrt(5 * 3.9 / (7 * 1.9) * 2 * 1e50 / (0.1 * MSUN_G))
    k = 7 * 1.9 / (4 * np.pi * 8.9)  # the paper's 0.119
    td = np.sqrt(3 * 0.2 * k * 0.1 * MSUN_G / (9 * vt * C_CM_S))
    expected = np.pi * 9 / 15 * C_CM_S * 1e13 * vt**2 / 0.2 * (td / (0.5 * DAY_S)) ** 0.5
    assert light == pytest.approx(expected, rel=1e-6)


def test_nickel_light_equals_quadrature() -> None:
    mass, nickel, speed = 3.0, 0.15, 0.03
    td2 = 2 * 0.1 * mass * MSUN_G / (13.7 * speed * C_CM_S**2)
    t_day = np.array([1.0, 5.0, 15.0, 40.0])
    ours = np.empty(4)
    nickel_luminosity(mass, nickel, speed, t_day, ours)

    def heat(t_s: float) -> float:
        ni, co = np.exp(-t_s / DAY_S / 8.8), np.exp(-t_s / DAY_S / 111.3)
        return float(nickel * MSUN_G * (3.9e10 * ni + 6.78e9 * (co - ni)))

    for t, light in zip(t_day * DAY_S, ours, strict=True):
        leak = 3 * 0.027 * mass * MSUN_G / (4 * np.pi * (speed * C_CM_S) ** 2)
        integral = quad(lambda s, t=t: heat(s) * s * np.exp((s * s - t * t) / td2), 0, t)[0]
        assert light == pytest.approx(2 / td2 * integral * -np.expm1(-leak / t**2), rel=1e-3)


def test_a_type_ia_supernova_is_what_it_should_be() -> None:
    # Peak M_B as asked; B falls by about 1.1 mag in 15 d (stretch 1); colour B-V near 0 at peak.
    theta = np.array([[0.0, 1.0, -19.3, 0.0]])
    bands = passbands(("bessell:b", "bessell:v"))
    mags = SN_IA.magnitudes(
        theta, np.array([1e-5]), np.zeros(1), np.array([0.0, 0.0, 15.0]), np.array([0, 1, 0]), bands
    )[0]
    assert mags[0] == pytest.approx(-19.3, abs=0.02)
    assert mags[2] - mags[0] == pytest.approx(1.1, abs=0.15)
    assert abs(mags[0] - mags[1] + 0.13) < 0.15  # Vega's B-V = 0 is AB's -0.13


def magnitudes(name: str, theta: list[float], t_day: np.ndarray, band: str) -> np.ndarray:
    return registry.load(name).magnitudes(
        np.array([theta]), np.array([100.0]), np.array([0.02]), t_day,
        np.zeros(len(t_day), dtype=np.int64), passbands((band,)),
    )[0]  # fmt: skip


@pytest.mark.parametrize("band", ["lsst:u", "lsst:r", "2mass:j"])
def test_type_iib_is_its_envelope_and_its_nickel(band: str) -> None:
    # Nakar & Piro (2014): of 1.5e51 erg the envelope of 0.05 Msun on a core of 2 Msun gets
    # 4e49 E51 (core / 3 Msun)^-0.7 (envelope / 0.01 Msun)^0.7 erg.
    energy_1e50 = 0.4 * 1.5 * (2.0 / 3.0) ** -0.7 * 5.0**0.7
    t_day = np.array([-3.0, -1.9, -1.0, 0.5, 2.0, 6.0, 14.0])
    whole = magnitudes("sn_iib", [-2.0, 2.0, 0.09, 0.03, 5000.0, 0.3, 0.05, 13.0, 1.5], t_day, band)
    parts = (
        magnitudes("sn_ibc", [-2.0, 2.0, 0.045, 0.03, 5000.0, 0.3], t_day, band),
        magnitudes("shock_cooling", [-2.0, 0.3, 0.05, 13.0, energy_1e50], t_day, band),
    )
    lit = t_day > -2.0
    summed = -2.5 * np.log10(sum(10 ** (-0.4 * p[lit]) for p in parts))
    np.testing.assert_allclose(whole[lit], summed, atol=1e-9)
    assert np.all(whole[~lit] == 60.0)


def test_type_iib_has_two_peaks_as_sn_1993j_and_sn_2011dh() -> None:
    # The envelope's peak within days, a minimum, nickel's peak near three weeks (Richmond et al.
    # 1994: V maxima 3 and 22 d after explosion, M_V about -17.5 from 0.1 Msun of nickel).
    theta = [0.0, 3.0, 0.1, 0.03, 5000.0, 0.0, 0.05, 13.5, 1.0]
    t_day = np.geomspace(0.3, 45.0, 300)
    mag = magnitudes("sn_iib", theta, t_day, "bessell:v") - 35.0
    peaks = np.flatnonzero((mag[1:-1] < mag[:-2]) & (mag[1:-1] < mag[2:])) + 1
    assert len(peaks) == 2
    assert 1.0 < t_day[peaks[0]] < 6.0
    assert 13.0 < t_day[peaks[1]] < 28.0
    assert -18.5 < mag[peaks[1]] < -16.5
    assert mag[peaks[0] : peaks[1]].max() > mag[peaks[1]] + 0.3


def test_the_energy_passed_on_moves_an_envelope_as_fast_as_nakar_and_piro_say() -> None:
    # Their eq. for the speed: 2e9 cm/s E51^0.5 (core / 3 Msun)^-0.35 (envelope / 0.01 Msun)^-0.15.
    explosion, core, envelope = np.meshgrid([0.3, 1.0, 5.0], [1.0, 3.0, 7.0], [0.003, 0.05, 0.5])
    energy_erg = 1e50 * passed_on_1e50_erg(explosion, core, envelope)
    speed = np.sqrt(2.0 * energy_erg / (envelope * MSUN_G))
    expected = 2e9 * explosion**0.5 * (core / 3.0) ** -0.35 * (envelope / 0.01) ** -0.15
    np.testing.assert_allclose(speed, expected, rtol=0.01)


def test_a_iib_of_the_prior_peaks_as_bright_as_type_iib_supernovae_do() -> None:
    # Nickel masses: median 0.102 Msun of 27 (Anderson 2019), mean 0.066 (Rodriguez et al. 2023),
    # 0.02 for the faint SN 2020bio (Pellegrino et al. 2023). By Arnett's rule the peak is the
    # heating then, 1.9e43 to 2.7e43 erg/s for each solar mass at 20 to 13 d.
    model = registry.load("sn_iib")
    u = np.random.default_rng(3).random((400, len(model.parameters)))
    theta = model.theta(u)
    t_day = np.geomspace(3.0, 60.0, 60)
    light = np.empty((len(theta), len(t_day)))
    for row, out in zip(theta, light, strict=True):
        nickel_luminosity(row[1], row[2], row[3], t_day, out)
    peak = np.log10(light.max(axis=1))
    assert np.log10(0.066 * 1.9e43) < np.median(peak) < np.log10(0.102 * 2.7e43)
    assert peak.min() > np.log10(0.5 * 0.02 * 1.9e43)
    assert peak.max() < 43.1  # no brighter than the median of broad-lined SNe Ic


def test_shock_cooling_loses_the_energy_it_has() -> None:
    # Piro et al. (2021): all of E_th = (energy) R/(v t) that diffuses out; L scales with the radius
    # and early as t^(-4/(n-2)) = t^-1/2.
    t_day = np.array([0.05, 0.2])
    sphere = [shock_cooling(0.1, r, 1e50, t) for r in (1e13, 2e13) for t in t_day]
    light = np.array([4 * np.pi * SIGMA_CGS * r**2 * t**4 for t, r in sphere]).reshape(2, 2)
    np.testing.assert_allclose(light[1] / light[0], 2.0, rtol=1e-9)
    np.testing.assert_allclose(light[:, 0] / light[:, 1], 2.0, rtol=1e-9)
