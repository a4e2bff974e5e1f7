"""What models of many shells share: the time grid, one step of a shell's energy, the light.

Each shell loses heat to expansion and to the light it emits, dE/dt = q(t) - E/t - lambda(t) E.
In u = E t the expansion drops out: du/dt = q t - lambda u. A step in ln t takes q t^2 as linear
and the integral of lambda as growing evenly, and is exact for those.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from mmcoord.inference.fastmath import fast_exp, fast_log
from mmcoord.inference.kernels import C_CM_S, DAY_S, SIGMA_CGS

__all__ = ["LN_TIMES_DAY", "TIMES_S", "T_FIRST_S", "at_times", "shell_step", "sum_of"]

T_FIRST_S = 1.3
"""Before it, r-process heating is on its plateau of 4e18 erg/g/s (Korobkin et al. 2012)."""
LN_TIMES_DAY = np.linspace(math.log(T_FIRST_S / DAY_S), math.log(60.0), 201)
TIMES_S = np.exp(LN_TIMES_DAY) * DAY_S

_FIRST = float(LN_TIMES_DAY[0])
_STEP = float(LN_TIMES_DAY[1] - LN_TIMES_DAY[0])
_LN_SPHERE = math.log(4.0 * math.pi * SIGMA_CGS)


@numba.njit(cache=True, fastmath={"reassoc", "nsz"})
def sum_of(values: np.ndarray) -> float:
    """Their sum, in the order that suits the processor."""
    total = 0.0
    for i in range(len(values)):
        total += values[i]
    return total


@numba.njit(cache=True, inline="always", error_model="numpy")
def shell_step(u: float, loss: float, one: float, two: float) -> float:
    """u after a step: ``loss`` = int lambda dt, ``one`` and ``two`` = q t^2 at its ends."""
    e = fast_exp(-loss)
    per_loss = 1.0 / loss
    a = (1.0 - e) * per_loss
    b = (1.0 - a) * per_loss
    a = 1.0 - loss * (0.5 - loss / 6.0) if loss < 1e-4 else a
    b = 0.5 - loss * (1.0 / 6.0 - loss / 24.0) if loss < 1e-4 else b
    return u * e + _STEP * (one * a + (two - one) * b)


@numba.njit(cache=True, error_model="numpy")
def at_times(
    light: np.ndarray,
    ln_speed: np.ndarray,
    ln_t_day: np.ndarray,
    ln_temperature: np.ndarray,
    radius2: np.ndarray,
) -> None:
    """Fill ln T and R^2 (cm^2) at any ln t (days, rest frame); no light outside of the grid.

    ``light`` (erg/s) and ``ln_speed`` (ln of the photosphere's speed in c) are given at the grid's
    times; between them ln L and ln v are linear in ln t.
    """
    for j in range(len(ln_t_day)):
        position = (ln_t_day[j] - _FIRST) / _STEP
        k = int(min(max(position, 0.0), len(light) - 1.000001))
        f = position - k
        low, high = fast_log(max(light[k], 1e-300)), fast_log(max(light[k + 1], 1e-300))
        ln_light = low + f * (high - low)
        ln_radius = ln_speed[k] + f * (ln_speed[k + 1] - ln_speed[k])
        ln_radius += ln_t_day[j] + math.log(C_CM_S * DAY_S)
        outside = (position < 0.0) | (position > len(light) - 1.0)
        ln_temperature[j] = 0.25 * (ln_light - _LN_SPHERE - 2.0 * ln_radius)
        radius2[j] = 0.0 if outside else fast_exp(2.0 * ln_radius)
