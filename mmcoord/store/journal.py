"""Writing down what happened, so that ``story`` can tell it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from mmcoord.store.tables import JournalRow

__all__ = ["Entry", "write"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal."""

    stage: str
    what: str
    text: str
    cause_id: str
    event_id: str | None = None
    object_id: str | None = None
    latency_s: float | None = None


def write(session: Session, entries: Iterable[Entry], at: datetime) -> None:
    """Append entries in the transaction of what they tell."""
    rows: list[dict[str, Any]] = [
        {
            "at": at,
            "stage": entry.stage,
            "what": entry.what,
            "text": entry.text,
            "event_id": entry.event_id,
            "object_id": entry.object_id,
            "latency_s": entry.latency_s,
            "cause_id": entry.cause_id,
        }
        for entry in entries
    ]
    if rows:
        session.execute(insert(JournalRow), rows)
