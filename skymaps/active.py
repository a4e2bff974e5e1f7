"""All active maps at once: a stream of candidates asks which of them each one is in.

The sky is cut into coarse cells; each has one bit for each map whose region touches it. A
candidate's cell names the few maps worth a look. Adding or retracting a map touches the bits
of its own cells only.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from skymaps.crossmatch import PreparedMap, prepare
from skymaps.healpix import as_positions, index_block
from skymaps.index import region_ranges
from skymaps.skymap import MAX_ORDER, FloatArray, IntArray, SkyMap, SkyMapError

__all__ = ["ActiveMaps", "ActiveMatches"]

CELL_ORDER = 7
_CELL_SHIFT = 2 * (MAX_ORDER - CELL_ORDER)
_TABLE_ORDER = 5
_TABLE_SHIFT = 2 * (MAX_ORDER - _TABLE_ORDER)
_TABLE_LENGTH = 12 * 4**_TABLE_ORDER + 1
_BLOCK = 256
_FIRST_CAPACITY = 1 << 20


@dataclass(frozen=True, eq=False)
class ActiveMatches:
    """Matches of a batch of candidates, in the order of the batch; one element per match."""

    candidate: IntArray
    """Row of the candidate in the batch."""
    slot: npt.NDArray[np.int32]
    """Number of the map in ``keys``."""
    keys: tuple[Hashable | None, ...]
    prob_density_sr: FloatArray
    credible_level_2d: FloatArray
    time_offset: FloatArray
    """Candidate's time minus the map's reference time, in the unit of both."""

    @property
    def key(self) -> list[Hashable]:
        """Key of the map of each match."""
        return [self.keys[slot] for slot in self.slot]


@dataclass(frozen=True)
class _Slot:
    """Where a map's region is in the arena."""

    begin: int
    count: int


