"""What the page and the API read of objects, runs, deliveries and the journal.

The second half of :mod:`mmcoord.store.views`; the same rules hold.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mmcoord.store import queue
from mmcoord.store.tables import (
    CandidateRow,
    DeadLetterRow,
    DeliveryRow,
    DetectionRow,
    JournalRow,
    MatchRow,
    RunRow,
    ScreeningRow,
)
from mmcoord.store.views_runs import PUBLIC, visible_to

__all__ = [
    "DeadLetter",
    "Delivery",
    "Entry",
    "LedgerLine",
    "Milestone",
    "ObjectLine",
    "ObjectMatch",
    "Point",
    "RunDetail",
    "RunLine",
    "caused_by",
    "dead_letters",
    "deliveries",
    "delivery_counts",
    "journal_after",
    "journal_newest",
    "ledger",
    "milestones",
    "object_line",
    "object_matches",
    "photometry",
    "recent_latencies",
    "run",
    "runs",
    "story",
    "total",
]

_candidate: Any = CandidateRow.__table__  # type: ignore[attr-defined]
_dead: Any = DeadLetterRow.__table__  # type: ignore[attr-defined]
_delivery: Any = DeliveryRow.__table__  # type: ignore[attr-defined]
_detection: Any = DetectionRow.__table__  # type: ignore[attr-defined]
_journal: Any = JournalRow.__table__  # type: ignore[attr-defined]
_match: Any = MatchRow.__table__  # type: ignore[attr-defined]
_run: Any = RunRow.__table__  # type: ignore[attr-defined]
_screening: Any = ScreeningRow.__table__  # type: ignore[attr-defined]

Line = TypeVar("Line")


# -- objects and runs --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ObjectLine:
    """A candidate, whatever event it belongs to."""

    object_id: str
    source: str
    ra_deg: float
    dec_deg: float
    position_error_arcsec: float | None
    redshift: float | None
    redshift_err: float | None
    ebv_mw: float | None
    is_practice: bool
    attributes: dict[str, Any]
    notice_id: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Point:
    """One photometric point or upper limit."""

    obs_mjd_tai: float
    band: str
    mag_ab: float
    mag_err: float | None
    is_limit: bool


@dataclass(frozen=True, slots=True)
class ObjectMatch:
    """An object as a counterpart of one event, in one of its maps."""

    event_id: str
    localization_id: str
    credible_level_2d: float
    credible_level_3d: float | None
    distance_mean_mpc: float | None
    distance_std_mpc: float | None
    time_offset_day: float | None
    matched_at: datetime
    p_kilonova: float | None
    screening: str | None
    run_key: str | None


@dataclass(frozen=True, slots=True)
class RunLine:
    """One inference, without its samples."""

    run_key: str
    event_id: str
    object_id: str
    state: str
    coalesced: int
    cached: int
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    summary: dict[str, Any]
    error: str | None
    tainted_at: datetime | None
    """Since when its inputs are known to be wrong, by what and why."""
    tainted_by: str | None
    taint_reason: str | None
    parent_key: str | None
    """The run from whose posterior it started."""
    resting: bool
    """Queued and not taken, while what is found for its event leaves it not worth its cost."""


@dataclass(frozen=True, slots=True)
class RunDetail(RunLine):
    """One inference with its light curve: band -> mjd_tai, q05, q50, q95."""

    light_curve: dict[str, Any]


def object_line(session: Session, object_id: str) -> ObjectLine | None:
    """One candidate; None when there is none of that name."""
    statement = _select(_candidate, ObjectLine).where(_candidate.c.object_id == object_id)
    return _one(session, statement, ObjectLine)


def photometry(session: Session, object_id: str, limit: int) -> list[Point]:
    """Points and limits in time order; where there are more than ``limit``, the newest."""
    newest = (
        _select(_detection, Point)
        .where(_detection.c.object_id == object_id, _detection.c.is_current)
        .order_by(_detection.c.obs_mjd_tai.desc(), _detection.c.point_key.desc())
        .limit(limit)
    )
    return _lines(session, newest, Point)[::-1]


def object_matches(session: Session, object_id: str) -> list[ObjectMatch]:
    """Every match of an object, the newest first."""
    columns = [
        _match.c[name]
        for name in ObjectMatch.__dataclass_fields__
        if name not in ("p_kilonova", "screening", "run_key")
    ]
    statement = (
        select(
            *columns,
            _screening.c.p_kilonova,
            _screening.c.reason.label("screening"),
            _screening.c.run_key,
        )
        .outerjoin(
            _screening,
            (_screening.c.event_id == _match.c.event_id)
            & (_screening.c.object_id == _match.c.object_id),
        )
        .where(_match.c.object_id == object_id)
        .order_by(_match.c.matched_at.desc(), _match.c.event_id, _match.c.localization_id)
    )
    return _lines(session, statement, ObjectMatch)


def runs(
    session: Session,
    limit: int,
    *,
    object_id: str | None = None,
    event_id: str | None = None,
) -> list[RunLine]:
    """Public inferences, the newest first."""
    statement = _select(_run, RunLine).where(_run.c.partition == PUBLIC)
    if object_id is not None:
        statement = statement.where(_run.c.object_id == object_id)
    if event_id is not None:
        statement = statement.where(_run.c.event_id == event_id)
    statement = statement.order_by(_run.c.created_at.desc(), _run.c.run_key).limit(limit)
    return _lines(session, statement, RunLine)


def run(session: Session, run_key: str, group: str | None = None) -> RunDetail | None:
    """One inference; None when there is none of that key that ``group`` may see."""
    statement = _select(_run, RunDetail).where(
        _run.c.run_key == run_key, _run.c.partition.in_(visible_to(group))
    )
    return _one(session, statement, RunDetail)


# -- dead letters, deliveries ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What could not be used, and why."""

    id: int
    notice_id: int | None
    stage: str
    reason: str
    at: datetime
    retried_at: datetime | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message of the outbox."""

    id: int
    key: str
    kind: str
    sink: str
    event_id: str
    plan_revision: int
    target: str
    is_practice: bool
    state: str
    remote_id: str | None
    withdraws: str | None
    detail: str
    attempts: int
    created_at: datetime
    next_attempt_at: datetime
    finished_at: datetime | None
    payload: dict[str, Any]


def dead_letters(
    session: Session, limit: int, offset: int = 0, *, notice_id: int | None = None
) -> list[DeadLetter]:
    """Dead letters, the newest first."""
    statement = _select(_dead, DeadLetter)
    if notice_id is not None:
        statement = statement.where(_dead.c.notice_id == notice_id)
    statement = statement.order_by(_dead.c.id.desc()).limit(limit).offset(offset)
    return _lines(session, statement, DeadLetter)


def deliveries(
    session: Session,
    limit: int,
    offset: int = 0,
    *,
    event_id: str | None = None,
    state: str | None = None,
) -> list[Delivery]:
    """Deliveries, the newest first."""
    statement = _select(_delivery, Delivery)
    for column, value in ((_delivery.c.event_id, event_id), (_delivery.c.state, state)):
        if value is not None:
            statement = statement.where(column == value)
    statement = statement.order_by(_delivery.c.id.desc()).limit(limit).offset(offset)
    return _lines(session, statement, Delivery)


def delivery_counts(
    session: Session, *, event_id: str | None = None, state: str | None = None
) -> dict[tuple[str, str], int]:
    """Number of deliveries by (sink, state)."""
    statement = select(_delivery.c.sink, _delivery.c.state, func.count()).group_by(
        _delivery.c.sink, _delivery.c.state
    )
    for column, value in ((_delivery.c.event_id, event_id), (_delivery.c.state, state)):
        if value is not None:
            statement = statement.where(column == value)
    return {(sink, found): number for sink, found, number in session.execute(statement)}


def total(session: Session, table: type[Any], **equal: Any) -> int:
    """Number of rows of a table whose columns equal what is given."""
    columns = table.__table__.c
    query = select(func.count()).select_from(table.__table__)
    query = query.where(*(columns[name] == value for name, value in equal.items()))
    return int(session.execute(query).scalar_one())


# -- the ledger and the journal ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """received = processed + dead + pending + lost, per stage; ``lost`` must be zero."""

    stage: str
    received: int
    processed: int
    dead: int
    pending: int
    lost: int
    oldest_pending_at: datetime | None
    """When the oldest thing still pending came in."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal."""

    id: int
    at: datetime
    stage: str
    what: str
    text: str
    event_id: str | None
    object_id: str | None
    latency_s: float | None
    cause_id: str


