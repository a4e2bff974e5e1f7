"""Dead letters: looking at what could not be used, and trying it again after a fix."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.errors import UnknownRecord
from mmcoord.store import queue
from mmcoord.store.queue import INTAKE
from mmcoord.store.tables import DeadLetterRow, NoticeRow

__all__ = ["letters", "retry"]


def letters(session: Session) -> list[dict[str, Any]]:
    """All dead letters, newest first."""
    rows = session.execute(select(DeadLetterRow).order_by(col(DeadLetterRow.id).desc())).scalars()
    return [
        {
            "id": row.id,
            "stage": row.stage,
            "reason": row.reason,
            "at": row.at.isoformat(),
            "notice_id": row.notice_id,
            "retried_at": row.retried_at.isoformat() if row.retried_at else None,
        }
        for row in rows
    ]


def retry(session: Session, ids: Collection[int], now: datetime) -> int:
    """Put the notices of these dead letters (empty: of all) back into the inbox.

    The raw bytes were kept, so that a listener that has learned to read them can. The letter
    stays, with the time; if the notice fails again there is a new one. Letters of other stages
    hold no notice and are left alone: new data ask for that work again.

    Returns how many notices are pending again.

    Raises
    ------
    UnknownRecord
        No such dead letter.
    """
    query = select(DeadLetterRow).where(
        col(DeadLetterRow.stage) == INTAKE, col(DeadLetterRow.retried_at).is_(None)
    )
    if ids:
        unknown = set(ids) - set(
            session.execute(
                select(col(DeadLetterRow.id)).where(col(DeadLetterRow.id).in_(ids))
            ).scalars()
        )
        if unknown:
            raise UnknownRecord(f"no dead letter {min(unknown)}")
        query = query.where(col(DeadLetterRow.id).in_(ids))
    again = 0
    for letter in session.execute(query).scalars():
        letter.retried_at = now
        notice = session.get(NoticeRow, letter.notice_id)
        if notice is not None and notice.state == "dead":
            notice.state = "pending"
            again += 1
    queue.count(session, INTAKE, dead=-again)
    return again
