"""Which file of the Transient Name Server to take next, and one object on demand.

The place is two times: the days before ``until`` are stored by their daily files, and the hours
of today before ``hour`` by the hourly ones. When a day is over its daily file is taken as well,
which heals whatever was missing among the hours. The name of an hourly file does not say its
day, so that the first line of the file is compared with the day that is wanted: a file left over
from yesterday is asked for again later.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx

from listeners import tns
from listeners.feed import Cursor, Feed, Options, Page
from listeners.fields import json_object, mapping
from listeners.http import Answer, Request, checked_base, fetch
from mmcoord.errors import BadInput, BadNotice, ConfigError

__all__ = ["build", "lines_of_zip", "look_up", "marker", "search"]

_BASE = "https://www.wis-tns.org"
_OLDEST_DAY = 28
"""Daily files are kept for a month at most."""
_SETTLED = timedelta(minutes=10)
"""After its hour or day is over a file needs so long to be there."""
_MAX_CSV_BYTES = 128 * 2**20
"""Of one daily file; the whole catalogue is about 60 MB."""
_GIVEN_UP = timedelta(hours=3)
"""A file that is not there so long after its time will not come."""
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_STAGED_LATER = frozenset({404})


@dataclass(frozen=True, slots=True)
class _File:
    """A staged file and the time that it covers."""

    name: str
    begin: datetime
    end: datetime
    is_daily: bool

    def place_after(self, cursor: Cursor) -> Cursor:
        """The place once this file is stored."""
        key = "until" if self.is_daily else "hour"
        return {**cursor, key: self.end.isoformat()}


def marker(bot_id: str, bot_name: str, kind: str = "bot") -> str:
    """The User-Agent by which TNS knows who asks.

    Raises
    ------
    ConfigError
        The id is no number, or the name is empty or holds a quotation mark.
    """
    if not bot_id.isascii() or not bot_id.isdigit() or not bot_name or '"' in bot_name:
        raise ConfigError(
            "tns: bot_id (a number) and bot_name are needed (https://www.wis-tns.org)"
        )
    return f'tns_marker{{"tns_id":{bot_id},"type":"{kind}","name":"{bot_name}"}}'


def build(options: Options) -> Feed:
    """The feed of staged files. Options: ``bot_id``, ``bot_name``, ``api_key``, ``url``.

    Raises
    ------
    ConfigError
        A missing credential or a bad address.
    """
    base = checked_base(str(options.get("url", _BASE)), "tns: url")
    headers, key = _login(options)

    def request(cursor: Cursor, now: datetime) -> Request | None:
        wanted = _next_file(cursor, now)
        if wanted is None:
            return None
        return Request(
            url=f"{base}/system/files/tns_public_objects/{wanted.name}",
            topic="tns_public_objects",
            headers=headers,
            form={"api_key": key},
            readable=frozenset({200}) | _STAGED_LATER,
            max_bytes=64 * 2**20,
            timeout_s=300.0,
            memo=wanted,
        )

    def skip(cursor: Cursor, now: datetime) -> Cursor:
        wanted = _next_file(cursor, now)
        return cursor if wanted is None else wanted.place_after(cursor)

    return Feed(
        broker=str(urlsplit(base).hostname),
        start=_start,
        request=request,
        read=_read,
        skip=skip,
        poll_s=300.0,
    )


def look_up(client: httpx.Client, options: Options, name: str, now: datetime) -> bytes:
    """Ask TNS for one object now, by its name (``2023ixf``, ``SN 2023ixf``).

    For a person who asks, not for the stream: the quota is small and TNS wants lists to be
    matched locally. The answer is a payload for :func:`listeners.tns.parse`, with the time at
    which it was asked for, because TNS' answer does not say how new it is.

    Raises
    ------
    ServiceError
        No usable answer; ``wait_s`` where the quota is used up.
    BadInput
        TNS knows no such object, or answers something else.
    """
    base = checked_base(str(options.get("url", _BASE)), "tns: url")
    headers, key = _login(options)
    bare = re.sub(r"^(AT|SN|TDE|FRB)\s*(?=\d{4})", "", name.strip(), flags=re.IGNORECASE)
    question = {"objname": bare, "objid": "", "photometry": "0", "spectra": "0"}
    asked = Request(
        url=f"{base}/api/get/object",
        topic="object",
        headers=headers,
        form={"api_key": key, "data": json.dumps(question)},
    )
    document = json_object(fetch(client, asked).body)
    payload = json.dumps({**document, "asked_at": now.isoformat()}, sort_keys=True).encode()
    tns.parse(payload)  # what is no object is refused here, in front of the person
    return payload


def search(
    client: httpx.Client, options: Options, ra_deg: float, dec_deg: float, radius_arcsec: float
) -> list[str]:
    """Names of the objects around a position, by TNS' own search; see :func:`look_up`."""
    base = checked_base(str(options.get("url", _BASE)), "tns: url")
    headers, key = _login(options)
    question = {
        "ra": f"{ra_deg:.7f}",
        "dec": f"{dec_deg:.7f}",
        "radius": f"{radius_arcsec:g}",
        "units": "arcsec",
    }
    asked = Request(
        url=f"{base}/api/get/search",
        topic="search",
        headers=headers,
        form={"api_key": key, "data": json.dumps(question)},
    )
    document = json_object(fetch(client, asked).body)
    data = document.get("data")
    found = data.get("reply") if isinstance(data, Mapping) else data
    if not isinstance(found, list):
        raise BadNotice("a list of objects is needed", where="data")
    items = [mapping(item, "data") for item in found]
    return [
        " ".join(str(item.get(key) or "") for key in ("prefix", "objname")).strip()[:256]
        for item in items
    ]


