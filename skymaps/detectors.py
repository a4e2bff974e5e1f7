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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from skymaps.skymap import SkyMapError

__all__ = [
    "REFERENCE_DISTANCE_KPC",
    "Detector",
    "DetectorTable",
    "Timing",
    "TimingMethod",
    "builtin_detectors",
    "load_detectors",
]

REFERENCE_DISTANCE_KPC = 10.0
"""Distance for which the table gives counts and timing errors."""
_WEIBULL_MEAN = math.gamma(1.5)
_WEIBULL_SD = math.sqrt(1.0 - _WEIBULL_MEAN**2)
_LIGHT_CURVE_S = 1.95e-3 * math.sqrt(5600.0)
"""Error of a light curve with one event, if all are timed as well as Super-K (1.95 ms)."""

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
    """Timing error at 10 kpc from matched light curves; None: from its counts."""
    first_event_sigma_ms: float | None = None
    """Timing error at 10 kpc of the time that it reports; None: from its counts."""
    timing_source: str = ""
    clock_ms: float = 1.0
    """Floor of a reported first time (clock, trigger, what is called first), in quadrature."""
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
        if not 0.0 < distance_kpc < math.inf:
            raise SkyMapError(f"{self.name}: distance {distance_kpc} kpc")
        if events is not None and not 0.0 < events < math.inf:
            raise SkyMapError(f"{self.name}: {events} events")
        counts = events
        if counts is None and self.events_10kpc is not None:
            counts = self.events_10kpc * (REFERENCE_DISTANCE_KPC / distance_kpc) ** 2
        if method == "light_curve":
            return Timing(self._light_curve_s(distance_kpc, counts), 0.0, 0.0)
        if self.first_event_sigma_ms is not None:
            sigma_s = 1e-3 * self.first_event_sigma_ms * self._loss(distance_kpc)
            return Timing(math.hypot(1e-3 * self.clock_ms, sigma_s), 0.0, 0.0)
        if counts is None:
            raise SkyMapError(f"{self.name}: neither events_10kpc nor first_event_sigma_ms")
        scale_s = self.rise_s / math.sqrt(max(counts, 1.0))
        bias_s = _WEIBULL_MEAN * scale_s
        sigma_s = math.hypot(1e-3 * self.clock_ms, _WEIBULL_SD * scale_s)
        # Counted events leave nothing to the distance.
        return Timing(sigma_s, bias_s, bias_s if events is None else 0.0)

    def _light_curve_s(self, distance_kpc: float, counts: float | None) -> float:
        if self.light_curve_sigma_ms is not None:
            return 1e-3 * self.light_curve_sigma_ms * self._loss(distance_kpc)
        if counts is None:
            raise SkyMapError(f"{self.name}: neither events_10kpc nor light_curve_sigma_ms")
        return _LIGHT_CURVE_S / math.sqrt(max(counts, 1.0))

    def _loss(self, distance_kpc: float) -> float:
        """How much an error grows from the reference distance to this one."""
        return (distance_kpc / REFERENCE_DISTANCE_KPC) ** (2 if self.background_hz > 0.0 else 1)


class DetectorTable(Mapping[str, Detector]):
    """Detectors by name; aliases, case, blanks and punctuation do not matter."""

    def __init__(self, detectors: Iterable[Detector]) -> None:
        self._rows: dict[str, Detector] = {}
        self._names: dict[str, str] = {}
        for detector in detectors:
            self._rows[detector.name] = detector
            for name in (detector.name, *detector.aliases):
                owner = self._names.setdefault(_key(name), detector.name)
                if owner != detector.name:
                    raise SkyMapError(f"detectors {owner} and {detector.name} are both {name!r}")

    def __getitem__(self, name: str) -> Detector:
        return self._rows[self._names[_key(name)]]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _key(name) in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def _key(name: str) -> str:
    return "".join(sign for sign in name.lower() if sign.isalnum() or sign == "+")


@lru_cache(maxsize=1)
def builtin_detectors() -> DetectorTable:
    """The table shipped with this package."""
    return DetectorTable(_read(files("skymaps").joinpath("detectors.toml").read_text(), "built-in"))


def load_detectors(path: Path | None = None) -> DetectorTable:
    """The shipped table, with the rows of a file of the same shape added or put in place.

    Raises
    ------
    SkyMapError
        With the file, the row and the key at fault.
    """
    if path is None:
        return builtin_detectors()
    try:
        own = _read(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SkyMapError(f"{path}: {error}") from error
    replaced = {detector.name for detector in own}
    kept = [row for name, row in builtin_detectors().items() if name not in replaced]
    return DetectorTable([*kept, *own])


def _read(text: str, where: str) -> list[Detector]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SkyMapError(f"{where}: {error}") from error
    rows = document.get("detector", [])
    if set(document) - {"detector"} or not isinstance(rows, list):
        raise SkyMapError(f"{where}: only [[detector]] tables are expected")
    return [_detector(row, f"{where}: detector {i + 1}") for i, row in enumerate(rows)]


def _detector(row: Any, where: str) -> Detector:
    if not isinstance(row, dict):
        raise SkyMapError(f"{where}: not a table")
    where = f"{where} ({row.get('name')})"
    values: dict[str, Any] = {}
    for key, value in row.items():
        kind = _KINDS.get(key)
        if kind is None:
            raise SkyMapError(f"{where}: unknown key {key!r}")
        values[key] = _checked(value, kind, f"{where}: {key}")
    missing = [key for key in _NEEDED if key not in values]
    if missing:
        raise SkyMapError(f"{where}: no {', '.join(missing)}")
    for key, (low, high) in _LIMITS.items():
        if key in values and not low <= values[key] <= high:
            raise SkyMapError(f"{where}: {key} {values[key]} is not in {low:g} .. {high:g}")
    if values["status"] not in get_args(Status):
        raise SkyMapError(f"{where}: status {values['status']!r}")
    return Detector(**values)


def _checked(value: Any, kind: str, where: str) -> Any:
    """The value as the kind of its key."""
    if kind == "text" and isinstance(value, str):
        return value
    if kind == "truth" and isinstance(value, bool):
        return value
    if kind == "number" and _is_number(value):
        return float(value)
    if kind == "texts" and isinstance(value, list) and all(isinstance(x, str) for x in value):
        return tuple(value)
    is_pair = kind == "range" and isinstance(value, list) and len(value) == 2
    if is_pair and all(_is_number(x) for x in value):
        return tuple(float(x) for x in value)
    raise SkyMapError(f"{where}: {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_NEEDED = ("name", "lon_deg", "lat_deg", "height_m", "status", "position_source")
_TEXTS = (
    *("name", "status", "medium", "position_source"),
    *("events_source", "background_source", "timing_source"),
)
_KINDS: Mapping[str, str] = MappingProxyType(
    {field.name: "number" for field in fields(Detector)}
    | dict.fromkeys(_TEXTS, "text")
    | {"aliases": "texts", "events_range": "range", "is_directional": "truth"}
)
_POSITIVE = (
    *("mass_kt", "events_10kpc", "light_curve_sigma_ms", "first_event_sigma_ms"),
    *("clock_ms", "rise_s"),
)
_LIMITS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "lon_deg": (-180.0, 360.0),
        "lat_deg": (-90.0, 90.0),
        "height_m": (-12_000.0, 9_000.0),
        "background_hz": (0.0, 1e12),
    }
    | dict.fromkeys(_POSITIVE, (1e-9, 1e12))
)