@dataclass(frozen=True, slots=True)
class Milestone:
    """One kind of entry in the story of an event."""

    what: str
    count: int
    first_at: datetime
    last_at: datetime
    latency_median_s: float | None
    latency_max_s: float | None


def ledger(session: Session) -> list[LedgerLine]:
    """The ledger in the order of the stages. Call inside ``Database.snapshot``."""
    return [
        LedgerLine(b.stage, b.received, b.processed, b.dead, b.pending, b.lost, b.oldest_pending_at)
        for b in queue.balance(session)
    ]


def story(session: Session, event_id: str, limit: int, before: int | None = None) -> list[Entry]:
    """The newest entries about an event, newest first; ``before`` an entry id pages back."""
    statement = _select(_journal, Entry).where(_journal.c.event_id == event_id)
    if before is not None:
        statement = statement.where(_journal.c.id < before)
    return _lines(session, statement.order_by(_journal.c.id.desc()).limit(limit), Entry)


def caused_by(session: Session, cause_id: str, limit: int) -> list[Entry]:
    """The first entries that one notice set going, in order."""
    statement = _select(_journal, Entry).where(_journal.c.cause_id == cause_id)
    return _lines(session, statement.order_by(_journal.c.id).limit(limit), Entry)


def milestones(session: Session, event_id: str) -> list[Milestone]:
    """What happened to an event, by kind, in the order in which each kind came first."""
    times = session.execute(
        select(
            _journal.c.what,
            func.count(),
            func.min(_journal.c.at),
            func.max(_journal.c.at),
            func.max(_journal.c.latency_s),
        )
        .where(_journal.c.event_id == event_id)
        .group_by(_journal.c.what)
        .order_by(func.min(_journal.c.id))
    ).all()
    latencies = _latencies(session, _journal.c.what, 2000, _journal.c.event_id == event_id)
    return [
        Milestone(what, number, first, last, statistics.median(found) if found else None, slowest)
        for what, number, first, last, slowest in times
        for found in [latencies.get(what, [])]
    ]


