"""what a plan's schedule is certified to be worth

Revision ID: 0008_schedule
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008_schedule"
down_revision = "0007_elsewhere"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("plan", schema=None) as batch_op:
        batch_op.add_column(sa.Column("upper_bound", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("certified_gap", sa.Float(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("plan", schema=None) as batch_op:
        batch_op.drop_column("certified_gap")
        batch_op.drop_column("upper_bound")
