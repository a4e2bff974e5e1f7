"""The weather at observing sites from an address that the operator names.

``GET``, one JSON object for all sites (:mod:`mmcoord.weather`). It is asked for conditionally
(``If-None-Match``, ``If-Modified-Since``), so that weather that stays costs a service nothing; an
answer that cannot be read is a fault of the connection, and what was said before still counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from listeners.base import Source
from listeners.feed import Cursor, Feed, Options, Page
from listeners.fields import json_object, shown
from listeners.http import Answer, Request, checked_base
from mmcoord.errors import BadNotice, ConfigError
from mmcoord.weather import Weather

__all__ = ["SOURCE", "build", "parse"]

_MAX_BYTES = 2**20
_EVERY_S = 300.0


def parse(payload: bytes) -> list[Weather]:
    """What the feed has wrapped: the address, when it was heard, and what was said.

    Raises
    ------
    BadInput
        With the site and the entry at fault.
    """
    given = json_object(payload)
    source, said = given.get("source"), given.get("weather")
    if not isinstance(source, str) or not isinstance(said, Mapping):
        raise BadNotice(f"{shown(source)} and its weather are needed", where="source")
    return [Weather(source, said)]


SOURCE = Source(
    name="weather",
    parse=parse,
    topics=("weather",),
    description="weather at observing sites, for the plans (JSON)",
    is_bulk=True,
)


def build(options: Options) -> Feed:
    """The feed. Options: ``url``; ``every_s`` (300).

    Raises
    ------
    ConfigError
        No address, one that is not https, or a pause that is none.
    """
    url = str(options.get("url", ""))
    parts = urlsplit(url)
    base = checked_base(urlunsplit((*parts[:3], "", parts.fragment)), "weather: url")
    every_s = float(options.get("every_s", _EVERY_S))
    if not every_s > 0:
        raise ConfigError(f"weather: every_s: {every_s!r} is not positive")
    params = tuple(parse_qsl(parts.query, keep_blank_values=True))

    def request(cursor: Cursor, now: datetime) -> Request:
        validators = cursor.get("validators")
        return Request(
            url=base,
            topic="weather",
            params=params,
            headers=dict(validators) if isinstance(validators, Mapping) else {},
            readable=frozenset({200, 304}),
            max_bytes=_MAX_BYTES,
        )

    def read(answer: Answer, cursor: Cursor, now: datetime) -> Page:
        if answer.status == 304:
            return Page((), cursor)
        try:
            said = json.loads(answer.body)
        except ValueError as error:
            raise BadNotice(f"not JSON: {error}", where="weather") from None
        weather = Weather(url, said)  # before anything is kept: what cannot be read changes nothing
        digest = hashlib.sha256(answer.body).hexdigest()
        further = {"sha256": digest, "validators": dict(answer.validators)}
        if cursor.get("sha256") == digest:
            return Page((), further)
        # With the time: weather that comes back is news, and equal bytes would be a redelivery.
        wrapped = {"source": url, "obtained_at": now.isoformat(), "weather": weather.said}
        return Page((json.dumps(wrapped).encode(),), further)

    return Feed(
        broker=str(parts.hostname),
        start=lambda now: {},
        request=request,
        read=read,
        poll_s=every_s,
    )
