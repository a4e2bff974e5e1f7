"""From a Kafka broker to stored and matched: candidates per second, sustained.

A real Apache Kafka holds the messages; ``mmcoord serve`` is started as a user would, with
five active 3D maps in its store, reads them, stores candidates and photometry, and matches
each candidate with the maps. Inference is off (``infer.messengers``): what is measured is
the way from the broker into the matches. The matches are checked against a plain match of
all positions with all maps.

    python -m benchmarks.listeners_throughput [--store sqlite|postgresql] [--candidates N]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from sqlalchemy import func, select

import skymaps
from benchmarks.listeners_common import (
    CENTRES,
    LONG_OPEN,
    Candidates,
    Daemon,
    boom_message,
    candidates,
    counted,
    daemon,
    kafka_broker,
    notices,
    produce,
    store_url,
    wait_for,
)
from benchmarks.skymaps_common import report
from mmcoord.store import queue
from mmcoord.store.database import Database
from mmcoord.store.tables import CandidateRow, MatchRow
from tests.making import gaussian_map

_LEVEL = 0.99


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--candidates", type=int, default=100_000)
    wanted = parser.parse_args()
    sky = candidates(wanted.candidates)
    with kafka_broker() as broker, store_url(wanted.store) as url:
        broker.create("gw")
        broker.create("candidates")
        produce(broker, "gw", notices())
        size = produce(
            broker, "candidates", (boom_message(sky, i) for i in range(wanted.candidates))
        )
        listeners = [
            {
                "name": name,
                "transport": "kafka",
                "source": source,
                "topics": [topic],
                "group_id": "bench",
                "options": {"bootstrap_servers": broker.address("plain"), "broker": "bench"},
            }
            for name, source, topic in (("gw", "igwn", "gw"), ("lsst", "boom", "candidates"))
        ]
        with daemon(url, listeners, infer={"messengers": []}, match=LONG_OPEN) as running:
            figures = _measured(Database(url), wanted.candidates, running)
            figures |= _checked(Database(url), sky)
    report(
        {
            "benchmark": "listeners_throughput",
            "store": wanted.store,
            "candidates": wanted.candidates,
            "points_each": 4,
            "bytes_each": round(size / wanted.candidates),
            "active_maps": len(CENTRES),
            **figures,
        }
    )


def _measured(database: Database, n: int, running: Daemon) -> dict[str, Any]:
    """Wait for the end; rates count from the first candidate stored."""
    wait_for(lambda: counted(database) > len(CENTRES), 60, "nothing comes")
    begun, cpu = time.monotonic(), running.cpu_s()
    wait_for(lambda: counted(database) == n + len(CENTRES), 900, "not all was received")
    received_s = time.monotonic() - begun

    def is_done() -> bool:
        with database.snapshot() as session:
            return not any(queue.pending(session, stage) for stage in ("intake", "match"))

    wait_for(is_done, 900, "not all was matched")
    seconds = time.monotonic() - begun
    return {
        "received_per_s": round(n / received_s),
        "stored_and_matched_per_s": round(n / seconds),
        "wall_s": round(seconds, 2),
        "cpu_s": round(running.cpu_s() - cpu, 2),
        "peak_mb": running.peak_mb(),
    }


def _checked(database: Database, sky: Candidates) -> dict[str, Any]:
    """Compare what was stored with a plain match, map by map."""
    expected = 0
    for ra, dec in CENTRES:
        ready = skymaps.prepare(gaussian_map(ra, dec, 8.0))
        nothing = np.full(len(sky.ra), np.nan)
        found = skymaps.match(ready, sky.ra, sky.dec, nothing, (nothing, nothing))
        expected += int(np.count_nonzero(found.credible_level_2d <= _LEVEL))
    with database.snapshot() as session:
        stored, matches = (
            session.execute(select(func.count()).select_from(kind)).scalar_one()
            for kind in (CandidateRow, MatchRow)
        )
        lost = {b.stage: b.lost for b in queue.balance(session) if b.lost}
    if stored != len(sky.ra) or matches != expected or lost:
        raise SystemExit(f"wrong: {stored} stored, {matches} of {expected} matches, lost {lost}")
    return {"matches": matches, "matches_expected": expected}


if __name__ == "__main__":
    main()
