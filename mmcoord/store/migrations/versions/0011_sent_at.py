"""the newest content is found without reading every notice

Revision ID: 0011_sent_at
Revises: 0010_coincidence
"""

from __future__ import annotations

from alembic import op

revision = "0011_sent_at"
down_revision = "0010_coincidence"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_notice_sent_at", "notice", ["sent_at"])


def downgrade() -> None:
    op.drop_index("ix_notice_sent_at", "notice")
