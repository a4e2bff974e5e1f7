"""Execution of queued runs by an :class:`~mmcoord.stages.executor.Executor`.

Every run under way has a lease (:mod:`mmcoord.leases`) that a heartbeat keeps. Several engines
may work on one store, on one machine or on many, and workers over HTTPS beside them.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from mmcoord import leases
from mmcoord.announcements import RunStatus
from mmcoord.inference.job import Result
from mmcoord.stages import outcome
from mmcoord.stages.announce import announce
from mmcoord.stages.context import Context
from mmcoord.stages.executor import Executor, ExecutorAway
from mmcoord.stages.jobs import job_from_json
from mmcoord.store.tables import RunRow

__all__ = ["Execution"]

_log = logging.getLogger(__name__)
_BEATS = 4
"""Heartbeats within a lease."""


class Execution:
    """Starts queued runs and writes down what became of them.

    Its memory holds only the running futures.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._owner = leases.engine_owner()
        self._running: dict[str, Future[Result]] = {}
        self._closed = threading.Event()
        self._heart: threading.Thread | None = None

    @property
    def owner(self) -> str:
        """In whose name runs are leased."""
        return self._owner

    def recover(self, ctx: Context) -> None:
        """Queue again what an engine had in hand that is known to be dead.

        After a crash that is what the dead process was at; after a fault of the database, what
        could not be written down here. Such an attempt is not held against the run. What others
        have in hand, elsewhere, is theirs until their lease has expired.
        """
        with ctx.database.write() as session:
            rows = leases.orphans(session, self._owner, list(self._running))
            leases.give_back(session, rows, ctx.now(), "interrupted")

    @property
    def busy(self) -> bool:
        """Whether runs are under way."""
        return bool(self._running)

    def close(self) -> None:
        """Abandon what is running; it stays ``running`` in the store and is recovered."""
        self._closed.set()
        self._executor.close()
        self._running.clear()

    def dispatch(self, ctx: Context) -> int:
        """Take over what has expired, then start the best queued runs."""
        now = ctx.now()
        with ctx.database.read() as session:
            is_late = leases.is_late(session, now)
            is_waiting = is_late or leases.is_waiting(session)
        if is_late:
            with ctx.database.write() as session:
                outcome.take_over_expired(session, now, ctx.settings)
        free = self._executor.capacity - len(self._running) if is_waiting else 0
        if free <= 0:
            return 0
        with ctx.database.write() as session:
            rows = leases.take(session, self._owner, now, ctx.settings.infer.lease_s, free)
        for row in rows:
            future = self._submitted(row)
            self._running[row.run_key] = future
            future.add_done_callback(lambda _: ctx.wake())
        if rows:
            self._beat(ctx)
        return len(rows)

    def _submitted(self, row: RunRow) -> Future[Result]:
        """The run's future; a run that cannot even be started has failed in it."""
        try:
            return self._executor.submit(job_from_json(row.job), row.priority)
        except Exception as error:
            failed: Future[Result] = Future()
            failed.set_exception(error)
            return failed

    def collect(self, ctx: Context) -> int:
        """Write down what has ended; returns how many runs that were."""
        finished = [key for key, future in self._running.items() if future.done()]
        for key in finished:
            future = self._running[key]
            with ctx.database.write() as session:
                self._end(session, key, future, ctx)
            del self._running[key]  # only now: after a failed commit it is collected again
        return len(finished)

    def _end(self, session: Session, key: str, future: Future[Result], ctx: Context) -> None:
        now = ctx.now()
        row = leases.lock_run(session, key)
        assert row is not None
        error = future.exception()
        if isinstance(error, ExecutorAway):
            _log.warning("run %s: %s", key[:12], error)
            if leases.holds(row, self._owner):
                leases.give_back(session, [row], now, str(error))
        elif error is not None:
            outcome.fail(session, row, self._owner, error, now, ctx.settings)
        elif (result := future.result()).run_key != key:
            told = "OtherVersion: the worker has other models than this engine; update it"
            outcome.fail(session, row, self._owner, told, now, ctx.settings)
        else:
            cpu_s = float(result.summary.get("cpu_s", result.summary.get("wall_s", 0.0)))
            outcome.complete(
                session,
                row,
                self._owner,
                result,
                cpu_s,
                now,
                ctx.settings,
                lambda session, row: announce(ctx, session, row, RunStatus.DONE),
            )

    def _beat(self, ctx: Context) -> None:
        """Keep the heartbeat going, apart: a step of the other stages can last long."""
        if self._heart is None or not self._heart.is_alive():
            self._heart = threading.Thread(
                target=self._beats, args=(ctx,), name="leases", daemon=True
            )
            self._heart.start()

    def _beats(self, ctx: Context) -> None:
        lease_s = ctx.settings.infer.lease_s
        while not self._closed.wait(lease_s / _BEATS):
            keys = list(self._running)
            if not keys:
                continue
            try:
                with ctx.database.write() as session:
                    kept = leases.renew(session, self._owner, keys, ctx.now(), lease_s)
            except SQLAlchemyError as error:
                _log.warning("leases were not renewed: %s", error)
                continue
            for key in set(keys) - kept:
                if key in self._running:
                    _log.warning("run %s: the lease was taken over", key[:12])
