"""``mmcoord doctor``: is this installation fit for the night, and if not, what to do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from confluent_kafka import KafkaException

from followup.sinks.base import Outcome, Sink
from listeners.kafka import KafkaListener
from mmcoord.config import Settings, load_settings
from mmcoord.errors import MmcoordError, NoSandbox
from mmcoord.inference.probe import probe
from mmcoord.store import queue
from mmcoord.wiring import build_context, build_listener, open_database, with_default_sink

__all__ = ["Finding", "examine"]

_MIN_FREE_BYTES = 2 * 2**30
_BROKER_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    good: bool
    text: str


def examine(config: Path | None, db: str | None) -> list[Finding]:
    """Look at settings, disk, store, sinks and brokers. Never raises for a bad finding."""
    try:
        settings = load_settings(config)
    except MmcoordError as error:
        return [Finding("configuration", False, str(error))]
    if db is not None:
        url = db if "://" in db else f"sqlite:///{Path(db).absolute()}"
        settings = replace(settings, database_url=url)
    findings = [Finding("configuration", True, str(config) if config else "built-in defaults")]
    findings += _disk(settings)
    findings.append(_sandbox())
    findings += _parts(with_default_sink(settings, Path(settings.data_dir) / "outbox"))
    return findings


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = Path(settings.data_dir).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    yield Finding(
        "disk",
        free > _MIN_FREE_BYTES,
        f"{free / 2**30:.1f} GiB free for {settings.data_dir}"
        + ("" if free > _MIN_FREE_BYTES else "; make room: a full disk stops the intake"),
    )


def _sandbox() -> Finding:
    """Good either way: most stations run no model from others, and none is ever run bare."""
    try:
        return Finding("models from others", True, f"can be run, confined by {probe()}")
    except NoSandbox as error:
        return Finding("models from others", True, f"{error}; install bubblewrap and libseccomp2")


def _parts(settings: Settings) -> Iterator[Finding]:
    try:
        database = open_database(settings)
    except Exception as error:
        # A driver has its own errors; whatever it is belongs into the report.
        yield Finding("store", False, f"{type(error).__name__}: {error}")
        return
    with closing(database), httpx.Client() as client:
        with database.snapshot() as session:
            lost = {b.stage: b.lost for b in queue.balance(session) if b.lost}
        yield Finding(
            "store",
            not lost,
            f"{database}" + (f"; counts do not balance: {lost}" if lost else "; counts balance"),
        )
        try:
            ctx = build_context(settings, database, client)
        except MmcoordError as error:
            yield Finding("parts", False, str(error))
            return
        for name, sink in sorted(ctx.sinks.items()):
            kind = "practice" if sink.is_practice else "PRODUCTION"
            yield _sink(name, sink, f"{settings.sinks[name].kind}, {kind}")
        if not settings.listeners:
            yield Finding("listeners", True, "none configured: nothing is heard from outside")
        for name, wanted in sorted(settings.listeners.items()):
            try:
                listener = build_listener(ctx, name, wanted, lambda status: None)
            except MmcoordError as error:
                yield Finding(f"listener {name}", False, str(error))
                continue
            yield _broker(name, listener, wanted.topics)


def _sink(name: str, sink: Sink, kind: str) -> Finding:
    """Ask the service who we are, where it can be asked; nothing is sent."""
    check = getattr(sink, "check", None)
    if check is None:
        return Finding(f"sink {name}", True, f"{kind}; it cannot be asked")
    answer = check()
    good = answer.outcome in (Outcome.SENT, Outcome.UNKNOWN)
    return Finding(f"sink {name}", good, f"{kind}; {answer.detail or answer.outcome}")


def _broker(name: str, listener: KafkaListener, topics: tuple[str, ...]) -> Finding:
    connection = listener.connection
    settings = {**connection.config, "group.id": listener.settings.group_id}
    try:
        consumer = connection.make(settings)
        try:
            present = consumer.list_topics(timeout=_BROKER_TIMEOUT_S).topics
        finally:
            consumer.close()
    except KafkaException as error:
        return Finding(
            f"listener {name}",
            False,
            f"{connection.broker}: {error}; check network, user name and password",
        )
    missing = [topic for topic in topics if topic not in present]
    if missing:
        return Finding(
            f"listener {name}", False, f"{connection.broker} has no topic {', '.join(missing)}"
        )
    return Finding(f"listener {name}", True, f"{connection.broker}: {', '.join(topics)}")
