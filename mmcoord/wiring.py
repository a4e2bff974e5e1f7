"""From settings to parts: the context, the connections, the store."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, select
from sqlmodel import col

from followup.sites import load_catalogue
from listeners.connections import Connection, gcn, kafka, scimma
from listeners.kafka import KafkaListener
from listeners.polling import HttpListener
from listeners.pubsub import PubSubListener
from listeners.settings import KafkaSettings, ListenerStatus
from mmcoord.config import ListenerSettings, Settings, SinkSettings, secret
from mmcoord.errors import ConfigError
from mmcoord.polled import build_http_listener, build_pubsub_listener
from mmcoord.records import Notice
from mmcoord.stages.context import Context, load_sinks, load_sources
from mmcoord.stages.intake import receive
from mmcoord.store.database import Database
from mmcoord.store.migrate import upgrade
from mmcoord.store.tables import NoticeRow

__all__ = ["build_context", "build_listener", "open_database", "status_json", "with_default_sink"]


def open_database(settings: Settings) -> Database:
    """The store, created or migrated as needed."""
    database = Database(settings.url)
    upgrade(database)
    return database


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
    catalogue = (
        load_catalogue(Path(settings.plan.catalogue))
        if settings.plan.catalogue
        else load_catalogue()
    )
    if settings.plan.instruments:
        catalogue.select(settings.plan.instruments)  # fail at start, not at the first plan
    return Context(
        database=database,
        settings=settings,
        sources=load_sources(),
        sinks=load_sinks(settings, client),
        catalogue=catalogue,
    )


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
        Unknown source or transport, missing credentials, no group id.
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

    def write(notices: Sequence[Notice]) -> None:
        receive(ctx, notices)

    return KafkaListener(
        KafkaSettings(
            name=name,
            source=settings.source,
            topics=settings.topics,
            group_id=settings.group_id,
            heartbeat_topic=str(settings.options.get("heartbeat_topic", "")),
            silence_s=settings.options.get("silence_s"),
            key_is_schema=bool(settings.options.get("key_is_schema", False)),
            keep_tests=bool(settings.options.get("keep_tests", False)),
            backfill_from=_moment(settings.options.get("backfill_from"), name),
        ),
        connection,
        write,
        on_status,
        lambda: _next_offsets(ctx.database, connection.broker),
    )


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
        )
    raise ConfigError(
        f"listeners.{name}.transport: {settings.transport!r} is none of "
        "gcn, http, kafka, pubsub, scimma"
    )


def _next_offsets(database: Database, broker: str) -> dict[tuple[str, int], int]:
    """Our own record of the place in each partition; it survives the broker's forgetting."""
    with database.read() as session:
        rows = session.execute(
            select(col(NoticeRow.topic), col(NoticeRow.partition), func.max(col(NoticeRow.offset)))
            .where(col(NoticeRow.broker) == broker)
            .group_by(col(NoticeRow.topic), col(NoticeRow.partition))
        )
        return {(topic, partition): offset + 1 for topic, partition, offset in rows}


def status_json(status: ListenerStatus) -> dict[str, Any]:
    """A listener's status for ``/healthz``."""
    document = dataclasses.asdict(status)
    for key, value in document.items():
        if hasattr(value, "isoformat"):
            document[key] = value.isoformat()
    return document
