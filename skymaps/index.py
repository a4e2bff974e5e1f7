"""All stored candidates, kept in the order of the sky: a new map is answered by range scans.

A tile of a map is one range of nested indices at order 29, so that its candidates are one run
of a list sorted by that index. New candidates come as short lists; two that have grown to about
the same length become one, so that a million candidates in small batches are a dozen lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skymaps.credible import check_level
from skymaps.crossmatch import PreparedMap, prepare
from skymaps.healpix import order29_index
from skymaps.runs import count_within, emit, interleave, runs, sorting_rows
from skymaps.skymap import NPIX_MAX, FloatArray, IntArray, SkyMap, SkyMapError
from skymaps.threads import run_chunks

__all__ = ["BulkMatches", "CandidateIndex", "IndexMatches"]

_MOST_INT32 = int(np.iinfo(np.int32).max)


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
    candidate_id: npt.NDArray[np.int32] | IntArray
    maps: Sequence[PreparedMap]

    def __len__(self) -> int:
        return len(self.row)

    def of_map(self, k: int) -> IndexMatches:
        """The matches of map ``k`` written out."""
        rows = slice(self.offset[k], self.offset[k + 1])
        answers = self.maps[k].answers[self.range[rows]]
        ids = self.candidate_id[self.row[rows]].astype(np.int64)
        return IndexMatches(ids, answers[:, 0], answers[:, 1])


@dataclass(slots=True)
class _Sorted:
    """Candidates in the order of the sky."""

    key: IntArray
    """Nested index at order 29."""
    id: npt.NDArray[np.int32] | IntArray
    """Four bytes each while all fit."""
    mjd: FloatArray
    """Empty where no times are kept."""

    def __len__(self) -> int:
        return len(self.key)


_NONE = _Sorted(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0))


class CandidateIndex:
    """Positions, and if wanted times, of candidates, sorted on the sky.

    Twelve bytes a candidate; eight more with times, four more with an id beyond 2**31.

    Not locked: one thread changes it, or the caller holds a lock.

    Examples
    --------
    >>> index = CandidateIndex()
    >>> index.add([7], [197.45], [-23.38], [57982.97])
    >>> len(index)
    1
    """

    def __init__(self) -> None:
        self._lists: list[_Sorted] = []
        """The longest first; each at least twice as long as the next."""

    def __len__(self) -> int:
        return sum(map(len, self._lists))

    def add(
        self,
        candidate_id: npt.ArrayLike,
        ra_deg: npt.ArrayLike,
        dec_deg: npt.ArrayLike,
        mjd: npt.ArrayLike | None = None,
        *,
        workers: int | None = None,
    ) -> None:
        """Add candidates.

        Parameters
        ----------
        candidate_id
            Integers of the caller's choice, given back with the matches.
        mjd
            Time of the first detection, on whatever scale the windows are given in. None: no
            times are kept, of these candidates or of any.

        Raises
        ------
        SkyMapError
            Arrays of different lengths, a position that is none, or times for some candidates
            and not for others.
        """
        self.add_keys(candidate_id, order29_index(ra_deg, dec_deg, workers=workers), mjd)

    def add_keys(
        self, candidate_id: npt.ArrayLike, key: IntArray, mjd: npt.ArrayLike | None = None
    ) -> None:
        """:meth:`add` for positions as nested indices at order 29 (-1: not a position)."""
        key = key.ravel()
        ids = np.asarray(candidate_id, np.int64).ravel()
        times = np.empty(0) if mjd is None else np.asarray(mjd, np.float64).ravel()
        if not len(key) == len(ids) or (mjd is not None and len(times) != len(key)):
            raise SkyMapError(f"{len(key)} positions, {len(ids)} ids, {len(times)} times")
        if not len(key):
            return
        if key.min() < 0:
            raise SkyMapError(f"candidate {ids[int(np.argmin(key))]}: not a position")
        if self._lists and (mjd is not None) != self._timed:
            raise SkyMapError("times for some candidates and not for others")
        row = sorting_rows(key)
        if ids.min() >= -_MOST_INT32 and ids.max() <= _MOST_INT32:
            ids = ids.astype(np.int32)
        self._lists.append(_Sorted(key[row], ids[row], times[row] if mjd is not None else times))
        while len(self._lists) > 1 and len(self._lists[-2]) < 2 * len(self._lists[-1]):
            self._merge_last()

    def remove(self, candidate_id: npt.ArrayLike) -> None:
        """Forget candidates; unknown ids are ignored. Costs a pass over all."""
        gone = np.asarray(candidate_id, np.int64)
        left = []
        for some in self._lists:
            keep = ~np.isin(some.id, gone)
            if keep.all():
                left.append(some)
            elif keep.any():
                mjd = some.mjd[keep] if len(some.mjd) else some.mjd
                left.append(_Sorted(some.key[keep], some.id[keep], mjd))
        self._lists = left

    def merge(self) -> None:
        """Make one list of all."""
        while len(self._lists) > 1:
            self._merge_last()

    def _merge_last(self) -> None:
        """Make one of the two shortest lists, in place of the longer; a column at a time."""
        new = self._lists.pop()
        old = self._lists[-1]
        at = np.searchsorted(old.key, new.key, side="right") + np.arange(len(new))
        is_old = np.ones(len(old) + len(new), bool)
        is_old[at] = False
        old.key = interleave(old.key, new.key, is_old)
        old.id = interleave(old.id, new.id, is_old)
        if len(new.mjd):
            old.mjd = interleave(old.mjd, new.mjd, is_old)

    @property
    def _timed(self) -> bool:
        return len(self._lists[0].mjd) > 0

    def _check_window(self, window: tuple[float, float] | None) -> None:
        if window is not None and self._lists and not self._timed:
            raise SkyMapError("a window in time, but the candidates came without times")

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

        Raises
        ------
        SkyMapError
            A window, though the candidates have no times.
        """
        self._check_window(window_mjd)
        if isinstance(prepared_or_map, SkyMap):
            prepared_or_map = prepare(prepared_or_map)
        ranges, begin, end = region_ranges(prepared_or_map, level)
        nothing = np.empty(0, np.int64), np.empty(0, np.int32)
        found = [nothing] + [_scan(some, begin, end, ranges, window_mjd) for some in self._lists]
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
        if len(self) > _MOST_INT32:
            raise SkyMapError(f"{len(self)} candidates are more than one block can index")
        windows = [None] * len(maps) if windows_mjd is None else list(windows_mjd)
        if len(windows) != len(maps):
            raise SkyMapError(f"{len(maps)} maps, {len(windows)} windows")
        for one in windows:
            self._check_window(one)
        every_one = self._lists[0] if self._lists else _NONE
        regions = [region_ranges(m, level) for m in maps]
        runs_of: list[tuple[IntArray, IntArray]] = [None] * len(maps)  # type: ignore[list-item]
        counts = np.zeros(len(maps), np.int64)

        def count(lo: int, hi: int) -> None:
            for k in range(lo, hi):
                _, begin, end = regions[k]
                runs_of[k] = runs(every_one.key, begin, end)
                window = _window(windows[k])
                counts[k] = (
                    int(np.sum(runs_of[k][1] - runs_of[k][0]))
                    if window is None
                    else count_within(*runs_of[k], every_one.mjd, *window)
                )

        run_chunks(count, len(maps), workers, serial_below=2)
        offset = np.concatenate([[0], np.cumsum(counts)])
        row = np.empty(int(offset[-1]), np.int32)
        which = np.empty(int(offset[-1]), np.int32)

        def write(lo: int, hi: int) -> None:
            for k in range(lo, hi):
                s = slice(offset[k], offset[k + 1])
                window = _window(windows[k])
                every = window is None
                emit(
                    *runs_of[k],
                    regions[k][0],
                    every_one.mjd,
                    every,
                    *(window or (0.0, 0.0)),
                    row[s],
                    which[s],
                )

        run_chunks(write, len(maps), workers, serial_below=2)
        return BulkMatches(offset, row, which, every_one.id, maps)


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
    some: _Sorted,
    begin: IntArray,
    end: IntArray,
    ranges: npt.NDArray[np.int32],
    window_mjd: tuple[float, float] | None,
) -> tuple[IntArray, npt.NDArray[np.int32]]:
    """Ids in the ranges and the range of each."""
    first, last = runs(some.key, begin, end)
    window = _window(window_mjd)
    total = (
        int(np.sum(last - first))
        if window is None
        else count_within(first, last, some.mjd, *window)
    )
    row, which = np.empty(total, np.int32), np.empty(total, np.int32)
    emit(first, last, ranges, some.mjd, window is None, *(window or (0.0, 0.0)), row, which)
    return some.id[row].astype(np.int64), which
