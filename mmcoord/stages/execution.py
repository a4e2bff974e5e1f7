"""Execution of queued runs by an :class:`~mmcoord.stages.executor.Executor`.

A run that a crash interrupted is found ``running`` at the next start and queued again.
"""

from __future__ import annotations

import logging
import uuid
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from datetime import timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord import runs
from mmcoord.announcements import RunStatus
from mmcoord.errors import BadInput, ConfigError
from mmcoord.inference.job import Result
from mmcoord.stages.announce import announce
from mmcoord.stages.context import Context
from mmcoord.stages.executor import Executor
from mmcoord.stages.jobs import job_from_json
from mmcoord.store import journal, queue
from mmcoord.store.queue import Wish
from mmcoord.store.tables import DeadLetterRow, RunRow
from mmcoord.store.types import table

__all__ = ["Execution"]

_log = logging.getLogger(__name__)
_STAGE = "infer"
_run: Any = table(RunRow)


class Execution:
    """Starts queued runs and writes down what became of them.

    Its memory holds only the running futures.
    """

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

    @property
    def busy(self) -> bool:
        """Whether runs are under way."""
        return bool(self._running)

    def close(self) -> None:
        """Abandon what is running; it stays ``running`` in the store and is recovered."""
        self._executor.close()
        self._running.clear()

    def dispatch(self, ctx: Context) -> int:
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

    def collect(self, ctx: Context) -> int:
        """Write down what has ended; returns how many runs that were."""
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
    announce(ctx, session, row, RunStatus.DONE)
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
