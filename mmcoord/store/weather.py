"""The weather as it was last told: written as it comes, read at each plan."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.records import EventState, ParsedRecord
from mmcoord.store.queue import Wish, insert_for
from mmcoord.store.tables import EventRow
from mmcoord.store.tables_tiles import WeatherRow
from mmcoord.store.types import table
from mmcoord.weather import Spell, Weather, spells_of

__all__ = ["known_weather", "store_weather", "weather_until"]

_row: Any = table(WeatherRow)
_EVENT_DAYS = timedelta(days=14)
"""So long after an event it is still planned for."""


def store_weather(
    session: Session, records: Sequence[tuple[ParsedRecord, int]], now: datetime
) -> list[Wish]:
    """Keep the newest of the weather among ``records`` (record, notice id).

    Returns wishes for the plans of active events.
    """
    newest = {r.source: (r, n) for r, n in records if isinstance(r, Weather)}
    if not newest:
        return []
    rows = [
        {"source": r.source, "spells": dict(r.said), "obtained_at": now, "notice_id": n}
        for r, n in newest.values()
    ]
    statement = insert_for(session, _row)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=["source"],
        set_={name: new[name] for name in rows[0] if name != "source"},
        where=new.notice_id >= _row.c.notice_id,
    )
    session.execute(statement, rows)
    active = session.execute(
        select(col(EventRow.event_id))
        .where(
            col(EventRow.state) == EventState.ACTIVE.value,
            col(EventRow.event_time) > now - _EVENT_DAYS,
        )
        .order_by(col(EventRow.event_id))
    ).scalars()
    cause = f"notice:{max(n for _, n in newest.values())}"
    return [Wish("plan", event_id, cause) for event_id in active]


def known_weather(session: Session, source: str) -> dict[str, tuple[Spell, ...]]:
    """Spells by site, as the service at that address last said; empty before it has."""
    row = session.get(WeatherRow, source)
    return spells_of(row.spells) if row is not None else {}


def weather_until(session: Session, source: str) -> datetime | None:
    """Until when the service has said anything; None before it has."""
    ends = [spell.end for some in known_weather(session, source).values() for spell in some]
    return max(ends, default=None)
