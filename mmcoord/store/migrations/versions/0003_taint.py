"""points that their source has changed, and what rests on them

Revision ID: 0003_taint
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import mmcoord.store.types

revision = "0003_taint"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    when = mmcoord.store.types.UtcDateTime(timezone=True)
    op.create_table(
        "point_change",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("point_key", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("replaced_by", sa.String(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("notice_id", sa.BigInteger(), nullable=False),
        sa.Column("at", when, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_point_change_object_id", "point_change", ["object_id"])
    op.add_column(
        "detection",
        sa.Column("is_current", sa.Boolean(), nullable=False, server_default=sa.true()),
    )
    op.add_column("run", sa.Column("parent_key", sa.String(), nullable=True))
    op.add_column("run", sa.Column("tainted_at", when, nullable=True))
    op.add_column("run", sa.Column("tainted_by", sa.String(), nullable=True))
    op.add_column("run", sa.Column("taint_reason", sa.Text(), nullable=True))
    op.create_index("ix_run_parent_key", "run", ["parent_key"])
    op.add_column("plan", sa.Column("tainted_at", when, nullable=True))
    op.add_column("plan", sa.Column("taint_reason", sa.Text(), nullable=True))
    op.add_column("request", sa.Column("tainted_by", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("request", "tainted_by")
    op.drop_column("plan", "taint_reason")
    op.drop_column("plan", "tainted_at")
    op.drop_index("ix_run_parent_key", table_name="run")
    for name in ("taint_reason", "tainted_by", "tainted_at", "parent_key"):
        op.drop_column("run", name)
    op.drop_column("detection", "is_current")
    op.drop_table("point_change")
