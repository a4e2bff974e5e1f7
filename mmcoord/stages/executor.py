"""Where inference runs: one small protocol, a process pool by default."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

from mmcoord.inference.job import Job, Result

__all__ = ["Executor", "PoolExecutor"]


class Executor(Protocol):
    """Runs jobs somewhere. A lost job raises in its future; the infer stage runs it again."""

    @property
    def capacity(self) -> int:
        """How many jobs it takes at a time; more would only wait in line there."""
        ...

    def submit(self, job: Job) -> Future[Result]:
        """Start a job."""
        ...

    def close(self) -> None:
        """Give up what is running and free the resources."""
        ...


class PoolExecutor:
    """A pool of spawned processes on this machine.

    Spawned, not forked: the daemon has threads. A worker that dies (out of memory, killed)
    breaks the pool; the next job gets a fresh one.
    """

    def __init__(self, workers: int = 0) -> None:
        self._workers = workers or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    @property
    def capacity(self) -> int:
        return self._workers

    def submit(self, job: Job) -> Future[Result]:
        if self._pool is None:
            self._pool = self._start()
        try:
            return self._pool.submit(_run, job)
        except BrokenProcessPool:
            self._pool = self._start()
            return self._pool.submit(_run, job)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
            for worker in multiprocessing.active_children():
                worker.terminate()  # what it was doing is run again at the next start

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_initialise,
            initargs=(max(1, (os.cpu_count() or 1) // self._workers),),
        )


def _initialise(threads: int) -> None:
    # Before Numba is imported: workers that each take all cores only get in each other's way.
    os.environ["NUMBA_NUM_THREADS"] = str(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose daemon was killed must not go on alone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(job: Job) -> Result:
    # Imported in the worker: compiling kernels is none of the daemon's business.
    from mmcoord.inference.engine import run

    begun = time.process_time()
    result = run(job)
    result.summary["cpu_s"] = round(time.process_time() - begun, 3)
    return result
