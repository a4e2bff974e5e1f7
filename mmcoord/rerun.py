"""A model on old events: one more run for every candidate that once earned a full inference.

The runs are asked for in the name of the house and behind everything else in the queue. Old
runs stay. Asking again finds the runs that are there, so that a repeat only shows how far they
are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord import runs
from mmcoord.config import InferSettings
from mmcoord.errors import BadInput, UnknownRecord
from mmcoord.inference.job import Job, run_key
from mmcoord.stages.keys import pair_key
from mmcoord.stages.question import job_of, load_pairs, question_of
from mmcoord.store.tables import EventRow, RunRow
from mmcoord.store.views_runs import state_told

__all__ = ["Rerun", "gather", "queue"]

_PRIORITY = -4.0
"""Below all that is asked for now; a day of waiting makes it equal."""
_NOT_COMING = (None, "superseded", "resting")


@dataclass(frozen=True, slots=True)
class Rerun:
    """What a re-run comes to."""

    jobs: Mapping[tuple[str, str], Job]
    """(event id, object id) -> job."""
    keys: Mapping[tuple[str, str], str]
    states: Mapping[str, str]
    """Run key -> state as people are told it, of the runs that are there."""
    expected_cpu_s: float
    """For those that are not there yet."""
    skipped: tuple[str, ...] = ()
    """Pairs that cannot be asked about any more, with the reason."""

    @property
    def new(self) -> list[tuple[str, str]]:
        """Pairs whose run is not there, was given up or rests: asked for, it wakes."""
        return [pair for pair, key in self.keys.items() if self.states.get(key) in _NOT_COMING]

    @property
    def counts(self) -> dict[str, int]:
        """State -> number of runs; ``new`` for those that are not there."""
        new = set(self.new)
        return dict(
            sorted(
                Counter(
                    "new" if pair in new else self.states[key] for pair, key in self.keys.items()
                ).items()
            )
        )


def gather(
    session: Session,
    settings: InferSettings,
    models: Sequence[str],
    events: Sequence[str] | None,
    since: datetime | None = None,
) -> Rerun:
    """What it would be to ask ``models`` about old events; nothing is written.

    Parameters
    ----------
    models : names as people write them (``nsbh``, ``name@3``)
    events : ids; None: all that have runs
    since : only events that happened then or later

    Raises
    ------
    UnknownRecord
        An event that is not known, or a model.
    BadModel
        A model that was not accepted.
    """
    question = question_of(session, models, settings.seed, settings.base_rate)
    wanted = _pairs_with_runs(session, events, since)
    pairs = load_pairs(session, {pair_key(*pair): pair for pair in wanted})
    jobs: dict[tuple[str, str], Job] = {}
    keys: dict[tuple[str, str], str] = {}
    skipped = []
    for pair in wanted:
        found = pairs.get(pair_key(*pair))
        if found is None:
            skipped.append(f"{pair[1]} for {pair[0]}: event not active, or not matched any more")
            continue
        try:
            job = job_of(found, question)
            keys[pair] = run_key(job)
        except BadInput as error:
            skipped.append(f"{pair[1]} for {pair[0]}: {error}")
            continue
        jobs[pair] = job
    states = _states(session, list(keys.values()))
    rerun = Rerun(jobs, keys, states, 0.0, tuple(skipped))
    cpu_s = len(rerun.new) * _typical_cpu_s(session, models)
    return Rerun(jobs, keys, states, cpu_s, tuple(skipped))


def queue(session: Session, rerun: Rerun, now: datetime) -> int:
    """Queue what is not there yet; returns how many runs that were."""
    for event_id, object_id in rerun.new:
        runs.submit(
            session,
            rerun.jobs[event_id, object_id],
            runs.Requester(runs.HOUSE, priority=_PRIORITY),
            now,
            event_id=event_id,
            object_id=object_id,
            cause_id="rerun",
        )
    return len(rerun.new)


def _pairs_with_runs(
    session: Session, events: Sequence[str] | None, since: datetime | None
) -> list[tuple[str, str]]:
    query = (
        select(col(RunRow.event_id), col(RunRow.object_id))
        .join(EventRow, col(EventRow.event_id) == col(RunRow.event_id))
        .where(col(RunRow.partition) == runs.PUBLIC, col(RunRow.object_id) != "")
        .distinct()
    )
    if events is not None:
        known = set(
            session.execute(
                select(col(EventRow.event_id)).where(col(EventRow.event_id).in_(events))
            ).scalars()
        )
        for name in events:
            if name not in known:
                raise UnknownRecord(f"event {name!r} is not known")
        query = query.where(col(RunRow.event_id).in_(events))
    if since is not None:
        query = query.where(col(EventRow.event_time) >= since)
    return sorted((event_id, object_id) for event_id, object_id in session.execute(query))


def _states(session: Session, keys: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for start in range(0, len(keys), 500):
        query = select(col(RunRow.run_key), state_told()).where(
            col(RunRow.run_key).in_(keys[start : start + 500])
        )
        found.update((key, state) for key, state in session.execute(query))
    return found


def _typical_cpu_s(session: Session, models: Sequence[str]) -> float:
    """What a run of these models took before; else what any run takes."""
    rows = session.execute(
        select(col(RunRow.cpu_s), col(RunRow.summary))
        .where(col(RunRow.cpu_s).is_not(None))
        .order_by(col(RunRow.finished_at).desc())
        .limit(200)
    ).all()
    asked = {name.partition("@")[0] for name in models}
    same = [
        cpu_s
        for cpu_s, summary in rows
        if {line["model"] for line in summary.get("comparison", ())} == asked
    ]
    return sum(same) / len(same) if same else runs.typical_cpu_s(session)
