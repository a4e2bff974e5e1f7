"""What the fault run sends, and what a store must hold afterwards.

LVK notices of several events in sequence (repeated, late, retracted, even before their event)
among candidates, some of them broken. The expected end is a plain fold in memory, which
shares no code with the service.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import skymaps
from tests.making import T0, candidate_row, gaussian_map, lvk_notice

ALERTS, CANDIDATES = "igwn.gwalert", "survey.candidates"
PARTITIONS = {ALERTS: 1, CANDIDATES: 4}
_POISON_EVERY = 1000
_STORIES = (
    "P I U U",
    "P p I R",  # two preliminary notices, then a retraction
    "P I= U=",  # initial and update of one second
    "P U I",  # the update overtakes the initial notice
    "P P' I I'",  # each sent twice
    "R P I",  # a retraction of an event that nobody knows yet
)
_TYPES = {"P": "PRELIMINARY", "p": "PRELIMINARY", "I": "INITIAL", "U": "UPDATE", "R": "RETRACTION"}
_MINUTES = {"P": 5, "p": 6, "I": 30, "U": 90, "R": 200}
_RANK = ("PRELIMINARY", "INITIAL", "UPDATE")

Identity = tuple[str, datetime]
"""Alert type and time created."""


@dataclass
class Expected:
    """What must be in the store at the end."""

    order: dict[str, list[Identity]] = field(default_factory=dict)
    """Event -> its alerts in the order in which they were first sent."""
    candidates: set[str] = field(default_factory=set)
    poison: int = 0
    repeats: int = 0

    def final(self, event_id: str) -> tuple[str, str, Identity]:
        """State, alert type and the newest alert of an event."""
        standing = [alert for alert in self.order[event_id] if alert[0] != "RETRACTION"]
        newest = max(standing, key=lambda alert: (alert[1], _RANK.index(alert[0])))
        if len(standing) < len(self.order[event_id]):
            return "retracted", "RETRACTION", newest
        return "active", newest[0], newest


def messages(total: int, seed: int, expected: Expected) -> Iterator[tuple[str, int, bytes]]:
    """(topic, partition, payload), ``total`` of them; fills ``expected`` as it goes."""
    draw = random.Random(seed)
    notices = _notices(min(80, max(6, total // 250)), expected)
    places = sorted(draw.sample(range(total), len(notices)))
    at = dict(zip(places, notices, strict=True))
    for number in range(total):
        if number in at:
            yield ALERTS, 0, at[number]
        elif number % _POISON_EVERY == _POISON_EVERY // 2:
            expected.poison += 1
            yield CANDIDATES, number % PARTITIONS[CANDIDATES], b'{"id": "broken %d"' % number
        else:
            name = f"fault-{number:07d}"
            expected.candidates.add(name)
            row = candidate_row(name, draw.uniform(0, 360), draw.uniform(-90, 90))
            yield CANDIDATES, number % PARTITIONS[CANDIDATES], row


def _notices(events: int, expected: Expected) -> list[bytes]:
    """Eight events at a time, their notices interleaved and each event's in its order."""
    maps = [
        skymaps.to_fits_bytes(gaussian_map(15.0 * i, -30.0 + i, radius_deg=4.0)) for i in range(24)
    ]
    sent: list[bytes] = []
    for first in range(0, events, 8):
        stories = {
            f"MS2603{1 + n // 26:02d}{chr(97 + n % 26)}": _STORIES[n % len(_STORIES)].split()
            for n in range(first, min(first + 8, events))
        }
        for step in range(max(map(len, stories.values()))):
            for event_id, story in stories.items():
                if step < len(story):
                    sent.append(_notice(event_id, story[step], maps, expected))
    return sent


def _notice(event_id: str, mark: str, maps: list[bytes], expected: Expected) -> bytes:
    kind = _TYPES[mark[0]]
    minutes = 60 if mark.endswith("=") else _MINUTES[mark[0]]
    known = expected.order.setdefault(event_id, [])
    second = len(known) if mark == "U" else 0  # each update has a time of its own
    created = T0 + timedelta(minutes=minutes, seconds=second)
    fits = maps[zlib.crc32(f"{event_id} {kind} {created}".encode()) % len(maps)]
    if mark.endswith("'"):  # the same once more, its map included
        expected.repeats += 1
    else:
        known.append((kind, created))
    return lvk_notice(event_id, kind, created, skymap=None if kind == "RETRACTION" else fits)
