"""Assessments of neutrino bursts in the store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.store.queue import insert_for
from mmcoord.store.tables import BurstMemberRow, BurstRow
from mmcoord.store.types import table

__all__ = ["follow", "followed_as", "newest"]

_member: Any = table(BurstMemberRow)


def newest(session: Session, event_id: str) -> BurstRow | None:
    """The standing assessment of the burst that is followed under an event."""
    return session.execute(
        select(BurstRow)
        .where(col(BurstRow.event_id) == event_id)
        .order_by(col(BurstRow.revision).desc())
        .limit(1)
    ).scalar_one_or_none()


def followed_as(session: Session, event_id: str) -> str | None:
    """Under which event the burst is followed that this one announces; None: it is none."""
    row = session.get(BurstMemberRow, event_id)
    return row.followed_as if row else None


def follow(session: Session, event_ids: Iterable[str], leader: str) -> list[str]:
    """Write down under which event these are followed; returns those for which it changed."""
    changed = [event for event in sorted(event_ids) if followed_as(session, event) != leader]
    if changed:
        rows = [{"event_id": event, "followed_as": leader} for event in changed]
        statement = insert_for(session, _member).values(rows)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["event_id"],
                set_={"followed_as": statement.excluded["followed_as"]},
            )
        )
        session.expire_all()
    return changed
