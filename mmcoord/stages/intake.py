"""Intake: raw bytes become records.

``receive`` writes what a listener hands over, before anything is parsed; ``run`` reads what
is pending, batch by batch. Reading is pure (:func:`read`, :func:`fold`); writing puts the
records, the notice's new state, the wishes for the next stage and the counts into one
transaction, so that a crash leaves a notice either untouched or done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from enum import Enum
from typing import Any, cast

from sqlalchemy import CursorResult, bindparam, insert, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from listeners.base import Source
from mmcoord import resting
from mmcoord.elsewhere import Elsewhere
from mmcoord.records import (
    Alert,
    AlertType,
    Candidate,
    Circular,
    KnownTransient,
    LateMap,
    Notice,
    ParsedRecord,
    Photometry,
    Vetoed,
    Withdrawal,
)
from mmcoord.stages.alerts import Folded, fold, seek_map, write_alert, write_late_map
from mmcoord.stages.context import Context
from mmcoord.stages.edits import PointChange, settle_points, table_reader
from mmcoord.stages.isolate import isolating
from mmcoord.stages.keys import object_key
from mmcoord.stages.known import active_before, wishes_for_known
from mmcoord.stages.readout import Readout, read
from mmcoord.store import journal, queue
from mmcoord.store.cursors import Place
from mmcoord.store.elsewhere import store_elsewhere
from mmcoord.store.ingest import (
    count_vetoes,
    store_candidates,
    store_circulars,
    store_known_transients,
    store_photometry,
)
from mmcoord.store.queue import INTAKE, Wish
from mmcoord.store.tables import (
    DeadLetterRow,
    NoticeRow,
)
from mmcoord.store.types import table
from mmcoord.store.weather import store_weather
from mmcoord.taint import taint_by_points, taint_event, taint_seen_before
from mmcoord.weather import Weather

__all__ = ["Folded", "Lane", "Readout", "fold", "read", "receive", "run"]

_FIRST, _ALERT, _BULK = -1, 0, 1


class Lane(Enum):
    """Which notices a call of :func:`run` reads, and how many at most.

    The daemon reads alerts on a thread of their own, in small batches, so that a notice
    that wakes people never waits for a batch of candidates to end.
    """

    ALL = ((_FIRST, _ALERT, _BULK), 500)
    ALERTS = ((_FIRST, _ALERT), 8)
    BULK = ((_BULK,), 500)


# -- the inbox ---------------------------------------------------------------------------


def receive(ctx: Context, notices: Sequence[Notice], place: Place | None = None) -> int:
    """Write raw notices durably; returns how many were new.

    Called by listeners, which acknowledge to the broker only after it has returned. A
    notice whose coordinates and content are known already is a redelivery and is dropped here.
    ``place`` is how far a listener that polls has got with these notices; both are written or
    neither.
    """
    rows = [_inbox_row(notice, ctx.sources) for notice in notices]
    if not rows and place is None:
        return 0
    with ctx.database.write() as session:
        if place is not None:
            place.store(session, ctx.now())
        if not rows:
            return 0
        statement = queue.insert_for(session, table(NoticeRow)).on_conflict_do_nothing()
        # One result for many parameter sets: the count of rows is all that it tells.
        result = session.execute(statement.execution_options(preserve_rowcount=True), rows)
        new = cast("CursorResult[Any]", result).rowcount
        queue.count(session, INTAKE, received=new)
    ctx.wake()
    return new


def _inbox_row(notice: Notice, sources: Mapping[str, Source]) -> dict[str, Any]:
    source = sources.get(notice.source)
    return {
        "source": notice.source,
        "broker": notice.broker,
        "topic": notice.topic,
        "partition": notice.partition,
        "offset": notice.offset,
        "payload": notice.payload,
        "sha256": hashlib.sha256(notice.payload).hexdigest(),
        "priority": _priority(source),
        "received_at": notice.received_at,
        "sent_at": notice.sent_at,
        "state": "pending",
    }


def _priority(source: Source | None) -> int:
    if source is None:
        return _ALERT
    return _FIRST if source.is_first else _BULK if source.is_bulk else _ALERT


# -- the stage ---------------------------------------------------------------------------


def run(ctx: Context, lane: Lane = Lane.ALL) -> int:
    """Read one batch of pending notices; returns how many were dealt with."""
    priorities, at_most = lane.value
    with ctx.database.read() as session:
        rows = list(
            session.execute(
                select(NoticeRow)
                .where(col(NoticeRow.state) == "pending", col(NoticeRow.priority).in_(priorities))
                .order_by(col(NoticeRow.priority), col(NoticeRow.id))
                .limit(at_most)
            ).scalars()
        )
    readouts = [read(row, ctx.sources, ctx.settings.vetoes) for row in rows]

    def write(some: Sequence[Readout]) -> None:
        with ctx.database.write() as session:
            _write(session, some, ctx, fetches=ctx.settings.fetches)

    def bury(readout: Readout, reason: str) -> None:
        write([replace(readout, records=(), localization=None, combined=None, error=reason)])

    isolating(readouts, write, bury)
    return len(readouts)


def _write(
    session: Session, readouts: Sequence[Readout], ctx: Context, *, fetches: bool = False
) -> None:
    now = ctx.now()
    entries: list[journal.Entry] = []
    wishes: list[Wish] = []
    tainted: list[Wish] = []
    outcomes: dict[int, str] = {}
    for readout in readouts:
        said = []
        if readout.records and isinstance(readout.records[0], Alert):
            said.append(write_alert(session, readout, readout.records[0], now, entries, wishes))
            if readout.records[0].alert_type is AlertType.RETRACTION:
                event_id = readout.records[0].event_id
                tainted += taint_event(session, event_id, readout.cause_id, now)
            seek_map(session, readout, readout.records[0], now, wishes, fetches=fetches)
        elif readout.records and isinstance(readout.records[0], LateMap):
            said.append(write_late_map(session, readout, readout.records[0], now, entries, wishes))
        others = [r for r in readout.records if not isinstance(r, Alert | LateMap)]
        if others:
            said.append(_describe(others))
        outcomes[readout.notice_id] = "; ".join(said) or "nothing to keep"
        wishes += [
            Wish("match", object_key(name), readout.cause_id)
            for name in sorted(
                {r.object_id for r in others if isinstance(r, Candidate | Photometry | Withdrawal)}
            )
        ]
    plain_cause = readouts[-1].cause_id if readouts else ""
    flat = [(record, readout.notice_id) for readout in readouts for record in readout.records]
    store_candidates(session, flat, now)
    store_photometry(session, flat, now)
    changes = settle_points(session, flat, now, table_reader(ctx.sources))
    tainted += taint_by_points(session, changes, _cause_of(changes), now)
    store_known_transients(session, flat, now)
    wishes += wishes_for_known(session, flat)
    for known in active_before(session, flat):
        reason = f"known {known.days:.2f} d before the event"
        tainted += taint_seen_before(
            session, known.event_id, known.object_id, known.name, reason, plain_cause, now
        )
    store_circulars(session, flat, now)
    wishes += store_elsewhere(session, flat, now)
    wishes += store_weather(session, flat, now)
    count_vetoes(session, [record for record, _ in flat if isinstance(record, Vetoed)])
    queue.enqueue(session, [*tainted, *wishes], now)
    _close_notices(session, readouts, outcomes, now)
    plain = [r for r in readouts if not r.records or not isinstance(r.records[0], Alert | LateMap)]
    journal.write(session, [*entries, *_batch_entry(plain, now)], now)
    lost = {wish.key: wish.cause_id for wish in tainted if wish.stage == "plan"}
    resting.weigh(session, lost, ctx.settings.infer.screen_threshold, now)


def _cause_of(changes: Sequence[PointChange]) -> str:
    return f"notice:{changes[-1].notice_id}" if changes else ""


def _describe(records: Sequence[ParsedRecord]) -> str:
    candidates = [r.object_id for r in records if isinstance(r, Candidate)]
    points = [r.object_id for r in records if isinstance(r, Photometry)]
    parts = []
    if candidates:
        parts.append(f"candidate {', '.join(candidates[:3])}")
    if points:
        parts.append(f"{len(points)} photometric points of {', '.join(sorted(set(points))[:3])}")
    for record in records:
        if isinstance(record, Vetoed):
            parts.append(f"{record.object_id} left out: {record.veto} ({record.detail})")
        elif isinstance(record, Withdrawal):
            parts.append(f"{record.object_id}: {record.band} withdrawn")
        elif isinstance(record, KnownTransient):
            parts.append(f"{record.catalogue}: {record.name}")
        elif isinstance(record, Elsewhere):
            parts.append(f"{record.status} elsewhere by {record.who} ({record.source})")
        elif isinstance(record, Weather):
            parts.append(f"weather of {len(record.said)} sites from {record.source}")
        elif isinstance(record, Circular):
            parts.append(f"circular {record.circular_id}: {record.subject}")
    return "; ".join(parts[:10])


def _close_notices(
    session: Session, readouts: Sequence[Readout], outcomes: Mapping[int, str], now: datetime
) -> None:
    dead = [readout for readout in readouts if readout.error is not None]
    notice = table(NoticeRow)
    session.execute(
        update(notice).where(notice.c.id == bindparam("notice_id")),
        [
            {
                "notice_id": readout.notice_id,
                "state": "dead" if readout.error is not None else "processed",
                "outcome": _stored(readout.error or outcomes[readout.notice_id]),
                "processed_at": now,
            }
            for readout in readouts
        ],
    )
    if dead:
        session.execute(
            insert(DeadLetterRow),
            [
                {
                    "notice_id": readout.notice_id,
                    "stage": INTAKE,
                    "reason": _stored(readout.error),
                    "at": now,
                    "cause_id": readout.cause_id,
                }
                for readout in dead
            ],
        )
    queue.count(session, INTAKE, processed=len(readouts) - len(dead), dead=len(dead))


def _stored(text: str | None) -> str | None:
    """Text that every database takes: an error may quote what it could not read."""
    if text is None:
        return None
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")[:4000]


def _batch_entry(readouts: Sequence[Readout], now: datetime) -> list[journal.Entry]:
    if not readouts:
        return []
    slowest = max((now - readout.received_at).total_seconds() for readout in readouts)
    return [
        journal.Entry(
            INTAKE,
            "candidates",
            f"{len(readouts)} candidate and photometry messages stored",
            readouts[-1].cause_id,
            latency_s=max(slowest, 0.0),
        )
    ]
