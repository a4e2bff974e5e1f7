"""Table of what other groups observe."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column
from sqlmodel import Field, SQLModel

from mmcoord.store.types import UtcDateTime

__all__ = ["ElsewhereRow"]


class ElsewhereRow(SQLModel, table=True):
    """An observation by others, newest version; see ``mmcoord.elsewhere.Elsewhere``."""

    __tablename__ = "elsewhere"

    source: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    who: str
    status: str
    """planned, completed, cancelled."""
    obs_mjd_tai: float = Field(index=True)
    ra_deg: float
    dec_deg: float
    band: str | None = None
    depth_mag: float | None = None
    radius_deg: float | None = None
    object_name: str | None = None
    notice_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    received_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
