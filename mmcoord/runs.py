"""Asking for an inference: the same question is one run, whoever asks; each pays its share.

The pipeline asks in the name of the house, people ask through the API in the name of their
group. Whoever asks for a key that is queued or running joins that run; a finished answer is
free. When a run ends, its processor time is split equally among the groups that waited for
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord import lineage
from mmcoord.errors import OverQuota
from mmcoord.inference.job import Job, run_key
from mmcoord.stages.jobs import job_to_json
from mmcoord.store import journal
from mmcoord.store.queue import insert_for
from mmcoord.store.tables import AccessGroupRow, RunRequestRow, RunRow
from mmcoord.store.types import table

__all__ = [
    "HOUSE",
    "PUBLIC",
    "Requester",
    "Submitted",
    "Usage",
    "aged_priority",
    "check_quota",
    "is_charged",
    "note_cached",
    "settle",
    "submit",
    "supersede",
    "typical_cpu_s",
    "usage",
]

HOUSE = "mmcoord"
"""The group in whose name the pipeline asks; no token can be made for it."""
PUBLIC = "public"
_run: Any = table(RunRow)
_AGEING_H = 6.0
"""Waiting so long is worth a whole unit of priority: nobody starves."""
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_TYPICAL_CPU_S = 30.0
"""What a run is held to cost while none has been measured."""
_MEASURED = 20


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks."""

    group: str
    token_id: str = ""
    priority: float = 0.5
    may_rest: bool = False
    """The run may wait while others of its event are likelier (:mod:`mmcoord.resting`)."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a request."""

    run_key: str
    state: str
    how: str
    """``executed``, ``coalesced`` or ``cached``; see ``RunRequestRow``."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a group has used of its quota."""

    quota_cpu_s: float
    period_day: float
    charged_cpu_s: float
    """Ended runs within the period."""
    waiting: int
    """Requests whose run has not ended."""
    expected_cpu_s: float
    """What those are held to cost."""

    @property
    def left_cpu_s(self) -> float:
        return self.quota_cpu_s - self.charged_cpu_s - self.expected_cpu_s


def aged_priority(priority: float, created_at: datetime) -> float:
    """Place in the queue, highest first: what has waited longer was created earlier, so that
    ageing needs no clock and no rewriting of rows."""
    return priority - (created_at - _EPOCH) / timedelta(hours=_AGEING_H)


def submit(
    session: Session,
    job: Job,
    requester: Requester,
    now: datetime,
    *,
    event_id: str = "",
    object_id: str = "",
    cause_id: str = "",
) -> Submitted:
    """Ask for a run in the caller's transaction; it begins with an earlier one if it can.

    ``event_id`` and ``object_id`` belong to public runs alone: what is derived from private
    data is linked to nothing public.

    Raises
    ------
    BadPhotometry, ConfigError
        A job that cannot be run.
    OverQuota
        The answer is not there yet and the group has nothing left to pay for it.
    """
    key = lineage.asked_before(session, job)
    if key is None:
        job = lineage.with_start(session, job, event_id, object_id)
        key = run_key(job)
    # Not the row: its draws are a hundred times larger than what is asked here.
    known = session.execute(
        select(col(RunRow.state)).where(col(RunRow.run_key) == key)
    ).scalar_one_or_none()
    if known == "done":
        note_cached(session, key, requester, now)
        return Submitted(key, "done", "cached")
    check_quota(session, requester.group, now)
    priority = aged_priority(requester.priority, now)
    row = RunRow(
        run_key=key,
        event_id=event_id,
        object_id=object_id,
        state="queued",
        may_rest=requester.may_rest,
        job=job_to_json(job),
        priority=priority,
        partition=job.partition,
        created_at=now,
        cause_id=cause_id,
        parent_key=job.start.parent_key if job.start else None,
    )
    if known is None and _inserted(session, row):
        lineage.enter(session, key, job)
        how = "executed"
    else:
        session.flush()
        row = session.get_one(RunRow, key, with_for_update=True)  # nobody puts it to rest meanwhile
        how = _joined(session, row, requester, priority, now)
    _note(session, key, requester, how, now)
    return Submitted(key, session.get_one(RunRow, key).state, how)


def note_cached(session: Session, key: str, requester: Requester, now: datetime) -> None:
    """Count that an answer was there; it costs nothing, so that nothing is lost if this is.

    The house's asking lifts a taint by a point.
    """
    if requester.group == HOUSE:
        session.execute(update(_run).where(_run.c.run_key == key).values(cached=_run.c.cached + 1))
        # The house asks with the points that stand now: those are right again.
        session.execute(
            update(_run)
            .where(_run.c.run_key == key, _run.c.tainted_by.startswith("point "))
            .values(tainted_at=None, tainted_by=None, taint_reason=None)
        )
    _note(session, key, requester, "cached", now)


def supersede(session: Session, event_id: str, object_id: str, key: str, now: datetime) -> None:
    """Give up what waits for older data of a pair, unless a group has asked for just that."""
    asked = select(col(RunRequestRow.run_key)).where(
        col(RunRequestRow.group) != HOUSE, col(RunRequestRow.charged_cpu_s).is_(None)
    )
    older = session.execute(
        select(RunRow).where(
            col(RunRow.event_id) == event_id,
            col(RunRow.object_id) == object_id,
            col(RunRow.state) == "queued",
            col(RunRow.run_key) != key,
            col(RunRow.run_key).not_in(asked),
        )
    ).scalars()
    for row in older.all():
        row.state, row.resting, row.finished_at = "superseded", False, now
        settle(session, row, None)


