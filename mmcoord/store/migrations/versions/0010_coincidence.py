"""pairs of events of different messengers

Revision ID: 0010_coincidence
Revises: 0009_claims
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import mmcoord.store.types

revision = "0010_coincidence"
down_revision = "0009_claims"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "coincidence",
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("other_id", sa.String(), nullable=False),
        sa.Column("search", sa.String(), nullable=False),
        sa.Column("offset_s", sa.Float(), nullable=False),
        sa.Column("far_time_hz", sa.Float(), nullable=True),
        sa.Column("overlap", sa.Float(), nullable=True),
        sa.Column("far_hz", sa.Float(), nullable=True),
        sa.Column("computed_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("cause_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "other_id"),
    )
    op.create_index("ix_coincidence_other_id", "coincidence", ["other_id"])


def downgrade() -> None:
    op.drop_table("coincidence")
