"""Practice on request: a simulated night through the real way, in compressed time.

The messages are received, matched, inferred, planned and delivered by the code that does it
in earnest; only the broker is missing. Everything in them is marked as practice.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlmodel import col

from listeners import avro
from mmcoord.config import Settings
from mmcoord.records import Notice
from mmcoord.simulate.night import Night, TimedMessage, make_night
from mmcoord.stages import deliver
from mmcoord.stages.context import Context
from mmcoord.stages.intake import receive
from mmcoord.stages.pipeline import Pipeline
from mmcoord.store.summary import summary
from mmcoord.store.tables import CandidateRow, EventRow

__all__ = [
    "LIVE_CANDIDATES",
    "Pace",
    "live_feeder",
    "play",
    "practice_settings",
    "receive_messages",
    "score",
    "stream",
]

_log = logging.getLogger(__name__)
_CHUNK = 200
_LIVE_BEFORE_S = 4.0
"""Wall time for all that was sent before the event."""
_LIVE_AFTER_S = 30.0
LIVE_CANDIDATES = 2000
"""In the night that a daemon plays to itself."""
_MESSAGES_PER_CANDIDATE = 14
_FEWEST, _MOST = 50, 5000
"""Candidates in a night."""
_IDLE_S = 0.01


def practice_settings(settings: Settings, debounce_s: float = 4.0) -> Settings:
    """Settings for a simulated or replayed stream: plans are made for the data's time.

    ``debounce_s`` is short because time is compressed; zero makes a drained replay wait for
    nothing.
    """
    return dataclasses.replace(
        settings,
        clock="data",
        infer=dataclasses.replace(settings.infer, debounce_s=debounce_s),
        plan=dataclasses.replace(settings.plan, debounce_s=debounce_s / 4),
    )


def live_feeder(
    seed: int, n_candidates: int = LIVE_CANDIDATES
) -> Callable[[Context, threading.Event], None]:
    """Plays one new practice night to a running daemon, in about a minute."""

    def feed(ctx: Context, stop: threading.Event) -> None:
        night = _new_night(ctx, seed, n_candidates)
        before = [m for m in night.messages if m.sent_at < night.truth.event_time]
        after = night.messages[len(before) :]
        offset = 0
        for part, wall_s in ((before, _LIVE_BEFORE_S), (after, _LIVE_AFTER_S)):
            pause_s = wall_s / max(1, len(part) / _CHUNK)
            for chunk in _chunks(part):
                receive_messages(ctx, chunk, night.truth.event_id, offset)
                offset += len(chunk)
                if stop.wait(pause_s):
                    return

    return feed


def stream(
    ctx: Context,
    pipeline: Pipeline,
    *,
    seconds: float,
    rate_hz: float,
    seed: int,
    say: Callable[[str], None],
) -> list[Night]:
    """Feed practice nights at ``rate_hz`` messages per second, then finish all work.

    A night is sized to fit into ``seconds`` and is always played to its end; while time is
    left the next one (seed + 1) begins.
    """
    wanted = int(seconds * rate_hz / _MESSAGES_PER_CANDIDATE)
    n_candidates = min(max(wanted, _FEWEST), _MOST)
    nights: list[Night] = []
    begun = time.monotonic()
    while not nights or time.monotonic() - begun < seconds:
        night = _new_night(ctx, seed, n_candidates)
        seed += 1
        nights.append(night)
        say(f"practice: night {night.truth.event_id}, {len(night.messages)} messages")
        play(ctx, pipeline, night.messages, night.truth.event_id, Pace(rate_hz))
    say("practice: all messages sent; finishing")
    pipeline.drain()
    return nights


@dataclass(slots=True)
class Pace:
    """A stream's clock: what was received late does not make all that follows late."""

    rate_hz: float
    begun_s: float = field(default_factory=time.monotonic)
    n_received: int = 0
    furthest_behind_s: float = 0.0

    @property
    def is_ahead(self) -> bool:
        """Whether the next message is not due yet."""
        return time.monotonic() < self.begun_s + self.n_received / self.rate_hz

    def count(self, n_messages: int) -> None:
        """Note that so many more were received just now."""
        self.n_received += n_messages
        behind_s = time.monotonic() - self.begun_s - self.n_received / self.rate_hz
        self.furthest_behind_s = max(self.furthest_behind_s, behind_s)


def play(
    ctx: Context,
    pipeline: Pipeline,
    messages: Sequence[TimedMessage],
    topic: str,
    pace: Pace,
) -> None:
    """Receive messages at a pace and do the work meanwhile; what is left is not finished."""
    offset = 0
    for chunk in _chunks(messages):
        receive_messages(ctx, chunk, topic, offset)
        offset += len(chunk)
        pace.count(len(chunk))
        pipeline.step()
        deliver.run(ctx)
        while pace.is_ahead:
            if not pipeline.step() + deliver.run(ctx):
                time.sleep(_IDLE_S)


def score(ctx: Context, nights: Sequence[Night]) -> dict[str, Any]:
    """How it went: the rank of each night's kilonova, counts, latencies.

    A rank is None when the kilonova is not in the plan at all.
    """
    with ctx.database.snapshot() as session:
        document = summary(session)
        candidates = session.execute(select(func.count()).select_from(CandidateRow)).scalar_one()
    plans = {event["id"]: event["plan"] for event in document["events"]}
    ranks = {
        night.truth.event_id: next(
            (
                row["rank"]
                for row in plans.get(night.truth.event_id, [])
                if row["candidate"] == night.truth.kilonova_id
            ),
            None,
        )
        for night in nights
    }
    return {
        "candidates": candidates,
        "events": len(document["events"]),
        "ledger_balanced": document["ledger_balanced"],
        "kilonova_ranks": ranks,
        "latency_s": document["latency_s"],
        "runs": document["runs"],
        "deliveries": document["deliveries"],
        "dead_letters": document["dead_letters"],
    }


def _new_night(ctx: Context, seed: int, n_candidates: int) -> Night:
    """The first night from ``seed`` on that this store has not seen."""
    with ctx.database.read() as session:
        known = set(session.execute(select(col(EventRow.event_id))).scalars())
    while True:
        night = make_night(seed, n_candidates=n_candidates)
        if night.truth.event_id not in known:
            return night
        seed += 1


def _chunks(messages: Sequence[TimedMessage]) -> Iterable[Sequence[TimedMessage]]:
    for start in range(0, len(messages), _CHUNK):
        yield messages[start : start + _CHUNK]


def receive_messages(
    ctx: Context, messages: Sequence[TimedMessage], topic: str, offset: int
) -> None:
    """Into the inbox, as if from a broker's topic of that name from ``offset`` on."""
    now = ctx.now()
    receive(
        ctx,
        [
            Notice(
                source=message.source,
                broker="practice",
                topic=topic,
                partition=0,
                offset=offset + i,
                payload=avro.wrap(message.key, message.payload) if message.key else message.payload,
                received_at=now,
                sent_at=message.sent_at,
            )
            for i, message in enumerate(messages)
        ],
    )
