"""Stripped-envelope supernovae: nickel-powered (Ib/c), and with early shock cooling (IIb).

Nickel: Arnett (1982) diffusion with the heating of Nadyozhin (1994) and gamma-ray leakage,
photosphere with a temperature floor; the kernel is that of the kilonovae with another heating.

Type IIb: the same and the envelope of :mod:`mmcoord.inference.models.shock_cooling`, each its own
blackbody; here because a IIb can look like a kilonova for days (SN 2025ulz). One explosion feeds
both: the envelope's energy follows from that of the explosion (Nakar & Piro 2014).
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from mmcoord.inference.kernels import (
    C_CM_S,
    DAY_S,
    GRID_DAY,
    GRID_S,
    MSUN_G,
    diffuse,
    distinct,
    interpolate,
    nodes_until,
    photospheres,
)
from mmcoord.inference.models.base import Array, Model, Parameter
from mmcoord.inference.models.components import add_sphere, dimmed_mags
from mmcoord.inference.models.shock_cooling import ENVELOPE_MASS, ENVELOPE_RADIUS, cooling_spheres
from mmcoord.inference.passbands import Passbands

__all__ = ["SN_IBC", "SN_IIB", "nickel_luminosity", "passed_on_1e50_erg", "supernova_magnitudes"]

_KAPPA = 0.1
_KAPPA_GAMMA = 0.027
_NI_ERG = 3.9e10
_CO_ERG = 6.78e9
_NI_DAY = 8.8
_CO_DAY = 111.3
_PASSED_ON_1E50_ERG = 0.4
_CORE_MSUN, _ENVELOPE_MSUN = 3.0, 0.01


@numba.njit(cache=True, inline="always")
def _nickel_heating(t_day: float) -> float:
    """erg/s per gram of initial nickel."""
    ni = math.exp(-t_day / _NI_DAY)
    return _NI_ERG * ni + _CO_ERG * (math.exp(-t_day / _CO_DAY) - ni)


@numba.njit(cache=True)
def nickel_luminosity(
    ejecta_msun: float, nickel_msun: float, speed_c: float, t_day: np.ndarray, out: np.ndarray
) -> None:
    """L (erg/s) at rest-frame days since explosion (increasing); zero before 9 s."""
    v = speed_c * C_CM_S
    mass_g = ejecta_msun * MSUN_G
    td2 = 2.0 * _KAPPA * mass_g / (13.7 * v * C_CM_S)
    leak = 3.0 * _KAPPA_GAMMA * mass_g / (4.0 * math.pi * v * v)
    n = nodes_until(t_day[-1])
    heat = np.empty(n)
    light = np.empty(n)
    for k in range(n):
        heat[k] = nickel_msun * MSUN_G * _nickel_heating(GRID_DAY[k])
    diffuse(heat, heat[0] * GRID_S[0] ** 2 / td2, td2, light)
    interpolate(light, np.log(np.maximum(t_day, 1e-30)), out)
    for j in range(len(out)):
        if out[j] > 0.0:
            out[j] *= -math.expm1(-leak / (t_day[j] * DAY_S) ** 2)


@numba.njit(cache=True, parallel=True, error_model="numpy")
def supernova_magnitudes(
    theta: np.ndarray,
    distance_mpc: np.ndarray,
    redshift: np.ndarray,
    t_day: np.ndarray,
    band: np.ndarray,
    table: np.ndarray,
    host: np.ndarray,
) -> np.ndarray:
    """AB magnitudes (n, m). Columns: explosion day, ejecta, nickel fraction, speed, floor, A_V,
    and with nine columns also envelope mass, log10 radius, energy in 1e50 erg."""
    n, m = theta.shape[0], len(t_day)
    out = np.empty((n, m))
    if m == 0:
        return out
    times, moment = distinct(t_day)
    for i in numba.prange(n):
        t_rest = (times - theta[i, 0]) / (1.0 + redshift[i])
        light = np.empty(len(times))
        ln_temperature = np.empty(len(times))
        radius2 = np.empty(len(times))
        flux = np.zeros(m)
        v = theta[i, 3] * C_CM_S
        nickel_luminosity(theta[i, 1], theta[i, 1] * theta[i, 2], theta[i, 3], t_rest, light)
        ln_t = np.log(np.maximum(t_rest, 1e-30))
        photospheres(light, ln_t, v, theta[i, 4], ln_temperature, radius2)
        add_sphere(ln_temperature, radius2, distance_mpc[i], redshift[i], moment, band, table, flux)
        if theta.shape[1] == 9:
            cooling_spheres(theta[i, 6], theta[i, 7], theta[i, 8], t_rest, ln_temperature, radius2)
            add_sphere(
                ln_temperature, radius2, distance_mpc[i], redshift[i], moment, band, table, flux
            )
        dimmed_mags(flux, theta[i, 5], host, band, out[i])
    return out


def _magnitudes(
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    magnitudes: Array = supernova_magnitudes(
        theta, distance_mpc, redshift, t_day, band, bands.blackbody, bands.host_mag_per_av
    )
    return magnitudes


def passed_on_1e50_erg(explosion_1e51_erg: Array, core_msun: Array, envelope_msun: Array) -> Array:
    """Energy that the shock leaves in an extended envelope (Nakar & Piro 2014, ApJ 788, 193;
    Piro 2015, ApJ 808, L51), in 1e50 erg."""
    return np.asarray(
        _PASSED_ON_1E50_ERG
        * explosion_1e51_erg
        * (core_msun / _CORE_MSUN) ** -0.7
        * (envelope_msun / _ENVELOPE_MSUN) ** 0.7
    )


def _iib_magnitudes(
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    columns = theta.copy()
    ejecta, envelope = theta[:, 1], theta[:, 6]
    columns[:, 2] = theta[:, 2] / ejecta
    columns[:, 8] = passed_on_1e50_erg(theta[:, 8], ejecta, envelope)
    return _magnitudes(columns, distance_mpc, redshift, t_day, band, bands)


_EXPLOSION = Parameter("explosion_day", "d", -40.0, 14.0)
_FLOOR = Parameter("temperature_floor", "K", 3000.0, 8000.0, "log_uniform")
_HOST_AV = Parameter("host_av", "mag", 0.0, 2.0, "normal", 0.0, 0.4)

SN_IBC = Model(
    name="sn_ibc",
    version="1",
    reference="Arnett 1982, ApJ 253, 785; Nadyozhin 1994, ApJS 92, 527",
    parameters=(
        _EXPLOSION,
        Parameter("ejecta_mass", "Msun", 0.7, 10.0, "log_uniform"),
        Parameter("nickel_fraction", "", 0.005, 0.4, "log_uniform"),
        Parameter("ejecta_velocity", "c", 0.012, 0.08),
        _FLOOR,
        _HOST_AV,
    ),
    magnitudes=_magnitudes,
)

SN_IIB = Model(
    name="sn_iib",
    version="2",
    reference="Piro, Haynie & Yao 2021, ApJ 909, 209; Nakar & Piro 2014, ApJ 788, 193; "
    "Arnett 1982, ApJ 253, 785",
    parameters=(
        _EXPLOSION,
        Parameter("ejecta_mass", "Msun", 1.0, 7.0, "log_uniform"),
        Parameter("nickel_mass", "Msun", 0.02, 0.3, "log_uniform"),
        Parameter("ejecta_velocity", "c", 0.02, 0.05),
        _FLOOR,
        _HOST_AV,
        ENVELOPE_MASS,
        ENVELOPE_RADIUS,
        Parameter("explosion_energy", "1e51 erg", 0.3, 5.0, "log_uniform"),
    ),
    magnitudes=_iib_magnitudes,
)
