"""One consumer loop for every Kafka source: raw bytes into durable storage, then commit.

The loop knows nothing of what the bytes mean, and nothing of the store: it hands batches of
:class:`~mmcoord.records.Notice` to a callable that returns when they are durable. Offsets
are committed only after that. A crash at any point therefore redelivers and never loses;
the receipt's coordinates (broker, topic, partition, offset) let the store drop the repeat.

What it does about the traps of the clients in use:

* a random group id forgets its place on restart: the group id is demanded;
* a poisonous message stops a client that parses: nothing is parsed here;
* an error arrives as a message: every message's ``error()`` is looked at; an unknown topic
  is named in the status, a fatal error or a silent connection rebuilds the client;
* a long pause between polls loses the membership of the group: while the store is down the
  partitions are paused and polling goes on.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from confluent_kafka import (
    OFFSET_END,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from listeners.connections import Connection
from mmcoord.errors import ConfigError
from mmcoord.records import Notice

__all__ = ["KafkaListener", "KafkaSettings", "ListenerState", "ListenerStatus"]

logger = logging.getLogger(__name__)

Offsets = Mapping[tuple[str, int], int]
"""(topic, partition) -> offset of the next message wanted."""

_UNKNOWN_TOPIC = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)
_LOOKUP_S = 10.0
_STATUS_S = 5.0


class ListenerState(StrEnum):
    """What a listener is doing."""

    CONNECTING = "connecting"
    RUNNING = "running"
    PAUSED = "paused"
    STORE_DOWN = "store_down"
    """Messages are held back because they cannot be stored."""
    WAITING = "waiting"
    """The client failed and is rebuilt after a delay."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """What the operator may know of one connection; for ``/healthz``."""

    name: str
    source: str
    state: ListenerState = ListenerState.CONNECTING
    received: int = 0
    """Messages stored since the start, redeliveries included."""
    skipped_tests: int = 0
    """Messages that their sender marked as a test of the transport (``_test``)."""
    last_received_at: datetime | None = None
    """When the last message of any kind came, heartbeats included."""
    last_sent_at: datetime | None = None
    """Broker's time stamp of the last stored message."""
    lag: int | None = None
    """Messages waiting at the broker; None while not known."""
    missing_topics: tuple[str, ...] = ()
    """Subscribed, but unknown to the broker (or not permitted)."""
    rebuilds: int = 0
    last_error: str = ""
    last_error_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """One connection.

    Raises
    ------
    ConfigError
        No topic or no group id.
    """

    name: str
    """Name of the connection in the configuration."""
    source: str
    """Name of the source (entry point) that reads the payloads."""
    topics: tuple[str, ...]
    group_id: str
    """Fixed for ever: the broker remembers our place under it."""
    batch_size: int = 200
    batch_bytes: int = 32 * 2**20
    poll_s: float = 0.5
    backoff_s: float = 1.0
    backoff_max_s: float = 60.0
    backfill_from: datetime | None = None
    """Go back to this time once, at the first assignment, whatever was committed."""
    heartbeat_topic: str = ""
    """Watched for liveness, from its end, and never stored (``gcn.heartbeat``)."""
    silence_s: float | None = None
    """Rebuild the client when no message of any kind comes for so long."""
    keep_tests: bool = False
    """Store messages with hop's ``_test`` header, which hop's own client leaves out."""

    def __post_init__(self) -> None:
        where = f"listeners.{self.name}"
        if not self.topics or not all(self.topics):
            raise ConfigError(f"{where}.topics: at least one topic is needed")
        if not self.group_id:
            raise ConfigError(f"{where}.group_id: needed; without it a restart loses its place")
        if self.backfill_from is not None and self.backfill_from.tzinfo is None:
            raise ConfigError(f"{where}.backfill_from: a time without a zone")


