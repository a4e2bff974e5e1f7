"""The keys of work items."""

from __future__ import annotations

from datetime import datetime

from mmcoord.records import AlertType

__all__ = [
    "alert_key",
    "event_key",
    "object_key",
    "pair_key",
    "split_alert_key",
    "split_match_key",
    "split_pair_key",
]


def alert_key(event_id: str, alert_type: AlertType, time_created: datetime) -> str:
    """Fetch stage: the map behind the links of this alert. Event ids hold no ``|``."""
    return f"{event_id}|{alert_type.value}|{time_created.isoformat()}"


def split_alert_key(key: str) -> tuple[str, AlertType, datetime]:
    """(event id, type, time created): the identity of an alert."""
    event_id, alert_type, created = key.split("|")
    return event_id, AlertType(alert_type), datetime.fromisoformat(created)


def event_key(event_id: str) -> str:
    """Match stage: this event against all candidates."""
    return f"event:{event_id}"


def object_key(object_id: str) -> str:
    """Match stage: this candidate against all events."""
    return f"object:{object_id}"


def split_match_key(key: str) -> tuple[str, str]:
    """("event" | "object", id)."""
    kind, _, identifier = key.partition(":")
    return kind, identifier


def pair_key(event_id: str, object_id: str) -> str:
    """Infer stage: this candidate as a counterpart of this event."""
    return f"{event_id}|{object_id}"


def split_pair_key(key: str) -> tuple[str, str]:
    """(event id, object id). Event ids hold no ``|``; object ids may."""
    event_id, _, object_id = key.partition("|")
    return event_id, object_id
