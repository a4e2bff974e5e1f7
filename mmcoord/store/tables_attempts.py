"""Who had which run in hand, and what became of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Text
from sqlmodel import Field, SQLModel

from mmcoord.store.columns import id_column, when

__all__ = ["RunAttemptRow"]


class RunAttemptRow(SQLModel, table=True):
    """One lease of a run, from being taken to its end."""

    __tablename__ = "run_attempt"

    id: int | None = id_column()
    run_key: str = Field(index=True)
    owner: str
    """As ``run.lease_owner``."""
    cores: int = 1
    """That the owner says it has for the run; what it reports as used can be no more."""
    taken_at: datetime = when()
    ended_at: datetime | None = when(nullable=True)
    outcome: str = Field(default="", sa_column=Column(Text, nullable=False))
    """Empty while it lasts; ``done``, ``late`` (the result was there already), ``given back``,
    ``expired``, or the error."""
