"""Running a kernel that releases the GIL over parts of an array, on several threads."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["available_cores", "run_chunks"]

SERIAL_BELOW = 1 << 16
"""Fewer elements than this are not worth starting a thread for."""


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_chunks(
    kernel: Callable[[int, int], object],
    n: int,
    workers: int | None = None,
    *,
    serial_below: int = SERIAL_BELOW,
) -> None:
    """Call ``kernel(lo, hi)`` on consecutive parts of range(n); one call when n is small."""
    count = available_cores() if workers is None else workers
    if count <= 1 or n < serial_below:
        kernel(0, n)
        return
    bounds = [n * i // count for i in range(count + 1)]
    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(kernel, lo, hi) for lo, hi in itertools.pairwise(bounds)]:
            done.result()
