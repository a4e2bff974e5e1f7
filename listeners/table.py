"""Candidates and photometry from CSV tables: one row is one payload.

A payload is a UTF-8 JSON object, column name -> text exactly as read. So a row is stored,
parsed, refused and replayed like a notice from a stream, and a bad row costs only itself.

Columns of candidates: ``id, ra, dec`` in degrees; optionally ``z`` or ``redshift`` with
``z_err``, ``distance_mpc`` with ``distance_err_mpc``, ``ebv_mw``, ``position_error_arcsec``,
``source`` and ``is_practice``; the rest goes to :attr:`Candidate.attributes` as text.

Columns of photometry: ``id, mjd, band, mag, mag_err``, with MJD in UTC and AB magnitudes.
``mag_err`` empty or ``inf`` marks an upper limit. ``obs_mjd_tai`` may stand instead of
``mjd`` and is then taken as it is. With ``withdrawn`` true the row takes back what was said of
``id, mjd, band`` before; ``reason`` may say why, magnitudes are not read.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from listeners.base import Source
from listeners.fields import json_object, shown, text
from mmcoord.bands import canonical
from mmcoord.errors import BadCandidate, BadInput, BadPhotometry
from mmcoord.records import Candidate, Photometry, Withdrawal
from mmcoord.timescales import utc_mjd_to_tai

__all__ = [
    "CANDIDATES",
    "PHOTOMETRY",
    "parse_candidate",
    "parse_photometry",
    "rows",
]

_FAULT = "#fault"
"""Key of a row that could not be cut into its columns; no column may be called so."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_INFINITE = frozenset({"inf", "+inf", "infinity"})
_FIRST_MJD, _LAST_MJD = 41317.0, 100000.0
"""1972-01-01, the start of leap seconds, and 2132: a JD taken for an MJD is far outside."""

_CANDIDATE_COLUMNS = frozenset(
    {"id", "ra", "dec", "z", "redshift", "z_err", "redshift_err", "ebv_mw"}
    | {"position_error_arcsec", "source", "is_practice"}
)
_NUMERIC_ATTRIBUTES = frozenset({"distance_mpc", "distance_err_mpc"})


def rows(path: Path) -> Iterator[tuple[int, bytes]]:
    """Rows of a CSV file with a header line, as payloads.

    Parameters
    ----------
    path
        The file. Read line by line: a row is one line, so that a stray quotation mark
        cannot swallow the rows after it. Empty lines are skipped.

    Yields
    ------
    (line number, payload)
        In a line that does not fit the header the payload says so, and parsing it fails
        with that sentence; reading goes on.
    """
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as lines:
        header: list[str] | None = None
        for number, line in enumerate(lines, start=1):
            line = line.rstrip("\r\n")
            if not line.strip():
                continue
            cells, fault = _cells(line)
            if header is None:
                header = [cell.strip() for cell in cells]
                continue
            yield number, _payload(header, cells, line, fault)


def _cells(line: str) -> tuple[list[str], str]:
    try:
        return next(csv.reader([line], strict=True)), ""
    except csv.Error as error:
        return [], f"not a CSV row: {error}"


def _payload(header: list[str], cells: list[str], line: str, fault: str) -> bytes:
    if not fault and len(set(header)) != len(header):
        fault = "two columns of the header have the same name"
    if not fault and len(cells) != len(header):
        fault = f"{len(cells)} columns, the header has {len(header)}"
    if fault:
        row = {_FAULT: fault, "line": line}
    else:
        row = dict(zip(header, cells, strict=True))
    return json.dumps(row).encode()


