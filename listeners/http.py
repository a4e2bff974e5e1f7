"""One bounded HTTP request to a service that we poll.

Limits on time and size hold for every answer, a redirect is followed only to the very same
origin, and nothing that is told (errors, ``repr``) holds what may be a credential: neither
headers nor bodies of requests, nor the body of an answer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from mmcoord.errors import ConfigError, MmcoordError

__all__ = ["Answer", "Request", "ServiceError", "checked_base", "fetch", "pause_s"]

_MAX_WAIT_S = 3600.0
_MAX_REDIRECTS = 3
_SILENCE_S = 60.0
"""No service may keep us waiting longer for the next byte."""
_EPOCH_S = 1e9
"""A rate-limit reset above this is a time since 1970, below it a number of seconds."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ServiceError(MmcoordError):
    """No usable answer; ``wait_s`` is what the service asks for, if it asks."""

    def __init__(self, message: str, *, wait_s: float | None = None, refused: bool = False) -> None:
        super().__init__(message)
        self.wait_s = wait_s
        self.refused = refused
        """The service does not accept our login."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask. ``form`` and ``json`` are bodies of a POST; without them it is a GET."""

    url: str
    topic: str
    """Query or catalogue; becomes the topic of what the answer holds."""
    params: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    json: Any = field(default=None, repr=False)
    readable: frozenset[int] = frozenset({200})
    """Statuses whose answers the feed can read; any other is an error."""
    max_bytes: int = 32 * 2**20
    """Of the body, after a content encoding is undone."""
    timeout_s: float = 60.0
    """For the whole answer."""
    memo: Any = None
    """For the feed that asks: what exactly was asked; comes back with the answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes = field(repr=False)
    wait_s: float | None = None
    """How long the service's rate limit asks us to be silent now."""
    memo: Any = None
    """The request's."""
    validators: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers that make the same request conditional (RFC 9110, 13): what the service gave."""


def checked_base(url: str, where: str) -> str:
    """A service's address without its last slash.

    Raises
    ------
    ConfigError
        Not https (plain http is for this machine only), or with a login, query or fragment.
    """
    parts = urlsplit(url)
    is_local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if not parts.hostname or not (parts.scheme == "https" or is_local):
        raise ConfigError(f"{where}: an https address is needed")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(f"{where}: an address without login, query and fragment is needed")
    return url.rstrip("/")


def fetch(
    client: httpx.Client, request: Request, cancelled: Callable[[], bool] = lambda: False
) -> Answer:
    """Ask once; ``cancelled`` is asked between the pieces of the answer.

    Raises
    ------
    ServiceError
        No answer, one that is too slow or too large, a redirect elsewhere, or a status that
        is not in ``request.readable``.
    """
    deadline = time.monotonic() + request.timeout_s
    url, params = request.url, request.params
    for _ in range(_MAX_REDIRECTS + 1):
        try:
            status, headers, body = _once(client, request, url, params, deadline, cancelled)
        except httpx.HTTPError as error:  # its text can hold the address
            raise ServiceError(f"no answer from {_host(url)}: {type(error).__name__}") from None
        if status not in (301, 302, 303, 307, 308):
            break
        url, params = _same_origin(url, headers.get("location", ""), status, request), ()
    else:
        raise ServiceError(f"{_host(url)} redirects without end")
    wait = pause_s(status, headers, datetime.now(UTC))
    if status in request.readable:
        return Answer(status, body, wait, request.memo, _validators(headers))
    raise ServiceError(
        f"{_host(url)} answers HTTP {status}" + _explained(status),
        wait_s=wait,
        refused=status in (401, 403),
    )


def pause_s(status: int, headers: Mapping[str, str], now: datetime) -> float | None:
    """How long to be silent by ``Retry-After`` or ``x-rate-limit-*``; None: not asked for.

    A reset may be given in seconds or as a time since 1970; at most an hour is waited.
    """
    after = _number(headers.get("retry-after", ""))
    if after is None and "retry-after" in headers:
        try:
            when = parsedate_to_datetime(headers["retry-after"])
        except ValueError:
            when = now
        after = (when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds()
    if after is not None:
        return min(max(after, 0.0), _MAX_WAIT_S)
    remaining = _number(headers.get("x-rate-limit-remaining", ""))
    reset = _number(headers.get("x-rate-limit-reset", ""))
    if reset is None or (status != 429 and (remaining is None or remaining >= 1)):
        return None
    return min(max(reset - now.timestamp() if reset > _EPOCH_S else reset, 0.0), _MAX_WAIT_S)


def _validators(headers: Mapping[str, str]) -> dict[str, str]:
    given = {"If-None-Match": "etag", "If-Modified-Since": "last-modified"}
    return {name: headers[theirs][:500] for name, theirs in given.items() if theirs in headers}


def _once(
    client: httpx.Client,
    request: Request,
    url: str,
    params: tuple[tuple[str, str], ...],
    deadline: float,
    cancelled: Callable[[], bool],
) -> tuple[int, httpx.Headers, bytes]:
    is_post = request.form is not None or request.json is not None
    with client.stream(
        "POST" if is_post else "GET",
        url,
        params=params or None,
        headers={"Accept": "*/*", **request.headers},
        data=request.form,
        json=request.json,
        timeout=min(max(deadline - time.monotonic(), 0.001), _SILENCE_S),
        follow_redirects=False,
    ) as response:
        chunks: list[bytes] = []
        size = 0
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > request.max_bytes:
                raise ServiceError(f"{_host(url)}: more than {request.max_bytes} bytes")
            if time.monotonic() > deadline:
                raise ServiceError(f"{_host(url)}: not all there after {request.timeout_s:g} s")
            if cancelled():
                raise ServiceError(f"{_host(url)}: given up, because we are stopping")
            chunks.append(chunk)
        return response.status_code, response.headers, b"".join(chunks)


def _same_origin(url: str, location: str, status: int, request: Request) -> str:
    target = urljoin(url, location)
    here, there = urlsplit(url), urlsplit(target)
    if (here.scheme, here.netloc) != (there.scheme, there.netloc):
        raise ServiceError(f"{_host(url)} redirects to {_host(target)}; not followed")
    if request.form is not None or request.json is not None:
        raise ServiceError(f"{_host(url)} redirects a POST (HTTP {status}); not followed")
    return target


def _explained(status: int) -> str:
    if status in (401, 403):
        return ": login refused; check the credentials"
    return ": asked too often" if status == 429 else ""


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "?")[:100]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
