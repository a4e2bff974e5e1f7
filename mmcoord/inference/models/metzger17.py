"""Kilonova of concentric shells (Metzger 2017, LRR 20, 3).

Mass outside of speed v is M (v/v_min)^-beta. Each shell is heated by the r-process, the outermost
also by free neutrons, cools by expansion and diffusion, and their lights add up; the photosphere
is where the optical depth outside of it is one.

Peer programs take different numbers for the same equations; here they are arguments of
:func:`shell_light`. The model takes Metzger's neutron mass of 1e-4 Msun, neutrons as the electron
fraction 0.1 leaves them, thermalization after Barnes et al. (2016) for the mass and speed at hand.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from mmcoord.inference.fastmath import fast_log
from mmcoord.inference.kernels import (
    C_CM_S,
    DAY_S,
    MSUN_G,
    distinct,
    to_mags,
)
from mmcoord.inference.models.base import Array, Model, Parameter
from mmcoord.inference.models.components import (
    add_sphere,
    heat_moment,
    thermalization_coefficients,
)
from mmcoord.inference.models.shells import (
    LN_TIMES_DAY,
    T_FIRST_S,
    TIMES_S,
    at_times,
    shell_step,
    sum_of,
)
from mmcoord.inference.passbands import Passbands

__all__ = ["METZGER17", "NEUTRON_MSUN", "NEUTRON_SHARE", "V_MAX_C", "shell_light"]

NEUTRON_MSUN = 1e-4
NEUTRON_SHARE = 0.8
"""Mass fraction of free neutrons at the very outside: 1 - 2 Y_e with Y_e = 0.1."""
V_MAX_C = 0.7
_N_SHELLS = 48
_NEUTRON_LIFE_S = 900.0
_NEUTRON_HEAT, _R_HEAT = 3.2e14, 2.1e10
"""erg/g/s: of neutrons, of the r-process at one day."""
_WARM = heat_moment(T_FIRST_S)


@numba.njit(cache=True, error_model="numpy")
def shell_light(
    mass_msun: float,
    speed_c: float,
    beta: float,
    kappa_r: float,
    v_max_c: float,
    neutron_msun: float,
    neutron_share: float,
    thermal: tuple[float, float, float],
    light: np.ndarray,
    ln_speed: np.ndarray,
) -> None:
    """Fill L (erg/s) and ln v_photosphere (c) at the times of the grid.

    t_d = 3 kappa m/(4 pi beta v c t), L_v = E_v/(t_d + t v/c), tau = kappa m/
    (4 pi v^2 t^2). ``kappa_r`` (cm^2/g) is that of r-process matter, 0.4 that of what the
    neutrons decay to.
    """
    n = _N_SHELLS
    ratio = math.log(v_max_c / speed_c) / n
    v = np.empty(n)
    mass = np.empty(n)
    cell = np.empty(n)
    neutrons = np.empty(n)
    u = np.empty(n)
    depth = np.empty(n)
    shine = np.empty(n)
    for i in range(n):
        v[i] = speed_c * math.exp((i + 0.5) * ratio)
        mass[i] = mass_msun * MSUN_G * math.exp(-beta * (i + 0.5) * ratio)
        cell[i] = (
            mass_msun * MSUN_G * (math.exp(-beta * i * ratio) - math.exp(-beta * (i + 1) * ratio))
        )
        neutrons[i] = neutron_share * 2.0 / math.pi * math.atan(neutron_msun * MSUN_G / mass[i])
        u[i] = 0.72 * _WARM
    a, b, d = thermal
    heat_one, alive_one = 0.0, 0.0
    for k in range(len(light)):
        t = TIMES_S[k]
        y = 2.0 * b * math.exp(d * LN_TIMES_DAY[k])
        heat = _R_HEAT * 0.36 * (math.exp(-a * t / DAY_S) + math.log1p(y) / y)
        heat *= math.exp(-1.3 * LN_TIMES_DAY[k])
        alive = math.exp(-t / _NEUTRON_LIFE_S)
        before = TIMES_S[max(k - 1, 0)]
        for i in range(n):
            # One loop without a branch, so that it is vectorised; the first step has no length.
            dead = 0.4 * neutrons[i] * (1.0 - alive)
            opaque = (kappa_r * (1.0 - neutrons[i]) + dead) * mass[i] / (4.0 * math.pi)
            diffusion = 3.0 * opaque / (beta * v[i] * C_CM_S * C_CM_S)
            out = diffusion + v[i] * t * t
            was = diffusion + v[i] * before * before
            loss = 0.5 / v[i] * (fast_log(out) - fast_log(was))
            one = (heat_one + _NEUTRON_HEAT * neutrons[i] * alive_one) * before * before
            two = (heat + _NEUTRON_HEAT * neutrons[i] * alive) * t * t
            stepped = shell_step(u[i], loss, one, two)
            u[i] = stepped if k > 0 else u[i]
            shine[i] = cell[i] * u[i] / out
            depth[i] = opaque / (v[i] * C_CM_S * t) ** 2
        light[k] = sum_of(shine)
        ln_speed[k] = _photosphere(depth, v, speed_c, v_max_c)
        heat_one, alive_one = heat, alive


@numba.njit(cache=True)
def _photosphere(depth: np.ndarray, v: np.ndarray, low: float, high: float) -> float:
    """ln of the speed at depth one, along a power law between shells; kept within the ejecta."""
    n = len(depth)
    i = 0
    while i < n and depth[i] > 1.0:
        i += 1
    # Beyond the first and last shells' middles, their power law goes on to the edge.
    i = min(max(i, 1), n - 1)
    slope = math.log(v[i] / v[i - 1]) / math.log(depth[i] / depth[i - 1])
    ln_v = math.log(v[i]) - slope * math.log(depth[i])
    return min(max(ln_v, math.log(low)), math.log(high))


@numba.njit(cache=True, parallel=True, error_model="numpy")
def _shell_magnitudes(
    theta: np.ndarray,
    distance_mpc: np.ndarray,
    redshift: np.ndarray,
    t_day: np.ndarray,
    band: np.ndarray,
    table: np.ndarray,
) -> np.ndarray:
    n, m = theta.shape[0], len(t_day)
    out = np.empty((n, m))
    times, moment = distinct(np.maximum(t_day, 1e-30))
    ln_times = np.log(times)
    for i in numba.prange(n):
        ln_t = ln_times - math.log(1.0 + redshift[i])
        light = np.empty(len(TIMES_S))
        ln_speed = np.empty(len(TIMES_S))
        ln_temperature = np.empty(len(times))
        radius2 = np.empty(len(times))
        flux = np.zeros(m)
        mass, speed, beta, kappa = theta[i, 0], theta[i, 1], theta[i, 2], theta[i, 3]
        thermal = thermalization_coefficients(mass, speed)
        shell_light(
            mass, speed, beta, kappa, V_MAX_C, NEUTRON_MSUN, NEUTRON_SHARE, thermal,
            light, ln_speed,
        )  # fmt: skip
        at_times(light, ln_speed, ln_t, ln_temperature, radius2)
        add_sphere(ln_temperature, radius2, distance_mpc[i], redshift[i], moment, band, table, flux)
        to_mags(flux, out[i])
    return out


def _magnitudes(
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    magnitudes: Array = _shell_magnitudes(
        theta, distance_mpc, redshift, t_day, band, bands.blackbody
    )
    return magnitudes


METZGER17 = Model(
    name="metzger17",
    version="1",
    reference="Metzger 2017, Living Reviews in Relativity 20, 3",
    parameters=(
        Parameter("ejecta_mass", "Msun", 1e-3, 0.1, "log_uniform"),
        Parameter("ejecta_velocity_min", "c", 0.03, 0.35),
        Parameter("mass_slope", "", 1.0, 6.0),
        Parameter("opacity", "cm2/g", 0.3, 20.0, "log_uniform"),
    ),
    magnitudes=_magnitudes,
    is_kilonova=True,
    distance="event",
    derived={"ejecta_mass_total_msun": ("Msun", lambda theta: theta[:, 0])},
)
