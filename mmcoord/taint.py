"""Runs whose inputs turned out to be wrong, and what rests on them.

A tainted run keeps its answer, which says since when and why it is not to be relied on. It is
not the newest word on its candidate any more, no run starts from its posterior, and the pair is
looked at again by itself. Whatever started from it, and the plans that cite it, are marked too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session, defer
from sqlmodel import col

from mmcoord.inference.job import detected_before
from mmcoord.stages.edits import PointChange
from mmcoord.stages.jobs import job_from_json
from mmcoord.stages.keys import pair_key
from mmcoord.store import journal
from mmcoord.store.ingest import point_key
from mmcoord.store.queue import Wish
from mmcoord.store.tables import PlanRevisionRow, RequestRow, RunRow

__all__ = ["pairs_with_runs", "taint_by_points", "taint_event", "taint_seen_before"]


_STANDING = (
    col(RunRow.tainted_at).is_(None),
    col(RunRow.state).in_(("queued", "running", "done")),
)


def taint_by_points(
    session: Session, changes: Sequence[PointChange], cause_id: str, now: datetime
) -> list[Wish]:
    """Mark the runs that used a point which its source has edited or withdrawn."""
    lost = {(c.object_id, c.point_key): c for c in changes if not c.stands}
    if not lost:
        return []
    wishes: list[Wish] = []
    for row in _standing(session, col(RunRow.object_id).in_({name for name, _ in lost})):
        used = {(row.object_id, point_key(p)) for p in job_from_json(row.job).photometry}
        hit = sorted(used & lost.keys())
        if hit:
            change = lost[hit[0]]
            by = f"point {change.point_key} of {change.object_id}"
            wishes += _taint(session, row, by, f"{change.kind}: {change.detail}", cause_id, now)
    return wishes


def taint_event(session: Session, event_id: str, cause_id: str, now: datetime) -> list[Wish]:
    """Mark the runs of a retracted event."""
    wishes: list[Wish] = []
    for row in _standing(session, col(RunRow.event_id) == event_id):
        wishes += _taint(
            session, row, f"event {event_id}", "the event was retracted", cause_id, now
        )
    return wishes


def taint_seen_before(
    session: Session, event_id: str, object_id: str, by: str, reason: str, cause_id: str,
    now: datetime,
) -> list[Wish]:  # fmt: skip
    """Mark the runs of a pair whose object is now known to have been active before the event,
    which they did not know."""
    wishes: list[Wish] = []
    ours = (col(RunRow.event_id) == event_id) & (col(RunRow.object_id) == object_id)
    for row in _standing(session, ours):
        job = job_from_json(row.job)
        if detected_before(job.photometry, job.t0_mjd_tai) is None:
            wishes += _taint(session, row, by, reason, cause_id, now)
    return wishes


def pairs_with_runs(session: Session, object_ids: Collection[str]) -> set[tuple[str, str]]:
    """(event id, object id) of these objects' runs that could be marked: few objects have any."""
    rows = session.execute(
        select(col(RunRow.event_id), col(RunRow.object_id))
        .where(col(RunRow.object_id).in_(object_ids), *_STANDING)
        .distinct()
    )
    return {(event_id, object_id) for event_id, object_id in rows}


def _standing(session: Session, condition: Any) -> Iterable[RunRow]:
    return (
        session.execute(
            select(RunRow)
            .options(defer(cast(Any, RunRow.samples)))
            .where(condition, *_STANDING)
            .order_by(col(RunRow.created_at), col(RunRow.run_key))
        )
        .scalars()
        .all()
    )


def _taint(
    session: Session, row: RunRow, by: str, reason: str, cause_id: str, now: datetime
) -> list[Wish]:
    """Mark a run and what rests on it; returns the wishes to look again."""
    if row.tainted_at is not None:
        return []
    row.tainted_at, row.tainted_by, row.taint_reason = now, by, reason
    wishes: list[Wish] = []
    if row.event_id:
        _mark_plans(session, row, now)
        wishes = [
            Wish("infer", pair_key(row.event_id, row.object_id), cause_id),
            Wish("plan", row.event_id, cause_id),
        ]
        text = f"{row.object_id}: run {row.run_key[:12]} is tainted by {by}: {reason}"
        entry = journal.Entry(
            "infer", "tainted", text, cause_id, event_id=row.event_id, object_id=row.object_id
        )
        journal.write(session, [entry], now)
    for child in _standing(session, col(RunRow.parent_key) == row.run_key):
        wishes += _taint(session, child, f"run {row.run_key}", f"started from it; {reason}",
                         cause_id, now)  # fmt: skip
    return wishes


def _mark_plans(session: Session, row: RunRow, now: datetime) -> None:
    requests = session.execute(
        select(RequestRow).where(
            col(RequestRow.event_id) == row.event_id, col(RequestRow.object_id) == row.object_id
        )
    ).scalars()
    cited = [request for request in requests if request.row.get("run_key") == row.run_key]
    for request in cited:
        request.tainted_by = row.run_key
    plans = session.execute(
        select(PlanRevisionRow).where(
            col(PlanRevisionRow.event_id) == row.event_id,
            col(PlanRevisionRow.revision).in_({request.revision for request in cited}),
            col(PlanRevisionRow.tainted_at).is_(None),
        )
    ).scalars()
    for plan in plans:
        plan.tainted_at = now
        plan.taint_reason = f"{row.object_id}: run {row.run_key[:12]}: {row.taint_reason}"
