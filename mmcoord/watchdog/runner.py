"""The watchdog's loop: gather facts, decide, make the store agree, hand over to the tellers.

It keeps nothing that a crash could lose but the recent past of the listeners: how long one
has been out, how its lag has moved, how often it was rebuilt. After a start these begin anew,
and alarms that stood stay until the facts say otherwise.
"""

from __future__ import annotations

import logging
import math
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import update
from sqlmodel import col

from listeners.settings import ListenerStatus
from mmcoord.config import is_address
from mmcoord.stages.context import Context
from mmcoord.store import alarms
from mmcoord.store.alarms import Wanted
from mmcoord.store.queue import insert_for
from mmcoord.store.tables import ListenerRow
from mmcoord.store.types import table
from mmcoord.watchdog.decide import decide
from mmcoord.watchdog.facts import Alarm, Facts, Severity, StoreFacts
from mmcoord.watchdog.past import Past, listener_facts
from mmcoord.watchdog.reading import read_store
from mmcoord.watchdog.unwritten import Note, Unwritten

__all__ = ["Watchdog"]

_log = logging.getLogger(__name__)
_GIB = 2**30
_REMEMBER_S = 60.0
_TEXT_AGE = timedelta(minutes=1)


class Watchdog:
    """Looks every few seconds; one thread runs it.

    Parameters
    ----------
    ctx
        Settings, store, sources, clock.
    statuses
        The newest status of each listener, by name.
    """

    def __init__(self, ctx: Context, statuses: Callable[[], Mapping[str, ListenerStatus]]) -> None:
        self._ctx = ctx
        self._settings = ctx.settings.watchdog
        self._statuses = statuses
        self._started_at = ctx.now()
        self._past = Past(self._started_at, self._settings)
        self._practice = {name: sink.is_practice for name, sink in ctx.sinks.items()}
        where = ctx.settings.plan.weather or ""
        self._weather = where if is_address(where) else ""
        self._wanted_at: dict[str, tuple[datetime, Alarm]] = {}
        self._listeners: dict[str, tuple[datetime, datetime | None]] = {}
        self._store: StoreFacts | None = None
        self._store_read_at = self._remembered_at = -math.inf
        self._standing: frozenset[str] = frozenset()
        self._stored: dict[tuple[str, str], str] = {}
        self._written_at = self._started_at
        self._first = True
        self.unwritten = Unwritten()
        """What has to be told while it cannot be stored."""
        self.checked_at: datetime | None = None
        """When it last looked to the end."""

    def run(self, stop: threading.Event) -> None:
        """Look until told to stop."""
        while not stop.is_set():
            self.step()
            stop.wait(self._settings.every_s)

    def step(self) -> None:
        """Look once. A store that cannot be used is itself an alarm, not an error."""
        now = self._ctx.now()
        self._past.take(self._statuses(), now)
        facts = self._facts(now, self._trouble(lambda: self._read(now)))
        wanted = self._lasting(decide(facts, now, self._settings), now)
        if not facts.store_error:
            error = self._trouble(lambda: self._write(wanted, now))
            if error:  # it can be read and not written: a full disk
                facts = replace(facts, store_error=error)
                wanted = self._lasting(decide(facts, now, self._settings), now)
        if facts.store_error:
            self.unwritten.want([a for a in wanted if a.key not in self._standing], now)
        self.checked_at = now

    def _trouble(self, act: Callable[[], None]) -> str:
        """What the store said against it; empty when it was done."""
        try:
            act()
        except Exception as fault:
            # Broad, because each driver has its own errors; whatever it is, the records
            # cannot be used and somebody must know.
            first_line = str(fault).partition("\n")[0]  # the statement follows
            _log.warning("the store cannot be used: %s", first_line)
            self._store_read_at = -math.inf
            return f"{type(fault).__name__}: {first_line}"
        return ""

    # -- looking ---------------------------------------------------------------------------

    def _read(self, now: datetime) -> None:
        database = self._ctx.database
        if time.monotonic() - self._store_read_at >= self._settings.store_every_s:
            with database.snapshot() as session:
                self._store = read_store(
                    session, now, self._settings, self._practice, self._weather
                )
            self._store_read_at = time.monotonic()
        with database.read() as session:
            lines = alarms.open_alarms(session)
        self._standing = frozenset(line.key for line in lines)
        self._stored = {(line.key, line.severity): line.text for line in lines}
        if self._first:  # what stood before this start stays until it has been looked at
            self._first = False
            for line in lines:
                alarm = Alarm(line.key, Severity(line.severity), line.text)
                self._wanted_at[line.key] = (now, alarm)
        self._remember(now)

    def _remember(self, now: datetime) -> None:
        """First start and last connection of each listener, over restarts."""
        names = self._ctx.settings.heard
        if not names or time.monotonic() - self._remembered_at < _REMEMBER_S:
            return
        working = [name for name in names if self._past.is_working(name)]
        with self._ctx.database.write() as session:
            session.execute(
                insert_for(session, table(ListenerRow))
                .values([{"name": name, "first_started_at": now} for name in names])
                .on_conflict_do_nothing()
            )
            session.execute(
                update(ListenerRow)
                .where(col(ListenerRow.name).in_(working))
                .values(connected_at=now)
            )
            self._listeners = {
                name: (row.first_started_at, row.connected_at)
                for name in names
                if (row := session.get(ListenerRow, name)) is not None
            }
        self._remembered_at = time.monotonic()

    def _facts(self, now: datetime, store_error: str) -> Facts:
        settings = self._ctx.settings
        return Facts(
            started_at=self._started_at,
            listeners=tuple(
                listener_facts(
                    name,
                    wanted,
                    self._ctx.sources.get(wanted.source),
                    self._past,
                    *self._listeners.get(name, (self._started_at, None)),
                    now,
                )
                for name, wanted in settings.heard.items()
            ),
            store=None if store_error else self._store,
            store_error=store_error,
            disk_free_gib=_free_gib(settings.data_dir),
            data_dir=settings.data_dir,
            standing=self._standing,
        )

    # -- making it so ----------------------------------------------------------------------

    def _lasting(self, wanted: frozenset[Alarm], now: datetime) -> list[Alarm]:
        """With those whose reason is gone for less than ``clear_after_s``: a connection that
        comes and goes is one alarm, not many."""
        for alarm in wanted:
            self._wanted_at[alarm.key] = (now, alarm)
        oldest = now - timedelta(seconds=self._settings.clear_after_s)
        self._wanted_at = {
            key: (at, alarm)
            for key, (at, alarm) in self._wanted_at.items()
            if at > oldest or alarm in wanted
        }
        return [alarm for _, alarm in self._wanted_at.values()]

    def _write(self, wanted: list[Alarm], now: datetime) -> None:
        """What could not be written while the store was down is written as of then, also if
        it is over by now: who was told of it has to be told that, too."""
        notes = self.unwritten.take_over()
        if not notes and self._is_stored(wanted, now):
            return
        rows = [_row(alarm, notes.get(alarm.key), now) for alarm in wanted]
        stand = {alarm.key for alarm in wanted}
        over = [_row(note.alarm, note, now) for key, note in notes.items() if key not in stand]
        with self._ctx.database.write() as session:
            raised, cleared = alarms.settle(session, [*rows, *over], now)
            if over:
                cleared += alarms.settle(session, rows, now)[1]
        self.unwritten.forget()
        self._written_at = now
        for line in raised:
            _log.warning("alarm (%s) %s: %s", line.severity, line.key, line.text)
        for line in cleared:
            _log.warning("alarm cleared: %s", line.key)

    def _is_stored(self, wanted: list[Alarm], now: datetime) -> bool:
        """Whether there is nothing to write; a text that says how long may be a minute old."""
        texts = {(alarm.key, alarm.severity.value): alarm.text for alarm in wanted}
        if texts.keys() != self._stored.keys():
            return False
        return texts == self._stored or now - self._written_at < _TEXT_AGE


def _row(alarm: Alarm, note: Note | None, now: datetime) -> Wanted:
    raised_at, told = (note.raised_at, note.told) if note else (now, {})
    return Wanted(alarm.key, alarm.severity.value, alarm.text, raised_at, told)


def _free_gib(data_dir: str) -> float | None:
    folder = Path(data_dir).absolute()
    while not folder.exists():
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free / _GIB
    except OSError:
        return None
