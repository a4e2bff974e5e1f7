"""Stores with their tables for tests: migrated once, then copied, because hundreds are wanted."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from mmcoord.store.database import Database
from mmcoord.store.migrate import upgrade

__all__ = ["migrated"]


def migrated(url: str) -> Database:
    """A store at ``url``, where none is yet, as ``upgrade`` makes it."""
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_sqlite(), path)
        return Database(url)
    database = Database(url)
    upgrade(database)
    return database


@cache
def _sqlite() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mmcoord-store-"))
    path = folder / "mmcoord.db"
    database = Database(f"sqlite:///{path}")
    upgrade(database)
    database.close()
    assert not path.with_suffix(".db-wal").exists(), "the copy would lack what is in the log"
    return path
