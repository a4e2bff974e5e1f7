"""HEAD is GET without the body: for every route at once, streams too."""

from __future__ import annotations

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Heads"]


class Heads:
    """ASGI middleware; the route runs as for GET, and is told that the caller has gone."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        answered = False

        async def gone_when_answered() -> Message:
            return {"type": "http.disconnect"} if answered else await receive()

        async def without_body(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                answered = True
            elif message.get("more_body"):
                raise OSError("nobody reads a body after HEAD")

        try:
            await self.app({**scope, "method": "GET"}, gone_when_answered, without_body)
        except (ClientDisconnect, OSError):
            if not answered:
                raise
