"""Components of r-process ejecta: spheres with grey opacity whose blackbodies are summed.

Each component is heated by the r-process (Korobkin et al. 2012, MNRAS 426, 1940) with the
thermalization of Barnes et al. (2016, ApJ 829, 110), cools by diffusion
(:mod:`mmcoord.inference.kernels`) and radiates as a blackbody whose temperature does not fall
below a floor. Seen along an axis, a component may show more or less of its area than on average
(Darbha & Kasen 2020, ApJ 897, 150, as Nicholl et al. 2021, MNRAS 505, 3016, use it).
"""

from __future__ import annotations

import itertools
import math

import numba
import numpy as np

from mmcoord.inference.fastmath import fast_exp, fast_log
from mmcoord.inference.kernels import (
    C_CM_S,
    DAY_S,
    GRID_DAY,
    GRID_S,
    LN_GRID_DAY,
    MPC_CM,
    MSUN_G,
    add_blackbody,
    diffuse,
    distinct,
    interpolate,
    nodes_until,
    photospheres,
    to_mags,
)
from mmcoord.inference.models.base import Array

__all__ = [
    "KAPPA_GAMMA_TRAPPED",
    "NOTHING_MORE",
    "SPHERICAL",
    "add_sphere",
    "bolometric_luminosity",
    "component_magnitudes",
    "dimmed_mags",
    "heat_moment",
    "heating_rate",
    "thermalization_coefficients",
]

KAPPA_GAMMA_TRAPPED = 1.0e4
"""cm^2/g: gamma rays do not escape, as in MOSFiT."""
SPHERICAL: Array = np.ones((0, 0))
"""For ``aspect``: every component looks the same from everywhere."""
NOTHING_MORE: Array = np.zeros((0, 0))
"""For ``more_flux``: nothing shines but the components."""

_MASSES = np.array([1e-3, 5e-3, 1e-2, 5e-2, 1e-1])
_SPEEDS = np.array([0.1, 0.2, 0.3, 0.4])
# Barnes et al. (2016), Table 1: rows are masses, columns speeds.
_A = np.array(
    [
        [2.01, 4.52, 8.16, 16.3],
        [0.81, 1.90, 3.20, 5.00],
        [0.56, 1.31, 2.19, 3.00],
        [0.27, 0.55, 0.95, 2.00],
        [0.20, 0.39, 0.65, 0.90],
    ]
)
_B = np.array(
    [
        [0.28, 0.62, 1.19, 2.40],
        [0.19, 0.28, 0.45, 0.65],
        [0.17, 0.21, 0.31, 0.45],
        [0.10, 0.13, 0.15, 0.17],
        [0.06, 0.11, 0.12, 0.12],
    ]
)
_D = np.array(
    [
        [1.12, 1.39, 1.52, 1.65],
        [0.86, 1.21, 1.39, 1.50],
        [0.74, 1.13, 1.32, 1.40],
        [0.60, 0.90, 1.13, 1.25],
        [0.63, 0.79, 1.04, 1.50],
    ]
)

_Q0 = 4.0e18
"""erg/g/s: twice the 2e18 of Korobkin et al. (2012), whose 0.5 is the thermalization."""
_T0_S, _SIGMA_S = 1.3, 0.11


@numba.njit(cache=True)
def heating_rate(t_s: float) -> float:
    """r-process heating in erg/g/s before thermalization (Korobkin et al. 2012, eq. 4)."""
    y = (t_s - _T0_S) / _SIGMA_S
    # For large y, 1/2 - atan(y)/pi loses its digits; atan(1/y)/pi is the same number.
    part = math.atan(1.0 / y) / math.pi if y > 1.0 else 0.5 - math.atan(y) / math.pi
    rate: float = _Q0 * part**1.3
    return rate


def heat_moment(end_s: float) -> float:
    """int_0^end qdot t dt (erg s/g), by quadrature: the plateau before 1.3 s counts for a day."""
    from scipy.integrate import quad

    edges = [t for t in (0.0, 1.0, 1.3, 2.0, 4.0) if t < end_s] + [end_s]
    pieces = itertools.pairwise(edges)
    return float(sum(quad(lambda t: heating_rate(t) * t, a, b, epsrel=1e-10)[0] for a, b in pieces))


