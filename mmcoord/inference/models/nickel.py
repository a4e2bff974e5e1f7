"""Stripped-envelope supernovae: nickel-powered (Ib/c), and with early shock cooling (IIb).

Nickel: Arnett (1982) diffusion with the heating of Nadyozhin (1994) and gamma-ray leakage,
photosphere with a temperature floor; the kernel is that of the kilonovae with another heating.

Shock cooling: Piro, Haynie & Yao (2021, ApJ 909, 209), eqs. 6, 12, 16, 17: an extended envelope
with a broken power-law density (n = 10, delta = 1.1, K = 0.119, kappa = 0.2 cm^2/g). It is here
because a IIb can look like a kilonova for days (SN 2025ulz).
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
    MPC_CM,
    MSUN_G,
    SIGMA_CGS,
    band_blackbody,
    diffusion_step,
    photosphere,
    to_mag,
)
from mmcoord.inference.models.base import Array, Model, Parameter
from mmcoord.inference.passbands import Passbands

__all__ = ["SN_IBC", "SN_IIB", "nickel_luminosity", "shock_cooling", "supernova_magnitudes"]

_KAPPA = 0.1
_KAPPA_GAMMA = 0.027
_NI_ERG = 3.9e10
_CO_ERG = 6.78e9
_NI_DAY = 8.8
_CO_DAY = 111.3

_N, _DELTA, _K_ENV, _KAPPA_ENV = 10.0, 1.1, 0.119, 0.2
_SPEED_FACTOR = (_N - 5.0) * (5.0 - _DELTA) / ((_N - 3.0) * (3.0 - _DELTA)) * 2.0

_GRID_S = GRID_DAY * DAY_S


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
    x1 = _GRID_S[0] ** 2 / td2
    q1 = nickel_msun * MSUN_G * _nickel_heating(GRID_DAY[0])
    light = q1 * x1
    x0, q0, k = x1, q1, 0
    for j in range(len(t_day)):
        t = t_day[j]
        if t < GRID_DAY[0]:
            out[j] = 0.0
            continue
        if j > 0 and t == t_day[j - 1]:
            out[j] = out[j - 1]
            continue
        while k + 1 < len(GRID_DAY) and GRID_DAY[k + 1] <= t:
            k += 1
            x2 = _GRID_S[k] ** 2 / td2
            q2 = nickel_msun * MSUN_G * _nickel_heating(GRID_DAY[k])
            if k == 1:
                x0, q0 = 2.0 * x1 - x2, 2.0 * q1 - q2
            light = diffusion_step(light, x0, x1, x2, q0, q1, q2)
            x0, q0, x1, q1 = x1, q1, x2, q2
        here = light
        t_s = t * DAY_S
        x2 = t_s * t_s / td2
        if x2 > x1 * (1.0 + 1e-12):
            q2 = nickel_msun * MSUN_G * _nickel_heating(t)
            if k == 0:
                x0, q0 = 2.0 * x1 - x2, 2.0 * q1 - q2
            here = diffusion_step(light, x0, x1, x2, q0, q1, q2)
        out[j] = here * -math.expm1(-leak / (t_s * t_s))


@numba.njit(cache=True)
def shock_cooling(
    envelope_msun: float, radius_cm: float, energy_erg: float, t_day: float
) -> tuple[float, float]:
    """(temperature K, radius cm) of the cooling envelope at rest-frame days since explosion."""
    t = t_day * DAY_S
    mass_g = envelope_msun * MSUN_G
    vt = math.sqrt(_SPEED_FACTOR * energy_erg / mass_g)
    td = math.sqrt(3.0 * _KAPPA_ENV * _K_ENV * mass_g / ((_N - 1.0) * vt * C_CM_S))
    light = math.pi * (_N - 1.0) / (3.0 * (_N - 5.0)) * C_CM_S * radius_cm * vt * vt / _KAPPA_ENV
    if t < td:
        light *= (td / t) ** (4.0 / (_N - 2.0))
    else:
        light *= math.exp(-0.5 * (t * t / (td * td) - 1.0))
    tph = math.sqrt(3.0 * _KAPPA_ENV * _K_ENV * mass_g / (2.0 * (_N - 1.0) * vt * vt))
    if t < tph:
        radius = (tph / t) ** (2.0 / (_N - 1.0)) * vt * t
    else:
        thin = (_DELTA - 1.0) / (_N - 1.0) * (t * t / (tph * tph) - 1.0) + 1.0
        radius = thin ** (-1.0 / (_DELTA - 1.0)) * vt * t
    if light <= 0.0 or radius <= 0.0:
        return 0.0, 0.0
    return (light / (4.0 * math.pi * SIGMA_CGS * radius * radius)) ** 0.25, radius


@numba.njit(cache=True, parallel=True)
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
    for i in numba.prange(n):
        stretch = 1.0 + redshift[i]
        t_rest = (t_day - theta[i, 0]) / stretch
        light = np.empty(m)
        v = theta[i, 3] * C_CM_S
        nickel_luminosity(theta[i, 1], theta[i, 1] * theta[i, 2], theta[i, 3], t_rest, light)
        scale = math.pi * stretch**4 / (distance_mpc[i] * MPC_CM) ** 2
        ln_t, area, ln_cool, cool = 0.0, 0.0, 0.0, 0.0
        for j in range(m):
            if light[j] <= 0.0:
                out[i, j] = 60.0
                continue
            if area == 0.0 or t_day[j] != t_day[j - 1]:
                temperature, radius = photosphere(light[j], t_rest[j] * DAY_S, v, theta[i, 4])
                ln_t = math.log(temperature / stretch)
                area = scale * radius * radius
                if theta.shape[1] == 9:
                    temperature, radius = shock_cooling(
                        theta[i, 6], 10.0 ** theta[i, 7], 1e50 * theta[i, 8], t_rest[j]
                    )
                    cool = 0.0
                    if temperature > 1000.0:
                        ln_cool = math.log(temperature / stretch)
                        cool = scale * radius * radius
            flux = area * band_blackbody(table, band[j], ln_t)
            if cool > 0.0:
                flux += cool * band_blackbody(table, band[j], ln_cool)
            out[i, j] = min(to_mag(flux) + theta[i, 5] * host[band[j]], 60.0)
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


_NICKEL = (
    Parameter("explosion_day", "d", -40.0, 14.0),
    Parameter("ejecta_mass", "Msun", 0.7, 10.0, "log_uniform"),
    Parameter("nickel_fraction", "", 0.005, 0.4, "log_uniform"),
    Parameter("ejecta_velocity", "c", 0.012, 0.08),
    Parameter("temperature_floor", "K", 3000.0, 8000.0, "log_uniform"),
    Parameter("host_av", "mag", 0.0, 2.0, "normal", 0.0, 0.4),
)

SN_IBC = Model(
    name="sn_ibc",
    version="1",
    reference="Arnett 1982, ApJ 253, 785; Nadyozhin 1994, ApJS 92, 527",
    parameters=_NICKEL,
    magnitudes=_magnitudes,
)

SN_IIB = Model(
    name="sn_iib",
    version="1",
    reference="Piro, Haynie & Yao 2021, ApJ 909, 209; Arnett 1982, ApJ 253, 785",
    parameters=(
        *_NICKEL,
        Parameter("envelope_mass", "Msun", 0.003, 0.5, "log_uniform"),
        Parameter("log10_envelope_radius", "cm", 12.0, 14.0),
        Parameter("envelope_energy", "1e50 erg", 0.01, 10.0, "log_uniform"),
    ),
    magnitudes=_magnitudes,
)
