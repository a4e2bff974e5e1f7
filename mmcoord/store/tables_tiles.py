"""Tables of what a plan asks for beside its targets, and of the weather that it was made in."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Text
from sqlmodel import Field, SQLModel

from mmcoord.store.columns import json_doc, when

__all__ = ["PlanTileRow", "WeatherRow"]


class PlanTileRow(SQLModel, table=True):
    """A field of a wide camera in a plan revision; see ``mmcoord.records.PlanTile``."""

    __tablename__ = "plan_tile"

    event_id: str = Field(primary_key=True)
    revision: int = Field(primary_key=True)
    number: int = Field(primary_key=True)
    """From 1, in order of time."""
    tile_id: str = Field(index=True)
    instrument: str
    band: str
    ra_deg: float
    dec_deg: float
    field_deg2: float
    start: datetime = when()
    exposure_s: float
    probability: float
    new_probability: float
    reach: float
    score: float
    reason: str = Field(sa_column=Column(Text, nullable=False))


class WeatherRow(SQLModel, table=True):
    """The last weather that could be read, of each place that is asked."""

    __tablename__ = "weather"

    source: str = Field(primary_key=True)
    """Its address."""
    spells: dict[str, Any] = json_doc(dict)
    """As it was told: site -> list of spells."""
    obtained_at: datetime = when()
    """When it changed to what it is."""
    notice_id: int = Field(sa_column=Column(BigInteger, nullable=False))
