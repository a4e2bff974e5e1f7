"""Where pictures and predictions are made: one process apart, each thing once, a bounded line.

Drawing and evaluating models would hold the interpreter that serves everybody, so it is done in
a process of its own, started when something is first asked for. Equal wishes at a time are one
piece of work; what was made is kept while there is room.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from mmcoord.errors import Busy
from mmcoord.spawned import end_with_parent, limit_numba_threads

__all__ = ["Workshop", "limited", "one_process"]

Result = TypeVar("Result")

_CACHE_BYTES = 64 * 2**20
_MAX_WAITING = 16
_LONGEST_S = 120
"""A piece of work that takes longer ends its process: a model from others may do anything."""


def one_process() -> Executor:
    """One spawned process: the daemon has threads, which do not survive a fork."""
    return ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn"), initializer=_initialise
    )


class Workshop:
    """Makes bytes by functions that can be pickled, remembers them, and keeps the line short.

    Parameters
    ----------
    start
        Makes the executor at the first piece of work, and again after it broke.
    """

    def __init__(
        self,
        start: Callable[[], Executor] = one_process,
        *,
        cache_bytes: int = _CACHE_BYTES,
        max_waiting: int = _MAX_WAITING,
    ) -> None:
        self._start = start
        self._executor: Executor | None = None
        self._cache_bytes = cache_bytes
        self._max_waiting = max_waiting
        self._made: OrderedDict[Hashable, bytes] = OrderedDict()
        self._size = 0
        self._waiting: dict[Hashable, Future[bytes]] = {}
        self._lock = threading.Lock()

    def made(self, key: Hashable) -> bytes | None:
        """What was made under that key, if it is still here."""
        with self._lock:
            found = self._made.get(key)
            if found is not None:
                self._made.move_to_end(key)
            return found

    async def make(self, key: Hashable, function: Callable[..., bytes], *arguments: Any) -> bytes:
        """What is under ``key``, or ``function(*arguments)`` made now and kept.

        Raises
        ------
        Busy
            Too many wait already, or it took too long; whatever ``function`` raises.
        """
        found = self.made(key)
        if found is not None:
            return found
        work = self._begun(key, function, *arguments)
        try:
            # Shielded: others may wait for the same piece when this caller goes away.
            return await asyncio.shield(asyncio.wrap_future(work))
        except BrokenProcessPool:
            raise Busy(f"this took longer than {_LONGEST_S} s, or too much memory") from None

    def close(self) -> None:
        """Take no more work."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)

    def _begun(
        self, key: Hashable, function: Callable[..., bytes], *arguments: Any
    ) -> Future[bytes]:
        with self._lock:
            work = self._waiting.get(key)
            if work is not None:
                return work
            if len(self._waiting) >= self._max_waiting:
                raise Busy(f"{self._max_waiting} such requests are waiting")
            if self._executor is None:
                self._executor = self._start()
            try:
                work = self._executor.submit(limited, _LONGEST_S, function, *arguments)
            except BrokenProcessPool:
                self._executor = self._start()
                work = self._executor.submit(limited, _LONGEST_S, function, *arguments)
            self._waiting[key] = work
        work.add_done_callback(lambda done: self._finish(key, done))
        return work

    def _finish(self, key: Hashable, done: Future[bytes]) -> None:
        with self._lock:
            self._waiting.pop(key, None)
            if done.cancelled() or done.exception() is not None:
                return
            self._made[key] = done.result()
            self._size += len(self._made[key])
            while self._size > self._cache_bytes:
                _, old = self._made.popitem(last=False)
                self._size -= len(old)


def limited(longest_s: int, function: Callable[..., Result], *arguments: Any) -> Result:
    """Run in a worker; the alarm's own action ends the process, whatever it is doing."""
    alone = multiprocessing.parent_process() is not None
    if alone:
        signal.alarm(longest_s)
    try:
        return function(*arguments)
    finally:
        if alone:
            signal.alarm(0)


def _initialise() -> None:
    limit_numba_threads(1)
    os.environ["MPLBACKEND"] = "agg"
    end_with_parent()
