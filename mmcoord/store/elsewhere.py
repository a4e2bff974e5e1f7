"""What other groups observe: written as it comes, read by time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.elsewhere import Elsewhere, ElsewhereStatus
from mmcoord.records import EventState, ParsedRecord
from mmcoord.store.queue import Wish, insert_for
from mmcoord.store.tables import EventRow
from mmcoord.store.tables_elsewhere import ElsewhereRow
from mmcoord.store.types import table
from mmcoord.timescales import mjd_tai

__all__ = ["elsewhere_between", "store_elsewhere"]

_row: Any = table(ElsewhereRow)
_GATHER_S = 1.0
"""Pointings come by the hundred."""
_EVENT_DAYS = timedelta(days=14)
"""A pointing so long after an event is not about it."""


def store_elsewhere(
    session: Session, records: Sequence[tuple[ParsedRecord, int]], now: datetime
) -> list[Wish]:
    """Insert or update the observations among ``records`` (record, notice id).

    Returns wishes for the plans that they bear on.

    The newest notice wins, so that redelivery of an older one changes nothing.
    """
    newest = {(r.source, r.key): (r, n) for r, n in records if isinstance(r, Elsewhere)}
    if not newest:
        return []
    rows = [
        {**dataclasses.asdict(record), "notice_id": notice_id, "received_at": now}
        for record, notice_id in newest.values()
    ]
    statement = insert_for(session, _row)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=["source", "key"],
        set_={name: new[name] for name in rows[0] if name not in ("source", "key")},
        where=new.notice_id >= _row.c.notice_id,
    )
    session.execute(statement, rows)
    first = min(record.obs_mjd_tai for record, _ in newest.values())
    last = max(record.obs_mjd_tai for record, _ in newest.values())
    events = session.execute(
        select(col(EventRow.event_id), col(EventRow.event_time)).where(
            col(EventRow.state) == EventState.ACTIVE.value
        )
    )
    cause = f"notice:{max(notice_id for _, notice_id in newest.values())}"
    return [
        Wish("plan", event_id, cause, delay_s=_GATHER_S)
        for event_id, time in events
        if time is not None
        and mjd_tai(time) <= last
        and first <= mjd_tai(time) + _EVENT_DAYS / timedelta(days=1)
    ]


def elsewhere_between(
    session: Session, begin_mjd_tai: float, end_mjd_tai: float
) -> list[Elsewhere]:
    """The observations in a span of time that were not cancelled, by source and key."""
    rows = session.execute(
        select(ElsewhereRow)
        .where(
            col(ElsewhereRow.obs_mjd_tai) >= begin_mjd_tai,
            col(ElsewhereRow.obs_mjd_tai) <= end_mjd_tai,
            col(ElsewhereRow.status) != "cancelled",
        )
        .order_by(col(ElsewhereRow.source), col(ElsewhereRow.key))
    ).scalars()
    names = [field.name for field in dataclasses.fields(Elsewhere)]
    return [
        Elsewhere(
            **{name: getattr(row, name) for name in names if name != "status"},
            status=cast(ElsewhereStatus, row.status),
        )
        for row in rows
    ]
