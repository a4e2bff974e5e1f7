"""Names of bands, and curves against published numbers and direct integration."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcoord.bands import MODELLED, canonical, is_beyond_models, is_modelled
from mmcoord.errors import BadPhotometry
from mmcoord.inference.passbands import (
    LN_T_MAX,
    LN_T_MIN,
    N_TEMPERATURES,
    curve,
    passbands,
)
from tests.inference.light import C_CM_S, planck


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("lsstr", "lsst:r"),
        ("LSST-r", "lsst:r"),
        ("lsst:r", "lsst:r"),
        ("ztfg", "ztf:g"),
        ("ps1::z", "ps1:z"),
        ("PS1_y", "ps1:y"),
        ("2massks", "2mass:ks"),
        ("2MASS K", "2mass:ks"),
        ("sdssu", "sdss:u"),
        ("bessellv", "bessell:v"),
    ],
)
def test_usual_spellings_have_one_name(spelling: str, name: str) -> None:
    assert canonical(spelling) == name


@given(st.sampled_from(MODELLED), st.sampled_from(["", ":", "::", "_", "-", " "]), st.booleans())
def test_every_band_is_known_under_every_separator(band: str, separator: str, upper: bool) -> None:
    spelling = band.replace(":", separator)
    assert canonical(spelling.upper() if upper else spelling) == band


@pytest.mark.parametrize("letter", list("ugrizyJHK"))
def test_a_bare_letter_is_an_error_that_names_the_choices(letter: str) -> None:
    with pytest.raises(BadPhotometry, match=r"ambiguous: use .*:"):
        canonical(letter)


def test_a_stated_system_settles_a_bare_letter() -> None:
    assert canonical("r", default_system="ztf") == "ztf:r"
    assert canonical("K", default_system="2mass") == "2mass:ks"
    with pytest.raises(BadPhotometry, match="ztf has no filter 'z'"):
        canonical("z", default_system="ztf")


@given(st.text(max_size=12))
def test_no_text_does_more_than_raise_bad_photometry(text: str) -> None:
    try:
        name = canonical(text)
    except BadPhotometry:
        return
    assert is_modelled(name)


def test_radio_and_x_rays_are_known_as_not_modelled() -> None:
    assert is_beyond_models("radio-3GHz")
    assert is_beyond_models("X-ray-1keV")
    assert not is_beyond_models("lsst:r")


def test_names_need_no_numerics() -> None:
    code = (
        "import sys, mmcoord.bands; "
        "assert not {'numpy', 'numba', 'mmcoord.inference'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Pivot wavelengths (Angstrom) as published: 2MASS, SDSS and Pan-STARRS by Tonry et al. (2012)
# and the Spanish Virtual Observatory; ZTF by the same; within what versions of curves differ by.
@pytest.mark.parametrize(
    ("band", "pivot"),
    [
        ("ps1:g", 4849), ("ps1:r", 6201), ("ps1:i", 7535), ("ps1:z", 8674), ("ps1:y", 9628),
        ("sdss:g", 4702), ("sdss:r", 6176), ("sdss:i", 7490),
        ("2mass:j", 12358), ("2mass:h", 16458), ("2mass:ks", 21603),
        ("ztf:g", 4784), ("ztf:r", 6417), ("ztf:i", 7955),
    ],
)  # fmt: skip
def test_pivot_wavelengths_are_those_published(band: str, pivot: float) -> None:
    assert passbands((band,)).pivot_angstrom[0] == pytest.approx(pivot, rel=2e-3)


@pytest.mark.parametrize("band", MODELLED)
def test_blackbody_table_equals_direct_integration(band: str) -> None:
    wave, response = curve(band)
    fine = np.linspace(wave[0], wave[-1], 40001)
    photon = np.interp(fine, wave, response) / fine
    table = passbands((band,)).blackbody[0]
    for temperature in (2500.0, 6000.0, 30000.0):
        b = planck(C_CM_S / (fine * 1e-8), np.full(1, temperature))
        exact = np.trapezoid(b * photon, fine) / np.trapezoid(photon, fine) / 3.631e-20
        at = (np.log(temperature) - LN_T_MIN) / (LN_T_MAX - LN_T_MIN) * (N_TEMPERATURES - 1)
        assert np.interp(at, np.arange(N_TEMPERATURES), table) == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("band", ["lsst:u", "lsst:y", "ztf:g", "2mass:ks", "gaia:g", "wise:w2"])
def test_blackbody_table_between_its_nodes_is_within_a_thousandth(band: str) -> None:
    # A chord's error is at most an eighth of the second difference, wherever between the nodes;
    # of the band's own integral nothing but B_nu's curvature enters.
    table = passbands((band,)).blackbody[0]
    temperature = np.exp(np.linspace(LN_T_MIN, LN_T_MAX, N_TEMPERATURES))
    wave, response = curve(band)
    nu = C_CM_S / (wave * 1e-8)
    fine = np.exp(np.linspace(np.log(1000.0), np.log(1e5), 4001))
    photon = response / wave
    exact = np.array(
        [np.trapezoid(planck(nu, np.full(1, t)) * photon, wave) for t in fine]
    ) / (np.trapezoid(photon, wave) * 3.631e-20)  # fmt: skip
    chord = np.interp(np.log(fine), np.log(temperature), table)
    bend = np.abs(np.diff(table, 2)) / 8 / table[1:-1]
    warm = temperature[1:-1] > 1000.0
    assert bend[warm].max() < 1e-3
    # The rest is the quadrature over the band: 240 nodes against the curve's own.
    np.testing.assert_allclose(chord, exact, rtol=6e-3)


def test_extinction_dims_blue_more_by_the_published_ratios() -> None:
    # Schlafly & Finkbeiner (2011), table 6, R_V = 3.1: A_b/E(B-V) on the SFD scale; the law is
    # for true E(B-V) here, hence the factor 0.86 between the two.
    bands = passbands(("sdss:g", "sdss:r", "2mass:ks"), 0.1)
    expected = np.array([3.303, 2.285, 0.302]) * 0.1 / 0.86
    np.testing.assert_allclose(bands.mw_mag, expected, rtol=0.06)
