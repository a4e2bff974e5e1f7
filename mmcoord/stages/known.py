"""What a newly read catalogue entry (TNS, YSE-PZ) sets going, and what it says of an object.

An entry that lies on an object matched with an active event, or names it, can change its
distance and its place in the plan: the object is matched anew, and the rest follows from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.records import EventState, KnownTransient, ParsedRecord
from mmcoord.stages.keys import object_key
from mmcoord.store import crossid
from mmcoord.store.crossid import KnownAs, Place
from mmcoord.store.queue import Wish
from mmcoord.store.tables import CandidateRow, EventRow, MatchRow

__all__ = ["fill_redshifts", "redshift_of", "wishes_for_known"]


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
