"""Names in the store: learning them from alerts and circulars. Asked in ``finding``.

Everything here is a function of what is stored: the alerts of an event and the circulars.
Rows are computed anew where either changes, so the order of arrival cannot matter. The rules
of what is a synonym and what a link are in :mod:`mmcoord.names`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from mmcoord.names import bare_number, linked_names, spelled
from mmcoord.store.tables import (
    AlertRow,
    CircularNameRow,
    CircularRow,
    EventNameRow,
    EventRow,
)
from mmcoord.store.types import table

__all__ = ["ALERT", "CIRCULAR", "EXTERNAL", "learn", "teach"]

ALERT, CIRCULAR, EXTERNAL = "alert", "circular", "external"

_circular: Any = table(CircularRow)
_event: Any = table(EventRow)
_mention: Any = table(CircularNameRow)
_name: Any = table(EventNameRow)


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
