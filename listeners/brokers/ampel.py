"""AMPEL's archive of LSST alerts: polled in windows of observation time.

``POST display/alerts/query`` (Ampel-LSST-archive) takes a condition in SQL and a limit and
answers a list of alerts with Rubin's fields. The limit is applied before any order, so that pages
by order would lose alerts: a window that reaches the limit is halved and asked again instead.
The archive fills a while after the exposure; windows end ``settle_minutes`` before now.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from listeners.base import Source
from listeners.brokers import lsst_json
from listeners.feed import Cursor, Feed, Options, Page
from listeners.fields import shown
from listeners.http import Answer, Request, checked_base
from listeners.vetoes import NO_VETOES, Vetoes
from mmcoord.errors import BadNotice
from mmcoord.records import Candidate, Photometry, Vetoed
from mmcoord.timescales import mjd_tai

__all__ = ["SOURCE", "build", "parse", "sift"]

_BASE = "https://lsst-archive.ampel.zeuthen.desy.de/api/lsst/archive/v1"
_COLUMNS = ("diaSourceId", "diaSource", "prvDiaSources", "prvDiaForcedSources", "diaObject")
_SHORTEST_DAY = 1.0 / 86400.0
_LONGEST_DAY = 0.25
_FIRST_DAY = 0.02


def parse(payload: bytes) -> list[Candidate | Photometry] | list[Vetoed]:
    """One alert, kept whatever the vetoes would say.

    Raises
    ------
    BadInput
        With the field at fault.
    """
    return sift(payload, NO_VETOES)


def sift(payload: bytes, vetoes: Vetoes) -> list[Candidate | Photometry] | list[Vetoed]:
    """As :func:`parse`, with our vetoes."""
    return lsst_json.sift_as(payload, "ampel", vetoes)


SOURCE = Source(
    name="ampel",
    parse=parse,
    sift=sift,
    topics=("alerts",),
    description="LSST alerts from AMPEL's archive (JSON over HTTP)",
    is_bulk=True,
)


def build(options: Options) -> Feed:
    """The feed. Options: ``url``, ``token``, ``condition``, ``settle_minutes``, ``first_days``,
    ``limit``.

    ``condition`` is SQL over Rubin's fields: ``diaSource.reliability > 0.5``.

    Raises
    ------
    ConfigError
        A bad address.
    """
    base = checked_base(str(options.get("url", _BASE)), "ampel: url")
    token = str(options.get("token") or "")
    wanted = str(options.get("condition", "diaSource.reliability > 0.5"))
    settle_day = float(options.get("settle_minutes", 30.0)) / 1440.0
    first_days = float(options.get("first_days", 1.0))
    limit = int(options.get("limit", 200))

    def request(cursor: Cursor, now: datetime) -> Request | None:
        begin, width = float(cursor["from"]), float(cursor["width"])
        end = min(begin + width, mjd_tai(now) - settle_day)
        if end - begin < _SHORTEST_DAY:
            return None
        when = f"diaSource.midpointMjdTai >= {begin!r} AND diaSource.midpointMjdTai < {end!r}"
        return Request(
            url=f"{base}/display/alerts/query",
            topic="alerts",
            headers={"Authorization": f"Bearer {token}"} if token else {},
            json={
                "include": list(_COLUMNS),
                "condition": f"{when} AND ({wanted})" if wanted else when,
                "limit": limit,
            },
            max_bytes=128 * 2**20,
            timeout_s=300.0,
            memo=(begin, end),
        )

    def read(answer: Answer, cursor: Cursor, now: datetime) -> Page:
        begin, end = answer.memo
        alerts = _alerts(answer.body)
        width = end - begin
        if len(alerts) >= limit and width > 2 * _SHORTEST_DAY:
            return Page((), _place(begin, width / 2), more=True)
        note = ""
        if len(alerts) >= limit:
            note = f"more than {limit} alerts in a second at MJD {begin:.6f}: some are left out"
        payloads = [json.dumps(alert, sort_keys=True).encode() for alert in alerts]
        wider = min(2 * width, _LONGEST_DAY) if len(alerts) < limit / 3 else width
        return Page(payloads, _place(end, max(wider, _SHORTEST_DAY)), more=True, note=note)

    return Feed(
        broker=str(urlsplit(base).hostname),
        start=lambda now: _place(mjd_tai(now) - settle_day - first_days, _FIRST_DAY),
        request=request,
        read=read,
        skip=lambda cursor, now: _place(
            float(cursor["from"]) + float(cursor["width"]), float(cursor["width"])
        ),
        poll_s=120.0,
    )


def _place(begin: float, width: float) -> Cursor:
    return {"from": begin, "width": width}


def _alerts(body: bytes) -> list[Any]:
    try:
        alerts = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadNotice(f"not JSON: {type(error).__name__}", where="answer") from None
    if not isinstance(alerts, list):
        raise BadNotice(f"a list is needed, not {shown(alerts)}", where="answer")
    return alerts
