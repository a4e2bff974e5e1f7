"""Notices in GCN's unified schema, whatever the mission (``gcn.notices.*`` on GCN).

The core of the schema (Alert, Event, Reporter, DateTime, Localization, Statistics, Distance,
FollowUp) is read once, generically: a new mission works without code. A table adds what a
mission does differently. https://github.com/nasa-gcn/gcn-schema, v7.2.1.

SNEWS 2 has no identifier and is read by :mod:`listeners.snews`. Rules that are ours:

* an event is named by mission and trigger id, never by date; all its names are aliases;
* ``alert_tense`` other than ``current`` is practice, and practice has names of its own;
* some missions send no ``alert_datetime``; the trigger's time stands in, and two updates
  that differ in nothing else are then one;
* an enclosed map that is no base64 is handed on as it is: intake says what is wrong with it
  and keeps the alert.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from listeners.base import Source
from listeners.fields import (
    base64_bytes,
    event_name,
    finite,
    json_object,
    json_value,
    probabilities,
    rate_hz,
    shown,
    text,
    utc,
)
from listeners.regions import enclosing_circle, error_region, pointing
from listeners.snews import coincidence
from mmcoord.errors import BadNotice
from mmcoord.records import Alert, AlertType, ErrorRegion, ExternalCoincidence, Messenger
from mmcoord.supernova.distance import distance_kpc_of

__all__ = ["SOURCE", "TESTS", "parse", "parse_test"]

_TYPES = {
    "initial": AlertType.INITIAL,
    "subsequent": AlertType.INITIAL,  # a repeated source; the burst itself is new
    "update": AlertType.UPDATE,
    "retraction": AlertType.RETRACTION,
}
_TENSES = frozenset({"current", "archival", "planned", "injection", "commanded", "test"})
_MESSENGERS = {"EM": Messenger.EM, "GW": Messenger.GW, "Neutrino": Messenger.NEUTRINO}
_SUPEREVENT = re.compile(r"([MT]?)S\d{6}[a-z]+")
_SCHEMA = re.compile(r"/gcn/notices/([A-Za-z0-9_./-]+?)(?:\.schema\.json)?$")


@dataclass(frozen=True, slots=True)
class _Mission:
    name: str
    messenger: Messenger = Messenger.EM
    time_keys: tuple[str, ...] = ("trigger_time", "observation_start")
    """Where the time of the event stands, best first."""
    id_keys: tuple[str, ...] = ("id", "event_name")


_NU = Messenger.NEUTRINO
_INFINITE = ("trigger_time_inf_freq",)  # the arrival at finite frequency is seconds late
_MISSIONS = {
    "icecube/single_neutrino_alerts": _Mission("IceCube", _NU),
    "icecube/lvk_nu_track_search": _Mission("IceCube-LVK", _NU, id_keys=("ref_ID",)),
    "superk/sn_alert": _Mission("Super-K", _NU),
    "km3net/alert": _Mission("KM3NeT", _NU),
    "chime/frb": _Mission("CHIME-FRB", time_keys=_INFINITE),
    "dsa110/frb": _Mission("DSA-110-FRB", time_keys=(*_INFINITE, "trigger_time")),
    "fermi/gbm/trigger": _Mission("Fermi-GBM"),
    "fermi/lat/flare": _Mission("Fermi-LAT-flare"),
    "swift/bat/Guano": _Mission("Swift-GUANO"),
    "einstein_probe/wxt/alert": _Mission("EP-WXT"),
    "svom/trigger": _Mission("SVOM"),
}
"""By the schema's path. A mission that is not here is named by its own fields."""

_READ = frozenset(
    {"$schema", "alert_datetime", "alert_type", "messenger", "id", "event_name", "ra", "dec"}
    | {"ra_dec_error", "containment_probability", "healpix_file", "far", "classification"}
    | {"properties", "mission", "instrument", "pipeline"}
)
_LINKS = ("healpix_url", "data_archive_page", "light_curve_url")


def parse(payload: bytes) -> list[Alert]:
    """Read one notice in the unified schema.

    Raises
    ------
    BadNotice
        With the field at fault; nothing else.
    """
    return [_alert(json_object(payload), is_drill=False)]


def parse_test(payload: bytes) -> list[Alert]:
    """As :func:`parse`, from a topic of tests: practice, whatever the notice says."""
    return [_alert(json_object(payload), is_drill=True)]


