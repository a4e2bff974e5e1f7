"""Kernels on sorted lists of sky indices: sort, merge, find the runs that ranges cut out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from skymaps.skymap import MAX_ORDER, FloatArray, IntArray

__all__ = ["count_within", "emit", "interleave", "runs", "sorting_rows"]

_KEY_BITS = 4 + 2 * MAX_ORDER


def interleave(old: npt.NDArray, new: npt.NDArray, is_old: npt.NDArray[np.bool_]) -> npt.NDArray:
    """Old elements where ``is_old``, new ones elsewhere, each in their sequence."""
    merged = np.empty(len(is_old), np.result_type(old, new))
    merged[is_old] = old
    merged[~is_old] = new
    return merged


@njit(cache=True, nogil=True)
def runs(key: IntArray, begin: IntArray, end: IntArray) -> tuple[IntArray, IntArray]:
    """For each range the first and one past the last position in the sorted keys.

    Ranges ascend: each search gallops on from where the last one ended.
    """
    first = np.empty(len(begin), np.int64)
    last = np.empty(len(begin), np.int64)
    at = 0
    for i in range(len(begin)):
        at = _gallop(key, at, begin[i])
        first[i] = at
        at = _gallop(key, at, end[i])
        last[i] = at
    return first, last


@njit(cache=True, nogil=True)
def _gallop(key: IntArray, at: int, target: int) -> int:
    """First position from ``at`` on whose key is not below the target."""
    n = len(key)
    step = 1
    lo = at
    hi = at
    while hi < n and key[hi] < target:
        lo = hi + 1
        hi += step
        step *= 2
    hi = min(hi, n)
    while lo < hi:
        middle = (lo + hi) >> 1
        if key[middle] < target:
            lo = middle + 1
        else:
            hi = middle
    return lo


@njit(cache=True, nogil=True)
def count_within(first: IntArray, last: IntArray, mjd: FloatArray, t_lo: float, t_hi: float) -> int:
    total = 0
    for i in range(len(first)):
        for j in range(first[i], last[i]):
            total += (mjd[j] >= t_lo) & (mjd[j] <= t_hi)
    return total


@njit(cache=True, nogil=True)
def emit(
    first: IntArray,
    last: IntArray,
    ranges: npt.NDArray,
    mjd: FloatArray,
    every: bool,
    t_lo: float,
    t_hi: float,
    row: npt.NDArray,
    which: npt.NDArray,
) -> None:
    at = 0
    for i in range(len(first)):
        for j in range(first[i], last[i]):
            if every or (mjd[j] >= t_lo and mjd[j] <= t_hi):
                row[at] = j
                which[at] = ranges[i]
                at += 1


def sorting_rows(key: IntArray) -> IntArray:
    """The stable permutation that sorts the keys.

    NumPy sorts plain integers an order of magnitude faster than it sorts indirectly. So the
    leading bits of the key and the row number are packed into one integer and sorted, and
    what the leading bits leave open is put right by insertion.
    """
    row_bits = max(len(key) - 1, 1).bit_length()
    rows = np.empty(len(key), np.int64)
    _pack(key, max(_KEY_BITS + row_bits - 63, 0), row_bits, rows)
    rows.sort()
    rows &= (1 << row_bits) - 1
    _insertion(key, rows)
    return rows


@njit(cache=True, nogil=True)
def _pack(key: IntArray, shift: int, row_bits: int, out: IntArray) -> None:
    for i in range(len(key)):
        out[i] = ((key[i] >> shift) << row_bits) | i


@njit(cache=True, nogil=True)
def _insertion(key: IntArray, rows: IntArray) -> None:
    """Finish sorting rows that are in order but for short stretches."""
    for i in range(1, len(rows)):
        row = rows[i]
        k = key[row]
        j = i
        while j > 0 and key[rows[j - 1]] > k:
            rows[j] = rows[j - 1]
            j -= 1
        rows[j] = row
