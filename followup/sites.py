"""Sites and instruments: typed records, read from a TOML catalogue.

The built-in catalogue is ``sites.toml`` beside this file; each number's source stands next
to it there. A group's own file extends it (same ``id``: replaces that entry) or, with
``replace = true`` at its top, stands alone.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from followup.bands import EFFECTIVE_WAVELENGTH_NM
from mmcoord.errors import ConfigError
from mmcoord.timescales import mjd_utc as to_mjd_utc

__all__ = ["Band", "Catalogue", "Downtime", "Instrument", "Programme", "Site", "load_catalogue"]


@dataclass(frozen=True, slots=True)
class Site:
    """A place on Earth, WGS84."""

    id: str
    name: str
    latitude_deg: float
    """Geodetic, north positive, [-90, 90]."""
    longitude_deg: float
    """East positive, [-180, 360)."""
    altitude_m: float
    source: str
    """Where the position comes from."""
    kind: str = "ground"
    """``ground``, or ``space``: then the position means nothing, there is no night and no
    horizon, and only the distances from Sun and Moon are checked."""
    time_zone: str = ""
    """IANA name (``America/Santiago``) of the clock that people there read; empty: not known."""

    def __post_init__(self) -> None:
        _require(self.kind in ("ground", "space"), "kind", self.kind)
        _require(-90 <= self.latitude_deg <= 90, "latitude_deg", self.latitude_deg)
        _require(-180 <= self.longitude_deg < 360, "longitude_deg", self.longitude_deg)
        _require(-500 <= self.altitude_m <= 9000, "altitude_m", self.altitude_m)
        _require(not self.time_zone or _is_zone(self.time_zone), "time_zone", self.time_zone)


@dataclass(frozen=True, slots=True)
class Band:
    """One filter of an instrument."""

    name: str
    """As the observatory calls it."""
    canonical: str
    """The canonical band whose predictions are compared with its depth."""
    limit_mag: float
    """5-sigma point-source depth, AB, at the zenith for the instrument's depth conditions."""

    def __post_init__(self) -> None:
        _require(self.canonical in EFFECTIVE_WAVELENGTH_NM, "canonical", self.canonical)
        _require(10 < self.limit_mag < 32, "limit_mag", self.limit_mag)


@dataclass(frozen=True, slots=True)
class Programme:
    """Time that a group may use on an instrument."""

    name: str
    hours: float
    """What is left of it, for all plans together."""

    def __post_init__(self) -> None:
        _require(self.hours >= 0, "hours", self.hours)


@dataclass(frozen=True, slots=True)
class Downtime:
    """When an instrument is not to be had: engineering, another run, a closed dome."""

    start: datetime
    end: datetime
    reason: str

    def __post_init__(self) -> None:
        _require(self.start < self.end, "end", self.end)


