"""Live updates: over a real connection, from a real store."""

from __future__ import annotations

import asyncio
import html
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from mmcoord.api.app import create_app
from mmcoord.api.stream import frame
from mmcoord.api.tail import JournalTail
from mmcoord.config import Settings
from mmcoord.store.database import Database
from mmcoord.store.views_log import Entry
from tests.web import sample
from tests.web.sample import EVENT, HEARD
from tests.web.server import serving


@pytest.fixture
def address(database: Database) -> Iterator[str]:
    with serving(create_app(database, Settings(), list, max_viewers=2)) as found:
        yield found


def frames(lines: Iterator[str], number: int) -> list[dict[str, Any]]:
    """The data of the next ``number`` journal events."""
    found = []
    for line in lines:
        if line.startswith("data: "):
            found.append(json.loads(line.removeprefix("data: ")))
            if len(found) == number:
                return found
    raise AssertionError("the stream ended")


def until(lines: Iterator[str], wanted: str) -> None:
    """Read on to the line ``wanted``."""
    for line in lines:
        if line == wanted:
            return
    raise AssertionError("the stream ended")


def watch(address: str, query: str = "", **headers: str) -> Any:
    return httpx.stream("GET", f"{address}/events/stream{query}", headers=headers, timeout=20)


def test_a_new_entry_reaches_a_viewer_and_history_does_not(
    address: str, database: Database
) -> None:
    sample.add(database, sample.journal("received", "intake", "before", 0.0))
    with watch(address) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-content-type-options"] == "nosniff"
        lines = answer.iter_lines()
        until(lines, ": hello")
        sample.add(database, sample.journal("planned", "plan", "after", 1.0, 0.5))
        (entry,) = frames(lines, 1)
    assert entry["what"] == "planned"
    assert entry["latency_s"] == 0.5
    assert entry["event_id"] == EVENT


def test_a_viewer_that_was_away_gets_what_it_missed_once(address: str, database: Database) -> None:
    sample.add(database, *(sample.journal("sent", "deliver", str(k), k) for k in range(5)))
    with watch(address, **{"Last-Event-ID": "3"}) as answer:
        lines = answer.iter_lines()
        assert [entry["text"] for entry in frames(lines, 2)] == ["3", "4"]
        sample.add(database, sample.journal("sent", "deliver", "new", 9.0))
        assert [entry["text"] for entry in frames(lines, 1)] == ["new"]


def test_what_is_written_between_a_page_and_its_stream_reaches_the_viewer(
    address: str, database: Database
) -> None:
    sample.add(database, sample.journal("received", "intake", "in the page", 0.0))
    page = httpx.get(f"{address}/events").text
    sample.add(database, sample.journal("planned", "plan", "between", 1.0))
    (stream,) = re.findall('data-stream="([^"]+)"', page)
    with watch(address, html.unescape(stream).removeprefix("/events/stream")) as answer:
        assert frames(answer.iter_lines(), 1)[0]["text"] == "between"


def test_a_viewer_that_comes_during_anothers_first_look_is_told_too() -> None:
    book = Journal()
    book.entries = {1: entry(1), 2: entry(2)}
    tail = JournalTail(book.after, book.newest)

    async def two() -> list[list[int]]:
        found = await asyncio.gather(tail.start(1), tail.start(1))
        return [[e.id for e in missed] for _, missed in found]

    assert asyncio.run(two()) == [[2], [2]]


@pytest.mark.parametrize("last", ["", "x", "-1", "9" * 40, "1e3"])
def test_a_broken_last_event_id_is_as_none(address: str, database: Database, last: str) -> None:
    sample.add(database, sample.journal("sent", "deliver", "old", 0.0))
    with watch(address, **{"Last-Event-ID": last}) as answer:
        lines = answer.iter_lines()
        until(lines, ": hello")
        sample.add(database, sample.journal("sent", "deliver", "new", 1.0))
        assert frames(lines, 1)[0]["text"] == "new"


def test_a_page_about_one_event_hears_of_that_event_and_of_none(
    address: str, database: Database
) -> None:
    with watch(address, f"?event={EVENT}") as answer:
        lines = answer.iter_lines()
        until(lines, ": hello")
        sample.add(
            database,
            sample.journal("planned", "plan", "other", 1.0, event_id="S1"),
            sample.journal("candidates", "intake", "none", 2.0, event_id=None),
            sample.journal("planned", "plan", "this", 3.0),
        )
        assert [entry["text"] for entry in frames(lines, 2)] == ["none", "this"]


def test_viewers_are_bounded_and_a_place_is_freed_when_one_leaves(address: str) -> None:
    with watch(address) as first, watch(address) as second:
        streams = [first.iter_lines(), second.iter_lines()]  # a dropped iterator hangs up
        for lines in streams:
            until(lines, ": hello")
        refused = httpx.get(f"{address}/events/stream")
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "30"
        assert "2 of at most 2 live pages" in httpx.get(f"{address}/health").text
    deadline = time.monotonic() + 20
    while "0 of at most 2 live pages" not in httpx.get(f"{address}/health").text:
        assert time.monotonic() < deadline, "the places were not freed"
        time.sleep(0.1)


def entry(number: int, text: str = "") -> Entry:
    return Entry(number, HEARD, "plan", "planned", text, EVENT, None, None, "notice:1")


def test_text_cannot_forge_an_event() -> None:
    hostile = "x\n\nid: 999\nevent: journal\ndata: {}\r\r\u2028"
    wire = frame(entry(7, hostile))
    assert wire.count("\n\n") == 1
    assert [line.split(":")[0] for line in wire.strip().splitlines()] == ["id", "event", "data"]
    assert json.loads(wire.splitlines()[2].removeprefix("data: "))["text"] == hostile


class Journal:
    """A journal whose entries become visible in any order, and that counts its readers."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.reads = 0

    def after(self, entry_id: int, limit: int) -> list[Entry]:
        self.reads += 1
        return [self.entries[k] for k in sorted(self.entries) if k > entry_id][:limit]

    def newest(self) -> int:
        return max(self.entries, default=0)


def test_entries_committed_out_of_order_are_all_seen_once() -> None:
    book = Journal()
    book.entries = {k: entry(k) for k in range(1, 11)}
    tail = JournalTail(book.after, book.newest, interval_s=0.0)

    async def follow() -> list[int]:
        seen = []
        place, missed = await tail.start(None)
        assert missed == []
        for commit in ([12], [11, 14], [13], []):
            book.entries |= {k: entry(k) for k in commit}
            place, fresh = await tail.after(place)
            seen += [e.id for e in fresh]
        return seen

    assert asyncio.run(follow()) == [12, 11, 14, 13]


def test_a_hundred_viewers_cost_the_store_what_one_costs() -> None:
    book = Journal()
    tail = JournalTail(book.after, book.newest, interval_s=3600.0)

    async def crowd() -> None:
        await asyncio.gather(*(tail.start(None) for _ in range(100)))
        await asyncio.gather(*(tail.after(0) for _ in range(100)))

    asyncio.run(crowd())
    assert book.reads == 1
