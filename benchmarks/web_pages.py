"""How long the pages take to answer with many candidates, events and live viewers.

The store holds 500 events and an event with 10,000 candidates, no two at one place; 200 viewers, in
a process of their own, hold live streams open over the loopback, half of them with the first page
open and half with the event's, while every page is asked again and again over a kept connection by
one reader. Every ten seconds there is something new in the journal, and then each viewer does as a
browser does: it asks for its page anew within the second after the next, or later where the last
answer was slow. A page is kept while
nothing is written; "changed" is the same with a write before each question, so that each answer is
made anew. "peer" is ``/static/mmcoord.css`` of the
same server: the way without the store. "cpu_ms" is the server's processor time for one answer, its
live viewers' share of that time included: what a machine that does much else still tells. With
Chromium there, first paint is measured too.

    python -m benchmarks.web_pages [--viewers 200] [--repeats 30] [--news-every-s 10]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import uvicorn
from sqlmodel import SQLModel

from benchmarks.service_common import spread_ms
from benchmarks.skymaps_common import report
from mmcoord.api.app import create_app
from mmcoord.api.shared import LIVE
from mmcoord.config import Settings
from mmcoord.store.database import Database
from mmcoord.store.tables import CandidateRow, CounterRow, MatchRow, ScreeningRow
from tests.web import sample
from tests.web.busy import PAGES, busy
from tests.web.sample import CENTRE, EVENT, HEARD, MAP

_PORT = 8797
_PAUSE_S = 0.05
_ADDRESS = f"http://127.0.0.1:{_PORT}"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--viewers", type=int, default=200)
    asked.add_argument("--repeats", type=int, default=30)
    asked.add_argument("--candidates", type=int, default=10_000)
    asked.add_argument("--events", type=int, default=500)
    asked.add_argument("--news-every-s", type=float, default=10.0)
    asked.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    asked.add_argument("--watch", action="store_true", help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.serve:
        _serve(options.serve)
        return
    if options.watch:
        print(json.dumps(asdict(asyncio.run(_watch_all(options.viewers)))))
        return
    with TemporaryDirectory() as home:
        folder = Path(home)
        database = sample.open_store(folder)
        _fill(database, options.candidates, options.events)
        server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.web_pages", "--serve", str(folder)]
        )
        try:
            _wait()
            found, seen = _measure(database, server.pid, options)
            paint = _first_paint_ms()
        finally:
            server.terminate()
            server.wait(timeout=30)
            database.close()
    report(
        {
            "events": options.events,
            "candidates": options.candidates,
            "viewers": options.viewers,
            "news_every_s": options.news_every_s,
            "viewers_pages": seen.pages,
            "load_average": [round(x, 1) for x in os.getloadavg()],
            "pages": found,
            "first_paint_ms": paint,
        }
    )


def _fill(database: Database, candidates: int, events: int) -> None:
    sample.fill(database)
    busy(database)
    rows: list[SQLModel] = []
    for k in range(candidates - 40):
        ra, dec = _position(k / candidates, k)
        name = f"MANY{k:05d}"
        rows += [
            CandidateRow(object_id=name, source="practice", ra_deg=ra, dec_deg=dec, hpx29=k,
                         is_practice=True, notice_id=1, received_at=HEARD),
            MatchRow(event_id=EVENT, localization_id=MAP, object_id=name, prob_density_sr=1.0,
                     credible_level_2d=0.2 + 0.7 * k / candidates, matched_at=HEARD),
            ScreeningRow(event_id=EVENT, object_id=name, p_kilonova=0.001 * (k % 300),
                         reason="screened", screened_at=HEARD),
        ]  # fmt: skip
    sample.add(database, *rows)
    sample.add(
        database,
        *(
            sample.event_row(f"MS2702{k:03d}", first_received_at=HEARD - timedelta(minutes=k))
            for k in range(events)
        ),
    )


def _position(share: float, k: int) -> tuple[float, float]:
    """Even over a disk of 9 degrees about the middle of the map, from within outwards."""
    angle, reach_deg = 2.39996 * k, 9.0 * math.sqrt(share)
    return (
        CENTRE[0] + reach_deg * math.cos(angle) / math.cos(math.radians(CENTRE[1])),
        CENTRE[1] + reach_deg * math.sin(angle),
    )


def _serve(folder: Path) -> None:
    app = create_app(sample.open_store(folder), Settings(), list, max_viewers=1000)
    uvicorn.run(app, host="127.0.0.1", port=_PORT, log_level="warning", ws="none")


def _wait() -> None:
    for _ in range(600):
        try:
            httpx.get(f"{_ADDRESS}/healthz", timeout=5.0)
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit("the server did not start")


@dataclass
class _Seen:
    """What reached the viewers."""

    entries: int = 0
    pages: int = 0


def _measure(
    database: Database, server: int, options: argparse.Namespace
) -> tuple[dict[str, dict[str, Any]], _Seen]:
    watching = subprocess.Popen(
        [
            *(sys.executable, "-m", "benchmarks.web_pages"),
            "--watch",
            f"--viewers={options.viewers}",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    while _live_pages() < options.viewers:
        assert watching.poll() is None, "the viewers are gone"
        time.sleep(0.5)
    stop = threading.Event()
    writer = threading.Thread(
        target=_write, args=(database, stop, options.news_every_s), daemon=True
    )
    writer.start()
    found = _ask(database, server, options.repeats)
    stop.set()
    writer.join()
    seen = _Seen(**json.loads(watching.communicate(timeout=60)[0]))
    assert seen.entries >= options.viewers, f"{seen.entries} entries reached {options.viewers}"
    return found, seen


def _live_pages() -> int:
    said = re.search(r"(\d+) of at most \d+ live pages", httpx.get(f"{_ADDRESS}/health").text)
    assert said is not None
    return int(said[1])


async def _watch_all(viewers: int) -> _Seen:
    """All viewers, until standard input closes."""
    seen = _Seen()
    limits = httpx.Limits(max_connections=2 * viewers + 5)
    async with httpx.AsyncClient(base_url=_ADDRESS, limits=limits, timeout=120.0) as client:
        tasks = [
            asyncio.create_task(_watch(client, PAGES[("tonight", "event")[k % 2]], seen))
            for k in range(viewers)
        ]
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return seen


async def _watch(client: httpx.AsyncClient, path: str, seen: _Seen) -> None:
    """One browser with a live page: see ``soon`` and ``refresh`` in mmcoord.js."""
    news = asyncio.Event()

    async def refresh() -> None:
        cost = 0.0
        while True:
            await news.wait()
            await asyncio.sleep(max(1.0, 4.0 * cost) + random.random())
            news.clear()
            begun = time.perf_counter()
            async with client.stream("GET", path, headers={LIVE: "1"}) as answer:
                assert answer.status_code == 200, answer.status_code
                async for _ in answer.aiter_raw():  # as it comes: unpacking is the browser's work
                    pass
            cost = time.perf_counter() - begun
            seen.pages += 1

    refreshing = asyncio.create_task(refresh())
    try:
        async with client.stream("GET", "/events/stream") as answer:
            assert answer.status_code == 200, answer.status_code
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    seen.entries += 1
                    news.set()
    finally:
        refreshing.cancel()


def _write(database: Database, stop: threading.Event, every_s: float) -> None:
    number = 0
    while not stop.wait(every_s):
        number += 1
        sample.add(database, sample.journal("planned", "plan", f"entry {number}", 100.0 + number))


def _ask(database: Database, server: int, repeats: int) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    with httpx.Client(base_url=_ADDRESS, timeout=60.0) as client:
        for name, path in {**PAGES, "peer": "/static/mmcoord.css"}.items():
            client.get(path)  # what a process does once for all
            found[name] = _asked(client, path, server, repeats, lambda: None)
            found[name]["changed"] = _asked(
                client, path, server, repeats, partial(_touch, database)
            )
            print(name, found[name], file=sys.stderr, flush=True)
    return found


def _asked(
    client: httpx.Client, path: str, server: int, repeats: int, before: Callable[[], None]
) -> dict[str, Any]:
    times, size, cpu = [], 0, _cpu_s(server)
    for _ in range(repeats):
        time.sleep(_PAUSE_S)
        before()
        begun = time.perf_counter()
        answer = client.get(path)
        times.append(time.perf_counter() - begun)
        assert answer.status_code == 200, (path, answer.status_code)
        size = len(answer.content)
    cpu_ms = round(1000.0 * (_cpu_s(server) - cpu) / repeats, 1)
    return {**spread_ms(times), "cpu_ms": cpu_ms, "bytes": size}


def _touch(database: Database) -> None:
    """Write what no viewer is told of."""
    with database.write() as session:
        session.merge(CounterRow(source="benchmark", name="questions", n=time.monotonic_ns()))


def _cpu_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _first_paint_ms() -> dict[str, float]:
    """As the browser tells it, the better of two visits of each page."""
    from playwright.sync_api import sync_playwright

    from tests.web.test_browser import ARGUMENTS, CHROMIUM

    if not CHROMIUM.exists():
        return {}
    found: dict[str, float] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        for name in ("tonight", "events", "event", "runs"):
            page = browser.new_page()
            page.set_default_timeout(60_000)
            seen = []
            for _ in range(2):
                page.goto(_ADDRESS + PAGES[name], wait_until="load")
                page.wait_for_function(_PAINTED)
                seen.append(page.evaluate(_PAINTED))
            found[name] = round(min(seen), 1)
            page.close()
        browser.close()
    return found


_PAINTED = """() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime"""


if __name__ == "__main__":
    main()
