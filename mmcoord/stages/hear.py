"""Hear: what observers say at services outside becomes claims here."""

from __future__ import annotations

import logging
import threading
from datetime import datetime

from sqlalchemy.orm import Session

from followup.sinks.base import Heard, Hears, NotHeard, Sink
from mmcoord.errors import Refused, UnknownRecord
from mmcoord.stages.context import Context
from mmcoord.store import claims
from mmcoord.store.claims import Act
from mmcoord.store.tables import CursorRow, EventRow

__all__ = ["listen", "run"]

_log = logging.getLogger(__name__)


def run(ctx: Context) -> int:
    """Ask every sink at which observers answer; returns how many words were taken."""
    taken = 0
    for name, sink in sorted(ctx.sinks.items()):
        if isinstance(sink, Hears):
            taken += _ask(ctx, name, sink)
    return taken


def listen(ctx: Context, stop: threading.Event) -> None:
    """Ask again and again until told to stop."""
    while not stop.wait(ctx.settings.hear_every_s):
        if run(ctx):
            ctx.wake()


def _ask(ctx: Context, name: str, sink: Hears) -> int:
    cursor = f"sink {name}"
    with ctx.database.read() as session:
        row = session.get(CursorRow, cursor)
        after = int(row.position.get("after", 0)) if row is not None else 0
    try:
        heard = sink.hear(after)
    except NotHeard as error:
        _log.warning("sink %s cannot be asked what observers say: %s", name, error)
        return 0
    if not heard:
        return 0
    now, taken = ctx.now(), 0
    with ctx.database.write() as session:
        for word in heard:
            taken += _take(ctx, session, name, word, now)
        newest = max(after, *(word.position for word in heard))
        session.merge(CursorRow(listener=cursor, position={"after": newest}, updated_at=now))
    return taken


def _take(ctx: Context, session: Session, name: str, word: Heard, now: datetime) -> bool:
    sink: Sink = ctx.sinks[name]
    event = session.get(EventRow, word.event_id)
    if event is None or event.is_practice != sink.is_practice:
        return False  # somebody else's mmcoord may post there too
    said = Act(
        verb=word.verb,
        event=word.event_id,
        object_id=word.object_id,
        group=word.who,
        via=name,
        instrument=word.instrument,
        band=word.band,
        reason=word.reason,
        note=word.note,
        key=word.key,
    )
    if claims.is_known(session, said):
        return False
    try:
        claims.act(session, said, min(word.at, now), ctx.settings.claims)
    except (Refused, UnknownRecord) as error:
        _log.info("sink %s: %s", name, error)
        return False
    return True
