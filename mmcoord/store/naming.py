"""Names in the store: learning them, finding events by them, circulars that use them.

Everything here is a function of what is stored: the alerts of an event and the circulars.
Rows are computed anew where either changes, so the order of arrival cannot matter. The rules
of what is a synonym and what a link are in :mod:`mmcoord.names`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from mmcoord.errors import AmbiguousName, UnknownRecord
from mmcoord.names import bare_number, linked_names, name_key, spelled
from mmcoord.store.tables import (
    AlertRow,
    CircularNameRow,
    CircularRow,
    EventNameRow,
    EventRow,
)
from mmcoord.store.types import table

__all__ = [
    "ALERT",
    "CIRCULAR",
    "EXTERNAL",
    "CircularLine",
    "LinkLine",
    "NameLine",
    "circulars_of",
    "find",
    "learn",
    "linked",
    "names_of",
    "one",
    "teach",
]

ALERT, CIRCULAR, EXTERNAL = "alert", "circular", "external"
_SYNONYMS = (ALERT, CIRCULAR)
_BURST_WINDOW_S = 10.0
"""SNEWS' own coincidence window."""
_BURST_GROUPS = ("SNEWS2", "SNEWS", "Super-K")

_alert: Any = table(AlertRow)
_circular: Any = table(CircularRow)
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


# -- learning ----------------------------------------------------------------------------


def learn(
    session: Session,
    event_id: str,
    alerts: Sequence[AlertRow],
    cause_id: str,
    *,
    practice_changed: bool = False,
) -> None:
    """Write the names that an event has by its alerts, in the transaction of an alert.

    ``practice_changed``: the event has just become practice, so that circulars, which are
    about real events, teach nothing about it any more.
    """
    wanted = {(key, ALERT): name for key, name in spelled(_own(event_id, alerts)).items()}
    own = {key for key, _ in wanted}
    for key, name in spelled(_others(alerts)).items():
        if key not in own:
            wanted[key, EXTERNAL] = name
    known = {
        (row.key, row.learned_from): row.name
        for row in session.execute(
            select(_name).where(
                _name.c.event_id == event_id, _name.c.learned_from.in_((ALERT, EXTERNAL))
            )
        )
    }
    if wanted != known:
        _replace(session, event_id, known, wanted, cause_id)
    changed = wanted.keys() if practice_changed else wanted.keys() ^ known.keys()
    teach(session, {key for key, kind in changed if kind == ALERT})


def _own(event_id: str, alerts: Sequence[AlertRow]) -> list[str]:
    number = bare_number(event_id)
    aliases = [alias for row in alerts for alias in row.aliases]
    return [event_id, *([number] if number else []), *aliases]


def _others(alerts: Sequence[AlertRow]) -> list[str]:
    names: list[str] = []
    for row in alerts:
        if row.external:
            ivorn = (row.extra.get("external_coinc") or {}).get("ivorn")
            names += linked_names(
                row.external["observatory"],
                row.external["notice_id"],
                ivorn if isinstance(ivorn, str) else None,
            )
    return names


def _replace(
    session: Session,
    event_id: str,
    known: dict[tuple[str, str], str],
    wanted: dict[tuple[str, str], str],
    cause_id: str,
) -> None:
    for (key, kind), name in known.items():
        if wanted.get((key, kind)) != name:
            session.execute(
                delete(_name).where(
                    _name.c.event_id == event_id,
                    _name.c.key == key,
                    _name.c.learned_from == kind,
                )
            )
    new = [
        {"key": key, "event_id": event_id, "name": name, "learned_from": kind, "cause_id": cause_id}
        for (key, kind), name in sorted(wanted.items())
        if known.get((key, kind)) != name
    ]
    if new:
        session.execute(insert(_name), new)


def teach(session: Session, keys: Iterable[str]) -> None:
    """Compute anew what circulars teach about the names ``keys`` and those equated with them.

    A circular teaches a synonym only where it states that two names are one
    (``CircularRow.synonyms``), and only if the other name is, by its alerts, that of exactly
    one real event.
    """
    touched = set(keys)
    if not touched:
        return
    for groups in _synonyms(session, touched).values():
        for group in groups:
            if touched & group.keys():
                touched |= group.keys()
    stated = _synonyms(session, touched)
    events = _events_by_alert(session, {k for gs in stated.values() for g in gs for k in g})
    wanted: dict[tuple[str, str], tuple[str, int]] = {}
    for circular_id, groups in sorted(stated.items()):
        for group in groups:
            for key in group.keys() & touched:
                for other in group.keys() - {key}:
                    found = events.get(other, set())
                    if len(found) == 1 and not found & events.get(key, set()):
                        (event_id,) = found
                        name, first = wanted.get((key, event_id), (group[key], circular_id))
                        wanted[key, event_id] = (min(name, group[key]), first)
    session.execute(
        delete(_name).where(_name.c.learned_from == CIRCULAR, _name.c.key.in_(sorted(touched)))
    )
    if wanted:
        session.execute(
            insert(_name),
            [
                {
                    "key": key,
                    "event_id": event_id,
                    "name": name,
                    "learned_from": CIRCULAR,
                    "cause_id": f"circular:{circular_id}",
                }
                for (key, event_id), (name, circular_id) in sorted(wanted.items())
            ],
        )


def _synonyms(session: Session, keys: set[str]) -> dict[int, list[dict[str, str]]]:
    """Circular -> its groups of equal names (key -> spelling), of circulars that use ``keys``."""
    using = select(_mention.c.circular_id).where(_mention.c.key.in_(sorted(keys)))
    rows = session.execute(
        select(_circular.c.circular_id, _circular.c.synonyms).where(
            _circular.c.circular_id.in_(using)
        )
    )
    return {row.circular_id: [spelled(group) for group in row.synonyms] for row in rows}


def _events_by_alert(session: Session, keys: set[str]) -> dict[str, set[str]]:
    """Name -> the real events that it stands for by their own alerts."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in session.execute(
        select(_name.c.key, _name.c.event_id)
        .join(_event, _event.c.event_id == _name.c.event_id)
        .where(
            _name.c.key.in_(sorted(keys)),
            _name.c.learned_from == ALERT,
            _event.c.is_practice.is_(False),
        )
    ):
        found[row.key].add(row.event_id)
    return found


# -- finding -----------------------------------------------------------------------------


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
    for other in _same_burst(session, event_id):
        found.setdefault(other, f"neutrino burst within {_BURST_WINDOW_S:.0f} s of it")
    return [LinkLine(other, why) for other, why in sorted(found.items())]


def _same_burst(session: Session, event_id: str) -> list[str]:
    """Neutrino bursts at the same time by other ways: SNEWS over SCiMMA and GCN, Super-K.

    SNEWS gives a burst no identifier that its three formats share; its coincidence window
    is what makes detections one burst, so the same window makes alerts one.
    """
    bursts = select(_alert.c.event_id).where(_alert.c.group.in_(_BURST_GROUPS))
    event = session.execute(
        select(_event.c.event_time, _event.c.is_practice).where(
            _event.c.event_id == event_id, _event.c.event_id.in_(bursts)
        )
    ).one_or_none()
    if event is None or event.event_time is None:
        return []
    window = timedelta(seconds=_BURST_WINDOW_S)
    return list(
        session.execute(
            select(_event.c.event_id).where(
                _event.c.event_id != event_id,
                _event.c.event_id.in_(bursts),
                _event.c.is_practice == event.is_practice,
                _event.c.event_time.between(event.event_time - window, event.event_time + window),
            )
        ).scalars()
    )
