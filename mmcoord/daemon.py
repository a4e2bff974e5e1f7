"""The always-on service: starts the stages, the listeners and the page, and watches them.

Threads, each restarted with growing delay if it ever ends by an exception:

* ``alerts``: intake of what may wake people, and the joining of neutrino bursts, apart from
  everything that comes in bulk;
* ``stages``: intake of candidates, match, infer, plan, batch by batch;
* ``deliver``: the outbox, apart, because services outside may be slow;
* ``hear``: what observers say at the sinks, apart for the same reason;
* ``fetch``: maps behind links, apart for the same reason;
* ``models``: checks of uploaded models, which run for minutes in a process apart;
* one per listener;
* ``watchdog``, and one per sink of the operators, which tells them of alarms.

The page runs in the main thread. A process may have some of these only (:mod:`mmcoord.roles`);
each of them still has one process for it. Nothing here holds a state that matters: ``kill -9``
and a new start give what an uninterrupted run would have given.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from listeners.settings import ListenerStatus
from mmcoord import supervisor
from mmcoord.announcements import RunStatus
from mmcoord.api.app import create_app
from mmcoord.config import Settings
from mmcoord.errors import ConfigError
from mmcoord.opening import open_database
from mmcoord.roles import ALL, EXCLUSIVE, Role
from mmcoord.stageloop import StageLoop, until_due
from mmcoord.stages import bursts, coincide, deliver, fetch, hear, intake, localize
from mmcoord.stages.announce import announce
from mmcoord.stages.context import Context
from mmcoord.stages.executor import build_executor
from mmcoord.stages.modelcheck import ModelChecks
from mmcoord.stages.pipeline import Pipeline
from mmcoord.tracing import Traces, otlp_exporter
from mmcoord.watchdog.runner import Watchdog
from mmcoord.watchdog.telling import Teller, operators
from mmcoord.wiring import (
    build_context,
    build_listener,
    status_json,
    with_default_sink,
)

__all__ = ["Feeder", "serve"]

_log = logging.getLogger(__name__)
_IDLE_S = 0.5
"""A stage without work looks so often: what this process does rings its bell, what others write to
the store does not ..."""
_SHARED_IDLE_S = 0.1
"""... so it is this where other processes have the other roles."""
_GATHER_S = 0.1
_SWITCH_S = 0.0005
"""How long a thread may keep the interpreter while others wait. With Python's 5 ms an alert, which
gives it up at every statement to the store, waits dozens of times for the candidates."""
_GRACE_S = 3
_LOCK_S = 5.0
"""How often a process that shares the store looks whether it still has its roles."""
_RESTART_S = (1.0, 60.0)

_HUNG_S = 180.0
"""A watchdog that has not looked for so long hangs; a slow store may hold it up for a while."""

Loop = Callable[[threading.Event], None]
Feeder = Callable[[Context, threading.Event], None]
"""Feeds messages of its own (a practice night) until done or told to stop."""


def serve(
    settings: Settings, *, feeder: Feeder | None = None, roles: frozenset[Role] = ALL
) -> None:
    """Run until SIGINT or SIGTERM, then finish what is in hand and return.

    Raises
    ------
    ConfigError
        Settings that cannot work, or another mmcoord on the same store.
    """
    sys.setswitchinterval(_SWITCH_S)
    settings = with_default_sink(settings, Path(settings.data_dir) / "outbox")
    if roles != ALL and (settings.url.startswith("sqlite") or feeder is not None):
        raise ConfigError(
            "--roles: several processes need PostgreSQL (database_url), and no feeder"
        )
    stop = threading.Event()
    _stop_on_signal(stop)
    statuses: dict[str, ListenerStatus] = {}
    with ExitStack() as stack:
        database = open_database(settings, shared=roles != ALL)
        stack.callback(database.close)
        is_held = stack.enter_context(
            database.pipeline_lock([role for role in EXCLUSIVE if role in roles])
        )
        client = stack.enter_context(httpx.Client())
        stages: dict[str, StageLoop] = {}

        def wake() -> None:
            for stage in stages.values():
                stage.bell.set()

        ctx = replace(build_context(settings, database, client), wake=wake)
        idle_s = _IDLE_S if roles == ALL else _SHARED_IDLE_S
        if Role.STAGES in roles:
            stages |= _pipeline(ctx, stack, idle_s)
        if Role.DELIVER in roles:
            stages["deliver"] = StageLoop(
                wake, lambda: deliver.recover(ctx), lambda: deliver.run(ctx), lambda: idle_s
            )
        if Role.LISTEN in roles and settings.fetches:
            stages["fetch"] = StageLoop(
                wake,
                lambda: None,
                lambda: fetch.run(ctx, stopped=stop.is_set),
                lambda: idle_s,
            )
        loops: dict[str, Loop] = {name: stage.run for name, stage in stages.items()}
        watched_at: Callable[[], datetime | None] | None = None
        if Role.LISTEN in roles:
            watchdog = Watchdog(ctx, lambda: dict(statuses))
            watched_at = partial(getattr, watchdog, "checked_at")
            loops |= _listening(ctx, statuses) | _watching(ctx, watchdog)
        if Role.DELIVER in roles:
            loops["hear"] = lambda stop: hear.listen(ctx, stop)
        if Role.STAGES in roles and settings.trace_endpoint:
            exporter = otlp_exporter(settings.trace_endpoint)
            loops["traces"] = Traces(database, exporter, version("mmcoord")).run
        if feeder is not None:
            loops["feed"] = lambda stop: feeder(ctx, stop)
        if roles != ALL:
            loops["lock"] = lambda _: _end_without_lock(stop, is_held)
        loops["alive"] = lambda stop: supervisor.keep_alive(stop, lambda: _is_well(ctx, watched_at))
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
                wake=wake,
                watched_at=watched_at,
                health_only=Role.PAGE not in roles,
                tell=lambda session, row: announce(ctx, session, row, RunStatus.DONE),
            )
            _serve_page(app, settings, stop)
        finally:
            stop.set()
            supervisor.tell("STOPPING=1")
            for thread in threads:
                thread.join(timeout=30)


def _warm_up() -> None:
    localize.warm_up()
    bursts.warm_up()


def _alerts(ctx: Context) -> int:
    """Alerts, and at once what they say of a neutrino burst: that is what cannot wait."""
    return intake.run(ctx, intake.Lane.ALERTS) + bursts.run(ctx) + coincide.run(ctx)


def _pipeline(ctx: Context, stack: ExitStack, idle_s: float) -> dict[str, StageLoop]:
    pipeline = Pipeline(ctx, build_executor(ctx.settings.infer), alerts_apart=True)
    stack.callback(pipeline.close)
    checks = ModelChecks()
    stack.callback(checks.close)
    return {
        "alerts": StageLoop(ctx.wake, _warm_up, lambda: _alerts(ctx), lambda: idle_s),
        "stages": StageLoop(
            ctx.wake,
            pipeline.recover,
            pipeline.step,
            lambda: until_due(ctx, idle_s),
            gather_s=_GATHER_S,
        ),
        "models": StageLoop(ctx.wake, lambda: None, lambda: checks.run(ctx), lambda: idle_s),
    }


def _listening(ctx: Context, statuses: dict[str, ListenerStatus]) -> dict[str, Loop]:
    def note(status: ListenerStatus) -> None:
        statuses[status.name] = status

    return {
        f"listen {name}": build_listener(ctx, name, wanted, note).run
        for name, wanted in ctx.settings.heard.items()
    }


def _watching(ctx: Context, watchdog: Watchdog) -> dict[str, Loop]:
    loops: dict[str, Loop] = {"watchdog": watchdog.run}
    url, database = ctx.settings.page_url, ctx.database
    for name, sink in operators(ctx.settings, ctx.sinks).items():
        loops[f"tell {name}"] = Teller(name, sink, database, watchdog.unwritten, ctx.now, url).run
    return loops


def _end_without_lock(stop: threading.Event, is_held: Callable[[], bool]) -> None:
    """A standby may have our roles by now; a new start gets them back or finds that out."""
    while not stop.wait(_LOCK_S):
        if not is_held():
            _log.error("the lock of our roles is lost: ending, to be started again")
            stop.set()


def _is_well(ctx: Context, watched_at: Callable[[], datetime | None] | None) -> bool:
    """Whether the watchdog, where there is one, still looks; at first it has not looked yet."""
    last = watched_at() if watched_at is not None else None
    return last is None or (ctx.now() - last).total_seconds() < _HUNG_S


def _stop_on_signal(stop: threading.Event) -> None:
    """SIGTERM and SIGINT ask us to finish; the web server hands them on when it has ended.

    Without a handler of ours it would end the process then, with work in hand.
    """
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())


def _serve_page(app: Any, settings: Settings, stop: threading.Event) -> None:
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

    def end_with_the_rest() -> None:
        stop.wait()  # the signal may have come before the server took the handlers over
        server.should_exit = True

    threading.Thread(target=end_with_the_rest, daemon=True).start()
    supervisor.tell("READY=1")
    server.run()


def _supervise(name: str, loop: Loop, stop: threading.Event) -> None:
    delay = _RESTART_S[0]
    while not stop.is_set():
        begun = time.monotonic()
        try:
            loop(stop)
            return
        except Exception:
            # Whatever it was (a locked database, a full disk), the night goes on.
            if time.monotonic() - begun > _RESTART_S[1]:
                delay = _RESTART_S[0]
            _log.exception("%s stopped; starting it again in %.0f s", name, delay)
            stop.wait(delay)
            delay = min(2 * delay, _RESTART_S[1])
