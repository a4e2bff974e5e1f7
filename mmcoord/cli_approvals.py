"""``mmcoord approve``, ``reject``, ``held``, ``preload``: a person decides what is published."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer

from mmcoord.cli_common import (
    ConfigOption,
    DbOption,
    JsonOption,
    print_json,
    settings_of,
    store,
)
from mmcoord.errors import ConfigError, MmcoordError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("approve", help="Let out what waits of an event at a sink.")(_command("approve"))
    app.command("reject", help="Refuse what waits of an event at a sink.")(_command("reject"))
    app.command("held")(held)
    app.command("preload")(preload)


def _command(decision: str) -> Callable[..., None]:
    def say(
        event: Annotated[str, typer.Argument(help="Any name of the event.")],
        sink: Annotated[str, typer.Argument(help="Name of the sink.")],
        standing: Annotated[
            bool, typer.Option("--standing", help="Also for later plan revisions.")
        ] = False,
        by: Annotated[str | None, typer.Option(help="Who says it; default: this user.")] = None,
        note: Annotated[str, typer.Option(help="For people.")] = "",
        config: ConfigOption = None,
        db: DbOption = None,
    ) -> None:
        from mmcoord.store import approvals, finding

        with store(settings_of(config, db)) as database, database.write() as session:
            rows = approvals.answer(
                session,
                finding.one(session, event),
                sink,
                decision,
                by=by or getpass.getuser(),
                now=datetime.now(UTC),
                is_standing=standing,
                note=note,
            )
            said = [f"{row.key}: {row.state}, {row.detail}" for row in rows]
        print("\n".join(said))

    return say


def held(
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """What waits for a person; with --json all that it would say."""
    from mmcoord.store import approvals

    with store(settings_of(config, db)) as database, database.read() as session:
        rows = approvals.held(session)
    if as_json:
        print_json([{"key": row.key, "sink": row.sink, "payload": row.payload} for row in rows])
        return
    for row in rows:
        what = row.target or "whole plan"
        print(f"{row.event_id}  {row.sink}  revision {row.plan_revision}  {what}: {row.detail}")


def preload(
    event: Annotated[str, typer.Argument(help="Any name of the event.")],
    sink: Annotated[str, typer.Argument(help="Name of a sink with a form: hermes.")],
    config: ConfigOption = None,
    db: DbOption = None,
) -> None:
    """Fill in the service's own form with the newest plan and print the link to it.

    Nothing is published: a person looks, changes and submits there.
    """
    import httpx

    from followup.sinks.base import Outcome, Preloads
    from mmcoord.preview import payloads
    from mmcoord.store import finding
    from mmcoord.wiring import build_context

    settings = settings_of(config, db)
    with store(settings) as database, httpx.Client() as client:
        ctx = build_context(settings, database, client)
        with database.read() as session:
            event_id = finding.one(session, event)
        found = payloads(ctx, event_id, sink)
        service = ctx.sinks[sink]
        if not isinstance(service, Preloads):
            raise ConfigError(f"sink {sink!r} has no form to fill in")
        for payload in found:
            answer = service.preload(payload)
            if answer.outcome is not Outcome.SENT:
                raise MmcoordError(f"{sink}: {answer.detail}")
            print(answer.extra["link"])