def _alert(notice: Mapping[str, Any], *, is_drill: bool) -> Alert:
    schema, mission = _mission(notice)
    is_practice = is_drill or _is_practice(notice, schema)
    if schema.startswith("snews2/"):
        return coincidence(notice, is_practice=is_practice)
    identifiers = [name for key in mission.id_keys for name in _names(notice, key)]
    if not identifiers:
        raise BadNotice(f"none of {', '.join(mission.id_keys)}", where="id")
    region = error_region(notice) or enclosing_circle(notice)
    classification, other_classes = probabilities(notice.get("classification"), "classification")
    properties, other_properties = probabilities(notice.get("properties"), "properties")
    extra = _extra(notice, region)
    for key, rest in (("classification", other_classes), ("properties", other_properties)):
        if rest:
            extra[key] = rest
    if schema == "superk/sn_alert":
        _kiloparsec_trap(extra)
        if region is not None:
            extra["pointing"] = pointing(region)
    names = [*_names(notice, "event_name"), *_names(notice, "id")]
    return Alert(
        event_id=event_name(mission.name, _unpadded(identifiers[0]), is_practice=is_practice),
        messenger=_messenger(notice, mission),
        alert_type=_alert_type(notice),
        time_created=_time_created(notice),
        is_practice=is_practice,
        event_time=_first_time(notice, mission.time_keys),
        far_hz=rate_hz(notice.get("far"), "far"),
        group=mission.name,
        pipeline=_text(notice, "pipeline"),
        search=schema,
        instruments=_instruments(notice),
        classification=classification,
        properties=properties,
        skymap_fits=_map(notice),
        external=_external(notice),
        urls={key: text(notice[key], key) for key in _LINKS if notice.get(key)},
        extra=extra,
        region=region,
        aliases=tuple(dict.fromkeys(name for name in names if not name.isdigit())),
    )


SOURCE = Source(
    name="gcn_unified",
    parse=parse,
    topics=(
        "gcn.notices.chime.frb",
        "gcn.notices.dsa110.frb",
        "gcn.notices.einstein_probe.wxt.alert",
        "gcn.notices.fermi.gbm.trigger",
        "gcn.notices.fermi.lat.flare",
        "gcn.notices.icecube.gold_bronze_track_alerts",
        "gcn.notices.icecube.lvk_nu_track_search",
        "gcn.notices.km3net.alert",
        "gcn.notices.maxi.gsc.known",
        "gcn.notices.maxi.gsc.unknown",
        "gcn.notices.snews2.coincidence",
        "gcn.notices.superk.sn_alert",
        "gcn.notices.svom",
        "gcn.notices.swift.bat.guano",
    ),
    description="notices in GCN's unified JSON schema, any mission",
)

TESTS = Source(
    name="gcn_tests",
    parse=parse_test,
    topics=("gcn.notices.icecube.test.gold_bronze_track_alerts",),
    is_drill=True,
    description="topics of tests in GCN's unified schema: practice, whatever they say",
)


def _mission(notice: Mapping[str, Any]) -> tuple[str, _Mission]:
    """The schema's path and the mission, from ``$schema`` or else from the reporter."""
    found = _SCHEMA.search(text(notice["$schema"], "$schema")) if notice.get("$schema") else None
    schema = found.group(1) if found else ""
    if schema in _MISSIONS:
        return schema, _MISSIONS[schema]
    reporter = [_text(notice, key) for key in ("mission", "instrument")]
    name = "-".join(part for part in reporter if part) or schema.replace("/", "-")
    if not name:
        raise BadNotice("neither a schema of GCN, nor mission, nor instrument", where="$schema")
    return schema, _Mission(name)


def _unpadded(identifier: str) -> str:
    """IceCube's run_event without leading zeros, as VOEvents have it."""
    if re.fullmatch(r"\d{1,18}_\d{1,18}", identifier):
        return "_".join(str(int(number)) for number in identifier.split("_"))
    return identifier


def _names(notice: Mapping[str, Any], key: str) -> list[str]:
    """One name or a list of names: the schema allows both."""
    value = notice.get(key)
    if value is None:
        return []
    return [text(item, key) for item in (value if isinstance(value, list) else [value])]


