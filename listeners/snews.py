"""SNEWS 2.0 coincidence alerts, from SCiMMA (``snews2.*``) and from GCN.

On SCiMMA, keys as in SNEWS_Coincidence_System 3.0.1 (``cs_alert_schema.py``), and the older
ones of the fire drill of 2022. On GCN (``gcn.notices.snews2.coincidence``), keys as proposed
in https://github.com/nasa-gcn/gcn-schema/pull/352, which still changes: detectors are a list
(``detector_names``) or an object with their state (``detector_status``).

There is no position, no event id and no count in either: the event is named by the minute of
its earliest neutrino, the same in both. A later alert may add a detector that saw it earlier,
by milliseconds or by seconds; only across the turn of a minute does that make another event,
and that one is found with it by its time, as is SNEWS' VOEvent (``mmcoord.store.finding``).

``False Alarm Prob`` is kept as sent and must not be used: its formula divides a rate by
seconds per year where it should multiply.

The experiments' own topics carry pickles. They are refused by their first byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from listeners.base import Source
from listeners.fields import (
    event_name,
    finite,
    json_object,
    json_value,
    mapping,
    rate_hz,
    shown,
    text,
    utc,
)
from mmcoord.errors import BadNotice
from mmcoord.records import Alert, AlertType, Messenger

__all__ = ["DRILLS", "SOURCE", "coincidence", "parse", "parse_drill"]

_PICKLE = b"\x80"
_CONNECTION_TEST = "0_test-connection"
_TYPES = {
    "COINC_MSG": AlertType.INITIAL,
    "COINC_MSG_STAGGERED": AlertType.UPDATE,
    "UPDATE": AlertType.UPDATE,
    "RETRACTION": AlertType.RETRACTION,
}
_TEST = "TEST "
_READ = frozenset(
    {"id", "_id", "alert_type", "detector_names", "neutrino_times", "p_values", "sent_time"}
)
_READ_GCN = frozenset(
    {"$schema", "id", "event_name", "alert_datetime", "alert_type", "messenger", "far"}
    | {"detector_names", "event_times_utc"}
)
_TYPES_GCN = {
    "initial": AlertType.INITIAL,
    "subsequent": AlertType.UPDATE,
    "update": AlertType.UPDATE,
    "retraction": AlertType.RETRACTION,
}
_MAX_DETECTORS = 100

_Detections = list[tuple[str | None, datetime, float | None]]
"""(detector, time, p-value)."""


def parse(payload: bytes) -> list[Alert]:
    """Read one alert of the coincidence server.

    Returns
    -------
    list of Alert
        One alert; none for the server's test of its connection. ``extra["detections"]`` is
        a list of ``{detector, time, p_value}``, earliest first; ``extra["markers"]`` says for
        each marker of tests whether it says test, so that a disagreement can be noticed.

    Raises
    ------
    BadNotice
        With the field at fault; nothing else.
    """
    return _parse(payload, is_drill=False)


def parse_drill(payload: bytes) -> list[Alert]:
    """As :func:`parse`, from a topic of drills: practice, whatever the message says."""
    return _parse(payload, is_drill=True)


def _parse(payload: bytes, *, is_drill: bool) -> list[Alert]:
    if payload.startswith(_PICKLE):
        raise BadNotice("a pickle; such messages are never read", where="payload")
    notice = json_object(payload)
    identifier = text(notice.get("id", notice.get("_id")), "id")
    if identifier == _CONNECTION_TEST:
        return []
    if "tier" in notice or "detector_name" in notice:
        raise BadNotice("a message of one experiment, not an alert", where="detector_name")
    alert_type, says_test = _alert_type(notice, identifier)
    markers = _flags(notice)
    if notice.get("alert_type") is not None:
        markers["alert_type"] = says_test
    if is_drill:
        markers["topic"] = True
    says_test = says_test or markers.get("flags", False)
    return [
        _alert(
            notice,
            _detections(notice),
            alert_type,
            created=utc(notice.get("sent_time"), "sent_time"),
            is_practice=says_test or is_drill,
            markers=markers,
            aliases=(identifier,),
            read=_READ,
        )
    ]


def coincidence(notice: Mapping[str, Any], *, is_practice: bool) -> Alert:
    """A coincidence in GCN's unified schema; what marks it as practice was read before.

    Raises
    ------
    BadNotice
        With the field at fault; nothing else.
    """
    kind = text(notice.get("alert_type") or "initial", "alert_type")
    if kind not in _TYPES_GCN:
        raise BadNotice(f"unknown type {shown(kind)}", where="alert_type")
    names = [
        text(name, key)
        for key in ("id", "event_name")
        for name in (notice[key] if isinstance(notice.get(key), list) else [notice.get(key)])
        if name is not None
    ]
    markers = _flags(notice)
    if notice.get("alert_tense") is not None:
        markers["alert_tense"] = notice["alert_tense"] != "current"
    return _alert(
        notice,
        _gcn_detections(notice),
        _TYPES_GCN[kind],
        created=utc(notice.get("alert_datetime"), "alert_datetime"),
        is_practice=is_practice or markers.get("flags", False),
        markers=markers,
        aliases=tuple(dict.fromkeys(names)),
        read=_READ_GCN,
    )


def _alert(
    notice: Mapping[str, Any],
    detections: _Detections,
    alert_type: AlertType,
    *,
    created: datetime,
    is_practice: bool,
    markers: Mapping[str, bool],
    aliases: tuple[str, ...],
    read: frozenset[str],
) -> Alert:
    in_order = sorted(detections, key=lambda item: (item[1], item[0] or ""))
    earliest = in_order[0][1]
    kept = json_value({key: value for key, value in notice.items() if key not in read})
    return Alert(
        event_id=event_name("SNEWS2", earliest.strftime("%Y%m%dT%H%M"), is_practice=is_practice),
        messenger=Messenger.NEUTRINO,
        alert_type=alert_type,
        time_created=created,
        is_practice=is_practice,
        event_time=earliest,
        far_hz=rate_hz(notice.get("far"), "far") if "far" in read else None,
        group="SNEWS2",
        search="coincidence",
        instruments=tuple(dict.fromkeys(name for name, _, _ in detections if name)),
        aliases=tuple(name for name in aliases if not name.isdigit()),
        extra={
            **kept,
            "markers": dict(markers),
            "detections": [
                {"detector": name, "time": time.isoformat(), "p_value": p_value}
                for name, time, p_value in in_order
            ],
        },
    )


SOURCE = Source(
    name="snews2",
    parse=parse,
    topics=("snews2.alert",),
    description="SNEWS 2.0 coincidence alerts, JSON (SCiMMA)",
    is_first=True,
)

DRILLS = Source(
    name="snews2_drills",
    parse=parse_drill,
    topics=("snews2.alert-firedrill", "snews2.alert-test"),
    is_drill=True,
    description="fire drills and tests of SNEWS 2.0 (SCiMMA): practice, whatever they say",
)


def _alert_type(notice: Mapping[str, Any], identifier: str) -> tuple[AlertType, bool]:
    """Type, and whether it is marked a test. Only drills were sent in the format without a
    type, so that one counts as a test.
    """
    if notice.get("alert_type") is None:
        kind = AlertType.UPDATE if "ALERT-UPDATE" in identifier else AlertType.INITIAL
        return kind, True
    name = text(notice["alert_type"], "alert_type")
    is_test = name.startswith(_TEST)
    kind_or_none = _TYPES.get(name.removeprefix(_TEST))
    if kind_or_none is None:
        raise BadNotice(f"unknown type {shown(name)}", where="alert_type")
    return kind_or_none, is_test


def _detections(notice: Mapping[str, Any]) -> _Detections:
    """From the parallel lists."""
    names, times = (_list(notice, key) for key in ("detector_names", "neutrino_times"))
    p_values = _list(notice, "p_values") if notice.get("p_values") else [None] * len(names)
    if not 0 < len(names) == len(times) == len(p_values) <= _MAX_DETECTORS:
        raise BadNotice(
            f"{len(names)} names, {len(times)} times, {len(p_values)} p-values",
            where="detector_names",
        )
    return [
        (
            text(name, "detector_names"),
            utc(time, "neutrino_times"),
            None if p_value is None else _probability(p_value),
        )
        for name, time, p_value in zip(names, times, p_values, strict=True)
    ]


def _gcn_detections(notice: Mapping[str, Any]) -> _Detections:
    """Times by detector, or without where their numbers do not agree."""
    times = notice.get("event_times_utc")
    pairs: list[tuple[str | None, Any]]
    if isinstance(times, dict):
        pairs = [(text(name, "event_times_utc"), time) for name, time in times.items()]
    else:
        pairs = [(None, time) for time in _list(notice, "event_times_utc")]
        names = _gcn_detectors(notice)
        if len(names) == len(pairs):
            pairs = [(name, time) for name, (_, time) in zip(names, pairs, strict=True)]
    if not 0 < len(pairs) <= _MAX_DETECTORS:
        raise BadNotice(f"{len(pairs)} times", where="event_times_utc")
    data = notice.get("tier_data")
    p_values = data.get("p_values") if isinstance(data, dict) else None
    if not isinstance(p_values, list) or len(p_values) != len(pairs):
        p_values = [None] * len(pairs)
    return [
        (name, utc(time, "event_times_utc"), None if p is None else _probability(p))
        for (name, time), p in zip(pairs, p_values, strict=True)
    ]


def _gcn_detectors(notice: Mapping[str, Any]) -> list[str]:
    """Detectors that saw it: the list, or those whose state is ``triggered``."""
    if notice.get("detector_names") is not None:
        return [text(name, "detector_names") for name in _list(notice, "detector_names")]
    status = mapping(notice.get("detector_status") or {}, "detector_status")
    return [
        text(name, "detector_status")
        for name, state in status.items()
        if str(state).lower() == "triggered"
    ]


def _list(notice: Mapping[str, Any], key: str) -> list[Any]:
    value = notice.get(key)
    if not isinstance(value, list):
        raise BadNotice(f"a list is needed, not {shown(value)}", where=key)
    return value


def _probability(value: object) -> float:
    number = finite(value, "p_values")
    if not 0.0 <= number <= 1.0:
        raise BadNotice(f"{number} is not a probability", where="p_values")
    return number


def _flags(notice: Mapping[str, Any]) -> dict[str, bool]:
    """What the flags say together, where there are any: a test need not be a fire drill."""
    given = [key for key in ("is_test", "is_firedrill") if notice.get(key) is not None]
    return {"flags": any(_is_true(notice, key) for key in given)} if given else {}


def _is_true(notice: Mapping[str, Any], key: str) -> bool:
    """Older senders wrote "True" as text."""
    return str(notice.get(key)).lower() == "true"
