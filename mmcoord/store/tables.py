"""The tables: what survives a power cut.

Rules that hold for all of them:

* ``notice``, ``alert``, ``localization``, ``detection``, ``plan``, ``request`` and
  ``journal`` are append-only: a correction is a new row.
* Integers that can exceed 2^31 (HEALPix order-29 indices, LSST identifiers, offsets) are
  ``BigInteger``: SQLModel's plain ``int`` overflows on PostgreSQL.
* ``cause_id`` names the notice that set a chain of work going; it is copied from row to
  row, so that ``story`` can follow one notice through the house.
* Times are UTC; ``obs_mjd_tai`` is MJD on the TAI scale.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from mmcoord.store.types import BIG_ID, JSON_DOC, UtcDateTime

__all__ = [
    "AccessGroupRow",
    "AlarmRow",
    "AlertNoticeRow",
    "AlertRow",
    "CandidateRow",
    "CircularNameRow",
    "CircularRow",
    "CounterRow",
    "CursorRow",
    "DeadLetterRow",
    "DeliveryRow",
    "DetectionRow",
    "EventNameRow",
    "EventRow",
    "JournalRow",
    "KnownNameRow",
    "KnownTransientRow",
    "LateMapRow",
    "LedgerRow",
    "ListenerRow",
    "LocalizationRow",
    "MatchRow",
    "NoticeRow",
    "PlanRevisionRow",
    "RequestRow",
    "RunRequestRow",
    "RunRow",
    "ScreeningRow",
    "TokenRow",
    "UserModelRow",
    "WorkRow",
]


def _id() -> Any:
    return Field(default=None, sa_column=Column(BIG_ID, primary_key=True, autoincrement=True))


def _when(*, nullable: bool = False, index: bool = False) -> Any:
    return Field(default=None, sa_column=Column(UtcDateTime, nullable=nullable, index=index))


def _json(default: Any) -> Any:
    return Field(default_factory=default, sa_column=Column(JSON_DOC, nullable=False))


def _big(*, default: int | None = 0, index: bool = False, nullable: bool = False) -> Any:
    return Field(
        default=default,
        sa_column=Column(BigInteger, nullable=nullable, index=index, default=default),
    )


class NoticeRow(SQLModel, table=True):
    """The inbox: raw bytes and where they came from, written before anything is parsed."""

    __tablename__ = "notice"
    __table_args__ = (
        # The content too: a broker that was set up anew counts its offsets from zero again, and
        # what it then sends under coordinates that we know is not what we have.
        UniqueConstraint(
            "broker", "topic", "partition", "offset", "sha256", name="uq_notice_coordinates"
        ),
        Index(
            "ix_notice_pending",
            "priority",
            "id",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
    )

    id: int | None = _id()
    source: str
    broker: str
    topic: str
    partition: int
    offset: int = _big()
    payload: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    sha256: str = Field(index=True)
    priority: int = 1
    """-1: gravitational waves and supernova neutrinos; 0: other alerts, which overtake any
    backlog of candidates; 1: the rest."""
    received_at: datetime = _when(index=True)
    sent_at: datetime | None = _when(nullable=True)
    state: str = "pending"
    """pending, processed, dead."""
    outcome: str | None = Field(default=None, sa_column=Column(Text))
    """What became of it, for people."""
    processed_at: datetime | None = _when(nullable=True)


class DeadLetterRow(SQLModel, table=True):
    """What could not be used, and why; it can be tried again after a fix."""

    __tablename__ = "dead_letter"

    id: int | None = _id()
    notice_id: int | None = _big(default=None, index=True, nullable=True)
    stage: str
    reason: str = Field(sa_column=Column(Text, nullable=False))
    at: datetime = _when()
    cause_id: str = ""
    retried_at: datetime | None = _when(nullable=True)


class EventRow(SQLModel, table=True):
    """An event as it stands: a summary of its alerts, recomputed from them."""

    __tablename__ = "event"

    event_id: str = Field(primary_key=True)
    messenger: str
    state: str
    """active, retracted."""
    is_practice: bool
    event_time: datetime | None = _when(nullable=True)
    alert_type: str
    significant: bool | None = None
    current_alert_id: int | None = _big(default=None, nullable=True)
    localization_id: str | None = None
    """The newest map that could be read."""
    aliases: list[str] = _json(list)
    first_received_at: datetime = _when()
    updated_at: datetime = _when()
    cause_id: str = ""


class AlertRow(SQLModel, table=True):
    """One revision of an event. Unique by content, so two brokers make one row."""

    __tablename__ = "alert"
    __table_args__ = (
        UniqueConstraint("event_id", "alert_type", "time_created", name="uq_alert_identity"),
    )

    id: int | None = _id()
    event_id: str = Field(index=True)
    alert_type: str
    time_created: datetime = _when()
    notice_id: int = _big()
    localization_id: str | None = None
    localized_by: str | None = None
    """Where the localization came from: ``map`` in the notice, ``link``, ``region``."""
    messenger: str
    is_practice: bool
    event_time: datetime | None = _when(nullable=True)
    significant: bool | None = None
    far_hz: float | None = None
    group: str | None = None
    pipeline: str | None = None
    search: str | None = None
    instruments: list[str] = _json(list)
    classification: dict[str, float] = _json(dict)
    properties: dict[str, float] = _json(dict)
    external: dict[str, Any] = _json(dict)
    urls: dict[str, str] = _json(dict)
    extra: dict[str, Any] = _json(dict)
    aliases: list[str] = _json(list)
    received_at: datetime = _when()
    cause_id: str = ""


class LocalizationRow(SQLModel, table=True):
    """An immutable sky map, keyed by its content."""

    __tablename__ = "localization"

    id: str = Field(primary_key=True)
    fits: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    is_3d: bool
    n_tiles: int
    area_50_deg2: float
    area_90_deg2: float
    distance_mpc: float | None = None
    distance_std_mpc: float | None = None
    repairs: list[str] = _json(list)
    outlines: dict[str, Any] = _json(dict)
    """Credible-region outlines for the page: level -> rings of [ra_deg, dec_deg]."""
    created_at: datetime = _when()


class LateMapRow(SQLModel, table=True):
    """A map that was behind a link of an alert, whether the alert is here yet or not."""

    __tablename__ = "late_map"

    event_id: str = Field(primary_key=True)
    alert_type: str = Field(primary_key=True)
    time_created: datetime = Field(sa_column=Column(UtcDateTime, primary_key=True))
    localization_id: str
    url: str = Field(sa_column=Column(Text, nullable=False))
    notice_id: int = _big()


class CandidateRow(SQLModel, table=True):
    """A transient; its photometry is in ``detection`` and may arrive first."""

    __tablename__ = "candidate"

    object_id: str = Field(primary_key=True)
    source: str
    ra_deg: float
    dec_deg: float
    hpx29: int = _big(index=True)
    """HEALPix nested index at order 29."""
    position_error_arcsec: float | None = None
    redshift: float | None = None
    redshift_err: float | None = None
    ebv_mw: float | None = None
    is_practice: bool = False
    attributes: dict[str, Any] = _json(dict)
    notice_id: int = _big()
    received_at: datetime = _when()


class DetectionRow(SQLModel, table=True):
    """One photometric point or limit. ``point_key`` makes a repeat recognisable."""

    __tablename__ = "detection"
    __table_args__ = (UniqueConstraint("object_id", "point_key", name="uq_detection_point"),)

    id: int | None = _id()
    object_id: str = Field(index=True)
    point_key: str
    obs_mjd_tai: float
    band: str
    mag_ab: float
    mag_err: float | None = None
    is_limit: bool = False
    notice_id: int = _big()
    received_at: datetime = _when()


class MatchRow(SQLModel, table=True):
    """A candidate against one localization of an event."""

    __tablename__ = "match"

    event_id: str = Field(primary_key=True)
    localization_id: str = Field(primary_key=True)
    object_id: str = Field(primary_key=True, index=True)
    prob_density_sr: float
    credible_level_2d: float
    prob_density_mpc3: float | None = None
    credible_level_3d: float | None = None
    distance_mean_mpc: float | None = None
    distance_std_mpc: float | None = None
    time_offset_day: float | None = None
    matched_at: datetime = _when()
    cause_id: str = ""


class ScreeningRow(SQLModel, table=True):
    """The quick look at one match; decides whether a full inference is worth its cost."""

    __tablename__ = "screening"

    event_id: str = Field(primary_key=True)
    object_id: str = Field(primary_key=True)
    p_kilonova: float | None = None
    reason: str = Field(sa_column=Column(Text, nullable=False))
    detected_before_event: bool | None = None
    n_points: int = 0
    run_key: str | None = Field(default=None, index=True)
    """The run for the newest data; None when the screen asked for none."""
    screened_at: datetime = _when()
    cause_id: str = ""


class RunRow(SQLModel, table=True):
    """One inference. ``run_key`` is a hash of every input, so equal requests are one run."""

    __tablename__ = "run"

    run_key: str = Field(primary_key=True)
    event_id: str = Field(index=True)
    object_id: str = Field(index=True)
    state: str
    """queued, running, done, failed, superseded."""
    job: dict[str, Any] = _json(dict)
    coalesced: int = 0
    """Requests for the same key while it was queued or running."""
    cached: int = 0
    """Requests for the same key after it was done."""
    attempts: int = 0
    lease_owner: str | None = None
    lease_until: datetime | None = _when(nullable=True)
    priority: float = 0.0
    partition: str = Field(default="public", index=True)
    """Who may see it: ``public``, or the one group whose private data went in."""
    cpu_s: float | None = None
    """Processor time that the answer took; what the requesters are charged for."""
    created_at: datetime = _when()
    started_at: datetime | None = _when(nullable=True)
    finished_at: datetime | None = _when(nullable=True)
    summary: dict[str, Any] = _json(dict)
    light_curve: dict[str, Any] = _json(dict)
    samples: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    error: str | None = Field(default=None, sa_column=Column(Text))
    cause_id: str = ""


class PlanRevisionRow(SQLModel, table=True):
    """One revision of an event's plan; a new one only when its content changed."""

    __tablename__ = "plan"
    __table_args__ = (UniqueConstraint("event_id", "revision", name="uq_plan_revision"),)

    id: int | None = _id()
    event_id: str = Field(index=True)
    revision: int
    content_sha256: str
    planned_for: datetime = _when()
    """The instant from which the night was planned."""
    n_targets: int
    objective: float
    """Worth of what is scheduled, less its price."""
    upper_bound: float | None = None
    """No schedule of the same targets is worth more; None: planned before this was known."""
    certified_gap: float | None = None
    note: str = Field(default="", sa_column=Column(Text, nullable=False))
    created_at: datetime = _when()
    cause_id: str = ""


