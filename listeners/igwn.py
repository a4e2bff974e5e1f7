"""LIGO-Virgo-KAGRA notices: topic ``igwn.gwalert`` on GCN (JSON) and SCiMMA (Avro).

Both carry the same notice; the sky map is base64 in JSON and raw bytes in Avro. They are
told apart by content. Field by field: IGWN Public Alerts User Guide, "Alert Contents"
(https://emfollow.docs.ligo.org/userguide/content.html), schema ``igwn.alerts.Alert``.

What is lenient, and why: keys we do not know are kept in :attr:`Alert.extra`, because LVK
adds fields between schema versions; a null map, rate or class is "not known". What is
strict: identity, type, times, rates, probabilities and the encoding of the maps. A notice
that is wrong there goes to the dead letters rather than half into an event.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from listeners import avro
from listeners.base import Source
from listeners.fields import (
    base64_bytes,
    finite,
    flag,
    json_object,
    json_value,
    mapping,
    probabilities,
    rate_hz,
    shown,
    text,
    utc,
)
from mmcoord.errors import BadNotice
from mmcoord.records import Alert, AlertType, ExternalCoincidence, Messenger

__all__ = ["SOURCE", "parse"]

_NOTICE_KEYS = frozenset(
    {"alert_type", "time_created", "superevent_id", "urls", "event", "external_coinc"}
)
_EVENT_KEYS = frozenset(
    {"time", "far", "significant", "instruments", "group", "pipeline", "search"}
    | {"classification", "properties", "skymap"}
)
_EXTERNAL_KEYS = frozenset(
    {"observatory", "search", "gcn_notice_id", "time_difference", "combined_skymap"}
    | {"time_coincidence_far", "time_sky_position_coincidence_far"}
)
_KNOWN_PROBABILITIES = frozenset(
    {"BNS", "NSBH", "BBH", "Terrestrial", "HasNS", "HasRemnant", "HasMassGap", "HasSSM"}
)
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_SPELLINGS = {"EARLY_WARNING": AlertType.EARLYWARNING}  # so in the Avro schema's own text


def parse(payload: bytes) -> list[Alert]:
    """Read one ``igwn.gwalert`` payload, JSON or Avro.

    Returns
    -------
    list of Alert
        One alert per record; LVK sends one.

    Raises
    ------
    BadNotice
        With the field at fault. Nothing else is raised, whatever the bytes.
    """
    if payload.startswith(avro.MAGIC):
        notices = avro.read_container(payload)
        if not notices:
            raise BadNotice("an Avro container without a record", where="payload")
        return [_alert(notice) for notice in notices]
    return [_alert(json_object(payload))]


SOURCE = Source(
    name="igwn",
    parse=parse,
    topics=("igwn.gwalert",),
    description="LIGO-Virgo-KAGRA notices, JSON (GCN) and Avro (SCiMMA)",
    is_first=True,
)


def _alert(notice: Mapping[str, Any]) -> Alert:
    event_id = text(notice.get("superevent_id"), "superevent_id")
    if not _IDENTIFIER.fullmatch(event_id):
        raise BadNotice(f"{shown(event_id)} is not an identifier", where="superevent_id")
    alert_type = _alert_type(notice.get("alert_type"))
    event = notice.get("event")
    if event is None:
        if alert_type is not AlertType.RETRACTION:
            raise BadNotice(f"null, but the notice is of type {alert_type}", where="event")
        event = {}
        event_time = None
    else:
        event = mapping(event, "event")
        event_time = utc(event.get("time"), "event.time")
    group, search = _name(event, "group"), _name(event, "search")
    classification, _ = _split(event, "classification")
    properties, _ = _split(event, "properties")
    return Alert(
        event_id=event_id,
        messenger=Messenger.GW,
        alert_type=alert_type,
        time_created=utc(notice.get("time_created"), "time_created"),
        is_practice=event_id[0] in "MT" or search == "MDC" or group == "Test",
        event_time=event_time,
        significant=_optional(flag, event, "significant"),
        far_hz=rate_hz(event.get("far"), "event.far"),
        group=group,
        pipeline=_name(event, "pipeline"),
        search=search,
        instruments=_instruments(event.get("instruments")),
        classification=classification,
        properties=properties,
        skymap_fits=_map(event.get("skymap"), "event.skymap"),
        external=_external(notice.get("external_coinc")),
        urls=_urls(notice.get("urls")),
        extra=_extra(notice, event),
    )


def _alert_type(value: object) -> AlertType:
    name = text(value, "alert_type")
    try:
        return _SPELLINGS.get(name) or AlertType(name)
    except ValueError:
        raise BadNotice(f"unknown type {shown(name)}", where="alert_type") from None


def _optional(read: Any, event: Mapping[str, Any], key: str) -> Any:
    value = event.get(key)
    return None if value is None else read(value, f"event.{key}")


def _name(event: Mapping[str, Any], key: str) -> str | None:
    name: str | None = _optional(text, event, key)
    return name


def _split(event: Mapping[str, Any], key: str) -> tuple[dict[str, float], dict[str, Any]]:
    return probabilities(event.get(key), f"event.{key}", _KNOWN_PROBABILITIES)


def _instruments(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadNotice(f"a list is needed, not {shown(value)}", where="event.instruments")
    return tuple(text(item, "event.instruments") for item in value)


def _map(value: object, where: str) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, bytes):  # Avro
        if not value:
            raise BadNotice("empty", where=where)
        return value
    return base64_bytes(value, where)


def _external(value: object) -> ExternalCoincidence | None:
    if value is None:
        return None
    coincidence = mapping(value, "external_coinc")
    notice_id = coincidence.get("gcn_notice_id")
    if isinstance(notice_id, int) and not isinstance(notice_id, bool):
        notice_id = f"{notice_id:d}" if abs(notice_id) < 2**63 else None
    difference = coincidence.get("time_difference")
    return ExternalCoincidence(
        observatory=text(coincidence.get("observatory"), "external_coinc.observatory"),
        search=text(coincidence.get("search"), "external_coinc.search"),
        notice_id=text(notice_id, "external_coinc.gcn_notice_id"),
        time_difference_s=(
            None if difference is None else finite(difference, "external_coinc.time_difference")
        ),
        far_time_hz=_joint_rate(coincidence, "time_coincidence_far"),
        far_time_sky_hz=_joint_rate(coincidence, "time_sky_position_coincidence_far"),
        skymap_fits=_map(coincidence.get("combined_skymap"), "external_coinc.combined_skymap"),
    )


def _joint_rate(coincidence: Mapping[str, Any], key: str) -> float | None:
    return rate_hz(coincidence.get(key), f"external_coinc.{key}")


def _urls(value: object) -> dict[str, str]:
    if value is None:
        return {}
    return {text(k, "urls"): text(v, f"urls.{k[:60]}") for k, v in mapping(value, "urls").items()}


def _extra(notice: Mapping[str, Any], event: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of ``event`` that no attribute holds (``duration``, ``mchirp_source``, ...) by
    their own names; those of the notice and the coincidence under ``notice`` and
    ``external_coinc``. Nulls are left out.
    """
    extra = _rest(event, _EVENT_KEYS, "event")
    for key in ("classification", "properties"):
        _, future = _split(event, key)
        if future:
            extra[key] = future
    coincidence = notice.get("external_coinc")
    for name, rest in (
        ("notice", _rest(notice, _NOTICE_KEYS, "payload")),
        ("external_coinc", _rest(coincidence or {}, _EXTERNAL_KEYS, "external_coinc")),
    ):
        if rest:
            extra[name] = rest
    return extra


def _rest(source: Mapping[str, Any], known: frozenset[str], where: str) -> dict[str, Any]:
    kept = {key: value for key, value in source.items() if key not in known and value is not None}
    result: dict[str, Any] = json_value(kept, where)
    return result
