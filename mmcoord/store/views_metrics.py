"""The counts that ``/metrics`` shows beyond those of the health page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mmcoord.store.tables import (
    AlarmRow,
    DeadLetterRow,
    EventRow,
    PlanRevisionRow,
    RunRequestRow,
    RunRow,
)
from mmcoord.store.types import table
from mmcoord.store.views_runs import state_told

__all__ = ["Counts", "counts"]

_alarm: Any = table(AlarmRow)
_dead: Any = table(DeadLetterRow)
_event: Any = table(EventRow)
_plan: Any = table(PlanRevisionRow)
_request: Any = table(RunRequestRow)
_run: Any = table(RunRow)
_NEWEST_RUNS = 200


@dataclass(frozen=True, slots=True)
class Counts:
    """What the store holds, at one instant."""

    events: Mapping[tuple[str, bool], int]
    """(state, whether practice) -> events."""
    dead_letters: Mapping[str, int]
    """Stage -> dead letters that nobody has tried again."""
    runs: Mapping[str, int]
    """State (as ``views_queue.STATES``) -> runs, of all groups."""
    run_requests: Mapping[str, int]
    """How it was answered (executed, coalesced, cached) -> requests of groups."""
    runs_cpu_s: float
    """Processor time of all finished runs."""
    run_durations_s: tuple[float, ...]
    """Wall time of the newest finished runs, sorted."""
    alarms: Mapping[tuple[str, str], int]
    """(kind, severity) -> alarms that stand."""
    last_plan_at: Mapping[bool, datetime]
    """Whether practice -> when the newest plan revision was made."""


def counts(session: Session) -> Counts:
    """Call inside ``Database.snapshot``."""
    alarms: dict[tuple[str, str], int] = {}
    for key, severity in session.execute(
        select(_alarm.c.key, _alarm.c.severity).where(_alarm.c.cleared_at.is_(None))
    ):
        kind = key.split(" ", 1)[0]
        alarms[kind, severity] = alarms.get((kind, severity), 0) + 1
    newest_runs = session.execute(
        select(_run.c.started_at, _run.c.finished_at)
        .where(_run.c.state == "done", _run.c.started_at.is_not(None))
        .order_by(_run.c.finished_at.desc())
        .limit(_NEWEST_RUNS)
    )
    plans = session.execute(
        select(_event.c.is_practice, func.max(_plan.c.created_at))
        .join(_event, _event.c.event_id == _plan.c.event_id)
        .group_by(_event.c.is_practice)
    )
    return Counts(
        events={
            (state, practice): number
            for state, practice, number in session.execute(
                select(_event.c.state, _event.c.is_practice, func.count()).group_by(
                    _event.c.state, _event.c.is_practice
                )
            )
        },
        dead_letters=_by(session, _dead.c.stage, _dead.c.retried_at.is_(None)),
        runs=_by(session, state_told()),
        run_requests=_by(session, _request.c.how),
        runs_cpu_s=float(
            session.execute(select(func.coalesce(func.sum(_run.c.cpu_s), 0.0))).scalar_one()
        ),
        run_durations_s=tuple(
            sorted((finished - started).total_seconds() for started, finished in newest_runs)
        ),
        alarms=alarms,
        last_plan_at={practice: at for practice, at in plans},
    )


def _by(session: Session, column: Any, *where: Any) -> dict[str, int]:
    rows = session.execute(select(column, func.count()).where(*where).group_by(column))
    return {name: number for name, number in rows}
