"""Whether an alert with a small map is worth a wide camera's time, and if not, why. Pure.

For neutrino alerts and the like: one position with an error rectangle, one chance to observe.
The criteria are those that ZTF's neutrino programme states (Stein et al. 2023, MNRAS 521, 5046,
section 2): a high-quality alert, accessible at night, away from the Galactic plane. A skip has
a code (:class:`~followup.claims.SkipReason`) and a sentence. What is not known skips nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import erfa
import numpy as np
from astropy.time import Time

from followup.claims import SkipReason
from followup.observability import observability
from followup.sites import Instrument

__all__ = ["Alert", "Skip", "SkipRule", "why_skip"]

_STEP_MINUTES = 10.0


@dataclass(frozen=True, slots=True)
class Alert:
    """What the rule looks at; None is not known."""

    time: datetime
    ra_deg: float | None
    dec_deg: float | None
    ra_widths_deg: tuple[float, float] | None = None
    """Half-widths of the 90 % rectangle, in coordinate degrees, to either side."""
    dec_widths_deg: tuple[float, float] | None = None
    signalness: float | None = None
    """Probability that it is astrophysical."""
    is_retracted: bool = False

    @property
    def area_deg2(self) -> float | None:
        """Area of the rectangle."""
        if self.ra_widths_deg is None or self.dec_widths_deg is None or self.dec_deg is None:
            return None
        area = sum(self.ra_widths_deg) * sum(self.dec_widths_deg)
        return area * math.cos(math.radians(self.dec_deg))


@dataclass(frozen=True, slots=True)
class SkipRule:
    """The numbers of the rule."""

    good_signalness: float = 0.5
    small_area_deg2: float = 10.0
    """An alert is worth it that is likely astrophysical or well localized ..."""
    largest_area_deg2: float = 40.0
    """... and not so large that no programme covers it."""
    galactic_latitude_deg: float = 10.0
    up_minutes: float = 60.0
    """Least time up in the dark within a day."""
    sun_distance_deg: float = 90.0
    """What is never up in the dark and nearer to the Sun than this is lost to the Sun."""


@dataclass(frozen=True, slots=True)
class Skip:
    """Why an alert is not followed."""

    reason: SkipReason
    sentence: str

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.sentence}"


def why_skip(alert: Alert, instrument: Instrument, rule: SkipRule | None = None) -> Skip | None:
    """The first reason to leave an alert to others; None: follow it."""
    rule = rule or SkipRule()
    if alert.is_retracted:
        return Skip(SkipReason.RETRACTED, "the alert is retracted")
    if alert.ra_deg is None or alert.dec_deg is None:
        return None
    return (
        _out_of_reach(alert.dec_deg, instrument)
        or _not_up(alert.ra_deg, alert.dec_deg, alert.time, instrument, rule)
        or _in_the_plane(alert.ra_deg, alert.dec_deg, rule)
        or _poor(alert, rule)
    )


def _out_of_reach(dec_deg: float, instrument: Instrument) -> Skip | None:
    highest = 90.0 - abs(instrument.site.latitude_deg - dec_deg)
    lowest = _lowest_altitude_deg(instrument)
    if highest >= lowest:
        return None
    sentence = f"culminates at {highest:.0f} deg over {instrument.site.name}, below {lowest:.0f}"
    return Skip(SkipReason.OUT_OF_REACH, sentence)


def _not_up(
    ra_deg: float, dec_deg: float, time: datetime, instrument: Instrument, rule: SkipRule
) -> Skip | None:
    """Minutes up, high enough and in the dark, in the day that follows."""
    begin = float(Time(time).utc.mjd)
    times = begin + np.arange(0.0, 1.0, _STEP_MINUTES / 1440.0)
    seen = observability([ra_deg], [dec_deg], [instrument], times)
    minutes = int(seen.allowed[0, 0].sum()) * _STEP_MINUTES
    if minutes >= rule.up_minutes:
        return None
    earth, _ = erfa.epv00(2400000.5, begin)
    target = erfa.s2c(math.radians(ra_deg), math.radians(dec_deg))
    distance = math.degrees(erfa.sepp(target, -earth["p"]))
    told = f"up in the dark for {minutes:.0f} min, {distance:.0f} deg from the Sun"
    near_sun = distance < rule.sun_distance_deg
    return Skip(SkipReason.SUN if near_sun else SkipReason.LOW, told)


def _in_the_plane(ra_deg: float, dec_deg: float, rule: SkipRule) -> Skip | None:
    latitude = math.degrees(erfa.icrs2g(math.radians(ra_deg), math.radians(dec_deg))[1])
    if abs(latitude) >= rule.galactic_latitude_deg:
        return None
    return Skip(SkipReason.GALACTIC_PLANE, f"at galactic latitude {latitude:+.1f} deg")


def _poor(alert: Alert, rule: SkipRule) -> Skip | None:
    area = alert.area_deg2
    if area is None:
        return None
    if area > rule.largest_area_deg2:
        return Skip(SkipReason.POOR, f"{area:.0f} deg2 are too many")
    unlikely = alert.signalness is not None and alert.signalness < rule.good_signalness
    if unlikely and area > rule.small_area_deg2:
        return Skip(SkipReason.POOR, f"signalness {alert.signalness:.2f} over {area:.0f} deg2")
    return None


def _lowest_altitude_deg(instrument: Instrument) -> float:
    airmass_limit = math.degrees(math.asin(1.0 / instrument.max_airmass))
    return max(instrument.min_altitude_deg, airmass_limit)
