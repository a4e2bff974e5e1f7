"""Candidates as places on the sky: what a drawing needs of thousands of them, and no more."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from mmcoord.store import views
from mmcoord.store.tables import CandidateRow, MatchRow, ScreeningRow
from mmcoord.store.types import table
from mmcoord.store.views import EventLine

__all__ = ["Spot", "spots"]

_match: Any = table(MatchRow)
_candidate: Any = table(CandidateRow)
_screening: Any = table(ScreeningRow)


class Spot(NamedTuple):
    """A candidate matched with the event's present map. A tuple: there are thousands a page."""

    object_id: str
    ra_deg: float
    dec_deg: float
    p_kilonova: float | None
    """Of the inference where the plan has one, else of the screen."""
    rank: int | None
    """In the newest plan; None when the plan does not hold it."""


def spots(session: Session, line: EventLine, limit: int) -> list[Spot]:
    """As :func:`mmcoord.store.views.candidates`, in the same order, four times as fast.

    The rows of the plan are read with their factors, the others as bare columns.
    """
    here = (
        _match.c.event_id == line.event_id,
        _match.c.localization_id == (line.localization_id or ""),
    )
    planned = views.targets(session, line.event_id, line.plan_revision or -1)
    screened = (_screening.c.event_id == _match.c.event_id) & (
        _screening.c.object_id == _match.c.object_id
    )
    place = (
        select(
            _match.c.object_id,
            _candidate.c.ra_deg,
            _candidate.c.dec_deg,
            _screening.c.p_kilonova,
        )
        .join(_candidate, _candidate.c.object_id == _match.c.object_id)
        .outerjoin(_screening, screened)
        .where(*here)
    )
    names = [target.object_id for target in planned]
    found = {row[0]: row for row in session.execute(place.where(_match.c.object_id.in_(names)))}
    ranked = []
    for target in planned:
        if target.object_id in found:
            _, ra_deg, dec_deg, screen = found[target.object_id]
            inferred = target.row.get("p_kilonova")
            p = screen if inferred is None else inferred
            ranked.append(Spot(target.object_id, ra_deg, dec_deg, p, target.rank))
    others = session.execute(
        place.order_by(_match.c.credible_level_2d, _match.c.object_id).limit(limit)
    )
    unranked = [Spot(name, ra, dec, p, None) for name, ra, dec, p in others if name not in found]
    return (ranked + unranked)[:limit]
