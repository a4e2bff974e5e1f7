"""Server-sent events: the journal as it is written (``GET /events/stream``).

Each event has the journal entry's id, so a browser that lost its connection says where it
was (``Last-Event-ID``) and gets what it missed, up to a batch. The number of viewers is
bounded; one too many gets 503 and the page falls back to asking now and then.

A page says in its stream's address up to which entry it was made (``after``). What is written
between the making of the page and the first look of its stream is told, too.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException
from fastapi.responses import StreamingResponse

from mmcoord.api.service import ServiceDep
from mmcoord.api.tail import JournalTail
from mmcoord.store.views_log import Entry
from mmcoord.web.text import iso

__all__ = ["follow", "frame", "router"]

router = APIRouter()

_PING_S = 15.0
_LONGEST_S = 900.0
"""A stream ends after this long and the browser comes again: no viewer is held for ever."""


@router.get("/events/stream", response_class=StreamingResponse)
async def stream(
    service: ServiceDep,
    last_event_id: Annotated[str | None, Header()] = None,
    event: str | None = None,
    after: str | None = None,
) -> StreamingResponse:
    """The journal, live, from entry ``after`` on; ``event`` keeps one event's entries and those
    about none."""
    if service.tail.viewers >= service.tail.max_viewers:
        raise HTTPException(503, "too many viewers", headers={"Retry-After": "30"})
    seen = _entry_id(last_event_id)
    return StreamingResponse(
        follow(service.tail, _entry_id(after) if seen is None else seen, event),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _entry_id(said: str | None) -> int | None:
    return int(said) if said is not None and re.fullmatch("[0-9]{1,18}", said) else None


async def follow(
    tail: JournalTail, last_event_id: int | None, event_id: str | None
) -> AsyncIterator[str]:
    """Frames for one viewer until it goes away or its time is up."""
    tail.viewers += 1
    try:
        started = spoke = time.monotonic()
        place, entries = await tail.start(last_event_id)
        yield "retry: 3000\n: hello\n\n"
        while time.monotonic() - started < _LONGEST_S:
            frames = [
                frame(entry) for entry in entries if event_id in (None, entry.event_id)
                or entry.event_id is None
            ]  # fmt: skip
            if frames:
                spoke = time.monotonic()
                yield "".join(frames)
            elif time.monotonic() - spoke > _PING_S:
                spoke = time.monotonic()
                yield ": still here\n\n"
            await asyncio.sleep(tail.interval_s)
            place, entries = await tail.after(place)
    finally:
        tail.viewers -= 1


@functools.lru_cache(maxsize=1024)
def frame(entry: Entry) -> str:
    """One entry in the wire format, made once for all viewers; JSON keeps every line break
    inside its string."""
    data = json.dumps(
        {
            "id": entry.id,
            "at": iso(entry.at),
            "stage": entry.stage,
            "what": entry.what,
            "text": entry.text,
            "event_id": entry.event_id,
            "object_id": entry.object_id,
            "latency_s": entry.latency_s,
        }
    )
    return f"id: {entry.id}\nevent: journal\ndata: {data}\n\n"
