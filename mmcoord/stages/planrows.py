"""Plan rows as JSON and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.records import PlanLook, PlanRow
from mmcoord.store.reading import newest_plan
from mmcoord.store.tables import RequestRow

__all__ = ["looks_from_json", "newest_rows", "row_from_json", "row_to_json"]


def row_to_json(row: PlanRow) -> dict[str, Any]:
    """A plan row as a JSON document."""
    document = dataclasses.asdict(
        dataclasses.replace(row, factors=dict(row.factors), reasons=dict(row.reasons))
    )
    document["start"] = row.start.isoformat() if row.start else None
    document["looks"] = [
        {**dataclasses.asdict(look), "start": look.start.isoformat()} for look in row.looks
    ]
    return document


def row_from_json(document: Mapping[str, Any]) -> PlanRow:
    """The plan row of :func:`row_to_json`."""
    start = document["start"]
    looks = looks_from_json(document.get("looks", ()))  # plans had none before
    when = datetime.fromisoformat(start) if start else None
    return PlanRow(**{**document, "start": when, "looks": looks})


def looks_from_json(documents: Iterable[Mapping[str, Any]]) -> tuple[PlanLook, ...]:
    """The further looks of a row of :func:`row_to_json`."""
    return tuple(
        PlanLook(**{**look, "start": datetime.fromisoformat(look["start"])}) for look in documents
    )


def newest_rows(session: Session, event_id: str) -> tuple[PlanRow, ...]:
    """The rows of an event's newest plan revision; empty before the first."""
    plan = newest_plan(session, event_id)
    if plan is None:
        return ()
    rows = session.execute(
        select(RequestRow)
        .where(col(RequestRow.event_id) == event_id, col(RequestRow.revision) == plan.revision)
        .order_by(col(RequestRow.rank))
    ).scalars()
    return tuple(row_from_json(row.row) for row in rows)
