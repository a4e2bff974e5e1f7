"""One bad item must not stop the others: serve a batch, and if that fails, find the culprit.

A fault of the database itself (gone, locked, full) is nobody's fault in the batch and is
raised on, to be tried again. Everything else is narrowed down by halving to a single item,
which is buried with the reason.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from mmcoord.stages.context import Context
from mmcoord.store import journal, queue
from mmcoord.store.queue import Work
from mmcoord.store.tables import DeadLetterRow

__all__ = ["bury_work", "is_outage", "isolating", "serve_each"]

_log = logging.getLogger(__name__)
Item = TypeVar("Item")
_LIMIT_EXCEEDED = "54"
"""PostgreSQL's error class for a value that is too large: an operational error by type."""


def is_outage(error: BaseException) -> bool:
    """Whether the database is at fault, and not what was to be written."""
    if not isinstance(error, DBAPIError):
        return False
    state = str(getattr(error.orig, "sqlstate", "") or "")
    return isinstance(error, OperationalError | InterfaceError) and not state.startswith(
        _LIMIT_EXCEEDED
    )


def isolating(
    items: Sequence[Item],
    serve: Callable[[Sequence[Item]], None],
    bury: Callable[[Item, str], None],
) -> None:
    """Serve all items at once if that works, else the good ones without the bad ones."""
    if not items:
        return
    try:
        serve(items)
    except Exception as error:
        # Whatever it is, it must not stop the stage; what it was is kept with the item.
        if is_outage(error):
            raise
        if len(items) == 1:
            _log.exception("buried: %r", items[0])
            bury(items[0], f"{type(error).__name__}: {error}"[:2000])
            return
        half = len(items) // 2
        isolating(items[:half], serve, bury)
        isolating(items[half:], serve, bury)


def serve_each(
    ctx: Context,
    stage: str,
    limit: int,
    serve: Callable[[Work], None],
    event_of: Callable[[Work], str | None] = lambda work: None,
    *,
    urgent_only: bool = False,
) -> int:
    """Take up to ``limit`` wishes of a stage and serve them one by one; returns how many.

    One that cannot be served is buried alone; ``event_of`` says whose story tells of it.
    """
    with ctx.database.read() as session:
        works = queue.take(session, stage, ctx.now(), limit, urgent_only=urgent_only)
    for work in works:
        isolating(
            [work],
            lambda some: serve(some[0]),
            lambda one, reason: bury_work(ctx, one, reason, event_of(one)),
        )
    return len(works)


def bury_work(ctx: Context, work: Work, reason: str, event_id: str | None = None) -> None:
    """End a wish that cannot be served: counted as dead, with its reason."""
    now = ctx.now()
    text = f"{work.stage} of {work.key}: {reason}".replace("\0", "")
    with ctx.database.write() as session:
        queue.finish(session, [work], dead=True)
        session.add(DeadLetterRow(stage=work.stage, reason=text, at=now, cause_id=work.cause_id))
        entry = journal.Entry(work.stage, "failed", text, work.cause_id, event_id=event_id)
        journal.write(session, [entry], now)
