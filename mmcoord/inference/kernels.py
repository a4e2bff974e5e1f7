"""Numba kernels that several models share: diffusion through expanding ejecta, blackbodies.

Light curve of an expanding, diffusing sphere (Arnett 1982; Villar et al. 2017 as corrected in
MOSFiT, Guillochon et al. 2018: the factor 2 of 2/t_d^2 matters, without it L tends to half of
the heating at late times)::

    L(t) = (2/t_d^2) (1 - exp(-A/t^2)) int_0^t L_in(t') t' exp((t'^2 - t^2)/t_d^2) dt'

With x = t^2/t_d^2 the integral is int L_in exp(x' - x) dx'. It is advanced on a logarithmic grid
with the exponential integrated exactly and L_in a parabola in x through the last three nodes:
no overflow, one pass, O(n).

Units: cgs, days where the name says so, K.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from mmcoord.inference.passbands import LN_T_MAX, LN_T_MIN, N_TEMPERATURES

__all__ = [
    "C_CM_S",
    "DAY_S",
    "GRID_DAY",
    "MPC_CM",
    "MSUN_G",
    "SIGMA_CGS",
    "band_blackbody",
    "diffusion_step",
    "photosphere",
    "to_mag",
]

C_CM_S = 2.99792458e10
MSUN_G = 1.98840987e33
DAY_S = 86400.0
MPC_CM = 3.0856775814913673e24
SIGMA_CGS = 5.670374419e-5

GRID_DAY = np.concatenate(
    [np.geomspace(1e-4, 1e-2, 34, endpoint=False), np.geomspace(1e-2, 100.0, 97)]
)
"""Nodes of the diffusion integral: 17 a decade to a quarter of an hour, then 24 a decade."""

_LN_T_STEP = (LN_T_MAX - LN_T_MIN) / (N_TEMPERATURES - 1)


@numba.njit(cache=True, fastmath=False, inline="always")
def diffusion_step(
    light: float, x0: float, x1: float, x2: float, q0: float, q1: float, q2: float
) -> float:
    """Advance int L_in exp(x' - x) dx' from x1 to x2, L_in a parabola through three nodes.

    ``light`` is the integral at x1. For the first step extend the chord backwards
    (x0 = 2 x1 - x2, q0 = 2 q1 - q2): the parabola is then a straight line.
    """
    h = x2 - x1
    e = math.exp(-h)
    if h < 1e-2:
        p = h * (1.0 - h * (0.5 - h * (1.0 / 6.0 - h / 24.0)))
        r = h * (0.5 - h * (1.0 / 6.0 - h * (1.0 / 24.0 - h / 120.0)))
        c = h * h * h * (1.0 / 6.0 - h * (1.0 / 12.0 - h / 40.0))
    else:
        p = 1.0 - e
        r = 1.0 - p / h
        c = h - 2.0 + (h + 2.0) * e
    slope = (q2 - q1) / h
    curvature = (slope - (q1 - q0) / (x1 - x0)) / (x2 - x0)
    # A steeply falling L_in makes the parabola overshoot when steps are long: the local
    # integral cannot leave the bounds set by the end values.
    gain = q1 * p + (q2 - q1) * r - curvature * c
    low = min(q1, q2) * p
    high = max(q1, q2) * p
    return light * e + min(max(gain, low), high)


@numba.njit(cache=True, inline="always")
def photosphere(
    luminosity: float, t_s: float, v_cm_s: float, t_floor_k: float
) -> tuple[float, float]:
    """(temperature, radius): R = v t until the temperature would fall below its floor."""
    radius = v_cm_s * t_s
    temperature = math.sqrt(math.sqrt(luminosity / (4.0 * math.pi * SIGMA_CGS * radius * radius)))
    if temperature < t_floor_k:
        temperature = t_floor_k
        radius = math.sqrt(luminosity / (4.0 * math.pi * SIGMA_CGS * t_floor_k**4))
    return temperature, radius


@numba.njit(cache=True, inline="always")
def band_blackbody(table: np.ndarray, band: int, ln_temperature: float) -> float:
    """Band mean of B_nu(T) in 3631 Jy per steradian, from the table of the passbands."""
    position = (ln_temperature - LN_T_MIN) / _LN_T_STEP
    position = min(max(position, 0.0), N_TEMPERATURES - 1.000001)
    k = int(position)
    part = position - k
    mean: float = table[band, k] * (1.0 - part) + table[band, k + 1] * part
    return mean


@numba.njit(cache=True, inline="always")
def to_mag(flux: float) -> float:
    """AB magnitude of a flux in 3631 Jy; 60 for none."""
    if flux <= 1e-24:
        return 60.0
    return -2.5 * math.log10(flux)
