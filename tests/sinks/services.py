"""Stand-ins for Hermes and Slack, written from their public behaviour, and bad luck.

They answer through ``httpx.MockTransport``; :class:`Flaky` wraps any transport, the real
one to a real TOM included, and makes it fail before or after the effect.
"""

from __future__ import annotations

import itertools
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

HERMES_TOKEN = "tok-hermes-5ecret-0123456789"
WEBHOOK = "https://hooks.slack.invalid/services/T00000000/B00000000/Sl4ckWebh00kS3cret"


@dataclass
class FakeHermes:
    """Publishes, archives after a delay, answers queries with titles but not contents."""

    archive_delay_s: float = 5.0
    now_s: float = 0.0
    """Seconds since ``epoch_s``."""
    epoch_s: float = field(default_factory=time.time)
    published: list[dict[str, Any]] = field(default_factory=list)
    _times: list[float] = field(default_factory=list)
    retracted: set[str] = field(default_factory=set)
    queries: list[dict[str, str]] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") != f"Token {HERMES_TOKEN}":
            return httpx.Response(403, json={"detail": "Invalid token."})
        path = request.url.path
        if (request.method, path) == ("POST", "/api/v0/submit_message/"):
            message = json.loads(request.content)
            message["uuid"] = str(uuid.UUID(int=len(self.published) + 1))
            self.published.append(message)
            self._times.append(self.now_s)
            return httpx.Response(200, json=message)
        if (request.method, path) == ("GET", "/api/v0/query/"):
            return self._query(request)
        if (request.method, path) == ("GET", "/api/v0/heartbeat/"):
            return httpx.Response(200, json={"last_timestamps": {}, "is_authenticated": True})
        if (request.method, path) == ("POST", "/api/v0/submit_message/preload/"):
            return httpx.Response(201, json={"key": "0a0b"})
        if request.method == "PATCH" and path.startswith("/api/v0/query/message/"):
            self.retracted.add(path.split("/")[-2])
            return httpx.Response(200, json={"success": "true"})
        return httpx.Response(404, json={"detail": "Not found."})

    def _query(self, request: httpx.Request) -> httpx.Response:
        params = dict(request.url.params)
        self.queries.append(params)
        page, limit = int(params.get("page", 0)), int(params["limit"])
        newest_first = zip(reversed(self.published), reversed(self._times), strict=True)
        archived = (
            {
                "metadata": {"topic": m["topic"], "timestamp": (self.epoch_s + at) * 1000.0},
                "annotations": {"con_text_uuid": m["uuid"], "title": m["title"]},
            }
            for m, at in newest_first
            if m["topic"] == params["topic"] and at + self.archive_delay_s <= self.now_s
        )
        found = list(itertools.islice(archived, page * limit, (page + 1) * limit + 1))
        more = str(page + 1) if len(found) > limit else None
        body = {"messages": found[:limit], "next": more, "prev": None}
        return httpx.Response(200, json=body)

    def keys(self) -> Counter[str]:
        """How often each key was published."""
        return Counter(m["data"]["mmcoord"]["key"] for m in self.published)


@dataclass
class FakeSlack:
    """Keeps what was posted."""

    posted: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if str(request.url) != WEBHOOK:
            return httpx.Response(404, text="no_service")
        self.posted.append(json.loads(request.content))
        return httpx.Response(200, text="ok")


class Flaky(httpx.BaseTransport):
    """A transport that fails at random, before the effect or after it."""

    def __init__(
        self,
        inner: httpx.BaseTransport,
        rng: random.Random,
        rate: float,
        error_200: dict[str, Any] | None = None,
    ) -> None:
        """``error_200``: what this service says with a 200 when it has done nothing."""
        self._inner, self._rng, self._rate = inner, rng, rate
        self._error_200 = error_200
        self.happened: Counter[str] = Counter()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Pass the request on, or not, and answer the truth, or not."""
        kinds = ["refused", "timeout before", "500 before", "429", "timeout after", "500 after"]
        if self._rng.random() >= self._rate:
            return self._inner.handle_request(request)
        if self._error_200 is not None:
            kinds.append("200 with error")
        kind = self._rng.choice(kinds)
        self.happened[f"{kind} {request.method}"] += 1
        if kind == "refused":
            raise httpx.ConnectError("refused", request=request)
        if kind == "timeout before":
            raise httpx.ReadTimeout("late", request=request)
        if kind == "500 before":
            return httpx.Response(500, text="error", request=request)
        if kind == "200 with error":
            return httpx.Response(200, json=self._error_200, request=request)
        if kind == "429":
            return httpx.Response(429, headers={"Retry-After": "1"}, request=request)
        answer = self._inner.handle_request(request)
        answer.read()
        answer.close()
        if kind == "timeout after":
            raise httpx.ReadTimeout("late", request=request)
        return httpx.Response(500, text="error", request=request)


def client_for(handler: Callable[[httpx.Request], httpx.Response]) -> httpx.Client:
    """A client that talks to ``handler`` alone."""
    return httpx.Client(transport=httpx.MockTransport(handler))
