"""``mmcoord withdraw`` and the commands about neutrino bursts."""

from __future__ import annotations

from typing import Annotated

import httpx
import typer

from mmcoord.cli_common import ConfigOption, DbOption, JsonOption, print_json, settings_of, store

__all__ = ["withdraw"]


def withdraw(
    event: Annotated[str, typer.Argument(help="Any name of the event.")],
    reason: Annotated[str, typer.Option(help="Why; kept, and shown on the event's page.")],
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take an event back whose sender does not: plans and posts are withdrawn everywhere."""
    from mmcoord.store import finding
    from mmcoord.wiring import build_context
    from mmcoord.withdraw import withdraw as take_back

    settings = settings_of(config, db)
    with store(settings) as database, httpx.Client() as client:
        ctx = build_context(settings, database, client)
        with database.read() as session:
            event_id = finding.one(session, event)
        done = take_back(ctx, event_id, reason)
    if as_json:
        print_json({"event": event_id, "withdrawn": done})
    else:
        print(f"{event_id}: " + ("withdrawal received" if done else "was retracted already"))
