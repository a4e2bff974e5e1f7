"""A retraction that an operator makes, because the network that announced an event may not.

A coincidence of SNEWS whose last detector has retracted ends without an alert, and any sender
may fail. What the operator says goes into the inbox like any other message, so that it is
kept, replayed, and withdraws what was posted exactly as a retraction from outside would.
"""

from __future__ import annotations

import json
from datetime import datetime

from listeners.base import Source
from listeners.fields import json_object, shown, text, utc
from mmcoord.errors import BadNotice
from mmcoord.records import Alert, AlertType, Messenger

__all__ = ["SOURCE", "parse", "withdrawal"]

_KIND = "withdrawal"


def withdrawal(
    event_id: str,
    *,
    messenger: Messenger,
    group: str | None,
    is_practice: bool,
    event_time: datetime | None,
    reason: str,
    at: datetime,
) -> bytes:
    """The payload that takes an event back. What is not the operator's is the event's own."""
    return json.dumps(
        {
            "mmcoord": _KIND,
            "event_id": event_id,
            "messenger": messenger.value,
            "group": group,
            "is_practice": is_practice,
            "event_time": event_time.isoformat() if event_time else None,
            "reason": reason,
            "at": at.isoformat(),
        }
    ).encode()


def parse(payload: bytes) -> list[Alert]:
    """Read one withdrawal.

    Raises
    ------
    BadNotice
        With the field at fault; nothing else.
    """
    notice = json_object(payload)
    if notice.get("mmcoord") != _KIND:
        raise BadNotice(f"{_KIND!r} is needed, not {shown(notice.get('mmcoord'))}", where="mmcoord")
    messenger = text(notice.get("messenger"), "messenger")
    if messenger not in {kind.value for kind in Messenger}:
        raise BadNotice(f"unknown messenger {shown(messenger)}", where="messenger")
    event_time = notice.get("event_time")
    group = notice.get("group")
    return [
        Alert(
            event_id=text(notice.get("event_id"), "event_id"),
            messenger=Messenger(messenger),
            alert_type=AlertType.RETRACTION,
            time_created=utc(notice.get("at"), "at"),
            is_practice=notice.get("is_practice") is not False,
            event_time=None if event_time is None else utc(event_time, "event_time"),
            group=None if group is None else text(group, "group"),
            search="operator",
            extra={"reason": text(notice.get("reason"), "reason")},
        )
    ]


SOURCE = Source(
    name="operator",
    parse=parse,
    description="withdrawals by the operator (mmcoord withdraw)",
    is_first=True,
)
