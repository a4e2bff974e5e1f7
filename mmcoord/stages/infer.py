"""Infer: each (event, object, data set) once, whoever asks and however often.

A wish is answered by a quick screen; what survives it becomes a ``run`` row whose key is a
hash of every input. An equal request finds the row and joins it. Runs are executed by an
:class:`~mmcoord.stages.executor.Executor`; a run that a crash interrupted is found
``running`` at the next start and queued again.
"""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord import runs, usermodels
from mmcoord.config import InferSettings
from mmcoord.errors import BadInput, ConfigError, UnknownRecord
from mmcoord.inference.job import (
    DistancePrior,
    Job,
    Result,
    detected_before,
    run_key,
)
from mmcoord.inference.job import (
    select as select_points,
)
from mmcoord.inference.models.base import Parameter
from mmcoord.inference.models.informed import alert_priors, within_reach
from mmcoord.inference.screening import ScreenRequest, ScreenResult, screen_many
from mmcoord.inference.source import UserSource
from mmcoord.records import EventState, Photometry
from mmcoord.stages.context import Context
from mmcoord.stages.executor import Executor
from mmcoord.stages.isolate import bury_work, isolating
from mmcoord.stages.jobs import job_from_json
from mmcoord.stages.keys import split_pair_key
from mmcoord.stages.known import fill_redshifts
from mmcoord.store import journal, queue
from mmcoord.store.queue import Wish, Work
from mmcoord.store.reading import photometry_of
from mmcoord.store.tables import (
    AlertRow,
    CandidateRow,
    DeadLetterRow,
    EventRow,
    MatchRow,
    RunRow,
    ScreeningRow,
)
from mmcoord.store.types import table
from mmcoord.timescales import mjd_tai

__all__ = [
    "InferStage",
    "Pair",
    "Question",
    "Verdict",
    "decide",
    "job_of",
    "pair_job",
    "question_of",
]

_log = logging.getLogger(__name__)
_STAGE = "infer"
_BATCH = 200
_run: Any = table(RunRow)
_screening: Any = table(ScreeningRow)


@dataclass(frozen=True, slots=True)
class Pair:
    """A candidate as a possible counterpart, with what is needed to judge it."""

    event: EventRow
    match: MatchRow
    candidate: CandidateRow
    photometry: tuple[Photometry, ...]
    alert_extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the event's current alert that no column holds (``mchirp_source``)."""

    @property
    def t0_mjd_tai(self) -> float:
        assert self.event.event_time is not None
        return mjd_tai(self.event.event_time)


@dataclass(frozen=True, slots=True)
class Question:
    """Which models are asked, beside what a pair itself says."""

    models: tuple[str, ...] = ("all",)
    seed: int = 1
    user_models: tuple[UserSource, ...] = ()
    """Models from others that ``models`` names."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the screen leads to; ``job`` is None when a full inference is not worth it."""

    reason: str
    p_kilonova: float
    detected_before_event: bool | None
    job: Job | None
    key: str | None


def decide(pair: Pair, screened: ScreenResult, *, threshold: float, question: Question) -> Verdict:
    """From a screen to a job, or not. Pure."""
    points = select_points(pair.photometry, pair.t0_mjd_tai)
    early = detected_before(pair.photometry, pair.t0_mjd_tai) if pair.photometry else None
    seen_before = None if not pair.photometry else early is not None
    if screened.p_kilonova < threshold or not any(not p.is_limit for p in points):
        return Verdict(screened.reason, screened.p_kilonova, seen_before, None, None)
    job = job_of(pair, question)
    return Verdict(screened.reason, screened.p_kilonova, seen_before, job, run_key(job))


def job_of(pair: Pair, question: Question) -> Job:
    """The question that a pair puts."""
    priors = _priors(pair, question.models)
    return Job(
        photometry=select_points(pair.photometry, pair.t0_mjd_tai),
        t0_mjd_tai=pair.t0_mjd_tai,
        distance=distance_prior(pair),
        redshift=pair.candidate.redshift,
        ebv_mw=pair.candidate.ebv_mw,
        models=within_reach(question.models, priors),
        seed=question.seed,
        priors=priors,
        user_models=question.user_models,
    )


