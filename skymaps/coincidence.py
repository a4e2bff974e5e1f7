"""How often chance brings two events together: joint false-alarm rates as RAVEN counts them.

Formulas of the RAVEN pipeline (ligo-raven 3.3, ``ligo.raven.search.coinc_far``; Urban 2016,
PhD thesis, University of Wisconsin-Milwaukee). Rates are in Hz, times in seconds, windows are
external event minus gravitational wave.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

from skymaps.skymap import SkyMapError

__all__ = [
    "GRB_RATE_HZ",
    "SUBTHRESHOLD_GRB_RATE_HZ",
    "TARGETED_LIMITS_HZ",
    "WINDOWS_S",
    "TimeWindow",
    "joint_far_space_time",
    "joint_far_targeted",
    "joint_far_untargeted",
]

YEAR_S = 365.0 * 86_400.0
"""RAVEN's year."""
GRB_RATE_HZ = 310.0 / YEAR_S
"""Independent gamma-ray bursts of Fermi (236), Swift (65), INTEGRAL and AGILE (5 each) a year."""
SUBTHRESHOLD_GRB_RATE_HZ = 375.0 / YEAR_S
"""The same with 65 a year below threshold."""


@dataclass(frozen=True)
class TimeWindow:
    """When an external event may come relative to the gravitational wave."""

    begin_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Width of the window."""
        return self.end_s - self.begin_s

    def holds(self, offset_s: float) -> bool:
        """Whether external minus gravitational-wave time is within, ends included."""
        return self.begin_s <= offset_s <= self.end_s


WINDOWS_S = MappingProxyType(
    {
        "GRB_CBC": TimeWindow(-1.0, 5.0),
        "GRB_CBC_SubFermi": TimeWindow(-1.0, 11.0),
        "GRB_CBC_SubSwift": TimeWindow(-10.0, 20.0),
        "GRB_Burst": TimeWindow(-60.0, 600.0),
        "SNEWS": TimeWindow(-10.0, 10.0),
        "NEUTRINO": TimeWindow(-500.0, 500.0),
    }
)
"""Search windows: gwcelery's for GRB and SNEWS, IceCube's follow-up window for neutrinos
(Baret et al. 2011, Astropart. Phys. 35, 1; Aartsen et al. 2020, ApJL 898, L10)."""

TARGETED_LIMITS_HZ = MappingProxyType(
    {"Fermi": (1.0 / 86_400.0, 1.0 / 10_000.0), "Swift": (2.0 / 86_400.0, 1.0 / 1_000.0)}
)
"""Largest (gravitational-wave, burst) false-alarm rates that enter the targeted search."""


def joint_far_untargeted(
    far_gw_hz: float, window: TimeWindow, external_rate_hz: float = GRB_RATE_HZ
) -> float:
    """Rate of chance coincidences in time with any of a stream of external events (Hz).

    ``external_rate_hz`` times the window is how many external events chance puts into it.
    """
    _check_rate(far_gw_hz, "gravitational-wave false-alarm rate")
    _check_rate(external_rate_hz, "external rate")
    _check_window(window)
    return window.length_s * external_rate_hz * far_gw_hz


def joint_far_targeted(
    far_gw_hz: float,
    far_external_hz: float,
    window: TimeWindow,
    far_gw_limit_hz: float,
    far_external_limit_hz: float,
) -> float:
    """The same for an external candidate below threshold that has a false-alarm rate of its own.

    With z the product of both rates and the window, and z_max that of the largest rates
    searched, the joint rate is z (1 - ln(z / z_max)): the distribution of a product of two
    uniform variables.

    Raises
    ------
    SkyMapError
        A rate that is none or above its limit.
    """
    _check_window(window)
    for rate, limit, name in (
        (far_gw_hz, far_gw_limit_hz, "gravitational-wave"),
        (far_external_hz, far_external_limit_hz, "external"),
    ):
        _check_rate(rate, f"{name} false-alarm rate")
        _check_rate(limit, f"{name} limit")
        if rate > limit:
            raise SkyMapError(f"{name} false-alarm rate {rate:g} Hz is above its limit {limit:g}")
    z = window.length_s * far_gw_hz * far_external_hz
    z_max = window.length_s * far_gw_limit_hz * far_external_limit_hz
    return z * (1.0 - math.log(z / z_max)) if z > 0.0 else 0.0


def joint_far_space_time(far_time_hz: float, overlap: float) -> float:
    """Joint false-alarm rate in time and on the sky: that in time over the overlap integral.

    Infinite when the maps exclude each other.
    """
    _check_rate(far_time_hz, "temporal false-alarm rate")
    if math.isnan(overlap) or overlap < 0.0:
        raise SkyMapError(f"overlap integral {overlap!r}")
    return far_time_hz / overlap if overlap > 0.0 else math.inf


def _check_rate(rate: float, name: str) -> None:
    if not 0.0 <= rate < math.inf:  # false for NaN too
        raise SkyMapError(f"{name} {rate!r} is not a rate")


def _check_window(window: TimeWindow) -> None:
    if not 0.0 < window.length_s < math.inf:
        raise SkyMapError(f"time window {window.begin_s} .. {window.end_s} s")
