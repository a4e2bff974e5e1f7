"""One making of a page for all who ask for it at the same time.

When something happens, everybody who has an event's page open asks for it anew within a second. A
request that comes while the same page waits to be made takes that one; one that comes while it is
being made waits for the next, because what is being made may have read the store before what the
reader was told of. So nobody gets a page older than his request, and at most two of one address
are on the way however many ask.

Only pages that are the same for everybody: a request with a cookie (somebody may be signed in) or
with credentials is made for itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["SharedPages"]

_SHARED = frozenset({"/", "/events", "/runs", "/search", "/notices", "/health", "/viewer"})
_SHARED_BELOW = ("/events/", "/objects/", "/notices/")
_NOT_SHARED = ("/events/stream",)
_OF_ONE_READER = frozenset({b"cookie", b"authorization", b"range"})

Key = tuple[str, bytes, bytes, bytes]


@dataclass(eq=False, slots=True)
class _Page:
    """One making of a page, waiting or under way."""

    messages: list[Message] = field(default_factory=list)
    has_begun: bool = False
    task: asyncio.Task[None] | None = None


class SharedPages:
    """ASGI middleware for one event loop; outside of what compresses, so that is done once too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._newest: dict[Key, _Page] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = _key(scope)
        if key is None:
            await self.app(scope, receive, send)
            return
        page = self._newest.get(key)
        if page is None or page.has_begun:
            before, page = page, _Page()
            self._newest[key] = page
            page.task = asyncio.create_task(self._make(key, page, before, scope))
        assert page.task is not None
        # A reader who goes away takes the page from nobody else.
        await asyncio.shield(page.task)
        for message in page.messages:
            await send(dict(message))

    async def _make(self, key: Key, page: _Page, before: _Page | None, scope: Scope) -> None:
        async def keep(message: Message) -> None:
            page.messages.append(message)

        try:
            if before is not None and before.task is not None:
                await asyncio.wait([before.task])
            page.has_begun = True
            await self.app(scope, _nothing_to_read(), keep)
        finally:
            if self._newest.get(key) is page:
                del self._newest[key]


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
