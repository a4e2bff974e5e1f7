"""Sky maps in, sky maps out: every form in which a notice or an observatory gives one.

Formats: multi-order ("MOC") and flat HEALPix maps in FITS, as described in the LIGO/Virgo/
KAGRA Public Alerts User Guide, "Sky Localization and Parameter Estimation", and in the
HEALPix primer, section "FITS conventions".
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skymaps.build import build_map
from skymaps.fits import Table, read_tables, write_table
from skymaps.flat import merge_flat
from skymaps.skymap import MAX_ORDER, SR_TO_DEG2, SkyMap, SkyMapError
from skymaps.threads import run_chunks

__all__ = ["MAX_BYTES", "load", "to_fits_bytes"]

MAX_BYTES = 1 << 30
"""Default limit on a map's expanded size: a flat map of nside 2048 in float64 is 0.4 GB."""

_MAX_GZIP_MEMBERS = 10_000
_GZIP_STEP = 1 << 16
"""Bytes given to zlib at a time, from the second member on."""
_DENSITY_COLUMNS = ("PROBDENSITY", "PROB_DENSITY", "DENSITY")
_PROBABILITY_COLUMNS = ("PROB", "PROBABILITY")
_DISTANCE_COLUMNS = ("DISTMU", "DISTSIGMA", "DISTNORM")
_PIXEL_COLUMNS = ("PIXEL", "PIX", "HPXINDEX", "INDEX")
_UNSEEN_BELOW = -1e30
_EQUATORIAL = {"C", "Q", "ICRS", "EQUATORIAL", "CELESTIAL", "FK5", "J2000"}
_STRUCTURE = re.compile(
    r"^(XTENSION|SIMPLE|EXTEND|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|T(TYPE|FORM|UNIT|SCAL|ZERO|"
    r"DISP|NULL|DIM|COMM)\d+|CHECKSUM|DATASUM|PIXTYPE|ORDERING|COORDSYS|NSIDE|FIRSTPIX|LASTPIX|"
    r"INDXSCHM|MOC|MOCORDER|EXTNAME|EXTVER|END|)$"
)


def load(source: bytes | str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> SkyMap:
    """Read a sky map.

    Parameters
    ----------
    source
        Bytes of a FITS file, plain, gzip-compressed or in base64 (as GCN's JSON notices carry
        it), a str of base64, or the path of such a file.
    max_bytes
        Refuse what expands beyond this many bytes.

    Raises
    ------
    SkyMapError
        Whatever is wrong with the map; nothing else is raised for bad content.
    OSError
        The file cannot be opened.
    """
    data = _expand(_bytes_of(source, max_bytes), max_bytes)
    tables = read_tables(data)
    with np.errstate(all="ignore"):  # whatever is not finite is looked for explicitly
        for table in tables:
            if "UNIQ" in table.columns:
                return _multi_order(table)
        for table in tables:
            if _is_flat(table):
                return _flat(table)
    found = [", ".join(t.columns) or "no columns" for t in tables]
    raise SkyMapError(f"no table with a sky map among {len(tables)}: {'; '.join(found)[:200]}")


def _bytes_of(source: bytes | str | os.PathLike[str], max_bytes: int) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, str) and source.lstrip()[:4] in ("U0lN", "H4sI"):  # SIM.., 0x1f8b08
        return source.encode("ascii", "replace")
    path = Path(source)
    size = path.stat().st_size
    if size > max_bytes:
        raise SkyMapError(f"{path.name}: {size} bytes, the limit is {max_bytes}")
    return path.read_bytes()


