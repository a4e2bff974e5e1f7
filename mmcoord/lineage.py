"""What a run begins with: the newest finished run on older data of the same object.

Whoever asks first decides what a question's run begins with; the same question later is that
run, whatever has been found since. A private run begins with runs of its own partition alone: a
proposal tells of the data behind it as a posterior does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.inference.job import Job, family_key, question_key
from mmcoord.inference.start import Proposal, Start
from mmcoord.stages.jobs import proposal_from_json
from mmcoord.store.queue import insert_for
from mmcoord.store.tables import LineageRow, RunRow
from mmcoord.store.types import table

__all__ = ["asked_before", "enter", "keep", "usable_as_parent", "with_start"]

_lineage: Any = table(LineageRow)
_LIVING = ("queued", "running", "done")


def usable_as_parent() -> ColumnElement[bool]:
    """Whether a new run may begin with a run: the one place that says so."""
    return and_(
        col(RunRow.run_key) == col(LineageRow.run_key),
        col(RunRow.state) == "done",
        col(RunRow.tainted_at).is_(None),
    )


def asked_before(session: Session, job: Job) -> str | None:
    """The key of a run that answers, or will answer, the same question."""
    return session.execute(
        select(col(RunRow.run_key))
        .join(LineageRow, col(LineageRow.run_key) == col(RunRow.run_key))
        .where(
            col(LineageRow.question_key) == question_key(job),
            col(RunRow.state).in_(_LIVING),
        )
        .order_by(col(RunRow.created_at), col(RunRow.run_key))
        .limit(1)
    ).scalar()


def with_start(session: Session, job: Job, event_id: str, object_id: str) -> Job:
    """The job, beginning with the newest usable run of the same object if there is one."""
    if not event_id or job.sampler.backend != "smc-is":
        return job
    parents = session.execute(
        select(LineageRow)
        .join(RunRow, usable_as_parent())
        .where(
            col(RunRow.event_id) == event_id,
            col(RunRow.object_id) == object_id,
            col(RunRow.partition) == job.partition,
            col(LineageRow.family_key) == family_key(job),
        )
        .order_by(col(RunRow.finished_at).desc(), col(RunRow.run_key))
    ).scalars()
    for parent in parents:
        if parent.proposals:
            proposals = tuple(proposal_from_json(p) for p in parent.proposals)
            return replace(job, start=Start(parent.run_key, proposals))
    return job


def enter(session: Session, run_key: str, job: Job) -> None:
    """Write down which question a run answers, with the run itself."""
    values: dict[str, Any] = {
        "run_key": run_key,
        "question_key": question_key(job),
        "family_key": family_key(job),
        "proposals": [],
    }
    session.execute(insert_for(session, _lineage).values(**values).on_conflict_do_nothing())


def keep(session: Session, run_key: str, proposals: Sequence[Proposal]) -> None:
    """Keep what a run has found for the next to begin with."""
    row = session.get(LineageRow, run_key)
    if row is not None:
        row.proposals = [asdict(proposal) for proposal in proposals]
