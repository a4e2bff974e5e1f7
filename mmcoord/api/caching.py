"""What never changes may be kept: validators, how long, and by whom.

A run that is done has one answer for ever, so that its key is its version. Visibility is decided
before any of this: who may not see a run gets 404 even with the right validator.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.responses import Response

from mmcoord.store.views_runs import PUBLIC, RunHead

__all__ = ["etag_of", "fresh_headers", "is_known", "kept"]

_DAY_S = 86_400


def etag_of(*parts: str) -> str:
    """A validator; weak, because a proxy or we may compress what it stands for."""
    return f'W/"{"-".join(parts)}"'


def is_known(if_none_match: str | None, etag: str) -> bool:
    """Whether the caller has it already (RFC 9110, section 13.1.2: weak comparison)."""
    if if_none_match is None:
        return False
    known = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return "*" in known or etag.removeprefix("W/") in known


def fresh_headers(run: RunHead, etag: str) -> dict[str, str]:
    """For an answer that never changes. Private ones are asked for again each time: a token can
    be revoked, and no cache between may keep them."""
    if run.partition == PUBLIC:
        return {"ETag": etag, "Cache-Control": f"public, max-age={_DAY_S}, immutable"}
    return {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}


def kept(headers: Mapping[str, str]) -> Response:
    """304: the caller's own copy stands."""
    return Response(status_code=304, headers=dict(headers))