_S0 = heat_moment(float(GRID_S[0]))
_Q_GRID = np.array([heating_rate(t) for t in GRID_S])


@numba.njit(cache=True)
def _bilinear(table: np.ndarray, mass_msun: float, speed_c: float) -> float:
    i = min(max(int(np.searchsorted(_MASSES, mass_msun)) - 1, 0), len(_MASSES) - 2)
    j = min(max(int(np.searchsorted(_SPEEDS, speed_c)) - 1, 0), len(_SPEEDS) - 2)
    f = (mass_msun - _MASSES[i]) / (_MASSES[i + 1] - _MASSES[i])
    g = (speed_c - _SPEEDS[j]) / (_SPEEDS[j + 1] - _SPEEDS[j])
    low = table[i, j] * (1.0 - g) + table[i, j + 1] * g
    high = table[i + 1, j] * (1.0 - g) + table[i + 1, j + 1] * g
    value: float = low * (1.0 - f) + high * f
    return value


@numba.njit(cache=True)
def thermalization_coefficients(mass_msun: float, speed_c: float) -> tuple[float, float, float]:
    """(a, b, d) of Barnes et al. (2016), bilinear, extrapolated linearly, kept positive."""
    a = max(_bilinear(_A, mass_msun, speed_c), 0.01)
    b = max(_bilinear(_B, mass_msun, speed_c), 0.005)
    d = max(_bilinear(_D, mass_msun, speed_c), 0.1)
    return a, b, d


@numba.njit(cache=True, error_model="numpy")
def _heat(mass_msun: float, a: float, b: float, d: float, heat: np.ndarray) -> None:
    """L_in (erg/s) at the first nodes of the grid."""
    mass_g = mass_msun * MSUN_G
    for k in range(len(heat)):
        y = 2.0 * b * fast_exp(d * LN_GRID_DAY[k])
        # log(1 + y) loses digits of a small y, for which the ratio is 1 - y/2 + y^2/3.
        ratio = fast_log(1.0 + y) / y
        ratio = 1.0 - y * (0.5 - y / 3.0) if y < 1e-4 else ratio
        heat[k] = 0.36 * mass_g * _Q_GRID[k] * (fast_exp(-a * GRID_DAY[k]) + ratio)


@numba.njit(cache=True, error_model="numpy")
def _luminosities(
    mass_msun: float,
    speed_c: float,
    kappa: float,
    kappa_gamma: float,
    ln_t_day: np.ndarray,
    out: np.ndarray,
) -> None:
    """L (erg/s) at ln of rest-frame days (increasing); zero before the first node of the grid."""
    n = nodes_until(math.exp(ln_t_day[-1]))
    heat = np.empty(n)
    light = np.empty(n)
    mass_g = mass_msun * MSUN_G
    v = speed_c * C_CM_S
    td2 = 2.0 * kappa * mass_g / (13.7 * v * C_CM_S)
    a, b, d = thermalization_coefficients(mass_msun, speed_c)
    _heat(mass_msun, a, b, d, heat)
    diffuse(heat, 2.0 * _S0 / td2 * heat[0] / _Q_GRID[0], td2, light)
    interpolate(light, ln_t_day, out)
    leak = 3.0 * kappa_gamma * mass_g / (4.0 * math.pi * (v * DAY_S) ** 2)
    if leak < 40.0 * math.exp(2.0 * ln_t_day[-1]):
        for j in range(len(out)):
            out[j] *= -math.expm1(-leak * math.exp(-2.0 * ln_t_day[j]))


@numba.njit(cache=True)
def bolometric_luminosity(
    mass_msun: float, speed_c: float, kappa: float, kappa_gamma: float, t_day: np.ndarray
) -> np.ndarray:
    """L in erg/s of one component at rest-frame days ``t_day`` (increasing, positive)."""
    out = np.empty(len(t_day))
    _luminosities(mass_msun, speed_c, kappa, kappa_gamma, np.log(t_day), out)
    return out


