"""Inferences: the runs, who may ask for them and at whose cost, models from others."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel

from mmcoord.store.columns import id_column, json_doc, when

__all__ = ["AccessGroupRow", "RunRequestRow", "RunRow", "TokenRow", "UserModelRow"]


class RunRow(SQLModel, table=True):
    """One inference. ``run_key`` is a hash of every input, so equal requests are one run."""

    __tablename__ = "run"
    __table_args__ = (Index("ix_run_waiting", "state", "resting", "priority", "run_key"),)

    run_key: str = Field(primary_key=True)
    event_id: str = Field(index=True)
    object_id: str = Field(index=True)
    state: str
    """queued, running, done, failed, superseded."""
    may_rest: bool = False
    """Nobody but the pipeline, on account of its screen, has asked for it."""
    resting: bool = False
    """Queued and not to be taken: what was found for its event leaves it not worth its cost
    (``mmcoord.resting``)."""
    job: dict[str, Any] = json_doc(dict)
    coalesced: int = 0
    """Requests for the same key while it was queued or running."""
    cached: int = 0
    """How often the pipeline asked again after it was done; groups' requests are in
    ``run_request``, because writing this row anew moves its draws too."""
    attempts: int = 0
    lease_owner: str | None = None
    lease_until: datetime | None = when(nullable=True)
    priority: float = 0.0
    partition: str = Field(default="public", index=True)
    """Who may see it: ``public``, or the one group whose private data went in."""
    cpu_s: float | None = None
    """Processor time that the answer took; what the requesters are charged for."""
    created_at: datetime = when()
    started_at: datetime | None = when(nullable=True)
    finished_at: datetime | None = when(nullable=True)
    parent_key: str | None = Field(default=None, index=True)
    """The run from whose posterior this one started."""
    tainted_at: datetime | None = when(nullable=True)
    """Since when its inputs are known to be wrong; the answer stays as it was."""
    tainted_by: str | None = None
    """What was wrong: a point, an event, the run that it descends from."""
    taint_reason: str | None = Field(default=None, sa_column=Column(Text))
    summary: dict[str, Any] = json_doc(dict)
    light_curve: dict[str, Any] = json_doc(dict)
    samples: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    error: str | None = Field(default=None, sa_column=Column(Text))
    cause_id: str = ""


class RunRequestRow(SQLModel, table=True):
    """Who asked for a run, and what it cost them: the ledger of the quotas."""

    __tablename__ = "run_request"

    id: int | None = id_column()
    run_key: str = Field(index=True)
    group: str = Field(index=True)
    token_id: str
    how: str
    """``executed``: the run was started for it; ``coalesced``: it joined one that was waiting
    or running; ``cached``: the answer was there, which is free; ``checked``: no run, but the check
    of an uploaded model (``run_key`` is then ``model NAME@VERSION``)."""
    requested_at: datetime = when(index=True)
    charged_cpu_s: float | None = None
    """None while the run is not done; the cost is split among the groups that waited for it."""


class AccessGroupRow(SQLModel, table=True):
    """A group of people who share tokens, private data and a quota."""

    __tablename__ = "access_group"

    name: str = Field(primary_key=True)
    quota_cpu_s: float
    """Processor seconds that it may use in any ``period_day`` days."""
    period_day: float = 30.0
    priority: float = 0.5
    """Where its runs stand in the queue before waiting counts; 0 to 1."""
    created_at: datetime = when()


class TokenRow(SQLModel, table=True):
    """An API token. The secret itself is nowhere: it is shown once, when it is made."""

    __tablename__ = "token"

    id: str = Field(primary_key=True)
    group: str = Field(index=True)
    label: str = ""
    secret_sha256: str
    scopes: list[str] = json_doc(list)
    created_at: datetime = when()
    expires_at: datetime = when()
    revoked_at: datetime | None = when(nullable=True)
    last_used_at: datetime | None = when(nullable=True)


class UserModelRow(SQLModel, table=True):
    """One version of a model from others; text and verdict, once there is one, never change."""

    __tablename__ = "user_model"

    name: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    sha256: str
    """Of the source text."""
    source: str = Field(sa_column=Column(Text, nullable=False))
    uploaded_by: str
    added_at: datetime = when()
    state: str
    """checking, accepted, refused, retired."""
    speed: str | None = None
    """fast, medium, slow: how much of it a fit can afford."""
    report: dict[str, Any] = json_doc(dict)
    """What the checks on arrival found."""
