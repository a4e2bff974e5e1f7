"""Millions of names and their numbers, in little memory.

The names lie end to end in one buffer; a table of open addressing holds their numbers only and
compares a name with the buffer. Nothing is kept per name but its bytes and about eleven more.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["NumberedNames"]

Numbers = npt.NDArray[np.int32]

_FIRST_SLOTS = 1024
_FULL = 0.75
"""Part of the table that may be taken."""
_GROWTH = 1.5
_MOST_BYTES = 2**32 - 1


class NumberedNames:
    """Names by number, numbers by name; numbers count from 0 in the order of arrival.

    Not locked: one thread changes it, or the caller holds a lock.

    Examples
    --------
    >>> names = NumberedNames()
    >>> names.numbers(["b", "a", "b"]).tolist()
    [0, 1, 0]
    >>> names.of([1])
    ['a']
    """

    def __init__(self) -> None:
        self._text = np.empty(0, np.uint8)
        self._end = np.empty(0, np.uint32)
        """Where each name ends in the text; it begins where the one before it ends."""
        self._count = 0
        self._table = np.full(_FIRST_SLOTS, -1, np.int32)
        self._seed = np.uint64(secrets.randbits(64))
        """Nobody who chooses names can make them collide."""

    def __len__(self) -> int:
        return self._count

    def numbers(self, names: Sequence[str]) -> Numbers:
        """The number of each name; new names get the next ones.

        Raises
        ------
        OverflowError
            More than 4 GiB of names.
        """
        encoded = [name.encode() for name in names]
        incoming = np.frombuffer(b"".join(encoded), np.uint8)
        incoming_end = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        self._make_room(len(encoded), len(incoming))
        found = np.empty(len(encoded), np.int32)
        self._count = _number(
            self._text,
            self._end,
            self._count,
            self._seed,
            self._table,
            incoming,
            incoming_end,
            found,
        )
        return found

    def of(self, numbers: Iterable[int]) -> list[str]:
        """The names of some numbers."""
        end, text = self._end, self._text
        return [text[end[n - 1] if n else 0 : end[n]].tobytes().decode() for n in numbers]

    def _make_room(self, count: int, n_bytes: int) -> None:
        """For so many more names, should all be new."""
        count += self._count
        n_bytes += int(self._end[self._count - 1]) if self._count else 0
        if n_bytes > _MOST_BYTES:
            raise OverflowError(f"{n_bytes} bytes of names")
        _lengthen(self._text, n_bytes)
        _lengthen(self._end, count)
        if count > _FULL * len(self._table):
            size = max(int(_GROWTH * len(self._table)), int(count / _FULL) + 1)
            self._table = np.full(size, -1, np.int32)
            _fill(self._text, self._end[: self._count], self._seed, self._table)


def _lengthen(array: npt.NDArray, length: int) -> None:
    """By an eighth at least, in place: of a long array the system moves pages, not bytes."""
    if len(array) < length:
        array.resize(max(length, len(array) * 9 // 8), refcheck=False)


@njit(cache=True, nogil=True, inline="always")
def _slot(text: npt.NDArray, begin: int, end: int, seed: np.uint64, slots: int) -> np.int64:
    """Where the search for a name begins: FNV-1a with a seed, and the last mix of MurmurHash3."""
    value = seed
    for k in range(begin, end):
        value = (value ^ np.uint64(text[k])) * np.uint64(0x100000001B3)
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return np.int64(((value >> np.uint64(32)) * np.uint64(slots)) >> np.uint64(32))


@njit(cache=True, nogil=True)
def _fill(text: npt.NDArray, end: npt.NDArray, seed: np.uint64, table: npt.NDArray) -> None:
    """Put all names into an empty table."""
    begin = np.int64(0)
    for number in range(len(end)):
        last = np.int64(end[number])
        slot = _slot(text, begin, last, seed, len(table))
        while table[slot] >= 0:
            slot = slot + 1 if slot + 1 < len(table) else 0
        table[slot] = number
        begin = last


@njit(cache=True, nogil=True)
def _number(
    text: npt.NDArray,
    end: npt.NDArray,
    count: int,
    seed: np.uint64,
    table: npt.NDArray,
    incoming: npt.NDArray,
    incoming_end: npt.NDArray,
    found: npt.NDArray,
) -> int:
    """Find names or add them to the ``count`` known ones; how many there are then."""
    begin = np.int64(0)
    used = np.int64(end[count - 1]) if count else np.int64(0)
    for row in range(len(incoming_end)):
        last = incoming_end[row]
        slot = _slot(incoming, begin, last, seed, len(table))
        number = table[slot]
        while number >= 0 and not _same(text, end, number, incoming, begin, last):
            slot = slot + 1 if slot + 1 < len(table) else 0
            number = table[slot]
        if number < 0:
            number = count
            table[slot] = number
            text[used : used + last - begin] = incoming[begin:last]
            used += last - begin
            end[count] = used
            count += 1
        found[row] = number
        begin = last
    return count


@njit(cache=True, nogil=True, inline="always")
def _same(
    text: npt.NDArray, end: npt.NDArray, number: int, other: npt.NDArray, begin: int, last: int
) -> bool:
    start = np.int64(end[number - 1]) if number else np.int64(0)
    if np.int64(end[number]) - start != last - begin:
        return False
    for k in range(last - begin):  # noqa: SIM110 (numba compiles no generator)
        if text[start + k] != other[begin + k]:
            return False
    return True
