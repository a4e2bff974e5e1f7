"""Answers are compressed, but for what does not get smaller: draws and pictures."""

from __future__ import annotations

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Receive, Scope, Send

__all__ = ["Compressed"]

_AS_THEY_ARE = (".npz", ".arrow", ".png")


class Compressed(GZipMiddleware):
    """ASGI middleware; random numbers cost ten milliseconds and lose a twentieth."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith(_AS_THEY_ARE):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)
