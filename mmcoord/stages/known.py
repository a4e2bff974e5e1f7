"""What a newly read catalogue entry (TNS, YSE-PZ) sets going, and what it says of an object.

An entry that lies on an object matched with an active event, or names it, can change its
distance and its place in the plan: the object is matched anew, and the rest follows from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from followup.factors import RankSettings
from mmcoord.records import EventState, KnownTransient, ParsedRecord
from mmcoord.stages.keys import object_key
from mmcoord.store import crossid
from mmcoord.store.crossid import KnownAs, Place
from mmcoord.store.queue import Wish
from mmcoord.store.tables import CandidateRow, EventRow, MatchRow
from mmcoord.timescales import mjd_tai

__all__ = ["ActiveBefore", "active_before", "fill_redshifts", "redshift_of", "wishes_for_known"]

_SIBLING_DAY = RankSettings().sibling_day
_CLEARLY_DAY = 0.02
"""Half an hour, as for photometry: longer than any doubt about time scales."""


def redshift_of(known: Sequence[KnownAs]) -> tuple[float, float | None] | None:
    """The best entry's redshift with its error; None when no entry has one."""
    for one in known:
        if one.entry.redshift is not None and one.entry.redshift > 0:
            return one.entry.redshift, one.entry.redshift_err
    return None


def fill_redshifts(session: Session, rows: Sequence[CandidateRow]) -> None:
    """Give candidates that lack a redshift that of the entry which they are, for reading only:
    the rows are taken out of the session, so that nothing of it is written."""
    lacking = [row for row in rows if row.redshift is None]
    known = crossid.known_as(
        session, [Place(row.object_id, row.ra_deg, row.dec_deg) for row in lacking]
    )
    for row in lacking:
        found = redshift_of(known.get(row.object_id, ()))
        if found is not None:
            session.expunge(row)
            row.redshift, row.redshift_err = found


def wishes_for_known(session: Session, records: Sequence[tuple[ParsedRecord, int]]) -> list[Wish]:
    """Match anew whatever the entries among ``records`` are about."""
    entries = [(r, notice_id) for r, notice_id in records if isinstance(r, KnownTransient)]
    if not entries:
        return []
    objects = _matched(session)
    if not objects:
        return []
    cause = f"notice:{entries[-1][1]}"
    return [
        Wish("match", object_key(object_id), cause)
        for object_id in crossid.identify(objects, [entry for entry, _ in entries])
    ]


@dataclass(frozen=True, slots=True)
class ActiveBefore:
    """A catalogue knows an object since before the event that it is matched with."""

    event_id: str
    object_id: str
    name: str
    """Of the entry, with its catalogue."""
    days: float
    """So long before the event."""


def active_before(
    session: Session, records: Sequence[tuple[ParsedRecord, int]]
) -> list[ActiveBefore]:
    """Which pairs the entries among ``records`` speak against. What was discovered longer
    before than ``sibling_day`` is another transient at the same place, as for the ranking."""
    entries = [r for r, _ in records if isinstance(r, KnownTransient) and r.discovered_mjd_tai]
    if not entries:
        return []
    objects = _matched(session)
    found = []
    for entry in entries:
        assert entry.discovered_mjd_tai is not None
        for object_id in crossid.identify(objects, [entry]):
            for event_id, time in _events_of(session, object_id):
                days = mjd_tai(time) - entry.discovered_mjd_tai
                if _CLEARLY_DAY < days <= _SIBLING_DAY:
                    name = f"{entry.catalogue} {entry.name}"
                    found.append(ActiveBefore(event_id, object_id, name, days))
    return found


def _events_of(session: Session, object_id: str) -> list[tuple[str, datetime]]:
    """Active events with a time whose newest map the object lies in."""
    rows: Any = session.execute(
        select(col(EventRow.event_id), col(EventRow.event_time))
        .join(
            MatchRow,
            (col(EventRow.event_id) == col(MatchRow.event_id))
            & (col(EventRow.localization_id) == col(MatchRow.localization_id)),
        )
        .where(
            col(MatchRow.object_id) == object_id,
            col(EventRow.state) == EventState.ACTIVE.value,
            col(EventRow.event_time).is_not(None),
        )
        .order_by(col(EventRow.event_id))
    )
    return [(event_id, time) for event_id, time in rows]


def _matched(session: Session) -> list[Place]:
    """Objects matched with an active event, in its newest map."""
    rows: Any = session.execute(
        select(col(CandidateRow.object_id), col(CandidateRow.ra_deg), col(CandidateRow.dec_deg))
        .join(MatchRow, col(MatchRow.object_id) == col(CandidateRow.object_id))
        .join(
            EventRow,
            (col(EventRow.event_id) == col(MatchRow.event_id))
            & (col(EventRow.localization_id) == col(MatchRow.localization_id)),
        )
        .where(col(EventRow.state) == EventState.ACTIVE.value)
        .distinct()
    )
    return [Place(*row) for row in rows]
