"""Tables of coordination: who observes what, and what a person lets out."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from mmcoord.store.types import BIG_ID, UtcDateTime

__all__ = ["ApprovalRow", "ClaimActionRow", "ClaimRow"]

_STANDING = text("state IN ('claimed', 'started')")


class ClaimRow(SQLModel, table=True):
    """One claim of a group on a target of an event, as it stands."""

    __tablename__ = "claim"
    __table_args__ = (
        # However many requests come at once, a group has one standing claim on a target.
        Index(
            "uq_claim_standing",
            "event_id",
            "object_id",
            "group",
            unique=True,
            sqlite_where=_STANDING,
            postgresql_where=_STANDING,
        ),
        Index("ix_claim_due", "state", "expires_at"),
    )

    id: int | None = Field(
        default=None, sa_column=Column(BIG_ID, primary_key=True, autoincrement=True)
    )
    event_id: str = Field(index=True)
    object_id: str = Field(index=True)
    group: str
    """Of an API token, or as a service outside names its users."""
    state: str
    """See ``followup.claims.ClaimState``."""
    instrument: str | None = None
    band: str | None = None
    reason: str | None = None
    """Code of a declined claim: ``followup.claims.SkipReason``."""
    note: str = Field(default="", sa_column=Column(Text, nullable=False))
    via: str
    """``api``, ``cli``, ``page``, ``slack``, or the name of the sink that it was heard from."""
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    changed_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    expires_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))


class ClaimActionRow(SQLModel, table=True):
    """What was said, in order: the history of claims, and the memory of idempotency keys."""

    __tablename__ = "claim_action"
    __table_args__ = (UniqueConstraint("group", "key", name="uq_claim_action_key"),)

    id: int | None = Field(
        default=None, sa_column=Column(BIG_ID, primary_key=True, autoincrement=True)
    )
    claim_id: int = Field(sa_column=Column(BIG_ID, nullable=False, index=True))
    group: str
    key: str | None = None
    """The caller's own: the same key is the same act."""
    fingerprint: str
    """SHA-256 of what was asked; a key that comes with something else is a mistake."""
    verb: str
    via: str
    at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class ApprovalRow(SQLModel, table=True):
    """What a person has said about publishing an event's plan at a public sink."""

    __tablename__ = "approval"

    id: int | None = Field(
        default=None, sa_column=Column(BIG_ID, primary_key=True, autoincrement=True)
    )
    event_id: str = Field(index=True)
    sink: str
    decision: str
    """approve, reject."""
    plan_revision: int
    standing: bool = False
    """Also for later revisions, until somebody says otherwise."""
    by: str
    note: str = Field(default="", sa_column=Column(Text, nullable=False))
    at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
