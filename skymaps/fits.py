"""Reading and writing the one kind of FITS file that sky maps use: a binary table.

A notice is read in milliseconds and nothing in it is trusted: every length is checked
against the bytes that are there before an array is made. FITS Standard 4.0, sections 4.4
(headers) and 7.3 (binary tables).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skymaps.skymap import SkyMapError

__all__ = ["BLOCK", "Table", "read_tables", "write_table"]

BLOCK = 2880
CARD = 80
MAX_HEADER_BLOCKS = 256
"""Longest header accepted, in blocks of 36 cards (ligo.skymap's histories take about 5)."""
MAX_HDUS = 32
MAX_FIELDS = 999

_DTYPES = {"L": "i1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_SIZES = {"L": 1, "B": 1, "A": 1, "I": 2, "J": 4, "K": 8, "E": 4, "D": 8, "C": 8, "M": 16}
_TFORM = re.compile(r"^\s*(\d*)([LXBIJKAEDCMPQ])")
_STRING = re.compile(r"^\s*'((?:[^']|'')*)'")


@dataclass(frozen=True)
class _Column:
    code: str
    repeat: int
    offset: int
    unit: str
    scale: float
    zero: float


@dataclass(frozen=True)
class Table:
    """One binary table: its header and where its columns are in the bytes."""

    header: Mapping[str, Any]
    columns: Mapping[str, _Column]
    """By name in upper case."""
    data: memoryview
    rows: int
    row_bytes: int

    def unit(self, name: str) -> str:
        """TUNIT of a column, empty when there is none."""
        return self.columns[name].unit

    def length(self, name: str) -> int:
        """Number of values of a column."""
        return self.columns[name].repeat * self.rows

    def read(self, name: str) -> npt.NDArray[Any]:
        """All values of a column in native byte order, flat, scaled by TSCAL and TZERO.

        Raises
        ------
        SkyMapError
            The column holds no numbers.
        """
        view = self._view(name)
        return self._scaled(name, view.astype(view.dtype.newbyteorder("=")).ravel())

    def read_into(self, name: str, out: npt.NDArray[Any]) -> None:
        """The same into ``out``, flat and contiguous, of the column's length; without a copy."""
        view = self._view(name)
        out.reshape(view.shape)[...] = view
        scaled = self._scaled(name, out)
        if scaled is not out:
            out[...] = scaled

    def _view(self, name: str) -> npt.NDArray[Any]:
        column = self.columns[name]
        if column.code not in _DTYPES or column.code == "L":
            raise SkyMapError(f"column {name}: type {column.code} is not a number")
        dtype = np.dtype(_DTYPES[column.code])
        if self.length(name) == 0:
            return np.empty((self.rows, column.repeat), dtype)
        return np.ndarray(
            (self.rows, column.repeat),
            dtype,
            buffer=self.data,
            offset=column.offset,
            strides=(self.row_bytes, dtype.itemsize),
        )

    def _scaled(self, name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        column = self.columns[name]
        if column.scale != 1.0 or column.zero != 0.0:
            return values * column.scale + column.zero
        return values


def read_tables(data: bytes | memoryview) -> list[Table]:
    """Every binary table of a FITS file.

    Raises
    ------
    SkyMapError
        Not FITS, cut short, or lengths that contradict one another.
    """
    view = memoryview(data)
    if bytes(view[:6]) != b"SIMPLE":
        raise SkyMapError("not a FITS file: it does not begin with SIMPLE")
    tables = []
    offset = 0
    for hdu in range(MAX_HDUS):
        if offset >= len(view):
            break
        if hdu and bytes(view[offset : offset + 8]) != b"XTENSION":
            break  # FITS allows special records after the last HDU
        header, offset = _read_header(view, offset, hdu)
        size = _data_bytes(header, hdu)
        if offset + size > len(view):
            missing = offset + size - len(view)
            raise SkyMapError(f"truncated: HDU {hdu} lacks {missing} of {size} bytes of data")
        if hdu and header.get("XTENSION") == "BINTABLE":
            tables.append(_table(header, view[offset : offset + size], hdu))
        offset += -(-size // BLOCK) * BLOCK
    return tables


def _read_header(view: memoryview, offset: int, hdu: int) -> tuple[dict[str, Any], int]:
    """Cards up to END, and the offset of what follows."""
    header: dict[str, Any] = {}
    for _ in range(MAX_HEADER_BLOCKS):
        block = bytes(view[offset : offset + BLOCK])
        offset += BLOCK
        if len(block) < BLOCK:
            raise SkyMapError(f"truncated: the header of HDU {hdu} has no END")
        text = block.decode("latin-1")
        for at in range(0, BLOCK, CARD):
            keyword = text[at : at + 8].rstrip()
            if keyword == "END":
                return header, offset
            if text[at + 8 : at + 10] == "= " and keyword not in header:
                header[keyword] = _value(text[at + 10 : at + CARD])
    raise SkyMapError(f"the header of HDU {hdu} is longer than {MAX_HEADER_BLOCKS} blocks")


def _value(text: str) -> Any:
    """Value of a card: str, bool, int, float or None."""
    string = _STRING.match(text)
    if string:
        return string.group(1).replace("''", "'").rstrip()
    word = text.split("/", 1)[0].strip()
    if word in ("T", "F"):
        return word == "T"
    try:
        return int(word)
    except ValueError:
        pass
    try:
        return float(word.replace("D", "E"))
    except ValueError:
        return word or None


def _integer(header: Mapping[str, Any], keyword: str, hdu: int, default: int | None = None) -> int:
    value = header.get(keyword, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**48:
        raise SkyMapError(f"HDU {hdu}: {keyword} = {value!r} is not a count")
    return value


def _data_bytes(header: Mapping[str, Any], hdu: int) -> int:
    """Length of an HDU's data (FITS Standard 4.0, equation 2)."""
    naxis = _integer(header, "NAXIS", hdu)
    if naxis > 16:
        raise SkyMapError(f"HDU {hdu}: NAXIS = {naxis}")
    bitpix = header.get("BITPIX")
    if isinstance(bitpix, bool) or bitpix not in (8, 16, 32, 64, -32, -64):
        raise SkyMapError(f"HDU {hdu}: BITPIX = {bitpix!r}")
    if naxis == 0:
        return 0
    size = 1
    for axis in range(1, naxis + 1):
        size *= _integer(header, f"NAXIS{axis}", hdu)
    pcount = _integer(header, "PCOUNT", hdu, 0)
    gcount = _integer(header, "GCOUNT", hdu, 1)
    return abs(int(bitpix)) // 8 * gcount * (pcount + size)


def _table(header: dict[str, Any], data: memoryview, hdu: int) -> Table:
    """Column layout of a binary table, checked against NAXIS1."""
    if header.get("BITPIX") != 8 or header.get("NAXIS") != 2:
        raise SkyMapError(f"HDU {hdu}: a binary table has BITPIX 8 and NAXIS 2")
    fields = _integer(header, "TFIELDS", hdu)
    if fields > MAX_FIELDS:
        raise SkyMapError(f"HDU {hdu}: TFIELDS = {fields}")
    row_bytes = _integer(header, "NAXIS1", hdu)
    rows = _integer(header, "NAXIS2", hdu)
    if rows * row_bytes > len(data):
        raise SkyMapError(f"HDU {hdu}: {rows} rows of {row_bytes} bytes in {len(data)} bytes")
    columns: dict[str, _Column] = {}
    offset = 0
    for n in range(1, fields + 1):
        form = _TFORM.match(str(header.get(f"TFORM{n}", "")))
        if form is None:
            raise SkyMapError(f"HDU {hdu}: TFORM{n} = {header.get(f'TFORM{n}')!r}")
        repeat = int(form.group(1) or 1)
        code = form.group(2)
        name = str(header.get(f"TTYPE{n}", f"COL{n}")).strip().upper()
        scale, zero = (
            float(value) if isinstance(value, int | float) else default
            for value, default in ((header.get(f"TSCAL{n}"), 1.0), (header.get(f"TZERO{n}"), 0.0))
        )
        unit = str(header.get(f"TUNIT{n}") or "").strip()
        columns.setdefault(name, _Column(code, repeat, offset, unit, scale, zero))
        offset += _field_bytes(code, repeat)
    if offset != row_bytes:
        raise SkyMapError(f"HDU {hdu}: columns take {offset} bytes a row, NAXIS1 = {row_bytes}")
    return Table(header, columns, data, rows, row_bytes)


def _field_bytes(code: str, repeat: int) -> int:
    if code == "X":
        return (repeat + 7) // 8
    if code in "PQ":
        return repeat * (8 if code == "P" else 16)
    return repeat * _SIZES[code]


def _card(keyword: str, value: Any) -> bytes:
    """One 80-byte card; floats keep all their digits."""
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, int | np.integer):
        text = f"{int(value):>20d}"
    elif isinstance(value, float | np.floating):
        shown = repr(float(value)).upper()
        text = f"{shown if '.' in shown or 'E' in shown else shown + '.0':>20}"
    else:
        quoted = str(value).replace("'", "''").encode("ascii", "replace").decode()[:68]
        text = f"'{quoted:<8}'"
    return f"{keyword:<8}= {text}"[:CARD].ljust(CARD).encode("ascii")


def _pad(data: bytes, fill: bytes) -> bytes:
    return data + fill * (-len(data) % BLOCK)


def write_table(
    columns: list[tuple[str, str, npt.NDArray[Any]]], cards: Mapping[str, Any]
) -> bytes:
    """A FITS file with an empty primary HDU and one binary table.

    Parameters
    ----------
    columns
        (name, unit, values); int64 or float64, all of one length.
    cards
        Further keywords of the table.
    """
    layout = [(name, ">i8" if values.dtype.kind == "i" else ">f8") for name, _, values in columns]
    rows = np.empty(len(columns[0][2]), np.dtype(layout))
    for name, _, values in columns:
        rows[name] = values
    primary = {"SIMPLE": True, "BITPIX": 8, "NAXIS": 0, "EXTEND": True}
    head: dict[str, Any] = {
        "XTENSION": "BINTABLE",
        "BITPIX": 8,
        "NAXIS": 2,
        "NAXIS1": rows.dtype.itemsize,
        "NAXIS2": len(rows),
        "PCOUNT": 0,
        "GCOUNT": 1,
        "TFIELDS": len(columns),
    }
    for n, (name, unit, values) in enumerate(columns, 1):
        head[f"TTYPE{n}"] = name
        head[f"TFORM{n}"] = "K" if values.dtype.kind == "i" else "D"
        if unit:
            head[f"TUNIT{n}"] = unit
    head.update(cards)
    blocks = []
    for header in (primary, head):
        text = b"".join(_card(k, v) for k, v in header.items()) + b"END".ljust(CARD)
        blocks.append(_pad(text, b" "))
    return b"".join(blocks) + _pad(rows.tobytes(), b"\0")
