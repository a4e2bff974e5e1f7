"""``mmcoord doctor``: is this installation fit for the night, and if not, what to do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx

from followup.sinks.base import Outcome, Sink
from listeners.base import Source
from listeners.kafka import KafkaListener
from listeners.polling import HttpListener
from listeners.pubsub import PubSubListener
from mmcoord.brokercheck import NotLetIn, TopicAnswer, ask_broker
from mmcoord.config import ListenerSettings, Settings, load_settings
from mmcoord.errors import MmcoordError, NoSandbox
from mmcoord.inference.probe import probe
from mmcoord.opening import open_database
from mmcoord.store import queue
from mmcoord.store.database import Database
from mmcoord.watchdog.settings import WatchdogSettings
from mmcoord.web.text import ago
from mmcoord.wiring import (
    build_context,
    build_listener,
    next_offsets,
    with_default_sink,
)

__all__ = ["Finding", "examine"]

_MIN_FREE_BYTES = 2 * 2**30


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
    findings.append(_inference(settings))
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


def _inference(settings: Settings) -> Finding:
    """Where inference runs, and whether it can be reached from here."""
    infer = settings.infer
    if infer.executor == "none":
        return Finding("inference", True, "runs nothing here: workers come for runs over HTTPS")
    if infer.executor == "pool":
        n = infer.workers or os.cpu_count() or 1
        return Finding("inference", True, f"{n} process{'es' if n != 1 else ''} of this machine")
    try:
        from mmcoord.stages.dask_executor import reach

        return Finding("inference", True, f"Dask: {reach(infer.dask)}")
    except Exception as error:
        # A cluster's library has its own errors; whatever it is belongs into the report.
        words = str(error) or type(error).__name__
        return Finding("inference", False, f"Dask, {infer.dask.cluster}: {words}")


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
        yield _fetching(settings)
        for name, sink in sorted(ctx.sinks.items()):
            kind = "practice" if sink.is_practice else "PRODUCTION"
            yield _sink(name, sink, f"{settings.sinks[name].kind}, {kind}")
        yield _operators(settings)
        if not settings.heard:
            yield Finding("listeners", True, "none configured: nothing is heard from outside")
        for name, wanted in sorted(settings.heard.items()):
            try:
                listener = build_listener(ctx, name, wanted, lambda status: None)
            except MmcoordError as error:
                yield Finding(f"listener {name}", False, str(error))
                continue
            if isinstance(listener, KafkaListener):
                source = ctx.sources[wanted.source]
                yield from _broker(name, wanted, listener, settings.watchdog, database, source)
            else:
                yield _service(name, listener)


def _fetching(settings: Settings) -> Finding:
    """What is done with links; nobody is asked."""
    if not settings.fetches:
        why = "fetch.enabled is false" if not settings.fetch.enabled else "clock is not 'wall'"
        return Finding("fetch", True, f"maps behind links are not fetched: {why}")
    hosts = ", ".join(sorted(settings.fetch.policy.hosts))
    hours = settings.fetch.give_up_after_h
    return Finding("fetch", True, f"maps behind links, for {hours:g} h, from {hosts} and no other")


def _sink(name: str, sink: Sink, kind: str) -> Finding:
    """Ask the service who we are, where it can be asked; nothing is sent."""
    check = getattr(sink, "check", None)
    if check is None:
        return Finding(f"sink {name}", True, f"{kind}; it cannot be asked")
    answer = check()
    good = answer.outcome in (Outcome.SENT, Outcome.UNKNOWN)
    return Finding(f"sink {name}", good, f"{kind}; {answer.detail or answer.outcome}")


def _operators(settings: Settings) -> Finding:
    """Who is told of alarms; :func:`build_context` has seen that they can be."""
    names = ", ".join(settings.operators)
    advice = (
        "nobody is told of alarms: they show on the page, in /healthz and in the log only; name "
        'sinks of kind slack or file: operators = ["NAME"] (docs/alarms.md)'
    )
    return Finding("operators", True, f"alarms are told to {names}" if names else advice)


def _service(name: str, listener: HttpListener | PubSubListener) -> Finding:
    """Ask the service once; nothing is stored and nothing acknowledged."""
    try:
        return Finding(f"listener {name}", True, listener.check())
    except Exception as error:
        # A client library has its own errors; whatever it is belongs into the report.
        words = str(error) if isinstance(error, MmcoordError) else type(error).__name__
        return Finding(f"listener {name}", False, f"{words}; check network and credentials")


def _broker(
    name: str,
    wanted: ListenerSettings,
    listener: KafkaListener,
    limits: WatchdogSettings,
    database: Database,
    source: Source,
) -> Iterator[Finding]:
    """The login, and each topic with its last message and what waits there for us."""
    connection = listener.connection
    beat = str(wanted.options.get("heartbeat_topic", ""))
    topics = [*wanted.topics, *([beat] if beat else [])]
    try:
        answers = ask_broker(
            connection, wanted.group_id, topics, next_offsets(database, connection.broker)
        )
    except NotLetIn as error:
        yield Finding(f"listener {name}", False, str(error))
        return
    yield Finding(f"listener {name}", True, f"{connection.broker} lets us in")
    now = datetime.now(UTC)
    for answer in answers:
        what = f"listener {name}, {answer.topic}"
        if answer.topic == beat:
            yield _judged(what, answer, now, "", limits.silence_s, "the broker has stopped")
            continue
        lag = limits.bulk_lag if source.is_bulk else limits.lag
        limit_s = limits.mock_superevent_h * 3600.0 if wanted.source == "igwn" else None
        place = _place(answer, wanted.group_id)
        if answer.is_there and answer.waiting > lag:
            yield Finding(what, False, f"{place}; start mmcoord, or see why it does not keep up")
            continue
        yield _judged(what, answer, now, place, limit_s, "mock superevents come every hour")


def _judged(
    what: str, answer: TopicAnswer, now: datetime, place: str, limit_s: float | None, why: str
) -> Finding:
    """Whether the topic is there and its last message as young as it should be."""
    if not answer.is_there:
        return Finding(
            what,
            False,
            "unknown to the broker, or not permitted; correct the name, or ask for the "
            "permission (a new one can take an hour)",
        )
    text = f"{_last(answer, now)}{'; ' if place else ''}{place}"
    age = (now - answer.last_at).total_seconds() if answer.last_at else None
    if limit_s and (age is None or age > limit_s):
        return Finding(what, False, f"{text}. That is too long: {why}; see its status page")
    return Finding(what, True, text)


def _last(answer: TopicAnswer, now: datetime) -> str:
    if answer.last_at is None:
        return "no message" if not answer.kept else "the last message could not be read"
    return f"last message {answer.last_at:%Y-%m-%d %H:%M:%S} UTC ({ago(answer.last_at, now)})"


def _place(answer: TopicAnswer, group_id: str) -> str:
    if answer.is_new and answer.kept:
        return f"nothing taken yet, {answer.waiting:,} wait for group {group_id}"
    return f"{answer.waiting:,} wait for group {group_id}"
