"""What comes in: notices, what cannot be used, and how far each listener has got."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from mmcoord.store.columns import big, id_column, json_doc, when

__all__ = ["AlertNoticeRow", "CounterRow", "CursorRow", "DeadLetterRow", "ListenerRow", "NoticeRow"]


class NoticeRow(SQLModel, table=True):
    """The inbox: raw bytes and where they came from, written before anything is parsed."""

    __tablename__ = "notice"
    __table_args__ = (
        # The content too: a broker that was set up anew counts its offsets from zero again, and
        # what it then sends under coordinates that we know is not what we have.
        UniqueConstraint(
            "broker", "topic", "partition", "offset", "sha256", name="uq_notice_coordinates"
        ),
        Index(
            "ix_notice_pending",
            "priority",
            "id",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
    )

    id: int | None = id_column()
    source: str
    broker: str
    topic: str
    partition: int
    offset: int = big()
    payload: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    sha256: str = Field(index=True)
    priority: int = 1
    """-1: gravitational waves and supernova neutrinos; 0: other alerts, which overtake any
    backlog of candidates; 1: the rest."""
    received_at: datetime = when(index=True)
    sent_at: datetime | None = when(nullable=True, index=True)
    state: str = "pending"
    """pending, processed, dead."""
    outcome: str | None = Field(default=None, sa_column=Column(Text))
    """What became of it, for people."""
    processed_at: datetime | None = when(nullable=True)


class AlertNoticeRow(SQLModel, table=True):
    """Which notices say the same alert: one over each broker, and those sent twice."""

    __tablename__ = "alert_notice"

    alert_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    notice_id: int = Field(
        sa_column=Column(BigInteger, primary_key=True, autoincrement=False, index=True)
    )


class DeadLetterRow(SQLModel, table=True):
    """What could not be used, and why; it can be tried again after a fix."""

    __tablename__ = "dead_letter"

    id: int | None = id_column()
    notice_id: int | None = big(default=None, index=True, nullable=True)
    stage: str
    reason: str = Field(sa_column=Column(Text, nullable=False))
    at: datetime = when()
    cause_id: str = ""
    retried_at: datetime | None = when(nullable=True)


class ListenerRow(SQLModel, table=True):
    """What is remembered of a configured listener over restarts."""

    __tablename__ = "listener"

    name: str = Field(primary_key=True)
    first_started_at: datetime = when()
    connected_at: datetime | None = when(nullable=True)
    """When it last worked, to within some minutes."""


class CursorRow(SQLModel, table=True):
    """How far a listener that polls has got; written with the notices that it covers."""

    __tablename__ = "cursor"

    listener: str = Field(primary_key=True)
    position: dict[str, Any] = json_doc(dict)
    updated_at: datetime = when()


class CounterRow(SQLModel, table=True):
    """How often a rule left something out, per source: ``veto moving``, ``veto star`` ..."""

    __tablename__ = "counter"

    source: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    n: int = big()
