"""Plans beside what comes in: neither leaves the other without time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from mmcoord.stages.context import Context
from mmcoord.stages.pipeline import Pipeline
from mmcoord.store import queue
from mmcoord.store.database import Database
from mmcoord.store.queue import Wish
from tests.making import StandInExecutor, candidate_row, make_context, send

EVENTS = [f"S27010{k}a" for k in range(4)]


@pytest.fixture
def ctx(database: Database, tmp_path: Path) -> Context:
    return make_context(database, tmp_path / "out")


def slow_clock() -> Callable[[], float]:
    """One second passes between any two looks at it."""
    ticks = itertools.count()
    return lambda: float(next(ticks))


def wish_for_plans(ctx: Context, priority: int = 1) -> None:
    wishes = [Wish("plan", event_id, "test", priority) for event_id in EVENTS]
    with ctx.database.write() as session:
        queue.enqueue(session, wishes, ctx.now())


def plans_wanted(ctx: Context) -> int:
    with ctx.database.read() as session:
        return queue.pending(session, "plan")


def test_while_candidates_come_in_plans_are_made_one_by_one_with_rests(ctx: Context) -> None:
    pipeline = Pipeline(ctx, StandInExecutor(), clock=slow_clock())
    wish_for_plans(ctx)
    left = []
    for step in range(12):
        send(ctx, [("table_candidates", candidate_row(f"c{step}", 10.0, step))], topic=f"t{step}")
        pipeline.step()
        left.append(plans_wanted(ctx))
    # A plan takes a second of this clock, the rest after it three, and each step that rests one.
    assert left == [3, 3, 3, 2, 2, 2, 1, 1, 1, 0, 0, 0]


def test_where_nothing_comes_in_plans_do_not_wait(ctx: Context) -> None:
    pipeline = Pipeline(ctx, StandInExecutor(), clock=slow_clock())
    wish_for_plans(ctx)
    pipeline.step()
    assert plans_wanted(ctx) == 0


def test_what_follows_an_alert_does_not_rest(ctx: Context) -> None:
    pipeline = Pipeline(ctx, StandInExecutor(), clock=slow_clock())
    wish_for_plans(ctx, queue.URGENT)
    left = []
    for step in range(4):
        send(ctx, [("table_candidates", candidate_row(f"c{step}", 10.0, step))], topic=f"t{step}")
        pipeline.step()
        left.append(plans_wanted(ctx))
    assert left == [3, 2, 1, 0]
