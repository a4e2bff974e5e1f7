"""Photometry files, as people have them: CSV, or NMMA's white-space columns.

* CSV with a header ``mjd,band,mag,mag_err`` (any order, other columns ignored): MJD in UTC;
  a column ``mjd_tai`` or ``obs_mjd_tai`` instead of ``mjd`` is taken as TAI;
* ``ISO-time band mag err`` separated by white space, times in UTC.

An error that is empty, ``inf`` or ``nan`` marks an upper limit.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmcoord.bands import canonical, is_beyond_models
from mmcoord.errors import BadPhotometry
from mmcoord.records import Photometry
from mmcoord.timescales import utc_mjd_to_tai

__all__ = ["PhotometryFile", "read_photometry"]

_MAX_BYTES = 50_000_000
_TIME_COLUMNS = ("mjd", "mjd_utc", "mjd_tai", "obs_mjd_tai")
_LIMIT_WORDS = frozenset({"", "inf", "+inf", "infinity", "nan", "none", "-"})


@dataclass(frozen=True, slots=True)
class PhotometryFile:
    """What a file holds."""

    photometry: tuple[Photometry, ...]
    skipped: tuple[str, ...]
    """A sentence per group of points that no model covers (radio, X-rays)."""


def read_photometry(
    path: str | Path, *, object_id: str | None = None, default_system: str | None = None
) -> PhotometryFile:
    """Read a photometry file; the format is told by its first line.

    Parameters
    ----------
    path : str or Path
    object_id : str, optional
        Name for the records; default: the file's name without its ending.
    default_system : str, optional
        Photometric system of bare filter letters; without it they are an error.

    Raises
    ------
    BadPhotometry
        Empty or unreadable file, unknown band, bad number; the message names file and line.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadPhotometry("larger than 50 MB: not a photometry file", where=str(path))
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadPhotometry(f"cannot be read: {error}", where=str(path)) from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise BadPhotometry("empty file: no photometry in it", where=str(path))
    parse = _csv_rows if "," in lines[0] else _white_space_rows
    name = object_id or path.stem
    points: list[Photometry] = []
    skipped: dict[str, int] = {}
    for where, mjd_tai, band, mag, err in parse(text, str(path)):
        if is_beyond_models(band):
            skipped[band] = skipped.get(band, 0) + 1
            continue
        points.append(_point(name, where, mjd_tai, band, mag, err, default_system))
    if not points:
        raise BadPhotometry("no optical or infrared photometry in it", where=str(path))
    notes = tuple(f"{n} points in {band}: no model covers it" for band, n in skipped.items())
    return PhotometryFile(tuple(points), notes)


_RawRow = tuple[str, float, str, str, str]


def _csv_rows(text: str, path: str) -> Iterator[_RawRow]:
    reader = csv.DictReader(
        io.StringIO("\n".join(line for line in text.splitlines() if not line.startswith("#"))),
        skipinitialspace=True,
    )
    fields = [f.strip().lower() for f in reader.fieldnames or []]
    reader.fieldnames = fields
    time_column = next((c for c in _TIME_COLUMNS if c in fields), None)
    if time_column is None or not {"band", "mag"} <= set(fields):
        raise BadPhotometry(
            f"header {','.join(fields)!r} lacks mjd, band or mag (CSV: mjd,band,mag,mag_err)",
            where=path,
        )
    for row in reader:
        where = f"{path} line {reader.line_num}"
        mjd = _number(row[time_column], "mjd", where)
        if time_column in ("mjd", "mjd_utc"):
            mjd = utc_mjd_to_tai(mjd)
        yield where, mjd, row["band"] or "", row["mag"] or "", row.get("mag_err") or ""


def _white_space_rows(text: str, path: str) -> Iterator[_RawRow]:
    from astropy.time import Time

    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{path} line {number}"
        cells = line.split()
        if len(cells) not in (3, 4):
            raise BadPhotometry(
                f"{len(cells)} columns, expected: ISO-time band mag [err]", where=where
            )
        try:
            mjd_tai = float(Time(cells[0], scale="utc").tai.mjd)
        except ValueError:
            raise BadPhotometry(f"{cells[0]!r} is not an ISO time", where=where) from None
        yield where, mjd_tai, cells[1], cells[2], cells[3] if len(cells) == 4 else ""


def _point(
    name: str,
    where: str,
    mjd_tai: float,
    band: str,
    mag: str,
    err: str,
    default_system: str | None,
) -> Photometry:
    is_limit = err.strip().lower() in _LIMIT_WORDS
    mag_err = None if is_limit else _number(err, "mag_err", where)
    try:
        known = canonical(band, default_system=default_system)
        return Photometry(name, mjd_tai, known, _number(mag, "mag", where), mag_err, is_limit)
    except BadPhotometry as error:
        if str(error).startswith(where):
            raise
        raise BadPhotometry(str(error), where=where) from None


def _number(text: str | None, name: str, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        raise BadPhotometry(f"{name} {text!r} is not a number", where=where) from None
    if not math.isfinite(value):
        raise BadPhotometry(f"{name} {text!r} is not finite", where=where)
    return value
