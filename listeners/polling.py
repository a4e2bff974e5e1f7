"""One polling loop for every source over HTTP: ask, store with the place, go on.

The sibling of :mod:`listeners.kafka`. The loop knows nothing of what the bytes mean: a
:class:`~listeners.feed.Feed` says what to ask and cuts answers into payloads, and a callable
stores them in one transaction with the cursor. A crash therefore asks the same page again
and never skips one; a payload is known by its content (63 bits of its SHA-256), so that what
comes twice is dropped as a redelivery.

What it does about services as they are:

* an answer that cannot be read is asked for again with growing delay; if the feed can go
  around it, that happens after some tries, and the answer goes to the dead letters;
* a page that repeats the one before, or a cursor that does not move, ends the round with a
  fault instead of asking for ever;
* 429, ``Retry-After`` and ``x-rate-limit-*`` are honoured.
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import httpx

from listeners.feed import Cursor, Feed, Page
from listeners.http import Answer, Request, ServiceError, fetch
from listeners.settings import ListenerState, ListenerStatus
from mmcoord.errors import BadInput
from mmcoord.records import Notice

__all__ = ["HttpListener", "PollSettings", "content_offset"]

logger = logging.getLogger(__name__)

_REPEATED_S = 10.0
_BATCH = 500
_KEPT_BYTES = 2**20
"""Of an answer that stays unreadable, for the dead letters."""


def content_offset(content: bytes) -> int:
    """63 bits of the content's SHA-256: a payload's place where the service has none."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") >> 1


@dataclass(frozen=True, slots=True)
class PollSettings:
    """One connection to a service over HTTP."""

    name: str
    """Name of the connection in the configuration."""
    source: str
    """Name of the source (entry point) that reads the payloads."""
    backoff_s: float = 2.0
    backoff_max_s: float = 600.0
    skip_after: int = 5
    """Unreadable answers in a row after which the feed goes around, if it can."""


