"""From settings to parts: the context, the connections, the store."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, select, tuple_
from sqlmodel import col

from followup.sites import load_catalogue
from listeners.connections import Connection, gcn, kafka, scimma
from listeners.kafka import KafkaListener
from listeners.polling import HttpListener
from listeners.pubsub import PubSubListener
from listeners.settings import KafkaSettings, ListenerStatus
from mmcoord.config import ListenerSettings, Settings, SinkSettings, secret
from mmcoord.errors import ConfigError
from mmcoord.inference import bank
from mmcoord.policy import load_policy
from mmcoord.polled import build_http_listener, build_pubsub_listener
from mmcoord.records import Notice
from mmcoord.stages.context import Context, load_sinks, load_sources
from mmcoord.stages.intake import receive
from mmcoord.store import queue
from mmcoord.store.database import Database
from mmcoord.store.tables import NoticeRow
from mmcoord.watchdog.telling import operators
from skymaps.detectors import DetectorTable, load_detectors
from skymaps.skymap import SkyMapError

__all__ = [
    "build_context",
    "build_listener",
    "detector_table",
    "next_offsets",
    "status_json",
    "with_default_sink",
]

_MAX_PENDING = 50_000
_OPTIONS = {
    "gcn": {"client_id", "client_secret_env", "client_secret_file", "domain"},
    "scimma": {"username", "password_env", "password_file"},
    "kafka": {"bootstrap_servers", "broker", "group_prefix", "password_env", "password_file"},
}
_COMMON_OPTIONS = {
    *("backfill_from", "config", "heartbeat_topic", "keep_tests", "key_is_schema"),
    *("max_pending", "silence_s"),
}


def with_default_sink(settings: Settings, folder: Path) -> Settings:
    """With no sink configured, practice plans go to files in ``folder``."""
    if settings.sinks:
        return settings
    sink = SinkSettings(kind="file", practice=True, options={"folder": str(folder)})
    return dataclasses.replace(settings, sinks={"folder": sink})


def build_context(settings: Settings, database: Database, client: httpx.Client) -> Context:
    """Everything that the stages need.

    Raises
    ------
    ConfigError
        A sink, catalogue or listener that cannot be set up; the message names the key.
    """
    if settings.infer.bank_dir:
        bank.keep_in(Path(settings.infer.bank_dir))
    catalogue = (
        load_catalogue(Path(settings.plan.catalogue))
        if settings.plan.catalogue
        else load_catalogue()
    )
    if settings.plan.instruments:
        catalogue.select(settings.plan.instruments)  # fail at start, not at the first plan
    sinks = load_sinks(settings, client)
    operators(settings, sinks)  # fail at start, not at the first alarm
    return Context(
        database=database,
        settings=settings,
        sources=load_sources(),
        sinks=sinks,
        policy=load_policy(settings.policy),
        catalogue=catalogue,
        detectors=detector_table(settings),
    )


def detector_table(settings: Settings) -> DetectorTable:
    """Neutrino detectors: the built-in table with the user's own (``bursts.detectors``).

    Raises
    ------
    ConfigError
        The user's table cannot be read.
    """
    path = settings.bursts.detectors
    try:
        return load_detectors(None if path is None else Path(path))
    except SkyMapError as error:
        raise ConfigError(f"bursts.detectors: {error}") from error


def build_listener(
    ctx: Context,
    name: str,
    settings: ListenerSettings,
    on_status: Any,
) -> KafkaListener | HttpListener | PubSubListener:
    """A listener that writes into the inbox, by its transport.

    Raises
    ------
    ConfigError
        Unknown source, transport or option, missing credentials, no group id.
    """
    if settings.source not in ctx.sources:
        raise ConfigError(
            f"listeners.{name}.source: {settings.source!r} is none of "
            f"{', '.join(sorted(ctx.sources))}"
        )
    if settings.transport == "http":
        return build_http_listener(ctx, name, settings, on_status)
    if settings.transport == "pubsub":
        return build_pubsub_listener(ctx, name, settings, on_status)
    connection = _connection(name, settings)
    options = settings.options

    def write(notices: Sequence[Notice]) -> None:
        receive(ctx, notices)

    return KafkaListener(
        KafkaSettings(
            name=name,
            source=settings.source,
            topics=settings.topics,
            group_id=settings.group_id,
            heartbeat_topic=str(options.get("heartbeat_topic", "")),
            silence_s=options.get("silence_s"),
            key_is_schema=bool(options.get("key_is_schema", False)),
            keep_tests=bool(options.get("keep_tests", False)),
            backfill_from=_moment(options.get("backfill_from"), name),
        ),
        connection,
        write,
        on_status,
        lambda: next_offsets(ctx.database, connection.broker),
        _room(ctx, settings.source, _max_pending(options.get("max_pending"), name)),
    )


def _room(ctx: Context, source: str, max_pending: int) -> Callable[[], bool]:
    """Whether a listener may go on: no backlog of candidates may hold up an alert.

    A listener of candidates stops at ``max_pending`` notices in the inbox and goes on when half
    of them are read, so that it does not throw away at each turn what its client has fetched.
    """
    if not ctx.sources[source].is_bulk:
        return lambda: True
    is_full = False

    def has_room() -> bool:
        nonlocal is_full
        limit = (max_pending + 1) // 2 if is_full else max_pending
        with ctx.database.read() as session:
            is_full = queue.has_backlog(session, limit)
        return not is_full

    return has_room


def _max_pending(value: Any, name: str) -> int:
    if value is None:
        return _MAX_PENDING
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"listeners.{name}.options.max_pending: {value!r} is not a count")
    return value


def _moment(value: Any, name: str) -> datetime | None:
    """A TOML date-time with its zone."""
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ConfigError(
            f"listeners.{name}.options.backfill_from: {value!r} is not a date-time with a zone"
        )
    return value


def _connection(name: str, settings: ListenerSettings) -> Connection:
    options = settings.options
    known = _COMMON_OPTIONS | _OPTIONS.get(settings.transport, set())
    if settings.transport in _OPTIONS and (unknown := sorted(set(options) - known)):
        raise ConfigError(
            f"listeners.{name}.options: unknown key {unknown[0]!r}; known: "
            f"{', '.join(sorted(known))}"
        )
    config: Mapping[str, Any] = options.get("config", {})
    if settings.transport == "gcn":
        return gcn(
            str(options.get("client_id", "")),
            secret(options, "client_secret") or "",
            domain=str(options.get("domain", "gcn.nasa.gov")),
            config=config,
        )
    if settings.transport == "scimma":
        return scimma(
            str(options.get("username", "")), secret(options, "password") or "", config=config
        )
    if settings.transport == "kafka":
        password = secret(options, "password")
        with_login = {**config, "sasl.password": password} if password else config
        return kafka(
            str(options.get("bootstrap_servers", "")),
            broker=str(options.get("broker", "")),
            config=with_login,
            group_prefix=str(options.get("group_prefix", "")),
        )
    raise ConfigError(
        f"listeners.{name}.transport: {settings.transport!r} is none of "
        "gcn, http, kafka, pubsub, scimma"
    )


def next_offsets(database: Database, broker: str) -> dict[tuple[str, int], int]:
    """Our own record of the place in each partition; it survives the broker's forgetting.

    Two looks into the index a partition, however many notices there are.
    """
    found: dict[tuple[str, int], int] = {}
    topic, partition, offset = col(NoticeRow.topic), col(NoticeRow.partition), NoticeRow.offset
    of_broker = col(NoticeRow.broker) == broker
    after = select(topic, partition).where(of_broker).order_by(topic, partition).limit(1)
    with database.read() as session:
        place = session.execute(after).first()
        while place is not None:
            last = session.execute(
                select(func.max(offset)).where(of_broker, topic == place[0], partition == place[1])
            ).scalar_one()
            found[place[0], place[1]] = last + 1
            place = session.execute(
                after.where(tuple_(topic, partition) > tuple_(place[0], place[1]))
            ).first()
    return found


def status_json(status: ListenerStatus) -> dict[str, Any]:
    """A listener's status for ``/healthz``."""
    document = dataclasses.asdict(status)
    for key, value in document.items():
        if hasattr(value, "isoformat"):
            document[key] = value.isoformat()
    return document
