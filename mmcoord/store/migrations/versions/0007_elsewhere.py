"""what other groups observe

Revision ID: 0007_elsewhere
Revises: 0006_burst
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import mmcoord.store.types

revision = "0007_elsewhere"
down_revision = "0006_burst"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "elsewhere",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("obs_mjd_tai", sa.Float(), nullable=False),
        sa.Column("ra_deg", sa.Float(), nullable=False),
        sa.Column("dec_deg", sa.Float(), nullable=False),
        sa.Column("band", sa.String(), nullable=True),
        sa.Column("depth_mag", sa.Float(), nullable=True),
        sa.Column("radius_deg", sa.Float(), nullable=True),
        sa.Column("object_name", sa.String(), nullable=True),
        sa.Column("notice_id", sa.BigInteger(), nullable=False),
        sa.Column("received_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", "key"),
    )
    op.create_index("ix_elsewhere_obs_mjd_tai", "elsewhere", ["obs_mjd_tai"])


def downgrade() -> None:
    op.drop_table("elsewhere")
