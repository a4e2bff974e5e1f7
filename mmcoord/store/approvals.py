"""What waits for a person, and what the person says."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.errors import UnknownRecord
from mmcoord.store import journal
from mmcoord.store.tables import DeliveryRow
from mmcoord.store.tables_claims import ApprovalRow

__all__ = ["APPROVE", "HELD", "REJECT", "answer", "held", "standing"]

HELD = "held"
"""State of a delivery that waits for a person."""
APPROVE, REJECT = "approve", "reject"


def held(session: Session, event_id: str | None = None) -> list[DeliveryRow]:
    """Messages that wait for a person, the oldest first."""
    query = select(DeliveryRow).where(col(DeliveryRow.state) == HELD).order_by(col(DeliveryRow.id))
    if event_id is not None:
        query = query.where(col(DeliveryRow.event_id) == event_id)
    return list(session.execute(query).scalars())


def standing(session: Session, event_id: str, sink: str) -> ApprovalRow | None:
    """The last word on an event at a sink that also holds for later revisions."""
    last: ApprovalRow | None = session.execute(
        select(ApprovalRow)
        .where(col(ApprovalRow.event_id) == event_id, col(ApprovalRow.sink) == sink)
        .order_by(col(ApprovalRow.id).desc())
        .limit(1)
    ).scalar_one_or_none()
    return last if last is not None and last.standing else None


def answer(
    session: Session,
    event_id: str,
    sink: str,
    decision: str,
    *,
    by: str,
    now: datetime,
    is_standing: bool = False,
    note: str = "",
) -> list[DeliveryRow]:
    """Let out, or refuse, what waits of an event at a sink; the messages concerned.

    Raises
    ------
    UnknownRecord
        Nothing waits there.
    """
    waiting = [row for row in held(session, event_id) if row.sink == sink]
    if not waiting:
        raise UnknownRecord(f"nothing of event {event_id} waits for a person at {sink!r}")
    said = f"{'approved' if decision == APPROVE else 'rejected'} by {by}"
    for row in waiting:
        row.detail = f"{said}: {note}" if note else said
        row.next_attempt_at = now
        if decision == APPROVE:
            row.state = "pending"
        else:
            row.state, row.finished_at = "refused", now
    session.add(
        ApprovalRow(
            event_id=event_id,
            sink=sink,
            decision=decision,
            plan_revision=max(row.plan_revision for row in waiting),
            standing=is_standing,
            by=by,
            note=note,
            at=now,
        )
    )
    text = f"{len(waiting)} messages to {sink} {said}{', also later ones' if is_standing else ''}"
    entry = journal.Entry("deliver", decision, text, waiting[0].cause_id, event_id=event_id)
    journal.write(session, [entry], now)
    return waiting
