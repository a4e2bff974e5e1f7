"""What a bot has said in a channel or a thread: read once, then only what is new.

Slack finds no message by its metadata: a look-up is a reading of the history, page by page. A
channel of a thousand events is several pages of a megabyte, and where each page may fail, a walk
from the beginning after each failure ends hardly ever. So tags are kept; a reading that broke
off goes on at its page; and the next one begins just before where the last one ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from followup.sinks._slack_web import Json, Refused, SlackWeb

__all__ = ["Reading"]

_BACK_S = 30 * 86400.0
"""How far back a channel is read at first: longer than the plan of an event is revised."""
_OVERLAP_S = 10.0
"""Read again each time: two messages of nearly one instant may be shown in either order."""
_MAX_PAGES = 50


@dataclass(slots=True)
class _Walk:
    """A reading that is under way."""

    oldest: float
    cursor: str = ""
    newest: float = 0.0
    pages: int = 0


@dataclass(slots=True)
class Reading:
    """Our messages in the channel, or in the thread of ``thread_ts``."""

    web: SlackWeb
    thread_ts: str | None = None
    tags: dict[str, Json] = field(default_factory=dict)
    """The tag of each, by its ``ts``, as it was when last read or written."""
    _read_to: float = 0.0
    _walk: _Walk | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Alarms are told from a thread of their own."""

    def catch_up(self) -> Mapping[str, Json]:
        """A copy of ``tags`` with all that Slack shows at the time of the call.

        Raises
        ------
        Failed
            A page cannot be read. Those before it need not be read again.
        """
        with self._turn:
            if self._walk is not None:
                self._go_on(self._walk)  # begun before this call: it may lack the newest
            self._go_on(_Walk(self._begin()))
            return dict(self.tags)

    def _begin(self) -> float:
        if self._read_to:
            return self._read_to - _OVERLAP_S
        return 0.0 if self.thread_ts else time.time() - _BACK_S

    def _go_on(self, walk: _Walk) -> None:
        while walk.pages < _MAX_PAGES:
            try:
                page = self.web.page(self.thread_ts, walk.oldest, walk.cursor)
            except Refused as refused:
                if refused.word == "invalid_cursor":
                    self._walk = None
                raise
            self.tags.update(page.tags)
            walk.newest = max(walk.newest, page.newest)
            walk.cursor, walk.pages = page.cursor, walk.pages + 1
            if not walk.cursor:
                break
            self._walk = walk
        self._walk = None
        self._read_to = max(self._read_to, walk.newest)
