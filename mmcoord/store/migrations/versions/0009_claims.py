"""claims on targets, and approvals of what is published

Revision ID: 0009_claims
Revises: 0008_schedule
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import mmcoord.store.types

revision = "0009_claims"
down_revision = "0008_schedule"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_STANDING = sa.text("state IN ('claimed', 'started')")


def _when() -> mmcoord.store.types.UtcDateTime:
    return mmcoord.store.types.UtcDateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "claim",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("group", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("instrument", sa.String(), nullable=True),
        sa.Column("band", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("via", sa.String(), nullable=False),
        sa.Column("created_at", _when(), nullable=False),
        sa.Column("changed_at", _when(), nullable=False),
        sa.Column("expires_at", _when(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_claim_event_id", "claim", ["event_id"])
    op.create_index("ix_claim_object_id", "claim", ["object_id"])
    op.create_index("ix_claim_due", "claim", ["state", "expires_at"])
    op.create_index(
        "uq_claim_standing",
        "claim",
        ["event_id", "object_id", "group"],
        unique=True,
        sqlite_where=_STANDING,
        postgresql_where=_STANDING,
    )
    op.create_table(
        "claim_action",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("claim_id", _ID, nullable=False),
        sa.Column("group", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=True),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("verb", sa.String(), nullable=False),
        sa.Column("via", sa.String(), nullable=False),
        sa.Column("at", _when(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("group", "key", name="uq_claim_action_key"),
    )
    op.create_index("ix_claim_action_claim_id", "claim_action", ["claim_id"])
    op.create_table(
        "approval",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("sink", sa.String(), nullable=False),
        sa.Column("decision", sa.String(), nullable=False),
        sa.Column("plan_revision", sa.Integer(), nullable=False),
        sa.Column("standing", sa.Boolean(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("at", _when(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_approval_event_id", "approval", ["event_id"])


def downgrade() -> None:
    op.drop_table("approval")
    op.drop_table("claim_action")
    op.drop_table("claim")