class KafkaListener:
    """Consumes one connection until told to stop. One thread runs it; see :meth:`run`.

    Parameters
    ----------
    settings
        What to consume.
    connection
        Where, and with which client; from :mod:`listeners.connections`.
    write
        Stores notices and returns when they are durable. If it raises, the same notices are
        tried again until it returns or the listener is stopped; nothing is committed.
    on_status
        Called from the listener's thread at every change of state and every few seconds.
    start_offsets
        Our own record of what is stored, (topic, partition) -> next offset. It overrules
        the broker's committed offsets. Asked at each assignment.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        connection: Connection,
        write: Callable[[Sequence[Notice]], None],
        on_status: Callable[[ListenerStatus], None] = lambda status: None,
        start_offsets: Callable[[], Offsets] = dict,
    ) -> None:
        if not settings.group_id.startswith(connection.group_prefix):
            raise ConfigError(
                f"listeners.{settings.name}.group_id: {connection.broker} permits only groups "
                f"that begin with {connection.group_prefix!r}, not {settings.group_id!r}"
            )
        self.settings = settings
        self.connection = connection
        self.status = ListenerStatus(settings.name, settings.source)
        self._write = write
        self._on_status = on_status
        self._start_offsets = start_offsets
        self._paused = threading.Event()
        self._assigned_before: set[tuple[str, int]] = set()
        self._commits_in_flight = 0
        self._failures = 0
        self._heard_at = time.monotonic()
        self._reported_at = 0.0
        self._random = random.SystemRandom()

    # -- for other threads -----------------------------------------------------------------

    def pause(self) -> None:
        """Stop taking messages (the inbox is full); keep the place in the group."""
        self._paused.set()

    def resume(self) -> None:
        """Take messages again."""
        self._paused.clear()

    # -- the thread ------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Consume until ``stop`` is set, rebuilding the client whenever it breaks.

        Returns when the batch in hand is stored and committed, or given up uncommitted
        because the store is down.
        """
        while not stop.is_set():
            self._update(state=ListenerState.CONNECTING)
            try:
                self._session(stop)
            except KafkaException as error:
                self._fault(_words(error))
            except _RebuildError as error:
                self._fault(str(error))
            except Exception as error:
                # The one loop that must not die: whatever a client library raises, the
                # operator reads it in the status and the connection is built anew.
                logger.exception("%s: the client failed", self.settings.name)
                self._fault(f"{type(error).__name__}: {error}")
            if not stop.is_set():
                self._update(state=ListenerState.WAITING, rebuilds=self.status.rebuilds + 1)
                stop.wait(self._delay())
        self._update(state=ListenerState.STOPPED)

    def _session(self, stop: threading.Event) -> None:
        """One life of a client, from subscribing to closing."""
        self._commits_in_flight = 0
        consumer = self.connection.make(self._client_config())
        try:
            topics = [*self.settings.topics]
            if self.settings.heartbeat_topic:
                topics.append(self.settings.heartbeat_topic)
            consumer.subscribe(topics, on_assign=self._assigned)
            self._heard_at = time.monotonic()
            while not stop.is_set():
                if self._paused.is_set():
                    self._hold(consumer, self.settings.poll_s, stop, ListenerState.PAUSED)
                    continue
                batch = self._batch(consumer)
                if batch:
                    self._store(consumer, batch, stop)
                self._report(consumer)
                self._check_silence()
            self._finish_commits(consumer)
        finally:
            consumer.close()

    def _client_config(self) -> dict[str, Any]:
        return {
            "client.id": f"mmcoord-{self.settings.name}",
            "allow.auto.create.topics": False,
            "fetch.message.max.bytes": 8 * 2**20,
            "queued.max.messages.kbytes": 64 * 2**10,
            **self.connection.config,
            "group.id": self.settings.group_id,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "error_cb": self._client_error,
            "on_commit": self._committed,
        }

    def _batch(self, consumer: Consumer) -> list[Message]:
        """Messages at hand, up to the limits of a batch; waits for the first only."""
        batch: list[Message] = []
        size = 0
        timeout = self.settings.poll_s
        while len(batch) < self.settings.batch_size and size < self.settings.batch_bytes:
            message = consumer.poll(timeout)
            if message is None:
                break
            timeout = 0.0
            if message.error() is not None:
                self._message_error(message)
                continue
            self._heard_at = time.monotonic()
            self._failures = 0
            if message.topic() in self.status.missing_topics:
                rest = (t for t in self.status.missing_topics if t != message.topic())
                self._update(missing_topics=tuple(rest))
            batch.append(message)
            size += len(message.value() or b"")
        return batch

    def _message_error(self, message: Message) -> None:
        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            return
        if error.fatal():
            raise _RebuildError(f"fatal: {error.str()}")
        if error.code() in _UNKNOWN_TOPIC:
            topic = message.topic() or "?"
            if topic not in self.status.missing_topics:
                self._update(missing_topics=(*self.status.missing_topics, topic))
                self._fault(f"topic {topic}: {error.str()}")
        else:
            self._fault(error.str())

    def _client_error(self, error: KafkaError) -> None:
        """librdkafka's own errors; it retries by itself, so they are only told."""
        self._fault(error.str())

    # -- storing and committing ------------------------------------------------------------

    def _store(self, consumer: Consumer, batch: list[Message], stop: threading.Event) -> None:
        """Write a batch, however long it takes, and then commit it."""
        wanted = [message for message in batch if self._is_wanted(message)]
        notices = [self._notice(message) for message in wanted]
        attempt = 0
        while notices:
            try:
                self._write(notices)
                break
            except Exception as error:
                # Broad, because the store is not ours to know: whatever it raises, these
                # notices are not durable, and giving up would lose our place.
                self._fault(f"store: {type(error).__name__}: {error}")
            delay = self._delay(attempt)
            attempt += 1
            self._hold(consumer, delay, stop, ListenerState.STORE_DOWN)
            if stop.is_set():
                return
        skipped = sum(_is_test(message) for message in batch) if not self.settings.keep_tests else 0
        self._update(
            state=ListenerState.RUNNING,
            received=self.status.received + len(notices),
            skipped_tests=self.status.skipped_tests + skipped,
            last_received_at=_now(),
            last_sent_at=notices[-1].sent_at if notices else self.status.last_sent_at,
        )
        self._commit(consumer, batch)

    def _is_wanted(self, message: Message) -> bool:
        if message.topic() == self.settings.heartbeat_topic:
            return False
        return self.settings.keep_tests or not _is_test(message)

    def _notice(self, message: Message) -> Notice:
        kind, milliseconds = message.timestamp()
        return Notice(
            source=self.settings.source,
            broker=self.connection.broker,
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            payload=message.value() or b"",
            received_at=_now(),
            sent_at=None if kind == TIMESTAMP_NOT_AVAILABLE else _utc(milliseconds),
        )

    def _commit(self, consumer: Consumer, batch: list[Message]) -> None:
        following: dict[tuple[str, int], int] = {}
        for message in batch:
            following[message.topic(), message.partition()] = message.offset() + 1
        consumer.commit(
            offsets=[TopicPartition(t, p, offset) for (t, p), offset in following.items()],
            asynchronous=True,
        )
        self._commits_in_flight += 1

    def _committed(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """A commit that failed costs redeliveries only."""
        self._commits_in_flight = max(0, self._commits_in_flight - 1)
        for fault in (error, *(partition.error for partition in partitions)):
            if fault is not None:
                self._fault(f"commit: {fault.str()}")

    def _finish_commits(self, consumer: Consumer) -> None:
        """Wait a little for commits under way; what is not committed comes again."""
        deadline = time.monotonic() + 5.0
        while self._commits_in_flight and time.monotonic() < deadline:
            self._give_back(consumer, consumer.poll(0.05))

    # -- holding still without losing the membership -------------------------------------------

    def _hold(
        self, consumer: Consumer, seconds: float, stop: threading.Event, state: ListenerState
    ) -> None:
        """Poll with all partitions paused, for so long or until told to stop."""
        self._update(state=state)
        deadline = time.monotonic() + seconds
        while not stop.is_set() and (left := deadline - time.monotonic()) > 0:
            consumer.pause(consumer.assignment())
            self._give_back(consumer, consumer.poll(min(left, self.settings.poll_s)))
        consumer.resume(consumer.assignment())
        self._heard_at = time.monotonic()

    def _give_back(self, consumer: Consumer, message: Message | None) -> None:
        """Undo the receipt of a message that came although nothing was asked for."""
        if message is None:
            return
        if message.error() is not None:
            self._message_error(message)
            return
        consumer.seek(TopicPartition(message.topic(), message.partition(), message.offset()))

    # -- where to start ------------------------------------------------------------------------

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        own = self._start_offsets()
        for partition in partitions:
            place = (partition.topic, partition.partition)
            if partition.topic == self.settings.heartbeat_topic:
                partition.offset = OFFSET_END
            elif place in own:
                partition.offset = own[place]
        if self.settings.backfill_from is not None:
            fresh = [
                partition
                for partition in partitions
                if (partition.topic, partition.partition) not in self._assigned_before
                and partition.topic != self.settings.heartbeat_topic
            ]
            self._go_back(consumer, fresh, self.settings.backfill_from)
        self._assigned_before |= {(p.topic, p.partition) for p in partitions}
        if self.connection.is_cooperative:
            consumer.incremental_assign(partitions)
        else:
            consumer.assign(partitions)
        self._update(state=ListenerState.RUNNING)

    def _go_back(
        self, consumer: Consumer, partitions: list[TopicPartition], since: datetime
    ) -> None:
        """Start at a time, unless what is stored or committed is earlier still."""
        if not partitions:
            return
        milliseconds = int(since.timestamp() * 1000)
        asked = [TopicPartition(p.topic, p.partition, milliseconds) for p in partitions]
        committed = consumer.committed(
            [TopicPartition(p.topic, p.partition) for p in partitions], timeout=_LOOKUP_S
        )
        found = consumer.offsets_for_times(asked, timeout=_LOOKUP_S)
        for partition, at_time, known in zip(partitions, found, committed, strict=True):
            resume = partition.offset if partition.offset >= 0 else known.offset
            partition.offset = _earlier(at_time.offset, resume)

    # -- telling -----------------------------------------------------------------------------

    def _check_silence(self) -> None:
        limit = self.settings.silence_s
        silent = time.monotonic() - self._heard_at
        if limit is not None and silent > limit:
            raise _RebuildError(f"no message for {silent:.0f} s")

    def _report(self, consumer: Consumer) -> None:
        if time.monotonic() - self._reported_at < _STATUS_S:
            return
        self._reported_at = time.monotonic()
        self._update(lag=self._lag(consumer))

    def _lag(self, consumer: Consumer) -> int | None:
        total = 0
        for place in consumer.position(consumer.assignment()):
            if place.topic == self.settings.heartbeat_topic:
                continue
            watermarks = consumer.get_watermark_offsets(place, cached=True)
            if not watermarks or watermarks[1] < 0 or place.offset < 0:
                return None
            total += max(0, watermarks[1] - place.offset)
        return total

    def _fault(self, words: str) -> None:
        logger.warning("%s: %s", self.settings.name, words)
        self._update(last_error=words[:500], last_error_at=_now())

    def _update(self, **changes: Any) -> None:
        self.status = replace(self.status, **changes)
        self._on_status(self.status)

    def _delay(self, attempt: int | None = None) -> float:
        """Exponential backoff with jitter, seconds."""
        if attempt is None:
            attempt, self._failures = self._failures, self._failures + 1
        longest = min(
            self.settings.backoff_s * 2.0 ** min(attempt, 20), self.settings.backoff_max_s
        )
        return longest * self._random.uniform(0.5, 1.0)


class _RebuildError(Exception):
    """The client must be replaced; the words say why."""


def _earlier(at_time: int, resume: int) -> int:
    """The earlier of an offset found by time (END: nothing after it) and the known place."""
    if resume < 0:  # OFFSET_INVALID: nothing is known
        return at_time if at_time >= 0 else OFFSET_END
    return min(at_time, resume) if at_time >= 0 else resume


def _is_test(message: Message) -> bool:
    return any(key == "_test" for key, _ in message.headers() or ())


def _words(error: KafkaException) -> str:
    first = error.args[0] if error.args else error
    return first.str() if isinstance(first, KafkaError) else str(first)


def _utc(milliseconds: int) -> datetime | None:
    """The broker's time stamp; producers may set any, so an absurd one is not known."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _now() -> datetime:
    return datetime.now(UTC)
