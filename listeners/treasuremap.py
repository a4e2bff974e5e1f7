"""Pointings of other groups from the Gravitational Wave Treasure Map.

``GET /api/v1/pointings``; two questions in turn, what is completed and what is planned since
``since``. Fields as in ``PointingSchema`` (github.com/TheTreasureMap/gwtm,
``server/schemas/pointing.py``): ``id``, ``position`` (``POINT (ra dec)``), ``time``, ``status``,
``band``, ``depth``, ``depth_unit``, ``instrumentid``, ``instrument_name``, ``username``.

The field of an instrument is not in a pointing, so that ``radius_deg`` stays unknown unless the
operator states it by instrument (option ``fields_deg``). Pointings in X-rays, gamma rays, the
ultraviolet and radio make no optical observation superfluous and are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from listeners.base import Source
from listeners.feed import Cursor, Feed, Options, Page
from listeners.fields import finite, json_object, shown, text, utc
from listeners.http import Answer, Request, checked_base
from mmcoord.elsewhere import Elsewhere, ElsewhereStatus
from mmcoord.errors import BadNotice, ConfigError
from mmcoord.timescales import mjd_tai

__all__ = ["SOURCE", "build", "parse"]

_BASE = "https://treasuremap.space"
_FIRST_DAYS = 3
_OVERLAP = timedelta(hours=12)
"""Pointings are reported late; known ones cost nothing."""
_POINT = re.compile(r"POINT\s*\(\s*([-+0-9.eE]+)\s+([-+0-9.eE]+)\s*\)")
_BANDS: Mapping[str, str] = {
    **{letter: f"sdss:{letter}" for letter in "ugriz"},
    **{letter: f"bessell:{letter.lower()}" for letter in "UBVRI"},
    "J": "2mass:j",
    "H": "2mass:h",
    "K": "2mass:ks",
}
_NOT_OPTICAL = frozenset(
    {"UVW1", "UVW2", "UVM2", "XRT", "UHF", "VHF", "L", "S", "C", "X", "BAT", "HESS", "WISEL"}
)
_STATUS: Mapping[object, ElsewhereStatus] = {
    "planned": "planned",
    "completed": "completed",
    "cancelled": "cancelled",
}


def parse(payload: bytes) -> list[Elsewhere]:
    """One pointing; none where it is not optical or infrared.

    Raises
    ------
    BadInput
        With the field at fault.
    """
    given = json_object(payload)
    status = _STATUS.get(given.get("status"))
    if status is None:
        raise BadNotice(f"{shown(given.get('status'))} is no status of a pointing", where="status")
    band = given.get("band")
    if band in _NOT_OPTICAL:
        return []
    ra, dec = _position(given)
    depth = given.get("depth")
    in_ab = given.get("depth_unit") == "ab_mag" and depth is not None
    who = given.get("instrument_name") or f"instrument {given.get('instrumentid')}"
    radius = given.get("field_radius_deg")
    return [
        Elsewhere(
            source="treasuremap",
            key=str(_whole(given.get("id"), "id")),
            who=text(who, "instrument_name")[:200],
            status=status,
            obs_mjd_tai=mjd_tai(utc(given.get("time"), "time")),
            ra_deg=ra % 360.0,
            dec_deg=dec,
            band=_BANDS.get(band) if isinstance(band, str) else None,
            depth_mag=finite(depth, "depth") if in_ab else None,
            radius_deg=None if radius is None else finite(radius, "field_radius_deg"),
        )
    ]


SOURCE = Source(
    name="treasuremap",
    parse=parse,
    topics=("pointings",),
    description="pointings of other groups from the Treasure Map (JSON)",
    is_bulk=True,
)


def build(options: Options) -> Feed:
    """The feed. Options: ``api_token`` (as ``token_env`` or ``token_file``), ``url``,
    ``first_days``, ``fields_deg`` (instrument id -> radius of its field).

    Raises
    ------
    ConfigError
        No token, a bad address, or fields that are no radii.
    """
    base = checked_base(str(options.get("url", _BASE)), "treasuremap: url")
    token = str(options.get("token") or "")
    if not token:
        raise ConfigError(
            "treasuremap: token_env or token_file is needed (https://treasuremap.space)"
        )
    first_days = float(options.get("first_days", _FIRST_DAYS))
    fields_deg = _fields(options.get("fields_deg", {}))

    def request(cursor: Cursor, now: datetime) -> Request | None:
        status = str(cursor["status"])
        return Request(
            url=f"{base}/api/v1/pointings",
            topic="pointings",
            params=((f"{status}_after", str(cursor["since"])),),
            headers={"api_token": token},
        )

    def read(answer: Answer, cursor: Cursor, now: datetime) -> Page:
        return _page(answer, cursor, now, fields_deg)

    return Feed(
        broker=str(urlsplit(base).hostname),
        start=lambda now: _place("completed", (now - timedelta(days=first_days))),
        request=request,
        read=read,
        poll_s=300.0,
    )


def _place(status: str, since: datetime) -> Cursor:
    return {"status": status, "since": since.strftime("%Y-%m-%dT%H:%M:%S")}


def _page(answer: Answer, cursor: Cursor, now: datetime, fields_deg: Mapping[str, float]) -> Page:
    try:
        pointings = json.loads(answer.body)
    except ValueError as error:
        raise BadNotice(f"not JSON: {error}", where="pointings") from None
    if not isinstance(pointings, list):
        raise BadNotice(f"a list is needed, not {shown(pointings)}", where="pointings")
    payloads = []
    for pointing in pointings:
        if isinstance(pointing, dict):
            radius = fields_deg.get(str(pointing.get("instrumentid")))
            pointing = pointing if radius is None else pointing | {"field_radius_deg": radius}
        payloads.append(json.dumps(pointing, sort_keys=True).encode())
    since = datetime.fromisoformat(str(cursor["since"]))
    if cursor["status"] == "completed":
        return Page(payloads, _place("planned", since), more=True)
    onward = max(since, (now - _OVERLAP).replace(tzinfo=None))
    return Page(payloads, _place("completed", onward))


def _fields(given: object) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise ConfigError("treasuremap: fields_deg: a table of instrument id = radius is needed")
    found = {}
    for instrument, radius in given.items():
        if isinstance(radius, bool) or not isinstance(radius, int | float) or not 0 < radius <= 90:
            raise ConfigError(f"treasuremap: fields_deg.{instrument}: {radius!r} is no radius")
        found[str(instrument)] = float(radius)
    return found


def _position(given: Mapping[str, Any]) -> tuple[float, float]:
    if given.get("ra") is not None and given.get("dec") is not None:
        return finite(given["ra"], "ra"), finite(given["dec"], "dec")
    found = _POINT.fullmatch(text(given.get("position"), "position").strip())
    if found is None:
        raise BadNotice(f"{shown(given['position'])} is not POINT (ra dec)", where="position")
    try:
        return float(found[1]), float(found[2])
    except ValueError:
        raise BadNotice(f"{shown(given['position'])} holds no numbers", where="position") from None


def _whole(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 10**18:
        raise BadNotice(f"a whole number is needed, not {shown(value)}", where=where)
    return value
