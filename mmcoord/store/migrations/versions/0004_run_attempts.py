"""who had which run in hand

Revision ID: 0004_run_attempts
Revises: 0003_taint
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import mmcoord.store.types

revision = "0004_run_attempts"
down_revision = "0003_taint"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "run_attempt",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("run_key", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("cores", sa.Integer(), nullable=False),
        sa.Column("taken_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("ended_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_run_attempt_run_key", "run_attempt", ["run_key"])


def downgrade() -> None:
    op.drop_table("run_attempt")
