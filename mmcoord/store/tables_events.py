"""Events: their alerts, maps, names, and the circulars about them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, LargeBinary, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from mmcoord.store.columns import big, id_column, json_doc, when
from mmcoord.store.types import UtcDateTime

__all__ = [
    "AlertRow",
    "CircularNameRow",
    "CircularRow",
    "EventNameRow",
    "EventRow",
    "LateMapRow",
    "LocalizationRow",
]


class EventRow(SQLModel, table=True):
    """An event as it stands: a summary of its alerts, recomputed from them."""

    __tablename__ = "event"

    event_id: str = Field(primary_key=True)
    messenger: str
    state: str
    """active, retracted."""
    is_practice: bool
    event_time: datetime | None = when(nullable=True)
    alert_type: str
    significant: bool | None = None
    current_alert_id: int | None = big(default=None, nullable=True)
    localization_id: str | None = None
    """The newest map that could be read."""
    aliases: list[str] = json_doc(list)
    first_received_at: datetime = when()
    updated_at: datetime = when()
    cause_id: str = ""


class AlertRow(SQLModel, table=True):
    """One revision of an event. Unique by content, so two brokers make one row."""

    __tablename__ = "alert"
    __table_args__ = (
        UniqueConstraint("event_id", "alert_type", "time_created", name="uq_alert_identity"),
    )

    id: int | None = id_column()
    event_id: str = Field(index=True)
    alert_type: str
    time_created: datetime = when()
    notice_id: int = big()
    localization_id: str | None = None
    localized_by: str | None = None
    """Where the localization came from: ``map`` in the notice, ``link``, ``region``."""
    messenger: str
    is_practice: bool
    event_time: datetime | None = when(nullable=True)
    significant: bool | None = None
    far_hz: float | None = None
    group: str | None = None
    pipeline: str | None = None
    search: str | None = None
    instruments: list[str] = json_doc(list)
    classification: dict[str, float] = json_doc(dict)
    properties: dict[str, float] = json_doc(dict)
    external: dict[str, Any] = json_doc(dict)
    urls: dict[str, str] = json_doc(dict)
    extra: dict[str, Any] = json_doc(dict)
    aliases: list[str] = json_doc(list)
    received_at: datetime = when()
    cause_id: str = ""


class LocalizationRow(SQLModel, table=True):
    """An immutable sky map, keyed by its content."""

    __tablename__ = "localization"

    id: str = Field(primary_key=True)
    fits: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    is_3d: bool
    n_tiles: int
    area_50_deg2: float
    area_90_deg2: float
    distance_mpc: float | None = None
    distance_std_mpc: float | None = None
    repairs: list[str] = json_doc(list)
    outlines: dict[str, Any] = json_doc(dict)
    """Credible-region outlines for the page: level -> rings of [ra_deg, dec_deg]."""
    created_at: datetime = when()


class LateMapRow(SQLModel, table=True):
    """A map that was behind a link of an alert, whether the alert is here yet or not."""

    __tablename__ = "late_map"

    event_id: str = Field(primary_key=True)
    alert_type: str = Field(primary_key=True)
    time_created: datetime = Field(sa_column=Column(UtcDateTime, primary_key=True))
    localization_id: str
    url: str = Field(sa_column=Column(Text, nullable=False))
    notice_id: int = big()


class EventNameRow(SQLModel, table=True):
    """Every name that an event goes by, in a form in which spellings agree.

    One name may stand for several events (a burst that two missions saw), and one event has
    many names; any of them finds it.
    """

    __tablename__ = "event_name"

    key: str = Field(primary_key=True)
    """Normalised: no blanks, hyphens or underscores, lower case."""
    event_id: str = Field(primary_key=True, index=True)
    name: str
    """As written by whoever told it."""
    learned_from: str = Field(primary_key=True)
    """``alert``, ``circular``: a synonym; ``external``: the other event of a coincidence."""
    cause_id: str = ""


class CircularRow(SQLModel, table=True):
    """A GCN circular in its newest version."""

    __tablename__ = "circular"

    circular_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    version: int
    subject: str = Field(sa_column=Column(Text, nullable=False))
    body: str = Field(sa_column=Column(Text, nullable=False))
    submitter: str = Field(sa_column=Column(Text, nullable=False))
    event_names: list[str] = json_doc(list)
    synonyms: list[list[str]] = json_doc(list)
    """Groups of names that the text says are one event."""
    created_at: datetime = when(index=True)
    edited_at: datetime | None = when(nullable=True)
    notice_id: int = big()
    received_at: datetime = when()


class CircularNameRow(SQLModel, table=True):
    """Which circular speaks of which name; joined with ``event_name`` on ``key``."""

    __tablename__ = "circular_name"

    key: str = Field(primary_key=True)
    circular_id: int = Field(
        sa_column=Column(BigInteger, primary_key=True, autoincrement=False, index=True)
    )
