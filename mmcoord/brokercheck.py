"""Asking a broker about one listener: the login, the topics, the last messages, our place.

For ``mmcoord doctor``. Nothing is committed and the group is not joined, so that a running
daemon is not disturbed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from listeners.connections import Connection
from mmcoord.errors import MmcoordError

__all__ = ["NotLetIn", "TopicAnswer", "ask_broker"]

_TIMEOUT_S = 10.0
_FETCH_BYTES = 8 * 2**20


class NotLetIn(MmcoordError):
    """The broker cannot be asked; the message says why and what to look at."""


@dataclass(frozen=True, slots=True)
class TopicAnswer:
    """What the broker says of one topic."""

    topic: str
    is_there: bool
    """False: unknown to the broker, or not permitted to us."""
    kept: int = 0
    """Messages that the broker still has."""
    last_at: datetime | None = None
    """Broker's time of the last message; None where there is none, or it cannot be read."""
    waiting: int = 0
    """Messages that we have not taken yet."""
    is_new: bool = False
    """Neither our group nor our store has taken anything from it."""


def ask_broker(
    connection: Connection,
    group_id: str,
    topics: Sequence[str],
    own: Mapping[tuple[str, int], int],
) -> list[TopicAnswer]:
    """Log in and look at each topic.

    Parameters
    ----------
    own
        Our own record, (topic, partition) -> next offset; it overrules the group's.

    Raises
    ------
    NotLetIn
        No connection, or the login is refused.
    """
    errors: list[KafkaError] = []
    quiet = {"error_cb": errors.append, "log_level": 0}
    try:
        consumer = connection.make(
            {
                "allow.auto.create.topics": False,
                "fetch.message.max.bytes": _FETCH_BYTES,
                **connection.config,
                "group.id": group_id,
                "enable.auto.commit": False,
                **quiet,
            }
        )
    except KafkaException as error:
        raise NotLetIn(f"{connection.broker}: the settings are not taken: {error}") from error
    try:
        return _ask(consumer, group_id, topics, own)
    except KafkaException as error:
        for _ in range(5):
            consumer.poll(0.1)  # hands over the errors that came meanwhile
        raise NotLetIn(_why(connection.broker, error, errors)) from error
    finally:
        consumer.close()


def _why(broker: str, error: KafkaException, errors: Sequence[KafkaError]) -> str:
    refused = [e for e in errors if e.code() == KafkaError._AUTHENTICATION]
    if refused:
        return (
            f"{broker} refuses the login ({refused[0].str()}); check user name and secret, and "
            "whether the credentials have expired"
        )
    said = errors[0].str() if errors else str(error)
    return f"{broker} cannot be reached ({said}); check the address, the network and its firewall"


def _ask(
    consumer: Consumer,
    group_id: str,
    topics: Sequence[str],
    own: Mapping[tuple[str, int], int],
) -> list[TopicAnswer]:
    known = consumer.list_topics(timeout=_TIMEOUT_S).topics
    there = [t for t in topics if t in known and known[t].error is None]
    places = [TopicPartition(t, p) for t in there for p in sorted(known[t].partitions)]
    ends = {
        (p.topic, p.partition): consumer.get_watermark_offsets(p, timeout=_TIMEOUT_S)
        for p in places
    }
    committed = consumer.committed(places, timeout=_TIMEOUT_S) if places else []
    next_wanted = {(p.topic, p.partition): p.offset for p in committed if p.offset >= 0} | dict(own)
    last = _last_times(consumer, ends)
    return [
        _answer(topic, ends, next_wanted, last.get(topic))
        if topic in there
        else TopicAnswer(topic, is_there=False)
        for topic in topics
    ]


def _answer(
    topic: str,
    ends: Mapping[tuple[str, int], tuple[int, int]],
    next_wanted: Mapping[tuple[str, int], int],
    last_at: datetime | None,
) -> TopicAnswer:
    those = {place: end for place, end in ends.items() if place[0] == topic}
    waiting = sum(
        max(0, high - max(low, next_wanted.get(place, low))) for place, (low, high) in those.items()
    )
    return TopicAnswer(
        topic=topic,
        is_there=True,
        kept=sum(high - low for low, high in those.values()),
        last_at=last_at,
        waiting=waiting,
        is_new=not any(place in next_wanted for place in those),
    )


def _last_times(
    consumer: Consumer, ends: Mapping[tuple[str, int], tuple[int, int]]
) -> dict[str, datetime]:
    """The broker's time of the last message of each topic, by reading that message."""
    wanted = {place: high - 1 for place, (low, high) in ends.items() if high > low}
    consumer.assign([TopicPartition(*place, offset) for place, offset in wanted.items()])
    found: dict[str, datetime] = {}
    deadline = time.monotonic() + _TIMEOUT_S
    while wanted and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is None or message.error() is not None:
            continue
        wanted.pop((message.topic(), message.partition()), None)
        at = _time_of(message)
        if at is not None:
            found[message.topic()] = max(at, found.get(message.topic(), at))
    return found


def _time_of(message: Any) -> datetime | None:
    kind, milliseconds = message.timestamp()
    if kind == TIMESTAMP_NOT_AVAILABLE:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None  # producers may set any
