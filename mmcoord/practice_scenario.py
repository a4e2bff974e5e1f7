"""Practice of one scenario: its messages straight in or onto Kafka, and how it went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from confluent_kafka import Producer

from mmcoord.errors import MmcoordError
from mmcoord.practice import Pace, play
from mmcoord.practice_score import event_score
from mmcoord.simulate.alerts import TimedMessage
from mmcoord.simulate.night import Night
from mmcoord.simulate.track import Track
from mmcoord.stages.context import Context
from mmcoord.stages.pipeline import Pipeline
from mmcoord.store.summary import summary

__all__ = ["NOTE", "play_scenario", "play_track", "send", "topic_of"]

NOTE = "sky maps are approximate, made by formula; no parameter estimation was run"
_UNLIMITED_HZ = 1.0e9
_FLUSH_S = 60.0


def play_scenario(ctx: Context, pipeline: Pipeline, night: Night, rate_hz: float | None) -> Any:
    """Send a superevent with its candidates through the stages and score it."""
    _play(ctx, pipeline, night.messages, night.truth.event_id, rate_hz)
    document = _score(ctx, night.truth.event_id, night.truth.kilonova_id)
    return document | {"distance_mpc": night.truth.distance_mpc, "note": NOTE}


def play_track(ctx: Context, pipeline: Pipeline, track: Track, rate_hz: float | None) -> Any:
    """Send a neutrino track with its candidates through the stages and score it."""
    _play(ctx, pipeline, track.messages, track.event_id, rate_hz)
    return _score(ctx, track.event_id, track.counterpart_id)


def send(messages: Sequence[TimedMessage], brokers: str) -> dict[str, int]:
    """Put messages onto a Kafka broker, in their order; how many went to which topic.

    Raises
    ------
    MmcoordError
        The broker did not take them all.
    """
    failures: list[str] = []

    def told(error: object, _: object) -> None:
        if error is not None:
            failures.append(str(error))

    producer = Producer({"bootstrap.servers": brokers, "message.max.bytes": 8 * 2**20})
    counts: dict[str, int] = {}
    for message in messages:
        topic = topic_of(message.source)
        while True:
            try:
                producer.produce(
                    topic,
                    message.payload,
                    key=message.key or None,
                    timestamp=int(message.sent_at.timestamp() * 1000),
                    on_delivery=told,
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        counts[topic] = counts.get(topic, 0) + 1
    left = producer.flush(_FLUSH_S)
    if left or failures:
        reason = failures[0] if failures else "no answer"
        raise MmcoordError(f"{brokers}: {left + len(failures)} messages were not taken: {reason}")
    return counts


def topic_of(source: str) -> str:
    """Where a practice message goes: ``practice.SOURCE``, read by that source."""
    return f"practice.{source}"


def _play(
    ctx: Context,
    pipeline: Pipeline,
    messages: Sequence[TimedMessage],
    topic: str,
    rate_hz: float | None,
) -> None:
    play(ctx, pipeline, messages, topic, Pace(rate_hz or _UNLIMITED_HZ))
    pipeline.drain()


def _score(ctx: Context, event_id: str, counterpart_id: str | None) -> dict[str, Any]:
    with ctx.database.snapshot() as session:
        whole = summary(session)
        document = event_score(session, event_id, counterpart_id)
    kept = ("ledger_balanced", "latency_s", "dead_letters")
    return document | {key: whole[key] for key in kept}
