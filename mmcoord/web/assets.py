"""Style, scripts and icon: the files behind ``/static``, which a browser may keep for ever."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

__all__ = ["ASSETS", "Assets"]

_FOLDER = Path(__file__).parent / "static"
_YEAR_S = 31_536_000


def _content() -> str:
    """Stands for the content of all files; the pages' links carry it as ``v``."""
    found = hashlib.sha256()
    for path in sorted(_FOLDER.iterdir()):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:12]


ASSETS = _content()


class Assets(StaticFiles):
    """The files; one that is asked for with its ``v`` is not asked for again."""

    def __init__(self) -> None:
        super().__init__(directory=_FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        if scope["query_string"] == f"v={ASSETS}".encode() and answer.status_code in (200, 304):
            answer.headers["Cache-Control"] = f"public, max-age={_YEAR_S}, immutable"
        return answer
