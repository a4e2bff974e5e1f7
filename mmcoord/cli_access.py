"""``mmcoord group`` and ``mmcoord token``: who may ask for what, and at whose cost."""

from __future__ import annotations

import dataclasses
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
from mmcoord.errors import ConfigError

__all__ = ["group_app", "token_app"]

group_app = typer.Typer(help="Groups that may ask for inferences.", no_args_is_help=True)
token_app = typer.Typer(help="API tokens of groups.", no_args_is_help=True)


@group_app.command("add")
def group_add(
    name: Annotated[str, typer.Argument(help="a-z, 0-9 and '-'.")],
    quota_cpu_s: Annotated[
        float, typer.Option(help="Processor seconds that it may use in a period.")
    ] = 36_000.0,
    period_day: Annotated[float, typer.Option(help="Length of the period.")] = 30.0,
    priority: Annotated[float, typer.Option(help="Place in the queue, 0 to 1.")] = 0.5,
    config: ConfigOption = None,
    db: DbOption = None,
) -> None:
    """Make a group, or change its quota."""
    from mmcoord.store import access

    with store(settings_of(config, db)) as database, database.write() as session:
        access.add_group(
            session,
            name,
            quota_cpu_s=quota_cpu_s,
            period_day=period_day,
            priority=priority,
            now=datetime.now(UTC),
        )
    print(f"group {name}: {quota_cpu_s:g} CPU seconds in {period_day:g} days")


@group_app.command("list")
def group_list(
    config: ConfigOption = None, db: DbOption = None, as_json: JsonOption = False
) -> None:
    """All groups and what they have used."""
    from mmcoord import runs
    from mmcoord.store import access

    with store(settings_of(config, db)) as database, database.read() as session:
        found = [
            {
                "group": group.name,
                "priority": group.priority,
                "left_cpu_s": round(used.left_cpu_s, 1),
                **{k: round(v, 1) for k, v in dataclasses.asdict(used).items()},
            }
            for group in access.groups(session)
            for used in [runs.usage(session, group, datetime.now(UTC))]
        ]
    if as_json:
        print_json(found)
        return
    for line in found:
        print(
            f"{line['group']:20s} {line['charged_cpu_s']:10.1f} of {line['quota_cpu_s']:.1f} "
            f"CPU s in {line['period_day']:g} d, {line['waiting']} waiting"
        )


@token_app.command("create")
def token_create(
    group: Annotated[str, typer.Argument(help="The group that it speaks for.")],
    scope: Annotated[
        list[str], typer.Option(help="read, run, models, worker, claim, approve; repeat it.")
    ] = [  # noqa: B006
        "read",
        "run",
    ],
    days: Annotated[float, typer.Option(help="Valid for so long.")] = 365.0,
    label: Annotated[str, typer.Option(help="Where it is used, for people.")] = "",
    config: ConfigOption = None,
    db: DbOption = None,
) -> None:
    """Make a token and print it: the only time that it can be seen."""
    from mmcoord import access as tokens
    from mmcoord.store import access

    if not days > 0:
        raise ConfigError("--days: a token is valid for some time")
    try:
        scopes = tokens.scopes(scope)
    except ValueError as error:
        raise ConfigError(f"--scope: {error}") from None
    with store(settings_of(config, db)) as database, database.write() as session:
        _, minted = access.add_token(
            session, group, label=label, scopes=scopes, valid_day=days, now=datetime.now(UTC)
        )
    print(minted.text)


@token_app.command("list")
def token_list(
    config: ConfigOption = None, db: DbOption = None, as_json: JsonOption = False
) -> None:
    """All tokens, without their secrets."""
    from mmcoord.store import access

    with store(settings_of(config, db)) as database, database.read() as session:
        found = [
            {
                "id": row.id,
                "group": row.group,
                "label": row.label,
                "scopes": row.scopes,
                "created_at": row.created_at.isoformat(),
                "expires_at": row.expires_at.isoformat(),
                "revoked_at": row.revoked_at.isoformat() if row.revoked_at else None,
                "last_used_at": row.last_used_at.isoformat() if row.last_used_at else None,
            }
            for row in access.tokens(session)
        ]
    if as_json:
        print_json(found)
        return
    for line in found:
        scopes = ",".join(map(str, line["scopes"] or ()))
        state = "revoked" if line["revoked_at"] else f"until {str(line['expires_at'])[:10]}"
        print(f"{line['id']}  {line['group']:20s} {scopes}  {state}  {line['label']}")


@token_app.command("revoke")
def token_revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID")],
    config: ConfigOption = None,
    db: DbOption = None,
) -> None:
    """Make a token worthless at once."""
    from mmcoord.store import access

    with store(settings_of(config, db)) as database, database.write() as session:
        row = access.revoke_token(session, token_id, datetime.now(UTC))
        print(f"token {row.id} of {row.group} is revoked")
