"""The consumer of the fault run: real listeners, real inbox, real intake; killed at will.

python -m benchmarks.listeners_consumer SERVERS STORE
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path

import httpx

from benchmarks.listeners_night import ALERTS, CANDIDATES
from mmcoord.config import ListenerSettings, Settings
from mmcoord.opening import open_database
from mmcoord.stages import intake
from mmcoord.wiring import build_context, build_listener

_SOURCES = {ALERTS: "igwn", CANDIDATES: "table_candidates"}


def main() -> None:
    """Listen and read until SIGTERM."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    servers, store = sys.argv[1:]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings = Settings(data_dir=str(Path(store).parent), database_url=f"sqlite:///{store}")
    database = open_database(settings)
    ctx = build_context(settings, database, httpx.Client())
    threads = []
    for topic, source in _SOURCES.items():
        wanted = ListenerSettings(
            transport="kafka",
            source=source,
            topics=(topic,),
            group_id=f"faults-{source}",
            options={
                "bootstrap_servers": servers,
                "broker": "faults",
                "config": {
                    "group.protocol": "consumer",
                    "topic.metadata.refresh.interval.ms": 1000,
                },
            },
        )
        listener = build_listener(ctx, source, wanted, lambda status: None)
        threads.append(threading.Thread(target=listener.run, args=(stop,)))
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    while not stop.is_set():
        if not intake.run(ctx):
            stop.wait(0.05)
    for thread in threads:
        thread.join()
    database.close()


if __name__ == "__main__":
    main()
