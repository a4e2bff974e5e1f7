"""One making of a page for all who ask for it, as long as it would be made the same again.

When something happens, everybody who has an event's page open asks for it anew within two seconds.
A request that comes while the same page waits to be made takes that one; one that comes while it is
being made waits for the next, because what is being made may have read the store before what the
reader was told of. So nobody gets a page older than his request, and at most two of one address
are on the way however many ask.

A page that is made is kept, and given out for as long as nothing is written to the store; not
longer than ``KEPT_S``, because a page also tells times and the state of the sources. Where the
store is written to all the time that would be no page: a browser that refreshes by itself says so
(``LIVE``). It does so a second or more after it was told that there is something new, and then a
page that was begun within the last second has it.

Only pages that are the same for everybody: a request with a cookie (somebody may be signed in) or
with credentials is made for itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmcoord.api.caching import is_known

__all__ = ["KEPT_S", "LIVE", "SharedPages"]

KEPT_S = 2.0
"""A page is not given out longer than this after it was begun."""
LIVE = "mmcoord-live"
"""Header of a request that a browser makes ``_LIVE_S`` or more after news came; see mmcoord.js."""
_LIVE_S = 1.0

_SHARED = frozenset(
    {"/", "/events", "/runs", "/search", "/notices", "/health", "/viewer", "/viewer/sky.json"}
)
_SHARED_BELOW = ("/events/", "/objects/", "/notices/")
_NOT_SHARED = ("/events/stream",)
_OF_ONE_READER = frozenset({b"cookie", b"authorization", b"range"})
_MOST_KEPT = 64
_LARGEST_KEPT = 2 * 2**20

Key = tuple[str, bytes, bytes, bytes]


@dataclass(eq=False, slots=True)
class _Page:
    """One making of a page: waiting, under way, or done."""

    messages: list[Message] = field(default_factory=list)
    has_begun: bool = False
    begun_s: float = 0.0
    version: Hashable = None
    """Of the store, no later than what the page says; None: not known."""
    task: asyncio.Task[None] | None = None

    @property
    def is_to_keep(self) -> bool:
        start = self.messages[0] if self.messages else {}
        size = sum(len(message.get("body", b"")) for message in self.messages)
        return self.version is not None and start.get("status") == 200 and size <= _LARGEST_KEPT


class SharedPages:
    """ASGI middleware for one event loop; outside of what compresses, so that is done once too.

    ``version`` stands for what is in the store (:meth:`mmcoord.store.database.Database.version`);
    it is called in a thread, and where it raises nothing is kept.
    """

    def __init__(self, app: ASGIApp, version: Callable[[], Hashable] = lambda: None) -> None:
        self.app = app
        self._read_version = version
        self._newest: dict[Key, _Page] = {}
        self._kept: OrderedDict[Key, _Page] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = _key(scope)
        if key is None:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        page = self._kept.get(key)
        if page is None or not await self._is_current(page, LIVE in headers):
            page = await self._made(key, scope)
        for message in _conditional(page.messages, headers.get("if-none-match")):
            await send(dict(message))

    async def _is_current(self, page: _Page, is_live: bool) -> bool:
        age_s = time.monotonic() - page.begun_s
        if is_live and age_s <= _LIVE_S:
            return True
        return age_s <= KEPT_S and page.version == await self._version()

    async def _made(self, key: Key, scope: Scope) -> _Page:
        page = self._newest.get(key)
        if page is None or page.has_begun:
            before, page = page, _Page()
            self._newest[key] = page
            page.task = asyncio.create_task(self._make(key, page, before, scope))
        assert page.task is not None
        # A reader who goes away takes the page from nobody else.
        await asyncio.shield(page.task)
        return page

    async def _make(self, key: Key, page: _Page, before: _Page | None, scope: Scope) -> None:
        async def keep(message: Message) -> None:
            page.messages.append(message)

        try:
            if before is not None and before.task is not None:
                await asyncio.wait([before.task])
            page.version = await self._version()
            page.has_begun, page.begun_s = True, time.monotonic()
            await self.app(_for_everybody(scope), _nothing_to_read(), keep)
            self._keep(key, page)
        finally:
            if self._newest.get(key) is page:
                del self._newest[key]

    def _keep(self, key: Key, page: _Page) -> None:
        self._kept.pop(key, None)
        if page.is_to_keep:
            self._kept[key] = page
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)

    async def _version(self) -> Hashable:
        try:
            return await asyncio.to_thread(self._read_version)
        except Exception:
            return None  # the page that is made now says itself that the store is away


def _for_everybody(scope: Scope) -> Scope:
    """The request without what its maker alone has: the copy of the page that he holds."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"if-none-match"]
    return {**scope, "headers": headers}


def _conditional(messages: list[Message], if_none_match: str | None) -> list[Message]:
    """The answer, or that the reader's own copy stands (RFC 9110, section 15.4.5)."""
    start = messages[0]
    headers = Headers(raw=start["headers"])
    etag = headers.get("etag")
    if start["status"] != 200 or etag is None or not is_known(if_none_match, etag):
        return messages
    about_the_body = (b"content-length", b"content-encoding", b"content-type")
    kept = [(name, value) for name, value in start["headers"] if name not in about_the_body]
    return [
        {"type": "http.response.start", "status": 304, "headers": kept},
        {"type": "http.response.body", "body": b""},
    ]


def _nothing_to_read() -> Receive:
    """What the maker of a page reads: an empty body, and nobody who goes away."""
    is_read = False

    async def receive() -> Message:
        nonlocal is_read
        if is_read:
            await asyncio.Event().wait()
        is_read = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive


def _key(scope: Scope) -> Key | None:
    """What two requests that get the same page agree in; None: this one shares with nobody."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return None
    path = scope["path"]
    is_page = path in _SHARED or path.startswith(_SHARED_BELOW)
    if not is_page or path in _NOT_SHARED:
        return None
    headers = dict(scope["headers"])
    if _OF_ONE_READER & headers.keys():
        return None
    encodings, host = headers.get(b"accept-encoding", b""), headers.get(b"host", b"")
    return path, scope["query_string"], encodings, host
