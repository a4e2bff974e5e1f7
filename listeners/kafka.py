"""One consumer loop for every Kafka source: raw bytes into durable storage, then commit.

The loop knows nothing of what the bytes mean, and nothing of the store: it hands batches of
:class:`~mmcoord.records.Notice` to a callable that returns when they are durable. Offsets
are committed only after that. A crash at any point therefore redelivers and never loses;
the receipt's coordinates (broker, topic, partition, offset) let the store drop the repeat.

What it does about the traps of the clients in use:

* a random group id forgets its place on restart: the group id is demanded;
* a poisonous message stops a client that parses: nothing is parsed here;
* an error arrives as a message: every message's ``error()`` is looked at, and a fatal one or
  a silent connection rebuilds the client; topics unknown to the broker are named;
* a long pause between polls loses the membership of the group: while the store is down, or
  has no room, the partitions are paused and polling goes on;
* a refused login or certificate is tried again at once, twenty times a second: the pause
  between attempts is a second.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from confluent_kafka import (
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from listeners.connections import Connection
from listeners.places import Offsets, go_back, missing
from listeners.receipts import is_test, is_wanted, notice, now, words
from listeners.settings import KafkaSettings, ListenerState, ListenerStatus
from mmcoord.errors import ConfigError
from mmcoord.records import Notice

__all__ = ["KafkaListener", "KafkaSettings", "ListenerState", "ListenerStatus"]

logger = logging.getLogger(__name__)
_client_logger = logging.getLogger(f"{__name__}.client")
# A failed connection is also told to ``error_cb``, which does not repeat it twice a second.
_client_logger.addFilter(lambda record: not record.getMessage().startswith("FAIL "))

_OUT_OF_REACH = (KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._SSL)
_METADATA_S = 5.0
_COMMIT_S = 0.2
_ROOM_S = 1.0
_REPEATED_S = 10.0
_STATUS_S = 5.0


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
    has_room
        Whether the store takes more for now. Asked at most once a second; while it says no,
        the partitions are paused and the place in the group is kept.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        connection: Connection,
        write: Callable[[Sequence[Notice]], None],
        on_status: Callable[[ListenerStatus], None] = lambda status: None,
        start_offsets: Callable[[], Offsets] = dict,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        if not settings.group_id.startswith(connection.group_prefix):
            raise ConfigError(
                f"listeners.{settings.name}.group_id: {connection.broker} permits only groups "
                f"that begin with {connection.group_prefix!r}, not {settings.group_id!r}"
            )
        self.settings = settings
        self.connection = connection
        self.status = ListenerStatus(settings.name, settings.source, broker=connection.broker)
        self._write = write
        self._on_status = on_status
        self._start_offsets = start_offsets
        self._has_room = has_room
        self._room_asked_at = -math.inf
        self._room = True
        self._gone_before: dict[tuple[str, int], int] = {}
        """Offset of each partition before which all that is deleted has been told."""
        self._assigned_before: set[tuple[str, int]] = set()
        self._stored: dict[tuple[str, int], int] = {}
        """Next offset of each partition that is stored and not committed yet."""
        self._committed_at = -math.inf
        self._commits_in_flight = 0
        self._failures = 0
        self._heard_at = time.monotonic()
        self._reported_at = -math.inf
        self._topics_checked_at = -math.inf
        self._random = random.SystemRandom()

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
                self._fault(words(error))
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
        self._stored.clear()
        consumer = self.connection.make(self._client_config())
        try:
            consumer.subscribe(self._topics(), on_assign=self._assigned, on_revoke=self._revoked)
            self._heard_at = time.monotonic()
            self._topics_checked_at = -math.inf
            while not stop.is_set():
                if not self._ask_for_room():
                    self._commit(consumer, at_once=True)
                    self._hold(consumer, stop, ListenerState.PAUSED, self._ask_for_room)
                    self._back_to_work(ListenerState.PAUSED)
                    continue
                batch = self._batch(consumer)
                if batch:
                    self._store(consumer, batch, stop)
                self._commit(consumer)
                self._report(consumer)
                self._check_topics(consumer)
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
            "reconnect.backoff.ms": 1000,
            **({} if self.connection.is_next_protocol else {"session.timeout.ms": 15_000}),
            **self.connection.config,
            "group.id": self.settings.group_id,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "error_cb": self._client_error,
            "logger": _client_logger,
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
            batch.append(message)
            size += len(message.value() or b"")
        return batch

    def _message_error(self, message: Message) -> None:
        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            return
        if error.fatal():
            raise _RebuildError(f"fatal: {words(error)}")
        self._fault(f"{message.topic() or ''}: {words(error)}")

    def _client_error(self, error: KafkaError) -> None:
        """librdkafka's own errors; it retries by itself, so they are only told.

        That all brokers are down comes right after the reason, and must not hide it.
        """
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not self._told_lately():
            self._fault(words(error))
        if error.code() in _OUT_OF_REACH:
            self._update(state=ListenerState.UNREACHABLE)
            self._topics_checked_at = time.monotonic() + _STATUS_S - self.settings.topics_check_s

    # -- storing and committing ------------------------------------------------------------

    def _store(self, consumer: Consumer, batch: list[Message], stop: threading.Event) -> None:
        """Write a batch, however long it takes, and then commit it."""
        settings, broker = self.settings, self.connection.broker
        notices = [notice(m, settings, broker) for m in batch if is_wanted(m, settings)]
        attempt = 0
        while notices:
            try:
                self._write(notices)
                break
            except Exception as error:
                # Broad, because the store is not ours to know: whatever it raises, these
                # notices are not durable, and giving up would lose our place.
                self._fault(f"store: {type(error).__name__}: {error}")
            self._hold(consumer, stop, ListenerState.STORE_DOWN, _after(self._delay(attempt)))
            attempt += 1
            if stop.is_set():
                return
        skipped = sum(map(is_test, batch)) if not settings.keep_tests else 0
        self.status = replace(
            self.status,
            received=self.status.received + len(notices),
            skipped_tests=self.status.skipped_tests + skipped,
            last_received_at=now(),
            last_sent_at=notices[-1].sent_at if notices else self.status.last_sent_at,
        )
        if self.status.state is not ListenerState.RUNNING:
            self._update(state=ListenerState.RUNNING)
        for message in batch:
            self._stored[message.topic(), message.partition()] = message.offset() + 1

    def _commit(self, consumer: Consumer, *, at_once: bool = False) -> None:
        """Commit what is stored, a few times a second at most: one commit for each small
        batch would be most of the traffic in a burst.
        """
        if not self._stored or not (at_once or time.monotonic() - self._committed_at > _COMMIT_S):
            return
        places = [TopicPartition(t, p, offset) for (t, p), offset in self._stored.items()]
        self._stored.clear()
        self._committed_at = time.monotonic()
        consumer.commit(offsets=places, asynchronous=True)
        self._commits_in_flight += 1

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._commit(consumer, at_once=True)

    def _committed(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """A commit that failed costs redeliveries only."""
        self._commits_in_flight = max(0, self._commits_in_flight - 1)
        for fault in (error, *(partition.error for partition in partitions)):
            if fault is not None:
                self._fault(f"commit: {words(fault)}")

    def _finish_commits(self, consumer: Consumer) -> None:
        """Commit the rest and wait a little; what is not committed comes again."""
        self._commit(consumer, at_once=True)
        deadline = time.monotonic() + 5.0
        while self._commits_in_flight and time.monotonic() < deadline:
            self._give_back(consumer, consumer.poll(0.05))

    # -- holding still without losing the membership -------------------------------------------

    def _hold(
        self,
        consumer: Consumer,
        stop: threading.Event,
        state: ListenerState,
        is_over: Callable[[], bool],
    ) -> None:
        """Poll with all partitions paused, until it is over or we are told to stop."""
        self._update(state=state)
        while not stop.is_set() and not is_over():
            consumer.pause(consumer.assignment())  # in every round: it may have changed
            self._give_back(consumer, consumer.poll(self.settings.poll_s))
            self._report(consumer)
            self._check_topics(consumer)
            if self.status.state is ListenerState.RUNNING:  # assigned or reached again: still held
                self._update(state=state)
        consumer.resume(consumer.assignment())
        self._heard_at = time.monotonic()

    def _ask_for_room(self) -> bool:
        if time.monotonic() - self._room_asked_at >= _ROOM_S:
            try:
                self._room = self._has_room()
            except Exception as error:
                # A store that cannot be asked is found out by the next write, which waits.
                self._room = True
                self._fault(f"store: {type(error).__name__}: {error}")
            self._room_asked_at = time.monotonic()
        return self._room

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
        self._tell_gaps(consumer, partitions, own)
        if self.settings.backfill_from is not None:
            fresh = [
                partition
                for partition in partitions
                if (partition.topic, partition.partition) not in self._assigned_before
                and partition.topic != self.settings.heartbeat_topic
            ]
            go_back(consumer, fresh, self.settings.backfill_from)
        self._assigned_before |= {(p.topic, p.partition) for p in partitions}
        if self.connection.is_cooperative:
            consumer.incremental_assign(partitions)
        else:
            consumer.assign(partitions)
        if self.status.state not in (ListenerState.PAUSED, ListenerState.STORE_DOWN):
            self._update(state=ListenerState.RUNNING)

    def _tell_gaps(
        self, consumer: Consumer, partitions: list[TopicPartition], own: Offsets
    ) -> None:
        """Say what the broker has deleted before we read it; the client goes on by itself."""
        try:
            for gap in missing(consumer, partitions, own):
                place = (gap.topic, gap.partition)
                known = max(gap.wanted, self._gone_before.get(place, 0))
                self._gone_before[place] = max(known, gap.first)
                self._fault(str(gap))
                self._update(missed=self.status.missed + max(0, gap.first - known))
        except KafkaException as error:
            self._fault(f"earliest offsets: {words(error)}")

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

    def _check_topics(self, consumer: Consumer) -> None:
        """Ask for the topics: not every group protocol complains of one that is unknown."""
        if time.monotonic() - self._topics_checked_at < self.settings.topics_check_s:
            return
        self._topics_checked_at = time.monotonic()
        try:
            known = consumer.list_topics(timeout=_METADATA_S).topics
        except KafkaException as error:
            if self.status.state is not ListenerState.UNREACHABLE:  # else the reason is told
                self._fault(f"list of topics: {words(error)}")
            return
        unknown = tuple(t for t in self._topics() if t not in known or known[t].error is not None)
        if unknown and unknown != self.status.missing_topics:
            self._fault(f"unknown to the broker, or not permitted: {', '.join(unknown)}")
        self._update(missing_topics=unknown)
        self._back_to_work(ListenerState.UNREACHABLE)

    def _topics(self) -> list[str]:
        beat = self.settings.heartbeat_topic
        return [*self.settings.topics, *([beat] if beat else [])]

    def _lag(self, consumer: Consumer) -> int | None:
        total = 0
        for place in consumer.position(consumer.assignment()):
            if place.topic == self.settings.heartbeat_topic:
                continue
            watermarks = consumer.get_watermark_offsets(place, cached=True)
            if not watermarks or watermarks[1] < 0:
                return None
            if place.offset >= 0:  # else nothing came from this partition: nothing waits there
                total += max(0, watermarks[1] - place.offset)
        return total

    def _fault(self, said: str) -> None:
        """Tell of a fault; the same words again within seconds are one fault."""
        said = said[:500]
        if said == self.status.last_error and self._told_lately():
            return
        logger.warning("%s: %s", self.settings.name, said)
        self._update(last_error=said, last_error_at=now())

    def _told_lately(self) -> bool:
        last = self.status.last_error_at
        return last is not None and (now() - last).total_seconds() < _REPEATED_S

    def _back_to_work(self, state: ListenerState) -> None:
        if self.status.state is state:
            self._update(state=ListenerState.RUNNING)

    def _update(self, **changes: Any) -> None:
        self.status = replace(self.status, **changes)
        try:
            self._on_status(self.status)
        except Exception:
            # Whoever watches must not stop what he watches.
            logger.exception("%s: the status could not be told", self.settings.name)

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


def _after(seconds: float) -> Callable[[], bool]:
    """Tells whether so much time has passed since now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end
