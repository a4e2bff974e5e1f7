"""What a process that was spawned to work for another sets up before its first task."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading

__all__ = ["end_with_parent", "limit_numba_threads"]


def limit_numba_threads(threads: int) -> None:
    """Have Numba take so many threads here, whether it has been imported yet or not.

    A spawned process imports its parent's main module first, and Numba may come with it. It would
    see the change of the environment when it next compiles, and refuse it once its threads are
    there; so it is told at once.
    """
    os.environ["NUMBA_NUM_THREADS"] = str(threads)
    if (numba := sys.modules.get("numba")) is not None:
        numba.config.reload_config()


def end_with_parent() -> None:
    """End this process when its parent is gone, however that ended."""
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
