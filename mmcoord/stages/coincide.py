"""Coincide: a new alert against the events near it in time, of other messengers.

Computed anew with every alert of either event, so that the newest maps and rates count; the
pair is kept with its joint false-alarm rate, and each event's page shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session
from sqlmodel import col

import skymaps
from mmcoord.coincident import LONGEST, Joint, Seen, judge, search_of
from mmcoord.names import name_key
from mmcoord.records import EventState, Messenger
from mmcoord.stages.context import Context
from mmcoord.stages.isolate import serve_each
from mmcoord.store import journal, queue
from mmcoord.store.naming import EXTERNAL
from mmcoord.store.queue import COINCIDE, Work, insert_for
from mmcoord.store.tables import (
    AlertRow,
    CoincidenceRow,
    EventNameRow,
    EventRow,
    LocalizationRow,
)
from mmcoord.store.types import table
from mmcoord.timescales import by_chance

__all__ = ["run"]

_BATCH = 20
_coincidence: Any = table(CoincidenceRow)


def run(ctx: Context) -> int:
    """Compare the events that something new was said of; returns how many wishes were served."""
    return serve_each(ctx, COINCIDE, _BATCH, lambda work: _serve(ctx, work), lambda work: work.key)


def _serve(ctx: Context, work: Work) -> None:
    with ctx.database.read() as session:
        pairs = _pairs(session, work.key)
    now = ctx.now()
    with ctx.database.write() as session:
        session.execute(
            delete(_coincidence).where(
                or_(_coincidence.c.event_id == work.key, _coincidence.c.other_id == work.key)
            )
        )
        for wave, other, joint in pairs:
            values = {
                "event_id": wave,
                "other_id": other,
                "search": joint.search,
                "offset_s": joint.offset_s,
                "far_time_hz": joint.far_time_hz,
                "overlap": joint.overlap,
                "far_hz": joint.far_hz,
                "computed_at": now,
                "cause_id": work.cause_id,
            }
            session.execute(insert_for(session, _coincidence).values(**values))
            entry = journal.Entry(
                COINCIDE, "compared", _say(other, joint), work.cause_id, event_id=wave
            )
            journal.write(session, [entry], now)
        queue.finish(session, [work])


def _say(other: str, joint: Joint) -> str:
    chance = "chance not known" if joint.far_hz is None else by_chance(joint.far_hz)
    return f"{other} at {joint.offset_s:+.1f} s ({joint.search}): {chance}"


def _pairs(session: Session, event_id: str) -> list[tuple[str, str, Joint]]:
    """(gravitational wave, other, how it is judged) of the pairs that an event is in."""
    event = session.get(EventRow, event_id)
    if event is None or event.event_time is None or event.state != EventState.ACTIVE.value:
        return []
    near = session.execute(
        select(EventRow).where(
            col(EventRow.event_id) != event_id,
            col(EventRow.state) == EventState.ACTIVE.value,
            col(EventRow.is_practice) == event.is_practice,
            or_(
                col(EventRow.event_time).between(
                    event.event_time - LONGEST, event.event_time + LONGEST
                ),
                col(EventRow.event_id).in_(_named_together(session, event)),
            ),
        )
    ).scalars()
    found = []
    for other in near:
        pair = _in_order(session, [event, other])
        if pair is None:
            continue
        (first, wave), (second, companion) = pair
        if search_of(wave, companion) is None:
            continue
        joint = judge(wave, companion, _overlap(session, first, second))
        if joint is not None:
            found.append((wave.event_id, companion.event_id, joint))
    return found


def _named_together(session: Session, event: EventRow) -> list[str]:
    """Events whose alerts name this one as what they follow up, or the other way about."""
    own = [name_key(event.event_id)]
    theirs = select(col(EventNameRow.event_id)).where(
        col(EventNameRow.key).in_(own), col(EventNameRow.learned_from) == EXTERNAL
    )
    mine = select(col(EventNameRow.key)).where(
        col(EventNameRow.event_id) == event.event_id, col(EventNameRow.learned_from) == EXTERNAL
    )
    named = select(col(EventNameRow.event_id)).where(
        col(EventNameRow.key).in_(mine), col(EventNameRow.learned_from) != EXTERNAL
    )
    return [*session.execute(theirs).scalars(), *session.execute(named).scalars()]


def _in_order(session: Session, events: Sequence[EventRow]) -> list[tuple[EventRow, Seen]] | None:
    """The gravitational wave first; None where not exactly one is."""
    both = [(event, _seen(session, event)) for event in events]
    waves = [pair for pair in both if pair[1].messenger is Messenger.GW]
    others = [pair for pair in both if pair[1].messenger is not Messenger.GW]
    return [waves[0], others[0]] if len(waves) == len(others) == 1 else None


def _seen(session: Session, event: EventRow) -> Seen:
    alert = session.get(AlertRow, event.current_alert_id) if event.current_alert_id else None
    assert event.event_time is not None
    return Seen(
        event_id=event.event_id,
        messenger=Messenger(event.messenger),
        group=alert.group if alert else None,
        event_time=event.event_time,
        far_hz=alert.far_hz if alert else None,
        extra=alert.extra if alert else {},
    )


def _overlap(session: Session, first: EventRow, second: EventRow) -> float | None:
    maps = []
    for event in (first, second):
        if event.localization_id is None:
            return None
        maps.append(skymaps.load(session.get_one(LocalizationRow, event.localization_id).fits))
    return skymaps.overlap_integral(*maps)
