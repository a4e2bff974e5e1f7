"""YSE-PZ: transients of the Young Supernova Experiment's (or another group's) server.

``api/transients/`` of its Django REST framework, polled by date of modification
(``modified_date_gte``), page by page. Related objects (status, host, tags) are addresses, not
values, and are kept as they are. Data there may be private to a group: what is read here is
shown to everybody who may see mmcoord's page.

Fields as in ``TransientSerializer`` (davecoulter/YSE_PZ): ``name``, ``ra``, ``dec`` in degrees,
``disc_date``, ``redshift``, ``redshift_err``, ``TNS_spec_class``, ``mw_ebv``,
``modified_date``.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from listeners.base import Source
from listeners.feed import Cursor, Feed, Options, Page
from listeners.fields import finite, json_object, json_value, shown, text, utc
from listeners.http import Answer, Request, checked_base
from mmcoord.errors import BadCandidate, BadNotice, ConfigError
from mmcoord.records import KnownTransient
from mmcoord.timescales import mjd_tai

__all__ = ["SOURCE", "build", "parse"]

_BASE = "https://ziggy.ucolick.org/yse"
_PAGE = 100
_FIRST_DAYS = 30
_NUMBER = re.compile(r"/(\d{1,18})/?$")
_KEPT = (
    "status",
    "host",
    "tags",
    "obs_group",
    "mw_ebv",
    "non_detect_date",
    "non_detect_limit",
    "redshift_source",
    "internal_survey",
)


def parse(payload: bytes) -> list[KnownTransient]:
    """One transient.

    Raises
    ------
    BadInput
        With the field at fault.
    """
    given = json_object(payload)
    name = text(given.get("name"), "name")
    discovered, modified = given.get("disc_date"), given.get("modified_date")
    spectral = given.get("TNS_spec_class")
    redshift = _optional(given, "redshift")
    if redshift is not None and not -0.01 < redshift < 20.0:
        raise BadCandidate(f"{redshift!r} is not a redshift", where="redshift")
    kept: Mapping[str, Any] = json_value({key: given.get(key) for key in _KEPT})
    return [
        KnownTransient(
            catalogue="ysepz",
            identifier=_identifier(given, name),
            name=name,
            ra_deg=finite(given.get("ra"), "ra"),
            dec_deg=finite(given.get("dec"), "dec"),
            names=(),
            classification=text(spectral, "TNS_spec_class") if spectral else None,
            redshift=redshift,
            redshift_err=_optional(given, "redshift_err"),
            discovered_mjd_tai=mjd_tai(utc(discovered, "disc_date")) if discovered else None,
            modified_at=utc(modified, "modified_date") if modified else None,
            attributes={key: value for key, value in kept.items() if value not in (None, [], "")},
        )
    ]


SOURCE = Source(
    name="ysepz",
    parse=parse,
    topics=("transients",),
    description="transients of a YSE-PZ server (JSON)",
    is_bulk=True,
)


def build(options: Options) -> Feed:
    """The feed. Options: ``url``, ``username``, ``password``, ``first_days``.

    Raises
    ------
    ConfigError
        No login, or a bad address.
    """
    base = checked_base(str(options.get("url", _BASE)), "ysepz: url")
    user, password = str(options.get("username") or ""), str(options.get("password") or "")
    if not user or not password:
        raise ConfigError("ysepz: username and password_env or password_file are needed")
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    first_days = float(options.get("first_days", _FIRST_DAYS))

    def request(cursor: Cursor, now: datetime) -> Request | None:
        return Request(
            url=f"{base}/api/transients/",
            topic="transients",
            params=(
                ("modified_date_gte", str(cursor["since"])),
                ("limit", str(_PAGE)),
                ("offset", str(int(cursor["offset"]))),
                ("format", "json"),
            ),
            headers={"Authorization": f"Basic {login}"},
        )

    return Feed(
        broker=str(urlsplit(base).hostname),
        start=lambda now: _place((now - timedelta(days=first_days)).isoformat(), 0, ""),
        request=request,
        read=_read,
        poll_s=300.0,
    )


def _place(since: str, offset: int, newest: str) -> Cursor:
    return {"since": since, "offset": offset, "newest": newest}


def _read(answer: Answer, cursor: Cursor, now: datetime) -> Page:
    """One page. The set only grows while it is paged: a change makes its date later."""
    document = json_object(answer.body)
    results = document.get("results")
    if not isinstance(results, list):
        raise BadNotice(f"a list is needed, not {shown(results)}", where="results")
    newest = str(cursor["newest"])
    for item in results:
        date = item.get("modified_date") if isinstance(item, dict) else None
        newest = max(newest, str(date or ""))
    payloads = [json.dumps(item, sort_keys=True).encode() for item in results]
    if document.get("next") and results:
        further = _place(str(cursor["since"]), int(cursor["offset"]) + len(results), newest)
        return Page(payloads, further, more=True)
    since = newest if _is_past(newest, now) else str(cursor["since"])
    return Page(payloads, _place(since, 0, ""))


def _is_past(newest: str, now: datetime) -> bool:
    """A date from the future would keep everything out until then."""
    try:
        return utc(newest, "modified_date") <= now
    except BadNotice:
        return False


def _identifier(given: Mapping[str, Any], name: str) -> str:
    """The number at the end of its address; without an address its name."""
    number = given.get("id")
    if isinstance(number, int) and not isinstance(number, bool) and 0 < number < 2**63:
        return str(number)
    address = given.get("url")
    found = _NUMBER.search(address) if isinstance(address, str) else None
    return found.group(1) if found else name[:256]


def _optional(given: Mapping[str, Any], key: str) -> float | None:
    return None if given.get(key) is None else finite(given[key], key)
