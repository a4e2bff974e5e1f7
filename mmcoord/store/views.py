"""What the page and the API read from the store: lines made to be shown.

Every line is a frozen dataclass, which is also the API's response model: a column that is
not named here is not published. Large columns (maps, samples, raw payloads) are read only by
the function that is about them.

Lists come in a stable order and in pages (``limit``, ``offset``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, and_, func, select, true
from sqlalchemy.orm import Session

from mmcoord.records import AlertType
from mmcoord.store.tables import (
    AlertRow,
    EventRow,
    LocalizationRow,
    MatchRow,
    PlanRevisionRow,
    RequestRow,
)

__all__ = [
    "AlertLine",
    "EventLine",
    "Place",
    "PlanLine",
    "Target",
    "alerts",
    "event",
    "event_total",
    "events",
    "place",
    "plan",
    "plans",
    "targets",
    "urls_of_notice",
]

_event: Any = EventRow.__table__  # type: ignore[attr-defined]
_alert: Any = AlertRow.__table__  # type: ignore[attr-defined]
_place: Any = LocalizationRow.__table__  # type: ignore[attr-defined]
_match: Any = MatchRow.__table__  # type: ignore[attr-defined]
_plan: Any = PlanRevisionRow.__table__  # type: ignore[attr-defined]
_request: Any = RequestRow.__table__  # type: ignore[attr-defined]

Line = TypeVar("Line")


# -- events ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EventLine:
    """An event as it stands."""

    event_id: str
    messenger: str
    state: str
    is_practice: bool
    event_time: datetime | None
    alert_type: str
    significant: bool | None
    aliases: list[str]
    first_received_at: datetime
    updated_at: datetime
    localization_id: str | None
    far_hz: float | None
    classification: dict[str, float] | None
    group: str | None
    area_90_deg2: float | None
    distance_mpc: float | None
    distance_std_mpc: float | None
    alerts: int
    candidates_matched: int
    plan_revision: int | None
    first_target: str | None
    first_target_score: float | None


def _event_select() -> Any:
    alerts_of = (
        select(func.count())
        .where(_alert.c.event_id == _event.c.event_id)
        .correlate(_event)
        .scalar_subquery()
    )
    matched = (
        select(func.count())
        .where(
            _match.c.event_id == _event.c.event_id,
            _match.c.localization_id == _event.c.localization_id,
        )
        .correlate(_event)
        .scalar_subquery()
    )
    newest = (
        select(func.max(_plan.c.revision))
        .where(_plan.c.event_id == _event.c.event_id)
        .correlate(_event)
        .scalar_subquery()
    )
    first = and_(
        _request.c.event_id == _event.c.event_id,
        _request.c.revision == newest,
        _request.c.rank == 1,
    )
    return (
        select(
            *(
                _event.c[name]
                for name in (
                    "event_id", "messenger", "state", "is_practice", "event_time", "alert_type",
                    "significant", "aliases", "first_received_at", "updated_at",
                    "localization_id",
                )
            ),
            _alert.c.far_hz,
            _alert.c.classification,
            _alert.c.group,
            _place.c.area_90_deg2,
            _place.c.distance_mpc,
            _place.c.distance_std_mpc,
            alerts_of.label("alerts"),
            matched.label("candidates_matched"),
            newest.label("plan_revision"),
            _request.c.object_id.label("first_target"),
            _request.c.score.label("first_target_score"),
        )
        .outerjoin(_alert, _alert.c.id == _event.c.current_alert_id)
        .outerjoin(_place, _place.c.id == _event.c.localization_id)
        .outerjoin(_request, first)
    )  # fmt: skip


def events(
    session: Session, limit: int, offset: int = 0, *, where: ColumnElement[bool] | None = None
) -> list[EventLine]:
    """Events (those that meet a condition on ``event``), the one heard of last first."""
    return _lines(
        session,
        _event_select()
        .where(where if where is not None else true())
        .order_by(_event.c.first_received_at.desc(), _event.c.event_id)
        .limit(limit)
        .offset(offset),
        EventLine,
    )


def event_total(session: Session) -> int:
    """Number of events."""
    return int(session.execute(select(func.count()).select_from(_event)).scalar_one())


def event(session: Session, event_id: str) -> EventLine | None:
    """One event; None when there is none of that name."""
    found = _lines(session, _event_select().where(_event.c.event_id == event_id), EventLine)
    return found[0] if found else None


@dataclass(frozen=True, slots=True)
class AlertLine:
    """One revision of an event, with the measures of its own map."""

    id: int
    alert_type: str
    time_created: datetime
    received_at: datetime
    notice_id: int
    localization_id: str | None
    event_time: datetime | None
    significant: bool | None
    far_hz: float | None
    group: str | None
    pipeline: str | None
    search: str | None
    instruments: list[str]
    classification: dict[str, float]
    properties: dict[str, float]
    external: dict[str, Any]
    urls: dict[str, str]
    localized_by: str | None
    """``map`` in the notice, ``link``, ``region``."""
    area_50_deg2: float | None
    area_90_deg2: float | None
    distance_mpc: float | None
    distance_std_mpc: float | None


def alerts(session: Session, event_id: str) -> list[AlertLine]:
    """The revisions of an event in the order of their content, the oldest first."""
    found = _lines(
        session,
        select(
            *(
                _alert.c[name]
                for name in (
                    "id", "alert_type", "time_created", "received_at", "notice_id",
                    "localization_id", "event_time", "significant", "far_hz", "group", "pipeline",
                    "search", "instruments", "classification", "properties", "external",
                    "urls", "localized_by",
                )
            ),
            _place.c.area_50_deg2,
            _place.c.area_90_deg2,
            _place.c.distance_mpc,
            _place.c.distance_std_mpc,
        )
        .outerjoin(_place, _place.c.id == _alert.c.localization_id)
        .where(_alert.c.event_id == event_id),
        AlertLine,
    )  # fmt: skip
    order = {kind.value: kind.rank for kind in AlertType}
    return sorted(found, key=lambda line: (line.time_created, order.get(line.alert_type, -1)))


def urls_of_notice(session: Session, notice_id: int) -> list[dict[str, str]]:
    """The links in a notice, as its alert holds them."""
    return list(
        session.execute(select(_alert.c.urls).where(_alert.c.notice_id == notice_id)).scalars()
    )


@dataclass(frozen=True, slots=True)
class Place:
    """A sky map without its bytes."""

    id: str
    is_3d: bool
    n_tiles: int
    area_50_deg2: float
    area_90_deg2: float
    distance_mpc: float | None
    distance_std_mpc: float | None
    repairs: list[str]
    outlines: dict[str, Any]
    """Level -> rings of [ra_deg, dec_deg]."""


def place(session: Session, localization_id: str | None) -> Place | None:
    """The map of that content; None when there is none."""
    if localization_id is None:
        return None
    columns = [_place.c[name] for name in Place.__dataclass_fields__]
    found = _lines(session, select(*columns).where(_place.c.id == localization_id), Place)
    return found[0] if found else None


# -- plans -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One revision of a plan, without its rows."""

    revision: int
    planned_for: datetime
    created_at: datetime
    n_targets: int
    objective: float
    upper_bound: float | None
    """No schedule of the same targets is worth more; None: not known."""
    certified_gap: float | None
    note: str
    cause_id: str
    tainted_at: datetime | None
    """Since when it rests on a run whose inputs are known to be wrong."""
    taint_reason: str | None


