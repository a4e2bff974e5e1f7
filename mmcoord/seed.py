"""TNS by hand: the whole catalogue from a local file, once, and one object on demand."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, select

from listeners import tns
from listeners.polling import content_offset
from listeners.tns_feed import lines_of_zip, look_up
from mmcoord.errors import ConfigError
from mmcoord.polled import feed_options
from mmcoord.records import KnownTransient, Notice
from mmcoord.stages import intake
from mmcoord.stages.context import Context
from mmcoord.store import queue
from mmcoord.store.tables import DeadLetterRow, KnownTransientRow

__all__ = ["ask_tns", "seed_tns"]

_BROKER = "www.wis-tns.org"
_TOPIC = "tns_public_objects"
_CHUNKS = 20
"""Payloads a step: 2,000 rows, so that no transaction holds the store for long."""
_MOST_BYTES = 2**30
_WAIT_S = 0.2


def seed_tns(ctx: Context, path: Path, say: Callable[[str], None]) -> dict[str, int]:
    """Store every row of a TNS file (CSV, or the zip with it); returns counts.

    Reading the same file again changes nothing. With a daemon on the same store the rows
    go through its intake, step by step; without one they are read here.

    Raises
    ------
    ConfigError
        No such file.
    BadInput
        A file that is no list of TNS.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    counts = {"payloads": 0, "new": 0}
    with ExitStack() as stack:
        try:
            stack.enter_context(ctx.database.pipeline_lock())
            alone = True
        except ConfigError:
            alone = False
            say("a daemon is at work on this store; it reads the rows")
        payloads = tns.chunks(_lines(path))
        while batch := list(itertools.islice(payloads, _CHUNKS)):
            counts["payloads"] += len(batch)
            counts["new"] += intake.receive(ctx, [_notice(ctx, payload) for payload in batch])
            _settle(ctx, alone=alone)
    return counts | _totals(ctx)


def ask_tns(ctx: Context, name: str) -> KnownTransient:
    """Ask TNS for one object with the login of the configured listener, and store the answer.

    Raises
    ------
    ConfigError
        No listener of the source ``tns`` is configured, or its login is not there.
    ServiceError
        No usable answer, or the quota is used up.
    BadInput
        TNS knows no such object.
    """
    configured = [one for one in ctx.settings.listeners.values() if one.source == "tns"]
    if not configured:
        raise ConfigError("tns: no listener of this source is configured, so there is no login")
    with httpx.Client() as client:
        payload = look_up(client, feed_options(configured[0].options), name, ctx.now())
    intake.receive(ctx, [_notice(ctx, payload)])
    return tns.parse(payload)[0]


def _lines(path: Path) -> Iterator[str]:
    if path.suffix.lower() == ".zip":
        yield from lines_of_zip(path.read_bytes(), _MOST_BYTES)
        return
    with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as lines:
        yield from lines


def _notice(ctx: Context, payload: bytes) -> Notice:
    return Notice("tns", _BROKER, _TOPIC, 0, content_offset(payload), payload, ctx.now())


def _settle(ctx: Context, *, alone: bool) -> None:
    """Read what was received, or wait until the daemon has."""
    while alone and intake.run(ctx):
        pass
    while not alone:
        with ctx.database.read() as session:
            if queue.pending(session, queue.INTAKE) < _CHUNKS:
                return
        time.sleep(_WAIT_S)


def _totals(ctx: Context) -> dict[str, int]:
    def total(session: Any, model: Any) -> int:
        return int(session.execute(select(func.count()).select_from(model)).scalar_one())

    with ctx.database.read() as session:
        return {
            "known_transients": total(session, KnownTransientRow),
            "dead_letters": total(session, DeadLetterRow),
        }
