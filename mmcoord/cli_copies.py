"""``mmcoord backup`` and ``mmcoord restore``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmcoord.cli_common import ConfigOption, DbOption, JsonOption, print_json, settings_of

if TYPE_CHECKING:
    from mmcoord.store.copies import Inventory

__all__ = ["backup", "restore"]


def backup(
    out: Annotated[Path, typer.Argument(help="A file that is not there yet.", dir_okay=False)],
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the store into one file, also while the daemon runs."""
    from mmcoord.store import copies
    from mmcoord.store.database import Database

    database = Database(settings_of(config, db).url)  # not migrated: it is copied before that
    try:
        _say(copies.backup(database, out), out, as_json)
    finally:
        database.close()


def restore(
    source: Annotated[Path, typer.Argument(help="What `mmcoord backup` wrote.", dir_okay=False)],
    config: ConfigOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an empty store of a copy; what was to be delivered is asked after first."""
    from mmcoord.store import copies
    from mmcoord.store.database import Database

    database = Database(settings_of(config, db).url)
    try:
        _say(copies.restore(source, database), source, as_json)
    finally:
        database.close()


def _say(found: Inventory, file: Path, as_json: bool) -> None:
    size = file.stat().st_size
    if as_json:
        print_json({"file": str(file), "bytes": size, **dataclasses.asdict(found)})
    else:
        balanced = "balanced" if found.ledger_balanced else "NOT balanced"
        print(
            f"{file}: {size / 1e6:.1f} MB, {sum(found.rows.values())} rows in {len(found.rows)} "
            f"tables, schema {found.revision}, ledger {balanced}"
        )