def question_of(session: Session, models: Sequence[str], seed: int) -> Question:
    """Models by the names that people write (``all``, ``villar17_2``, ``name@3``).

    Raises
    ------
    BadModel, UnknownRecord
        A model from others that is not there, or not accepted.
    """
    names, sources = usermodels.asked(session, models)
    return Question(names, seed, sources)


def _configured(session: Session, settings: InferSettings) -> Question:
    """What the configuration asks for. A model that was withdrawn since must not stop the
    stage: then all of ours are asked, and the log says so."""
    try:
        return question_of(session, settings.models.split(","), settings.seed)
    except (BadInput, UnknownRecord) as error:
        _log.error("infer.models: %s; all installed models are used", error)
        return Question(seed=settings.seed)


def pair_job(session: Session, event_id: str, object_id: str, question: Question) -> Job:
    """The job of a stored pair, as the stage itself would ask it.

    Raises
    ------
    UnknownRecord
        No such pair: the event is not active, or the candidate is not matched to its map.
    """
    pair = _pairs(session, {"asked": (event_id, object_id)}).get("asked")
    if pair is None:
        raise UnknownRecord(f"{object_id!r} is not matched to an active event {event_id!r}")
    return job_of(pair, question)


def _priors(pair: Pair, models: tuple[str, ...]) -> tuple[Parameter, ...]:
    """What the alert says of the binary; an alert that says it wrongly says nothing."""
    try:
        return alert_priors(pair.alert_extra, models)
    except BadInput as error:
        _log.warning("event %s: %s", pair.event.event_id, error)
        return ()


def distance_prior(pair: Pair) -> DistancePrior:
    """A redshift of its own before the map's line of sight before nothing."""
    redshift = pair.candidate.redshift
    if redshift is not None and redshift > 0:
        return DistancePrior.from_redshift(redshift, pair.candidate.redshift_err)
    mean, std = pair.match.distance_mean_mpc, pair.match.distance_std_mpc
    if mean is not None and std is not None and mean > 0 and std > 0:
        return DistancePrior("gaussian", mean, std)
    return DistancePrior.unknown()


class InferStage:
    """Screens, queues and supervises runs. Its memory holds only the running futures."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._owner = uuid.uuid4().hex
        self._running: dict[str, tuple[tuple[str, str], Future[Result]]] = {}
        """Run key -> (event id, object id) and the future."""
        self._alone = False
        """One job at a time, since a worker has died."""

    def recover(self, ctx: Context) -> None:
        """Queue again what is called running and is not under way here.

        After a crash that is what the dead process had in hand (needs the pipeline lock);
        after a fault of the database, what could not be written down. The interrupted
        attempt is not held against the run.
        """
        with ctx.database.write() as session:
            session.execute(
                update(_run)
                .where(_run.c.state == "running", _run.c.run_key.not_in(list(self._running)))
                .values(
                    state="queued",
                    attempts=_run.c.attempts - 1,
                    lease_owner=None,
                    lease_until=None,
                )
            )

    def run(self, ctx: Context) -> int:
        """Collect what is done, serve wishes, start what fits; returns how much moved."""
        return self._collect(ctx) + _serve(ctx) + self._dispatch(ctx)

    @property
    def busy(self) -> bool:
        """Whether runs are under way."""
        return bool(self._running)

    def close(self) -> None:
        """Abandon what is running; it stays ``running`` in the store and is recovered."""
        self._executor.close()
        self._running.clear()

    # -- execution ---------------------------------------------------------------------

    def _dispatch(self, ctx: Context) -> int:
        """Start the best queued runs, one at a time for each candidate.

        While a candidate's run is under way its newer data wait (and replace one another in
        the queue), so that a fast light curve cannot occupy every worker with stale data.
        """
        free = (1 if self._alone else self._executor.capacity) - len(self._running)
        if free <= 0:
            return 0
        with ctx.database.read() as session:
            if session.execute(_queued().limit(1)).first() is None:
                return 0
        now = ctx.now()
        busy = {pair for pair, _ in self._running.values()}
        rows: list[RunRow] = []
        with ctx.database.write() as session:
            for row in session.execute(_queued()).scalars():
                pair = _pair_of(row)
                if len(rows) == free:
                    break
                if pair in busy:
                    continue
                busy.add(pair)
                row.state = "running"
                row.attempts += 1
                row.started_at = now
                row.lease_owner = self._owner
                row.lease_until = now + timedelta(seconds=ctx.settings.infer.lease_s)
                rows.append(row)
        for row in rows:
            self._running[row.run_key] = (_pair_of(row), self._submitted(row))
        return len(rows)

    def _submitted(self, row: RunRow) -> Future[Result]:
        """The run's future; a run that cannot even be started has failed in it."""
        try:
            return self._executor.submit(job_from_json(row.job))
        except Exception as error:
            failed: Future[Result] = Future()
            failed.set_exception(error)
            return failed

    def _collect(self, ctx: Context) -> int:
        finished = [key for key, (_, future) in self._running.items() if future.done()]
        was_alone = self._alone
        for key in finished:
            _, future = self._running[key]
            error = future.exception()
            broken = isinstance(error, BrokenProcessPool)
            with ctx.database.write() as session:
                row = session.get(RunRow, key)
                assert row is not None
                if error is None:
                    _complete(session, row, future.result(), ctx)
                elif broken and not was_alone:
                    # A dying worker takes all others with it, and nobody knows yet whose
                    # fault it was: they are run again one by one, and only then it counts.
                    row.state = "queued"
                    row.attempts -= 1
                else:
                    _fail(session, row, error, ctx)
            del self._running[key]  # only now: after a failed commit it is collected again
            self._alone = broken
        return len(finished)


