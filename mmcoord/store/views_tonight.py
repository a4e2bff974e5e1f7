"""What the first page reads: what is active, what waits for a person, what is observed next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from followup.claims import STANDING
from mmcoord.records import EventState
from mmcoord.store import views
from mmcoord.store.approvals import HELD
from mmcoord.store.tables import DeliveryRow, EventRow, PlanRevisionRow, RequestRow
from mmcoord.store.tables_claims import ClaimRow
from mmcoord.store.tables_tiles import PlanTileRow
from mmcoord.store.types import table
from mmcoord.store.views import EventLine

__all__ = [
    "ExpiringClaim",
    "Held",
    "Window",
    "active",
    "active_total",
    "expiring_claims",
    "held",
    "windows",
]

_claim: Any = table(ClaimRow)
_delivery: Any = table(DeliveryRow)
_event: Any = table(EventRow)
_plan: Any = table(PlanRevisionRow)
_request: Any = table(RequestRow)
_tile: Any = table(PlanTileRow)


@dataclass(frozen=True, slots=True)
class Held:
    """What of an event waits for a person at one sink."""

    event_id: str
    is_practice: bool
    sink: str
    messages: int
    since: datetime


@dataclass(frozen=True, slots=True)
class ExpiringClaim:
    """A claim that ends by itself unless its group says more."""

    event_id: str
    is_practice: bool
    object_id: str
    group: str
    state: str
    instrument: str | None
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """One observation that the newest plan of an event asks for, of a target or of a tile."""

    event_id: str
    is_practice: bool
    object_id: str
    """Of a tile its name."""
    rank: int | None
    """None: a tile."""
    instrument: str
    band: str | None
    start: datetime
    exposure_s: float | None
    predicted_mag: float | None
    role: str | None = None
    """Of a further look at a target, see :class:`mmcoord.records.PlanLook`."""


def active(session: Session, since: datetime, limit: int) -> list[EventLine]:
    """Events not retracted of which something was heard since then, the newest first."""
    return views.events(session, limit, where=_is_active(since))


def active_total(session: Session, since: datetime) -> int:
    """Number of events that :func:`active` chooses from."""
    query = select(func.count()).select_from(_event).where(_is_active(since))
    return int(session.execute(query).scalar_one())


def held(session: Session) -> list[Held]:
    """Messages that wait for a person, by event and sink, the longest waiting first."""
    rows = session.execute(
        select(
            _delivery.c.event_id,
            _event.c.is_practice,
            _delivery.c.sink,
            func.count().label("messages"),
            func.min(_delivery.c.created_at).label("since"),
        )
        .join(_event, _event.c.event_id == _delivery.c.event_id)
        .where(_delivery.c.state == HELD)
        .group_by(_delivery.c.event_id, _event.c.is_practice, _delivery.c.sink)
        .order_by(func.min(_delivery.c.created_at), _delivery.c.event_id, _delivery.c.sink)
    )
    return [Held(**row) for row in rows.mappings()]


def expiring_claims(session: Session, before: datetime, limit: int) -> list[ExpiringClaim]:
    """Standing claims that end before then, the first to end first."""
    rows = session.execute(
        select(*(_claim.c[n] for n in ExpiringClaim.__dataclass_fields__ if n != "is_practice"))
        .add_columns(_event.c.is_practice)
        .join(_event, _event.c.event_id == _claim.c.event_id)
        .where(
            _claim.c.state.in_([state.value for state in STANDING]),
            _claim.c.expires_at <= before,
        )
        .order_by(_claim.c.expires_at, _claim.c.id)
        .limit(limit)
    )
    return [ExpiringClaim(**row) for row in rows.mappings()]


def windows(session: Session, since: datetime, now: datetime, limit: int) -> list[Window]:
    """Observations still to begin, of the newest plans of active events, in order of time:
    of targets, further looks at them, and tiles."""
    newest = (
        select(_plan.c.event_id, func.max(_plan.c.revision).label("revision"))
        .join(_event, _event.c.event_id == _plan.c.event_id)
        .where(_is_active(since))
        .group_by(_plan.c.event_id)
        .subquery()
    )
    found = _target_windows(session, newest, now, limit)
    found += _look_windows(session, newest, now)
    found += _tile_windows(session, newest, now, limit)
    return sorted(found, key=lambda window: window.start)[:limit]


def _target_windows(session: Session, newest: Any, now: datetime, limit: int) -> list[Window]:
    start = _request.c.row["start"].as_string()
    rows = session.execute(
        _rows(newest)
        .where(start >= now.isoformat())  # both are ISO 8601 of UTC, which sorts as time does
        .order_by(start, _event.c.event_id, _request.c.rank)
        .limit(limit)
    )
    return [
        Window(
            event_id=found.event_id,
            is_practice=found.is_practice,
            rank=found.rank,
            start=datetime.fromisoformat(found.row["start"]),
            **{
                name: found.row.get(name)
                for name in ("object_id", "instrument", "band", "exposure_s", "predicted_mag")
            },
        )
        for found in rows
    ]


def _look_windows(session: Session, newest: Any, now: datetime) -> list[Window]:
    """Few targets of a plan have any."""
    rows = session.execute(_rows(newest).where(_request.c.row["looks"].as_string() != "[]"))
    return [
        Window(
            event_id=found.event_id,
            is_practice=found.is_practice,
            object_id=found.row["object_id"],
            rank=found.rank,
            **{**look, "start": start},
        )
        for found in rows
        for look in found.row["looks"]
        if (start := datetime.fromisoformat(look["start"])) >= now
    ]


def _rows(newest: Any) -> Any:
    return (
        select(_event.c.event_id, _event.c.is_practice, _request.c.rank, _request.c.row)
        .join(
            newest,
            (newest.c.event_id == _request.c.event_id) & (newest.c.revision == _request.c.revision),
        )
        .join(_event, _event.c.event_id == _request.c.event_id)
    )


def _tile_windows(session: Session, newest: Any, now: datetime, limit: int) -> list[Window]:
    rows = session.execute(
        select(
            _event.c.event_id,
            _event.c.is_practice,
            _tile.c.tile_id.label("object_id"),
            *(_tile.c[name] for name in ("instrument", "band", "start", "exposure_s")),
        )
        .join(
            newest,
            (newest.c.event_id == _tile.c.event_id) & (newest.c.revision == _tile.c.revision),
        )
        .join(_event, _event.c.event_id == _tile.c.event_id)
        .where(_tile.c.start >= now)
        .order_by(_tile.c.start, _event.c.event_id, _tile.c.number)
        .limit(limit)
    )
    return [Window(**row, rank=None, predicted_mag=None) for row in rows.mappings()]


def _is_active(since: datetime) -> Any:
    return (_event.c.state == EventState.ACTIVE.value) & (_event.c.updated_at >= since)
