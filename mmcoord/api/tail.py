"""Following the journal: one reader of the store for any number of viewers.

Every viewer asks :meth:`JournalTail.after` twice a second; the store is read at most once in
that time, in a worker thread, however many ask. The newest entries are kept in memory, so a
viewer who is at the end of the journal costs the store nothing.

Entries are followed by id. On PostgreSQL two writers may commit out of the order of their
ids; the tail therefore looks back over the last few ids each time and hands over what it has
not seen, so an entry may come after one with a higher id, but is not lost.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence

from mmcoord.store.views_log import Entry

__all__ = ["JournalTail", "ReadAfter"]

ReadAfter = Callable[[int, int], Sequence[Entry]]
"""(entry id, limit) -> entries with a higher id, in order."""

_KEPT = 1000
_LOOK_BACK = 50
_BATCH = 500


class JournalTail:
    """The end of the journal, shared by all viewers."""

    def __init__(
        self,
        read_after: ReadAfter,
        read_newest: Callable[[], int],
        *,
        interval_s: float = 0.5,
        max_viewers: int = 200,
    ) -> None:
        self._read_after = read_after
        self._read_newest = read_newest
        self.interval_s = interval_s
        self.max_viewers = max_viewers
        self.viewers = 0
        self._kept: deque[tuple[int, Entry]] = deque(maxlen=_KEPT)
        self._place = 0
        self._newest: int | None = None
        self._next_poll = 0.0
        self._polling = False

    async def start(self, last_event_id: int | None) -> tuple[int, list[Entry]]:
        """A viewer's place in the tail, and what it missed since ``last_event_id``."""
        await self._poll()
        place = self._place
        # While another viewer's first look is under way, nobody knows what is new to this one.
        if last_event_id is None or (self._newest is not None and last_event_id >= self._newest):
            return place, []
        missed = await asyncio.to_thread(self._read_after, last_event_id, _BATCH)
        return place, list(missed)

    async def after(self, place: int) -> tuple[int, list[Entry]]:
        """Entries that came since ``place``, and the new place."""
        await self._poll()
        new = itertools.takewhile(lambda kept: kept[0] > place, reversed(self._kept))
        return self._place, [entry for _, entry in new][::-1]

    async def _poll(self) -> None:
        # Only the event loop's thread comes here, so the flag needs no lock.
        if self._polling or time.monotonic() < self._next_poll:
            return
        self._polling = True
        try:
            if self._newest is None:
                self._newest = await asyncio.to_thread(self._read_newest)
                # What is there already is history, not news.
                await self._read(remember_only=True)
            else:
                await self._read(remember_only=False)
        finally:
            self._next_poll = time.monotonic() + self.interval_s
            self._polling = False

    async def _read(self, *, remember_only: bool) -> None:
        assert self._newest is not None
        since = max(self._newest - _LOOK_BACK, 0)
        known = {entry.id for _, entry in self._kept}
        for entry in await asyncio.to_thread(self._read_after, since, _BATCH):
            if entry.id in known:
                continue
            if not remember_only:
                self._place += 1
            self._kept.append((self._place, entry))
            self._newest = max(self._newest, entry.id)
