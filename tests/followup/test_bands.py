"""Bands against the filter curves themselves."""

from __future__ import annotations

import pytest
import speclite.filters

from followup.bands import (
    EFFECTIVE_WAVELENGTH_NM,
    extinction_mag,
    nearest_band,
)
from mmcoord.bands import MODELLED

_CURVES = {
    "lsst": ("lsst2023", {}),
    "sdss": ("sdss2010", {}),
    "ps1": ("panstarrs", {}),
    "decam": ("decam2014", {"y": "Y"}),
    "2mass": ("twomass", {"j": "J", "h": "H", "ks": "Ks"}),
    "bessell": ("bessell", {b: b.upper() for b in "ubvri"}),
    "hsc": ("hsc2017", {"r": "r2", "i": "i2"}),
    "megacam": ("cfht_megacam", {}),
    "euclid": ("Euclid", {"y": "Y", "j": "J", "h": "H"}),
    "wise": ("wise2010", {"w1": "W1", "w2": "W2"}),
}  # fmt: skip


@pytest.mark.parametrize(
    # speclite ships no ZTF curves
    "band",
    [band for band in sorted(EFFECTIVE_WAVELENGTH_NM) if not band.startswith("ztf")],
)
def test_wavelengths_are_those_of_the_curves(band: str) -> None:
    system, letter = band.split(":")
    group, names = _CURVES[system]
    curve = speclite.filters.load_filter(f"{group}-{names.get(letter, letter)}")
    expected = curve.effective_wavelength.to_value("nm")
    assert EFFECTIVE_WAVELENGTH_NM[band] == pytest.approx(expected, rel=0.005)


def test_every_band_of_the_engine_is_known_except_the_very_broad() -> None:
    broad = {"gaia:g", "gaia:bp", "gaia:rp", "ps1:w", "euclid:vis"}
    assert set(EFFECTIVE_WAVELENGTH_NM) == set(MODELLED) - broad


@pytest.mark.parametrize(
    ("band", "available", "expected"),
    [
        ("sdss:r", ["lsst:g", "lsst:r", "lsst:i"], "lsst:r"),
        ("decam:z", ["lsst:i", "lsst:z", "lsst:y"], "lsst:z"),
        ("ztf:i", ["lsst:i", "lsst:z"], "lsst:i"),
        ("lsst:r", ["ps1:r", "lsst:r"], "lsst:r"),
        ("2mass:ks", ["2mass:h", "lsst:y"], None),
        ("lsst:u", ["lsst:g"], None),
        ("lsst:r", ["radio-3GHz"], None),
        ("lsst:r", [], None),
    ],
)
def test_a_band_is_stood_in_for_only_by_its_like(
    band: str, available: list[str], expected: str | None
) -> None:
    assert nearest_band(band, available) == expected


def test_no_band_of_a_survey_stands_in_for_its_neighbour() -> None:
    for band in EFFECTIVE_WAVELENGTH_NM:
        system = band.split(":")[0]
        others = [b for b in EFFECTIVE_WAVELENGTH_NM if b.split(":")[0] == system and b != band]
        assert nearest_band(band, others) is None


def test_air_dims_blue_light_most() -> None:
    bands = ["lsst:u", "lsst:g", "lsst:r", "lsst:i", "lsst:z"]
    dims = [extinction_mag(band) for band in bands]
    assert dims == sorted(dims, reverse=True)
    assert all(extinction_mag(band) > 0 for band in EFFECTIVE_WAVELENGTH_NM)