def _expand(data: bytes, max_bytes: int) -> bytes:
    """Undo base64 and gzip, within the limit."""
    if len(data) > max_bytes + max_bytes // 2:
        raise SkyMapError(f"{len(data)} bytes, the limit is {max_bytes}")
    if data[:6] != b"SIMPLE" and data[:2] != b"\x1f\x8b":
        try:
            data = base64.b64decode(b"".join(data.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise SkyMapError("neither FITS nor gzip nor base64") from error
    if data[:2] == b"\x1f\x8b":
        data = _gunzip(data, max_bytes)
    if len(data) > max_bytes:
        raise SkyMapError(f"expands to {len(data)} bytes, the limit is {max_bytes}")
    return data


def _gunzip(data: bytes, max_bytes: int) -> bytes:
    """All members of a gzip stream.

    zlib hands back a copy of all that follows a member; a file of a million empty members would
    be copied a million times. So only the first member is given everything.
    """
    parts: list[bytes] = []
    total = members = at = 0
    while data[at : at + 2] == b"\x1f\x8b":
        inflate = zlib.decompressobj(wbits=31)
        members += 1
        if members > _MAX_GZIP_MEMBERS:
            raise SkyMapError(f"gzip of more than {_MAX_GZIP_MEMBERS} members")
        while not inflate.eof:
            if at >= len(data):
                raise SkyMapError("gzip: truncated")
            piece = data[at : at + _GZIP_STEP] if members > 1 else data
            try:
                part = inflate.decompress(piece, max_bytes - total + 1)
            except zlib.error as error:
                raise SkyMapError(f"gzip: {error}") from error
            total += len(part)
            if total > max_bytes:
                raise SkyMapError(f"gzip expands beyond the limit of {max_bytes} bytes")
            at += len(piece) - len(inflate.unused_data)
            parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _facts(header: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords that say something about the map rather than about the file."""
    return {k: v for k, v in header.items() if not _STRUCTURE.match(k) and v is not None}


def _check_frame(header: Mapping[str, Any], notes: list[str]) -> None:
    frame = header.get("COORDSYS")
    if frame is None:
        notes.append("no COORDSYS; taken as ICRS")
    elif str(frame).strip().upper() not in _EQUATORIAL:
        raise SkyMapError(f"COORDSYS = {frame!r}: only equatorial (ICRS) maps are understood")


def _per_steradian(table: Table, name: str, notes: list[str]) -> float | None:
    """Factor from the column's unit to sr^-1; None for probability per pixel."""
    unit = table.unit(name).lower().replace(" ", "").replace("**", "").replace("^", "")
    if "deg" in unit:
        notes.append(f"{name} given per deg2")
        return SR_TO_DEG2
    if "sr" in unit or name in _DENSITY_COLUMNS:
        return 1.0
    return None


def _value_column(table: Table, notes: list[str]) -> str | None:
    for name in (*_DENSITY_COLUMNS, *_PROBABILITY_COLUMNS):
        if name in table.columns:
            return name
    numeric = [
        n
        for n, c in table.columns.items()
        if c.code in "EDIJK" and n != "UNIQ" and n not in _PIXEL_COLUMNS
    ]
    if len(numeric) == 1:
        notes.append(f"no column named PROB or PROBDENSITY; {numeric[0]} taken as the probability")
        return numeric[0]
    return None


def _distance_columns(table: Table, notes: list[str]) -> tuple[str, ...]:
    present = [n for n in _DISTANCE_COLUMNS if n in table.columns]
    if present and len(present) < len(_DISTANCE_COLUMNS):
        notes.append(f"only {', '.join(present)} of the distance columns; taken as 2D")
        return ()
    return tuple(present)


def _multi_order(table: Table) -> SkyMap:
    """A map of NUNIQ tiles."""
    notes: list[str] = []
    ordering = str(table.header.get("ORDERING", "NUNIQ")).strip().upper()
    if ordering != "NUNIQ":
        raise SkyMapError(f"ORDERING = {ordering!r} with a UNIQ column")
    _check_frame(table.header, notes)
    value = _value_column(table, notes)
    if value is None:
        raise SkyMapError(f"no density among the columns {', '.join(table.columns)}"[:300])
    distances = _distance_columns(table, notes)
    for name in ("UNIQ", value, *distances):
        if table.columns[name].repeat != 1:
            raise SkyMapError(f"column {name}: {table.columns[name].repeat} values a row, not 1")
    uniq = table.read("UNIQ")
    if uniq.dtype.kind not in "iu":
        raise SkyMapError("column UNIQ is not of integers")
    order, ipix = _split_uniq(uniq.astype(np.int64))
    density = table.read(value).astype(np.float64)
    factor = _per_steradian(table, value, notes)
    density = (
        density / (np.pi / 3.0 * np.exp2(-2.0 * order)) if factor is None else density * factor
    )
    columns = [table.read(n).astype(np.float64) for n in distances]
    return build_map(
        order,
        ipix,
        density,
        (columns[0], columns[1], columns[2]) if columns else None,
        header=_facts(table.header),
        repairs=tuple(notes),
    )


def _split_uniq(uniq: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Order and pixel of NUNIQ indices, in integer arithmetic."""
    wrong = (uniq < 4) | (uniq >= np.int64(16) << (2 * MAX_ORDER))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise SkyMapError(f"column UNIQ, row {row}: {uniq[row]} is not a HEALPix tile")
    order = np.zeros(len(uniq), np.int64)
    for level in range(1, MAX_ORDER + 1):
        order += uniq >= np.int64(4) << (2 * level)
    return order, uniq - (np.int64(4) << (2 * order))


def _is_flat(table: Table) -> bool:
    header = table.header
    healpix = str(header.get("PIXTYPE", "")).strip().upper() == "HEALPIX"
    return (healpix or "NSIDE" in header or "ORDERING" in header) and table.rows > 0


def _flat(table: Table) -> SkyMap:
    """A map of pixels of one size, in RING or NESTED order, whole or partial."""
    notes: list[str] = []
    ordering = str(table.header.get("ORDERING", "")).strip().upper()
    if ordering not in ("RING", "NESTED", "NEST"):
        raise SkyMapError(f"ORDERING = {ordering!r}: neither RING nor NESTED nor NUNIQ")
    _check_frame(table.header, notes)
    value = _value_column(table, notes)
    if value is None:
        raise SkyMapError(f"no probability among the columns {', '.join(table.columns)}"[:300])
    distances = _distance_columns(table, notes)
    names = (value, *distances)
    count = table.length(value)
    if any(table.length(n) != count for n in names):
        raise SkyMapError("columns of different lengths")
    pixel_column = next((n for n in _PIXEL_COLUMNS if n in table.columns), None)
    explicit = str(table.header.get("INDXSCHM", "IMPLICIT")).strip().upper() == "EXPLICIT"
    order = _flat_order(table, count, explicit)
    kinds = {table.columns[n].code for n in names}
    values = np.empty((len(names), count), np.float32 if kinds == {"E"} else np.float64)

    def read(lo: int, hi: int) -> None:
        for k in range(lo, hi):
            table.read_into(names[k], values[k])

    run_chunks(read, len(names), serial_below=2)
    ring = ordering == "RING"
    if explicit:
        if pixel_column is None or table.length(pixel_column) != count:
            raise SkyMapError("INDXSCHM = EXPLICIT without a column of pixel numbers")
        tiles = _explicit_pixels(table.read(pixel_column), order, ring)
        orders = np.full(len(tiles), order, np.int8)
        kept = values.astype(np.float64)
    else:
        tiles, orders, kept = merge_flat(values, order, ring)
    density = kept[0]
    if np.any(density < _UNSEEN_BELOW):
        unseen = density < _UNSEEN_BELOW
        notes.append(f"{int(unseen.sum())} tiles marked UNSEEN; density 0 there")
        density = np.where(unseen, 0.0, density)
    factor = _per_steradian(table, value, notes)
    density = density * (12 * 4**order / (4 * np.pi) if factor is None else factor)
    return build_map(
        orders,
        tiles,
        density,
        (kept[1], kept[2], kept[3]) if distances else None,
        header=_facts(table.header),
        repairs=tuple(notes),
        is_ours=True,
    )


def _flat_order(table: Table, count: int, explicit: bool) -> int:
    """HEALPix order of a flat map, from NSIDE or the number of pixels."""
    nside = table.header.get("NSIDE")
    if nside is None and not explicit:
        nside = int(np.sqrt(count / 12))
    if isinstance(nside, bool) or not isinstance(nside, int) or not 1 <= nside <= 1 << MAX_ORDER:
        raise SkyMapError(f"NSIDE = {nside!r}")
    if nside & (nside - 1):
        raise SkyMapError(f"NSIDE = {nside} is not a power of two")
    if not explicit and count != 12 * nside * nside:
        raise SkyMapError(f"{count} pixels, but NSIDE = {nside} makes {12 * nside * nside}")
    return nside.bit_length() - 1


def _explicit_pixels(pixels: npt.NDArray[Any], order: int, ring: bool) -> npt.NDArray[np.int64]:
    """Nested indices of a partial map's pixels."""
    if pixels.dtype.kind not in "iu":
        raise SkyMapError("the column of pixel numbers is not of integers")
    index = pixels.astype(np.int64)
    wrong = (index < 0) | (index >= 12 * 4**order)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise SkyMapError(f"row {row}: no pixel {index[row]} at order {order}")
    if ring:
        import healpy

        index = np.asarray(healpy.ring2nest(1 << order, index), np.int64)
    return index


def to_fits_bytes(skymap: SkyMap) -> bytes:
    """The map as a multi-order FITS file, with the columns and keywords that LVK uses.

    Reading it back with :func:`load` gives the same ``content_id``.
    """
    columns: list[tuple[str, str, npt.NDArray[Any]]] = [
        ("UNIQ", "", skymap.uniq),
        ("PROBDENSITY", "sr-1", skymap.density_sr),
    ]
    if skymap.distances is not None:
        named = zip(_DISTANCE_COLUMNS, ("Mpc", "Mpc", "Mpc-2"), skymap.distances, strict=True)
        columns += list(named)
    cards: dict[str, Any] = {
        "MOC": True,
        "PIXTYPE": "HEALPIX",
        "ORDERING": "NUNIQ",
        "COORDSYS": "C",
        "MOCORDER": int(skymap.order.max()),
        "INDXSCHM": "EXPLICIT",
    }
    for keyword, value in skymap.header.items():
        plain = isinstance(value, str | int) or (isinstance(value, float) and np.isfinite(value))
        if plain and re.fullmatch(r"[A-Z0-9_-]{1,8}", keyword):
            cards[keyword] = value
    return write_table(columns, cards)
