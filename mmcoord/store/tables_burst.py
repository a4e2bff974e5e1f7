"""What was made of neutrino bursts. Rules as in :mod:`mmcoord.store.tables`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from mmcoord.store.columns import id_column, json_doc, when

__all__ = ["BurstMemberRow", "BurstRow"]


class BurstRow(SQLModel, table=True):
    """One assessment of a burst; append-only, the highest revision stands."""

    __tablename__ = "burst"
    __table_args__ = (UniqueConstraint("event_id", "revision", name="uq_burst_revision"),)

    id: int | None = id_column()
    event_id: str = Field(index=True)
    """The event under which the burst is followed: of those that announce it the one that was
    received first and is not retracted."""
    revision: int
    content_sha256: str
    assessment: dict[str, Any] = json_doc(dict)
    """See :meth:`mmcoord.supernova.assess.Assessment.to_json`."""
    localization_id: str | None = None
    created_at: datetime = when()
    cause_id: str = ""


class BurstMemberRow(SQLModel, table=True):
    """Under which event the burst that an event announces is followed now."""

    __tablename__ = "burst_member"

    event_id: str = Field(primary_key=True)
    followed_as: str = Field(index=True)
