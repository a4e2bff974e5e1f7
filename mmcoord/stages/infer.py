"""Infer: each (event, object, data set) once, whoever asks and however often.

A wish is answered by a quick screen; what survives it becomes a ``run`` row whose key is a
hash of every input. An equal request finds the row and joins it. Queued runs are executed
by :class:`~mmcoord.stages.execution.Execution`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord import resting, runs
from mmcoord.inference.job import Job, detected_before
from mmcoord.inference.job import select as select_points
from mmcoord.inference.screening import ScreenResult, screen_many
from mmcoord.stages.context import Context
from mmcoord.stages.execution import Execution
from mmcoord.stages.executor import Executor
from mmcoord.stages.isolate import bury_work, isolating
from mmcoord.stages.keys import pair_key, split_pair_key
from mmcoord.stages.question import (
    Pair,
    Question,
    configured,
    job_of,
    load_pairs,
    screen_request,
)
from mmcoord.store import journal, queue
from mmcoord.store.ingest import point_key
from mmcoord.store.queue import Wish, Work
from mmcoord.store.tables import ScreeningRow
from mmcoord.store.types import table
from mmcoord.taint import pairs_with_runs, taint_seen_before

__all__ = ["InferStage", "Verdict", "decide"]

_STAGE = "infer"
_BATCH = 200
_KEPT = 0.1
"""Of the threshold counts for what has passed before."""
_screening: Any = table(ScreeningRow)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the screen leads to; ``job`` is None when a full inference is not worth it."""

    reason: str
    p_kilonova: float
    detected_before_event: bool | None
    job: Job | None


def decide(pair: Pair, screened: ScreenResult, *, threshold: float, question: Question) -> Verdict:
    """From a screen to a job, or not. Pure."""
    points = select_points(pair.photometry, pair.t0_mjd_tai)
    early = detected_before(pair.photometry, pair.t0_mjd_tai) if pair.photometry else None
    seen_before = None if not pair.photometry else early is not None
    if screened.p_kilonova < threshold or not any(not p.is_limit for p in points):
        return Verdict(screened.reason, screened.p_kilonova, seen_before, None)
    return Verdict(screened.reason, screened.p_kilonova, seen_before, job_of(pair, question))


class InferStage:
    """Screens, queues and supervises runs."""

    def __init__(self, executor: Executor) -> None:
        self._execution = Execution(executor)

    def recover(self, ctx: Context) -> None:
        """See :meth:`Execution.recover`."""
        self._execution.recover(ctx)

    def run(self, ctx: Context) -> int:
        """Collect what is done, serve wishes, start what fits; returns how much moved."""
        return self._execution.collect(ctx) + _serve(ctx) + self._execution.dispatch(ctx)

    @property
    def busy(self) -> bool:
        """Whether runs are under way."""
        return self._execution.busy

    def close(self) -> None:
        """See :meth:`Execution.close`."""
        self._execution.close()


# -- wishes ------------------------------------------------------------------------------


def _serve(ctx: Context) -> int:
    with ctx.database.read() as session:
        works = queue.take(session, _STAGE, ctx.now(), _BATCH)
    isolating(
        works,
        lambda some: _serve_some(ctx, some),
        lambda work, reason: bury_work(ctx, work, reason),
    )
    return len(works)


def _serve_some(ctx: Context, works: Sequence[Work]) -> None:
    now = ctx.now()
    settings = ctx.settings.infer
    with ctx.database.read() as session:
        pairs = load_pairs(session, {work.key: split_pair_key(work.key) for work in works})
        question = configured(session, settings)
        passed = _passed_before(session, pairs)
    screened = screen_many(
        (
            screen_request(pair.candidate, pair.match, pair.photometry, pair.t0_mjd_tai)
            for pair in pairs.values()
        ),
        question.class_priors,
    )
    verdicts = {
        key: decide(
            pair,
            result,
            threshold=settings.screen_threshold * (_KEPT if key in passed else 1.0),
            question=question,
        )
        for (key, pair), result in zip(pairs.items(), screened, strict=True)
    }
    with ctx.database.write() as session:
        causes = {work.key: work.cause_id for work in works}
        run_keys = {
            key: _request_run(session, pairs[key], verdict, causes[key], now)
            for key, verdict in verdicts.items()
            if verdict.job is not None
        }
        early = {key: pairs[key] for key, v in verdicts.items() if v.detected_before_event}
        having = pairs_with_runs(session, {pair.candidate.object_id for pair in early.values()})
        for key, pair in early.items():
            if (pair.event.event_id, pair.candidate.object_id) in having:
                _taint_unaware(session, pair, causes[key], now)
        _store_screenings(session, pairs, verdicts, run_keys, causes, now)
        events = {pair.event.event_id: causes[key] for key, pair in pairs.items()}
        queue.enqueue(
            session,
            [
                Wish("plan", event_id, cause, delay_s=ctx.settings.plan.debounce_s)
                for event_id, cause in events.items()
            ],
            now,
        )
        queue.finish(session, works)
        journal.write(session, _screen_entries(pairs, verdicts, works, ctx.now()), ctx.now())
        resting.weigh(session, events, settings.screen_threshold, now)


