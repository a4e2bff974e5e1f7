"""Candidates of an event, those of its plan by rank and then by credible level: as lines for a
list, and as places on the sky, which is what a drawing needs of thousands of them and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, func, select, true
from sqlalchemy.orm import Session

from mmcoord.store import views
from mmcoord.store.tables import CandidateRow, MatchRow, RequestRow, ScreeningRow
from mmcoord.store.types import table
from mmcoord.store.views import EventLine, Target

__all__ = ["CandidateLine", "Spot", "candidate_total", "candidates", "spots"]

_match: Any = table(MatchRow)
_candidate: Any = table(CandidateRow)
_screening: Any = table(ScreeningRow)
_request: Any = table(RequestRow)

_BY_LEVEL = ("credible_level_2d", "object_id")
"""Order of matches that no plan holds; ``match`` has an index of it."""


@dataclass(frozen=True, slots=True)
class CandidateLine:
    """A candidate matched with the event's present map, and what the screen said of it."""

    object_id: str
    source: str
    ra_deg: float
    dec_deg: float
    credible_level_2d: float
    credible_level_3d: float | None
    time_offset_day: float | None
    p_kilonova: float | None
    """Of the inference where the plan has one, else of the screen."""
    screening: str | None
    run_key: str | None
    rank: int | None
    """In the newest plan; None when the plan does not hold it."""


def candidates(
    session: Session, line: EventLine, limit: int, offset: int = 0
) -> list[CandidateLine]:
    """Candidates of an event: those of the plan by rank, then by credible level."""
    ranked = and_(
        _request.c.event_id == line.event_id,
        _request.c.revision == (line.plan_revision or -1),
        _request.c.object_id == _match.c.object_id,
    )
    screened = and_(
        _screening.c.event_id == _match.c.event_id, _screening.c.object_id == _match.c.object_id
    )
    statement = (
        select(
            _match.c.object_id,
            _candidate.c.source,
            _candidate.c.ra_deg,
            _candidate.c.dec_deg,
            _match.c.credible_level_2d,
            _match.c.credible_level_3d,
            _match.c.time_offset_day,
            _screening.c.p_kilonova,
            _screening.c.reason.label("screening"),
            _screening.c.run_key,
            _request.c.rank,
            _request.c.row,
        )
        .join(_candidate, _candidate.c.object_id == _match.c.object_id)
        .outerjoin(_screening, screened)
        .outerjoin(_request, ranked)
        .where(_on_present_map(line))
        .order_by(
            _request.c.rank.is_(None), _request.c.rank, *(_match.c[name] for name in _BY_LEVEL)
        )
        .limit(limit)
        .offset(offset)
    )
    return [_candidate_line(dict(row)) for row in session.execute(statement).mappings()]


def _candidate_line(row: dict[str, Any]) -> CandidateLine:
    planned = row.pop("row") or {}
    if planned.get("p_kilonova") is not None:
        row["p_kilonova"] = planned["p_kilonova"]
    return CandidateLine(**row)


def candidate_total(session: Session, line: EventLine) -> int:
    """Number of candidates that :func:`candidates` pages through."""
    query = (
        select(func.count())
        .select_from(_match)
        .join(_candidate, _candidate.c.object_id == _match.c.object_id)
        .where(_on_present_map(line))
    )
    return int(session.execute(query).scalar_one())


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
    """As :func:`candidates`, in the same order, many times as fast.

    ``planned`` are the rows of the newest plan where they have been read already. The others are
    read along the index of the matches' order: only those chosen are looked up.
    """
    if planned is None:
        planned = views.targets(session, line.event_id, line.plan_revision or -1)
    found = {
        row[0]: row
        for row in _placed(
            session, line, _match.c.object_id.in_([target.object_id for target in planned])
        )
    }
    ranked = []
    for target in planned:
        if target.object_id in found:
            _, ra_deg, dec_deg, screen = found[target.object_id]
            inferred = target.row.get("p_kilonova")
            p = screen if inferred is None else inferred
            ranked.append(Spot(target.object_id, ra_deg, dec_deg, p, target.rank))
    nearest = _placed(session, line, true(), limit)
    unranked = [Spot(name, ra, dec, p, None) for name, ra, dec, p in nearest if name not in found]
    return (ranked + unranked)[:limit]


def _placed(
    session: Session, line: EventLine, which: ColumnElement[bool], limit: int | None = None
) -> Sequence[Any]:
    """(object id, ra, dec, P(kilonova) of the screen) of some matches of an event, in order."""
    screened = and_(
        _screening.c.object_id == _match.c.object_id, _screening.c.event_id == line.event_id
    )
    statement = (
        select(
            _match.c.object_id, _candidate.c.ra_deg, _candidate.c.dec_deg, _screening.c.p_kilonova
        )
        .join(_candidate, _candidate.c.object_id == _match.c.object_id)
        .outerjoin(_screening, screened)
        .where(_on_present_map(line), which)
        .order_by(*(_match.c[name] for name in _BY_LEVEL))
        .limit(limit)
    )
    return session.execute(statement).all()


def _on_present_map(line: EventLine) -> ColumnElement[bool]:
    """The matches of an event with the map that it has now; none where it has none."""
    return and_(
        _match.c.event_id == line.event_id,
        _match.c.localization_id == (line.localization_id or ""),
    )