def parse_candidate(payload: bytes) -> list[Candidate]:
    """One row of a table of candidates.

    Raises
    ------
    BadInput
        :class:`~mmcoord.errors.BadCandidate` for a value, ``BadNotice`` for a payload that
        is not a JSON object.
    """
    row = _Row(json_object(payload), BadCandidate)
    attributes: dict[str, Any] = {
        key: row.optional(key, least=0.0) if key in _NUMERIC_ATTRIBUTES else row.cell(key)
        for key in row.cells
        if key not in _CANDIDATE_COLUMNS
    }
    redshift = row.optional("z" if "z" in row.cells else "redshift")
    return [
        Candidate(
            object_id=row.required("id"),
            ra_deg=row.number("ra"),
            dec_deg=row.number("dec"),
            source=row.cell("source") or "file",
            position_error_arcsec=row.optional("position_error_arcsec", least=0.0),
            redshift=redshift,
            redshift_err=row.optional("z_err" if "z_err" in row.cells else "redshift_err", least=0),
            ebv_mw=row.optional("ebv_mw", least=0.0),
            is_practice=row.flag("is_practice"),
            attributes={k: v for k, v in attributes.items() if v not in (None, "")},
        )
    ]


def parse_photometry(payload: bytes) -> list[Photometry] | list[Withdrawal]:
    """One row of a table of photometry.

    Raises
    ------
    BadInput
        :class:`~mmcoord.errors.BadPhotometry` for a value, ``BadNotice`` for a payload that
        is not a JSON object.
    """
    row = _Row(json_object(payload), BadPhotometry)
    if "obs_mjd_tai" in row.cells:
        obs_mjd_tai = row.mjd("obs_mjd_tai")
    else:
        obs_mjd_tai = utc_mjd_to_tai(row.mjd("mjd"))
    if row.flag("withdrawn"):
        band = canonical(row.required("band"))
        return [Withdrawal(row.required("id"), obs_mjd_tai, band, row.cell("reason"))]
    error_text = row.cell("mag_err", needed=True).lower()
    is_limit = error_text == "" or error_text in _INFINITE
    return [
        Photometry(
            object_id=row.required("id"),
            obs_mjd_tai=obs_mjd_tai,
            band=canonical(row.required("band")),
            mag_ab=row.number("mag"),
            mag_err=None if is_limit else row.number("mag_err"),
            is_limit=is_limit,
        )
    ]


CANDIDATES = Source(
    name="table_candidates",
    parse=parse_candidate,
    description="rows of a CSV table of candidates",
    is_bulk=True,
)

PHOTOMETRY = Source(
    name="table_photometry",
    parse=parse_photometry,
    description="rows of a CSV table of photometry",
    is_bulk=True,
)


class _Row:
    """A row's cells as text, with readers that name the column in every refusal."""

    def __init__(self, cells: Mapping[str, Any], error: type[BadInput]) -> None:
        self.cells = cells
        self.error = error
        if _FAULT in cells:
            raise error(f"{cells[_FAULT]}: {shown(cells.get('line'))}", where="row")

    def cell(self, key: str, *, needed: bool = False) -> str:
        if key not in self.cells:
            if needed:
                raise self.error("no such column", where=key)
            return ""
        value = self.cells[key]
        if not isinstance(value, str):
            raise self.error(f"text of a cell is needed, not {shown(value)}", where=key)
        try:
            return text(value, key).strip() if value else ""
        except BadInput:
            raise self.error(f"not storable as text: {shown(value)}", where=key) from None

    def required(self, key: str) -> str:
        value = self.cell(key, needed=True)
        if not value:
            raise self.error("empty", where=key)
        return value

    def number(self, key: str) -> float:
        value = self.required(key)
        number = float(value) if _NUMBER.fullmatch(value) and value.isascii() else math.nan
        if not math.isfinite(number):
            raise self.error(f"{shown(value)} is not a finite number", where=key)
        return number

    def optional(self, key: str, *, least: float = -math.inf) -> float | None:
        if not self.cell(key):
            return None
        number = self.number(key)
        if number < least:
            raise self.error(f"{number} is below {least:g}", where=key)
        return number

    def mjd(self, key: str) -> float:
        mjd = self.number(key)
        if not _FIRST_MJD <= mjd < _LAST_MJD:
            raise self.error(f"{mjd} is not an MJD between 1972 and 2132", where=key)
        return mjd

    def flag(self, key: str) -> bool:
        value = self.cell(key).lower()
        if value in ("", "0", "false", "no"):
            return False
        if value in ("1", "true", "yes"):
            return True
        raise self.error(f"true or false is needed, not {shown(value)}", where=key)
