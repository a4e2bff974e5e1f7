"""A request body has an end: more than so many bytes are not read."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BodyLimit"]


class BodyLimit:
    """ASGI middleware that counts what comes, whatever the header said of its length."""

    def __init__(
        self, app: ASGIApp, max_bytes: int, larger: Mapping[str, int] | None = None
    ) -> None:
        """``larger``: limits of single paths."""
        self.app = app
        self.max_bytes = max_bytes
        self.larger = larger or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        came = 0
        max_bytes = self.larger.get(scope.get("path", ""), self.max_bytes)

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > max_bytes:
                raise HTTPException(413, f"more than {max_bytes} bytes")
            return message

        await self.app(scope, counted if scope["type"] == "http" else receive, send)
