"""What a sink would be sent for an event, without sending it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlmodel import col

from mmcoord.errors import ConfigError, UnknownRecord
from mmcoord.records import OutgoingKind
from mmcoord.stages.context import Context
from mmcoord.stages.outbox import (
    claimed_tiles,
    delivery_key,
    headlines_of,
    messages,
    outgoing_for,
)
from mmcoord.stages.planrows import row_from_json
from mmcoord.store.reading import newest_plan
from mmcoord.store.tables import EventRow, RequestRow
from mmcoord.store.tiles import tiles_of

__all__ = ["payloads"]


def payloads(ctx: Context, event_id: str, sink_name: str) -> list[dict[str, Any]]:
    """The payloads of the newest plan revision at one sink, best target first.

    Raises
    ------
    ConfigError
        No such sink in the configuration.
    UnknownRecord
        No such event, or no plan of it yet.
    """
    sink = ctx.sinks.get(sink_name)
    if sink is None:
        raise ConfigError(
            f"no sink {sink_name!r} is configured; there is {', '.join(sorted(ctx.sinks))}"
        )
    with ctx.database.read() as session:
        event = session.get(EventRow, event_id)
        if event is None:
            raise UnknownRecord(f"no event {event_id!r}")
        plan = newest_plan(session, event_id)
        if plan is None:
            raise UnknownRecord(f"event {event_id} has no plan yet")
        revision = plan.revision
        rows = [
            row_from_json(row.row)
            for row in session.execute(
                select(RequestRow)
                .where(col(RequestRow.event_id) == event_id, col(RequestRow.revision) == revision)
                .order_by(col(RequestRow.rank))
                .limit(ctx.settings.plan.post_top)
            ).scalars()
            if row.score > 0
        ]
        tiles, told = tiles_of(session, event_id, revision), claimed_tiles(session, event_id, sink)
        headlines = headlines_of(session, event_id)
        shown = [
            sink.payload(
                outgoing_for(
                    ctx,
                    session,
                    event,
                    revision,
                    group,
                    kind=OutgoingKind.PUBLISH,
                    key=delivery_key("publish", sink_name, event_id, revision, target),
                    headlines=headlines,
                    tiles=fields,
                )
            )
            for target, group, fields in messages(sink, rows, tiles, told)
        ]
        return [payload for payload in shown if payload]
