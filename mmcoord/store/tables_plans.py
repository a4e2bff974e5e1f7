"""What to observe, and what is said of it to whom."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from mmcoord.store.columns import id_column, json_doc, when

__all__ = ["DeliveryRow", "PlanRevisionRow", "RequestRow"]


class PlanRevisionRow(SQLModel, table=True):
    """One revision of an event's plan; a new one only when its content changed."""

    __tablename__ = "plan"
    __table_args__ = (UniqueConstraint("event_id", "revision", name="uq_plan_revision"),)

    id: int | None = id_column()
    event_id: str = Field(index=True)
    revision: int
    content_sha256: str
    planned_for: datetime = when()
    """The instant from which the night was planned."""
    n_targets: int
    objective: float
    note: str = Field(default="", sa_column=Column(Text, nullable=False))
    created_at: datetime = when()
    cause_id: str = ""
    tainted_at: datetime | None = when(nullable=True)
    """Since when it rests on a run whose inputs are known to be wrong."""
    taint_reason: str | None = Field(default=None, sa_column=Column(Text))


class RequestRow(SQLModel, table=True):
    """One line of a plan revision."""

    __tablename__ = "request"

    event_id: str = Field(primary_key=True)
    revision: int = Field(primary_key=True)
    rank: int = Field(primary_key=True)
    object_id: str = Field(index=True)
    score: float
    row: dict[str, Any] = json_doc(dict)
    """The whole ``PlanRow`` as JSON."""
    tainted_by: str | None = None
    """Key of the run behind it, if that run's inputs are known to be wrong."""


class DeliveryRow(SQLModel, table=True):
    """The outbox: what is to be said to whom, written with the plan that asks for it."""

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("key", name="uq_delivery_key"),
        Index("ix_delivery_due", "state", "next_attempt_at"),
    )

    id: int | None = id_column()
    key: str
    kind: str
    sink: str
    event_id: str = Field(index=True)
    plan_revision: int
    target: str
    """Object id, or empty for a sink that speaks per plan."""
    is_practice: bool
    payload: dict[str, Any] = json_doc(dict)
    state: str = "pending"
    """pending, sending, sent, failed, refused, unknown, superseded, withdrawn."""
    remote_id: str | None = None
    withdraws: str | None = None
    """Key of the delivery that a withdrawal takes back."""
    detail: str = Field(default="", sa_column=Column(Text, nullable=False))
    attempts: int = 0
    created_at: datetime = when()
    next_attempt_at: datetime = when()
    finished_at: datetime | None = when(nullable=True)
    cause_id: str = ""
