"""``mmcoord replay --event``: a past event with today's models and rules, then and now."""

from __future__ import annotations

from pathlib import Path

from mmcoord.cli_common import note, pipeline, print_json, settings_of, store

__all__ = ["replay_event"]


def replay_event(event: str, config: Path | None, db: str | None, as_json: bool) -> None:
    """Replay an event of a store into a temporary one and print both.

    Raises
    ------
    UnknownRecord, AmbiguousName
        No such event in the store, or several of that name.
    """
    from mmcoord.replay import feed
    from mmcoord.replay_event import compared, stored_messages, table
    from mmcoord.store import finding

    with store(settings_of(config, db)) as past:
        with past.read() as session:
            event_id = finding.one(session, event)
            stored = stored_messages(session, event_id)
        note(f"replay: {event_id}, {len(stored)} messages of its own store")
        with pipeline(config, None) as (ctx, stages):
            feed(ctx, stored)
            stages.drain()
            with past.read() as then, ctx.database.snapshot() as now:
                document = compared(then, now, event_id)
    if as_json:
        print_json(document)
    else:
        print("\n".join(table(document)))
