"""The house itself: work to do, counts, what happened, alarms."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, Text, text
from sqlmodel import Field, SQLModel

from mmcoord.store.columns import big, id_column, json_doc, when

__all__ = ["AlarmRow", "JournalRow", "LedgerRow", "WorkRow"]


class WorkRow(SQLModel, table=True):
    """What a stage still has to look at.

    One row per (stage, key). ``requested`` counts the wishes, ``done`` those served; a wish
    that arrives while the key is being worked on is therefore never lost, and a burst of
    wishes for one key is served at once.
    """

    __tablename__ = "work"
    __table_args__ = (
        Index(
            "ix_work_pending",
            "stage",
            "priority",
            "not_before",
            sqlite_where=text("requested > done"),
            postgresql_where=text("requested > done"),
        ),
    )

    stage: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    requested: int = big()
    done: int = big()
    priority: int = 1
    not_before: datetime = when()
    enqueued_at: datetime = when()
    """When the oldest wish not yet served came in."""
    attempts: int = 0
    cause_id: str = ""


class LedgerRow(SQLModel, table=True):
    """Counts per stage, written in the transaction of what they count."""

    __tablename__ = "ledger"

    stage: str = Field(primary_key=True)
    received: int = big()
    processed: int = big()
    dead: int = big()


class JournalRow(SQLModel, table=True):
    """What happened, in order: the source of ``story`` and of the latencies."""

    __tablename__ = "journal"

    id: int | None = id_column()
    at: datetime = when(index=True)
    stage: str
    what: str
    """A short code: ``received``, ``matched``, ``inferred``, ``planned``, ``sent`` ..."""
    text: str = Field(sa_column=Column(Text, nullable=False))
    event_id: str | None = Field(default=None, index=True)
    object_id: str | None = Field(default=None, index=True)
    latency_s: float | None = None
    """From the moment the stage was asked to the moment it was done."""
    cause_id: str = Field(default="", index=True)


class AlarmRow(SQLModel, table=True):
    """Something that an operator has to know: raised once, told once, cleared once."""

    __tablename__ = "alarm"

    id: int | None = id_column()
    key: str = Field(index=True)
    """What it is about: ``listener gcn: silent``. At most one open alarm has a key."""
    severity: str
    """``page``: somebody should be woken; ``warn``: it can wait for the morning."""
    text: str = Field(sa_column=Column(Text, nullable=False))
    """What is wrong and what to do."""
    raised_at: datetime = when(index=True)
    cleared_at: datetime | None = when(nullable=True)
    told: dict[str, Any] = json_doc(dict)
    """Sink -> ``raised`` and ``cleared`` -> how telling it went."""
