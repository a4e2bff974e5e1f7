"""Two events that may be one: which pairs are compared, and how often chance makes such a pair.

Rates as RAVEN counts them (:mod:`skymaps.coincidence`). A gravitational wave is compared with
neutrinos (bursts of supernovae, single tracks) and with gamma-ray bursts near it in time; what
IceCube found by looking at the gravitational wave's own region has a p-value instead of a rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mmcoord.records import BURST_GROUPS, Messenger
from mmcoord.supernova.falsealarm import Rules, coincidence_rate_hz
from mmcoord.timescales import JULIAN_YEAR_S
from skymaps.coincidence import (
    GRB_RATE_HZ,
    WINDOWS_S,
    TimeWindow,
    joint_far_space_time,
    joint_far_untargeted,
)

__all__ = ["LONGEST", "Joint", "Seen", "judge", "search_of"]

LONGEST = timedelta(seconds=max(max(-w.begin_s, w.end_s) for w in WINDOWS_S.values()))
_GRB_GROUPS = ("Fermi-GBM", "Swift-BAT", "Swift-GUANO", "EP-WXT", "SVOM")
_TRACK_RATE_HZ = 26.0 / JULIAN_YEAR_S
"""IceCube's gold and bronze alerts: about 10 and 16 a year."""
_FOLLOW_UP = "IceCube-LVK"
_P_VALUES = ("pval_generic", "pval_bayesian")


@dataclass(frozen=True, slots=True)
class Seen:
    """One event, as far as a coincidence is concerned."""

    event_id: str
    messenger: Messenger
    group: str | None
    event_time: datetime
    far_hz: float | None
    extra: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Joint:
    """A pair and what chance makes of it."""

    search: str
    """Window of :data:`skymaps.coincidence.WINDOWS_S`, or ``follow-up``."""
    offset_s: float
    """Other event minus gravitational wave."""
    far_time_hz: float | None
    """Of such a pair by chance in time alone; None: no false-alarm rate is known."""
    overlap: float | None
    """I of the two maps; None: one has none."""
    far_hz: float | None
    """In time and on the sky."""


def search_of(wave: Seen, other: Seen) -> str | None:
    """The window in which a pair is sought; None: this pair is not."""
    if wave.messenger is not Messenger.GW or other.messenger is Messenger.GW:
        return None
    if other.group in BURST_GROUPS:
        return "SNEWS"
    if other.group == _FOLLOW_UP:
        return "follow-up"
    if other.messenger is Messenger.NEUTRINO:
        return "NEUTRINO"
    if other.group in _GRB_GROUPS:
        return "GRB_Burst" if wave.group == "Burst" else "GRB_CBC"
    return None


def judge(wave: Seen, other: Seen, overlap: float | None) -> Joint | None:
    """The pair, or None where it is none: not sought, or too far apart in time.

    Parameters
    ----------
    overlap
        Overlap integral of the maps, where both have one.
    """
    search = search_of(wave, other)
    if search is None:
        return None
    offset_s = (other.event_time - wave.event_time) / timedelta(seconds=1)
    if search == "follow-up":
        p_value = _p_value(other.extra)
        far = None if p_value is None or wave.far_hz is None else p_value * wave.far_hz
        return Joint(search, offset_s, far, overlap, far)  # its p-value holds the direction
    window: TimeWindow = WINDOWS_S[search]
    if not window.holds(offset_s):
        return None
    rate_hz = _rate_hz(search, other)
    far_time = None if wave.far_hz is None else joint_far_untargeted(wave.far_hz, window, rate_hz)
    far = far_time
    if far_time is not None and overlap is not None:
        found = joint_far_space_time(far_time, overlap)
        far = found if math.isfinite(found) else None
    return Joint(search, offset_s, far_time, overlap, far)


def _rate_hz(search: str, other: Seen) -> float:
    """How often the other stream brings an event, real or not."""
    if search == "SNEWS":
        rules = Rules()
        names = {str(one.get("detector")) for one in other.extra.get("detections") or ()}
        number = max(2, len(names)) if names else 2
        return coincidence_rate_hz(
            min(number, rules.n_detectors),
            n=rules.n_detectors,
            rate_hz=rules.false_alarm_hz,
            window_s=rules.window_s,
        )
    return _TRACK_RATE_HZ if search == "NEUTRINO" else GRB_RATE_HZ


def _p_value(extra: Mapping[str, Any]) -> float | None:
    """Of IceCube's follow-up; null means that the analysis was not run. Of two analyses the
    larger: that both were tried costs nothing then."""
    found = [extra.get(key) for key in _P_VALUES]
    numbers = [float(p) for p in found if isinstance(p, int | float) and 0.0 <= p <= 1.0]
    return max(numbers) if numbers else None
