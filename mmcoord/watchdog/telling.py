"""Telling the operators: one thread for each of their sinks, apart from the pipeline.

A sink that fails is tried again with growing delay for as long as the alarm is news; it delays
no other sink, and nothing else in the house. What was told is written down afterwards: a
crash in between makes one repeat, which a sink with identity (``file``) recognises.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime

from followup.sinks.base import Answer, Outcome, Sink, Tells
from mmcoord.config import Settings
from mmcoord.errors import ConfigError
from mmcoord.store import alarms
from mmcoord.store.alarms import AlarmLine, Told
from mmcoord.store.database import Database
from mmcoord.watchdog.unwritten import Unwritten

__all__ = ["Teller", "message", "operators"]

_log = logging.getLogger(__name__)
_IDLE_S = 2.0


def operators(settings: Settings, sinks: Mapping[str, Sink]) -> dict[str, Tells]:
    """The sinks that are told of alarms.

    Raises
    ------
    ConfigError
        ``operators`` names a sink that is not there, or that cannot be told.
    """
    found: dict[str, Tells] = {}
    for name in settings.operators:
        sink = sinks.get(name)
        if sink is None:
            there = ", ".join(sorted(sinks)) or "none"
            raise ConfigError(f"operators: no sink is named {name!r}; there is {there}")
        if not isinstance(sink, Tells):
            raise ConfigError(f"operators: sink {name!r} cannot be told of alarms")
        found[name] = sink
    return found


class Teller:
    """Tells one sink what it has not been told yet."""

    def __init__(
        self,
        name: str,
        sink: Tells,
        database: Database,
        unwritten: Unwritten,
        now: Callable[[], datetime],
        page_url: str = "",
    ) -> None:
        self._name = name
        self._sink = sink
        self._database = database
        self._unwritten = unwritten
        self._now = now
        self._page_url = page_url
        self._answers: dict[str, Told] = {}
        """Told but not written down yet: a store that takes no writes must not make repeats."""

    def run(self, stop: threading.Event) -> None:
        """Tell until told to stop."""
        while not stop.is_set():
            if not self.step():
                stop.wait(_IDLE_S)

    def step(self) -> int:
        """Tell what is due; returns how many messages were tried."""
        tried = 0
        for note in self._unwritten.due(self._name, self._now()):
            line = AlarmLine(0, note.alarm.key, note.alarm.severity.value, note.alarm.text,
                             note.raised_at, None, {})  # fmt: skip
            answer = self._tell(message(line, self._page_url), note.key)
            self._unwritten.record(note, self._name, answer, self._now())
            tried += 1
        try:
            return tried + self._tell_stored()
        except Exception as error:
            # The store is down, which the watchdog tells through ``unwritten``.
            _log.warning("alarms cannot be read or written: %s", error)
            return 0

    def _tell_stored(self) -> int:
        with self._database.read() as session:
            due = alarms.due(session, self._name, self._now())
        for telling in due:
            if telling.key not in self._answers:
                text = message(telling.alarm, self._page_url)
                self._answers[telling.key] = self._tell(text, telling.key)
            with self._database.write() as session:
                alarms.record(session, telling, self._name, self._answers[telling.key], self._now())
            del self._answers[telling.key]
        return len(due)

    def _tell(self, text: str, key: str) -> Told:
        try:
            answer = self._sink.tell(text, key=key)
        except Exception as error:
            # A sink's own fault: kept with the alarm, and tried again.
            _log.exception("sink %s", self._name)
            answer = Answer(Outcome.RETRY, detail=f"fault in sink: {type(error).__name__}")
        if answer.outcome is not Outcome.SENT:
            _log.warning("sink %s was not told of an alarm: %s", self._name, answer.detail)
        return Told(answer.outcome.value, answer.detail, answer.retry_after_s)


def message(line: AlarmLine, page_url: str = "") -> str:
    """An alarm in words: the first line says it all."""
    raised = f"{line.raised_at:%Y-%m-%d %H:%M:%S} UTC"
    if line.cleared_at is None:
        words = [f"{line.severity.upper()} {line.key}", line.text, f"Raised {raised}."]
    else:
        cleared = f"{line.cleared_at:%Y-%m-%d %H:%M:%S} UTC"
        words = [f"CLEARED {line.key}", f"Raised {raised}, cleared {cleared}. It said: {line.text}"]
    if page_url:
        words.append(f"{page_url.rstrip('/')}/health")
    return "\n".join(words)
