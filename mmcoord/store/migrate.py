"""Bringing a store's schema up to date (Alembic)."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from mmcoord.store.database import Database

__all__ = ["alembic_config", "upgrade"]


def alembic_config(database: Database) -> Config:
    """Alembic's configuration for ``database``; the connection is handed to ``env.py``."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["engine"] = database.engine
    return config


def upgrade(database: Database, revision: str = "head") -> None:
    """Create or migrate the tables. Does nothing on a store that is up to date."""
    with database.migration_lock():  # several processes of one service start at the same time
        command.upgrade(alembic_config(database), revision)
