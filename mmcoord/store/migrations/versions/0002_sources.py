"""names, circulars, known transients, counters, cursors, alarms, user models

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import mmcoord.store.types

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alarm",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("raised_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("cleared_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column(
            "told",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("alarm", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_alarm_key"), ["key"], unique=False)
        batch_op.create_index(batch_op.f("ix_alarm_raised_at"), ["raised_at"], unique=False)

    op.create_table(
        "circular",
        sa.Column("circular_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("submitter", sa.Text(), nullable=False),
        sa.Column(
            "event_names",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.Column("created_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("edited_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("notice_id", sa.BigInteger(), nullable=False),
        sa.Column("received_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("circular_id"),
    )
    with op.batch_alter_table("circular", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_circular_created_at"), ["created_at"], unique=False)

    op.create_table(
        "circular_name",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("circular_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("key", "circular_id"),
    )
    with op.batch_alter_table("circular_name", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_circular_name_circular_id"), ["circular_id"], unique=False
        )

    op.create_table(
        "counter",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "name"),
    )
    op.create_table(
        "cursor",
        sa.Column("listener", sa.String(), nullable=False),
        sa.Column(
            "position",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.Column("updated_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("listener"),
    )
    op.create_table(
        "event_name",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("learned_from", sa.String(), nullable=False),
        sa.Column("cause_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("key", "event_id"),
    )
    with op.batch_alter_table("event_name", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_event_name_event_id"), ["event_id"], unique=False)

    op.create_table(
        "known_transient",
        sa.Column("catalogue", sa.String(), nullable=False),
        sa.Column("identifier", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("ra_deg", sa.Float(), nullable=False),
        sa.Column("dec_deg", sa.Float(), nullable=False),
        sa.Column("hpx29", sa.BigInteger(), nullable=False),
        sa.Column(
            "names",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.Column("classification", sa.String(), nullable=True),
        sa.Column("redshift", sa.Float(), nullable=True),
        sa.Column("redshift_err", sa.Float(), nullable=True),
        sa.Column("discovered_mjd_tai", sa.Float(), nullable=True),
        sa.Column("host", sa.String(), nullable=True),
        sa.Column("modified_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column(
            "attributes",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.Column("notice_id", sa.BigInteger(), nullable=False),
        sa.Column("received_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("catalogue", "identifier"),
    )
    with op.batch_alter_table("known_transient", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_known_transient_hpx29"), ["hpx29"], unique=False)
        batch_op.create_index(batch_op.f("ix_known_transient_name"), ["name"], unique=False)

    op.create_table(
        "user_model",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("uploaded_by", sa.String(), nullable=False),
        sa.Column("added_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("speed", sa.String(), nullable=True),
        sa.Column(
            "report",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("name", "version"),
    )


def downgrade() -> None:
    op.drop_table("user_model")
    with op.batch_alter_table("known_transient", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_known_transient_name"))
        batch_op.drop_index(batch_op.f("ix_known_transient_hpx29"))

    op.drop_table("known_transient")
    with op.batch_alter_table("event_name", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_event_name_event_id"))

    op.drop_table("event_name")
    op.drop_table("cursor")
    op.drop_table("counter")
    with op.batch_alter_table("circular_name", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_circular_name_circular_id"))

    op.drop_table("circular_name")
    with op.batch_alter_table("circular", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_circular_created_at"))

    op.drop_table("circular")
    with op.batch_alter_table("alarm", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_alarm_raised_at"))
        batch_op.drop_index(batch_op.f("ix_alarm_key"))

    op.drop_table("alarm")
