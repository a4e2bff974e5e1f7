"""Semi-analytic kilonovae of one, two and three components (Villar et al. 2017, ApJL 851 L21).

Each component is a sphere of ejecta with grey opacity, heated by the r-process (Korobkin et al.
2012) with the thermalization of Barnes et al. (2016), radiating as a blackbody whose
temperature does not fall below a floor; the fluxes are summed. The printed equation lacks the
factor 2 of the diffusion solution; it is here (see :mod:`mmcoord.inference.kernels`).

Opacities are fixed as in the paper where a component is named (blue 0.5, purple 3, red
10 cm^2/g). Gamma-ray leakage: kappa_gamma = 1e4 cm^2/g, full trapping, as in MOSFiT.
"""

from __future__ import annotations

import itertools
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
    band_blackbody,
    diffusion_step,
    photosphere,
    to_mag,
)
from mmcoord.inference.models.base import Array, Model, Parameter
from mmcoord.inference.passbands import Passbands

__all__ = [
    "ONE_COMPONENT",
    "THREE_COMPONENTS",
    "TWO_COMPONENTS",
    "bolometric_luminosity",
    "component_magnitudes",
    "heating_rate",
    "thermalization_coefficients",
]

_REFERENCE = "Villar et al. 2017, ApJL 851, L21; Guillochon et al. 2018, ApJS 236, 6"
KAPPA_GAMMA_TRAPPED = 1.0e4

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


def _moment_to_start() -> float:
    """int_0^t0 qdot t dt to the first node, by quadrature: the plateau before 1.3 s counts."""
    from scipy.integrate import quad

    end_s = float(GRID_DAY[0] * DAY_S)
    edges = [0.0, 1.0, 1.3, 2.0, 4.0, end_s]
    pieces = itertools.pairwise(edges)
    return float(sum(quad(lambda t: heating_rate(t) * t, a, b, epsrel=1e-10)[0] for a, b in pieces))


_S0 = _moment_to_start()
_GRID_S = GRID_DAY * DAY_S
_LN_GRID = np.log(GRID_DAY)
_Q_GRID = np.array([heating_rate(t) for t in _GRID_S])


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


@numba.njit(cache=True, inline="always")
def _efficiency(t_day: float, ln_t: float, a: float, b: float, d: float) -> float:
    y = 2.0 * b * math.exp(d * ln_t)
    return 0.36 * (math.exp(-a * t_day) + math.log1p(y) / y)


@numba.njit(cache=True)
def _luminosities(
    mass_msun: float,
    speed_c: float,
    kappa: float,
    kappa_gamma: float,
    t_day: np.ndarray,
    out: np.ndarray,
) -> None:
    """L (erg/s) at rest-frame days (increasing); zero before the first node of the grid."""
    a, b, d = thermalization_coefficients(mass_msun, speed_c)
    mass_g = mass_msun * MSUN_G
    v = speed_c * C_CM_S
    td2 = 2.0 * kappa * mass_g / (13.7 * v * C_CM_S)
    leak = 3.0 * kappa_gamma * mass_g / (4.0 * math.pi * v * v)
    t = GRID_DAY[0]
    x1 = _GRID_S[0] ** 2 / td2
    q1 = mass_g * _Q_GRID[0] * _efficiency(t, _LN_GRID[0], a, b, d)
    light = 2.0 * _S0 / td2 * mass_g * _efficiency(t, _LN_GRID[0], a, b, d)
    x0, q0 = x1, q1
    k = 0
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
            q2 = mass_g * _Q_GRID[k] * _efficiency(GRID_DAY[k], _LN_GRID[k], a, b, d)
            if k == 1:
                x0, q0 = 2.0 * x1 - x2, 2.0 * q1 - q2
            light = diffusion_step(light, x0, x1, x2, q0, q1, q2)
            x0, q0, x1, q1 = x1, q1, x2, q2
        t_s = t * DAY_S
        here = light
        x2 = t_s * t_s / td2
        if x2 > x1 * (1.0 + 1e-12):
            q2 = mass_g * heating_rate(t_s) * _efficiency(t, math.log(t), a, b, d)
            if k == 0:
                x0, q0 = 2.0 * x1 - x2, 2.0 * q1 - q2
            here = diffusion_step(light, x0, x1, x2, q0, q1, q2)
        out[j] = here * -math.expm1(-leak / (t_s * t_s))


