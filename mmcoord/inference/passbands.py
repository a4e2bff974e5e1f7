"""Transmission curves and what is integrated over them once per set of bands.

Curves come from installed packages, never from the network: speclite (LSST 2023, SDSS,
Pan-STARRS, 2MASS, Bessell, DECam, HSC, Gaia, MegaCam, Euclid, WISE; they include the detector
and, for telescopes on the ground, the atmosphere) and pyphot (ZTF; the filters alone, without
detector and atmosphere, as the Spanish Virtual Observatory lists them; mean wavelengths 4804.8,
6436.9 and 7968.2 Angstrom). The Milky Way's dust law is Fitzpatrick (1999), R_V = 3.1, from the
``extinction`` package.
"""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmcoord.errors import BadPhotometry

__all__ = ["LN_T_MAX", "LN_T_MIN", "N_TEMPERATURES", "Passbands", "curve", "passbands"]

Array = npt.NDArray[np.float64]

N_TEMPERATURES = 4096
LN_T_MIN = float(np.log(200.0))
LN_T_MAX = float(np.log(2.0e5))

_R_V = 3.1
_N_WAVES = 240
_H_ERG_S = 6.62607015e-27
_K_ERG_K = 1.380649e-16
_C_CM_S = 2.99792458e10
_AB_ZERO_CGS = 3.631e-20
"""3631 Jy in erg/s/cm^2/Hz."""

_SPECLITE = {
    "lsst": ("lsst2023", {}),
    "ps1": ("panstarrs", {}),
    "sdss": ("sdss2010", {}),
    "2mass": ("twomass", {"j": "J", "h": "H", "ks": "Ks"}),
    "bessell": ("bessell", {f: f.upper() for f in "ubvri"}),
    "decam": ("decam2014", {"y": "Y"}),
    "hsc": ("hsc2017", {"r": "r2", "i": "i2"}),
    "gaia": ("gaiadr3", {"g": "G", "bp": "BP", "rp": "RP"}),
    "megacam": ("cfht_megacam", {}),
    "euclid": ("Euclid", {"vis": "VIS", "y": "Y", "j": "J", "h": "H"}),
    "wise": ("wise2010", {"w1": "W1", "w2": "W2"}),
}


@dataclass(frozen=True)
class Passbands:
    """A set of bands with everything a model needs to turn a spectrum into magnitudes.

    All tables include the Milky Way's extinction ``ebv_mw``.
    """

    names: tuple[str, ...]
    ebv_mw: float
    pivot_angstrom: Array
    """(n_bands,) sqrt(int T lam dlam / int T dlam/lam)."""
    blackbody: Array
    """(n_bands, N_TEMPERATURES) photon-weighted mean of B_nu(T) over the band, in units of
    3631 Jy per steradian; nodes are linear in ln T from LN_T_MIN to LN_T_MAX."""
    wave_angstrom: Array
    """(n_bands, n_waves) wavelengths at which each curve is sampled."""
    weight: Array
    """(n_bands, n_waves) weights w such that sum(w f_nu) is the photon-weighted mean f_nu
    after extinction."""
    mw_mag: Array
    """(n_bands,) Milky Way extinction for a flat f_nu spectrum."""
    host_mag_per_av: Array
    """(n_bands,) A(pivot)/A_V of the same law, for dust at the host (taken at z = 0)."""


@functools.lru_cache(maxsize=64)
def curve(band: str) -> tuple[Array, Array]:
    """Wavelengths (Angstrom, increasing) and photon response of a canonical band.

    Raises
    ------
    BadPhotometry
        The band has no curve.
    """
    system, _, letter = band.partition(":")
    if system == "ztf":
        wave, response = _ztf(letter)
    elif system in _SPECLITE:
        import speclite.filters

        group, spelling = _SPECLITE[system]
        loaded = speclite.filters.load_filter(f"{group}-{spelling.get(letter, letter)}")
        wave = np.asarray(loaded.wavelength, dtype=np.float64)
        response = np.asarray(loaded.response, dtype=np.float64)
    else:
        raise BadPhotometry(f"no transmission curve for {band!r}", where="band")
    response = np.clip(response, 0.0, None)
    used = np.flatnonzero(response > 1e-4 * response.max())
    first, last = max(int(used[0]) - 1, 0), min(int(used[-1]) + 2, len(wave))
    return wave[first:last], response[first:last]


