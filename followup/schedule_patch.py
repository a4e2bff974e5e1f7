"""A packed problem in which some options give way to others, in time that the change decides.

The columns of :class:`~followup.schedule_arrays.Packed` grow at their end; an option keeps its
place for as long as it stands. Its lists (the options of a group, of a pointing) have room: what
goes is closed up and what comes is merged in, in the lists that are touched and in no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from followup.schedule_arrays import Packed

__all__ = ["Roomy"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Flag = npt.NDArray[np.bool_]

_COLUMNS = (
    "which",
    "pointing",
    "instrument",
    "start",
    "length",
    "value",
    "toll",
    "duration_s",
    "programme",
)


@dataclass(slots=True)
class _Lists:
    """Lists of options in one array, each with room behind it."""

    first: Int
    end: Int
    ids: Int
    room: Int
    """(N,) where the part of ``ids`` that is a list's own ends."""
    tail: int
    """From here on ``ids`` belongs to nobody."""

    @classmethod
    def of(cls, first: Int, end: Int, ids: Int) -> _Lists:
        size = end - first
        own = size + size // 8 + 2
        edge = np.concatenate([np.zeros(1, np.int64), np.cumsum(own)])
        spread = np.zeros(int(edge[-1]) * 5 // 4 + 64, np.int64)
        _copy_lists(ids, first, end, edge, spread)
        return cls(edge[:-1].copy(), edge[:-1] + size, spread, edge[1:].copy(), int(edge[-1]))

    def of_these(self, lists: Int, at_most: int | None = None) -> Int:
        """The options of some lists, one list after the other; the best of each."""
        size = self.end[lists] - self.first[lists]
        if at_most is not None:
            size = np.minimum(size, at_most)
        before = np.repeat(np.cumsum(size) - size, size)
        return np.asarray(
            self.ids[np.repeat(self.first[lists], size) + np.arange(len(before)) - before]
        )

    def insert(self, where: Int) -> None:
        """New empty lists before those of these numbers."""
        self.first, self.end, self.room = (
            np.insert(column, where, self.tail) for column in (self.first, self.end, self.room)
        )

    def merge(self, lists: Int, count: Int, new: Int, dead: Flag, packed: Packed) -> None:
        """Close up the dead and merge in the new, ``count`` of them for each of the lists."""
        most = self.end[lists] - self.first[lists] + count
        if self.tail + int((most + most // 4 + 2).sum()) > len(self.ids):
            again = _Lists.of(self.first, self.end, self.ids)
            self.first, self.end, self.ids = again.first, again.end, again.ids
            self.room, self.tail = again.room, again.tail
            more = int((most + most // 4 + 2).sum()) + len(self.ids) // 8
            self.ids = np.concatenate([self.ids, np.zeros(more, np.int64)])
        edge = np.concatenate([np.zeros(1, np.int64), np.cumsum(count)])
        self.tail = _merge(
            self.ids, self.first, self.end, self.room, self.tail,
            lists, edge, new, dead, packed.value, packed.toll,
        )  # fmt: skip


class Roomy:
    """A packed problem that can be changed. :attr:`packed` is good until the next change."""

    def __init__(self, packed: Packed) -> None:
        self.packed = packed
        self.n_options = len(packed.which)
        self._dead = np.zeros(self.n_options, bool)
        self._groups = _Lists.of(packed.group_first, packed.group_end, packed.of_group)
        self._pointings = _Lists.of(
            packed.of_pointing_first, packed.of_pointing_end, packed.of_pointing
        )
        self._grow(self.n_options // 8 + 1024)
        self._show()

    def options_of(self, pointings: Int, instruments: Int) -> Int:
        """The options of some pointings and with some instruments, each once, ascending."""
        edge = self.packed.instrument_first
        groups = [np.arange(edge[k], edge[k + 1]) for k in np.unique(instruments)]
        with_them = self._groups.of_these(np.concatenate([np.zeros(0, np.int64), *groups]))
        of_them = self._pointings.of_these(np.unique(pointings))
        return np.asarray(np.union1d(with_them, of_them))

    def best_of(self, groups: Int, at_most: int) -> Int:
        """The best options of some groups."""
        return self._groups.of_these(groups, at_most)

    def is_standing(self, options: Int) -> Flag:
        """(n,) whether options have not been taken out."""
        return np.asarray(~self._dead[options])

    def exchange(self, gone: Int, fresh: Packed, numbered_from: int) -> Int:
        """Take options out and put those of ``fresh`` in; returns where they are now.

        ``fresh``: the new options alone, packed for the same pointings and instruments;
        ``numbered_from`` is added to their numbers in the problem.
        """
        n, m = self.n_options, len(fresh.which)
        if n + m > len(self.packed.which):
            self._grow(m + n // 8)
        for name in _COLUMNS:
            getattr(self.packed, name)[n : n + m] = getattr(fresh, name)
        self.packed.which[n : n + m] += numbered_from
        self.n_options += m
        self._dead[gone] = True
        self._make_groups(fresh)
        packed = self.packed
        keys, mine = self._keys(packed), packed.instrument[gone].astype(np.int64)
        of_gone = np.searchsorted(keys, self._key(mine, packed.start[gone], packed.length[gone]))
        of_new = np.searchsorted(keys, self._keys(fresh))
        sizes = fresh.group_end - fresh.group_first
        groups, count = _touched(of_gone, of_new, sizes)
        self._groups.merge(groups, count, n + fresh.of_group, self._dead, packed)
        sizes = fresh.of_pointing_end - fresh.of_pointing_first
        has = np.flatnonzero(sizes)
        pointings, count = _touched(packed.pointing[gone].astype(np.int64), has, sizes[has])
        self._pointings.merge(pointings, count, n + fresh.of_pointing, self._dead, packed)
        self._show()
        return np.arange(n, n + m)

    def _grow(self, more: int) -> None:
        grown: dict[str, Any] = {
            name: np.concatenate([column, np.zeros(more, column.dtype)])
            for name in _COLUMNS
            for column in [getattr(self.packed, name)]
        }
        self._dead = np.concatenate([self._dead, np.zeros(more, bool)])
        self.packed = self.packed._replace(**grown)

    def _show(self) -> None:
        """Let :attr:`packed` have the lists as they are now."""
        self.packed = self.packed._replace(
            group_first=self._groups.first,
            group_end=self._groups.end,
            of_group=self._groups.ids,
            of_pointing_first=self._pointings.first,
            of_pointing_end=self._pointings.end,
            of_pointing=self._pointings.ids,
        )

    def _make_groups(self, fresh: Packed) -> None:
        """Empty groups for what starts or lasts as no option did."""
        keys, wanted = self._keys(self.packed), self._keys(fresh)
        new = np.flatnonzero(~np.isin(wanted, keys))
        if not len(new):
            return
        where = np.searchsorted(keys, wanted[new])
        self._groups.insert(where)
        packed = self.packed
        owner = np.insert(_owner(packed), where, _owner(fresh)[new])
        self.packed = packed._replace(
            group_start=np.insert(packed.group_start, where, fresh.group_start[new]),
            group_length=np.insert(packed.group_length, where, fresh.group_length[new]),
            instrument_first=np.searchsorted(owner, np.arange(len(packed.instrument_first))),
        )

    def _key(
        self, instrument: Int, start: npt.NDArray[np.int32], length: npt.NDArray[np.int32]
    ) -> Int:
        n_slots = self.packed.n_slots
        return np.asarray((instrument * n_slots + start) * (n_slots + 1) + length)

    def _keys(self, packed: Packed) -> Int:
        """(N,) one ascending number for each group."""
        return self._key(_owner(packed), packed.group_start, packed.group_length)


def _owner(packed: Packed) -> Int:
    """(N,) the instrument of each group."""
    edge = packed.instrument_first
    return np.repeat(np.arange(len(edge) - 1), np.diff(edge))


def _touched(of_gone: Int, of_new: Int, sizes: Int) -> tuple[Int, Int]:
    """The lists that lose or get an option, and how many each gets."""
    lists = np.union1d(of_gone, of_new)
    count = np.zeros(len(lists), np.int64)
    count[np.searchsorted(lists, of_new)] = sizes
    return lists, count


@njit(cache=True, nogil=True)
def _copy_lists(ids: Int, first: Int, end: Int, edge: Int, out: Int) -> None:
    for n in range(len(first)):
        for i in range(end[n] - first[n]):
            out[edge[n] + i] = ids[first[n] + i]


@njit(cache=True, nogil=True)
def _merge(
    ids: Int, first: Int, end: Int, room: Int, tail: int,
    lists: Int, edge: Int, new: Int, dead: Flag, value: Float, toll: Float,
) -> int:  # fmt: skip
    """Best first, the old before the new of the same worth; returns the new tail."""
    for number in range(len(lists)):
        n = lists[number]
        low, kept = first[n], first[n]
        for i in range(low, end[n]):
            if not dead[ids[i]]:
                ids[kept] = ids[i]
                kept += 1
        size = kept - low + edge[number + 1] - edge[number]
        if low + size > room[n]:
            for i in range(kept - low):
                ids[tail + i] = ids[low + i]
            kept += tail - low
            low = first[n] = tail
            tail += size + size // 4 + 2
            room[n] = tail
        end[n] = low + size
        here, there, into = kept - 1, edge[number + 1] - 1, low + size - 1
        while there >= edge[number]:
            one = new[there]
            worse = False
            if here >= low:
                other = ids[here]
                worse = value[other] - toll[other] < value[one] - toll[one]
            if worse:
                ids[into] = ids[here]
                here -= 1
            else:
                ids[into] = one
                there -= 1
            into -= 1
    return tail