def _inserted(session: Session, row: RunRow) -> bool:
    """Whether the run is ours: another process may have written it in the meantime."""
    values = {column.name: getattr(row, column.name) for column in _run.columns}
    statement = insert_for(session, _run).values(**values).on_conflict_do_nothing()
    return session.execute(statement.returning(_run.c.run_key)).first() is not None


def _joined(
    session: Session, row: RunRow, requester: Requester, priority: float, now: datetime
) -> str:
    """Join a run that is there; one that was given up is started again, and one that failed
    if a person asks: the pipeline would ask for ever. One that rests wakes, unless it may go on
    resting for this requester too."""
    if row.state == "failed" and requester.group == HOUSE:
        return "cached"
    if row.state in ("failed", "superseded"):
        row.state, row.attempts, row.error, row.finished_at = "queued", 0, None, None
        row.priority, row.may_rest = priority, requester.may_rest
        return "executed"
    row.coalesced += 1
    row.may_rest = row.may_rest and requester.may_rest
    if row.resting and not row.may_rest:
        row.resting = False
        entry = journal.Entry(
            "infer", "woken", "1 run wakes: it is asked for", row.cause_id,
            event_id=row.event_id, object_id=row.object_id,
        )  # fmt: skip
        journal.write(session, [entry], now)
    if row.state == "queued":
        row.priority = max(row.priority, priority)
    return "coalesced"


def _note(session: Session, key: str, requester: Requester, how: str, now: datetime) -> None:
    """Write down who asked; what is cached costs nothing, and the house needs one line a run."""
    if requester.group == HOUSE and how != "executed":
        return
    session.add(
        RunRequestRow(
            run_key=key,
            group=requester.group,
            token_id=requester.token_id,
            how=how,
            requested_at=now,
            charged_cpu_s=0.0 if how == "cached" else None,
        )
    )


def settle(session: Session, row: RunRow, cpu_s: float | None) -> None:
    """Split the cost of a run that has ended among the groups that waited for it.

    A run that failed (``cpu_s`` None) costs nothing. Each group pays once, however often it
    asked; called twice for a run, the second call finds nobody left to charge.
    """
    row.cpu_s = cpu_s
    waiting: Sequence[RunRequestRow] = (
        session.execute(
            select(RunRequestRow)
            .where(
                col(RunRequestRow.run_key) == row.run_key,
                col(RunRequestRow.charged_cpu_s).is_(None),
            )
            .order_by(col(RunRequestRow.id))
        )
        .scalars()
        .all()
    )
    share = (cpu_s or 0.0) / max(len({request.group for request in waiting}), 1)
    charged: set[str] = set()
    for request in waiting:
        request.charged_cpu_s = 0.0 if request.group in charged else share
        charged.add(request.group)


def usage(session: Session, group: AccessGroupRow, now: datetime) -> Usage:
    """What a group has used in the period that ends now."""
    since = now - timedelta(days=group.period_day)
    charged, waiting = session.execute(
        select(
            func.coalesce(func.sum(col(RunRequestRow.charged_cpu_s)), 0.0),
            func.count(func.distinct(col(RunRequestRow.run_key))).filter(
                col(RunRequestRow.charged_cpu_s).is_(None)
            ),
        ).where(col(RunRequestRow.group) == group.name, col(RunRequestRow.requested_at) >= since)
    ).one()
    return Usage(
        group.quota_cpu_s,
        group.period_day,
        float(charged or 0.0),
        int(waiting),
        int(waiting) * typical_cpu_s(session),
    )


def typical_cpu_s(session: Session) -> float:
    """What the newest runs took on average."""
    newest = (
        select(col(RunRow.cpu_s))
        .where(col(RunRow.cpu_s).is_not(None))
        .order_by(col(RunRow.finished_at).desc())
        .limit(_MEASURED)
        .subquery()
    )
    mean = session.execute(select(func.avg(newest.c.cpu_s))).scalar_one()
    return _TYPICAL_CPU_S if mean is None else float(mean)


def is_charged(session: Session, key: str) -> bool:
    """Whether somebody pays, or will pay, for what stands under that key."""
    found = select(col(RunRequestRow.id)).where(col(RunRequestRow.run_key) == key).limit(1)
    return session.execute(found).first() is not None


def check_quota(session: Session, name: str, now: datetime) -> None:
    """Whether a group has something left to pay with; the house always has.

    Raises
    ------
    OverQuota
        It has not.
    """
    group = session.get(AccessGroupRow, name)
    if group is None:  # the house
        return
    if session.get_bind().dialect.name == "postgresql":
        # Two requests of one group at a time must not both find the last second free.
        session.execute(
            update(AccessGroupRow)
            .where(col(AccessGroupRow.name) == name)
            .values(priority=AccessGroupRow.priority)
        )
    found = usage(session, group, now)
    if found.left_cpu_s <= 0:
        raise OverQuota(
            f"group {name!r} has used {found.charged_cpu_s:.0f} of {found.quota_cpu_s:.0f} CPU "
            f"seconds in {found.period_day:g} days, and {found.waiting} runs are waiting"
        )
