"""What became of photometry that its source has changed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Text
from sqlmodel import Field, SQLModel

from mmcoord.store.columns import big, id_column, when

__all__ = ["PointChangeRow"]


class PointChangeRow(SQLModel, table=True):
    """The history of points that a source edited, withdrew or took up again; append-only."""

    __tablename__ = "point_change"

    id: int | None = id_column()
    object_id: str = Field(index=True)
    point_key: str
    """The point whose standing changed."""
    kind: str
    """edited: another value stands in its place; withdrawn; restored."""
    replaced_by: str | None = None
    """Key of the value that stands now."""
    detail: str = Field(default="", sa_column=Column(Text, nullable=False))
    notice_id: int = big()
    """The notice that said so."""
    at: datetime = when()
