"""The queue of inferences and what they cost: what everybody may know of it.

Counts and costs are of all runs. What a run is about (its key, object and event) is told only
of those that the reader may see.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mmcoord.store.tables import RunRequestRow, RunRow
from mmcoord.store.types import table
from mmcoord.store.views_runs import state_told, visible_to

__all__ = [
    "STATES",
    "QueueLine",
    "asked",
    "cpu_total_s",
    "lines",
    "state_counts",
    "total",
    "waiting_since",
]

STATES = ("queued", "resting", "running", "done", "failed", "superseded")
"""As :func:`mmcoord.store.views_runs.state_told` gives them."""
_run: Any = table(RunRow)
_request: Any = table(RunRequestRow)


@dataclass(frozen=True, slots=True)
class QueueLine:
    """One run in the queue or behind it, without question and answer."""

    run_key: str
    event_id: str
    object_id: str
    state: str
    partition: str
    priority: float
    coalesced: int
    cached: int
    attempts: int
    cpu_s: float | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None


def state_counts(session: Session) -> dict[str, int]:
    """Number of runs in each of :data:`STATES`, private ones too."""
    counted = session.execute(select(state_told(), func.count()).group_by(state_told()))
    found: dict[str, int] = {state: number for state, number in counted}
    return {state: found.get(state, 0) for state in STATES}


def waiting_since(session: Session) -> datetime | None:
    """When the run that has waited longest was asked for; None when none waits but to rest."""
    moment: datetime | None = session.execute(
        select(func.min(_run.c.created_at)).where(state_told() == "queued")
    ).scalar_one()
    return moment


def lines(
    session: Session, group: str | None, limit: int, offset: int = 0, *, state: str | None = None
) -> list[QueueLine]:
    """Runs that somebody of ``group`` may see: those at work, those waiting, those
    that rest, then the newest."""
    columns = [
        state_told().label(name) if name == "state" else _run.c[name]
        for name in QueueLine.__dataclass_fields__
    ]
    statement = select(*columns).where(_run.c.partition.in_(visible_to(group)))
    if state is not None:
        statement = statement.where(state_told() == state)
    statement = statement.order_by(
        _run.c.state != "running",
        state_told() != "queued",
        _run.c.state != "queued",
        _run.c.created_at.desc(),
        _run.c.run_key,
    )
    found = session.execute(statement.limit(limit).offset(offset)).mappings()
    return [QueueLine(**row) for row in found]


def asked(session: Session) -> dict[str, dict[str, int]]:
    """Group -> how its requests were answered (see ``RunRequestRow.how``) -> how many."""
    found: dict[str, dict[str, int]] = {}
    for group, how, number in session.execute(
        select(_request.c.group, _request.c.how, func.count()).group_by(
            _request.c.group, _request.c.how
        )
    ):
        found.setdefault(group, {})[how] = number
    return found


def cpu_total_s(session: Session) -> float:
    """Processor time of all runs that have ended."""
    found = session.execute(select(func.coalesce(func.sum(_run.c.cpu_s), 0.0))).scalar_one()
    return float(found)


def total(session: Session, group: str | None, *, state: str | None = None) -> int:
    """Number of runs that :func:`lines` pages through."""
    query = select(func.count()).select_from(_run)
    query = query.where(_run.c.partition.in_(visible_to(group)))
    if state is not None:
        query = query.where(state_told() == state)
    return int(session.execute(query).scalar_one())
