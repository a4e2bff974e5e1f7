"""Which question a run answers, and what it leaves to the next run of the same object."""

from __future__ import annotations

from typing import Any

from sqlmodel import Field, SQLModel

from mmcoord.store.columns import json_doc

__all__ = ["LineageRow"]


class LineageRow(SQLModel, table=True):
    """What a run is among runs of the same object."""

    __tablename__ = "run_lineage"

    run_key: str = Field(primary_key=True)
    question_key: str = Field(index=True)
    """The same for runs that differ in what they began with alone."""
    family_key: str = Field(index=True)
    """The same for runs that differ in photometry alone."""
    proposals: list[dict[str, Any]] = json_doc(list)
    """What it found, for the next to begin with; empty until it is done."""
