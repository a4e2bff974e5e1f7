"""All stored candidates, kept in the order of the sky: a new map is answered by range scans.

A tile of a map is one range of nested indices at order 29, so that its candidates are one run
of a list sorted by that index. New candidates go into a second, short list, which is merged
into the first when it has grown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from skymaps.credible import check_level
from skymaps.crossmatch import PreparedMap, prepare
from skymaps.healpix import order29_index
from skymaps.skymap import MAX_ORDER, NPIX_MAX, FloatArray, IntArray, SkyMap, SkyMapError
from skymaps.threads import run_chunks

__all__ = ["BulkMatches", "CandidateIndex", "IndexMatches"]

_KEY_BITS = 4 + 2 * MAX_ORDER
MERGE_AT = 1 << 18
"""New candidates are merged into the sorted list when there are this many."""


@dataclass(frozen=True, eq=False)
class IndexMatches:
    """Candidates inside a credible region of one map; arrays of one element per match."""

    candidate_id: IntArray
    """As given to :meth:`CandidateIndex.add`."""
    prob_density_sr: FloatArray
    credible_level_2d: FloatArray


@dataclass(frozen=True, eq=False)
class BulkMatches:
    """Matches of many maps with one index, eight bytes a row; see :meth:`of_map`."""

    offset: IntArray
    """Matches of map k are rows offset[k] to offset[k + 1]."""
    row: npt.NDArray[np.int32]
    """Position of the candidate in ``candidate_id``."""
    range: npt.NDArray[np.int32]
    """Range of the prepared map that holds it (row of ``PreparedMap.answers``)."""
    candidate_id: IntArray
    maps: Sequence[PreparedMap]

    def __len__(self) -> int:
        return len(self.row)

    def of_map(self, k: int) -> IndexMatches:
        """The matches of map ``k`` written out."""
        rows = slice(self.offset[k], self.offset[k + 1])
        answers = self.maps[k].answers[self.range[rows]]
        return IndexMatches(self.candidate_id[self.row[rows]], answers[:, 0], answers[:, 1])


class CandidateIndex:
    """Positions and times of candidates, sorted on the sky.

    Not locked: one thread changes it, or the caller holds a lock.

    Examples
    --------
    >>> index = CandidateIndex()
    >>> index.add([7], [197.45], [-23.38], [57982.97])
    >>> len(index)
    1
    """

    def __init__(self) -> None:
        self._key = np.empty(0, np.int64)
        self._id = np.empty(0, np.int64)
        self._mjd = np.empty(0)
        self._new: list[tuple[IntArray, IntArray, FloatArray]] = []
        self._new_count = 0

    def __len__(self) -> int:
        return len(self._key) + self._new_count

    def add(
        self,
        candidate_id: npt.ArrayLike,
        ra_deg: npt.ArrayLike,
        dec_deg: npt.ArrayLike,
        mjd: npt.ArrayLike,
        *,
        workers: int | None = None,
    ) -> None:
        """Add candidates.

        Parameters
        ----------
        candidate_id
            Integers of the caller's choice, given back with the matches.
        mjd
            Time of the first detection, on whatever scale the windows are given in.

        Raises
        ------
        SkyMapError
            Arrays of different lengths, or a position that is none.
        """
        key = order29_index(ra_deg, dec_deg, workers=workers).ravel()
        ids = np.asarray(candidate_id, np.int64).ravel()
        times = np.asarray(mjd, np.float64).ravel()
        if not len(key) == len(ids) == len(times):
            raise SkyMapError(f"{len(key)} positions, {len(ids)} ids, {len(times)} times")
        if len(key) and key.min() < 0:
            raise SkyMapError(f"candidate {ids[int(np.argmin(key))]}: not a position")
        row = _sorting_rows(key)
        self._new.append((key[row], ids[row], times[row]))
        self._new_count += len(key)
        if self._new_count >= MERGE_AT:
            self.merge()

    def remove(self, candidate_id: npt.ArrayLike) -> None:
        """Forget candidates; unknown ids are ignored. Costs a pass over the whole list."""
        self.merge()
        keep = ~np.isin(self._id, np.asarray(candidate_id, np.int64))
        self._key, self._id, self._mjd = self._key[keep], self._id[keep], self._mjd[keep]

    def merge(self) -> None:
        """Merge the new candidates into the sorted list."""
        for key, ids, mjd in self._new:
            if len(self._key) == 0:
                self._key, self._id, self._mjd = key, ids, mjd
                continue
            at = np.searchsorted(self._key, key, side="right") + np.arange(len(key))
            old = np.ones(len(self._key) + len(key), bool)
            old[at] = False
            self._key = _interleave(self._key, key, old)
            self._id = _interleave(self._id, ids, old)
            self._mjd = _interleave(self._mjd, mjd, old)
        self._new, self._new_count = [], 0

    def match(
        self,
        prepared_or_map: PreparedMap | SkyMap,
        *,
        level: float = 0.9,
        window_mjd: tuple[float, float] | None = None,
    ) -> IndexMatches:
        """Candidates whose 2D credible level on the map is at most ``level``.

        Parameters
        ----------
        window_mjd
            Only candidates first detected within these times, both ends included.
        """
        if isinstance(prepared_or_map, SkyMap):
            prepared_or_map = prepare(prepared_or_map)
        ranges, begin, end = region_ranges(prepared_or_map, level)
        found = [
            _scan(key, ids, mjd, begin, end, ranges, window_mjd)
            for key, ids, mjd in [(self._key, self._id, self._mjd), *self._new]
        ]
        which = np.concatenate([f[1] for f in found])
        answers = prepared_or_map.answers[which]
        return IndexMatches(np.concatenate([f[0] for f in found]), answers[:, 0], answers[:, 1])

    def match_many(
        self,
        maps: Sequence[PreparedMap],
        *,
        level: float = 0.9,
        windows_mjd: Sequence[tuple[float, float] | None] | None = None,
        workers: int | None = None,
    ) -> BulkMatches:
        """:meth:`match` for many maps at once, written to one block of memory.

        The rows of a map come in the order of the sky.
        """
        self.merge()
        if len(self._key) > np.iinfo(np.int32).max:
            raise SkyMapError(f"{len(self._key)} candidates are more than one block can index")
        windows = [None] * len(maps) if windows_mjd is None else list(windows_mjd)
        if len(windows) != len(maps):
            raise SkyMapError(f"{len(maps)} maps, {len(windows)} windows")
        regions = [region_ranges(m, level) for m in maps]
        runs: list[tuple[IntArray, IntArray]] = [None] * len(maps)  # type: ignore[list-item]
        counts = np.zeros(len(maps), np.int64)

        def count(lo: int, hi: int) -> None:
            for k in range(lo, hi):
                _, begin, end = regions[k]
                runs[k] = _runs(self._key, begin, end)
                window = _window(windows[k])
                counts[k] = (
                    int(np.sum(runs[k][1] - runs[k][0]))
                    if window is None
                    else _count(*runs[k], self._mjd, *window)
                )

        run_chunks(count, len(maps), workers, serial_below=2)
        offset = np.concatenate([[0], np.cumsum(counts)])
        row = np.empty(int(offset[-1]), np.int32)
        which = np.empty(int(offset[-1]), np.int32)

        def emit(lo: int, hi: int) -> None:
            for k in range(lo, hi):
                s = slice(offset[k], offset[k + 1])
                window = _window(windows[k])
                every = window is None
                _emit(
                    *runs[k],
                    regions[k][0],
                    self._mjd,
                    every,
                    *(window or (0.0, 0.0)),
                    row[s],
                    which[s],
                )

        run_chunks(emit, len(maps), workers, serial_below=2)
        return BulkMatches(offset, row, which, self._id, maps)


def region_ranges(
    prepared: PreparedMap, level: float
) -> tuple[npt.NDArray[np.int32], IntArray, IntArray]:
    """Ranges of a map with 2D credible level up to ``level``: number, first and end index."""
    check_level(level)
    inside = np.flatnonzero(prepared.answers[:, 1] <= level)
    following = np.append(prepared.start[1:], NPIX_MAX)
    return inside.astype(np.int32), prepared.start[inside], following[inside]


def _window(window: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if window is None else (float(window[0]), float(window[1]))


def _scan(
    key: IntArray,
    ids: IntArray,
    mjd: FloatArray,
    begin: IntArray,
    end: IntArray,
    ranges: npt.NDArray[np.int32],
    window_mjd: tuple[float, float] | None,
) -> tuple[IntArray, npt.NDArray[np.int32]]:
    """Ids in the ranges and the range of each."""
    first, last = _runs(key, begin, end)
    window = _window(window_mjd)
    total = int(np.sum(last - first)) if window is None else _count(first, last, mjd, *window)
    row, which = np.empty(total, np.int32), np.empty(total, np.int32)
    _emit(first, last, ranges, mjd, window is None, *(window or (0.0, 0.0)), row, which)
    return ids[row], which


def _interleave(old: npt.NDArray, new: npt.NDArray, is_old: npt.NDArray[np.bool_]) -> npt.NDArray:
    merged = np.empty(len(is_old), old.dtype)
    merged[is_old] = old
    merged[~is_old] = new
    return merged


@njit(cache=True, nogil=True)
def _runs(key: IntArray, begin: IntArray, end: IntArray) -> tuple[IntArray, IntArray]:
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
def _count(first: IntArray, last: IntArray, mjd: FloatArray, t_lo: float, t_hi: float) -> int:
    total = 0
    for i in range(len(first)):
        for j in range(first[i], last[i]):
            total += (mjd[j] >= t_lo) & (mjd[j] <= t_hi)
    return total


@njit(cache=True, nogil=True)
def _emit(
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


def _sorting_rows(key: IntArray) -> IntArray:
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
