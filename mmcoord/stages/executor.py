"""Where inference runs: one small protocol, and processes of this machine by default."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import Protocol

from mmcoord.config import InferSettings
from mmcoord.errors import Retryable
from mmcoord.inference.job import Job, Result
from mmcoord.spawned import end_with_parent, limit_numba_threads

__all__ = [
    "Executor",
    "ExecutorAway",
    "NoExecutor",
    "PoolExecutor",
    "WorkerLost",
    "build_executor",
    "run_job",
]


class WorkerLost(Exception):
    """The process that had a job died of it, or was killed; the message names it."""


class ExecutorAway(Retryable):
    """The place where jobs run is gone for now; says nothing about the job."""


class Executor(Protocol):
    """Runs jobs somewhere.

    A job whose process died ends in :class:`WorkerLost`, one that could not be run for lack of
    a place in :class:`ExecutorAway`; the infer stage runs both again. ``summary["cpu_s"]`` of a
    result is the processor time that it took, with that of its sandbox.
    """

    @property
    def capacity(self) -> int:
        """How many jobs it takes at a time; more would only wait in line there."""
        ...

    def submit(self, job: Job, priority: float = 0.0) -> Future[Result]:
        """Start a job, before those of lower priority that wait."""
        ...

    def close(self) -> None:
        """Give up what is running and free the resources."""
        ...


def build_executor(settings: InferSettings) -> Executor:
    """The executor that the settings name.

    Raises
    ------
    ConfigError
        The extra ``hpc`` is not installed, or a cluster cannot be set up as told.
    """
    if settings.executor == "dask":
        from mmcoord.stages.dask_executor import DaskExecutor

        return DaskExecutor(settings.dask)
    if settings.executor == "none":
        return NoExecutor()
    return PoolExecutor(settings.workers)


class NoExecutor:
    """Runs nothing here: all runs are left to workers that come for them."""

    capacity = 0

    def submit(self, job: Job, priority: float = 0.0) -> Future[Result]:
        """Never called, having no capacity."""
        raise ExecutorAway("no job runs here")

    def close(self) -> None:
        """Nothing to free."""


class PoolExecutor:
    """Spawned processes on this machine, each for one job at a time.

    Spawned, not forked: the daemon has threads. Each process is a pool of its own, so that one
    that dies (out of memory, killed) takes no other's job with it, and is known by its number.
    """

    def __init__(self, workers: int = 0) -> None:
        n = workers or os.cpu_count() or 1
        threads = max(1, (os.cpu_count() or 1) // n)
        self._slots = [_Slot(threads) for _ in range(n)]

    @property
    def capacity(self) -> int:
        return len(self._slots)

    def submit(self, job: Job, priority: float = 0.0) -> Future[Result]:
        slot = min(self._slots, key=lambda slot: slot.waiting)
        return slot.submit(job)

    def close(self) -> None:
        for slot in self._slots:
            slot.close()  # what it was doing is run again at the next start


class _Slot:
    """One process and the job that it has."""

    def __init__(self, threads: int) -> None:
        self.waiting = 0
        self._threads = threads
        self._pool: ProcessPoolExecutor | None = None
        self._process: BaseProcess | None = None
        self._lock = threading.Lock()

    def submit(self, job: Job) -> Future[Result]:
        answer: Future[Result] = Future()
        with self._lock:
            self.waiting += 1
            try:
                inner = self._submit(job)
            except BrokenProcessPool:  # it has died while it had nothing to do
                self._pool = None
                inner = self._submit(job)
            pool, process = self._pool, self._process
        inner.add_done_callback(lambda done: self._answer(done, answer, pool, process))
        return answer

    def close(self) -> None:
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
            if self._process is not None:
                self._process.terminate()
            self._pool = self._process = None

    def _submit(self, job: Job) -> Future[Result]:
        if self._pool is not None:
            return self._pool.submit(run_job, job, self._threads)
        self._pool = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_initialise,
            initargs=(self._threads,),
        )
        before = set(multiprocessing.active_children())
        future = self._pool.submit(run_job, job, self._threads)  # starts the process
        self._process = next(iter(set(multiprocessing.active_children()) - before), None)
        return future

    def _answer(
        self,
        done: Future[Result],
        answer: Future[Result],
        pool: ProcessPoolExecutor | None,
        process: BaseProcess | None,
    ) -> None:
        with self._lock:
            self.waiting -= 1
            is_broken = done.cancelled() or isinstance(done.exception(), BrokenProcessPool)
            if is_broken and self._pool is pool:  # there may be a new one already
                self._pool = self._process = None
        if done.cancelled():
            answer.set_exception(ExecutorAway("given up: the executor was closed"))
        elif isinstance(error := done.exception(), BrokenProcessPool):
            answer.set_exception(WorkerLost(_obituary(process)))
        elif error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(done.result())


def _obituary(process: BaseProcess | None) -> str:
    if process is None:
        return "a worker process has died"
    process.join(timeout=1.0)
    code = process.exitcode
    if code is not None and code < 0:
        return f"worker process {process.pid} was ended by {signal.Signals(-code).name}"
    return f"worker process {process.pid} has ended with code {code}"


_NICE = 5
"""Inference takes the processor time that the stream leaves: where there are as many workers as
cores, what comes in would otherwise be read at a part of the speed."""


def _initialise(threads: int) -> None:
    os.nice(_NICE)
    limit_numba_threads(threads)  # workers that each take all cores only get in each other's way
    end_with_parent()  # one whose daemon was killed must not go on alone


_one_at_a_time = threading.Lock()


def run_job(job: Job, threads: int) -> Result:
    """Run a job in this process, which has nothing else to do, on so many threads.

    One at a time in a process: its clock counts for all threads, and Numba's own threads
    cannot be asked by two at once.
    """
    # Imported in the worker: compiling kernels is none of the daemon's business.
    import numba

    from mmcoord.inference.engine import run

    with _one_at_a_time:
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        begun = _cpu_s()
        result = run(job)
        result.summary["cpu_s"] = round(_cpu_s() - begun, 3)
    return result


def _cpu_s() -> float:
    """Processor time of this process, its ended children and the sandboxes that it ended."""
    from mmcoord.inference.sandbox import spent_cpu_s

    t = os.times()
    return t.user + t.system + t.children_user + t.children_system + spent_cpu_s()
