"""Several events' plans on the same telescopes: what each asks, and who yields to whom.

A target yields to another event's that scores as much or more. The plan that is made now may
take time from a lower one, whose event is then planned anew; that one takes from nobody, whatever
has changed in the meantime, so that a change never goes round among the events: with a dozen
events who took may have moved on before its turn comes, and it would take again. The watch for a
supernova's first light yields to none.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sqlmodel import col

from followup.sites import Instrument
from followup.spoken_for import Booking, booking_of, bookings_of_row, meeting
from mmcoord.records import EventState, PlanLook, PlanRow, PlanTile
from mmcoord.stages.planrows import looks_from_json
from mmcoord.store import bursts
from mmcoord.store.tables import EventRow, PlanRevisionRow, RequestRow
from mmcoord.store.tables_tiles import PlanTileRow
from mmcoord.store.tiles import tile_record
from mmcoord.store.types import table

__all__ = ["bookings_against", "displaced"]

_request: Any = table(RequestRow)
_SPAN = timedelta(days=1)
"""A plan asks for nothing later than a day after the instant that it was made for."""


def bookings_against(
    session: Session,
    event: EventRow,
    previous: Sequence[PlanRow],
    instruments: Sequence[Instrument],
    planned_for: datetime,
    previous_tiles: Sequence[PlanTile] = (),
    *,
    yields: bool = False,
) -> list[Booking]:
    """What the newest plans of other events ask, as the next plan of ``event`` has to see it.

    ``previous``: the rows of its plan that stands, and ``previous_tiles`` its tiles. Practice and
    real do not see each other. ``yields``: it is planned for no reason of its own, and takes from
    nobody.
    """
    by_id = {instrument.id: instrument for instrument in instruments}
    newest = (
        select(
            col(PlanRevisionRow.event_id).label("event_id"),
            func.max(col(PlanRevisionRow.revision)).label("revision"),
        )
        .group_by(col(PlanRevisionRow.event_id))
        .subquery()
    )
    of_others = (
        select(col(PlanRevisionRow.event_id), col(PlanRevisionRow.revision))
        .join(
            newest,
            (col(PlanRevisionRow.event_id) == newest.c.event_id)
            & (col(PlanRevisionRow.revision) == newest.c.revision),
        )
        .join(EventRow, col(EventRow.event_id) == newest.c.event_id)
        .where(
            col(EventRow.event_id) != event.event_id,
            col(EventRow.is_practice).is_(event.is_practice),
            col(EventRow.state) != EventState.RETRACTED.value,
            col(PlanRevisionRow.planned_for) > planned_for - _SPAN,
            col(PlanRevisionRow.planned_for) < planned_for + _SPAN,
        )
        .subquery()
    )
    # Not whole rows: a hundred of each event, with their reasons, are some kilobytes each.
    rows = session.execute(
        select(
            _request.c.event_id,
            _request.c.score,
            _request.c.row["instrument"].as_string().label("instrument"),
            _request.c.row["start"].as_string().label("start"),
            _request.c.row["exposure_s"].as_float().label("exposure_s"),
            _request.c.row["looks"].as_string().label("looks"),
        )
        .join(
            of_others,
            (of_others.c.event_id == _request.c.event_id)
            & (of_others.c.revision == _request.c.revision),
        )
        .where(_request.c.row["start"].as_string().is_not(None))
        .order_by(_request.c.event_id, _request.c.rank)
    )
    tiles = session.execute(
        select(PlanTileRow)
        .join(
            of_others,
            (of_others.c.event_id == col(PlanTileRow.event_id))
            & (of_others.c.revision == col(PlanTileRow.revision)),
        )
        .order_by(col(PlanTileRow.event_id), col(PlanTileRow.number))
    ).scalars()
    others = [
        booking for row in rows for booking in bookings_of_row(_row_asked(row), row.event_id, by_id)
    ]
    others += [
        booking
        for row in tiles
        if (booking := booking_of(tile_record(row), row.score, row.event_id, by_id)) is not None
    ]
    others = [booking for booking in others if booking.end > planned_for]
    watches = {
        event_id
        for event_id in {other.event_id for other in others}
        if bursts.followed_as(session, event_id) is not None
    }
    others = [
        dataclasses.replace(other, score=math.inf) if other.event_id in watches else other
        for other in others
    ]
    ours = _asked(previous, previous_tiles, event.event_id, by_id)
    if yields or any(other.score >= mine.score for mine, other in meeting(ours, others)):
        return [dataclasses.replace(other, score=math.inf) for other in others]
    return others


@dataclass(frozen=True, slots=True)
class _RowAsked:
    """What of a plan's row asks for time."""

    instrument: str
    start: datetime
    exposure_s: float | None
    score: float
    looks: tuple[PlanLook, ...]


def _row_asked(row: Any) -> _RowAsked:
    looks = looks_from_json(json.loads(row.looks)) if row.looks else ()  # plans had none before
    start = datetime.fromisoformat(row.start)
    return _RowAsked(row.instrument, start, row.exposure_s, row.score, looks)


def displaced(
    rows: Sequence[PlanRow],
    event_id: str,
    instruments: Sequence[Instrument],
    others: Sequence[Booking],
    tiles: Sequence[PlanTile] = (),
) -> tuple[str, ...]:
    """Events whose plans meet ``rows`` or ``tiles`` and are to be made anew."""
    ours = _asked(rows, tiles, event_id, {instrument.id: instrument for instrument in instruments})
    return tuple(sorted({other.event_id for _, other in meeting(ours, others)}))


def _asked(
    rows: Sequence[PlanRow],
    tiles: Sequence[PlanTile],
    event_id: str,
    by_id: Mapping[str, Instrument],
) -> list[Booking]:
    fields = [booking_of(tile, tile.score, event_id, by_id) for tile in tiles]
    return [
        *(booking for row in rows for booking in bookings_of_row(row, event_id, by_id)),
        *(booking for booking in fields if booking is not None),
    ]