def _text(notice: Mapping[str, Any], key: str) -> str | None:
    value = notice.get(key)
    return None if value is None else text(value, key)


def _first_time(notice: Mapping[str, Any], keys: tuple[str, ...]) -> datetime | None:
    for key in keys:
        if notice.get(key) is not None:
            return utc(notice[key], key)
    return None


def _time_created(notice: Mapping[str, Any]) -> datetime:
    created = _first_time(notice, ("alert_datetime", "trigger_time", "observation_start"))
    if created is None:
        raise BadNotice("no alert_datetime, and no time of a trigger", where="alert_datetime")
    return created


def _is_practice(notice: Mapping[str, Any], schema: str) -> bool:
    """One mark is enough: the tense, a schema of tests, a mock superevent that it follows."""
    followed = _SUPEREVENT.fullmatch(_text(notice, "ref_ID") or "")
    is_mock = followed is not None and followed.group(1) != ""
    return _tense(notice) != "current" or "test" in schema.lower().split("/") or is_mock


def _alert_type(notice: Mapping[str, Any]) -> AlertType:
    name = _text(notice, "alert_type") or "initial"
    if name not in _TYPES:
        raise BadNotice(f"unknown type {shown(name)}", where="alert_type")
    return _TYPES[name]


def _tense(notice: Mapping[str, Any]) -> str:
    tense = _text(notice, "alert_tense") or "current"
    if tense not in _TENSES:
        raise BadNotice(f"unknown tense {shown(tense)}", where="alert_tense")
    return tense


def _messenger(notice: Mapping[str, Any], mission: _Mission) -> Messenger:
    name = _text(notice, "messenger")
    if name is None:
        return mission.messenger
    if name not in _MESSENGERS:
        raise BadNotice(f"unknown messenger {shown(name)}", where="messenger")
    return _MESSENGERS[name]


def _instruments(notice: Mapping[str, Any]) -> tuple[str, ...]:
    parts = (_text(notice, "mission"), _text(notice, "instrument"))
    return (" ".join(part for part in parts if part),) if any(parts) else ()


def _map(notice: Mapping[str, Any]) -> bytes | None:
    value = notice.get("healpix_file")
    if value is None:
        return None
    try:
        return base64_bytes(value, "healpix_file")
    except BadNotice:
        if not isinstance(value, str) or not value:
            raise
        return value.encode("utf-8", "replace")


def _external(notice: Mapping[str, Any]) -> ExternalCoincidence | None:
    """The event that the notice follows up (core/FollowUp; GUANO has names of its own)."""
    if notice.get("ref_ID") is not None:
        instrument = _text(notice, "ref_instrument")
        identifier = text(notice["ref_ID"], "ref_ID")
        kind = _text(notice, "ref_type")
    elif notice.get("follow_up_event") is not None:
        instrument, _, identifier = text(notice["follow_up_event"], "follow_up_event").rpartition(
            " "
        )
        kind = _text(notice, "follow_up_type")
    else:
        return None
    is_superevent = _SUPEREVENT.fullmatch(identifier) is not None
    return ExternalCoincidence(
        observatory=instrument or ("LVK" if is_superevent else "unknown"),
        search=kind or ("GW" if is_superevent else "unknown"),
        notice_id=identifier or "unknown",
    )


def _extra(notice: Mapping[str, Any], region: ErrorRegion | None) -> dict[str, Any]:
    """Everything that no attribute of the alert holds; the position where it has no error."""
    left = {key: value for key, value in notice.items() if key not in _READ | {*_LINKS}}
    if region is None:
        left |= {key: notice[key] for key in ("ra", "dec", "ra_dec_error") if key in notice}
    kept: dict[str, Any] = json_value({k: v for k, v in left.items() if v is not None})
    return kept


def _kiloparsec_trap(extra: dict[str, Any]) -> None:
    """Super-K: the schema says Mpc, the mission's page kpc; the value itself tells. Kept in Mpc."""
    for key in ("luminosity_distance", "luminosity_distance_error"):
        if extra.get(key) is not None:
            finite(extra[key], key)
    distance = extra.get("luminosity_distance")
    if distance is not None and distance > 0.0 and distance_kpc_of(distance) == distance:
        extra["luminosity_distance"] = distance / 1000.0
        if extra.get("luminosity_distance_error") is not None:
            extra["luminosity_distance_error"] /= 1000.0
