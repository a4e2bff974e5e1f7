"""Kilonova of shells with two opacities (Hotokezaka & Nakar 2020, ApJ 891, 152).

Density falls as v^-n between two speeds; opacity is one number inside a third speed and another
outside. Each shell keeps its heat until it is transparent, L = erfc(sqrt(t_d/(2 t^2)))
E/(min(t, t_d/t) + v t/c), t_d = tau t^2 v/c; the photosphere lies at tau = 1.

Heating is that of Korobkin et al. (2012) with half of it thermalized, as NMMA has it, in place of
the paper's table of nuclides.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from mmcoord.inference.fastmath import fast_exp
from mmcoord.inference.kernels import C_CM_S, MSUN_G, distinct, to_mags
from mmcoord.inference.models.base import Array, Model, Parameter
from mmcoord.inference.models.components import add_sphere, heat_moment, heating_rate
from mmcoord.inference.models.shells import (
    LN_TIMES_DAY,
    T_FIRST_S,
    TIMES_S,
    at_times,
    shell_step,
    sum_of,
)
from mmcoord.inference.passbands import Passbands

__all__ = ["HOTOKEZAKA20", "shell_light"]

_N_SHELLS = 64
_THERMAL = 0.5
_STEP = float(LN_TIMES_DAY[1] - LN_TIMES_DAY[0])
_HEAT = np.array([_THERMAL * heating_rate(float(t)) for t in TIMES_S])
_WARM = _THERMAL * heat_moment(T_FIRST_S)


@numba.njit(cache=True, inline="always", error_model="numpy")
def _erfc(x: float) -> float:
    """Within 1.5e-7 for x >= 0 (Abramowitz & Stegun 7.1.26).

    Where it is next to nothing it stays a normal number: processors are slow with others.
    """
    s = 1.0 / (1.0 + 0.3275911 * x)
    p = 1.061405429
    p = -1.453152027 + s * p
    p = 1.421413741 + s * p
    p = -0.284496736 + s * p
    p = 0.254829592 + s * p
    return s * p * fast_exp(max(-x * x, -200.0))


@numba.njit(cache=True, inline="always", error_model="numpy")
def _rate(td_s2: float, root_s: float, v: float, t: float, per_t: float) -> float:
    """lambda (1/s): what part of its heat a shell loses to light in a second.

    ``root_s`` is sqrt(t_d^2/2), ``per_t`` 1/t.
    """
    return _erfc(root_s * per_t) / (min(t, td_s2 * per_t) + v * t)


@numba.njit(cache=True, error_model="numpy")
def shell_light(
    mass_msun: float,
    v_min: float,
    v_mid: float,
    v_max: float,
    kappa_in: float,
    kappa_out: float,
    slope: float,
    light: np.ndarray,
    ln_speed: np.ndarray,
) -> None:
    """Fill L (erg/s) and ln v_photosphere (c) at the times of the grid.

    Speeds in c, opacities in cm^2/g inside and outside of ``v_mid``, rho ~ v^-slope.
    """
    n = _N_SHELLS
    ratio = math.log(v_max / v_min)
    p = slope - 1.0
    whole = 1.0 - (v_max / v_min) ** (3.0 - slope)
    unit = mass_msun * MSUN_G * (slope - 3.0) / (4.0 * math.pi * (v_min * C_CM_S) ** 2 * whole * p)
    v = np.empty(n)
    cell = np.empty(n)
    td_s2 = np.empty(n)
    root_s = np.empty(n)
    u = np.empty(n)
    rate_one = np.empty(n)
    shine = np.empty(n)
    edge, middle = (v_max / v_min) ** -p, (v_mid / v_min) ** -p
    for i in range(n):
        # Finer towards the edge, where the first light comes from.
        low = math.exp(ratio * (1.0 - (1.0 - i / n) ** 2))
        high = math.exp(ratio * (1.0 - (1.0 - (i + 1) / n) ** 2))
        x = math.sqrt(low * high)
        v[i] = v_min * x
        cell[i] = mass_msun * MSUN_G * (low ** (3.0 - slope) - high ** (3.0 - slope)) / whole
        outer = kappa_out * (min(x**-p, middle) - edge)
        td_s2[i] = unit * (outer + kappa_in * max(x**-p - middle, 0.0)) * v[i]
        root_s[i] = math.sqrt(0.5 * td_s2[i])
        u[i] = _WARM
        rate_one[i] = 0.0
    for k in range(len(light)):
        t = TIMES_S[k]
        between = t * math.exp(-0.5 * _STEP)
        before = TIMES_S[max(k - 1, 0)]
        per_t, per_between = 1.0 / t, 1.0 / between
        one, two = _HEAT[max(k - 1, 0)] * before * before, _HEAT[k] * t * t
        for i in range(n):
            # One loop without a branch, so that it is vectorised; the first step has no length.
            rate = _rate(td_s2[i], root_s[i], v[i], t, per_t)
            # Simpson's rule in ln t.
            inside = 4.0 * between * _rate(td_s2[i], root_s[i], v[i], between, per_between)
            loss = _STEP / 6.0 * (rate_one[i] * before + inside + rate * t)
            stepped = shell_step(u[i], loss, one, two)
            u[i] = stepped if k > 0 else u[i]
            rate_one[i] = rate
            shine[i] = cell[i] * u[i] * per_t * rate
        light[k] = sum_of(shine)
        ln_speed[k] = _photosphere(t * t / unit, v_min, p, kappa_in, kappa_out, middle, edge)


@numba.njit(cache=True)
def _photosphere(
    depth: float,
    v_min: float,
    p: float,
    kappa_in: float,
    kappa_out: float,
    middle: float,
    edge: float,
) -> float:
    """ln of the speed (c) outside of which the optical depth is one; within the ejecta.

    tau = 1 where kappa_out (x^-p - edge) = ``depth`` outside of the middle, and so on inside.
    """
    outer = kappa_out * (middle - edge)
    if depth < outer:
        power = depth / kappa_out + edge
    else:
        power = min((depth - outer) / kappa_in + middle, 1.0)
    return math.log(v_min) - math.log(power) / p


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
        mass, v_min, v_max, part = theta[i, 0], theta[i, 1], theta[i, 2], theta[i, 3]
        shell_light(
            mass, v_min, v_min + part * (v_max - v_min), v_max, theta[i, 4], theta[i, 5],
            theta[i, 6], light, ln_speed,
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


HOTOKEZAKA20 = Model(
    name="hotokezaka20",
    version="1",
    reference="Hotokezaka & Nakar 2020, ApJ 891, 152",
    parameters=(
        Parameter("ejecta_mass", "Msun", 1e-3, 0.1, "log_uniform"),
        Parameter("ejecta_velocity_min", "c", 0.03, 0.2),
        Parameter("ejecta_velocity_max", "c", 0.25, 0.6),
        Parameter("velocity_of_opacity_change", "", 0.05, 0.95),
        Parameter("opacity_inside", "cm2/g", 0.3, 20.0, "log_uniform"),
        Parameter("opacity_outside", "cm2/g", 0.1, 10.0, "log_uniform"),
        Parameter("density_slope", "", 3.5, 6.0),
    ),
    magnitudes=_magnitudes,
    is_kilonova=True,
    distance="event",
    derived={"ejecta_mass_total_msun": ("Msun", lambda theta: theta[:, 0])},
)
