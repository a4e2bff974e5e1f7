"""Alembic environment: runs on the engine that ``mmcoord.store.migrate`` hands in."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

from mmcoord.store import (  # noqa: F401  (fill the metadata)
    tables,
    tables_attempts,
    tables_claims,
    tables_elsewhere,
    tables_tiles,
)

engine = context.config.attributes["engine"]
with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()
