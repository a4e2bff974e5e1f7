"""Finding events and objects by any name, or the beginning of one, and objects by place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from mmcoord.names import name_key
from mmcoord.store import crossid, finding, views
from mmcoord.store.tables import CandidateRow, EventNameRow, EventRow
from mmcoord.store.types import table
from mmcoord.store.views import EventLine

__all__ = ["MAX_RADIUS_ARCSEC", "FoundObject", "events_called", "objects_called", "objects_near"]

MAX_RADIUS_ARCSEC = 3600.0
_SHORTEST = 3
"""Letters from which the beginning of a name is looked for."""
_candidate: Any = table(CandidateRow)
_event: Any = table(EventRow)
_name: Any = table(EventNameRow)


@dataclass(frozen=True, slots=True)
class FoundObject:
    """A candidate that was looked for."""

    object_id: str
    source: str
    ra_deg: float
    dec_deg: float
    is_practice: bool
    separation_arcsec: float | None = None
    """From the position that was asked for."""


def events_called(session: Session, name: str, limit: int) -> list[EventLine]:
    """Events of that name, else those one of whose names begins with it."""
    ids = finding.find(session, name) or _beginning(session, name, limit)
    lines = (views.event(session, event_id) for event_id in ids[:limit])
    return [line for line in lines if line is not None]


def _beginning(session: Session, name: str, limit: int) -> list[str]:
    key = name_key(name)
    if len(key) < _SHORTEST or "\0" in name:
        return []
    return list(
        session.execute(
            select(_event.c.event_id)
            .where(
                _begins(session, _event.c.event_id, name)
                | _event.c.event_id.in_(
                    select(_name.c.event_id).where(_begins(session, _name.c.key, key))
                )
            )
            .order_by(_event.c.first_received_at.desc(), _event.c.event_id)
            .limit(limit)
        ).scalars()
    )


def objects_called(session: Session, name: str, limit: int) -> list[FoundObject]:
    """Objects of that identifier or that a catalogue calls so, else those that begin with it."""
    if "\0" in name:
        return []
    exact = _objects(session, _candidate.c.object_id == name, 1)
    named = crossid.objects_named(session, name)
    found = exact or _objects(session, _candidate.c.object_id.in_(named[:limit]), limit)
    if found or len(name) < _SHORTEST:
        return found
    return _objects(session, _begins(session, _candidate.c.object_id, name), limit)


def objects_near(
    session: Session, ra_deg: float, dec_deg: float, radius_arcsec: float, limit: int
) -> list[FoundObject]:
    """Objects within the radius, the nearest first.

    Raises
    ------
    ValueError
        A radius that is not in (0, 1 deg].
    """
    ra, dec = np.array([ra_deg]), np.array([dec_deg])
    rows = crossid.near(session, _candidate, ra, dec, radius_arcsec)
    if not rows:
        return []
    apart = crossid.separation_arcsec(
        ra,
        dec,
        np.array([row.ra_deg for row in rows]),
        np.array([row.dec_deg for row in rows]),
    )
    within = [
        _found(row, float(separation))
        for row, separation in zip(rows, apart, strict=True)
        if separation <= radius_arcsec
    ]
    within.sort(key=lambda one: (one.separation_arcsec or 0.0, one.object_id))
    return within[:limit]


def _objects(session: Session, where: Any, limit: int) -> list[FoundObject]:
    query = select(_candidate).where(where).order_by(_candidate.c.object_id).limit(limit)
    return [_found(row) for row in session.execute(query)]


def _found(row: Any, separation_arcsec: float | None = None) -> FoundObject:
    return FoundObject(
        row.object_id, row.source, row.ra_deg, row.dec_deg, row.is_practice, separation_arcsec
    )


def _begins(session: Session, column: Any, beginning: str) -> Any:
    """Values that begin so: a range, which SQLite's index serves; LIKE would ignore the case."""
    if session.get_bind().dialect.name == "postgresql":
        column = column.collate("C")  # other orders put letters of both cases together
    return (column >= beginning) & (column < beginning + "\U0010ffff")
