"""The loop that walks an Avro datum for :mod:`listeners.projection`, compiled.

The writer's schema arrives as a program, one row of five numbers an operation: code, index
of "null" in the field's union (-1: no union), slot of the value (-1: skip it), and two numbers
that depend on the code. Every read is checked against the end of the bytes, and every
write against the room there is, because both the bytes and the schema are a stranger's.

Format: Apache Avro specification 1.11, "Binary Encoding".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["ARRAY", "BOOL", "BYTES", "DOUBLE", "ENUM", "FAULTS", "FIXED", "FLOAT", "FULL", "INT"]
__all__ += ["OK", "RECORD", "run"]

BOOL, INT, FLOAT, DOUBLE, BYTES, FIXED, ENUM, RECORD, ARRAY = range(9)
"""``RECORD`` stands only before the fields of an optional one; its number is how many
operations to leave out when it is null. ``ARRAY``: how many operations an item has, and the
fewest bytes that it takes; ``FIXED``: how many bytes; ``ENUM``: how many symbols."""

OK, FULL, _CUT, _VARINT, _UNION, _LENGTH, _COUNT, _SYMBOL = range(8)
FAULTS = {
    _CUT: "the bytes end before the value does",
    _VARINT: "a number longer than ten bytes",
    _UNION: "an index outside the union",
    _LENGTH: "a negative length",
    _COUNT: "more items than the bytes can hold",
    _SYMBOL: "an index outside the enumeration",
}


@njit(cache=True, nogil=True, inline="always")
def _varint(data: NDArray[np.uint8], at: int, end: int) -> tuple[Any, Any]:
    """(value, next position), or (fault, -1); zigzag, at most ten bytes."""
    raw = np.uint64(0)
    shift = np.uint64(0)
    for _ in range(10):
        if at >= end:
            return np.int64(_CUT), np.int64(-1)
        byte = np.uint64(data[at])
        at += 1
        raw |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(0x80):
            value = np.int64(raw >> np.uint64(1)) ^ -np.int64(raw & np.uint64(1))
            return value, np.int64(at)
        shift += np.uint64(7)
    return np.int64(_VARINT), np.int64(-1)


@njit(cache=True, nogil=True)
def run(
    data: NDArray[np.uint8],
    at: int,
    program: NDArray[np.int64],
    values: NDArray[np.int64],
    present: NDArray[np.uint8],
    table: NDArray[np.int64],
    filled: NDArray[np.uint8],
    spans: NDArray[np.int64],
    rows: int,
) -> tuple[Any, Any]:
    """Walk one datum.

    Parameters
    ----------
    data : (bytes,) uint8
    at : int
        Where the datum begins.
    program : (operations, 5) int64
    values, present : (slots,) int64, uint8
        Values outside arrays, as 64 bits (a real number as its bits, text as offset times
        2^32 plus length), and whether they are there.
    table, filled : (rows, columns) int64, uint8
        The same for the items of arrays, one array after the other.
    spans : (arrays, 2) int64
        First row and row after the last of each array; (-1, -1) where it is null.
    rows : int
        Items that all arrays together may have; ``table`` has as many rows, or no column.

    Returns
    -------
    (status, position)
        ``OK`` and the position after the last value; ``FULL`` and the rows that are needed;
        or a key of ``FAULTS`` and the position of the fault.
    """
    end = len(data)
    columns = table.shape[1]
    word = np.empty(1, np.uint32)
    single = word.view(np.float32)
    double = np.empty(1, np.float64)
    bits = double.view(np.int64)
    row = 0
    left = np.int64(0)  # items of the block that are still to come
    first = last = -1  # operations of the item
    least = np.int64(1)
    span = 0
    op = 0
    while True:
        if op == last:  # the end of an item
            row += 1
            left -= 1
            op = first
            if left == 0:
                status, left, at = _block(data, at, end, least)
                if status != OK:
                    return status, at
                if row + left > rows:
                    return FULL, row + left
                if left == 0:
                    spans[span, 1] = row
                    op = last
                    first = last = -1
            continue
        if op >= len(program):
            return OK, at
        code, null = program[op, 0], program[op, 1]
        slot, number = program[op, 2], program[op, 3]
        op += 1
        inside = last >= 0
        if null >= 0:
            branch, after = _varint(data, at, end)
            if after < 0:
                return branch, at
            if branch < 0 or branch > 1:
                return _UNION, at
            at = after
            if branch == null:
                if code == ARRAY:
                    spans[slot, 0] = spans[slot, 1] = -1
                    op += number
                elif code == RECORD:
                    op += number
                continue
        value = np.int64(0)
        if code == FLOAT:
            if at + 4 > end:
                return _CUT, at
            if slot >= 0:
                word[0] = (
                    np.uint32(data[at])
                    | np.uint32(data[at + 1]) << np.uint32(8)
                    | np.uint32(data[at + 2]) << np.uint32(16)
                    | np.uint32(data[at + 3]) << np.uint32(24)
                )
                double[0] = single[0]
                value = bits[0]
            at += 4
        elif code == DOUBLE:
            if at + 8 > end:
                return _CUT, at
            if slot >= 0:
                raw = np.uint64(0)
                for k in range(8):
                    raw |= np.uint64(data[at + k]) << np.uint64(8 * k)
                value = np.int64(raw)
            at += 8
        elif code == BOOL:
            if at >= end:
                return _CUT, at
            value = np.int64(data[at] != 0)
            at += 1
        elif code == RECORD:
            value = np.int64(1)
        elif code == FIXED:
            if number > end - at:
                return _CUT, at
            value = np.int64(at) << 32 | number
            at += number
        elif code == ARRAY:
            least = program[op - 1, 4]
            status, left, at = _block(data, at, end, least)
            if status != OK:
                return status, at
            if row + left > rows:
                return FULL, row + left
            spans[slot, 0] = row
            spans[slot, 1] = row
            if left == 0:
                op += number
            else:
                span, first, last = slot, op, op + number
            continue
        else:
            value, after = _varint(data, at, end)
            if after < 0:
                return value, at
            if code == ENUM and (value < 0 or value >= number):
                return _SYMBOL, at
            at = after
            if code == BYTES:
                if value < 0:
                    return _LENGTH, at
                if value > end - at:
                    return _CUT, at
                size = value
                value = np.int64(at) << 32 | size
                at += size
        if slot < 0:
            continue
        if inside:
            if slot < columns and row < len(table):
                table[row, slot] = value
                filled[row, slot] = 1
        else:
            values[slot] = value
            present[slot] = 1


@njit(cache=True, nogil=True, inline="always")
def _block(data: NDArray[np.uint8], at: Any, end: int, least: Any) -> tuple[Any, Any, Any]:
    """(status, number of items, next position) of the next block of an array.

    A count that the bytes cannot hold is refused before there is room made for it.
    """
    count, after = _varint(data, at, end)
    if after < 0:
        return count, np.int64(0), np.int64(at)
    if count < 0:
        count = -count
        size, after = _varint(data, after, end)
        if after < 0:
            return size, np.int64(0), np.int64(at)
    if count < 0 or count > (end - after) // max(least, 1):
        return np.int64(_COUNT), np.int64(0), np.int64(at)
    return np.int64(OK), count, after