@dataclass(frozen=True, slots=True)
class Instrument:
    """A camera at a telescope, with the limits within which it is used."""

    id: str
    name: str
    site: Site
    aperture_m: float
    """Diameter of the primary mirror; its square is the cost of a second."""
    field_deg2: float
    min_altitude_deg: float
    max_altitude_deg: float
    """Alt-azimuth mounts lose the zenith."""
    max_airmass: float
    sun_altitude_deg: float
    """The Sun must be below this: -18 astronomical, -12 nautical twilight."""
    moon_separation_deg: float
    """Least distance from the Moon while the Moon is up."""
    overhead_s: float
    """Per exposure: readout and filter change."""
    slew_s: float
    """To acquire a target elsewhere on the sky."""
    min_exposure_s: float
    max_exposure_s: float
    """Longest request, as one exposure or as a sum of several."""
    depth_exposure_s: float
    """Exposure for which ``Band.limit_mag`` holds."""
    depth_seeing_arcsec: float
    """Seeing at the zenith for which ``Band.limit_mag`` holds."""
    depth_source: str
    limits_source: str
    """Where field, limits and overheads come from."""
    bands: tuple[Band, ...]
    """Preferred first."""
    max_hour_angle_h: float = 12.0
    """Equatorial mounts and some domes stop here, east and west."""
    sun_separation_deg: float = 0.0
    """Least distance from the Sun; for space telescopes."""
    visible_fraction: float = 1.0
    """Part of the time for which the Earth is not in the way; 1 on the ground. Where in its
    orbit a spacecraft will be is not known here: time is stretched, no start is exact."""
    cost_per_hour: float = 0.0
    """In the catalogue's unit of cost; 0: the aperture squared, in m2."""
    access: str = ""
    """Who may use it, for people."""
    asked: bool = True
    """Whether plans ask it by default; otherwise only where a configuration names it."""
    programmes: tuple[Programme, ...] = ()
    """Whose time it is taken from, in this order; none: not counted."""
    downtimes: tuple[Downtime, ...] = ()

    @property
    def cost_rate(self) -> float:
        """Cost of an hour."""
        return self.cost_per_hour or self.aperture_m**2

    @property
    def is_in_space(self) -> bool:
        return self.site.kind == "space"

    def is_down(self, mjd_utc: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """(T,) whether a downtime covers each instant."""
        down = np.zeros(len(mjd_utc), bool)
        for one in self.downtimes:
            down |= (mjd_utc >= to_mjd_utc(one.start)) & (mjd_utc < to_mjd_utc(one.end))
        return down

    def __post_init__(self) -> None:
        for name in ("aperture_m", "field_deg2", "min_exposure_s", "depth_exposure_s"):
            _require(getattr(self, name) > 0, name, getattr(self, name))
        _require(self.depth_seeing_arcsec > 0, "depth_seeing_arcsec", self.depth_seeing_arcsec)
        _require(0 <= self.min_altitude_deg < 90, "min_altitude_deg", self.min_altitude_deg)
        top_ok = self.min_altitude_deg < self.max_altitude_deg <= 90
        _require(top_ok, "max_altitude_deg", self.max_altitude_deg)
        _require(1 < self.max_airmass <= 10, "max_airmass", self.max_airmass)
        _require(-90 < self.sun_altitude_deg <= 0, "sun_altitude_deg", self.sun_altitude_deg)
        moon_ok = 0 <= self.moon_separation_deg < 180
        _require(moon_ok, "moon_separation_deg", self.moon_separation_deg)
        _require(0 < self.max_hour_angle_h <= 12, "max_hour_angle_h", self.max_hour_angle_h)
        sun_ok = 0 <= self.sun_separation_deg < 180
        _require(sun_ok, "sun_separation_deg", self.sun_separation_deg)
        _require(0 < self.visible_fraction <= 1, "visible_fraction", self.visible_fraction)
        _require(self.cost_per_hour >= 0, "cost_per_hour", self.cost_per_hour)
        _require(self.overhead_s >= 0, "overhead_s", self.overhead_s)
        _require(self.slew_s >= 0, "slew_s", self.slew_s)
        longest_ok = self.min_exposure_s <= self.max_exposure_s < 86400
        _require(longest_ok, "max_exposure_s", self.max_exposure_s)
        _require(len(self.bands) > 0, "band", "none")
        names = [band.name for band in self.bands]
        _require(len(set(names)) == len(names), "band", f"repeated name in {names}")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Sites and instruments, in the order of the file."""

    sites: tuple[Site, ...]
    instruments: tuple[Instrument, ...]

    @property
    def asked(self) -> tuple[Instrument, ...]:
        """The instruments that plans ask unless a configuration names others."""
        return tuple(i for i in self.instruments if i.asked)

    def select(self, ids: Sequence[str]) -> tuple[Instrument, ...]:
        """The instruments named, in the order asked for.

        Raises
        ------
        ConfigError
            An id is not in the catalogue; the message lists those that are.
        """
        known = {instrument.id: instrument for instrument in self.instruments}
        missing = [name for name in ids if name not in known]
        if missing:
            raise ConfigError(f"unknown instrument {missing[0]!r}; known: {', '.join(known)}")
        return tuple(known[name] for name in ids)


def load_catalogue(path: Path | None = None) -> Catalogue:
    """Read the built-in catalogue, extended or replaced by the file at ``path``.

    Raises
    ------
    ConfigError
        Unreadable file, bad TOML, unknown or missing key, impossible value, unknown site or
        repeated id; the message names file, entry and key.
    """
    text = files("followup").joinpath("sites.toml").read_text(encoding="utf-8")
    tables = _tables(text, "sites.toml")
    if path is not None:
        try:
            own = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from error
        extra = _tables(own, str(path))
        tables = extra if extra.replace else tables.extended_by(extra)
    sites = {key: _build(Site, table, where) for key, (table, where) in tables.sites.items()}
    instruments = tuple(_instrument(t, sites, where) for t, where in tables.instruments.values())
    return Catalogue(tuple(sites.values()), instruments)


_Entries = dict[str, tuple[Mapping[str, Any], str]]
"""id -> (table, where it stands)."""


@dataclass(frozen=True, slots=True)
class _Tables:
    sites: _Entries
    instruments: _Entries
    replace: bool

    def extended_by(self, other: _Tables) -> _Tables:
        return _Tables(self.sites | other.sites, self.instruments | other.instruments, False)


def _tables(text: str, file: str) -> _Tables:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not TOML: {error}") from error
    unknown = sorted(set(document) - {"instrument", "replace", "site"})
    if unknown:
        raise ConfigError(f"{file}: unknown key {unknown[0]!r}")
    replace = document.get("replace", False)
    if not isinstance(replace, bool):
        raise ConfigError(f"{file}: replace: {replace!r} is not true or false")
    return _Tables(
        _entries(document.get("site", []), "site", file),
        _entries(document.get("instrument", []), "instrument", file),
        replace,
    )


def _entries(tables: object, kind: str, file: str) -> _Entries:
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise ConfigError(f"{file}: {kind}: must be an array of tables ([[{kind}]])")
    entries: _Entries = {}
    for number, table in enumerate(tables, start=1):
        key = table.get("id")
        if not isinstance(key, str) or not key:
            raise ConfigError(f"{file}: {kind} number {number}: id is missing or not a text")
        if key in entries:
            raise ConfigError(f"{file}: {kind} {key!r}: id is repeated")
        entries[key] = (table, f"{file}: {kind} {key!r}")
    return entries


def _instrument(table: Mapping[str, Any], sites: Mapping[str, Site], where: str) -> Instrument:
    site = table.get("site")
    if not isinstance(site, str) or site not in sites:
        raise ConfigError(f"{where}: site: {site!r} is not a known site")
    bands = table.get("band", [])
    if not isinstance(bands, list) or not all(isinstance(b, dict) for b in bands):
        raise ConfigError(f"{where}: band: must be an array of tables ([[instrument.band]])")
    built = tuple(_build(Band, b, f"{where}: band {b.get('name')!r}") for b in bands)
    programmes = tuple(_build(Programme, p, where) for p in _tables_of(table, "programme", where))
    downtimes = tuple(
        _build(Downtime, {"reason": "", **_instants(d, where)}, where)
        for d in _tables_of(table, "downtime", where)
    )
    plain = {k: v for k, v in table.items() if k not in ("band", "programme", "downtime")}
    parts = {"bands": built, "programmes": programmes, "downtimes": downtimes}
    return _build(Instrument, {**plain, "site": sites[site], **parts}, where)


def _tables_of(table: Mapping[str, Any], key: str, where: str) -> list[Mapping[str, Any]]:
    inner = table.get(key, [])
    if not isinstance(inner, list) or not all(isinstance(t, dict) for t in inner):
        raise ConfigError(f"{where}: {key}: must be an array of tables ([[instrument.{key}]])")
    return inner


def _instants(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """TOML's own dates and times; without a zone they are UTC."""
    values = dict(table)
    for key in ("start", "end"):
        value = values.get(key)
        if not isinstance(value, datetime):
            raise ConfigError(f"{where}: downtime: {key}: {value!r} is not a date with a time")
        values[key] = value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)
    return values


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return False
    return True


_Record = TypeVar("_Record", Site, Band, Instrument, Programme, Downtime)


def _build(kind: type[_Record], table: Mapping[str, Any], where: str) -> _Record:
    described = dataclasses.fields(kind)
    fields = {field.name: field.type for field in described}
    optional = {f.name for f in described if f.default is not dataclasses.MISSING}
    for key in table:
        if key not in fields:
            raise ConfigError(f"{where}: unknown key {key!r}")
    values = dict(table)
    for name, type_name in fields.items():
        if name not in table:
            if name in optional:
                continue
            raise ConfigError(f"{where}: {name} is missing")
        if type_name == "float":
            values[name] = _number(table[name], f"{where}: {name}")
        elif type_name == "bool" and not isinstance(table[name], bool):
            raise ConfigError(f"{where}: {name}: {table[name]!r} is not true or false")
        elif type_name == "str" and not isinstance(table[name], str):
            raise ConfigError(f"{where}: {name}: {table[name]!r} is not a text")
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{where}: {value!r} is not a finite number")
    return float(value)


def _require(condition: bool, key: str, value: object) -> None:
    if not condition:
        raise ConfigError(f"{key}: {value!r} is out of range")
