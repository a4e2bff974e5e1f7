"""Opening the store; apart from the wiring, so that a command that only reads it starts at once."""

from __future__ import annotations

from mmcoord.config import Settings
from mmcoord.store.database import Database
from mmcoord.store.migrate import upgrade

__all__ = ["open_database"]


def open_database(settings: Settings, *, shared: bool = False) -> Database:
    """The store, created or migrated as needed."""
    database = Database(settings.url, shared=shared)
    upgrade(database)
    return database
