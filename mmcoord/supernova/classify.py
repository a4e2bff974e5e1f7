"""What it is, from the alert alone: noise, core collapse, failed supernova, pre-supernova.

First-neutrino times do not tell a collapse to a neutron star from one to a black hole. The
two share what is left in the ratio known beforehand, and the answer says "undetermined";
only time series can tell (:mod:`mmcoord.supernova.series`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mmcoord.supernova.burst import Burst
from mmcoord.supernova.falsealarm import Reality, Rules, probability_real
from mmcoord.timescales import JULIAN_YEAR_S

__all__ = ["Classification", "classify"]

FAILED_FRACTION = 0.2
"""Of core collapses that make a black hole at once; 0.1 to 0.4 are published."""
_PRE_SUPERNOVA_HZ = 3e-4 / JULIAN_YEAR_S
"""Collapses near enough (about 1 kpc) to be heard before they happen: a hundredth of all."""


@dataclass(frozen=True, slots=True)
class Classification:
    """Probabilities that sum to 1."""

    noise: float
    core_collapse: float
    failed: float
    pre_supernova: float
    determined: bool
    """Whether the two collapses were told apart; False: their ratio is the prior's."""
    reasons: tuple[str, ...]
    missing: tuple[str, ...]
    """Inputs that would have helped and were not there."""

    @property
    def probability_real(self) -> float:
        return self.core_collapse + self.failed + self.pre_supernova

    @property
    def verdict(self) -> str:
        """One word for people."""
        if self.noise >= 0.5:
            return "noise"
        if self.pre_supernova >= 0.5:
            return "pre-supernova"
        if not self.determined:
            return "collapse, undetermined"
        return "failed supernova" if self.failed > self.core_collapse else "core collapse"

    def probabilities(self) -> Mapping[str, float]:
        return {
            "noise": self.noise,
            "core_collapse": self.core_collapse,
            "failed": self.failed,
            "pre_supernova": self.pre_supernova,
        }


def classify(
    burst: Burst, rules: Rules | None = None, *, failed_fraction: float = FAILED_FRACTION
) -> tuple[Classification, Reality]:
    """Stage A: from what the alerts say."""
    rules = rules or Rules()
    if burst.is_pre_supernova:
        rules = replace(rules, supernova_rate_hz=_PRE_SUPERNOVA_HZ)
    real = probability_real(burst, rules)
    missing = tuple(
        what
        for what, absent in (
            ("p-values", all(s.p_value is None for s in burst.sightings)),
            ("state of the other detectors", not (burst.silent or burst.off)),
            ("Super-K's alert", burst.superk is None),
            ("time series", True),
        )
        if absent
    )
    p = real.probability
    if burst.is_pre_supernova:
        reasons = (*real.reasons, "flagged as a signal from before the collapse")
        return Classification(1.0 - p, 0.0, 0.0, p, True, reasons, missing), real
    reasons = (
        *real.reasons,
        "first neutrinos do not tell a black hole from a neutron star: "
        f"{failed_fraction:.0%} of collapses are held to fail",
    )
    return (
        Classification(
            noise=1.0 - p,
            core_collapse=p * (1.0 - failed_fraction),
            failed=p * failed_fraction,
            pre_supernova=0.0,
            determined=False,
            reasons=reasons,
            missing=missing,
        ),
        real,
    )
