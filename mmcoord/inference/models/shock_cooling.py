"""Cooling of a shocked, extended envelope (Piro, Haynie & Yao 2021, ApJ 909, 209).

Eqs. 6, 12, 16, 17: a broken power law of density (n = 10, delta = 1.1, hence K = 0.119) and
kappa = 0.2 cm^2/g. The first peak of a type IIb supernova, which can look like a kilonova for
days (SN 2025ulz); with nickel it is the model ``sn_iib``
(:mod:`mmcoord.inference.models.nickel`), alone it is ``shock_cooling``.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from mmcoord.inference.kernels import (
    C_CM_S,
    DAY_S,
    MSUN_G,
    SIGMA_CGS,
    distinct,
)
from mmcoord.inference.models.base import Array, Model, Parameter
from mmcoord.inference.models.components import add_sphere, dimmed_mags
from mmcoord.inference.passbands import Passbands

__all__ = [
    "ENVELOPE_MASS",
    "ENVELOPE_RADIUS",
    "SHOCK_COOLING",
    "cooling_spheres",
    "shock_cooling",
]

_N, _DELTA, _KAPPA_ENV = 10.0, 1.1, 0.2
_K_ENV = (_N - 3.0) * (3.0 - _DELTA) / (4.0 * math.pi * (_N - _DELTA))
_SPEED_FACTOR = (_N - 5.0) * (5.0 - _DELTA) / ((_N - 3.0) * (3.0 - _DELTA)) * 2.0
_FIRST_DAY = 1e-4
_COLDEST_K = 1000.0
"""Below it the envelope has recombined and counts as dark."""


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


@numba.njit(cache=True)
def cooling_spheres(
    envelope_msun: float,
    log10_radius_cm: float,
    energy_1e50_erg: float,
    t_day: np.ndarray,
    ln_temperature: np.ndarray,
    radius2: np.ndarray,
) -> None:
    """Fill ln T and R^2 (cm^2; 0 where it is dark) at rest-frame days since explosion."""
    for j in range(len(t_day)):
        ln_temperature[j] = 0.0
        radius2[j] = 0.0
        if t_day[j] < _FIRST_DAY:
            continue
        temperature, radius = shock_cooling(
            envelope_msun, 10.0**log10_radius_cm, 1e50 * energy_1e50_erg, t_day[j]
        )
        if temperature > _COLDEST_K:
            ln_temperature[j] = math.log(temperature)
            radius2[j] = radius * radius


@numba.njit(cache=True, parallel=True, error_model="numpy")
def _cooling_magnitudes(
    theta: np.ndarray,
    distance_mpc: np.ndarray,
    redshift: np.ndarray,
    t_day: np.ndarray,
    band: np.ndarray,
    table: np.ndarray,
    host: np.ndarray,
) -> np.ndarray:
    n, m = theta.shape[0], len(t_day)
    out = np.empty((n, m))
    times, moment = distinct(t_day)
    for i in numba.prange(n):
        t_rest = (times - theta[i, 0]) / (1.0 + redshift[i])
        ln_temperature = np.empty(len(times))
        radius2 = np.empty(len(times))
        flux = np.zeros(m)
        cooling_spheres(theta[i, 2], theta[i, 3], theta[i, 4], t_rest, ln_temperature, radius2)
        add_sphere(ln_temperature, radius2, distance_mpc[i], redshift[i], moment, band, table, flux)
        dimmed_mags(flux, theta[i, 1], host, band, out[i])
    return out


def _magnitudes(
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    magnitudes: Array = _cooling_magnitudes(
        theta, distance_mpc, redshift, t_day, band, bands.blackbody, bands.host_mag_per_av
    )
    return magnitudes


ENVELOPE_MASS = Parameter("envelope_mass", "Msun", 0.003, 0.5, "log_uniform")
ENVELOPE_RADIUS = Parameter("log10_envelope_radius", "cm", 12.0, 14.0)

SHOCK_COOLING = Model(
    name="shock_cooling",
    version="1",
    reference="Piro, Haynie & Yao 2021, ApJ 909, 209",
    parameters=(
        Parameter("explosion_day", "d", -10.0, 14.0),
        Parameter("host_av", "mag", 0.0, 2.0, "normal", 0.0, 0.4),
        ENVELOPE_MASS,
        ENVELOPE_RADIUS,
        Parameter("envelope_energy", "1e50 erg", 0.01, 10.0, "log_uniform"),
    ),
    magnitudes=_magnitudes,
)
