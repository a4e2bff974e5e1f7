"""How long after the neutrinos the first light comes, and what that asks of observers.

Light leaves when the shock reaches the surface, R / v after the collapse: minutes for a
Wolf-Rayet star, about three hours for a blue supergiant (SN 1987A), half a day to two days
for a red one (Kistler, Haxton & Yuksel 2013; Nakar & Sari 2010; Adams et al. 2013). A failed
supernova has no such light: the star fades within months.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

__all__ = ["CADENCE", "CLASSES", "Cadence", "Progenitor", "WaitingTime", "cadence_at"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Progenitor:
    """A class of stars; the delay from neutrinos to light is log-normal."""

    name: str
    fraction: float
    """Of core collapses."""
    low_h: float
    high_h: float
    """Hours between which 90 % of the delays lie."""

    @property
    def mu(self) -> float:
        """Mean of ln(delay / h)."""
        return 0.5 * (math.log(self.low_h) + math.log(self.high_h))

    @property
    def sigma(self) -> float:
        """Standard deviation of ln(delay / h)."""
        return (math.log(self.high_h) - math.log(self.low_h)) / (2.0 * float(ndtri(0.95)))


CLASSES = (
    Progenitor("red supergiant", 0.65, 10.0, 48.0),
    Progenitor("blue supergiant", 0.10, 1.0, 4.0),
    Progenitor("Wolf-Rayet or stripped star", 0.25, 1.0 / 60.0, 0.5),
)
"""Fractions: hydrogen-rich, SN 1987A-like and stripped core collapses, in round numbers."""


@dataclass(frozen=True, slots=True)
class WaitingTime:
    """Distribution of the delay from the neutrinos to shock breakout."""

    classes: tuple[Progenitor, ...] = CLASSES
    p_failed: float = 0.0
    """Probability that no light comes at all."""

    def probability_before(self, hours: Array | float) -> Array:
        """P(light has come by ``hours`` after the neutrinos); never reaches 1 if it may fail."""
        at = np.maximum(np.asarray(hours, dtype=np.float64), 1e-12)
        total = math.fsum(one.fraction for one in self.classes)
        parts = [
            one.fraction / total * ndtr((np.log(at) - one.mu) / one.sigma) for one in self.classes
        ]
        result: Array = (1.0 - self.p_failed) * np.sum(parts, axis=0)
        return result

    def quantile_h(self, probability: float) -> float | None:
        """Hours by which light has come with this probability; None when never.

        Raises
        ------
        ValueError
            ``probability`` is not in (0, 1).
        """
        if not 0.0 < probability < 1.0:
            raise ValueError(f"{probability!r} is not in (0, 1)")
        if probability >= 1.0 - self.p_failed:
            return None
        grid = np.geomspace(1e-3, 1e3, 4001)
        return float(np.interp(probability, self.probability_before(grid), grid))

    def by_class(self, waited_h: float) -> Mapping[str, float]:
        """Probability of each class, given that nothing was seen until ``waited_h``."""
        left = {
            one.name: one.fraction
            * float(ndtr(-(math.log(max(waited_h, 1e-12)) - one.mu) / one.sigma))
            for one in self.classes
        }
        total = math.fsum(one.fraction for one in self.classes)
        weights = {name: (1.0 - self.p_failed) * value / total for name, value in left.items()}
        weights["no light (black hole)"] = self.p_failed
        norm_ = math.fsum(weights.values())
        return {name: value / norm_ for name, value in weights.items()}


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often to look, until when."""

    until_h: float
    every_min: float


CADENCE: Sequence[Cadence] = (
    Cadence(1.0, 10.0),
    Cadence(6.0, 30.0),
    Cadence(48.0, 60.0),
)
"""After a first image at once, which also is the reference before breakout."""


def cadence_at(first_neutrino: datetime, now: datetime) -> timedelta | None:
    """Time between two looks at ``now``; None when the watch is over."""
    waited_h = (now - first_neutrino) / timedelta(hours=1)
    for step in CADENCE:
        if waited_h < step.until_h:
            return timedelta(minutes=step.every_min)
    return None
