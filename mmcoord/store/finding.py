"""Finding events by their names, and what belongs to an event: links, circulars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from mmcoord.errors import AmbiguousName, UnknownRecord
from mmcoord.names import name_key
from mmcoord.records import BURST_GROUPS, BURST_WINDOW
from mmcoord.store.naming import ALERT, CIRCULAR, EXTERNAL
from mmcoord.store.tables import (
    AlertRow,
    CircularNameRow,
    CircularRow,
    CoincidenceRow,
    EventNameRow,
    EventRow,
)
from mmcoord.store.types import table
from mmcoord.timescales import by_chance

__all__ = [
    "CircularLine",
    "LinkLine",
    "NameLine",
    "circulars_of",
    "find",
    "linked",
    "names_of",
    "one",
]

_SYNONYMS = (ALERT, CIRCULAR)

_alert: Any = table(AlertRow)
_circular: Any = table(CircularRow)
_coincidence: Any = table(CoincidenceRow)
_event: Any = table(EventRow)
_mention: Any = table(CircularNameRow)
_name: Any = table(EventNameRow)


@dataclass(frozen=True, slots=True)
class NameLine:
    """A name of an event, and who told it."""

    name: str
    learned_from: str
    """``alert`` or ``circular``: a synonym; ``external``: a link to another event."""


@dataclass(frozen=True, slots=True)
class LinkLine:
    """Another event that is said, or by its time is likely, to belong to this one."""

    event_id: str
    why: str


@dataclass(frozen=True, slots=True)
class CircularLine:
    """A circular, without its text."""

    circular_id: int
    version: int
    subject: str
    submitter: str
    created_at: datetime


def find(session: Session, name: str) -> list[str]:
    """Events that go by a name, real ones first; empty when there is none.

    An event's identifier, exactly written, is that event and no other. Otherwise synonyms
    go before links, and links before events that a circular names together with it: the
    weaker kind is asked only where the stronger finds nothing.
    """
    key = name_key(name)
    if not key or "\0" in name:  # which PostgreSQL cannot be asked for
        return []
    if session.get(EventRow, name) is not None:
        return [name]
    for kinds in (_SYNONYMS, (EXTERNAL,)):
        found = _called(session, [key], kinds)
        if found:
            return found
    together = select(_mention.c.key).where(
        _mention.c.circular_id.in_(select(_mention.c.circular_id).where(_mention.c.key == key))
    )
    return _called(session, list(session.execute(together.distinct()).scalars()), (ALERT,))


def one(session: Session, name: str) -> str:
    """The one event that goes by a name.

    Raises
    ------
    UnknownRecord
        There is none.
    AmbiguousName
        There are several.
    """
    found = find(session, name)
    if not found:
        raise UnknownRecord(f"no event {name!r}")
    if len(found) > 1:
        raise AmbiguousName(name, found)
    return found[0]


def _called(session: Session, keys: Sequence[str], kinds: Sequence[str]) -> list[str]:
    rows = session.execute(
        select(_event.c.event_id, _event.c.is_practice)
        .where(
            _event.c.event_id.in_(
                select(_name.c.event_id).where(
                    _name.c.key.in_(keys), _name.c.learned_from.in_(kinds)
                )
            )
        )
        .order_by(_event.c.is_practice, _event.c.event_id)
    )
    return [row.event_id for row in rows]


def names_of(session: Session, event_id: str) -> list[NameLine]:
    """The names of an event, synonyms first; its own identifier is left out."""
    rows = session.execute(select(_name).where(_name.c.event_id == event_id)).all()
    order = {ALERT: 0, CIRCULAR: 1, EXTERNAL: 2}
    own = name_key(event_id)
    return [
        NameLine(row.name, row.learned_from)
        for row in sorted(rows, key=lambda row: (order[row.learned_from], row.name))
        if row.key != own
    ]


def circulars_of(session: Session, event_id: str, limit: int = 200) -> list[CircularLine]:
    """Circulars that use one of the event's names, the newest first."""
    columns = [_circular.c[name] for name in CircularLine.__dataclass_fields__]
    keys = select(_name.c.key).where(
        _name.c.event_id == event_id, _name.c.learned_from.in_(_SYNONYMS)
    )
    rows = session.execute(
        select(*columns)
        .where(
            _circular.c.circular_id.in_(
                select(_mention.c.circular_id).where(_mention.c.key.in_(keys))
            )
        )
        .order_by(_circular.c.circular_id.desc())
        .limit(limit)
    )
    return [CircularLine(**row) for row in rows.mappings()]


def linked(session: Session, event_id: str) -> list[LinkLine]:
    """Other events that belong with this one, and why: links both ways, then time."""
    own = select(_name.c.key).where(
        _name.c.event_id == event_id, _name.c.learned_from.in_(_SYNONYMS)
    )
    theirs = select(_name.c.key).where(
        _name.c.event_id == event_id, _name.c.learned_from == EXTERNAL
    )
    found: dict[str, str] = {}
    for keys, kinds, why in (
        (theirs, _SYNONYMS, "named in its alerts as seen with it"),
        (own, (EXTERNAL,), "names it in its alerts as seen with it"),
        (own, _SYNONYMS, "goes by the same name"),
    ):
        for other in session.execute(
            select(_name.c.event_id).where(
                _name.c.key.in_(keys),
                _name.c.learned_from.in_(kinds),
                _name.c.event_id != event_id,
            )
        ).scalars():
            found.setdefault(other, why)
    for row in session.execute(
        select(_coincidence).where(
            or_(_coincidence.c.event_id == event_id, _coincidence.c.other_id == event_id)
        )
    ):
        other = row.other_id if row.event_id == event_id else row.event_id
        offset_s = row.offset_s if row.event_id == event_id else -row.offset_s
        found[other] = (f"{found[other]}; " if other in found else "") + _pair(row, offset_s)
    for other in _same_burst(session, event_id):
        found.setdefault(other, f"neutrino burst within {BURST_WINDOW.seconds} s of it")
    return [LinkLine(other, why) for other, why in sorted(found.items())]


def _pair(row: Any, offset_s: float) -> str:
    """A coincidence in words."""
    words = f"{offset_s:+.1f} s from it"
    if row.overlap is not None:
        words += f", overlap of the maps {row.overlap:.2g}"
    if row.far_hz is not None:
        words += f", {by_chance(row.far_hz)}"
    return words


def _same_burst(session: Session, event_id: str) -> list[str]:
    """Neutrino bursts at the same time by other ways: SNEWS over SCiMMA and GCN, Super-K.

    SNEWS gives a burst no identifier that its three formats share; its coincidence window
    is what makes detections one burst, so the same window makes alerts one.
    """
    bursts = select(_alert.c.event_id).where(_alert.c.group.in_(BURST_GROUPS))
    event = session.execute(
        select(_event.c.event_time, _event.c.is_practice).where(
            _event.c.event_id == event_id, _event.c.event_id.in_(bursts)
        )
    ).one_or_none()
    if event is None or event.event_time is None:
        return []
    return list(
        session.execute(
            select(_event.c.event_id).where(
                _event.c.event_id != event_id,
                _event.c.event_id.in_(bursts),
                _event.c.is_practice == event.is_practice,
                _event.c.event_time.between(
                    event.event_time - BURST_WINDOW, event.event_time + BURST_WINDOW
                ),
            )
        ).scalars()
    )
