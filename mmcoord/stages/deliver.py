"""Deliver: the outbox is emptied, each message once.

The intent (``sending``) is committed before a sink is called and its answer after. Where a
crash falls between the two, the next attempt asks the service first whether the message is
there; only a service that cannot tell may get a message twice, and its sink says so.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from followup.sinks.base import Answer, Outcome, SideBySide, Sink
from mmcoord.records import EventState, OutgoingKind
from mmcoord.stages.context import Context
from mmcoord.stages.outbox import why_refused, withdraw_late
from mmcoord.store import journal
from mmcoord.store.tables import DeadLetterRow, DeliveryRow, EventRow, PlanRevisionRow

__all__ = ["backoff", "recover", "run"]

_log = logging.getLogger(__name__)
_STAGE = "deliver"
_BATCH = 20
_MAX_ATTEMPTS = 30


@dataclass(frozen=True, slots=True)
class _Due:
    """A delivery, as far as it decides what is sent together."""

    id: int
    sink: str
    event_id: str
    target: str
    kind: str


def backoff(attempts: int) -> timedelta:
    """2, 4, 8 ... seconds, at most ten minutes."""
    return timedelta(seconds=min(2.0 ** min(attempts, 12), 600.0))


def recover(ctx: Context) -> None:
    """After a crash: what was being sent may or may not have arrived."""
    now = ctx.now()
    with ctx.database.write() as session:
        for row in session.execute(
            select(DeliveryRow).where(col(DeliveryRow.state) == "sending")
        ).scalars():
            sink = ctx.sinks.get(row.sink)
            row.state = "unknown"
            row.next_attempt_at = now + timedelta(seconds=sink.settle_s if sink else 0.0)


def run(ctx: Context) -> int:
    """Try the deliveries that are due; returns how many were tried."""
    now = ctx.now()
    with ctx.database.read() as session:
        due = [
            _Due(*found)
            for found in session.execute(
                select(*(col(getattr(DeliveryRow, f.name)) for f in fields(_Due)))
                .where(
                    col(DeliveryRow.state).in_(("pending", "unknown")),
                    col(DeliveryRow.next_attempt_at) <= now,
                )
                .order_by(col(DeliveryRow.id))
                .limit(_BATCH)
            )
        ]
    for sink, rows in itertools.groupby(due, key=lambda row: row.sink):
        _deliver_all(ctx, ctx.sinks.get(sink), list(rows))
    return len(due)


def _deliver_all(ctx: Context, sink: Sink | None, rows: Sequence[_Due]) -> None:
    """One after the other, or side by side what such a sink has said before of other targets."""
    if isinstance(sink, SideBySide) and sink.at_once > 1 and len(rows) > 1:
        targets = Counter(row.target for row in rows)
        with ctx.database.read() as session:
            apart = {
                row.id for row in rows if targets[row.target] == 1 and _said_before(session, row)
            }
        if len(apart) > 1:
            with ThreadPoolExecutor(sink.at_once) as pool:
                list(pool.map(lambda delivery_id: _deliver(ctx, delivery_id), sorted(apart)))
            rows = [row for row in rows if row.id not in apart]
    for row in rows:
        _deliver(ctx, row.id)


def _said_before(session: Session, row: _Due) -> bool:
    """Whether an earlier revision of this publication has arrived."""
    return (
        row.kind == OutgoingKind.PUBLISH.value
        and session.execute(
            select(
                exists().where(
                    col(DeliveryRow.sink) == row.sink,
                    col(DeliveryRow.event_id) == row.event_id,
                    col(DeliveryRow.target) == row.target,
                    col(DeliveryRow.kind) == row.kind,
                    col(DeliveryRow.state) == "sent",
                )
            )
        ).scalar_one()
    )


def _deliver(ctx: Context, delivery_id: int) -> None:
    with ctx.database.write() as session:
        row = session.get(DeliveryRow, delivery_id, with_for_update=True)
        if row is None or row.state not in ("pending", "unknown"):
            return  # superseded since
        sink = ctx.sinks.get(row.sink)
        if sink is None:
            _end(session, row, "failed", f"no sink {row.sink!r} is configured any more", ctx.now())
            return
        refusal = why_refused(ctx.settings, sink, is_practice=row.is_practice)
        if refusal is not None:
            _end(session, row, "refused", refusal, ctx.now())
            return
        stale = _stale(session, row)
        ask_first = row.attempts > 0 or row.state == "unknown"
        if stale and not ask_first:
            _end(session, row, "superseded", stale, ctx.now())
            return
        row.state = "sending"
        row.attempts += 1
    answer = _act(sink, row, ask_first=ask_first, may_repeat=not stale)
    with ctx.database.write() as session:
        fresh = session.get(DeliveryRow, delivery_id, with_for_update=True)
        assert fresh is not None
        if answer is None:
            _end(session, fresh, "superseded", f"{stale}; it had not arrived", ctx.now())
            return
        _record(session, fresh, answer, ctx.now())
        if fresh.state == "sent" and _retracted(session, fresh):
            withdraw_late(ctx, session, fresh)


def _stale(session: Session, row: DeliveryRow) -> str:
    """Why a publication should no longer be made; empty when it should, or is a withdrawal."""
    if row.kind != OutgoingKind.PUBLISH.value:
        return ""
    if _retracted(session, row):
        return "the event has been retracted"
    newest = session.execute(
        select(func.max(col(PlanRevisionRow.revision))).where(
            col(PlanRevisionRow.event_id) == row.event_id
        )
    ).scalar_one()
    if newest is not None and newest > row.plan_revision:
        return f"plan revision {newest} is there"
    return ""


def _retracted(session: Session, row: DeliveryRow) -> bool:
    if row.kind != OutgoingKind.PUBLISH.value:
        return False
    state = session.execute(
        select(col(EventRow.state)).where(col(EventRow.event_id) == row.event_id)
    ).scalar_one_or_none()
    return state == EventState.RETRACTED.value


def _act(sink: Sink, row: DeliveryRow, *, ask_first: bool, may_repeat: bool) -> Answer | None:
    """One attempt; None when the message is not there and should not be sent any more."""
    try:
        if row.kind == OutgoingKind.WITHDRAW.value:
            return sink.withdraw(row.payload, key=row.withdraws or row.key, remote_id=row.remote_id)
        if ask_first:
            found = sink.lookup(row.payload, key=row.key)
            if found is not None and found.outcome in (Outcome.SENT, Outcome.UNKNOWN):
                return found
            if not may_repeat:
                return None
        return sink.send(row.payload, key=row.key)
    except Exception as error:
        # A sink's own fault must not stop the others; it is kept with the delivery.
        _log.exception("sink %s", row.sink)
        return Answer(Outcome.UNKNOWN, detail=f"fault in sink: {type(error).__name__}: {error}")


def _record(session: Session, row: DeliveryRow, answer: Answer, now: datetime) -> None:
    row.remote_id = answer.remote_id or row.remote_id
    row.detail = answer.detail
    if answer.outcome is Outcome.SENT:
        _end(session, row, "sent", answer.detail, now)
        if row.kind == OutgoingKind.WITHDRAW.value:
            _mark_withdrawn(session, row, now)
    elif answer.outcome is Outcome.REJECTED or row.attempts >= _MAX_ATTEMPTS:
        _end(session, row, "failed", answer.detail, now)
    else:
        row.state = "unknown" if answer.outcome is Outcome.UNKNOWN else "pending"
        wait = backoff(row.attempts)
        if answer.retry_after_s is not None:
            wait = max(wait, timedelta(seconds=answer.retry_after_s))
        row.next_attempt_at = now + wait


def _end(session: Session, row: DeliveryRow, state: str, detail: str, now: datetime) -> None:
    row.state = state
    row.detail = detail
    row.finished_at = now
    what = "withdrawn" if row.kind == OutgoingKind.WITHDRAW.value and state == "sent" else state
    journal.write(
        session,
        [
            journal.Entry(
                _STAGE,
                what,
                f"{_subject(row)} to {row.sink}: {what}" + (f" ({detail})" if detail else ""),
                row.cause_id,
                event_id=row.event_id,
                object_id=row.target or None,
                latency_s=(now - row.created_at).total_seconds(),
            )
        ],
        now,
    )
    if state == "failed":
        session.add(
            DeadLetterRow(
                stage=_STAGE,
                reason=f"delivery {row.key} to {row.sink}: {detail}",
                at=now,
                cause_id=row.cause_id,
            )
        )


def _subject(row: DeliveryRow) -> str:
    if row.plan_revision == 0:
        return f"{row.target}: inference"
    return f"{row.target or 'plan'} revision {row.plan_revision}"


def _mark_withdrawn(session: Session, row: DeliveryRow, now: datetime) -> None:
    """The publications that this withdrawal took back, by target and, where known, remote id."""
    query = (
        update(DeliveryRow)
        .where(
            col(DeliveryRow.sink) == row.sink,
            col(DeliveryRow.event_id) == row.event_id,
            col(DeliveryRow.target) == row.target,
            col(DeliveryRow.kind) == OutgoingKind.PUBLISH.value,
            col(DeliveryRow.state).in_(("sent", "sending", "unknown")),
        )
        .values(state="withdrawn", finished_at=now)
    )
    if row.target and row.remote_id is not None:
        query = query.where(col(DeliveryRow.remote_id) == row.remote_id)
    session.execute(query)