class ActiveMaps:
    """The maps that are waiting for counterparts.

    Not locked: one thread changes it, or the caller holds a lock.

    Parameters
    ----------
    level
        A candidate matches a map when its 2D credible level there is at most this.
    """

    def __init__(self, level: float = 0.9) -> None:
        self.level = level
        self._slots: dict[Hashable, int] = {}
        self._keys: list[Hashable | None] = []
        self._where: list[_Slot] = []
        self._bits = np.zeros((12 * 4**CELL_ORDER, 1), np.uint64)
        self._window = np.zeros((0, 3))
        self._table = np.zeros((0, _TABLE_LENGTH), np.int32)
        self._base = np.zeros(0, np.int64)
        self._begin = np.empty(_FIRST_CAPACITY, np.int64)
        self._end = np.empty(_FIRST_CAPACITY, np.int64)
        self._answers = np.empty((_FIRST_CAPACITY, 2))
        self._used = 0
        self._holes = 0

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._slots

    def add(
        self,
        key: Hashable,
        prepared_or_map: PreparedMap | SkyMap,
        *,
        time: float = 0.0,
        window: tuple[float, float] = (-math.inf, math.inf),
    ) -> None:
        """Add a map, or replace the one under the same key.

        Parameters
        ----------
        time
            Reference time of the event, on the candidates' scale.
        window
            Candidates match from ``time + window[0]`` to ``time + window[1]``.
        """
        if isinstance(prepared_or_map, SkyMap):
            prepared_or_map = prepare(prepared_or_map)
        self.discard(key)
        ranges, begin, end = region_ranges(prepared_or_map, self.level)
        slot = self._free_slot()
        at = self._reserve(len(begin))
        self._begin[at : at + len(begin)] = begin
        self._end[at : at + len(begin)] = end
        self._answers[at : at + len(begin)] = prepared_or_map.answers[ranges]
        self._base[slot] = at
        self._window[slot] = time, window[0], window[1]
        edges = np.arange(_TABLE_LENGTH, dtype=np.int64) << _TABLE_SHIFT
        self._table[slot] = np.searchsorted(end, edges, side="right")
        _set_bits(self._bits[:, slot >> 6], np.uint64(1) << np.uint64(slot & 63), begin, end)
        self._slots[key], self._keys[slot] = slot, key
        self._where[slot] = _Slot(at, len(begin))

    def discard(self, key: Hashable) -> bool:
        """Take a map out; whether it was there."""
        slot = self._slots.pop(key, None)
        if slot is None:
            return False
        where = self._where[slot]
        span = slice(where.begin, where.begin + where.count)
        bit = np.uint64(1) << np.uint64(slot & 63)
        _clear_bits(self._bits[:, slot >> 6], bit, self._begin[span], self._end[span])
        self._keys[slot] = None
        self._holes += where.count
        return True

    def match(
        self,
        ra_deg: npt.ArrayLike,
        dec_deg: npt.ArrayLike,
        time: npt.ArrayLike | None = None,
    ) -> ActiveMatches:
        """Which active maps each candidate is in.

        A position that is NaN matches nothing. Without ``time``, windows are not applied and
        the time offset is NaN.
        """
        try:
            ra, dec = (a.ravel() for a in as_positions(ra_deg, dec_deg))
            times = np.full(len(ra), np.nan)
            if time is not None:
                times[:] = time
        except (TypeError, ValueError) as mistake:
            raise SkyMapError(f"candidates: {mistake}") from mistake
        candidate, slot, answer = self._run(ra, dec, times, time is not None)
        answers = self._answers[answer]
        offset = times[candidate] - self._window[slot, 0]
        keys = tuple(self._keys)
        return ActiveMatches(candidate, slot, keys, answers[:, 0], answers[:, 1], offset)

    def _run(
        self, ra: FloatArray, dec: FloatArray, times: FloatArray, timed: bool
    ) -> tuple[IntArray, npt.NDArray[np.int32], IntArray]:
        """Kernel calls with room that grows as needed."""
        done = 0
        parts = []
        room = 4 * len(ra) + 1024
        while done < len(ra):
            candidate = np.empty(room, np.int64)
            slot = np.empty(room, np.int32)
            answer = np.empty(room, np.int64)
            done, count = _query(
                ra,
                dec,
                times,
                timed,
                done,
                self._bits,
                self._window,
                self._table,
                self._base,
                self._begin,
                self._end,
                candidate,
                slot,
                answer,
            )
            parts.append((candidate[:count], slot[:count], answer[:count]))
            room = max(room, len(self._keys) + _BLOCK)
        if not parts:
            return np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int64)
        return (
            np.concatenate([p[0] for p in parts]),
            np.concatenate([p[1] for p in parts]),
            np.concatenate([p[2] for p in parts]),
        )

    def _free_slot(self) -> int:
        """An unused slot; doubles the tables when there is none."""
        for slot, key in enumerate(self._keys):
            if key is None:
                return slot
        old = len(self._keys)
        new = max(64, 2 * old)
        self._keys += [None] * (new - old)
        self._where += [_Slot(0, 0)] * (new - old)
        self._window = np.concatenate([self._window, np.zeros((new - old, 3))])
        self._base = np.concatenate([self._base, np.zeros(new - old, np.int64)])
        table = np.zeros((new, _TABLE_LENGTH), np.int32)
        table[:old] = self._table
        self._table = table
        words = np.zeros((len(self._bits), new // 64), np.uint64)
        words[:, : old // 64] = self._bits[:, : old // 64]
        self._bits = words
        return old

    def _reserve(self, count: int) -> int:
        """Room for ``count`` ranges at the end of the arena."""
        if self._holes > self._used // 4:
            self._compact()
        if self._used + count > len(self._begin):
            capacity = len(self._begin)
            while self._used + count > capacity:
                capacity *= 2
            if capacity > len(self._begin):
                self._begin = _grown(self._begin, self._used, capacity)
                self._end = _grown(self._end, self._used, capacity)
                self._answers = _grown(self._answers, self._used, capacity)
        at = self._used
        self._used += count
        return at

    def _compact(self) -> None:
        """Close the holes that retracted maps have left."""
        at = 0
        for slot in sorted(self._slots.values(), key=lambda s: self._where[s].begin):
            where = self._where[slot]
            source = slice(where.begin, where.begin + where.count)
            target = slice(at, at + where.count)
            for array in (self._begin, self._end, self._answers):
                array[target] = array[source].copy()
            self._where[slot] = _Slot(at, where.count)
            self._base[slot] = at
            at += where.count
        self._used, self._holes = at, 0


def _grown(array: npt.NDArray, used: int, capacity: int) -> npt.NDArray:
    grown = np.empty((capacity, *array.shape[1:]), array.dtype)
    grown[:used] = array[:used]
    return grown


@njit(cache=True, nogil=True)
def _set_bits(word: npt.NDArray, bit: int, begin: IntArray, end: IntArray) -> None:
    for i in range(len(begin)):
        for cell in range(begin[i] >> _CELL_SHIFT, ((end[i] - 1) >> _CELL_SHIFT) + 1):
            word[cell] |= bit


@njit(cache=True, nogil=True)
def _clear_bits(word: npt.NDArray, bit: int, begin: IntArray, end: IntArray) -> None:
    for i in range(len(begin)):
        for cell in range(begin[i] >> _CELL_SHIFT, ((end[i] - 1) >> _CELL_SHIFT) + 1):
            word[cell] &= ~bit


@njit(cache=True, nogil=True, inline="always")
def _lowest_bit(word: np.uint64) -> int:
    """Number of the lowest set bit of a word that is not zero."""
    n = 0
    if word & np.uint64(0xFFFFFFFF) == 0:
        n += 32
        word = word >> np.uint64(32)
    if word & np.uint64(0xFFFF) == 0:
        n += 16
        word = word >> np.uint64(16)
    if word & np.uint64(0xFF) == 0:
        n += 8
        word = word >> np.uint64(8)
    if word & np.uint64(0xF) == 0:
        n += 4
        word = word >> np.uint64(4)
    if word & np.uint64(0x3) == 0:
        n += 2
        word = word >> np.uint64(2)
    if word & np.uint64(0x1) == 0:
        n += 1
    return n


@njit(cache=True, nogil=True, inline="always")
def _find_in_slot(
    index: int, table: npt.NDArray, base: int, begin: IntArray, end: IntArray
) -> np.int64:
    """Arena position of the range that holds the index, or -1."""
    cell = index >> _TABLE_SHIFT
    lo = base + table[cell]
    hi = base + table[cell + 1]
    # First range that ends beyond the index.
    while lo < hi:
        middle = (lo + hi) >> 1
        if end[middle] <= index:
            lo = middle + 1
        else:
            hi = middle
    return lo


@njit(cache=True, nogil=True)
def _query(
    ra: FloatArray,
    dec: FloatArray,
    times: FloatArray,
    timed: bool,
    first: int,
    bits: npt.NDArray,
    window: FloatArray,
    table: npt.NDArray,
    base: IntArray,
    begin: IntArray,
    end: IntArray,
    candidate: IntArray,
    slot_out: npt.NDArray,
    answer: IntArray,
) -> tuple[int, int]:
    """Matches of candidates from ``first`` on; stops where the output might overflow.

    Returns the first candidate not done and the number of matches written.
    """
    work = np.empty((4, _BLOCK))
    index = np.empty(_BLOCK, np.int64)
    slots = window.shape[0]
    out = 0
    at = first
    while at < len(ra):
        n = min(_BLOCK, len(ra) - at)
        index_block(ra[at : at + n], dec[at : at + n], work, index)
        for i in range(n):
            if out + slots > len(candidate):
                return at + i, out
            if index[i] < 0:
                continue
            cell = index[i] >> _CELL_SHIFT
            for w in range(bits.shape[1]):
                word = bits[cell, w]
                while word:
                    slot = 64 * w + _lowest_bit(word)
                    word &= word - np.uint64(1)
                    if timed:
                        offset = times[at + i] - window[slot, 0]
                        if not (offset >= window[slot, 1] and offset <= window[slot, 2]):
                            continue
                    k = _find_in_slot(index[i], table[slot], base[slot], begin, end)
                    if begin[k] <= index[i] < end[k]:
                        candidate[out] = at + i
                        slot_out[out] = slot
                        answer[out] = k
                        out += 1
        at += n
    return at, out
