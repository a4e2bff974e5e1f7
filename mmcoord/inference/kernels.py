"""Numba kernels that several models share: diffusion through expanding ejecta, blackbodies.

Light curve of an expanding, diffusing sphere (Arnett 1982; Villar et al. 2017 as corrected in
MOSFiT, Guillochon et al. 2018: the factor 2 of 2/t_d^2 matters, without it L tends to half of
the heating at late times)::

    L(t) = (2/t_d^2) (1 - exp(-A/t^2)) int_0^t L_in(t') t' exp((t'^2 - t^2)/t_d^2) dt'

With x = t^2/t_d^2 the integral is int L_in exp(x' - x) dx'. It is advanced on a logarithmic grid
with the exponential integrated exactly and L_in a parabola in x: no overflow, one pass, O(n).
Between nodes the light is a cubic in ln t.

The loops are written so that LLVM vectorises them: no branch, no call into the mathematical
library (:mod:`~mmcoord.inference.fastmath`), NumPy's rule for division (``error_model``).

Units: cgs, days where the name says so, K.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from mmcoord.inference.fastmath import fast_exp, fast_log
from mmcoord.inference.passbands import LN_T_MAX, LN_T_MIN, N_TEMPERATURES

__all__ = [
    "C_CM_S",
    "DAY_S",
    "GRID_DAY",
    "GRID_S",
    "LN_GRID_DAY",
    "MPC_CM",
    "MSUN_G",
    "SIGMA_CGS",
    "add_blackbody",
    "band_blackbody",
    "diffuse",
    "distinct",
    "interpolate",
    "nodes_until",
    "photospheres",
    "to_mags",
]

C_CM_S = 2.99792458e10
MSUN_G = 1.98840987e33
DAY_S = 86400.0
MPC_CM = 3.0856775814913673e24
SIGMA_CGS = 5.670374419e-5

LN_GRID_DAY = np.linspace(math.log(1e-4), math.log(1000.0), 225)
GRID_DAY = np.exp(LN_GRID_DAY)
"""Nodes of the diffusion integral: 32 a decade."""
GRID_S = GRID_DAY * DAY_S

_N_GRID = len(GRID_DAY)
_LN_FIRST = float(LN_GRID_DAY[0])
_LN_STEP = float(LN_GRID_DAY[1] - LN_GRID_DAY[0])
_X_RATIO = math.exp(2.0 * _LN_STEP)
"""x grows by this from node to node."""
_CURVATURE = 1.0 / (1.0 + 1.0 / _X_RATIO)
_MIDDLE = 0.5 * (1.0 + _X_RATIO)
_BACKWARD = (_X_RATIO**2 - _MIDDLE) / (_X_RATIO**2 - 1.0 / _X_RATIO)
"""Weight of the parabola through the node before a step, the rest being that of the parabola
through the node after it: so weighed, their errors by a cubic term of L_in cancel mid-step."""
_STEPS_S2 = np.diff(GRID_S**2)

_LN_T_STEP = (LN_T_MAX - LN_T_MIN) / (N_TEMPERATURES - 1)
_FOUR_PI_SIGMA = 4.0 * math.pi * SIGMA_CGS
_MAG = -2.5 / math.log(10.0)
_NO_LIGHT = 1e-24
"""Flux in 3631 Jy of magnitude 60."""


@numba.njit(cache=True)
def nodes_until(t_day: float) -> int:
    """How many nodes the light at ``t_day`` needs: at least four, with two beyond it."""
    if not t_day > GRID_DAY[0]:
        return 4
    k = int((math.log(t_day) - _LN_FIRST) / _LN_STEP)
    return min(max(k + 4, 4), _N_GRID)


@numba.njit(cache=True, error_model="numpy")
def diffuse(heat: np.ndarray, start: float, td2: float, light: np.ndarray) -> None:
    """Fill ``light`` (n,) with int L_in exp(x' - x) dx' at the first n nodes of the grid.

    ``heat`` (n,) is L_in at the nodes, ``start`` the integral up to the first, ``td2`` t_d^2 in
    s^2. L_in is a parabola in each step: the mean of the ones through the next node on either side.
    """
    n = len(light)
    decay = np.empty(n)
    gain = np.empty(n)
    bend = np.empty(n)
    for k in range(1, n - 1):
        bend[k] = _CURVATURE * ((heat[k + 1] - heat[k]) - _X_RATIO * (heat[k] - heat[k - 1]))
    # bend is the second divided difference in units of the step after its node; the next node's
    # is in units of a step _X_RATIO longer.
    bend[0] = 0.0
    bend[n - 1] = _X_RATIO * _X_RATIO * bend[n - 2]
    for k in range(n - 1):
        h = _STEPS_S2[k] / td2
        e = fast_exp(-h)
        # p = 1 - e, r = 1 - p/h, c = (h - 2 + (h + 2) e)/h^2; by their series for short steps.
        p = h * (1.0 - h * (0.5 - h * (1.0 / 6.0 - h * (1.0 / 24.0 - h / 120.0))))
        r = h * (0.5 - h * (1.0 / 6.0 - h * (1.0 / 24.0 - h * (1.0 / 120.0 - h / 720.0))))
        c = h * (1.0 / 6.0 - h * (1.0 / 12.0 - h * (1.0 / 40.0 - h * (1.0 / 180.0 - h / 1008.0))))
        p = p if h < 0.03 else 1.0 - e
        r = r if h < 0.03 else 1.0 - p / h
        c = c if h < 0.03 else (h - 2.0 + (h + 2.0) * e) / (h * h)
        ahead = bend[k + 1] / (_X_RATIO * _X_RATIO)
        curvature = _BACKWARD * bend[k] + (1.0 - _BACKWARD) * ahead
        curvature = ahead if k == 0 else curvature
        one, two = heat[k], heat[k + 1]
        # A steeply falling L_in makes the parabola overshoot when steps are long: the local
        # integral cannot leave the bounds set by the end values.
        inside = one * p + (two - one) * r - curvature * c
        decay[k] = e
        gain[k] = min(max(inside, min(one, two) * p), max(one, two) * p)
    light[0] = start
    for k in range(n - 1):
        light[k + 1] = light[k] * decay[k] + gain[k]


@numba.njit(cache=True, error_model="numpy")
def interpolate(light: np.ndarray, ln_t_day: np.ndarray, out: np.ndarray) -> None:
    """``out`` (m,): the light at any ln t (days, rest frame), a cubic through four nodes.

    Zero before the first node and beyond the last of ``light``.
    """
    n = len(light)
    for j in range(len(ln_t_day)):
        position = (ln_t_day[j] - _LN_FIRST) / _LN_STEP
        k = int(min(max(position, 1.0), n - 2.000001))
        k = min(k, n - 3)
        f = position - k
        a = -f * (f - 1.0) * (f - 2.0) / 6.0
        b = (f + 1.0) * (f - 1.0) * (f - 2.0) / 2.0
        c = -(f + 1.0) * f * (f - 2.0) / 2.0
        d = (f + 1.0) * f * (f - 1.0) / 6.0
        value = a * light[k - 1] + b * light[k] + c * light[k + 1] + d * light[k + 2]
        outside = (position < 0.0) | (position > n - 1.0)
        out[j] = 0.0 if outside else value


@numba.njit(cache=True, error_model="numpy")
def photospheres(
    light: np.ndarray,
    ln_t_day: np.ndarray,
    v_cm_s: float,
    floor_k: float,
    ln_temperature: np.ndarray,
    radius2: np.ndarray,
) -> None:
    """Fill ln T and R^2 (cm^2): R = v t until the temperature would fall below its floor."""
    ln_floor = math.log(floor_k)
    at_floor = 1.0 / (_FOUR_PI_SIGMA * floor_k**4)
    ln_front = 2.0 * math.log(v_cm_s * DAY_S)
    ln_sphere = math.log(_FOUR_PI_SIGMA)
    for j in range(len(light)):
        ln_r2 = ln_front + 2.0 * ln_t_day[j]
        lit = max(light[j], 1e-300)
        ln_temperature[j] = max(0.25 * (fast_log(lit) - ln_sphere - ln_r2), ln_floor)
        # The sphere that emits L at the floor is smaller than v t exactly when T would be lower.
        radius2[j] = min(fast_exp(ln_r2), light[j] * at_floor)


@numba.njit(cache=True, inline="always", error_model="numpy")
def band_blackbody(table: np.ndarray, band: int, ln_temperature: float) -> float:
    """Band mean of B_nu(T) in 3631 Jy per steradian, from the table of the passbands."""
    position = (ln_temperature - LN_T_MIN) / _LN_T_STEP
    position = min(max(position, 0.0), N_TEMPERATURES - 1.000001)
    k = int(position)
    part = position - k
    mean: float = table[band, k] * (1.0 - part) + table[band, k + 1] * part
    return mean


@numba.njit(cache=True, error_model="numpy")
def add_blackbody(
    ln_temperature: np.ndarray,
    radius2: np.ndarray,
    scale: float,
    moment: np.ndarray,
    band: np.ndarray,
    table: np.ndarray,
    flux: np.ndarray,
) -> None:
    """Add scale R^2 <B_nu(T)> to ``flux`` (m,); ``moment`` says which ln T and R^2 a point has."""
    n = len(ln_temperature)
    node = np.empty(n, dtype=np.int64)
    low = np.empty(n)
    high = np.empty(n)
    for u in range(n):
        position = (ln_temperature[u] - LN_T_MIN) / _LN_T_STEP
        position = min(max(position, 0.0), N_TEMPERATURES - 1.000001)
        k = int(position)
        node[u] = k
        high[u] = scale * radius2[u] * (position - k)
        low[u] = scale * radius2[u] - high[u]
    for j in range(len(flux)):
        u = moment[j]
        k = node[u]
        flux[j] += low[u] * table[band[j], k] + high[u] * table[band[j], k + 1]


@numba.njit(cache=True, error_model="numpy")
def to_mags(flux: np.ndarray, out: np.ndarray) -> None:
    """AB magnitudes of fluxes in 3631 Jy; 60 for none."""
    for j in range(len(flux)):
        mag = _MAG * fast_log(max(flux[j], _NO_LIGHT))
        out[j] = mag if flux[j] > _NO_LIGHT else 60.0


@numba.njit(cache=True)
def distinct(t_day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(distinct values, index of each point's value) of increasing times."""
    times = np.empty(len(t_day))
    moment = np.empty(len(t_day), dtype=np.int64)
    n = 0
    for j in range(len(t_day)):
        if j == 0 or t_day[j] != t_day[j - 1]:
            times[n] = t_day[j]
            n += 1
        moment[j] = n - 1
    return times[:n], moment