@numba.njit(cache=True, error_model="numpy")
def _look(light: np.ndarray, ln_t_day: np.ndarray, td_day: float, aspect: float) -> None:
    """Scale L for the line of sight: early light is that of the visible area, late light is not.

    L(theta)/L = 1 + 1.4 (2 + u)/(1 + e^u) (A(theta)/A_ref - 1), u = t/(0.59 t_d): Darbha &
    Kasen (2020), with ``aspect`` = A(theta)/A_ref.
    """
    for j in range(len(light)):
        u = min(fast_exp(ln_t_day[j]) / (0.59 * td_day), 600.0)
        light[j] *= max(1.0 + 1.4 * (2.0 + u) / (1.0 + fast_exp(u)) * (aspect - 1.0), 0.0)


@numba.njit(cache=True, error_model="numpy")
def add_sphere(
    ln_temperature: np.ndarray,
    radius2: np.ndarray,
    distance_mpc: float,
    redshift: float,
    moment: np.ndarray,
    band: np.ndarray,
    table: np.ndarray,
    flux: np.ndarray,
) -> None:
    """Add to ``flux`` (m,; 3631 Jy) what is seen of a blackbody sphere.

    F_nu = (1+z)^4 pi B_nu(T/(1+z)) R^2/D_L^2 makes one table per band serve every redshift.
    ``ln_temperature`` (in the rest frame) is overwritten.
    """
    stretch = 1.0 + redshift
    ln_temperature -= math.log(stretch)
    scale = math.pi * stretch**4 / (distance_mpc * MPC_CM) ** 2
    add_blackbody(ln_temperature, radius2, scale, moment, band, table, flux)


@numba.njit(cache=True)
def dimmed_mags(
    flux: np.ndarray, av: float, host: np.ndarray, band: np.ndarray, out: np.ndarray
) -> None:
    """Fill AB magnitudes behind the host's dust, A_V and magnitudes per A_V of each band."""
    to_mags(flux, out)
    for j in range(len(out)):
        out[j] = min(out[j] + av * host[band[j]], 60.0)


@numba.njit(cache=True, parallel=True, error_model="numpy")
def component_magnitudes(
    mass_msun: np.ndarray,
    speed_c: np.ndarray,
    kappa: np.ndarray,
    floor_k: np.ndarray,
    kappa_gamma: float,
    distance_mpc: np.ndarray,
    redshift: np.ndarray,
    t_day: np.ndarray,
    band: np.ndarray,
    table: np.ndarray,
    aspect: np.ndarray,
    more_flux: np.ndarray,
) -> np.ndarray:
    """AB magnitudes (n, m) of the summed components.

    Parameters
    ----------
    mass_msun, speed_c, kappa, floor_k : (n, n_components)
        Msun (a component of no mass gives no light), c, cm^2/g, K.
    kappa_gamma : float
        cm^2/g.
    distance_mpc, redshift : (n,)
    t_day, band : (m,)
        Observer's days, increasing; index into ``table``.
    table : (n_bands, N_TEMPERATURES)
    aspect : (n, n_components) or SPHERICAL
        Visible area over the reference area of each component.
    more_flux : (n, m) or NOTHING_MORE
        3631 Jy at the observer, added to the components'.
    """
    n, m = mass_msun.shape[0], len(t_day)
    out = np.empty((n, m))
    if m == 0:
        return out
    times, moment = distinct(np.maximum(t_day, 1e-30))
    ln_times = np.log(times)
    for i in numba.prange(n):
        ln_t = ln_times - math.log(1.0 + redshift[i])
        light = np.empty(len(ln_t))
        ln_temperature = np.empty(len(ln_t))
        radius2 = np.empty(len(ln_t))
        flux = np.zeros(m)
        if more_flux.shape[0] > 0:
            flux[:] = more_flux[i]
        for c in range(mass_msun.shape[1]):
            if mass_msun[i, c] <= 0.0:
                continue
            v = speed_c[i, c] * C_CM_S
            _luminosities(mass_msun[i, c], speed_c[i, c], kappa[i, c], kappa_gamma, ln_t, light)
            if aspect.shape[0] > 0:
                td2 = 2.0 * kappa[i, c] * mass_msun[i, c] * MSUN_G / (13.7 * v * C_CM_S)
                _look(light, ln_t, math.sqrt(td2) / DAY_S, aspect[i, c])
            photospheres(light, ln_t, v, floor_k[i, c], ln_temperature, radius2)
            add_sphere(
                ln_temperature, radius2, distance_mpc[i], redshift[i], moment, band, table, flux
            )
        to_mags(flux, out[i])
    return out
