"""``mmcoord claim``, ``start``, ``complete``, ``release``, ``decline``, ``claims``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer

from followup.claims import SkipReason, Verb
from mmcoord.cli_common import (
    ConfigOption,
    DbOption,
    JsonOption,
    print_json,
    settings_of,
    store,
)

__all__ = ["register"]

EventArgument = Annotated[str, typer.Argument(help="Any name of the event.")]
ObjectArgument = Annotated[str, typer.Argument(metavar="OBJECT", help="The target.")]
GroupOption = Annotated[str, typer.Option("--group", help="Who says it.")]
_HELP = {
    Verb.CLAIM: "Say that a group means to observe a target; said again, it lasts longer.",
    Verb.START: "Say that the observation is under way.",
    Verb.COMPLETE: "Say that the observation is done.",
    Verb.RELEASE: "Give a claim back: somebody else may observe.",
    Verb.DECLINE: "Say that a group will not observe a target, and why.",
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for verb in Verb:
        app.command(verb.value, help=_HELP[verb])(_command(verb))
    app.command("claims")(claims_list)


def _command(verb: Verb) -> Callable[..., None]:
    def say(
        event: EventArgument,
        object_id: ObjectArgument,
        group: GroupOption,
        instrument: Annotated[str | None, typer.Option(help="With which instrument.")] = None,
        band: Annotated[str | None, typer.Option(help="In which band.")] = None,
        hours: Annotated[float | None, typer.Option(help="How long a claim stands.")] = None,
        reason: Annotated[SkipReason | None, typer.Option(help="Why it is declined.")] = None,
        note: Annotated[str, typer.Option(help="For people.")] = "",
        key: Annotated[str | None, typer.Option(help="Idempotency key.")] = None,
        config: ConfigOption = None,
        db: DbOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from mmcoord.api.claims import ClaimLine
        from mmcoord.store import claims

        said = claims.Act(
            *(verb, event, object_id, group, "cli"),
            instrument=instrument,
            band=band,
            hours=hours,
            reason=reason,
            note=note,
            key=key,
        )
        settings = settings_of(config, db)
        with store(settings) as database, database.write() as session:
            row = claims.act(session, said, datetime.now(UTC), settings.claims)
            claim = ClaimLine.of(row)
            others = [ClaimLine.of(other) for other in claims.others(session, row)]
        if as_json:
            document = claim.model_dump(mode="json")
            print_json({"claim": document, "others": [o.model_dump(mode="json") for o in others]})
            return
        until = f" until {claim.expires_at:%Y-%m-%d %H:%M} UTC" if claim.expires_at else ""
        print(f"{claim.object_id} of {claim.event_id}: {claim.state} by {claim.group}{until}")
        for other in others:
            print(f"  also {other.state} by {other.group}")

    return say


def claims_list(
    event: EventArgument,
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Who observes what of an event."""
    from mmcoord.api.claims import ClaimLine
    from mmcoord.store import claims, finding

    with store(settings_of(config, db)) as database, database.read() as session:
        event_id = finding.one(session, event)
        found = [ClaimLine.of(row) for row in claims.of_event(session, event_id)]
    if as_json:
        print_json([line.model_dump(mode="json") for line in found])
        return
    for line in found:
        why = f" ({line.reason})" if line.reason else ""
        print(f"{line.object_id:24s} {line.state:10s} {line.group:20s} {line.changed_at}{why}")