def _passed_before(session: Session, pairs: Mapping[str, Pair]) -> set[str]:
    """Keys of the pairs that were worth an inference when they were last looked at."""
    events = {pair.event.event_id for pair in pairs.values()}
    objects = {pair.candidate.object_id for pair in pairs.values()}
    rows = session.execute(
        select(col(ScreeningRow.event_id), col(ScreeningRow.object_id)).where(
            col(ScreeningRow.event_id).in_(events),
            col(ScreeningRow.object_id).in_(objects),
            col(ScreeningRow.run_key).is_not(None),
        )
    )
    return {pair_key(event_id, object_id) for event_id, object_id in rows}


def _request_run(
    session: Session, pair: Pair, verdict: Verdict, cause_id: str, now: datetime
) -> str:
    """The key of the run that answers, or will answer."""
    assert verdict.job is not None
    event_id, object_id = pair.event.event_id, pair.candidate.object_id
    worth = verdict.p_kilonova * (1.0 - pair.match.credible_level_2d)
    asked = runs.submit(
        session,
        verdict.job,
        runs.Requester(runs.HOUSE, priority=worth, may_rest=True),
        now,
        event_id=event_id,
        object_id=object_id,
        cause_id=cause_id,
    )
    if asked.how == "executed":
        runs.supersede(session, event_id, object_id, asked.run_key, now)
    return asked.run_key


def _taint_unaware(session: Session, pair: Pair, cause_id: str, now: datetime) -> None:
    """Earlier runs of a source that was there before the event, which they did not know. The
    wishes to look again are not needed: the pair has just been looked at."""
    early = detected_before(pair.photometry, pair.t0_mjd_tai)
    assert early is not None
    taint_seen_before(
        session,
        pair.event.event_id,
        pair.candidate.object_id,
        f"point {point_key(early)} of {early.object_id}",
        f"detected {pair.t0_mjd_tai - early.obs_mjd_tai:.2f} d before the event",
        cause_id,
        now,
    )


def _store_screenings(
    session: Session,
    pairs: Mapping[str, Pair],
    verdicts: Mapping[str, Verdict],
    run_keys: Mapping[str, str],
    causes: Mapping[str, str],
    now: datetime,
) -> None:
    rows = [
        {
            "event_id": pair.event.event_id,
            "object_id": pair.candidate.object_id,
            "p_kilonova": verdicts[key].p_kilonova,
            "reason": verdicts[key].reason,
            "detected_before_event": verdicts[key].detected_before_event,
            "n_points": len(pair.photometry),
            "run_key": run_keys.get(key),
            "screened_at": now,
            "cause_id": causes[key],
        }
        for key, pair in pairs.items()
    ]
    if not rows:
        return
    statement = queue.insert_for(session, _screening).values(rows)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["event_id", "object_id"],
            set_={n: statement.excluded[n] for n in rows[0] if n not in ("event_id", "object_id")},
        )
    )


def _screen_entries(
    pairs: Mapping[str, Pair],
    verdicts: Mapping[str, Verdict],
    works: Sequence[Work],
    now: datetime,
) -> list[journal.Entry]:
    looked: dict[str, int] = defaultdict(int)
    kept: dict[str, int] = defaultdict(int)
    for key, pair in pairs.items():
        looked[pair.event.event_id] += 1
        kept[pair.event.event_id] += verdicts[key].job is not None
    waited = max((now - work.enqueued_at).total_seconds() for work in works)
    return [
        journal.Entry(
            "screen",
            "screened",
            f"{number} candidates screened, {kept[event_id]} worth a full inference",
            works[0].cause_id,
            event_id=event_id,
            latency_s=max(waited, 0.0),
        )
        for event_id, number in sorted(looked.items())
    ]
