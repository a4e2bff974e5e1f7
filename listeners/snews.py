"""SNEWS 2.0 coincidence alerts on SCiMMA (``snews2.alert`` and its drills).

Keys as in SNEWS_Coincidence_System 3.0.1 (``cs_alert_schema.py``), and the older ones of
the fire drill of 2022. There is no position, no event id and no count in such an alert: the
event is named by the minute of its earliest neutrino. A later alert may add a detector that
saw it earlier, by milliseconds or by seconds; only across the turn of a minute does that make
another event.

``False Alarm Prob`` is kept as sent and must not be used: its formula divides a rate by
seconds per year where it should multiply.

The experiments' own topics carry pickles. They are refused by their first byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from listeners.base import Source
from listeners.fields import event_name, finite, json_object, json_value, shown, text, utc
from mmcoord.errors import BadNotice
from mmcoord.records import Alert, AlertType, Messenger

__all__ = ["SOURCE", "parse"]

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
_MAX_DETECTORS = 100


def parse(payload: bytes) -> list[Alert]:
    """Read one alert of the coincidence server.

    Returns
    -------
    list of Alert
        One alert; none for the server's test of its connection. ``extra["detections"]`` is
        a list of ``{detector, time, p_value}``, earliest first.

    Raises
    ------
    BadNotice
        With the field at fault; nothing else.
    """
    if payload.startswith(_PICKLE):
        raise BadNotice("a pickle; such messages are never read", where="payload")
    notice = json_object(payload)
    identifier = text(notice.get("id", notice.get("_id")), "id")
    if identifier == _CONNECTION_TEST:
        return []
    if "tier" in notice or "detector_name" in notice:
        raise BadNotice("a message of one experiment, not an alert", where="detector_name")
    alert_type, says_test = _alert_type(notice, identifier)
    detections = _detections(notice)
    earliest = min(time for _, time, _ in detections)
    is_practice = says_test or any(_is_true(notice, key) for key in ("is_test", "is_firedrill"))
    extra = {key: value for key, value in notice.items() if key not in _READ}
    return [
        Alert(
            event_id=event_name(
                "SNEWS2", earliest.strftime("%Y%m%dT%H%M"), is_practice=is_practice
            ),
            messenger=Messenger.NEUTRINO,
            alert_type=alert_type,
            time_created=utc(notice.get("sent_time"), "sent_time"),
            is_practice=is_practice,
            event_time=earliest,
            group="SNEWS2",
            search="coincidence",
            instruments=tuple(dict.fromkeys(name for name, _, _ in detections)),
            aliases=(identifier,),
            extra={
                **json_value(extra),
                "detections": [
                    {"detector": name, "time": time.isoformat(), "p_value": p_value}
                    for name, time, p_value in sorted(detections, key=lambda item: item[1])
                ],
            },
        )
    ]


SOURCE = Source(
    name="snews2",
    parse=parse,
    topics=("snews2.alert",),
    description="SNEWS 2.0 coincidence alerts, JSON (SCiMMA)",
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


def _detections(notice: Mapping[str, Any]) -> list[tuple[str, datetime, float | None]]:
    """(detector, time, p-value) from the parallel lists."""
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


def _is_true(notice: Mapping[str, Any], key: str) -> bool:
    """Older senders wrote "True" as text."""
    return str(notice.get(key)).lower() == "true"