class RequestRow(SQLModel, table=True):
    """One line of a plan revision."""

    __tablename__ = "request"

    event_id: str = Field(primary_key=True)
    revision: int = Field(primary_key=True)
    rank: int = Field(primary_key=True)
    object_id: str = Field(index=True)
    score: float
    row: dict[str, Any] = _json(dict)
    """The whole ``PlanRow`` as JSON."""


class DeliveryRow(SQLModel, table=True):
    """The outbox: what is to be said to whom, written with the plan that asks for it."""

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("key", name="uq_delivery_key"),
        Index("ix_delivery_due", "state", "next_attempt_at"),
    )

    id: int | None = _id()
    key: str
    kind: str
    sink: str
    event_id: str = Field(index=True)
    plan_revision: int
    target: str
    """Object id, or empty for a sink that speaks per plan."""
    is_practice: bool
    payload: dict[str, Any] = _json(dict)
    state: str = "pending"
    """pending, sending, sent, failed, refused, unknown, superseded, withdrawn."""
    remote_id: str | None = None
    withdraws: str | None = None
    """Key of the delivery that a withdrawal takes back."""
    detail: str = Field(default="", sa_column=Column(Text, nullable=False))
    attempts: int = 0
    created_at: datetime = _when()
    next_attempt_at: datetime = _when()
    finished_at: datetime | None = _when(nullable=True)
    cause_id: str = ""


