"""Is a burst real: rate of accidental coincidences against the rate of supernovae.

The field ``False Alarm Prob`` of SNEWS' alerts is not used: its formula divides a rate by the
seconds of a year where it should multiply. The rate is computed anew. With ``n`` detectors
that each raise a false alarm at a rate ``f``, a group of ``r`` within a window ``T`` of its
first occurs at

    R = C(n, r) r f^r T^(r-1)

(any of the ``r`` may be the first, each other one falls into the window after it with
probability ``f T``). With one alarm a week, as the SNEWS agreement allows, ten detectors and
10 s, that is 0.078 a year for r = 2 and once in 200,000 years for r = 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from mmcoord.records import BURST_WINDOW
from mmcoord.supernova.burst import Burst
from mmcoord.timescales import JULIAN_YEAR_S

__all__ = ["Reality", "Rules", "coincidence_rate_hz", "probability_real"]

_WEEK_S = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Rules:
    """What the estimate assumes; every number is a setting."""

    supernova_rate_hz: float = 0.03 / JULIAN_YEAR_S
    """Of the Galaxy: about 3 in 100 years (the figure of GCN's page of SNEWS)."""
    false_alarm_hz: float = 1.0 / _WEEK_S
    """Of one detector: the most that SNEWS allows."""
    n_detectors: int = 10
    window_s: float = BURST_WINDOW.total_seconds()
    superk_false_alarm_hz: float = 1e-3 / JULIAN_YEAR_S
    """Of Super-K's own alert, more than 60 neutrinos in 20 s. Super-K calls it extremely
    small; this is a cautious stand-in."""
    superk_least_events: int = 60
    p_value_floor: float = 1e-6
    """A p-value below this is taken to be this: nobody knows his background better."""
    light_travel_s: float = 0.0425
    """The Earth's diameter."""
    emission_s: float = 5.0
    """Spread of first neutrinos that a weak signal in a small detector may add."""
    miss_probability: Mapping[str, float] | None = None
    """Detector -> probability that it misses a Galactic supernova while it is on; others are
    not asked. None: :data:`BIG`."""


BIG: Mapping[str, float] = {
    "Super-K": 1e-3,
    "Hyper-K": 1e-3,
    "IceCube": 1e-2,
    "JUNO": 1e-3,
    "KM3NeT": 0.2,
    "NOvA": 0.1,
    "DUNE": 1e-2,
    "LVD": 0.05,
    "KamLAND": 0.05,
    "SNO+": 0.05,
}
"""Probability that a detector that is on sees nothing of a supernova in the Galaxy: thousands
of events at 10 kpc in the first ones; KM3NeT and NOvA are limited by background beyond about
the Galactic centre. Estimates, in round numbers."""


@dataclass(frozen=True, slots=True)
class Reality:
    """Probability of being a supernova and not an accident, with its reasons."""

    probability: float
    false_alarm_rate_hz: float
    """Of such a coincidence, silence left out."""
    reasons: tuple[str, ...]


def coincidence_rate_hz(r: int, *, n: int, rate_hz: float, window_s: float) -> float:
    """Rate of accidental ``r``-fold coincidences among ``n`` detectors.

    Raises
    ------
    ValueError
        ``r`` is not in 1..n, or a rate or window that is not positive.
    """
    if not 1 <= r <= n:
        raise ValueError(f"{r} of {n} detectors")
    if not (rate_hz > 0.0 and window_s > 0.0):
        raise ValueError("rate and window must be positive")
    return math.comb(n, r) * r * rate_hz**r * window_s ** (r - 1)


def probability_real(burst: Burst, rules: Rules | None = None) -> Reality:
    """What the number of detectors, their p-values and the silence of others say.

    Odds = supernova rate / accidental rate x P(silence | supernova) x P(spread of times |
    supernova) / P(spread | accident). Silence and spread can only lower it.
    """
    rules = rules or Rules()
    number = len(burst.sightings)
    superk = burst.superk
    if number == 0 and superk is None:
        return Reality(0.0, math.inf, ("nobody stands by a detection",))
    rate, reasons = _accident_rate(burst, rules)
    odds = rules.supernova_rate_hz / rate
    factor, more = _silence(burst, rules)
    odds *= factor
    reasons += more
    factor, more = _spread(burst, rules)
    odds *= factor
    reasons += more
    return Reality(odds / (1.0 + odds), rate, tuple(reasons))


def _accident_rate(burst: Burst, rules: Rules) -> tuple[float, list[str]]:
    number = len(burst.sightings)
    n = max(rules.n_detectors, number)
    reasons: list[str] = []
    if number:
        rate = coincidence_rate_hz(
            number, n=n, rate_hz=rules.false_alarm_hz, window_s=rules.window_s
        )
        reasons.append(
            f"{number} of {n} detectors within {rules.window_s:g} s by accident: "
            f"{_per_year(rate)} at one false alarm a week each"
        )
        rate *= (factor := _p_value_factor([s.p_value for s in burst.sightings], rules))
        if factor < 1.0:
            reasons.append(f"their p-values make that {_per_year(rate)}")
    else:
        rate = math.inf
    superk = burst.superk
    if superk is not None and superk.n_events >= rules.superk_least_events:
        own = rules.superk_false_alarm_hz
        if "Super-K" in burst.detectors:  # it is one of them, and which one is known
            chance = (rules.false_alarm_hz * rules.window_s) ** (number - 1)
            joint = math.comb(n - 1, number - 1) * number * chance * own
        else:
            joint = own if not number else rate * own * rules.window_s
        rate = min(rate, joint)
        reasons.append(
            f"Super-K's own alert with {superk.n_events} neutrinos: {_per_year(own)} alone"
        )
    elif superk is not None and not number:
        rate = rules.false_alarm_hz
        reasons.append(f"Super-K alone, with only {superk.n_events} neutrinos")
    return rate, reasons


def _p_value_factor(p_values: Sequence[float | None], rules: Rules) -> float:
    """How much rarer than its allowed rate each detector's alarm is.

    An alarm allowed at rate ``f`` has a p-value of at most ``f T`` in a window ``T``; what is
    larger than that was counted otherwise and says nothing.
    """
    allowed = rules.false_alarm_hz * rules.window_s
    factor = 1.0
    for p_value in p_values:
        if p_value is not None and p_value < allowed:
            factor *= max(p_value, min(rules.p_value_floor, allowed)) / allowed
    return factor


def _silence(burst: Burst, rules: Rules) -> tuple[float, list[str]]:
    """P(the silent detectors see nothing | a supernova)."""
    miss = BIG if rules.miss_probability is None else rules.miss_probability
    asked = [name for name in burst.silent if name in miss]
    if not asked:
        return 1.0, []
    factor = math.prod(miss[name] for name in asked)
    return factor, [f"{', '.join(asked)} on and silent: {factor:.1g} for a supernova"]


def _spread(burst: Burst, rules: Rules) -> tuple[float, list[str]]:
    """Times that no supernova could give. Inside what it could, nothing is gained."""
    times = [one.time for one in burst.sightings]
    if len(times) < 2:
        return 1.0, []
    spread_s = (max(times) - min(times)) / timedelta(seconds=1)
    allowed = rules.light_travel_s + rules.emission_s
    if spread_s <= allowed:
        return 1.0, []
    return math.exp(-(spread_s - allowed) / 0.5), [
        f"first neutrinos {spread_s:.1f} s apart, more than light's way through the Earth and "
        f"{rules.emission_s:g} s of a weak signal allow"
    ]


def _per_year(rate_hz: float) -> str:
    per_year = rate_hz * JULIAN_YEAR_S
    if per_year >= 0.01:
        return f"{per_year:.2g} a year"
    return f"once in {1.0 / per_year:.1g} years"
