"""Work items and the count ledger: the only code that moves either.

A wish is written by :func:`enqueue` in the transaction of what causes it, taken by
:func:`take`, and ended by :func:`finish` in the transaction of its effects. Every wish is
counted in the ledger when it is written and when it is served; what is neither served nor
dead must be pending, or something lost it (:func:`balance` compares).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, case, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from mmcoord.store.tables import LedgerRow, NoticeRow, WorkRow
from mmcoord.store.types import table

__all__ = [
    "BURST",
    "COINCIDE",
    "FETCH",
    "INTAKE",
    "NORMAL",
    "STAGES",
    "URGENT",
    "YIELDING",
    "Balance",
    "Wish",
    "Work",
    "balance",
    "count",
    "enqueue",
    "finish",
    "has_backlog",
    "insert_for",
    "next_due",
    "pending",
    "put_off",
    "take",
]

INTAKE = "intake"
FETCH = "fetch"
BURST = "burst"
COINCIDE = "coincide"
STAGES = (INTAKE, FETCH, BURST, COINCIDE, "match", "infer", "plan")

_work: Any = table(WorkRow)
_ledger: Any = table(LedgerRow)
_notice: Any = table(NoticeRow)

URGENT = 0
"""Priority of wishes for which somebody may be waiting: they go first, and never rest."""
NORMAL = 1
YIELDING = 2
"""Priority of a plan that is wished for only because another took time from it: it takes from
nobody itself. A wish of its own that joins makes it a normal one."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Please look at ``key`` in ``stage``."""

    stage: str
    key: str
    cause_id: str
    priority: int = NORMAL
    delay_s: float = 0.0
    """Debounce: wait this long for more wishes for the same key; they do not prolong it."""


@dataclass(frozen=True, slots=True)
class Work:
    """A wish as taken: serve it, then :func:`finish` with this very object."""

    stage: str
    key: str
    requested: int
    done: int
    cause_id: str
    enqueued_at: datetime
    attempts: int = 0
    """How often it has been put off."""
    priority: int = NORMAL
    """The highest of those that joined."""


@dataclass(frozen=True, slots=True)
class Balance:
    """received = processed + dead + pending, or ``lost`` is not zero."""

    stage: str
    received: int
    processed: int
    dead: int
    pending: int
    oldest_pending_at: datetime | None = None
    """When the oldest thing still pending came in."""

    @property
    def lost(self) -> int:
        return self.received - self.processed - self.dead - self.pending


def insert_for(session: Session, table: Any) -> Any:
    """The dialect's INSERT, which alone has ON CONFLICT."""
    bind = session.get_bind()
    return (postgresql if bind.dialect.name == "postgresql" else sqlite).insert(table)


def count(
    session: Session, stage: str, *, received: int = 0, processed: int = 0, dead: int = 0
) -> None:
    """Add to a stage's counts."""
    statement = insert_for(session, _ledger).values(
        stage=stage, received=received, processed=processed, dead=dead
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["stage"],
            set_={
                "received": _ledger.c.received + received,
                "processed": _ledger.c.processed + processed,
                "dead": _ledger.c.dead + dead,
            },
        )
    )


def enqueue(session: Session, wishes: Iterable[Wish], now: datetime) -> None:
    """Write wishes; a wish for a key that is already pending joins it.

    The pending wish keeps its time and its urgency unless the new one is earlier or more
    urgent, so that a steady stream of wishes cannot put a key off for ever.
    """
    unique: dict[tuple[str, str], Wish] = {}
    per_stage: dict[str, int] = {}
    for wish in wishes:
        unique[(wish.stage, wish.key)] = wish
    for wish in unique.values():
        per_stage[wish.stage] = per_stage.get(wish.stage, 0) + 1
    if not unique:
        return
    statement = insert_for(session, _work)
    new = statement.excluded
    idle = _work.c.requested == _work.c.done
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["stage", "key"],
            set_={
                "requested": _work.c.requested + 1,
                "not_before": case(
                    (idle | (new.not_before < _work.c.not_before), new.not_before),
                    else_=_work.c.not_before,
                ),
                "priority": case(
                    (idle | (new.priority < _work.c.priority), new.priority),
                    else_=_work.c.priority,
                ),
                "cause_id": new.cause_id,
                "enqueued_at": case((idle, new.enqueued_at), else_=_work.c.enqueued_at),
                "attempts": case((idle, 0), else_=_work.c.attempts),
            },
        ),
        [
            {
                "stage": wish.stage,
                "key": wish.key,
                "requested": 1,
                "done": 0,
                "priority": wish.priority,
                "not_before": now + timedelta(seconds=wish.delay_s),
                "enqueued_at": now,
                "attempts": 0,
                "cause_id": wish.cause_id,
            }
            for wish in unique.values()
        ],
    )
    for stage, number in per_stage.items():
        count(session, stage, received=number)


