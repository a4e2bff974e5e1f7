"""An upper bound of every schedule: Lagrangian relaxation by intervals.

"Each goal counts once" and the quotas are given prices ``lam_g >= 0`` and ``mu_q >= 0``
instead of being required; sequences are left out. What remains falls apart by instrument into
a weighted interval problem that dynamic programming solves exactly, and

    L(lam, mu) = sum_g lam_g + sum_q mu_q quota_q
                 + sum over instruments of the best chain of options at the reduced values
                   sum_g max(0, value_o share_og - lam_g) - toll_o - mu_q duration_o

bounds the objective of every schedule from above, for any prices (Geoffrion 1974, Math. Prog.
Study 2, 82). The prices are bettered by subgradient steps of Polyak's length.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from followup.schedule_arrays import Packed
from followup.schedule_moves import inner

__all__ = ["Dual", "descend", "plain_prices", "start_prices"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


_WARM_STEP = 0.1
_PATIENCE = 20
"""Steps without a better bound before the step is halved."""


class Dual(NamedTuple):
    """Prices, the bound that they prove, and how far they may still step."""

    goal_price: Float
    quota_price: Float
    bound: float
    step: float


def start_prices(packed: Packed, goal_price: Float | None, quota_price: Float | None) -> Dual:
    """Where the descent begins: the prices handed down, or none.

    No goal is priced above what it can bring: a target that is gone costs the bound nothing.
    """
    lam, mu = np.zeros(packed.n_goals), np.zeros(len(packed.quota_s))
    if goal_price is not None:
        lam = np.clip(goal_price, 0.0, _most(packed, packed.value))
    if quota_price is not None:
        mu = np.maximum(0.0, quota_price)
    return Dual(lam, mu, np.inf, 1.0 if goal_price is None else _WARM_STEP)


def plain_prices(packed: Packed) -> Dual:
    """Each goal at the most that it can bring, tolls paid: then no option is worth taking.

    The bound is the sum of what every goal would bring if it had the telescopes to itself. Where
    telescopes abound it is the tightest there is, and a short descent does not find it.
    """
    lam = _most(packed, packed.value - packed.toll)
    return Dual(lam, np.zeros(len(packed.quota_s)), float(lam.sum()), _WARM_STEP)


def _most(packed: Packed, worth: Float) -> Float:
    """(G,) the largest share of ``worth`` (O',) that a best option of a pointing brings a goal."""
    has = np.flatnonzero(packed.of_pointing_end > packed.of_pointing_first)
    top = np.zeros(len(packed.first) - 1)
    top[has] = worth[packed.of_pointing[packed.of_pointing_first[has]]]
    most = np.zeros(packed.n_goals)
    np.maximum.at(most, packed.goal, packed.share * np.repeat(top, np.diff(packed.first)))
    return most


def descend(
    packed: Packed, dual: Dual, target: float, n_steps: int, *, enough: float = 0.0
) -> tuple[Dual, Int]:
    """At most ``n_steps`` steps towards ``target``, a value that some schedule reaches.

    Ends where the bound is within the part ``enough`` of it. Returns the best prices found and the
    options that the last relaxed solution took.
    """
    lam, mu, bound, step, picked = _descend(
        packed, dual.goal_price, dual.quota_price, dual.bound, dual.step, target, n_steps, enough
    )
    return Dual(lam, mu, bound, step), picked


@inner
def _relaxed(packed: Packed, lam: Float, mu: Float, picked: Int) -> tuple[float, int]:
    """The sum over instruments of the best chains; fills ``picked``, returns (sum, count)."""
    # Handing the whole tuple to a function for each option would cost more than its work.
    n_slots = packed.n_slots
    pointing, value, toll = packed.pointing, packed.value, packed.toll
    duration, programme = packed.duration_s, packed.programme
    first, goal, share = packed.first, packed.goal, packed.share
    group_first, group_end, of_group = packed.group_first, packed.group_end, packed.of_group
    best = np.empty(n_slots + 1)
    by = np.empty(n_slots + 1, np.int64)
    total, count = 0.0, 0
    for k in range(len(packed.instrument_first) - 1):
        best[:] = 0.0
        by[:] = -1
        here = 0
        for group in range(packed.instrument_first[k], packed.instrument_first[k + 1]):
            start = packed.group_start[group]
            while here < start:
                here += 1
                if best[here] < best[here - 1]:
                    best[here] = best[here - 1]
                    by[here] = -1
            top, top_option = 0.0, -1
            for i in range(group_first[group], group_end[group]):
                option = of_group[i]
                net = value[option] - toll[option]
                if net <= top:
                    break  # sorted: no later one can be better
                p = pointing[option]
                if first[p + 1] - first[p] == 1:
                    worth = net - min(value[option], lam[goal[first[p]]])
                else:
                    worth = -toll[option]
                    for j in range(first[p], first[p + 1]):
                        worth += max(0.0, value[option] * share[j] - lam[goal[j]])
                if programme[option] >= 0:
                    worth -= mu[programme[option]] * duration[option]
                if worth > top:
                    top, top_option = worth, option
            end = start + packed.group_length[group]
            if top_option >= 0 and best[start] + top > best[end]:
                best[end] = best[start] + top
                by[end] = top_option
        while here < n_slots:
            here += 1
            if best[here] < best[here - 1]:
                best[here] = best[here - 1]
                by[here] = -1
        total += best[n_slots]
        while here > 0:
            if by[here] < 0:
                here -= 1
            else:
                picked[count] = by[here]
                count += 1
                here = packed.start[by[here]]
    return total, count


@njit(cache=True, nogil=True, error_model="numpy")
def _descend(
    packed: Packed,
    lam: Float,
    mu: Float,
    bound: float,
    step: float,
    target: float,
    n_steps: int,
    enough: float,
) -> tuple[Float, Float, float, float, Int]:
    n_goals, n_quotas = len(lam), len(mu)
    n_instruments = len(packed.instrument_first) - 1
    picked = np.empty(n_instruments * packed.n_slots, np.int64)
    best_lam, best_mu = lam.copy(), mu.copy()
    lam, mu = lam.copy(), mu.copy()
    slope = np.empty(n_goals + n_quotas)
    count, idle = 0, 0
    for _ in range(n_steps):
        chains, count = _relaxed(packed, lam, mu, picked)
        value = chains + lam.sum()
        for q in range(n_quotas):
            value += mu[q] * packed.quota_s[q]
        if value < bound:
            if value < bound - 1e-4 * (bound - target):
                idle = 0
            else:
                idle += 1
            bound = value
            best_lam[:] = lam
            best_mu[:] = mu
        else:
            idle += 1
        if idle >= _PATIENCE:
            step *= 0.5
            idle = 0
            lam[:] = best_lam
            mu[:] = best_mu
        if bound - target <= max(enough, 1e-9) * abs(bound) or step < 1e-4:
            break
        slope[:n_goals] = 1.0
        slope[n_goals:] = packed.quota_s
        for i in range(count):
            option = picked[i]
            p = packed.pointing[option]
            for j in range(packed.first[p], packed.first[p + 1]):
                g = packed.goal[j]
                if packed.value[option] * packed.share[j] > lam[g]:
                    slope[g] -= 1.0
            if packed.programme[option] >= 0:
                slope[n_goals + packed.programme[option]] -= packed.duration_s[option]
        length2 = 0.0
        for g in range(n_goals + n_quotas):
            price = lam[g] if g < n_goals else mu[g - n_goals]
            if price <= 0.0 and slope[g] > 0.0:
                slope[g] = 0.0
            length2 += slope[g] ** 2
        if length2 == 0.0:
            break
        move = step * (value - target) / length2
        for g in range(n_goals):
            lam[g] = max(0.0, lam[g] - move * slope[g])
        for q in range(n_quotas):
            mu[q] = max(0.0, mu[q] - move * slope[n_goals + q])
    return best_lam, best_mu, bound, step, picked[:count].copy()
