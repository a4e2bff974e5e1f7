"""Maps that were behind a link of a notice, in an envelope of our own.

The stage that fetches links puts what it got into the inbox like any other message, so that it
is kept, read and replayed like one. The envelope is JSON and says of itself what it is: the
identity of the alert whose link it was, the link, and the file in base64.
"""

from __future__ import annotations

import base64
import hashlib
import json

from listeners.base import Source
from listeners.fields import base64_bytes, json_object, shown, text, utc
from mmcoord.errors import BadNotice
from mmcoord.records import AlertType, LateMap

__all__ = ["MAX_FILE_BYTES", "SOURCE", "envelope", "offset", "parse"]

MAX_FILE_BYTES = 64 * 2**20
"""Largest file in an envelope."""
_MAX_PAYLOAD_BYTES = MAX_FILE_BYTES // 3 * 4 + 2**16
_KIND = "late_map"
_MAX_ID = 256


def envelope(late: LateMap) -> bytes:
    """The payload for a fetched map; equal maps of an alert give equal bytes."""
    return json.dumps(
        {
            "mmcoord": _KIND,
            "event_id": late.event_id,
            "alert_type": late.alert_type.value,
            "time_created": late.time_created.isoformat(),
            "url": late.url,
            "fits": base64.b64encode(late.fits).decode("ascii"),
        }
    ).encode()


def offset(payload: bytes) -> int:
    """A place in the topic that follows from the content: the same map twice is one receipt."""
    return int.from_bytes(hashlib.sha256(payload).digest()[:8], "big") >> 1


def parse(payload: bytes) -> list[LateMap]:
    """Read one envelope.

    Raises
    ------
    BadNotice
        Not an envelope, or a field of it that is none; nothing else is raised.
    """
    document = json_object(payload, _MAX_PAYLOAD_BYTES)
    if document.get("mmcoord") != _KIND:
        raise BadNotice(
            f"{_KIND!r} is needed, not {shown(document.get('mmcoord'))}", where="mmcoord"
        )
    event_id = text(document.get("event_id"), "event_id")
    if len(event_id) > _MAX_ID or "|" in event_id:
        raise BadNotice(f"{shown(event_id)} is no event id", where="event_id")
    name = text(document.get("alert_type"), "alert_type")
    if name not in {kind.value for kind in AlertType}:
        raise BadNotice(f"unknown type {shown(name)}", where="alert_type")
    return [
        LateMap(
            event_id=event_id,
            alert_type=AlertType(name),
            time_created=utc(document.get("time_created"), "time_created"),
            url=text(document.get("url"), "url"),
            fits=base64_bytes(document.get("fits"), "fits"),
        )
    ]


SOURCE = Source(
    name="late_map",
    parse=parse,
    description="sky maps fetched from the links of notices",
)
