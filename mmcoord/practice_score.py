"""How a practised event went: was the source found, how soon, at what cost."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.store import finding
from mmcoord.store.reading import newest_plan
from mmcoord.store.tables import (
    DeliveryRow,
    DetectionRow,
    EventRow,
    MatchRow,
    PlanRevisionRow,
    RequestRow,
    RunRow,
)
from mmcoord.timescales import mjd_tai

__all__ = ["event_score"]

_FIRST = 3
"""A source among so many first targets is found: a telescope would look at it tonight."""


def event_score(session: Session, event_id: str, counterpart_id: str | None) -> dict[str, Any]:
    """The score of one event, against the truth.

    ``found``: the source is among the three first targets of the newest plan; null where
    there is none to find. ``found_after_s``: wall time from the receipt of its first detection
    after the event until a plan had it there. ``false_starts``: full inferences of others.
    ``information_bits``: what the plan expects of observing it, where the plan says so.
    """
    event = session.get(EventRow, event_id)
    if event is None:
        return {"event": event_id, "state": None, "found": False if counterpart_id else None}
    plan = newest_plan(session, event_id)
    row = _row(session, event_id, plan.revision if plan else 0, counterpart_id)
    runs = dict(
        session.execute(
            select(col(RunRow.object_id) == counterpart_id, func.count())
            .where(col(RunRow.event_id) == event_id, col(RunRow.state).in_(("done", "failed")))
            .group_by(col(RunRow.object_id) == counterpart_id)
        ).all()
    )
    information = (row.row.get("factors") or {}).get("information_bits") if row else None
    return {
        "event": event_id,
        "state": event.state,
        "significant": event.significant,
        "is_practice": event.is_practice,
        "counterpart": counterpart_id,
        "matched": _matched(session, event, counterpart_id),
        "found": None if counterpart_id is None else row is not None and row.rank <= _FIRST,
        "rank": row.rank if row else None,
        "targets": plan.n_targets if plan else 0,
        "found_after_s": _found_after_s(session, event, counterpart_id),
        "inferences_of_it": runs.get(True, 0),
        "false_starts": runs.get(False, 0),
        "information_bits": information,
        "linked": [line.event_id for line in finding.linked(session, event_id)],
        "deliveries": _deliveries(session, event_id),
    }


def _row(
    session: Session, event_id: str, revision: int, object_id: str | None
) -> RequestRow | None:
    return session.execute(
        select(RequestRow).where(
            col(RequestRow.event_id) == event_id,
            col(RequestRow.revision) == revision,
            col(RequestRow.object_id) == object_id,
        )
    ).scalar_one_or_none()


def _matched(session: Session, event: EventRow, object_id: str | None) -> bool | None:
    """Whether the source lies in the newest map, as far as matches are kept."""
    if object_id is None:
        return None
    found = session.execute(
        select(func.count())
        .select_from(MatchRow)
        .where(
            col(MatchRow.event_id) == event.event_id,
            col(MatchRow.localization_id) == event.localization_id,
            col(MatchRow.object_id) == object_id,
        )
    )
    return bool(found.scalar_one())


def _found_after_s(session: Session, event: EventRow, object_id: str | None) -> float | None:
    if event.event_time is None or object_id is None:
        return None
    received: datetime | None = session.execute(
        select(func.min(col(DetectionRow.received_at))).where(
            col(DetectionRow.object_id) == object_id,
            col(DetectionRow.is_limit).is_(False),
            col(DetectionRow.obs_mjd_tai) > mjd_tai(event.event_time),
        )
    ).scalar_one()
    found: datetime | None = session.execute(
        select(func.min(col(PlanRevisionRow.created_at)))
        .join(
            RequestRow,
            (col(RequestRow.event_id) == col(PlanRevisionRow.event_id))
            & (col(RequestRow.revision) == col(PlanRevisionRow.revision)),
        )
        .where(
            col(PlanRevisionRow.event_id) == event.event_id,
            col(RequestRow.object_id) == object_id,
            col(RequestRow.rank) <= _FIRST,
        )
    ).scalar_one()
    if received is None or found is None:
        return None
    return round((found - received).total_seconds(), 3)


def _deliveries(session: Session, event_id: str) -> dict[str, int]:
    counted = session.execute(
        select(col(DeliveryRow.state), func.count())
        .where(col(DeliveryRow.event_id) == event_id)
        .group_by(col(DeliveryRow.state))
    )
    return {state: number for state, number in counted}
