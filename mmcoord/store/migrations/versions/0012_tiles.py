"""tiles of plans; the weather as it was last told

Revision ID: 0012_tiles
Revises: 0011_sent_at
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import mmcoord.store.types

revision = "0012_tiles"
down_revision = "0011_sent_at"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "plan_tile",
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("tile_id", sa.String(), nullable=False),
        sa.Column("instrument", sa.String(), nullable=False),
        sa.Column("band", sa.String(), nullable=False),
        sa.Column("ra_deg", sa.Float(), nullable=False),
        sa.Column("dec_deg", sa.Float(), nullable=False),
        sa.Column("field_deg2", sa.Float(), nullable=False),
        sa.Column("start", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("exposure_s", sa.Float(), nullable=False),
        sa.Column("probability", sa.Float(), nullable=False),
        sa.Column("new_probability", sa.Float(), nullable=False),
        sa.Column("reach", sa.Float(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "revision", "number"),
    )
    op.create_index("ix_plan_tile_tile_id", "plan_tile", ["tile_id"])
    op.create_table(
        "weather",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("spells", mmcoord.store.types.JSON_DOC, nullable=False),
        sa.Column("obtained_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("notice_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source"),
    )


def downgrade() -> None:
    op.drop_table("weather")
    op.drop_table("plan_tile")
