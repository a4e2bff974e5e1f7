"""what runs leave to the next

Revision ID: 0005_lineage
Revises: 0004_run_attempts
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from mmcoord.store.types import JSON_DOC

revision = "0005_lineage"
down_revision = "0004_run_attempts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "run_lineage",
        sa.Column("run_key", sa.String(), nullable=False),
        sa.Column("question_key", sa.String(), nullable=False),
        sa.Column("family_key", sa.String(), nullable=False),
        sa.Column("proposals", JSON_DOC, nullable=False),
        sa.PrimaryKeyConstraint("run_key"),
    )
    for column in ("question_key", "family_key"):
        op.create_index(f"ix_run_lineage_{column}", "run_lineage", [column])


def downgrade() -> None:
    op.drop_table("run_lineage")
