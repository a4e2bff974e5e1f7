"""One request with limits, one reply, and a table that says what the reply means.

Every sink reads its service's answers by an ordered table of :class:`Rule`; the first
rule that applies decides. The tables are what ``docs/sinks.md`` shows.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import httpx

from followup.sinks._settings import Secret
from followup.sinks.base import Answer, Outcome

__all__ = [
    "MENDED_BY_A_PERSON_S",
    "Failed",
    "Files",
    "Reply",
    "Rule",
    "Trouble",
    "call",
    "hide_in_request_log",
    "judge",
    "require",
]

MENDED_BY_A_PERSON_S = 300.0
"""Wait before retrying what only a person can mend (a token, an address, a permission)."""

Files = Mapping[str, tuple[str, bytes, str]]
"""Form field -> (file name, content, media type)."""

_MAX_BODY_BYTES = 8_000_000
_MAX_RETRY_AFTER_S = 3600.0


class Trouble(StrEnum):
    """Why there is no HTTP answer."""

    NOT_REACHED = "not reached"
    """No connection: the service has seen nothing."""
    NO_ANSWER = "no answer"
    """The request may have arrived; the answer did not."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    """HTTP status; 0 when there is none."""
    body: Any = None
    """The JSON value; None when the body is not JSON."""
    text: str = ""
    """The beginning of the body, for people, without secrets."""
    retry_after_s: float | None = None
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a table: what a kind of reply means."""

    name: str
    applies: Callable[[Reply], bool]
    outcome: Outcome
    retry_after_s: float | None = None
    """Used when the service names no time itself."""


def judge(reply: Reply, rules: Sequence[Rule]) -> Answer:
    """The answer of the first rule that applies; what no rule knows is UNKNOWN."""
    for rule in rules:
        if rule.applies(reply):
            wait = reply.retry_after_s if reply.retry_after_s is not None else rule.retry_after_s
            return Answer(
                rule.outcome,
                detail=_detail(rule.name, reply),
                retry_after_s=None if rule.outcome is Outcome.SENT else wait,
            )
    return Answer(Outcome.UNKNOWN, detail=_detail("an answer not in our table", reply))


class Failed(Exception):
    """A step at a service failed; carries the answer that the outbox gets, and the HTTP status."""

    def __init__(self, answer: Answer, status: int = 0) -> None:
        super().__init__(answer.detail)
        self.answer = answer
        self.status = status


def require(reply: Reply, rules: Sequence[Rule]) -> Any:
    """The body of a reply that the table calls SENT.

    Raises
    ------
    Failed
        With the table's answer, for any other.
    """
    answer = judge(reply, rules)
    if answer.outcome is not Outcome.SENT:
        raise Failed(answer, reply.status)
    return reply.body


def _detail(name: str, reply: Reply) -> str:
    status = f"HTTP {reply.status}" if reply.status else str(reply.trouble)
    return f"{name} ({status}{': ' + reply.text if reply.text else ''})"


def call(
    client: httpx.Client,
    method: str,
    url: str,
    *,
    timeout_s: float,
    secrets: Sequence[Secret],
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str | int] | None = None,
    json_body: Any = None,
    data: Mapping[str, str] | None = None,
    files: Files | None = None,
) -> Reply:
    """One request; no redirect is followed.

    ``timeout_s`` limits connecting, sending, waiting for the first byte, and the whole
    body, each for itself; the body's size is limited too. Never raises for what the
    network does; ``text`` of the reply has the secrets removed.
    """
    try:
        with client.stream(
            method,
            url,
            headers={"Accept": "application/json", **(headers or {})},
            params=params,
            json=json_body,
            data=data,
            files=files,
            timeout=timeout_s,
            follow_redirects=False,
        ) as response:
            content = _read_body(response, time.monotonic() + timeout_s)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        return Reply(0, text=type(error).__name__, trouble=Trouble.NOT_REACHED)
    except httpx.HTTPError as error:  # its text can hold the address, which can be a secret
        return Reply(0, text=type(error).__name__, trouble=Trouble.NO_ANSWER)
    text = content[:2000].decode("utf-8", "replace")
    for secret in secrets:
        text = secret.hide_in(text)
    return Reply(
        response.status_code,
        body=_json_of(content),
        text=" ".join(text.split())[:300],
        retry_after_s=_retry_after_s(response.headers.get("Retry-After")),
    )


def _read_body(response: httpx.Response, deadline: float) -> bytes:
    """The body; an answer that drips or swells is as good as none."""
    chunks: list[bytes] = []
    size = 0
    for chunk in response.iter_bytes():
        size += len(chunk)
        if size > _MAX_BODY_BYTES:
            raise httpx.ReadError("the answer is too large")
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("the answer takes too long")
        chunks.append(chunk)
    return b"".join(chunks)


def _json_of(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _retry_after_s(header: str | None) -> float | None:
    """``Retry-After`` as seconds (it may be a date), at most an hour."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            when = parsedate_to_datetime(header)
        except ValueError:
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        seconds = (when - datetime.now(UTC)).total_seconds()
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S)


class _HideSecret(logging.Filter):
    """httpx logs each request's address; an address can be a secret."""

    def __init__(self, secret: Secret) -> None:
        super().__init__()
        self._secret = secret

    def hides(self, secret: Secret) -> bool:
        """Whether this filter is for ``secret``."""
        return self._secret.reveal() == secret.reveal()

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = self._secret.hide_in(record.getMessage())
        record.args = ()
        return True


def hide_in_request_log(secret: Secret) -> None:
    """Keep ``secret`` out of httpx's own log lines from now on."""
    logger = logging.getLogger("httpx")
    if not any(isinstance(f, _HideSecret) and f.hides(secret) for f in logger.filters):
        logger.addFilter(_HideSecret(secret))
