"""The always-on service: starts the stages, the listeners and the page, and watches them.

Threads, each restarted with growing delay if it ever ends by an exception:

* ``stages``: intake, match, infer, plan, batch by batch;
* ``deliver``: the outbox, apart, because services outside may be slow;
* one per listener;
* ``watchdog``, and one per sink of the operators, which tells them of alarms.

The page runs in the main thread. Nothing here holds a state that matters: ``kill -9`` and a
new start give what an uninterrupted run would have given.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from listeners.settings import ListenerStatus
from mmcoord.api.app import create_app
from mmcoord.config import Settings
from mmcoord.stages import deliver
from mmcoord.stages.context import Context
from mmcoord.stages.executor import PoolExecutor
from mmcoord.stages.pipeline import Pipeline
from mmcoord.watchdog.runner import Watchdog
from mmcoord.watchdog.telling import Teller, operators
from mmcoord.wiring import (
    build_context,
    build_listener,
    open_database,
    status_json,
    with_default_sink,
)

__all__ = ["Feeder", "serve"]

_log = logging.getLogger(__name__)
_IDLE_S = 0.1
_GRACE_S = 3
_RESTART_S = (1.0, 60.0)

Feeder = Callable[[Context, threading.Event], None]
"""Feeds messages of its own (a practice night) until done or told to stop."""


def serve(settings: Settings, *, feeder: Feeder | None = None) -> None:
    """Run until SIGINT or SIGTERM, then finish what is in hand and return.

    Raises
    ------
    ConfigError
        Settings that cannot work, or another mmcoord on the same store.
    """
    settings = with_default_sink(settings, Path(settings.data_dir) / "outbox")
    stop = threading.Event()
    statuses: dict[str, ListenerStatus] = {}
    with ExitStack() as stack:
        database = open_database(settings)
        stack.callback(database.close)
        stack.enter_context(database.pipeline_lock())
        client = stack.enter_context(httpx.Client())
        ctx = build_context(settings, database, client)
        pipeline = Pipeline(ctx, PoolExecutor(settings.infer.workers))
        stack.callback(pipeline.close)
        loops: dict[str, Callable[[], None]] = {
            "stages": lambda: _loop(pipeline.recover, pipeline.step, stop),
            "deliver": lambda: _loop(lambda: deliver.recover(ctx), lambda: deliver.run(ctx), stop),
        }
        for name, wanted in settings.listeners.items():
            listener = build_listener(
                ctx, name, wanted, lambda status: statuses.__setitem__(status.name, status)
            )
            loops[f"listen {name}"] = lambda listener=listener: listener.run(stop)  # type: ignore[misc]
        watchdog = Watchdog(ctx, lambda: dict(statuses))
        loops["watchdog"] = lambda: watchdog.run(stop)
        for name, sink in operators(settings, ctx.sinks).items():
            teller = Teller(name, sink, database, watchdog.unwritten, ctx.now, settings.page_url)
            loops[f"tell {name}"] = lambda teller=teller: teller.run(stop)  # type: ignore[misc]
        if feeder is not None:
            loops["feed"] = lambda: feeder(ctx, stop)
        threads = [
            threading.Thread(target=_supervise, args=(name, loop, stop), name=name)
            for name, loop in loops.items()
        ]
        for thread in threads:
            thread.start()
        try:
            app = create_app(
                database,
                settings,
                lambda: [status_json(s) for s in statuses.values()],
                watched_at=lambda: watchdog.checked_at,
            )
            _serve_page(app, settings)
        finally:
            stop.set()
            for thread in threads:
                thread.join(timeout=30)


def _serve_page(app: Any, settings: Settings) -> None:
    config = uvicorn.Config(
        app,
        host=settings.web.host,
        port=settings.web.port,
        log_level="warning",
        lifespan="off",
        timeout_graceful_shutdown=_GRACE_S,  # live pages would stay open for ever
    )
    server = uvicorn.Server(config)
    print(f"mmcoord: http://{settings.web.host}:{settings.web.port}/", flush=True)  # noqa: T201
    server.run()


def _loop(recover: Callable[[], None], step: Callable[[], int], stop: threading.Event) -> None:
    recover()  # also after a fault that ended this loop: what it had in hand is taken up again
    while not stop.is_set():
        if not step():
            stop.wait(_IDLE_S)


def _supervise(name: str, loop: Callable[[], None], stop: threading.Event) -> None:
    delay = _RESTART_S[0]
    while not stop.is_set():
        begun = time.monotonic()
        try:
            loop()
            return
        except Exception:
            # Whatever it was (a locked database, a full disk), the night goes on.
            if time.monotonic() - begun > _RESTART_S[1]:
                delay = _RESTART_S[0]
            _log.exception("%s stopped; starting it again in %.0f s", name, delay)
            stop.wait(delay)
            delay = min(2 * delay, _RESTART_S[1])
