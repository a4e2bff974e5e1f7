"""What the commands share: their common options, settings, the store, JSON."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from mmcoord.config import Settings, load_settings

__all__ = [
    "ConfigOption",
    "DbOption",
    "JsonOption",
    "context",
    "note",
    "pipeline",
    "print_json",
    "settings_of",
    "store",
    "utc_moment",
]

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
    from mmcoord.opening import open_database

    database = open_database(settings)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def context(settings: Settings) -> Iterator[Any]:
    import httpx

    from mmcoord.opening import open_database
    from mmcoord.wiring import build_context, with_default_sink

    settings = with_default_sink(settings, Path(settings.data_dir) / "outbox")
    database = open_database(settings)
    try:
        with httpx.Client() as client:
            yield build_context(settings, database, client)
    finally:
        database.close()


@contextmanager
def pipeline(config: Path | None, db: str | None, *, send_real: bool = False) -> Iterator[Any]:
    """A context and pipeline for a replay: data clock, no debounce, own store by default."""
    from mmcoord.practice import practice_settings
    from mmcoord.stages import deliver
    from mmcoord.stages.executor import build_executor
    from mmcoord.stages.pipeline import Pipeline
    from mmcoord.wiring import with_default_sink

    temporary = None
    if db is None:
        temporary = tempfile.mkdtemp(prefix="mmcoord-")
        db = f"sqlite:///{temporary}/mmcoord.db"
    settings = practice_settings(settings_of(config, db), debounce_s=0.0)
    settings = dataclasses.replace(settings, send_real=send_real)
    path = settings.url.removeprefix("sqlite:///")
    outbox = Path(f"{path}.outbox") if path != settings.url else Path(settings.data_dir) / "outbox"
    try:
        with context(with_default_sink(settings, outbox)) as ctx:
            with ctx.database.pipeline_lock():
                stages = Pipeline(ctx, build_executor(settings.infer))
                stages.recover()
                deliver.recover(ctx)
                try:
                    yield ctx, stages
                finally:
                    stages.close()
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def note(text: str) -> None:
    """A line about progress, apart from the answer on standard output."""
    print(text, file=sys.stderr, flush=True)


def utc_moment(text: str) -> datetime:
    """A time in ISO 8601, UTC where it has no zone; raises ValueError if it is none."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
