"""assessments of neutrino bursts

Revision ID: 0006_burst
Revises: 0005_lineage
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import mmcoord.store.types

revision = "0006_burst"
down_revision = "0005_lineage"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "burst",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("content_sha256", sa.String(), nullable=False),
        sa.Column(
            "assessment", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("localization_id", sa.String(), nullable=True),
        sa.Column("created_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("cause_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("event_id", "revision", name="uq_burst_revision"),
    )
    op.create_index("ix_burst_event_id", "burst", ["event_id"])
    op.create_table(
        "burst_member",
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("followed_as", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index("ix_burst_member_followed_as", "burst_member", ["followed_as"])


def downgrade() -> None:
    op.drop_table("burst_member")
    op.drop_table("burst")
