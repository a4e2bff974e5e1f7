"""Candidates as places on the sky: what a drawing needs of thousands of them, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from mmcoord.store import views
from mmcoord.store.tables import CandidateRow, MatchRow, ScreeningRow
from mmcoord.store.types import table
from mmcoord.store.views import EventLine, Target

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


def spots(
    session: Session, line: EventLine, limit: int, planned: Sequence[Target] | None = None
) -> list[Spot]:
    """As :func:`mmcoord.store.views.candidates`, in the same order, many times as fast.

    ``planned`` are the rows of the newest plan where they have been read already. The others are
    chosen by their matches alone, and only those chosen are looked up.
    """
    if planned is None:
        planned = views.targets(session, line.event_id, line.plan_revision or -1)
    here = select(_match.c.object_id, _match.c.credible_level_2d).where(
        _match.c.event_id == line.event_id,
        _match.c.localization_id == (line.localization_id or ""),
    )
    names = [target.object_id for target in planned]
    of_plan = here.where(_match.c.object_id.in_(names))
    found = {row[0]: row for row in _placed(session, of_plan, line.event_id)}
    ranked = []
    for target in planned:
        if target.object_id in found:
            _, ra_deg, dec_deg, screen = found[target.object_id]
            inferred = target.row.get("p_kilonova")
            p = screen if inferred is None else inferred
            ranked.append(Spot(target.object_id, ra_deg, dec_deg, p, target.rank))
    nearest = here.order_by(_match.c.credible_level_2d, _match.c.object_id).limit(limit)
    others = _placed(session, nearest, line.event_id)
    unranked = [
        Spot(name, ra, dec, p, None) for name, ra, dec, p in others.all() if name not in found
    ]
    return (ranked + unranked)[:limit]


def _placed(session: Session, matches: Select[Any], event_id: str) -> Any:
    """(object id, ra, dec, P(kilonova) of the screen) of some matches of an event, in order."""
    chosen = matches.subquery()
    screened = (_screening.c.object_id == chosen.c.object_id) & (_screening.c.event_id == event_id)
    return session.execute(
        select(
            chosen.c.object_id, _candidate.c.ra_deg, _candidate.c.dec_deg, _screening.c.p_kilonova
        )
        .join(_candidate, _candidate.c.object_id == chosen.c.object_id)
        .outerjoin(_screening, screened)
        .order_by(chosen.c.credible_level_2d, chosen.c.object_id)
    )
