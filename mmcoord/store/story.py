"""``story``: everything that ever happened to one event, in order."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.store.tables import JournalRow

__all__ = ["story"]


def story(session: Session, event_id: str, limit: int = 1000) -> list[dict[str, Any]]:
    """The journal of an event, oldest first; each entry names its cause (a notice)."""
    rows = session.execute(
        select(JournalRow)
        .where(col(JournalRow.event_id) == event_id)
        .order_by(col(JournalRow.id))
        .limit(limit)
    ).scalars()
    return [
        {
            "id": row.id,
            "at": row.at.isoformat(),
            "stage": row.stage,
            "what": row.what,
            "text": row.text,
            "object_id": row.object_id,
            "latency_s": row.latency_s,
            "cause_id": row.cause_id,
        }
        for row in rows
    ]