class HttpListener:
    """Polls one feed until told to stop. One thread runs it; see :meth:`run`.

    Parameters
    ----------
    settings, feed
        What to poll.
    write
        Stores notices and the cursor (None: leave it) in one transaction and returns when both
        are durable. If it raises, the same are tried again until it returns or the listener is
        stopped.
    load
        The stored cursor; None when there is none yet.
    on_status
        Called from the listener's thread at every change.
    client
        For the requests; one of its own by default.
    """

    def __init__(
        self,
        settings: PollSettings,
        feed: Feed,
        write: Callable[[Sequence[Notice], Cursor | None], None],
        load: Callable[[], Cursor | None],
        on_status: Callable[[ListenerStatus], None] = lambda status: None,
        client: httpx.Client | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings
        self.feed = feed
        self.status = ListenerStatus(settings.name, settings.source)
        self._write = write
        self._load = load
        self._on_status = on_status
        self._client = client
        self._now = now
        self._failures = 0
        self._unreadable = 0
        self._last_page = b""
        """SHA-256 of what the last answer of this round held."""
        self._random = random.SystemRandom()

    def run(self, stop: threading.Event) -> None:
        """Poll until ``stop`` is set."""
        self._update(state=ListenerState.CONNECTING)
        own = httpx.Client() if self._client is None else None
        try:
            cursor = self._first_cursor(stop)
            while cursor is not None and not stop.is_set():
                cursor, pause = self._turn(own or self._client, cursor, stop)  # type: ignore[arg-type]
                if pause > 0:
                    stop.wait(pause)
        finally:
            if own is not None:
                own.close()
            self._update(state=ListenerState.STOPPED)

    def check(self) -> str:
        """Ask once without storing anything; what came, in words.

        Raises
        ------
        ServiceError
            No usable answer.
        BadInput
            An answer that cannot be read.
        """
        cursor = self._load() or self.feed.start(self._now())
        request = self.feed.request(cursor, self._now())
        if request is None:
            return "nothing to ask before the next round"
        with httpx.Client() as client:
            answer = fetch(client, request)
        found = len(self.feed.read(answer, cursor, self._now()).payloads)
        return f"{request.topic}: answers, {found} items"

    # -- one turn ---------------------------------------------------------------------------

    def _first_cursor(self, stop: threading.Event) -> Cursor | None:
        while not stop.is_set():
            try:
                return self._load() or self.feed.start(self._now())
            except Exception as error:
                # Broad, because the store is not ours to know.
                self._fault(f"store: {type(error).__name__}: {error}", ListenerState.STORE_DOWN)
                stop.wait(self._delay())
        return None

    def _turn(
        self, client: httpx.Client, cursor: Cursor, stop: threading.Event
    ) -> tuple[Cursor, float]:
        """Ask and store once; returns the new cursor, and how long to wait."""
        request = self.feed.request(cursor, self._now())
        if request is None:
            self._last_page = b""
            return cursor, self._between_rounds()
        try:
            answer = fetch(client, request, stop.is_set)
            page = self._read(answer, cursor)
        except ServiceError as error:
            state = ListenerState.UNREACHABLE if error.refused else ListenerState.WAITING
            self._fault(str(error), state)
            wait = self.settings.backoff_max_s if error.refused else self._delay()
            return cursor, max(wait, error.wait_s or 0.0)
        except BadInput as error:
            return self._not_readable(request, answer, cursor, error, stop)
        except Exception as error:
            # A fault in a feed must not end the thread: it is told, and asked again later.
            logger.exception("%s: the feed failed", self.settings.name)
            self._fault(f"feed: {type(error).__name__}: {error}", ListenerState.WAITING)
            return cursor, self._delay()
        return self._take(request, answer, page, cursor, stop)

    def _read(self, answer: Answer, cursor: Cursor) -> Page:
        page = self.feed.read(answer, cursor, self._now())
        digest = hashlib.sha256(b"\0".join(page.payloads)).digest()
        if self._last_page == digest and page.payloads:
            raise ServiceError("the service sends the same page again; it stays where it is")
        if page.more and page.cursor == cursor:
            raise ServiceError("the place does not move although there is said to be more")
        self._last_page = digest if page.more else b""
        return page

    def _take(
        self, request: Request, answer: Answer, page: Page, cursor: Cursor, stop: threading.Event
    ) -> tuple[Cursor, float]:
        self._failures = self._unreadable = 0
        is_new = bool(page.payloads) or page.cursor != cursor
        notices = self._notices(request, page.payloads)
        if is_new and not self._store(notices, page.cursor, stop):
            return cursor, 0.0
        if page.note:
            self._fault(page.note, ListenerState.RUNNING)
        self._update(
            state=ListenerState.RUNNING,
            received=self.status.received + len(page.payloads),
            last_received_at=self._now(),
        )
        pause = 0.0 if page.more else self._between_rounds()
        return page.cursor, max(pause, answer.wait_s or 0.0)

    def _not_readable(
        self,
        request: Request,
        answer: Answer,
        cursor: Cursor,
        error: BadInput,
        stop: threading.Event,
    ) -> tuple[Cursor, float]:
        """An answer that is none: ask again, and at last go around it if the feed can."""
        self._fault(f"{request.topic}: {error}", ListenerState.WAITING)
        self._unreadable += 1
        if self.feed.skip is None or self._unreadable < self.settings.skip_after:
            return cursor, self._delay()
        further = self.feed.skip(cursor, self._now())
        kept = self._notices(request, [answer.body[:_KEPT_BYTES]])
        if not self._store(kept, further, stop):
            return cursor, 0.0
        self._unreadable = self._failures = 0
        self._fault(f"{request.topic}: left out, unreadable: {error}", ListenerState.RUNNING)
        return further, 0.0

    def _notices(self, request: Request, payloads: Sequence[bytes]) -> list[Notice]:
        unique = {content_offset(payload): payload for payload in payloads}
        now = self._now()
        return [
            Notice(
                source=self.settings.source,
                broker=self.feed.broker,
                topic=request.topic,
                partition=0,
                offset=offset,
                payload=payload,
                received_at=now,
            )
            for offset, payload in unique.items()
        ]

    def _store(
        self, notices: Sequence[Notice], cursor: Cursor | None, stop: threading.Event
    ) -> bool:
        """Write, however long it takes; False when told to stop before it was done.

        A long page goes in several transactions; the place moves with the last of them.
        """
        parts = [notices[i : i + _BATCH] for i in range(0, len(notices), _BATCH)] or [()]
        for number, part in enumerate(parts, start=1):
            attempt = 0
            while not self._written(part, cursor if number == len(parts) else None):
                if stop.wait(self._delay(attempt)):
                    return False
                attempt += 1
        return True

    def _written(self, part: Sequence[Notice], cursor: Cursor | None) -> bool:
        try:
            self._write(part, cursor)
        except Exception as error:
            # Broad, because the store is not ours to know: whatever it raises, these notices
            # are not durable, and going on would lose our place.
            self._fault(f"store: {type(error).__name__}: {error}", ListenerState.STORE_DOWN)
            return False
        return True

    # -- telling ------------------------------------------------------------------------------

    def _between_rounds(self) -> float:
        return self.feed.poll_s * self._random.uniform(0.9, 1.1)

    def _delay(self, attempt: int | None = None) -> float:
        """Exponential backoff with jitter, seconds."""
        if attempt is None:
            attempt, self._failures = self._failures, self._failures + 1
        longest = min(
            self.settings.backoff_s * 2.0 ** min(attempt, 20), self.settings.backoff_max_s
        )
        return longest * self._random.uniform(0.5, 1.0)

    def _fault(self, words: str, state: ListenerState) -> None:
        """Tell of a fault; the same words again within seconds are one fault."""
        words = words[:500]
        now, last = self._now(), self.status.last_error_at
        is_recent = last is not None and (now - last).total_seconds() < _REPEATED_S
        if is_recent and words == self.status.last_error:
            self._update(state=state)
            return
        logger.warning("%s: %s", self.settings.name, words)
        self._update(state=state, last_error=words, last_error_at=now)

    def _update(self, **changes: Any) -> None:
        self.status = replace(self.status, **changes)
        try:
            self._on_status(self.status)
        except Exception:
            # Whoever watches must not stop what he watches.
            logger.exception("%s: the status could not be told", self.settings.name)
