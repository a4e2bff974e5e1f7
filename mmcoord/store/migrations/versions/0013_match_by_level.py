"""matches of a map are read in the order of their credible levels

Revision ID: 0013_match_by_level
Revises: 0012_tiles
"""

from __future__ import annotations

from alembic import op

revision = "0013_match_by_level"
down_revision = "0012_tiles"
branch_labels = None
depends_on = None

_COLUMNS = ["event_id", "localization_id", "credible_level_2d", "object_id"]


def upgrade() -> None:
    op.create_index("ix_match_by_level", "match", _COLUMNS)


def downgrade() -> None:
    op.drop_index("ix_match_by_level", "match")
