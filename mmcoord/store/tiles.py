"""Tiles of plans: read back as records."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.records import PlanTile
from mmcoord.store.reading import newest_plan
from mmcoord.store.tables_tiles import PlanTileRow

__all__ = ["PREFIX", "asked_before", "newest_tiles", "tile_record", "tile_to_json", "tiles_of"]

PREFIX = "tile-"
"""With which the name of every tile begins (``followup.search.tile_id``)."""


def tile_record(row: PlanTileRow) -> PlanTile:
    """The tile of a row."""
    return PlanTile(**{f.name: getattr(row, f.name) for f in dataclasses.fields(PlanTile)})


def tile_to_json(tile: PlanTile) -> dict[str, Any]:
    """A tile as a JSON document."""
    return {**dataclasses.asdict(tile), "start": tile.start.isoformat()}


def tiles_of(session: Session, event_id: str, revision: int) -> tuple[PlanTile, ...]:
    """The tiles of a plan revision, in order of time."""
    rows = session.execute(
        select(PlanTileRow)
        .where(col(PlanTileRow.event_id) == event_id, col(PlanTileRow.revision) == revision)
        .order_by(col(PlanTileRow.number))
    ).scalars()
    return tuple(tile_record(row) for row in rows)


def newest_tiles(session: Session, event_id: str) -> tuple[PlanTile, ...]:
    """The tiles of an event's newest plan revision."""
    plan = newest_plan(session, event_id)
    return tiles_of(session, event_id, plan.revision) if plan is not None else ()


def asked_before(session: Session, event_id: str, names: Collection[str]) -> list[PlanTile]:
    """Those of the names that are tiles of any plan of the event, as last asked for, by name."""
    wanted = [name for name in names if name.startswith(PREFIX)]
    if not wanted:
        return []
    newest = (
        select(col(PlanTileRow.tile_id), func.max(col(PlanTileRow.revision)).label("revision"))
        .where(col(PlanTileRow.event_id) == event_id, col(PlanTileRow.tile_id).in_(wanted))
        .group_by(col(PlanTileRow.tile_id))
        .subquery()
    )
    rows = session.execute(
        select(PlanTileRow)
        .join(
            newest,
            (newest.c.tile_id == col(PlanTileRow.tile_id))
            & (newest.c.revision == col(PlanTileRow.revision)),
        )
        .where(col(PlanTileRow.event_id) == event_id)
        .order_by(col(PlanTileRow.tile_id))
    ).scalars()
    return [tile_record(row) for row in rows]
