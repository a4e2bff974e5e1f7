"""Alarms that cannot be written because the store is down: kept in memory, told all the same."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mmcoord.store import alarms
from mmcoord.watchdog.facts import Alarm

__all__ = ["Note", "Unwritten"]


@dataclass(slots=True)
class Note:
    """An alarm that stands and is not in the store."""

    alarm: Alarm
    raised_at: datetime
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    """As ``AlarmRow.told`` keeps it."""

    @property
    def key(self) -> str:
        """The same telling, the same key."""
        return f"alarm:{self.alarm.key}:{self.raised_at.isoformat()}:raised"


class Unwritten:
    """Shared by the watchdog's thread and the tellers' threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notes: dict[str, Note] = {}

    def want(self, wanted: Iterable[Alarm], now: datetime) -> None:
        """Make exactly these stand."""
        with self._lock:
            before = self._notes
            self._notes = {a.key: before.get(a.key) or Note(a, now) for a in wanted}

    def take_over(self) -> dict[str, Note]:
        """What stands, for the store that has come back; forgotten by :meth:`forget`."""
        with self._lock:
            return dict(self._notes)

    def forget(self) -> None:
        """The store has it."""
        with self._lock:
            self._notes = {}

    def due(self, sink: str, now: datetime) -> list[Note]:
        """What this sink has to be told now."""
        with self._lock:
            return [
                note
                for note in self._notes.values()
                if alarms.is_due(note.told.get(sink, {}).get(alarms.RAISED, {}), now)
            ]

    def record(self, note: Note, sink: str, answer: alarms.Told, now: datetime) -> None:
        """Write down how telling went."""
        with self._lock:
            note.told = alarms.with_answer(note.told, sink, alarms.RAISED, answer, now)