class WorkRow(SQLModel, table=True):
    """What a stage still has to look at.

    One row per (stage, key). ``requested`` counts the wishes, ``done`` those served; a wish
    that arrives while the key is being worked on is therefore never lost, and a burst of
    wishes for one key is served at once.
    """

    __tablename__ = "work"
    __table_args__ = (
        Index(
            "ix_work_pending",
            "stage",
            "priority",
            "not_before",
            sqlite_where=text("requested > done"),
            postgresql_where=text("requested > done"),
        ),
    )

    stage: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    requested: int = _big()
    done: int = _big()
    priority: int = 1
    not_before: datetime = _when()
    enqueued_at: datetime = _when()
    """When the oldest wish not yet served came in."""
    attempts: int = 0
    cause_id: str = ""


class LedgerRow(SQLModel, table=True):
    """Counts per stage, written in the transaction of what they count."""

    __tablename__ = "ledger"

    stage: str = Field(primary_key=True)
    received: int = _big()
    processed: int = _big()
    dead: int = _big()


class JournalRow(SQLModel, table=True):
    """What happened, in order: the source of ``story`` and of the latencies."""

    __tablename__ = "journal"

    id: int | None = _id()
    at: datetime = _when(index=True)
    stage: str
    what: str
    """A short code: ``received``, ``matched``, ``inferred``, ``planned``, ``sent`` ..."""
    text: str = Field(sa_column=Column(Text, nullable=False))
    event_id: str | None = Field(default=None, index=True)
    object_id: str | None = Field(default=None, index=True)
    latency_s: float | None = None
    """From the moment the stage was asked to the moment it was done."""
    cause_id: str = Field(default="", index=True)


