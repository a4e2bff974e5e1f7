"""What the page and the API read of the inbox: lists of notices, and what they are part of.

The third part of :mod:`mmcoord.store.views`; the same rules hold. Notices come by the million,
so their list is paged by id and is never counted.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, literal_column, select
from sqlalchemy.orm import Session

from mmcoord.store.tables import (
    AlertNoticeRow,
    AlertRow,
    CandidateRow,
    CounterRow,
    DeadLetterRow,
    DetectionRow,
    NoticeRow,
)
from mmcoord.store.types import table

__all__ = [
    "STATES",
    "Counter",
    "NoticeLine",
    "NoticeList",
    "counters",
    "event_notices",
    "known_objects",
    "notice",
    "notice_events",
    "notice_payload",
    "notices",
    "object_notices",
]

_SPAN = 200_000
"""Ids looked at in one go."""
STATES = ("pending", "processed", "dead")
_alert: Any = table(AlertRow)
_said: Any = table(AlertNoticeRow)
_candidate: Any = table(CandidateRow)
_counter: Any = table(CounterRow)
_dead: Any = table(DeadLetterRow)
_detection: Any = table(DetectionRow)
_notice: Any = table(NoticeRow)


@dataclass(frozen=True, slots=True)
class NoticeLine:
    """A notice without its bytes."""

    id: int
    source: str
    broker: str
    topic: str
    partition: int
    offset: int
    sha256: str
    size: int
    """Bytes."""
    received_at: datetime
    sent_at: datetime | None
    state: str
    outcome: str | None
    processed_at: datetime | None


@dataclass(frozen=True, slots=True)
class NoticeList:
    """Notices, the newest first, and where older ones begin."""

    items: list[NoticeLine]
    before: int | None
    """Ask for those before this id to go on; None at the end."""


@dataclass(frozen=True, slots=True)
class Counter:
    """How often a rule left something out."""

    source: str
    name: str
    n: int


def notice(session: Session, notice_id: int) -> NoticeLine | None:
    """One notice; None when there is none of that number."""
    found = _lines(session, _select().where(_notice.c.id == notice_id))
    return found[0] if found else None


def notices(
    session: Session,
    limit: int,
    *,
    before: int | None = None,
    source: str | None = None,
    state: str | None = None,
) -> NoticeList:
    """Notices with an id smaller than ``before``, the newest first.

    A rare source among millions of candidates is not searched for in one go: one call looks
    at so many ids and says where to go on.
    """
    top = before
    if top is None:
        top = (session.execute(select(func.max(_notice.c.id))).scalar_one() or 0) + 1
    statement = _select().where(_notice.c.id < top)
    lowest = 1
    if state == "pending":  # in the words of the partial index
        ids = select(_notice.c.id).where(_notice.c.state == literal_column("'pending'"))
        statement = statement.where(_notice.c.id.in_(ids))
    elif state == "dead":
        ids = select(_dead.c.notice_id).where(_dead.c.notice_id < top)
        statement = statement.where(_notice.c.id.in_(ids), _notice.c.state == "dead")
    else:
        lowest = max(1, top - _SPAN)
        statement = statement.where(_notice.c.id >= lowest)
        if state is not None:
            statement = statement.where(_notice.c.state == state)
    if source is not None:
        statement = statement.where(_notice.c.source == source)
    found = _lines(session, statement.order_by(_notice.c.id.desc()).limit(limit))
    if len(found) == limit:
        lowest = found[-1].id
    return NoticeList(found, lowest if lowest > 1 else None)


def notice_payload(session: Session, notice_id: int) -> bytes | None:
    """The bytes of a notice as received."""
    found: bytes | None = session.execute(
        select(_notice.c.payload).where(_notice.c.id == notice_id)
    ).scalar_one_or_none()
    return found


def notice_events(session: Session, notice_id: int) -> list[str]:
    """The events of which a notice is an alert, first or repeated."""
    first = select(_alert.c.event_id).where(
        _alert.c.id.in_(select(_said.c.alert_id).where(_said.c.notice_id == notice_id))
    )
    return sorted(set(session.execute(first).scalars()))


def event_notices(session: Session, event_id: str, limit: int) -> list[NoticeLine]:
    """Every notice that is an alert of this event, repeats over other brokers included."""
    ids = (
        select(_said.c.notice_id)
        .join(_alert, _alert.c.id == _said.c.alert_id)
        .where(_alert.c.event_id == event_id)
        .union(select(_alert.c.notice_id).where(_alert.c.event_id == event_id))
    )
    return _lines(
        session, _select().where(_notice.c.id.in_(ids)).order_by(_notice.c.id.desc()).limit(limit)
    )


def object_notices(session: Session, object_id: str, limit: int) -> list[NoticeLine]:
    """The notices that brought a candidate and its photometry, the newest first."""
    ids = (
        select(_detection.c.notice_id)
        .where(_detection.c.object_id == object_id)
        .union(select(_candidate.c.notice_id).where(_candidate.c.object_id == object_id))
    )
    return _lines(
        session, _select().where(_notice.c.id.in_(ids)).order_by(_notice.c.id.desc()).limit(limit)
    )


def known_objects(session: Session, names: Collection[str]) -> list[str]:
    """Those of the names under which a candidate or photometry is in the store."""
    found: set[str] = set()
    for column in (_candidate.c.object_id, _detection.c.object_id):
        found |= set(session.execute(select(column).where(column.in_(names)).distinct()).scalars())
    return sorted(found)


def counters(session: Session) -> list[Counter]:
    """How often each rule left something out, by source."""
    statement = select(_counter.c.source, _counter.c.name, _counter.c.n)
    rows = session.execute(statement.order_by(_counter.c.source, _counter.c.n.desc()))
    return [Counter(*row) for row in rows]


def _select() -> Any:
    columns = [_notice.c[name] for name in NoticeLine.__dataclass_fields__ if name != "size"]
    return select(*columns, func.length(_notice.c.payload).label("size"))


def _lines(session: Session, statement: Any) -> list[NoticeLine]:
    return [NoticeLine(**row) for row in session.execute(statement).mappings()]
