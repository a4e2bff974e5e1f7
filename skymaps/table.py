"""A table of candidates against a map: CSV in, CSV or Parquet out, in constant memory.

The library behind ``mmcoord match MAP CANDIDATES.csv``.
"""

from __future__ import annotations

import csv
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np

from skymaps.credible import credible_area_deg2
from skymaps.crossmatch import CrossMatch, PreparedMap, match, prepare
from skymaps.redshift import PECULIAR_VELOCITY_KM_S, redshift_distance
from skymaps.skymap import FloatArray, SkyMap, SkyMapError

__all__ = ["RESULT_COLUMNS", "TableSummary", "match_table"]

CHUNK_ROWS = 8192
RESULT_COLUMNS = (
    "prob_density_sr",
    "credible_level_2d",
    "prob_density_mpc3",
    "credible_level_3d",
    "distance_mean_mpc",
    "distance_std_mpc",
)
"""Columns added to the candidates' own; empty (null in Parquet) where there is no answer."""

_ROW_FORMAT = ",".join(["%.10g"] * len(RESULT_COLUMNS)) + "\n"
_ALIASES = {
    "id": ("id", "object_id"),
    "ra": ("ra", "ra_deg"),
    "dec": ("dec", "dec_deg"),
    "distance_mpc": ("distance_mpc",),
    "distance_err_mpc": ("distance_err_mpc",),
    "z": ("z", "redshift"),
    "z_err": ("z_err", "redshift_err"),
}
_REQUIRED = ("id", "ra", "dec")


@dataclass(frozen=True)
class TableSummary:
    """What became of a table."""

    rows: int
    """Rows matched and written."""
    bad_rows: int
    """Rows left out, each reported with its line number."""
    area_90_deg2: float
    wall_s: float


class _Sink(Protocol):
    def write(self, rows: list[list[str]], answer: CrossMatch) -> None: ...