class EventNameRow(SQLModel, table=True):
    """Every name that an event goes by, in a form in which spellings agree.

    One name may stand for several events (a burst that two missions saw), and one event has
    many names; any of them finds it.
    """

    __tablename__ = "event_name"

    key: str = Field(primary_key=True)
    """Normalised: no blanks, hyphens or underscores, lower case."""
    event_id: str = Field(primary_key=True, index=True)
    name: str
    """As written by whoever told it."""
    learned_from: str = Field(primary_key=True)
    """``alert``, ``circular``: a synonym; ``external``: the other event of a coincidence."""
    cause_id: str = ""


class CircularRow(SQLModel, table=True):
    """A GCN circular in its newest version."""

    __tablename__ = "circular"

    circular_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    version: int
    subject: str = Field(sa_column=Column(Text, nullable=False))
    body: str = Field(sa_column=Column(Text, nullable=False))
    submitter: str = Field(sa_column=Column(Text, nullable=False))
    event_names: list[str] = _json(list)
    synonyms: list[list[str]] = _json(list)
    """Groups of names that the text says are one event."""
    created_at: datetime = _when(index=True)
    edited_at: datetime | None = _when(nullable=True)
    notice_id: int = _big()
    received_at: datetime = _when()


class CircularNameRow(SQLModel, table=True):
    """Which circular speaks of which name; joined with ``event_name`` on ``key``."""

    __tablename__ = "circular_name"

    key: str = Field(primary_key=True)
    circular_id: int = Field(
        sa_column=Column(BigInteger, primary_key=True, autoincrement=False, index=True)
    )


class KnownTransientRow(SQLModel, table=True):
    """An entry of a catalogue of transients, newest version."""

    __tablename__ = "known_transient"

    catalogue: str = Field(primary_key=True)
    identifier: str = Field(primary_key=True)
    name: str = Field(index=True)
    ra_deg: float
    dec_deg: float
    hpx29: int = _big(index=True)
    """HEALPix nested index at order 29."""
    names: list[str] = _json(list)
    classification: str | None = None
    redshift: float | None = None
    redshift_err: float | None = None
    discovered_mjd_tai: float | None = None
    host: str | None = None
    modified_at: datetime | None = _when(nullable=True)
    attributes: dict[str, Any] = _json(dict)
    notice_id: int = _big()
    received_at: datetime = _when()


