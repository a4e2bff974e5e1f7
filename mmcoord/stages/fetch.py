"""Fetch: the map behind a link of an alert that came without one.

Meanwhile the event stands without it. What was fetched goes into the inbox like any notice and
is read by intake, so that it is kept and can be replayed; this stage itself changes no event.
It has a thread of its own, because the network is slow.

A file that is not there yet is asked for again, with growing waits, until a newer alert of the
event has a map, the event is retracted, or the time is over. A refusal ends it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from listeners.late_map import envelope, offset
from mmcoord import fetching
from mmcoord.config import FetchSettings
from mmcoord.errors import NotThereYet, Refused, Retryable
from mmcoord.records import AlertType, LateMap, Notice
from mmcoord.stages import intake
from mmcoord.stages.context import Context
from mmcoord.stages.isolate import bury_work, isolating
from mmcoord.stages.keys import split_alert_key
from mmcoord.stages.links import has_own_map, map_links
from mmcoord.store import journal, queue
from mmcoord.store.queue import FETCH, Work
from mmcoord.store.tables import AlertRow

__all__ = ["Get", "next_attempt", "reason_to_stop", "run"]

Get = Callable[[str], bytes]
"""Gets the file behind a link; raises as :func:`mmcoord.fetching.fetch`."""

_AGAIN = 1
"""Urgency of later attempts; the first has 0, so that a service that hangs cannot keep a new
alert waiting behind all the old ones."""
_FITS_OR_GZIP = (b"SIMPLE", b"\x1f\x8b")


# -- deciding, pure ----------------------------------------------------------------------


def reason_to_stop(alert: AlertRow, alerts: Sequence[AlertRow]) -> str:
    """Why the map of ``alert`` need not be fetched any more; empty when it should be.

    ``alerts`` are all of its event.
    """
    if has_own_map(alert):
        return "the alert has a map"
    if any(other.alert_type == AlertType.RETRACTION for other in alerts):
        return "the event has been retracted"
    for other in alerts:
        if has_own_map(other) and _order(other) > _order(alert):
            return f"{other.alert_type} of {other.time_created:%Y-%m-%d %H:%M:%S} has a map"
    return ""


def _order(alert: AlertRow) -> tuple[datetime, int]:
    return (alert.time_created, AlertType(alert.alert_type).rank)


def next_attempt(settings: FetchSettings, work: Work, now: datetime) -> datetime | None:
    """When to try again after an attempt that failed; None when the time is over."""
    waits = settings.retry_after_s
    then = now + timedelta(seconds=waits[min(work.attempts, len(waits) - 1)])
    last = work.enqueued_at + timedelta(hours=settings.give_up_after_h)
    return then if then <= last else None


# -- the stage ---------------------------------------------------------------------------


def run(
    ctx: Context, get: Get | None = None, *, stopped: Callable[[], bool] = lambda: False
) -> int:
    """Try the links of the alert that is due first; returns how many were, none or one.

    Parameters
    ----------
    get
        By default :func:`mmcoord.fetching.fetch` with the policy of the settings.
    stopped
        True ends a transfer that is under way; the wish stays.
    """
    policy = ctx.settings.fetch.policy
    ask = get or (lambda url: fetching.fetch(url, policy, stopped=stopped))
    with ctx.database.read() as session:
        due = [] if stopped() else queue.take(session, FETCH, ctx.now(), limit=1)
    isolating(
        due,
        lambda some: _serve(ctx, some[0], ask, stopped),
        lambda work, reason: bury_work(ctx, work, reason),
    )
    return len(due)


def _serve(ctx: Context, work: Work, get: Get, stopped: Callable[[], bool]) -> None:
    event_id, alert_type, created = split_alert_key(work.key)
    with ctx.database.read() as session:
        alerts = _alerts(session, event_id)
    alert = next(a for a in alerts if a.alert_type == alert_type and a.time_created == created)
    if reason := reason_to_stop(alert, alerts):
        _finish(ctx, work, event_id, f"map of {alert_type} {event_id} not needed: {reason}")
        return
    try:
        url, content = _first(map_links(alert), get)
    except Refused as error:
        bury_work(ctx, work, str(error), event_id)
    except Retryable as error:
        if not stopped():
            _put_off(ctx, work, event_id, str(error))
    else:
        late = LateMap(event_id, alert_type, created, url, content)
        intake.receive(ctx, [_notice(late, ctx.now())])
        _finish(ctx, work, event_id, f"fetched {url}: {len(content)} bytes")


def _alerts(session: Session, event_id: str) -> list[AlertRow]:
    return list(
        session.execute(select(AlertRow).where(col(AlertRow.event_id) == event_id)).scalars()
    )


def _first(links: Sequence[str], get: Get) -> tuple[str, bytes]:
    """The first of the files that is there; its link and content."""
    missing: list[str] = []
    for url in links:
        try:
            content = get(url)
        except NotThereYet as error:
            missing.append(str(error))
            continue
        if not content.startswith(_FITS_OR_GZIP):
            raise Retryable(f"{url}: not a FITS file: it begins with {content[:20]!r}")
        return url, content
    raise NotThereYet("; ".join(missing) or "the alert names no file")


def _notice(late: LateMap, now: datetime) -> Notice:
    payload = envelope(late)
    return Notice(
        source="late_map",
        broker="fetch",
        topic=late.url,
        partition=0,
        offset=offset(payload),
        payload=payload,
        received_at=now,
        sent_at=now,
    )


def _finish(ctx: Context, work: Work, event_id: str, text: str) -> None:
    now = ctx.now()
    with ctx.database.write() as session:
        queue.finish(session, [work])
        waited = (now - work.enqueued_at).total_seconds()
        entry = journal.Entry(
            FETCH, "fetched", text, work.cause_id, event_id=event_id, latency_s=max(waited, 0.0)
        )
        journal.write(session, [entry], now)


def _put_off(ctx: Context, work: Work, event_id: str, reason: str) -> None:
    now = ctx.now()
    then = next_attempt(ctx.settings.fetch, work, now)
    if then is None:
        hours = (now - work.enqueued_at) / timedelta(hours=1)
        tries = f"{work.attempts + 1} attempts in {hours:.1f} h"
        bury_work(ctx, work, f"given up after {tries}; the last: {reason}", event_id)
        return
    with ctx.database.write() as session:
        queue.put_off(session, work, then, _AGAIN)
        if work.attempts == 0:  # once is enough for the story
            text = f"no map yet, asked again until it is there: {reason}"
            entry = journal.Entry(FETCH, "waiting", text, work.cause_id, event_id=event_id)
            journal.write(session, [entry], now)
