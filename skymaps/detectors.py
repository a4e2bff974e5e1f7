"""Neutrino detectors: where they stand, how many events they would see, how well they time.

The table is ``detectors.toml`` beside this module; every row names its sources. A user adds
detectors, or replaces rows, with a file of the same shape (:func:`load_detectors`).

Two ways to put a time on a burst:

``first_event``
    What a SNEWS coincidence message carries. While the rate rises linearly, the number of
    events up to t after the start is N (t / T)^2, so that the first one comes at a time of
    the Weibull distribution of shape 2: late by 0.886 T / sqrt(N) on average, with a scatter
    of 0.463 T / sqrt(N). T = 0.30 s reproduces the first 20 ms of the 27 solar-mass light
    curves of Coleiro et al. 2020 in IceCube, KM3NeT and a 20 kt scintillator within 10 %.
``light_curve``
    Matched light curves of two detectors (Coleiro et al. 2020, EPJ C 80, 856).

Errors grow with distance as the counts fall: as d where the detector counts single events,
as d^2 where the burst is an excess over background.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from skymaps.skymap import SkyMapError

__all__ = [
    "REFERENCE_DISTANCE_KPC",
    "Detector",
    "DetectorTable",
    "TimingMethod",
    "builtin_detectors",
    "load_detectors",
]

REFERENCE_DISTANCE_KPC = 10.0
"""Distance for which the table gives counts and timing errors."""
_WEIBULL_MEAN = math.gamma(1.5)
_WEIBULL_SD = math.sqrt(1.0 - _WEIBULL_MEAN**2)

TimingMethod = Literal["first_event", "light_curve"]
Status = Literal["running", "planned", "ended"]


@dataclass(frozen=True)
class Timing:
    """How far the time of one detector is from the arrival of the neutrinos."""

    sigma_s: float
    """Standard deviation."""
    bias_s: float
    """Mean; positive: the detector is late."""
    bias_per_ln_distance_s: float
    """Change of the mean with the logarithm of the distance."""


@dataclass(frozen=True)
class Detector:
    """One row of the table."""

    name: str
    """As SNEWS writes it."""
    lon_deg: float
    """Geodetic, east positive (WGS84)."""
    lat_deg: float
    height_m: float
    """Above the ellipsoid, negative underground or under ice and water."""
    status: Status
    position_source: str
    aliases: tuple[str, ...] = ()
    medium: str = ""
    """What the neutrinos meet: water, ice, scintillator, argon, xenon, lead."""
    mass_kt: float | None = None
    events_10kpc: float | None = None
    """Expected events of a core collapse at 10 kpc; None: not known."""
    events_range: tuple[float, float] | None = None
    """The same for the least and the most luminous model of the source."""
    events_source: str = ""
    background_hz: float = 0.0
    """Rate of background hits; above zero the burst is an excess, not single events."""
    background_source: str = ""
    light_curve_sigma_ms: float | None = None
    """Timing error at 10 kpc from matched light curves; None: scaled from Super-K's by counts."""
    first_event_sigma_ms: float | None = None
    """Timing error at 10 kpc of the time that it reports; None: from its counts."""
    timing_source: str = ""
    clock_ms: float = 0.1
    """Error of the clock and of the trigger, whatever the counts."""
    rise_s: float = 0.30
    """T of the rising rate, see the module."""
    is_directional: bool = False
    """Whether it can point back by itself (elastic scattering)."""

    def timing(
        self,
        method: TimingMethod = "first_event",
        distance_kpc: float = REFERENCE_DISTANCE_KPC,
        events: float | None = None,
    ) -> Timing:
        """Bias and scatter of its time.

        Parameters
        ----------
        events
            Counted events of this very burst, where known; else those of the table scaled
            with the distance.

        Raises
        ------
        SkyMapError
            Neither counts nor an error of its own are known; a distance or count that is
            none.
        """
        raise NotImplementedError


class DetectorTable(Mapping[str, Detector]):
    """Detectors by name; aliases, case and punctuation do not matter."""


@lru_cache(maxsize=1)
def builtin_detectors() -> DetectorTable:
    """The table shipped with this package."""
    raise NotImplementedError


def load_detectors(path: Path | None = None) -> DetectorTable:
    """The shipped table, with the rows of a file of the same shape added or put in place.

    Raises
    ------
    SkyMapError
        With the file, the row and the key at fault.
    """
    raise NotImplementedError