def _pair_of(row: RunRow) -> tuple[str, str]:
    """What no two runs at a time may be about; a run about nothing public is its own."""
    return (row.event_id, row.object_id) if row.event_id else ("", row.run_key)


def _queued() -> Any:
    return (
        select(RunRow)
        .where(col(RunRow.state) == "queued")
        .order_by(col(RunRow.priority).desc(), col(RunRow.run_key))
    )


def _complete(session: Session, row: RunRow, result: Result, ctx: Context) -> None:
    now = ctx.now()
    row.state = "done"
    row.finished_at = now
    row.lease_owner = row.lease_until = None
    row.summary = result.summary
    row.light_curve = dict(result.light_curve)
    row.samples = result.samples
    runs.settle(session, row, result.summary.get("cpu_s", result.summary.get("wall_s")))
    if not row.event_id:  # asked for over the API, and linked to nothing that is public
        return
    queue.enqueue(
        session,
        [Wish("plan", row.event_id, row.cause_id, delay_s=ctx.settings.plan.debounce_s)],
        now,
    )
    journal.write(
        session,
        [
            journal.Entry(
                _STAGE,
                "inferred",
                _say(row),
                row.cause_id,
                event_id=row.event_id,
                object_id=row.object_id,
                latency_s=(now - row.created_at).total_seconds(),
            )
        ],
        now,
    )


def _say(row: RunRow) -> str:
    p = row.summary.get("p_kilonova")
    mass = row.summary.get("derived", {}).get("ejecta_mass_total_msun", {}).get("median")
    parts = [
        f"P(kilonova) {p:.3g}" if p is not None else "no class comparison",
        f"ejecta {mass:.3f} Msun" if mass is not None else "",
        f"model {row.summary.get('model')}",
        "converged" if row.summary.get("converged") else "not converged",
    ]
    return f"{row.object_id}: " + ", ".join(part for part in parts if part)