@numba.njit(cache=True)
def bolometric_luminosity(
    mass_msun: float, speed_c: float, kappa: float, kappa_gamma: float, t_day: np.ndarray
) -> np.ndarray:
    """L in erg/s of one component at rest-frame days ``t_day`` (increasing)."""
    out = np.empty(len(t_day))
    _luminosities(mass_msun, speed_c, kappa, kappa_gamma, t_day, out)
    return out


@numba.njit(cache=True, parallel=True)
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
) -> np.ndarray:
    """AB magnitudes (n, m) of the summed components; the first four are (n, n_components).

    F_nu = (1+z)^4 pi B_nu(T/(1+z)) R^2/D_L^2 makes one table per band serve every redshift.
    """
    n, m = mass_msun.shape[0], len(t_day)
    out = np.empty((n, m))
    for i in numba.prange(n):
        stretch = 1.0 + redshift[i]
        t_rest = t_day / stretch
        light = np.empty(m)
        flux = np.zeros(m)
        scale = math.pi * stretch**4 / (distance_mpc[i] * MPC_CM) ** 2
        for c in range(mass_msun.shape[1]):
            v = speed_c[i, c] * C_CM_S
            _luminosities(mass_msun[i, c], speed_c[i, c], kappa[i, c], kappa_gamma, t_rest, light)
            ln_t, area = 0.0, 0.0
            for j in range(m):
                if light[j] <= 0.0:
                    continue
                if area == 0.0 or t_day[j] != t_day[j - 1]:
                    temperature, radius = photosphere(light[j], t_rest[j] * DAY_S, v, floor_k[i, c])
                    ln_t = math.log(temperature / stretch)
                    area = scale * radius * radius
                flux[j] += area * band_blackbody(table, band[j], ln_t)
        for j in range(m):
            out[i, j] = to_mag(flux[j])
    return out


def _magnitudes(
    columns: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
    kappa: Array,
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    mass, speed, floor = (np.ascontiguousarray(theta[:, list(c)]) for c in columns)
    magnitudes: Array = component_magnitudes(
        mass, speed, np.ascontiguousarray(kappa), floor, KAPPA_GAMMA_TRAPPED,
        distance_mpc, redshift, t_day, band, bands.blackbody,
    )  # fmt: skip
    return magnitudes


def _one(
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    return _magnitudes(
        ((0,), (1,), (2,)), theta[:, 3:4], theta, distance_mpc, redshift, t_day, band, bands
    )


def _two(
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    kappa = np.stack([np.full(len(theta), 0.5), theta[:, 6]], axis=1)
    return _magnitudes(
        ((0, 3), (1, 4), (2, 5)), kappa, theta, distance_mpc, redshift, t_day, band, bands
    )


def _three(
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    kappa = np.broadcast_to(np.array([0.5, 3.0, 10.0]), (len(theta), 3))
    return _magnitudes(
        ((0, 3, 6), (1, 4, 7), (2, 5, 8)),
        kappa, theta, distance_mpc, redshift, t_day, band, bands,
    )  # fmt: skip


def _component(suffix: str) -> tuple[Parameter, Parameter, Parameter]:
    return (
        Parameter(f"ejecta_mass{suffix}", "Msun", 1e-3, 0.1, "log_uniform"),
        Parameter(f"ejecta_velocity{suffix}", "c", 0.03, 0.4),
        Parameter(f"temperature_floor{suffix}", "K", 400.0, 6000.0, "log_uniform"),
    )


ONE_COMPONENT = Model(
    name="villar17_1",
    version="1",
    reference=_REFERENCE,
    parameters=(*_component(""), Parameter("opacity", "cm2/g", 0.3, 20.0, "log_uniform")),
    magnitudes=_one,
    is_kilonova=True,
    distance="event",
    derived={"ejecta_mass_total_msun": ("Msun", lambda theta: theta[:, 0])},
)

TWO_COMPONENTS = Model(
    name="villar17_2",
    version="1",
    reference=_REFERENCE,
    parameters=(
        *_component("_blue"),
        *_component("_red"),
        Parameter("opacity_red", "cm2/g", 1.0, 20.0, "log_uniform"),
    ),
    magnitudes=_two,
    is_kilonova=True,
    distance="event",
    derived={"ejecta_mass_total_msun": ("Msun", lambda theta: theta[:, 0] + theta[:, 3])},
)

THREE_COMPONENTS = Model(
    name="villar17_3",
    version="1",
    reference=_REFERENCE,
    parameters=(*_component("_blue"), *_component("_purple"), *_component("_red")),
    magnitudes=_three,
    is_kilonova=True,
    distance="event",
    derived={
        "ejecta_mass_total_msun": ("Msun", lambda theta: theta[:, 0] + theta[:, 3] + theta[:, 6])
    },
)
