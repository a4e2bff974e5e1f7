"""How far: from the number of neutrinos, and from Super-K's own estimate.

N = N_10kpc (10 kpc / d)^2. Models differ in N_10kpc by a factor of about two, which makes
25-30 % in the distance however many neutrinos there are; that, not Poisson, is the error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mmcoord.supernova.burst import SuperK

__all__ = ["Distance", "Yield", "best_distance", "distance_from_counts", "distance_kpc_of"]

_ALWAYS_MPC_BELOW = 0.2
"""No Galactic supernova is beyond 0.2 Mpc and none nearer than 0.2 kpc."""
MODEL_SPREAD = math.log(2.0) / 2.0
"""Standard deviation of ln N_10kpc: the range of models, a factor of two, held to be +-1 sigma."""


@dataclass(frozen=True, slots=True)
class Yield:
    """Neutrinos that one detector saw and what it would see at 10 kpc."""

    detector: str
    n_events: float
    n_events_10kpc: float
    background: float = 0.0
    """Expected number of background events among ``n_events``."""


@dataclass(frozen=True, slots=True)
class Distance:
    """A log-normal distance."""

    kpc: float
    """Median."""
    log_sigma: float
    source: str

    @property
    def err_kpc(self) -> float:
        """Half the width of the central 68 %."""
        return self.kpc * math.sinh(self.log_sigma)


def distance_kpc_of(value: float) -> float:
    """A distance in kpc from a field that is Mpc by its schema and kpc by its page.

    Raises
    ------
    ValueError
        Not a positive number.
    """
    if not (math.isfinite(value) and value > 0.0):
        raise ValueError(f"{value!r} is no distance")
    return value * 1000.0 if value < _ALWAYS_MPC_BELOW else value


def distance_from_counts(yields: Sequence[Yield], *, spread: float = MODEL_SPREAD) -> Distance:
    """The distance that the counts of all detectors give together.

    The models' spread is common to all detectors, so that a second detector hardly helps.

    Raises
    ------
    ValueError
        No detector with events above its background, or an expectation that is not positive.
    """
    if any(not one.n_events_10kpc > 0.0 for one in yields):
        raise ValueError("a detector's expectation at 10 kpc must be positive")
    signal = sum(max(one.n_events - one.background, 0.0) for one in yields)
    total = sum(one.n_events for one in yields)
    if signal <= 0.0:
        raise ValueError("no neutrinos above the background")
    expected = sum(one.n_events_10kpc for one in yields)
    log_variance = spread**2 + total / signal**2
    names = ", ".join(one.detector for one in yields)
    return Distance(
        10.0 * math.sqrt(expected / signal), 0.5 * math.sqrt(log_variance), f"counts of {names}"
    )


def best_distance(superk: SuperK | None, yields: Sequence[Yield]) -> Distance | None:
    """Super-K's own estimate where it gives one, else the counts', else None."""
    if superk is not None and superk.distance_kpc is not None:
        err = superk.distance_err_kpc
        relative = err / superk.distance_kpc if err else MODEL_SPREAD / 2.0
        return Distance(superk.distance_kpc, math.asinh(relative), "Super-K's alert")
    usable = [one for one in yields if one.n_events > one.background]
    return distance_from_counts(usable) if usable else None