@functools.lru_cache(maxsize=16)
def passbands(names: tuple[str, ...], ebv_mw: float = 0.0) -> Passbands:
    """Tables for ``names`` (canonical), built once for each set and extinction."""
    waves = np.empty((len(names), _N_WAVES))
    weights = np.empty_like(waves)
    pivot = np.empty(len(names))
    for k, name in enumerate(names):
        waves[k], weights[k], pivot[k] = _quadrature(name)
    bare = weights
    weights = bare * 10.0 ** (-0.4 * ebv_mw * _R_V * _law(waves))
    return Passbands(
        names=names,
        ebv_mw=ebv_mw,
        pivot_angstrom=pivot,
        blackbody=_blackbody_table(waves, weights),
        wave_angstrom=waves,
        weight=weights,
        mw_mag=-2.5 * np.log10(weights.sum(axis=1)),
        host_mag_per_av=_law(pivot),
    )


def _quadrature(name: str) -> tuple[Array, Array, float]:
    """Nodes, weights of the mean over int T f_nu dnu/nu / int T dnu/nu, and pivot."""
    wave, response = curve(name)
    nodes = np.linspace(wave[0], wave[-1], _N_WAVES)
    # Cell averages of the curve rather than point values: measured curves are noisy.
    fine = np.linspace(wave[0], wave[-1], 20 * (_N_WAVES - 1) + 1)
    value = np.interp(fine, wave, response)
    hat = np.convolve(value, np.bartlett(41), mode="same") / 20.0
    smooth = hat[::20]
    photon = smooth / nodes
    photon[0] *= 0.5
    photon[-1] *= 0.5
    pivot = np.sqrt(np.trapezoid(value * fine, fine) / np.trapezoid(value / fine, fine))
    return nodes, photon / photon.sum(), float(pivot)


def _blackbody_table(waves: Array, weights: Array) -> Array:
    temperature = np.exp(np.linspace(LN_T_MIN, LN_T_MAX, N_TEMPERATURES))
    nu = _C_CM_S / (waves * 1e-8)
    table = np.empty((len(waves), N_TEMPERATURES))
    for k in range(len(waves)):
        x = _H_ERG_S * nu[k, :, None] / (_K_ERG_K * temperature[None, :])
        planck = 2.0 * _H_ERG_S * nu[k, :, None] ** 3 / _C_CM_S**2 / np.expm1(np.minimum(x, 700.0))
        table[k] = weights[k] @ planck / _AB_ZERO_CGS
    return table


def _law(wave: Array) -> Array:
    """A(lambda)/A_V."""
    import extinction

    flat = np.ascontiguousarray(np.clip(wave, 910.0, 6.0e4).ravel())
    return np.asarray(extinction.fitzpatrick99(flat, 1.0, _R_V)).reshape(np.shape(wave))


def _ztf(letter: str) -> tuple[Array, Array]:
    # The package is located, not imported: its import would load pandas for two columns.
    spec = importlib.util.find_spec("pyphot")
    if spec is None or not spec.submodule_search_locations:
        raise BadPhotometry("ZTF curves need the package pyphot", where="band")
    folder = Path(next(iter(spec.submodule_search_locations))) / "libs" / "ascii_sources"
    path = folder / f"ZTF_{letter}.csv"
    if not path.is_file():
        raise BadPhotometry(f"no transmission curve for 'ztf:{letter}'", where="band")
    lines = [line for line in path.read_text().splitlines() if line[:1].isdigit()]
    wave_nm, response = np.array([line.split(",") for line in lines], dtype=np.float64).T
    # The file rounds wavelengths to 0.1 nm, so some occur twice: average those.
    unique, inverse = np.unique(wave_nm, return_inverse=True)
    return 10.0 * unique, np.bincount(inverse, response) / np.bincount(inverse)
