"""Cooling of ejecta that a jet has shocked (Piro & Kollmeier 2018, ApJ 855, 103).

As in Nicholl et al. (2021, MNRAS 505, 3016): a part of the polar ejecta is shocked at the radius
c t_shock within a cone, and radiates its heat until its last layer is transparent.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from mmcoord.inference.kernels import C_CM_S, DAY_S, MPC_CM, MSUN_G, SIGMA_CGS, band_blackbody

__all__ = ["cocoon_flux", "cocoon_sphere"]

_SLOPE = 1.0
"""s: the shocked mass moves faster than v as v^-(s+1)."""


@numba.njit(cache=True)
def cocoon_sphere(
    shocked_msun: float,
    speed_c: float,
    kappa: float,
    cos_cocoon: float,
    shock_s: float,
    t_day: float,
) -> tuple[float, float]:
    """(temperature K, radius cm) at rest-frame days; (0, 0) where there is no light.

    L = (theta^2/2)^(1/3) m v R / t_d^2 (t/t_d)^(-4/(s+2)), t_d^2 = kappa m/(4 pi c v),
    R = c t_shock, ended by (1 + tanh(t_thin - t))/2 with times in days and
    t_thin = sqrt(c/v) t_d. The photosphere recedes as v (t/t_thin)^(-2/(s+3)), never beyond c.
    """
    if not (shocked_msun > 0.0 and t_day > 0.0 and cos_cocoon < 1.0):
        return 0.0, 0.0
    v = speed_c * C_CM_S
    mass_g = shocked_msun * MSUN_G
    td = math.sqrt(kappa * mass_g / (4.0 * math.pi * C_CM_S * v))
    thin_day = math.sqrt(1.0 / speed_c) * td / DAY_S
    theta = math.acos(cos_cocoon)
    light = (0.5 * theta * theta) ** (1.0 / 3.0) * mass_g * v * C_CM_S * shock_s / (td * td)
    light *= (t_day * DAY_S / td) ** (-4.0 / (_SLOPE + 2.0))
    light *= 0.5 * (1.0 + math.tanh(thin_day - t_day))
    front = min(v * (t_day / thin_day) ** (-2.0 / (_SLOPE + 3.0)), C_CM_S)
    radius = front * t_day * DAY_S
    return (light / (4.0 * math.pi * SIGMA_CGS * radius * radius)) ** 0.25, radius


@numba.njit(cache=True, parallel=True)
def cocoon_flux(
    shocked_msun: np.ndarray,
    speed_c: np.ndarray,
    kappa: float,
    cos_cocoon: np.ndarray,
    shock_s: float,
    distance_mpc: np.ndarray,
    redshift: np.ndarray,
    t_day: np.ndarray,
    band: np.ndarray,
    table: np.ndarray,
) -> np.ndarray:
    """Flux in 3631 Jy (n, m) of cocoons at observer's days ``t_day`` (increasing)."""
    n, m = len(shocked_msun), len(t_day)
    out = np.zeros((n, m))
    for i in numba.prange(n):
        stretch = 1.0 + redshift[i]
        scale = math.pi * stretch**4 / (distance_mpc[i] * MPC_CM) ** 2
        area, ln_t = 0.0, 0.0
        for j in range(m):
            if j == 0 or t_day[j] != t_day[j - 1]:
                temperature, radius = cocoon_sphere(
                    shocked_msun[i], speed_c[i], kappa, cos_cocoon[i], shock_s, t_day[j] / stretch
                )
                area = scale * radius * radius
                ln_t = math.log(max(temperature, 1.0) / stretch)
            if area > 0.0:
                out[i, j] = area * band_blackbody(table, band[j], ln_t)
    return out
