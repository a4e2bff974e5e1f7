"""The Transient Name Server: its staged CSV files, and one object on demand.

TNS stages a file with the whole catalogue each day, one per day with what changed in it (kept
for some weeks) and one per hour (overwritten each day); it asks that lists be matched against
these and not by many searches. All of them are a zip with one CSV: a line with the time that it
covers, a header, one row an object. The feed takes the daily files of past days and the hourly
ones of today; the whole catalogue is read once from a local copy (``mmcoord tns-seed``).

A payload is a header line and some rows. An entry is known by ``objid``: names get another
prefix with the classification, positions are refined. Times are UTC, positions degrees.
Sources: TNS' help page "Daily CSV staging"; "TNS APIs" for the object on demand.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from listeners.base import Source
from listeners.fields import MAX_PAYLOAD_BYTES, json_object, mapping, shown
from mmcoord.errors import BadCandidate, BadInput, BadNotice
from mmcoord.records import KnownTransient
from mmcoord.timescales import mjd_tai

__all__ = ["CATALOGUE", "NEEDED", "SOURCE", "chunks", "is_header", "parse", "parse_object"]

CATALOGUE = "tns"
NEEDED = frozenset({"objid", "name", "ra", "declination"})
"""Columns without which a table is no list of TNS objects."""
_ROWS = 100
_MAX_LINE = 100_000
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_KEPT = ("reporting_group", "source_group", "discoverymag", "filter", "reporters", "creationdate")
_YEARS = (1000, 2132)


def parse(payload: bytes) -> list[KnownTransient]:
    """A header line and rows of a staged file, or one object as the API answers it (JSON).

    Raises
    ------
    BadInput
        With the row and the column at fault.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise BadNotice(f"{len(payload)} bytes, more than {MAX_PAYLOAD_BYTES}", where="payload")
    if payload.lstrip()[:1] == b"{":
        return [parse_object(json_object(payload))]
    try:
        lines = payload.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise BadNotice(f"not UTF-8 at byte {error.start}", where="payload") from None
    header = _cells(lines[0], "header")
    if not set(header) >= NEEDED or len(set(header)) != len(header):
        raise BadNotice(f"not the columns of TNS: {shown(lines[0])}", where="header")
    return [
        _row(header, _cells(line, f"row {number}"), f"row {number}")
        for number, line in enumerate(lines[1:], start=1)
        if line.strip()
    ]


SOURCE = Source(
    name="tns",
    parse=parse,
    topics=("tns_public_objects",),
    description="objects of the Transient Name Server (staged CSV, API)",
    is_bulk=True,
)


def is_header(line: str) -> bool:
    """Whether a line of a file is the header of a TNS table."""
    try:
        return set(_cells(line.rstrip("\r\n"), "header")) >= NEEDED
    except BadInput:
        return False


def chunks(lines: Iterable[str], rows: int = _ROWS) -> Iterator[bytes]:
    """Payloads of a staged file, read line by line: the line before the header is left out.

    A row that cannot be read goes alone, so that it takes no other with it.

    Raises
    ------
    BadNotice
        The first lines hold no header of TNS.
    """
    cleaned = (_UNSTORABLE.sub("\ufffd", line.rstrip("\r\n")) for line in lines)
    head = _header(cleaned)
    held: list[str] = []
    for line in cleaned:
        if not line.strip():
            continue
        if not _is_good(head, line):
            yield f"{head}\n{line}".encode()
            continue
        held.append(line)
        if len(held) == rows:
            yield "\n".join([head, *held]).encode()
            held = []
    if held:
        yield "\n".join([head, *held]).encode()


def _header(lines: Iterator[str]) -> str:
    for _, line in zip(range(5), lines, strict=False):
        if is_header(line):
            return line
    raise BadNotice("no header with objid, name, ra and declination", where="file")


def _is_good(head: str, line: str) -> bool:
    try:
        parse(f"{head}\n{line}".encode())
    except BadInput:
        return False
    return True


def _cells(line: str, where: str) -> list[str]:
    if len(line) > _MAX_LINE:
        raise BadNotice(f"a line of {len(line)} characters", where=where)
    try:
        return [cell.strip() for cell in next(csv.reader([line], strict=True), [])]
    except csv.Error as error:
        raise BadNotice(f"not a CSV row: {error}", where=where) from None


