"""Following runs: what watchers are told, and what it costs the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing

from sqlalchemy.exc import OperationalError

from mmcoord.api.runwatch import RunWatch


class Queue:
    """Runs whose states a test sets, and that counts its readers."""

    def __init__(self, **states: str) -> None:
        self.states = states
        self.asked: list[tuple[str, ...]] = []
        self.is_away = False

    def read(self, keys: Collection[str]) -> dict[str, str]:
        self.asked.append(tuple(keys))
        if self.is_away:
            raise OperationalError("SELECT", {}, Exception("gone"))
        return {key: self.states[key] for key in keys if key in self.states}


async def to_the_end(states: AsyncIterator[str | None]) -> list[str | None]:
    told = []
    async for state in states:
        told.append(state)
        if state == "done":
            break
    return told


async def through(watch: RunWatch, key: str, silence_s: float = 30.0) -> list[str | None]:
    async with aclosing(watch.states(key, "queued", silence_s)) as states:
        return await to_the_end(states)


def test_all_who_watch_a_run_see_each_of_its_states_once() -> None:
    queue = Queue(a="queued", b="queued")
    watch = RunWatch(queue.read, interval_s=0.01)

    async def crowd() -> list[list[str | None]]:
        waiting = [asyncio.create_task(through(watch, "ab"[k % 2])) for k in range(100)]
        for key, state in (("a", "running"), ("b", "running"), ("b", "done"), ("a", "done")):
            await asyncio.sleep(0.1)
            queue.states[key] = state
        return await asyncio.gather(*waiting)

    assert asyncio.run(crowd()) == [["queued", "running", "done"]] * 100


def test_a_hundred_watchers_cost_the_store_what_one_costs() -> None:
    async def reads(n_watchers: int) -> int:
        queue = Queue(a="queued")
        watch = RunWatch(queue.read, interval_s=3600.0)
        waiting = [asyncio.create_task(through(watch, "a")) for _ in range(n_watchers)]
        await asyncio.sleep(0.2)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        return len(queue.asked)

    assert asyncio.run(reads(100)) == asyncio.run(reads(1)) == 1


def test_a_run_that_has_ended_is_told_without_asking() -> None:
    queue = Queue(a="done")
    watch = RunWatch(queue.read)

    async def once() -> str | None:
        async with aclosing(watch.states("a", "done", 1.0)) as states:
            return await anext(states)

    assert asyncio.run(once()) == "done"
    assert queue.asked == []


def test_silence_is_told_and_nobody_is_kept_who_has_left() -> None:
    queue = Queue(a="queued")
    watch = RunWatch(queue.read, most=1, interval_s=0.01)

    async def watching() -> None:
        async with aclosing(watch.states("a", "queued", 0.05)) as states:
            assert await anext(states) == "queued"
            assert await anext(states) is None
            assert watch.full
        assert not watch.full
        await asyncio.sleep(0.1)
        n_asked = len(queue.asked)
        await asyncio.sleep(0.1)
        assert len(queue.asked) == n_asked

    asyncio.run(watching())


def test_a_store_that_is_away_for_a_while_ends_no_watch() -> None:
    queue = Queue(a="queued")
    watch = RunWatch(queue.read, interval_s=0.01)

    async def through_an_outage() -> list[str | None]:
        waiting = asyncio.create_task(through(watch, "a"))
        await asyncio.sleep(0.05)
        queue.is_away = True
        await asyncio.sleep(0.05)
        queue.is_away, queue.states["a"] = False, "done"
        return await waiting

    assert asyncio.run(through_an_outage()) == ["queued", "done"]
