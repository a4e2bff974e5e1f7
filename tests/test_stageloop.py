"""A stage's thread sleeps while there is nothing to do, and no longer than that."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from mmcoord.stageloop import StageLoop, until_due
from mmcoord.stages.context import Context
from mmcoord.store import queue
from mmcoord.store.queue import Wish
from tests.making import make_context
from tests.stores import migrated

LONG_S = 60.0
"""Longer than any of these tests may take: who is not woken fails."""


@pytest.fixture
def ctx(sqlite_url: str, tmp_path: Path) -> Context:
    return make_context(migrated(sqlite_url), tmp_path / "out")


def nothing() -> None:
    pass


def test_what_one_stage_has_done_wakes_the_next() -> None:
    work: dict[str, int] = {"first": 0, "second": 0}
    begun, done, stop = threading.Event(), threading.Event(), threading.Event()
    loops: dict[str, StageLoop] = {}

    def wake() -> None:
        for loop in loops.values():
            loop.bell.set()

    def first() -> int:
        begun.set()
        moved, work["first"] = work["first"], 0
        work["second"] += moved
        return moved

    def second() -> int:
        moved, work["second"] = work["second"], 0
        if moved:
            done.set()
        return moved

    for name, step in (("first", first), ("second", second)):
        loops[name] = StageLoop(wake, nothing, step, lambda: LONG_S)
    threads = [threading.Thread(target=loop.run, args=(stop,)) for loop in loops.values()]
    for thread in threads:
        thread.start()
    assert begun.wait(LONG_S / 2)
    work["first"] = 3
    loops["first"].bell.set()
    assert done.wait(LONG_S / 2)
    stop.set()
    wake()
    for thread in threads:
        thread.join(LONG_S / 2)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("delay_s", "expected_s"), [(None, 0.5), (20.0, 0.5), (0.3, 0.3), (0.0, 0.1), (-5.0, 0.1)]
)
def test_a_stage_waits_until_the_next_wish_is_due(
    ctx: Context, delay_s: float | None, expected_s: float
) -> None:
    now = ctx.now()
    if delay_s is not None:
        with ctx.database.write() as session:
            queue.enqueue(session, [Wish("plan", "S1", "test")], now + timedelta(seconds=delay_s))
    at = replace(ctx, now=partial(lambda instant: instant, now))
    assert until_due(at, 0.5) == pytest.approx(expected_s)
