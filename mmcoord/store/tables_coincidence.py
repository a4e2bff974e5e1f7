"""Pairs of events of different messengers. Rules as in :mod:`mmcoord.store.tables`."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, SQLModel

from mmcoord.store.columns import when

__all__ = ["CoincidenceRow"]


class CoincidenceRow(SQLModel, table=True):
    """A gravitational wave and another event near it; made anew with every alert of either."""

    __tablename__ = "coincidence"

    event_id: str = Field(primary_key=True)
    """The gravitational wave."""
    other_id: str = Field(primary_key=True, index=True)
    search: str
    """Window in which such pairs are sought, or ``follow-up``."""
    offset_s: float
    """Other event minus gravitational wave."""
    far_time_hz: float | None = None
    overlap: float | None = None
    """Overlap integral of the maps: 1 for no relation."""
    far_hz: float | None = None
    """Joint false-alarm rate in time and on the sky."""
    computed_at: datetime = when()
    cause_id: str = ""