def lines_of_zip(content: bytes, max_bytes: int = _MAX_CSV_BYTES) -> Iterator[str]:
    """Lines of the one CSV in a zip, inflated bit by bit and never beyond ``max_bytes``.

    Raises
    ------
    BadNotice
        No zip, not exactly one CSV, another method than deflate, or too much.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            tables = [one for one in archive.infolist() if one.filename.lower().endswith(".csv")]
            if len(tables) != 1:
                raise BadNotice(f"{len(tables)} tables in it", where="zip")
            if tables[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise BadNotice("packed by another method than deflate", where="zip")
            with archive.open(tables[0]) as packed:
                left = max_bytes
                while line := packed.readline(min(left, 2**20) + 1):
                    left -= len(line)
                    if left < 0:
                        raise BadNotice(f"inflates to more than {max_bytes} bytes", where="zip")
                    yield line.decode("utf-8", "replace")
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError) as error:
        raise BadNotice(f"cannot be unpacked: {type(error).__name__}", where="zip") from None


# -- the place -----------------------------------------------------------------------------


def _login(options: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    key = str(options.get("api_key") or "")
    if not key:
        raise ConfigError("tns: api_key_env or api_key_file is needed")
    agent = marker(str(options.get("bot_id", "")), str(options.get("bot_name", "")))
    return {"User-Agent": agent}, key


def _start(now: datetime) -> Cursor:
    yesterday = _midnight(now) - timedelta(days=1)
    return {"until": yesterday.isoformat(), "hour": yesterday.isoformat()}


def _time(cursor: Cursor, key: str) -> datetime:
    return datetime.fromisoformat(str(cursor[key])).astimezone(UTC)


def _midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _next_file(cursor: Cursor, now: datetime) -> _File | None:
    """The file to take next; None while it cannot be staged yet."""
    today = _midnight(now)
    day = max(_midnight(_time(cursor, "until")), today - timedelta(days=_OLDEST_DAY))
    hour = max(day, _time(cursor, "hour"))
    if day < today and today + _SETTLED <= now:
        name = f"tns_public_objects_{day:%Y%m%d}.csv.zip"
        return _File(name, day, day + timedelta(days=1), is_daily=True)
    end = hour + timedelta(hours=1)
    if end + _SETTLED > now:
        return None
    return _File(f"tns_public_objects_{hour:%H}.csv.zip", hour, end, is_daily=False)


def _read(answer: Answer, cursor: Cursor, now: datetime) -> Page:
    wanted = answer.memo
    assert isinstance(wanted, _File)
    further = wanted.place_after(cursor)
    if answer.status in _STAGED_LATER:
        if now - wanted.end < _GIVEN_UP:
            return Page((), cursor, note=f"TNS has no file for {wanted.begin:%Y-%m-%d %H:%M} yet")
        note = f"TNS has no file for {wanted.begin:%Y-%m-%d %H:%M}: its changes are missing"
        return Page((), further, more=True, note=note)
    lines = lines_of_zip(answer.body)
    days = {f"{wanted.begin:%Y-%m-%d}"}
    if not wanted.is_daily:  # the last hour is staged after midnight
        days.add(f"{wanted.end:%Y-%m-%d}")
    stated = _DATE.search(next(lines, ""))
    if stated and stated.group() not in days:
        note = f"TNS' file is of {stated.group()}, not of {wanted.begin:%Y-%m-%d}; asked again"
        return Page((), cursor, note=note)
    until, note = _time(cursor, "until"), ""
    if wanted.is_daily and wanted.begin > until:
        note = f"nothing of {until:%Y-%m-%d} to {wanted.begin:%Y-%m-%d} is staged now; seed anew"
    return Page(_payloads(lines), further, more=True, note=note)


def _payloads(lines: Iterator[str]) -> list[bytes]:
    """All payloads; a file with its first line alone says that nothing changed."""
    try:
        return list(tns.chunks(lines))
    except BadInput as error:
        if "no header" in str(error) and next(lines, None) is None:
            return []
        raise
