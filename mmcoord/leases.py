"""Leases: who has a run in hand, until when, and whose result counts.

A run under way has an owner and a time until which nobody else takes it; the owner's heartbeat
puts that time off. When it has passed, the run is taken over. The first owner may still come
with its result: the same key gives the same bytes, so the first result that arrives is the
run's, and every later one is dropped. All of it is said in the caller's transaction, so that a
result, its cost and the end of its lease are one commit.
"""

from __future__ import annotations

import os
import re
import socket
import uuid
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, select, text, update
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.store.tables import RunRow
from mmcoord.store.tables_attempts import RunAttemptRow
from mmcoord.store.types import table

__all__ = [
    "attempt_of",
    "end_attempt",
    "engine_owner",
    "expired",
    "give_back",
    "holds",
    "is_gone",
    "is_late",
    "is_waiting",
    "lock_run",
    "orphans",
    "renew",
    "take",
]

_run: Any = table(RunRow)
_attempt: Any = table(RunAttemptRow)
_TAKERS_LOCK = 0x6D6D636C
"""Advisory lock on PostgreSQL: those who take runs do it one after the other."""
_ENGINE = "engine"


# -- owners ------------------------------------------------------------------------------


def engine_owner() -> str:
    """A name for this process's engine that no other has, and that says where it runs."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())
    return f"{_ENGINE} {host} {os.getpid()} {uuid.uuid4().hex}"


def is_gone(owner: str, me: str) -> bool:
    """Whether another engine is known to be dead: it ran on this machine, and its process is no
    more, or has our own number (a container's processes are numbered alike at each start).

    Of other machines nothing is known before a lease has expired.
    """
    kind, host, pid, *_ = (*owner.split(" "), "", "", "")
    my_host = me.split(" ")[1]
    if kind != _ENGINE or host != my_host or not pid.isdigit() or owner == me:
        return False
    if int(pid) == os.getpid():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


# -- looking ---------------------------------------------------------------------------------


def is_waiting(session: Session, partitions: Collection[str] | None = None) -> bool:
    """Whether a run of these partitions (None: of any) waits to be taken."""
    query = select(_run.c.run_key).where(_is_free())
    if partitions is not None:
        query = query.where(_run.c.partition.in_(partitions))
    return session.execute(query.limit(1)).first() is not None


def _is_free() -> ColumnElement[bool]:
    return and_(_run.c.state == "queued", _run.c.resting.is_(False))


def is_late(session: Session, now: datetime) -> bool:
    """Whether a lease has passed."""
    query = select(_run.c.run_key).where(_run.c.state == "running", _run.c.lease_until < now)
    return session.execute(query.limit(1)).first() is not None


# -- taking and keeping --------------------------------------------------------------------


def take(
    session: Session,
    owner: str,
    now: datetime,
    lease_s: float,
    limit: int,
    *,
    cores: int = 1,
    partitions: Collection[str] | None = None,
) -> list[RunRow]:
    """Lease the best queued runs that do not rest, one at a time for each pair of event and
    candidate.

    While a pair's run is under way its newer data wait (and replace one another in the queue),
    so that a fast light curve cannot occupy every worker with stale data. ``partitions``: only
    runs of these.
    """
    if limit <= 0:
        return []
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _TAKERS_LOCK})
    busy = {
        (row.event_id, row.object_id)
        for row in session.execute(
            select(_run.c.event_id, _run.c.object_id).where(
                _run.c.state == "running", _run.c.event_id != ""
            )
        )
    }
    query = select(_run.c.run_key, _run.c.event_id, _run.c.object_id).where(_is_free())
    if partitions is not None:
        query = query.where(_run.c.partition.in_(partitions))
    taken: list[RunRow] = []
    for found in session.execute(query.order_by(_run.c.priority.desc(), _run.c.run_key)):
        if len(taken) == limit:
            break
        pair = (found.event_id, found.object_id)
        if pair in busy:
            continue
        row = lock_run(session, found.run_key)
        if row is None or row.state != "queued" or row.resting:
            continue  # superseded or put to rest in the meantime
        if row.event_id:  # a run about nothing public is its own
            busy.add(pair)
        row.state = "running"
        row.attempts += 1
        row.started_at = now
        row.lease_owner = owner
        row.lease_until = now + timedelta(seconds=lease_s)
        session.add(RunAttemptRow(run_key=row.run_key, owner=owner, cores=cores, taken_at=now))
        taken.append(row)
    return taken


def renew(
    session: Session, owner: str, run_keys: Collection[str], now: datetime, lease_s: float
) -> set[str]:
    """Put off the end of leases; returns those runs that are still the owner's."""
    if not run_keys:
        return set()
    renewed = session.execute(
        update(_run)
        .where(
            _run.c.run_key.in_(run_keys),
            _run.c.lease_owner == owner,
            _run.c.state == "running",
        )
        .values(lease_until=now + timedelta(seconds=lease_s))
        .returning(_run.c.run_key)
    )
    return set(renewed.scalars())


def expired(session: Session, now: datetime) -> list[RunRow]:
    """Runs whose lease has passed; locked, for the caller to end."""
    return list(
        session.execute(
            select(RunRow)
            .where(col(RunRow.state) == "running", col(RunRow.lease_until) < now)
            .order_by(col(RunRow.run_key))
            .with_for_update()
        ).scalars()
    )


def orphans(session: Session, me: str, in_hand: Collection[str]) -> list[RunRow]:
    """Runs whose owner is known to be dead, or that are said to be ours and are not in hand."""
    rows = session.execute(
        select(RunRow)
        .where(col(RunRow.state) == "running")
        .order_by(col(RunRow.run_key))
        .with_for_update()
    ).scalars()
    return [
        row
        for row in rows
        if (row.lease_owner == me and row.run_key not in in_hand)
        or row.lease_owner is None
        or is_gone(row.lease_owner, me)
    ]


# -- ending --------------------------------------------------------------------------------


def lock_run(session: Session, run_key: str) -> RunRow | None:
    """The run as it is now, which nobody else changes until the transaction ends."""
    return session.get(RunRow, run_key, with_for_update=True)


def holds(row: RunRow, owner: str) -> bool:
    """Whether the run is the owner's at this moment."""
    return row.state == "running" and row.lease_owner == owner


def give_back(session: Session, rows: Iterable[RunRow], now: datetime, why: str) -> None:
    """Queue runs again whose attempt says nothing against them."""
    for row in rows:
        end_attempt(session, row.run_key, row.lease_owner or "", now, why)
        row.state = "queued"
        row.attempts -= 1
        row.lease_owner = row.lease_until = None


def attempt_of(session: Session, run_key: str, owner: str) -> RunAttemptRow | None:
    """The owner's last lease of a run, whether or not it has ended; None if it never had one."""
    return session.execute(
        select(RunAttemptRow)
        .where(col(RunAttemptRow.run_key) == run_key, col(RunAttemptRow.owner) == owner)
        .order_by(col(RunAttemptRow.id).desc())
        .limit(1)
    ).scalar_one_or_none()


def end_attempt(session: Session, run_key: str, owner: str, now: datetime, outcome: str) -> None:
    """Write down what became of the owner's lease; what ended it first stands."""
    session.execute(
        update(_attempt)
        .where(
            _attempt.c.run_key == run_key,
            _attempt.c.owner == owner,
            _attempt.c.ended_at.is_(None),
        )
        .values(ended_at=now, outcome=outcome[:2000])
    )
