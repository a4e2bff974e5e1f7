"""runs that rest; those that wait are found by an index

Revision ID: 0014_resting
Revises: 0013_match_by_level
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014_resting"
down_revision = "0013_match_by_level"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("may_rest", "resting"):
        op.add_column(
            "run", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false())
        )
    op.create_index("ix_run_waiting", "run", ["state", "resting", "priority", "run_key"])


def downgrade() -> None:
    op.drop_index("ix_run_waiting", "run")
    for name in ("resting", "may_rest"):
        op.drop_column("run", name)