class KnownNameRow(SQLModel, table=True):
    """Every name of an entry in a catalogue of transients, spelled as ``event_name`` is."""

    __tablename__ = "known_name"

    key: str = Field(primary_key=True)
    catalogue: str = Field(primary_key=True)
    identifier: str = Field(primary_key=True)


class CounterRow(SQLModel, table=True):
    """How often a rule left something out, per source: ``veto moving``, ``veto star`` ..."""

    __tablename__ = "counter"

    source: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    n: int = _big()


class CursorRow(SQLModel, table=True):
    """How far a listener that polls has got; written with the notices that it covers."""

    __tablename__ = "cursor"

    listener: str = Field(primary_key=True)
    position: dict[str, Any] = _json(dict)
    updated_at: datetime = _when()


class AlarmRow(SQLModel, table=True):
    """Something that an operator has to know: raised once, told once, cleared once."""

    __tablename__ = "alarm"

    id: int | None = _id()
    key: str = Field(index=True)
    """What it is about: ``listener gcn: silent``. At most one open alarm has a key."""
    severity: str
    """``page``: somebody should be woken; ``warn``: it can wait for the morning."""
    text: str = Field(sa_column=Column(Text, nullable=False))
    """What is wrong and what to do."""
    raised_at: datetime = _when(index=True)
    cleared_at: datetime | None = _when(nullable=True)
    told: dict[str, Any] = _json(dict)
    """Sink -> ``raised`` and ``cleared`` -> how telling it went."""


class AccessGroupRow(SQLModel, table=True):
    """A group of people who share tokens, private data and a quota."""

    __tablename__ = "access_group"

    name: str = Field(primary_key=True)
    quota_cpu_s: float
    """Processor seconds that it may use in any ``period_day`` days."""
    period_day: float = 30.0
    priority: float = 0.5
    """Where its runs stand in the queue before waiting counts; 0 to 1."""
    created_at: datetime = _when()


class TokenRow(SQLModel, table=True):
    """An API token. The secret itself is nowhere: it is shown once, when it is made."""

    __tablename__ = "token"

    id: str = Field(primary_key=True)
    group: str = Field(index=True)
    label: str = ""
    secret_sha256: str
    scopes: list[str] = _json(list)
    created_at: datetime = _when()
    expires_at: datetime = _when()
    revoked_at: datetime | None = _when(nullable=True)
    last_used_at: datetime | None = _when(nullable=True)


class RunRequestRow(SQLModel, table=True):
    """Who asked for a run, and what it cost them: the ledger of the quotas."""

    __tablename__ = "run_request"

    id: int | None = _id()
    run_key: str = Field(index=True)
    group: str = Field(index=True)
    token_id: str
    how: str
    """``executed``: the run was started for it; ``coalesced``: it joined one that was waiting
    or running; ``cached``: the answer was there, which is free."""
    requested_at: datetime = _when(index=True)
    charged_cpu_s: float | None = None
    """None while the run is not done; the cost is split among the groups that waited for it."""


class AlertNoticeRow(SQLModel, table=True):
    """Which notices say the same alert: one over each broker, and those sent twice."""

    __tablename__ = "alert_notice"

    alert_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    notice_id: int = Field(
        sa_column=Column(BigInteger, primary_key=True, autoincrement=False, index=True)
    )


class ListenerRow(SQLModel, table=True):
    """What is remembered of a configured listener over restarts."""

    __tablename__ = "listener"

    name: str = Field(primary_key=True)
    first_started_at: datetime = _when()
    connected_at: datetime | None = _when(nullable=True)
    """When it last worked, to within some minutes."""


class UserModelRow(SQLModel, table=True):
    """One version of a model from others; text and verdict never change."""

    __tablename__ = "user_model"

    name: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    sha256: str
    """Of the source text."""
    source: str = Field(sa_column=Column(Text, nullable=False))
    uploaded_by: str
    added_at: datetime = _when()
    state: str
    """accepted, refused, retired."""
    speed: str | None = None
    """fast, medium, slow: how much of it a fit can afford."""
    report: dict[str, Any] = _json(dict)
    """What the checks on arrival found."""
