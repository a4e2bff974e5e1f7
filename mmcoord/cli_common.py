"""What the commands share: their common options, settings, the store, JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from mmcoord.config import Settings, load_settings

__all__ = ["ConfigOption", "DbOption", "JsonOption", "print_json", "settings_of", "store"]

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="TOML settings file.", dir_okay=False)
]
DbOption = Annotated[
    str | None, typer.Option("--db", help="Store: a file, or a database URL.", metavar="URL")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def settings_of(config: Path | None, db: str | None, **changes: Any) -> Settings:
    """Settings of a file (or none), on another store where one is named."""
    settings = load_settings(config)
    if db is not None:
        url = db if "://" in db else f"sqlite:///{Path(db).absolute()}"
        changes["database_url"] = url
    return dataclasses.replace(settings, **changes)


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(document, indent=2, sort_keys=False, allow_nan=False))


@contextmanager
def store(settings: Settings) -> Iterator[Any]:
    """The store, made or migrated as needed, closed at the end."""
    from mmcoord.wiring import open_database

    database = open_database(settings)
    try:
        yield database
    finally:
        database.close()