def recent_latencies(session: Session, entries: int) -> dict[str, tuple[float, float, int]]:
    """Per stage (median, maximum, number) over the newest ``entries`` of the journal, seconds."""
    found = _latencies(session, _journal.c.stage, entries)
    return {
        stage: (statistics.median(values), max(values), len(values))
        for stage, values in sorted(found.items())
    }


def _latencies(session: Session, by: Any, entries: int, *where: Any) -> dict[str, list[float]]:
    values: dict[str, list[float]] = defaultdict(list)
    for name, latency in session.execute(
        select(by, _journal.c.latency_s)
        .where(_journal.c.latency_s.is_not(None), *where)
        .order_by(_journal.c.id.desc())
        .limit(entries)
    ):
        values[name].append(latency)
    return values


def journal_after(session: Session, entry_id: int, limit: int) -> list[Entry]:
    """Entries with a higher id, in order."""
    return _lines(
        session,
        _select(_journal, Entry)
        .where(_journal.c.id > entry_id)
        .order_by(_journal.c.id)
        .limit(limit),
        Entry,
    )


def journal_newest(session: Session) -> int:
    """Id of the newest entry; 0 when there is none."""
    return int(session.execute(select(func.coalesce(func.max(_journal.c.id), 0))).scalar_one())


def _select(table: Any, kind: type[Any]) -> Any:
    return select(*(table.c[name] for name in kind.__dataclass_fields__))


def _lines(session: Session, statement: Any, kind: type[Line]) -> list[Line]:
    return [kind(**row) for row in session.execute(statement).mappings()]


def _one(session: Session, statement: Any, kind: type[Line]) -> Line | None:
    row = session.execute(statement).mappings().one_or_none()
    return kind(**row) if row is not None else None