def _fail(session: Session, row: RunRow, error: BaseException, ctx: Context) -> None:
    """A refusal of the data is final; a lost worker is tried again a few times."""
    now = ctx.now()
    row.error = f"{type(error).__name__}: {error}"
    row.lease_owner = row.lease_until = None
    permanent = isinstance(error, BadInput | ConfigError)
    if not permanent and row.attempts < ctx.settings.infer.max_attempts:
        row.state = "queued"
        _log.warning("run %s: attempt %d: %s", row.run_key[:12], row.attempts, row.error)
        return
    row.state = "failed"
    row.finished_at = now
    runs.settle(session, row, None)
    if not row.event_id:
        return
    session.add(
        DeadLetterRow(
            stage=_STAGE,
            reason=f"inference of {row.object_id} for {row.event_id}: {row.error}",
            at=now,
            cause_id=row.cause_id,
        )
    )
    journal.write(
        session,
        [
            journal.Entry(
                _STAGE,
                "failed",
                f"{row.object_id}: inference failed: {row.error}",
                row.cause_id,
                event_id=row.event_id,
                object_id=row.object_id,
            )
        ],
        now,
    )


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
        pairs = _pairs(session, {work.key: split_pair_key(work.key) for work in works})
        question = _configured(session, settings)
    screened = screen_many(
        ScreenRequest(
            pair.photometry,
            pair.t0_mjd_tai,
            pair.match.distance_mean_mpc,
            pair.match.distance_std_mpc,
        )
        for pair in pairs.values()
    )
    verdicts = {
        key: decide(
            pair,
            result,
            threshold=settings.screen_threshold,
            question=question,
        )
        for (key, pair), result in zip(pairs.items(), screened, strict=True)
    }
    with ctx.database.write() as session:
        causes = {work.key: work.cause_id for work in works}
        for key, verdict in verdicts.items():
            if verdict.job is not None:
                _request_run(session, pairs[key], verdict, causes[key], now)
        _store_screenings(session, pairs, verdicts, causes, now)
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


def _pairs(session: Session, wanted: Mapping[str, tuple[str, str]]) -> dict[str, Pair]:
    """Of key -> (event id, object id) the pairs that still exist: event active and timed,
    candidate matched to its map."""
    events = {
        event.event_id: event
        for event in session.execute(
            select(EventRow).where(
                col(EventRow.event_id).in_({event_id for event_id, _ in wanted.values()}),
                col(EventRow.state) == EventState.ACTIVE.value,
                col(EventRow.event_time).is_not(None),
            )
        ).scalars()
    }
    objects = {object_id for _, object_id in wanted.values()}
    candidates = {
        row.object_id: row
        for row in session.execute(
            select(CandidateRow).where(col(CandidateRow.object_id).in_(objects))
        ).scalars()
    }
    fill_redshifts(session, list(candidates.values()))
    matches = {
        (row.event_id, row.localization_id, row.object_id): row
        for row in session.execute(
            select(MatchRow).where(col(MatchRow.object_id).in_(objects))
        ).scalars()
    }
    photometry = photometry_of(session, objects)
    extras = {
        row.id: row.extra
        for row in session.execute(
            select(col(AlertRow.id), col(AlertRow.extra)).where(
                col(AlertRow.id).in_({e.current_alert_id or 0 for e in events.values()})
            )
        )
    }
    pairs = {}
    for key, (event_id, object_id) in wanted.items():
        event, candidate = events.get(event_id), candidates.get(object_id)
        if event is None or candidate is None:
            continue
        match = matches.get((event_id, event.localization_id or "", object_id))
        if match is not None:
            extra = extras.get(event.current_alert_id or 0, {})
            pairs[key] = Pair(event, match, candidate, photometry.get(object_id, ()), extra)
    return pairs


def _request_run(
    session: Session, pair: Pair, verdict: Verdict, cause_id: str, now: datetime
) -> None:
    assert verdict.job is not None
    event_id, object_id = pair.event.event_id, pair.candidate.object_id
    worth = verdict.p_kilonova * (1.0 - pair.match.credible_level_2d)
    asked = runs.submit(
        session,
        verdict.job,
        runs.Requester(runs.HOUSE, priority=worth),
        now,
        event_id=event_id,
        object_id=object_id,
        cause_id=cause_id,
    )
    if asked.how == "executed":
        runs.supersede(session, event_id, object_id, asked.run_key, now)


def _store_screenings(
    session: Session,
    pairs: Mapping[str, Pair],
    verdicts: Mapping[str, Verdict],
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
            "run_key": verdicts[key].key,
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
