"""What becomes of a run when it ends: its result, its cost and what follows, in one transaction.

Whoever ran it (an engine's executor, a worker over HTTPS) ends here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from sqlalchemy.orm import Session

from mmcoord import leases, lineage, resting, runs
from mmcoord.config import Settings
from mmcoord.errors import BadInput, ConfigError
from mmcoord.inference.job import Result
from mmcoord.store import journal, queue
from mmcoord.store.queue import Wish
from mmcoord.store.tables import DeadLetterRow, RunRow

__all__ = ["complete", "fail", "take_over_expired"]

_log = logging.getLogger(__name__)
_STAGE = "infer"


def complete(
    session: Session,
    row: RunRow,
    owner: str,
    result: Result,
    cpu_s: float,
    now: datetime,
    settings: Settings,
    tell: Callable[[Session, RunRow], object] = lambda session, row: None,
) -> bool:
    """Write a result down and charge for it, if it is the first; returns whether it was.

    ``row`` is locked (:func:`mmcoord.leases.lock_run`). The owner may have lost its lease in
    the meantime: the result is the same whoever brings it. ``tell`` writes, in the same
    transaction, what others are to be told of a run that is about something public.
    """
    if row.state not in ("queued", "running"):
        leases.end_attempt(session, row.run_key, owner, now, "late")
        return False
    if row.lease_owner not in (None, owner):
        leases.end_attempt(session, row.run_key, row.lease_owner, now, "late")
    attempt = leases.attempt_of(session, row.run_key, owner)
    if attempt is not None:  # ended, perhaps, when nothing was heard of it
        attempt.ended_at, attempt.outcome = now, "done"
    row.state, row.resting = "done", False
    row.finished_at = now
    row.lease_owner = row.lease_until = None
    row.error = None
    row.summary = {**result.summary, "cpu_s": round(cpu_s, 3)}
    row.light_curve = dict(result.light_curve)
    row.samples = result.samples
    lineage.keep(session, row.run_key, result.proposals)
    runs.settle(session, row, cpu_s)
    if not row.event_id:  # asked for over the API, and linked to nothing that is public
        return True
    tell(session, row)
    queue.enqueue(
        session,
        [Wish("plan", row.event_id, row.cause_id, queue.URGENT, settings.plan.debounce_s)],
        now,
    )
    latency_s = (now - row.created_at).total_seconds()
    _write(session, row, "inferred", _say(row), now, latency_s)
    resting.weigh(session, {row.event_id: row.cause_id}, settings.infer.screen_threshold, now)
    return True


def fail(
    session: Session,
    row: RunRow,
    owner: str,
    error: BaseException | str,
    now: datetime,
    settings: Settings,
) -> None:
    """End an attempt that gave no result; ``row`` is locked.

    A refusal of the data is final; a lost worker is tried again a few times. The failure of an
    owner that has lost its lease says nothing any more.
    """
    told = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    told = told.replace("\0", "")[:2000]
    leases.end_attempt(session, row.run_key, owner, now, told)
    if not leases.holds(row, owner):
        return
    row.error = told
    row.lease_owner = row.lease_until = None
    permanent = isinstance(error, BadInput | ConfigError)
    if not permanent and row.attempts < settings.infer.max_attempts:
        row.state = "queued"
        _log.warning("run %s: attempt %d: %s", row.run_key[:12], row.attempts, told)
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
    _write(session, row, "failed", f"{row.object_id}: inference failed: {row.error}", now)


def take_over_expired(session: Session, now: datetime, settings: Settings) -> int:
    """End the attempts whose lease has passed; the runs go back into the queue, or have failed
    if that has happened too often. Returns how many there were.
    """
    rows = leases.expired(session, now)
    for row in rows:
        owner = row.lease_owner or ""
        fail(session, row, owner, f"LeaseExpired: nothing was heard of {owner}", now, settings)
    return len(rows)


def _write(
    session: Session,
    row: RunRow,
    what: str,
    text: str,
    now: datetime,
    latency_s: float | None = None,
) -> None:
    journal.write(
        session,
        [
            journal.Entry(
                _STAGE,
                what,
                text,
                row.cause_id,
                event_id=row.event_id,
                object_id=row.object_id,
                latency_s=latency_s,
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