@dataclass(frozen=True, slots=True)
class Target:
    """One row of a plan, as the planner wrote it."""

    rank: int
    object_id: str
    score: float
    row: dict[str, Any]
    tainted_by: str | None = None
    """Key of the run behind it, if that run's inputs are known to be wrong."""


def plans(session: Session, event_id: str, limit: int) -> list[PlanLine]:
    """The newest revisions of an event's plan, newest first."""
    columns = [_plan.c[name] for name in PlanLine.__dataclass_fields__]
    return _lines(
        session,
        select(*columns)
        .where(_plan.c.event_id == event_id)
        .order_by(_plan.c.revision.desc())
        .limit(limit),
        PlanLine,
    )


def plan(session: Session, event_id: str, revision: int) -> PlanLine | None:
    """One revision; None when there is none of that number."""
    columns = [_plan.c[name] for name in PlanLine.__dataclass_fields__]
    found = _lines(
        session,
        select(*columns).where(_plan.c.event_id == event_id, _plan.c.revision == revision),
        PlanLine,
    )
    return found[0] if found else None


def targets(session: Session, event_id: str, revision: int) -> list[Target]:
    """The rows of one plan revision, by rank."""
    columns = [_request.c[name] for name in Target.__dataclass_fields__]
    return _lines(
        session,
        select(*columns)
        .where(_request.c.event_id == event_id, _request.c.revision == revision)
        .order_by(_request.c.rank),
        Target,
    )


def _lines(session: Session, statement: Any, kind: type[Line]) -> list[Line]:
    return [kind(**row) for row in session.execute(statement).mappings()]