def _row(header: list[str], cells: list[str], where: str) -> KnownTransient:
    if len(cells) != len(header):
        raise BadNotice(f"{len(cells)} columns, the header has {len(header)}", where=where)
    row = dict(zip(header, cells, strict=True))
    prefix, name = row.get("name_prefix", ""), row["name"]
    if not name or not row["objid"]:
        raise BadCandidate("no name or no objid", where=where)
    return KnownTransient(
        catalogue=CATALOGUE,
        identifier=_text(row["objid"], f"{where}: objid"),
        name=_text(f"{prefix} {name}".strip(), f"{where}: name"),
        ra_deg=_needed(row["ra"], f"{where}: ra"),
        dec_deg=_needed(row["declination"], f"{where}: declination"),
        names=_names(row.get("internal_names", "")),
        classification=row.get("type") or None,
        redshift=_redshift(row.get("redshift", ""), f"{where}: redshift"),
        discovered_mjd_tai=_mjd(row.get("discoverydate", ""), f"{where}: discoverydate"),
        modified_at=_time(row.get("lastmodified", ""), f"{where}: lastmodified"),
        attributes={key: row[key] for key in _KEPT if row.get(key)},
    )


def parse_object(document: Mapping[str, Any]) -> KnownTransient:
    """One object as ``api/get/object`` answers; ``data`` may hold a ``reply`` around it.

    It is as new as ``asked_at`` where TNS gives no ``lastmodified``.

    Raises
    ------
    BadInput
        No object in it, or a field at fault.
    """
    data = mapping(document.get("data"), "data")
    reply = mapping(data.get("reply", data), "data.reply")
    kind = reply.get("object_type")
    host = reply.get("hostname")
    return KnownTransient(
        catalogue=CATALOGUE,
        identifier=_plain(reply.get("objid"), "objid"),
        name=" ".join(
            part
            for part in (
                _plain(reply.get("name_prefix") or "", "name_prefix"),
                _plain(reply.get("objname"), "objname"),
            )
            if part
        ),
        ra_deg=_needed(str(reply.get("radeg")), "radeg"),
        dec_deg=_needed(str(reply.get("decdeg")), "decdeg"),
        names=_names(_plain(reply.get("internal_names") or "", "internal_names")),
        classification=_plain(mapping(kind, "object_type").get("name") or "", "object_type") or None
        if kind is not None
        else None,
        redshift=_redshift(_plain(reply.get("redshift") or "", "redshift"), "redshift"),
        discovered_mjd_tai=_mjd(_plain(reply.get("discoverydate") or "", "date"), "discoverydate"),
        host=_plain(host, "hostname") if host else None,
        modified_at=_time(
            _plain(reply.get("lastmodified") or document.get("asked_at") or "", "date"), "date"
        ),
    )


def _plain(value: object, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise BadNotice(f"text or a number is needed, not {shown(value)}", where=where)
    if isinstance(value, int) and abs(value) >= 2**63:
        raise BadNotice("a huge integer", where=where)
    return _text(str(value), where)


def _text(value: str, where: str) -> str:
    if _UNSTORABLE.search(value) or len(value) > 1000:
        raise BadNotice(f"not storable as text: {shown(value)}", where=where)
    return value


def _needed(text: str, where: str) -> float:
    number = _number(text, where)
    if number is None:
        raise BadCandidate("empty", where=where)
    return number


def _number(text: str, where: str) -> float | None:
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or not text.isascii():
        raise BadCandidate(f"{shown(text)} is not a number", where=where)
    return float(text)


def _redshift(text: str, where: str) -> float | None:
    redshift = _number(text, where)
    if redshift is not None and not -0.01 < redshift < 20.0:
        raise BadCandidate(f"{redshift!r} is not a redshift", where=where)
    return redshift


def _time(text: str, where: str) -> datetime | None:
    """``2023-05-19 17:27:15[.123]``, UTC; zeros are "not known"."""
    if not text or text.startswith("0000"):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadCandidate(f"{shown(text)} is no date and time", where=where) from None
    if not _YEARS[0] <= moment.year < _YEARS[1]:
        raise BadCandidate(f"{shown(text)} is no date of a transient", where=where)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _mjd(text: str, where: str) -> float | None:
    moment = _time(text, where)
    return mjd_tai(moment) if moment is not None else None


def _names(text: str) -> tuple[str, ...]:
    found = (_UNSTORABLE.sub("\ufffd", name.strip()) for name in text.split(","))
    return tuple(dict.fromkeys(name[:256] for name in found if name))[:50]
