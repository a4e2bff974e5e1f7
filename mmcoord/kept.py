"""The last few things that were made, by what they were made of."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Kept"]

Made = TypeVar("Made")


class Kept(Generic[Made]):
    """The ``most`` things that were asked for last. For any number of threads.

    Two threads that ask for the same new thing at a time both make it.

    Parameters
    ----------
    most_bytes
        Of all together, whatever their number; the newest stays even when it is larger.
    n_bytes
        What one takes. It is asked of all whenever one is added: things may grow with use.
    """

    def __init__(
        self,
        most: int,
        *,
        most_bytes: int | None = None,
        n_bytes: Callable[[Made], int] | None = None,
    ) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._n_bytes = n_bytes
        self._made: OrderedDict[Hashable, Made] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._made)

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What is under ``key``, or made now and kept."""
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        made = make()
        self.put(key, made)
        return made

    def put(self, key: Hashable, made: Made) -> None:
        """Keep what was made elsewhere."""
        with self._lock:
            self._made[key] = made
            self._made.move_to_end(key)
            while len(self._made) > self._most:
                self._made.popitem(last=False)
            self._fit_bytes()

    def drop(self, key: Hashable) -> None:
        """Keep it no longer, if it is here."""
        with self._lock:
            self._made.pop(key, None)

    def _fit_bytes(self) -> None:
        if self._most_bytes is None or self._n_bytes is None:
            return
        sizes = [self._n_bytes(made) for made in self._made.values()]
        total = sum(sizes)
        for size in sizes[:-1]:
            if total <= self._most_bytes:
                return
            self._made.popitem(last=False)
            total -= size
