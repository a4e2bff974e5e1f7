"""From a message of a broker to a :class:`~mmcoord.records.Notice`, its bytes untouched."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, KafkaError, KafkaException, Message

from listeners.avro import wrap
from listeners.settings import KafkaSettings
from mmcoord.records import Notice

__all__ = ["is_test", "is_wanted", "notice", "now", "words"]

_AFTER = re.compile(r" \(after \d+ms in state \w+[^)]*\)")


def notice(message: Message, settings: KafkaSettings, broker: str) -> Notice:
    """The message with its coordinates and times."""
    kind, milliseconds = message.timestamp()
    return Notice(
        source=settings.source,
        broker=broker,
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        payload=_payload(message, settings),
        received_at=now(),
        sent_at=None if kind == TIMESTAMP_NOT_AVAILABLE else _utc(milliseconds),
    )


def is_wanted(message: Message, settings: KafkaSettings) -> bool:
    """Whether a message is to be stored."""
    if message.topic() == settings.heartbeat_topic:
        return False
    return settings.keep_tests or not is_test(message)


def is_test(message: Message) -> bool:
    """Whether hop's sender marked it as a test of the transport."""
    return any(key == "_test" for key, _ in message.headers() or ())


def words(error: KafkaError | KafkaException) -> str:
    """A client's fault in words, without the milliseconds: equal faults read the same."""
    if isinstance(error, KafkaException):
        first = error.args[0] if error.args else error
        error = first if isinstance(first, KafkaError) else error
    return _AFTER.sub("", error.str() if isinstance(error, KafkaError) else str(error))


def now() -> datetime:
    """The wall clock, UTC."""
    return datetime.now(UTC)


def _payload(message: Message, settings: KafkaSettings) -> bytes:
    value, key = message.value() or b"", message.key()
    return wrap(key, value) if settings.key_is_schema and key else value


def _utc(milliseconds: int) -> datetime | None:
    """The broker's time stamp; producers may set any, so an absurd one is not known."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None
