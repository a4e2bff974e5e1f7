"""Type Ia supernovae from the Hsiao et al. (2007, ApJ 663, 1187) template, version 3.

The template is the subsampled copy inside the ``sncosmo`` package (5 days by 50 Angstrom);
nothing is downloaded. It is integrated once per set of bands on a grid of redshift and phase.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from pathlib import Path

import numba
import numpy as np
import numpy.typing as npt

from mmcoord.errors import ConfigError
from mmcoord.inference.models.base import Array, Model, Parameter
from mmcoord.inference.passbands import Passbands, curve

__all__ = ["SN_IA", "template"]

_C_ANGSTROM_S = 2.99792458e18
_AB_ZERO_CGS = 3.631e-20
_PHASES_DAY = np.arange(-20.0, 85.1, 1.0)
_REDSHIFTS = np.linspace(0.0, 0.8, 33)


@functools.lru_cache(maxsize=1)
def template() -> tuple[Array, Array, Array]:
    """(phase days, wavelength Angstrom, f_lambda (n_phases, n_waves)), peak B magnitude 0 (AB).

    Phases are interpolated to one day with a cubic spline.
    """
    from astropy.io import fits
    from scipy.interpolate import CubicSpline

    spec = importlib.util.find_spec("sncosmo")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("the SN Ia template needs the package sncosmo")
    folder = Path(next(iter(spec.submodule_search_locations)))
    with fits.open(folder / "data" / "models" / "Hsiao_SED_V3_subsampled.fits") as hdus:
        header, data = hdus[0].header, np.asarray(hdus[0].data, dtype=np.float64)
    phase = header["CRVAL2"] + header["CDELT2"] * np.arange(data.shape[0])
    wave = header["CRVAL1"] + header["CDELT1"] * np.arange(data.shape[1])
    flux = np.clip(CubicSpline(phase, data, axis=0)(_PHASES_DAY), 0.0, None)
    blue, response = curve("bessell:b")
    peak = np.interp(blue, wave, flux[int(np.searchsorted(_PHASES_DAY, 0.0))])
    mean = np.trapezoid(peak * blue**2 / _C_ANGSTROM_S * response / blue, blue)
    mean /= np.trapezoid(response / blue, blue)
    return _PHASES_DAY, wave, flux * (_AB_ZERO_CGS / mean)


@functools.lru_cache(maxsize=16)
def _table(names: tuple[str, ...], ebv_mw: float) -> Array:
    """(n_bands, n_redshifts, n_phases) mean f_nu at 10 pc in 3631 Jy, peak M_B = 0."""
    from mmcoord.inference.passbands import passbands

    bands = passbands(names, ebv_mw)
    _, wave, flux = template()
    out = np.empty((len(names), len(_REDSHIFTS), len(_PHASES_DAY)))
    for b in range(len(names)):
        for k, z in enumerate(_REDSHIFTS):
            rest = bands.wave_angstrom[b] / (1.0 + z)
            position = np.clip((rest - wave[0]) / (wave[1] - wave[0]), 0.0, len(wave) - 1.001)
            low = position.astype(np.int64)
            part = position - low
            f_lambda = flux[:, low] * (1.0 - part) + flux[:, low + 1] * part
            inside = (rest >= wave[0]) & (rest <= wave[-1])
            f_nu = f_lambda * inside / (1.0 + z) * bands.wave_angstrom[b] ** 2 / _C_ANGSTROM_S
            out[b, k] = f_nu @ bands.weight[b] / _AB_ZERO_CGS
    return np.maximum(out, 1e-40)


@numba.njit(cache=True, parallel=True)
def _interpolate(
    theta: np.ndarray,
    distance_mpc: np.ndarray,
    redshift: np.ndarray,
    t_day: np.ndarray,
    band: np.ndarray,
    table: np.ndarray,
    host: np.ndarray,
) -> np.ndarray:
    n, m = theta.shape[0], len(t_day)
    n_z, n_phase = table.shape[1], table.shape[2]
    out = np.empty((n, m))
    for i in numba.prange(n):
        z = min(max(redshift[i] / 0.8 * (n_z - 1), 0.0), n_z - 1.000001)
        k = int(z)
        f = z - k
        offset = theta[i, 2] + 5.0 * math.log10(distance_mpc[i] * 1e5)
        for j in range(m):
            phase = (t_day[j] - theta[i, 0]) / ((1.0 + redshift[i]) * theta[i, 1])
            if phase <= -20.0:
                out[i, j] = 60.0
                continue
            p = min(phase + 20.0, n_phase - 1.000001)
            q = int(p)
            g = p - q
            b = band[j]
            low = table[b, k, q] * (1.0 - g) + table[b, k, q + 1] * g
            high = table[b, k + 1, q] * (1.0 - g) + table[b, k + 1, q + 1] * g
            flux = low * (1.0 - f) + high * f
            out[i, j] = min(offset - 2.5 * math.log10(flux) + theta[i, 3] * host[b], 60.0)
    return out


def _magnitudes(
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    table = _table(bands.names, bands.ebv_mw)
    magnitudes: Array = _interpolate(
        theta, distance_mpc, redshift, t_day, band, table, bands.host_mag_per_av
    )
    return magnitudes


SN_IA = Model(
    name="sn_ia",
    version="1",
    reference="Hsiao et al. 2007, ApJ 663, 1187 (version 3, as subsampled in sncosmo)",
    parameters=(
        Parameter("peak_day", "d", -60.0, 34.0),
        Parameter("stretch", "", 0.6, 1.4, "normal", 1.0, 0.12),
        Parameter("peak_abs_mag_b", "mag", -20.5, -17.5, "normal", -19.3, 0.4),
        Parameter("host_av", "mag", 0.0, 2.5, "normal", 0.0, 0.4),
    ),
    magnitudes=_magnitudes,
)
