"""names, circulars, known transients, counters, cursors, alarms, tokens, user models

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import mmcoord.store.types
from mmcoord.names import spelled

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("notice", schema=None) as batch_op:
        batch_op.drop_constraint("uq_notice_coordinates", type_="unique")
        batch_op.create_unique_constraint(
            "uq_notice_coordinates", ["broker", "topic", "partition", "offset", "sha256"]
        )
    op.create_table(
        "access_group",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("quota_cpu_s", sa.Float(), nullable=False),
        sa.Column("period_day", sa.Float(), nullable=False),
        sa.Column("priority", sa.Float(), nullable=False),
        sa.Column("created_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "token",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("group", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("secret_sha256", sa.String(), nullable=False),
        sa.Column(
            "scopes", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("created_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_token_group", "token", ["group"])
    op.create_table(
        "run_request",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("run_key", sa.String(), nullable=False),
        sa.Column("group", sa.String(), nullable=False),
        sa.Column("token_id", sa.String(), nullable=False),
        sa.Column("how", sa.String(), nullable=False),
        sa.Column("requested_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("charged_cpu_s", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("run_key", "group", "requested_at"):
        op.create_index(f"ix_run_request_{column}", "run_request", [column])
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("partition", sa.String(), nullable=False, server_default="public")
        )
        batch_op.add_column(sa.Column("cpu_s", sa.Float(), nullable=True))
        batch_op.create_index("ix_run_partition", ["partition"])
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
        "alert_notice",
        sa.Column("alert_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("notice_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("alert_id", "notice_id"),
    )
    with op.batch_alter_table("alert_notice", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_alert_notice_notice_id"), ["notice_id"], unique=False)

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
        sa.Column(
            "synonyms",
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
        sa.PrimaryKeyConstraint("key", "event_id", "learned_from"),
    )
    with op.batch_alter_table("event_name", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_event_name_event_id"), ["event_id"], unique=False)

    op.create_table(
        "known_name",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("catalogue", sa.String(), nullable=False),
        sa.Column("identifier", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("key", "catalogue", "identifier"),
    )
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
        "late_map",
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("alert_type", sa.String(), nullable=False),
        sa.Column("time_created", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("localization_id", sa.String(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("notice_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "alert_type", "time_created"),
    )
    with op.batch_alter_table("alert", schema=None) as batch_op:
        batch_op.add_column(sa.Column("localized_by", sa.String(), nullable=True))

    op.create_table(
        "listener",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column(
            "first_started_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False
        ),
        sa.Column("connected_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
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
    _names_of_known_events()


def _names_of_known_events() -> None:
    """Events of an older store are found by their names too; their next alert adds the rest."""
    event = sa.table("event", sa.column("event_id"), sa.column("aliases", sa.JSON()))
    name = sa.table(
        "event_name",
        *(sa.column(key) for key in ("key", "event_id", "name", "learned_from", "cause_id")),
    )
    rows = [
        {"key": key, "event_id": row.event_id, "name": found, "learned_from": "alert"}
        for row in op.get_bind().execute(sa.select(event.c.event_id, event.c.aliases))
        for key, found in spelled([row.event_id, *(row.aliases or [])]).items()
    ]
    if rows:
        op.bulk_insert(name, [{**row, "cause_id": ""} for row in rows])


def downgrade() -> None:
    with op.batch_alter_table("notice", schema=None) as batch_op:
        batch_op.drop_constraint("uq_notice_coordinates", type_="unique")
        batch_op.create_unique_constraint(
            "uq_notice_coordinates", ["broker", "topic", "partition", "offset"]
        )
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.drop_index("ix_run_partition")
        batch_op.drop_column("cpu_s")
        batch_op.drop_column("partition")
    for name in ("run_request", "token", "access_group"):
        op.drop_table(name)
    with op.batch_alter_table("alert", schema=None) as batch_op:
        batch_op.drop_column("localized_by")

    op.drop_table("late_map")
    op.drop_table("listener")
    op.drop_table("user_model")
    with op.batch_alter_table("known_transient", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_known_transient_name"))
        batch_op.drop_index(batch_op.f("ix_known_transient_hpx29"))

    op.drop_table("known_transient")
    op.drop_table("known_name")
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
    with op.batch_alter_table("alert_notice", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_alert_notice_notice_id"))

    op.drop_table("alert_notice")
    with op.batch_alter_table("alarm", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_alarm_raised_at"))
        batch_op.drop_index(batch_op.f("ix_alarm_key"))

    op.drop_table("alarm")
