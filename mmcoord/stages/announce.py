"""Public inferences are told to the sinks that announce them, through the same outbox as plans.

Told are runs of a candidate of an event that everybody may see. What is private is not, and
neither is a run on photometry that somebody brought, even if it is public: nothing ties it to the
sky. The delivery is written in the transaction that changes the run, once per (sink, run, status).

A public sink is told where its operator switched that on (``announces``) or a rule of the policy
sends; a rule that holds or forbids keeps a result back (nothing waits: the next run says more).
What was told is taken back wherever it was told.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from followup.sinks.base import Announces
from mmcoord.announcements import Announcement, RunStatus
from mmcoord.policy import Action, Facts, decide
from mmcoord.runs import PUBLIC
from mmcoord.stages.context import Context
from mmcoord.stages.outbox import page_url
from mmcoord.store.tables import (
    AlertRow,
    CandidateRow,
    DeadLetterRow,
    DeliveryRow,
    EventRow,
    LocalizationRow,
    RunRow,
)

__all__ = ["RESULT", "announce", "announcement_key"]

RESULT = "result"
"""``DeliveryRow.kind`` of these; plan revisions neither supersede nor withdraw them."""
_THE_DATA = frozenset({"photometry", "distance", "redshift", "ebv_mw", "t0_mjd_tai"})
"""Of a job: what changes as more is known. The rest is the question."""
_EARLIER = 20


def announcement_key(sink: str, run_key: str, status: RunStatus) -> str:
    """The idempotency key of a delivery."""
    return f"{RESULT}:{sink}:{run_key}:{status.value}"


def announce(ctx: Context, session: Session, row: RunRow, status: RunStatus) -> int:
    """Write what is to be said of a run that has just become ``status``; returns how often.

    Needs a write transaction: that of the change.
    """
    able = {name: sink for name, sink in sorted(ctx.sinks.items()) if isinstance(sink, Announces)}
    event = session.get(EventRow, row.event_id) if able and row.partition == PUBLIC else None
    candidate = session.get(CandidateRow, row.object_id) if event is not None else None
    if event is None or candidate is None:
        return 0
    sinks = {
        name: sink
        for name, sink in able.items()
        if _may_be_told(ctx, session, event, row, name, sink)
        or (
            status is not RunStatus.DONE
            and _is_written(session, announcement_key(name, row.run_key, RunStatus.DONE))
        )
    }
    if not sinks:
        return 0
    said = _announcement(ctx, session, event, candidate, row, status)
    written = [_add(ctx, session, name, sink, said, row.cause_id) for name, sink in sinks.items()]
    return sum(written)


def _may_be_told(
    ctx: Context, session: Session, event: EventRow, row: RunRow, name: str, sink: Announces
) -> bool:
    if event.is_practice or not getattr(sink, "is_public", True):
        return sink.announces
    alert = session.get(AlertRow, event.current_alert_id) if event.current_alert_id else None
    place = session.get(LocalizationRow, event.localization_id) if event.localization_id else None
    facts = Facts(
        messenger=event.messenger,
        alert_type=event.alert_type,
        significant=event.significant,
        classification=dict(alert.classification) if alert else {},
        far_hz=alert.far_hz if alert else None,
        area_90_deg2=place.area_90_deg2 if place else None,
        distance_mpc=place.distance_mpc if place else None,
        p_kilonova=row.summary.get("p_kilonova"),
    )
    verdict = decide(ctx.policy, facts, name, is_public=not sink.announces)
    return verdict.action is Action.SEND


def _is_written(session: Session, key: str) -> bool:
    query = select(DeliveryRow.id).where(col(DeliveryRow.key) == key)  # type: ignore[call-overload]
    return session.execute(query).first() is not None


def _announcement(
    ctx: Context,
    session: Session,
    event: EventRow,
    candidate: CandidateRow,
    row: RunRow,
    status: RunStatus,
) -> Announcement:
    house = page_url(ctx, event.event_id).removesuffix(f"/events/{event.event_id}")
    return Announcement(
        run_key=row.run_key,
        status=status,
        at=ctx.now(),
        event_id=event.event_id,
        event_aliases=tuple(event.aliases),
        messenger=event.messenger,
        event_time=event.event_time,
        is_practice=event.is_practice,
        object_id=row.object_id,
        ra_deg=candidate.ra_deg,
        dec_deg=candidate.dec_deg,
        summary=row.summary,
        supersedes=_superseded(session, row) if status is RunStatus.DONE else (),
        run_url=f"{house}/api/v1/runs/{row.run_key}",
    )


def _superseded(session: Session, row: RunRow) -> tuple[str, ...]:
    """Earlier answers to the same question about the same pair, the newest first."""
    earlier = session.execute(
        select(RunRow.run_key, RunRow.job)  # type: ignore[call-overload]
        .where(
            col(RunRow.event_id) == row.event_id,
            col(RunRow.object_id) == row.object_id,
            col(RunRow.partition) == PUBLIC,
            col(RunRow.state) == "done",
            col(RunRow.run_key) != row.run_key,
        )
        .order_by(col(RunRow.finished_at).desc())
        .limit(_EARLIER)
    )
    asked = _question(row.job)
    return tuple(key for key, job in earlier if _question(job) == asked)


def _question(job: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in job.items() if key not in _THE_DATA}


def _add(
    ctx: Context, session: Session, name: str, sink: Announces, said: Announcement, cause_id: str
) -> bool:
    key = announcement_key(name, said.run_key, said.status)
    if _is_written(session, key):
        return False
    now = ctx.now()
    state, detail = "pending", ""
    payload: dict[str, Any] = {}
    try:
        payload = sink.announcement(said)
    except Exception as error:
        # A fault of one sink must not keep the run from being done.
        state, detail = "failed", f"no payload: {type(error).__name__}: {error}"
        session.add(
            DeadLetterRow(
                stage="deliver", reason=f"{key} to {name}: {detail}", at=now, cause_id=cause_id
            )
        )
    session.add(
        DeliveryRow(
            key=key,
            kind=RESULT,
            sink=name,
            event_id=said.event_id,
            plan_revision=0,
            target=said.object_id,
            is_practice=said.is_practice,
            payload=payload,
            state=state,
            detail=detail,
            created_at=now,
            next_attempt_at=now,
            cause_id=cause_id,
        )
    )
    return True