def match_table(
    skymap: SkyMap,
    candidates: str | os.PathLike[str] | TextIO,
    out: str | os.PathLike[str] | TextIO,
    *,
    peculiar_velocity_km_s: float = PECULIAR_VELOCITY_KM_S,
    on_bad_row: Callable[[int, str], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> TableSummary:
    """Match every row of a CSV file with a map.

    Parameters
    ----------
    candidates
        CSV with a header line: ``id``, ``ra``, ``dec`` (deg, ICRS) and optionally
        ``distance_mpc``, ``distance_err_mpc`` or ``z``, ``z_err``; a row without a distance
        takes it from the redshift (:func:`skymaps.redshift_distance`). Other columns are
        passed through as they are.
    out
        File to write, Parquet if its name ends in ``.parquet`` (needs pyarrow), else CSV: the
        candidates' columns and :data:`RESULT_COLUMNS`, in the order of the input.
    on_bad_row
        Called with line number and reason for each row that is left out.
    on_progress
        Called with the number of rows read so far.

    Raises
    ------
    SkyMapError
        No header, a required column is missing, or a result column is there already.
    OSError
        A file cannot be opened.
    """
    began = time.perf_counter()
    prepared = prepare(skymap)
    good = bad = 0
    with ExitStack() as stack:
        if isinstance(candidates, str | os.PathLike):
            path = Path(candidates)
            candidates = stack.enter_context(path.open(newline="", encoding="utf-8-sig"))
        reader = csv.reader(candidates)
        header = _header(reader)
        columns = _columns(header)
        sink = _open_sink(out, header, stack)
        for lines, rows in _chunks(reader, len(header)):
            kept, answer, reasons = _match_rows(prepared, rows, columns, peculiar_velocity_km_s)
            sink.write(kept, answer)
            good += len(kept)
            bad += len(reasons)
            if on_bad_row is not None:
                for row, reason in reasons:
                    on_bad_row(lines[row], reason)
            if on_progress is not None:
                on_progress(good + bad)
    area = credible_area_deg2(skymap, 0.9)
    return TableSummary(good, bad, area, time.perf_counter() - began)


def _header(reader: Iterator[list[str]]) -> list[str]:
    try:
        header = [name.strip() for name in next(reader)]
    except StopIteration:
        raise SkyMapError("candidates: an empty file") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise SkyMapError(f"candidates: line 1: {error}") from error
    clash = sorted(set(header) & set(RESULT_COLUMNS))
    if clash:
        raise SkyMapError(f"candidates: has a column {clash[0]} already")
    return header


def _columns(header: list[str]) -> dict[str, int]:
    """Position of each column that is understood."""
    names = [name.lower() for name in header]
    found = {
        column: names.index(alias)
        for column, aliases in _ALIASES.items()
        for alias in reversed(aliases)
        if alias in names
    }
    missing = [name for name in _REQUIRED if name not in found]
    if missing:
        raise SkyMapError(f"candidates: no column {', '.join(missing)} among {', '.join(header)}")
    return found


def _chunks(reader: Any, width: int) -> Iterator[tuple[list[int], list[list[str]]]]:
    """Line numbers and rows; a row of the wrong width is cut or filled so as to be refused."""
    while True:
        lines: list[int] = []
        rows: list[list[str]] = []
        try:
            for row in itertools.islice(reader, CHUNK_ROWS):
                if row:  # a blank line is no row
                    lines.append(reader.line_num)
                    rows.append(row)
        except (csv.Error, UnicodeDecodeError) as error:
            raise SkyMapError(f"candidates: line {reader.line_num + 1}: {error}") from error
        if not rows:
            return
        for i, row in enumerate(rows):
            if len(row) != width:
                rows[i] = [f"{len(row)} columns, not {width}"]
        yield lines, rows


def _match_rows(
    prepared: PreparedMap, rows: list[list[str]], columns: dict[str, int], velocity: float
) -> tuple[list[list[str]], CrossMatch, list[tuple[int, str]]]:
    """Rows that are good, the map's answer for them, and (row, reason) of the others."""
    reasons: list[tuple[int, str]] = []
    numeric = [name for name in columns if name != "id"]
    width = max(columns.values()) + 1
    values = _parse(rows, columns, numeric) if all(len(r) >= width for r in rows) else None
    if values is None or not _all_good(values):
        kept = []
        for i, row in enumerate(rows):
            reason = _reason(row, columns, numeric)
            if reason is None:
                kept.append(row)
            else:
                reasons.append((i, reason))
        rows = kept
        values = _parse(rows, columns, numeric)
        assert values is not None  # every row that is left has been read once
    distance, errors = _distances(values, len(rows), velocity)
    return rows, match(prepared, values["ra"], values["dec"], distance, errors), reasons


def _parse(
    rows: list[list[str]], columns: dict[str, int], numeric: list[str]
) -> dict[str, FloatArray] | None:
    """Numbers of all rows at once; None if one of them is not a number."""
    values = {}
    try:
        for name in numeric:
            k = columns[name]
            values[name] = np.array([float(row[k] or "nan") for row in rows], np.float64)
    except ValueError:
        return None
    return values


def _all_good(values: dict[str, FloatArray]) -> bool:
    with np.errstate(invalid="ignore"):
        good = bool(np.all((values["ra"] >= 0.0) & (values["ra"] <= 360.0)))
        good &= bool(np.all(np.abs(values["dec"]) <= 90.0))
        for name in ("distance_mpc", "distance_err_mpc", "z", "z_err"):
            if name in values:
                good &= not bool(np.any((values[name] < 0.0) | np.isinf(values[name])))
    return good


def _reason(row: list[str], columns: dict[str, int], numeric: list[str]) -> str | None:
    """Why a row cannot be used, or None."""
    if len(row) == 1 and len(columns) > 1:
        return row[0]
    for name in numeric:
        text = row[columns[name]]
        try:
            value = float(text or "nan")
        except ValueError:
            return f"{name} = {text!r} is not a number"
        if name == "ra" and not 0.0 <= value <= 360.0:
            return f"ra = {text!r} is not in [0, 360] deg"
        if name == "dec" and not -90.0 <= value <= 90.0:
            return f"dec = {text!r} is not in [-90, 90] deg"
        if name not in ("ra", "dec") and (value < 0.0 or math.isinf(value)):
            return f"{name} = {text!r} is negative or infinite"
    return None


def _distances(
    values: dict[str, FloatArray], n: int, velocity: float
) -> tuple[FloatArray | None, tuple[FloatArray, FloatArray] | None]:
    """Distance and its errors below and above, from distance columns or else redshifts."""
    if "distance_mpc" not in values and "z" not in values:
        return None, None
    nan = np.full(n, np.nan)
    distance = values.get("distance_mpc", nan)
    below = above = values.get("distance_err_mpc", nan)
    if "z" in values:
        by_z, z_below, z_above = redshift_distance(
            values["z"], values.get("z_err", nan), peculiar_velocity_km_s=velocity
        )
        use = np.isnan(distance)
        distance = np.where(use, by_z, distance)
        below = np.where(use, z_below, below)
        above = np.where(use, z_above, above)
    return distance, (below, above)


def _open_sink(out: str | os.PathLike[str] | TextIO, header: list[str], stack: ExitStack) -> _Sink:
    if isinstance(out, str | os.PathLike):
        path = Path(out)
        if path.suffix == ".parquet":
            return _ParquetSink(path, header, stack)
        out = stack.enter_context(path.open("w", newline="", encoding="utf-8"))
    return _CsvSink(out, header)


class _CsvSink:
    """Writes the candidates' columns as they came and the answers in ten digits."""

    def __init__(self, stream: TextIO, header: list[str]) -> None:
        self._stream = stream
        csv.writer(stream, lineterminator="\n").writerow([*header, *RESULT_COLUMNS])

    def write(self, rows: list[list[str]], answer: CrossMatch) -> None:
        lines = _Lines()
        csv.writer(lines, lineterminator="\r\n").writerows(rows)  # so that both are quoted
        columns = [getattr(answer, name).tolist() for name in RESULT_COLUMNS]
        # One formatting for all numbers of a row takes a third of the time of one for each.
        texts = [_ROW_FORMAT % values for values in zip(*columns, strict=True)]
        self._stream.write(
            "".join(
                [
                    a[:-2] + "," + b.replace("nan", "")
                    for a, b in zip(lines.lines, texts, strict=True)
                ]
            )
        )


class _Lines:
    """Collects what ``csv.writer`` writes, a string for each row."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.write = self.lines.append


class _ParquetSink:
    def __init__(self, path: Path, header: list[str], stack: ExitStack) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise SkyMapError(f"{path.name}: writing Parquet needs pyarrow") from error
        self._arrow = pyarrow
        self._header = header
        fields = [(name, pyarrow.string()) for name in header]
        fields += [(name, pyarrow.float64()) for name in RESULT_COLUMNS]
        self._schema = pyarrow.schema(fields)
        self._writer = stack.enter_context(pyarrow.parquet.ParquetWriter(path, self._schema))

    def write(self, rows: list[list[str]], answer: CrossMatch) -> None:
        arrays = [
            self._arrow.array([row[k] for row in rows], self._arrow.string())
            for k in range(len(self._header))
        ]
        arrays += [
            self._arrow.array(np.array(getattr(answer, name)), from_pandas=True)
            for name in RESULT_COLUMNS
        ]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