def take(
    session: Session, stage: str, now: datetime, limit: int, *, urgent_only: bool = False
) -> list[Work]:
    """The most urgent wishes that are due. Nothing is marked: a crash leaves them pending."""
    urgent = [_work.c.priority <= URGENT] if urgent_only else []
    rows = session.execute(
        select(
            *(_work.c[name] for name in ("key", "requested", "done", "cause_id", "enqueued_at")),
            _work.c.attempts,
            _work.c.priority,
        )
        .where(_work.c.stage == stage, _work.c.requested > _work.c.done, _work.c.not_before <= now)
        .where(*urgent)
        .order_by(_work.c.priority, _work.c.not_before, _work.c.key)
        .limit(limit)
    )
    return [
        Work(stage, r.key, r.requested, r.done, r.cause_id, r.enqueued_at, r.attempts, r.priority)
        for r in rows
    ]


def finish(session: Session, works: Sequence[Work], *, dead: bool = False) -> None:
    """Mark wishes as served, in the transaction of their effects.

    A wish that came in since :func:`take` stays pending, because only what was taken is
    marked.
    """
    if not works:
        return
    session.execute(
        update(_work)
        .where(_work.c.stage == bindparam("its_stage"), _work.c.key == bindparam("its_key"))
        .values(done=bindparam("served")),
        [{"its_stage": w.stage, "its_key": w.key, "served": w.requested} for w in works],
    )
    served: dict[str, int] = {}
    for work in works:
        served[work.stage] = served.get(work.stage, 0) + work.requested - work.done
    for stage, number in served.items():
        count(session, stage, processed=0 if dead else number, dead=number if dead else 0)


def put_off(session: Session, work: Work, until: datetime, priority: int) -> None:
    """Leave a wish pending, not due before ``until`` and then as urgent as ``priority`` says."""
    session.execute(
        update(_work)
        .where(_work.c.stage == work.stage, _work.c.key == work.key)
        .values(not_before=until, attempts=work.attempts + 1, priority=priority)
    )


def pending(session: Session, stage: str) -> int:
    """Number of wishes (or notices, for intake) not yet served."""
    if stage == INTAKE:
        query = select(func.count()).select_from(_notice).where(_notice.c.state == "pending")
    else:
        query = select(func.coalesce(func.sum(_work.c.requested - _work.c.done), 0)).where(
            _work.c.stage == stage, _work.c.requested > _work.c.done
        )
    return int(session.execute(query).scalar_one())


def has_backlog(session: Session, limit: int) -> bool:
    """Whether at least ``limit`` notices wait in the inbox; counts no further than that."""
    some = select(_notice.c.id).where(_notice.c.state == "pending").limit(limit).subquery()
    return int(session.execute(select(func.count()).select_from(some)).scalar_one()) >= limit


def next_due(session: Session) -> datetime | None:
    """When the earliest pending wish is due; None when there is none."""
    query = select(func.min(_work.c.not_before)).where(_work.c.requested > _work.c.done)
    due: datetime | None = session.execute(query).scalar_one()
    return due


def balance(session: Session) -> list[Balance]:
    """The ledger of every stage against what is really pending."""
    rows = {row.stage: row for row in session.execute(select(_ledger))}
    waiting = _waiting(session)
    result = []
    for stage in STAGES:
        row = rows.get(stage)
        received, processed, dead = (row.received, row.processed, row.dead) if row else (0, 0, 0)
        result.append(Balance(stage, received, processed, dead, *waiting.get(stage, (0, None))))
    return result


def _waiting(session: Session) -> dict[str, tuple[int, datetime | None]]:
    """What :func:`pending` counts, and since when, of every stage where something waits."""
    wishes = session.execute(
        select(
            _work.c.stage,
            func.sum(_work.c.requested - _work.c.done),
            func.min(_work.c.enqueued_at),
        )
        .where(_work.c.requested > _work.c.done)
        .group_by(_work.c.stage)
    )
    notices = session.execute(
        select(func.count(), func.min(_notice.c.received_at)).where(_notice.c.state == "pending")
    ).one()
    return {stage: (int(number), since) for stage, number, since in wishes} | {
        INTAKE: (int(notices[0]), notices[1])
    }
