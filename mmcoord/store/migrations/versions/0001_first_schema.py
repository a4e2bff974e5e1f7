"""first schema

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import mmcoord.store.types

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alert",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("alert_type", sa.String(), nullable=False),
        sa.Column("time_created", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("notice_id", sa.BigInteger(), nullable=False),
        sa.Column("localization_id", sa.String(), nullable=True),
        sa.Column("messenger", sa.String(), nullable=False),
        sa.Column("is_practice", sa.Boolean(), nullable=False),
        sa.Column("event_time", mmcoord.store.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("significant", sa.Boolean(), nullable=True),
        sa.Column("far_hz", sa.Float(), nullable=True),
        sa.Column("group", sa.String(), nullable=True),
        sa.Column("pipeline", sa.String(), nullable=True),
        sa.Column("search", sa.String(), nullable=True),
        sa.Column(
            "instruments", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "classification",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "properties", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "external", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("urls", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column(
            "extra", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "aliases", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("received_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("cause_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("event_id", "alert_type", "time_created", name="uq_alert_identity"),
    )
    with op.batch_alter_table("alert", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_alert_event_id"), ["event_id"], unique=False)

    op.create_table(
        "candidate",
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("ra_deg", sa.Float(), nullable=False),
        sa.Column("dec_deg", sa.Float(), nullable=False),
        sa.Column("hpx29", sa.BigInteger(), nullable=False),
        sa.Column("position_error_arcsec", sa.Float(), nullable=True),
        sa.Column("redshift", sa.Float(), nullable=True),
        sa.Column("redshift_err", sa.Float(), nullable=True),
        sa.Column("ebv_mw", sa.Float(), nullable=True),
        sa.Column("is_practice", sa.Boolean(), nullable=False),
        sa.Column(
            "attributes", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("notice_id", sa.BigInteger(), nullable=False),
        sa.Column("received_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("object_id"),
    )
    with op.batch_alter_table("candidate", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_candidate_hpx29"), ["hpx29"], unique=False)

    op.create_table(
        "dead_letter",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("notice_id", sa.BigInteger(), nullable=True),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("cause_id", sa.String(), nullable=False),
        sa.Column("retried_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("dead_letter", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_dead_letter_notice_id"), ["notice_id"], unique=False)

    op.create_table(
        "delivery",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("sink", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("plan_revision", sa.Integer(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("is_practice", sa.Boolean(), nullable=False),
        sa.Column(
            "payload", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("remote_id", sa.String(), nullable=True),
        sa.Column("withdraws", sa.String(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column(
            "next_attempt_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False
        ),
        sa.Column("finished_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("cause_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key", name="uq_delivery_key"),
    )
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.create_index("ix_delivery_due", ["state", "next_attempt_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_delivery_event_id"), ["event_id"], unique=False)

    op.create_table(
        "detection",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("point_key", sa.String(), nullable=False),
        sa.Column("obs_mjd_tai", sa.Float(), nullable=False),
        sa.Column("band", sa.String(), nullable=False),
        sa.Column("mag_ab", sa.Float(), nullable=False),
        sa.Column("mag_err", sa.Float(), nullable=True),
        sa.Column("is_limit", sa.Boolean(), nullable=False),
        sa.Column("notice_id", sa.BigInteger(), nullable=False),
        sa.Column("received_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("object_id", "point_key", name="uq_detection_point"),
    )
    with op.batch_alter_table("detection", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_detection_object_id"), ["object_id"], unique=False)

    op.create_table(
        "event",
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("messenger", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("is_practice", sa.Boolean(), nullable=False),
        sa.Column("event_time", mmcoord.store.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("alert_type", sa.String(), nullable=False),
        sa.Column("significant", sa.Boolean(), nullable=True),
        sa.Column("current_alert_id", sa.BigInteger(), nullable=True),
        sa.Column("localization_id", sa.String(), nullable=True),
        sa.Column(
            "aliases", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "first_received_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False
        ),
        sa.Column("updated_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("cause_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_table(
        "journal",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=True),
        sa.Column("object_id", sa.String(), nullable=True),
        sa.Column("latency_s", sa.Float(), nullable=True),
        sa.Column("cause_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("journal", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_journal_at"), ["at"], unique=False)
        batch_op.create_index(batch_op.f("ix_journal_cause_id"), ["cause_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_journal_event_id"), ["event_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_journal_object_id"), ["object_id"], unique=False)

    op.create_table(
        "ledger",
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("processed", sa.BigInteger(), nullable=False),
        sa.Column("dead", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stage"),
    )
    op.create_table(
        "localization",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("fits", sa.LargeBinary(), nullable=False),
        sa.Column("is_3d", sa.Boolean(), nullable=False),
        sa.Column("n_tiles", sa.Integer(), nullable=False),
        sa.Column("area_50_deg2", sa.Float(), nullable=False),
        sa.Column("area_90_deg2", sa.Float(), nullable=False),
        sa.Column("distance_mpc", sa.Float(), nullable=True),
        sa.Column("distance_std_mpc", sa.Float(), nullable=True),
        sa.Column(
            "repairs", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "outlines", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("created_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "match",
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("localization_id", sa.String(), nullable=False),
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("prob_density_sr", sa.Float(), nullable=False),
        sa.Column("credible_level_2d", sa.Float(), nullable=False),
        sa.Column("prob_density_mpc3", sa.Float(), nullable=True),
        sa.Column("credible_level_3d", sa.Float(), nullable=True),
        sa.Column("distance_mean_mpc", sa.Float(), nullable=True),
        sa.Column("distance_std_mpc", sa.Float(), nullable=True),
        sa.Column("time_offset_day", sa.Float(), nullable=True),
        sa.Column("matched_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("cause_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "localization_id", "object_id"),
    )
    with op.batch_alter_table("match", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_match_object_id"), ["object_id"], unique=False)

    op.create_table(
        "notice",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("broker", sa.String(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("received_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("sent_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("processed_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("broker", "topic", "partition", "offset", name="uq_notice_coordinates"),
    )
    with op.batch_alter_table("notice", schema=None) as batch_op:
        batch_op.create_index(
            "ix_notice_pending",
            ["priority", "id"],
            unique=False,
            sqlite_where=sa.text("state = 'pending'"),
            postgresql_where=sa.text("state = 'pending'"),
        )
        batch_op.create_index(batch_op.f("ix_notice_received_at"), ["received_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_notice_sha256"), ["sha256"], unique=False)

    op.create_table(
        "plan",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("content_sha256", sa.String(), nullable=False),
        sa.Column("planned_for", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("n_targets", sa.Integer(), nullable=False),
        sa.Column("objective", sa.Float(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("cause_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("event_id", "revision", name="uq_plan_revision"),
    )
    with op.batch_alter_table("plan", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_plan_event_id"), ["event_id"], unique=False)

    op.create_table(
        "request",
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("row", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "revision", "rank"),
    )
    with op.batch_alter_table("request", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_request_object_id"), ["object_id"], unique=False)

    op.create_table(
        "run",
        sa.Column("run_key", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("job", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("coalesced", sa.Integer(), nullable=False),
        sa.Column("cached", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", mmcoord.store.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("priority", sa.Float(), nullable=False),
        sa.Column("created_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("started_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column("finished_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=True),
        sa.Column(
            "summary", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "light_curve", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("samples", sa.LargeBinary(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("cause_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("run_key"),
    )
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_run_event_id"), ["event_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_run_object_id"), ["object_id"], unique=False)

    op.create_table(
        "screening",
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("p_kilonova", sa.Float(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detected_before_event", sa.Boolean(), nullable=True),
        sa.Column("n_points", sa.Integer(), nullable=False),
        sa.Column("run_key", sa.String(), nullable=True),
        sa.Column("screened_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("cause_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "object_id"),
    )
    with op.batch_alter_table("screening", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_screening_run_key"), ["run_key"], unique=False)

    op.create_table(
        "work",
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("requested", sa.BigInteger(), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("not_before", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("enqueued_at", mmcoord.store.types.UtcDateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("cause_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("stage", "key"),
    )
    with op.batch_alter_table("work", schema=None) as batch_op:
        batch_op.create_index(
            "ix_work_pending",
            ["stage", "priority", "not_before"],
            unique=False,
            sqlite_where=sa.text("requested > done"),
            postgresql_where=sa.text("requested > done"),
        )


def downgrade() -> None:
    with op.batch_alter_table("work", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_work_pending",
            sqlite_where=sa.text("requested > done"),
            postgresql_where=sa.text("requested > done"),
        )

    op.drop_table("work")
    with op.batch_alter_table("screening", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_screening_run_key"))

    op.drop_table("screening")
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_run_object_id"))
        batch_op.drop_index(batch_op.f("ix_run_event_id"))

    op.drop_table("run")
    with op.batch_alter_table("request", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_request_object_id"))

    op.drop_table("request")
    with op.batch_alter_table("plan", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_plan_event_id"))

    op.drop_table("plan")
    with op.batch_alter_table("notice", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_notice_sha256"))
        batch_op.drop_index(batch_op.f("ix_notice_received_at"))
        batch_op.drop_index(
            "ix_notice_pending",
            sqlite_where=sa.text("state = 'pending'"),
            postgresql_where=sa.text("state = 'pending'"),
        )

    op.drop_table("notice")
    with op.batch_alter_table("match", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_match_object_id"))

    op.drop_table("match")
    op.drop_table("localization")
    op.drop_table("ledger")
    with op.batch_alter_table("journal", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_journal_object_id"))
        batch_op.drop_index(batch_op.f("ix_journal_event_id"))
        batch_op.drop_index(batch_op.f("ix_journal_cause_id"))
        batch_op.drop_index(batch_op.f("ix_journal_at"))

    op.drop_table("journal")
    op.drop_table("event")
    with op.batch_alter_table("detection", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_detection_object_id"))

    op.drop_table("detection")
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_delivery_event_id"))
        batch_op.drop_index("ix_delivery_due")

    op.drop_table("delivery")
    with op.batch_alter_table("dead_letter", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_dead_letter_notice_id"))

    op.drop_table("dead_letter")
    with op.batch_alter_table("candidate", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_candidate_hpx29"))

    op.drop_table("candidate")
    with op.batch_alter_table("alert", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_alert_event_id"))

    op.drop_table("alert")
