"""Queued runs that rest: an event has one kilonova, and what is found leaves less to the others.

With ``P_j`` what the inferences of the other candidates of the event say and ``p`` what the screen
says of a candidate (or its own last inference, where that says more: two finds do not put each
other to rest), its odds are, if at most one of them is the kilonova,

    o_found = min(sum_j P_j / (1 - P_j), 99),    o' = p / (1 - p) / (1 + o_found)

(the relation of :mod:`followup.rivals`, where the screen counts for nothing). Its run rests while
``p' = o' / (1 + o')`` would not pass the screen. Nothing is found where no inference goes beyond
*not favoured*: then no run rests. A run that somebody asks for never rests.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, select, text, update
from sqlalchemy.orm import Session

from mmcoord.inference.classes import verdict_of
from mmcoord.records import EventState
from mmcoord.store import journal
from mmcoord.store.tables import EventRow, MatchRow, RunRow, ScreeningRow
from mmcoord.store.types import table
from mmcoord.store.views_queue import QueueLine
from mmcoord.store.views_runs import newest_words

__all__ = ["MOST_ODDS", "left_by", "odds_found", "reasons", "rests", "rests_beside", "weigh"]

MOST_ODDS = 99.0
"""Models and light curves mislead at times: no find is believed beyond P = 0.99, as in the
ranking (``surest_rival``), so that a good rival of a false find is still looked into."""

_event: Any = table(EventRow)
_match: Any = table(MatchRow)
_run: Any = table(RunRow)
_screening: Any = table(ScreeningRow)
_WEIGHERS_LOCK = 0x6D6D6377
"""Advisory lock on PostgreSQL: who weighs an event's runs knows what others have just found."""


# -- the rule ------------------------------------------------------------------------------


def odds_found(p_others: Iterable[float]) -> float:
    """The odds that one of the others is the event's kilonova, by what inference says of each."""
    finds = [p for p in p_others if verdict_of(p) != "not favoured"]
    if any(p >= 1.0 for p in finds):
        return MOST_ODDS
    return min(math.fsum(p / (1.0 - p) for p in finds), MOST_ODDS)


def left_by(found: float, p_alone: float) -> float:
    """What odds that it is another leave of a candidate's P(kilonova)."""
    return p_alone / (p_alone + (1.0 - p_alone) * (1.0 + found))


def rests(p_alone: float, found: float, threshold: float) -> bool:
    """Whether what is left of a candidate is not worth a full inference."""
    return found > 0.0 and left_by(found, p_alone) < threshold


def rests_beside(
    object_id: str, p_screen: float, finds: Mapping[str, float], threshold: float
) -> bool:
    """Whether the run of a candidate rests, by what inference says of each, itself included."""
    found = odds_found(p for name, p in finds.items() if name != object_id)
    return rests(max(p_screen, finds.get(object_id, 0.0)), found, threshold)


# -- the queue -----------------------------------------------------------------------------


def weigh(session: Session, causes: Mapping[str, str], threshold: float, now: datetime) -> None:
    """Put queued runs of these events (id -> cause of what happens) to rest, or wake them.

    For the end of the transaction that changes what is found or what the screen says.
    """
    if not causes:
        return
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _WEIGHERS_LOCK})
    for event_id, queued in _queued(session, causes).items():
        finds = _finds(session, event_id)
        change: dict[bool, list[str]] = {True: [], False: []}
        for run in queued:
            resting = rests_beside(run.object_id, run.p_kilonova, finds, threshold)
            if resting != run.resting:
                change[resting].append(run.run_key)
        for resting, keys in change.items():
            if keys:
                session.execute(
                    update(_run).where(_run.c.run_key.in_(keys)).values(resting=resting)
                )
        journal.write(session, _entries(event_id, causes[event_id], change, finds), now)


def reasons(session: Session, lines: Sequence[QueueLine]) -> dict[str, str]:
    """Run key -> why it rests, in words, of those of ``lines`` that do."""
    resting = [line for line in lines if line.state == "resting"]
    finds = {event_id: _finds(session, event_id) for event_id in {r.event_id for r in resting}}
    return {
        line.run_key: _said({n: p for n, p in finds[line.event_id].items() if n != line.object_id})
        for line in resting
    }


def _queued(session: Session, event_ids: Collection[str]) -> dict[str, list[Any]]:
    """Event id -> its queued runs that may rest, with what the screen says of their candidate.

    Those of a retracted event stay as they are. What somebody has locked is on its way out of the
    queue, or its own transaction weighs it.
    """
    retracted = select(_event.c.event_id).where(_event.c.state == EventState.RETRACTED.value)
    rows = session.execute(
        select(
            _run.c.run_key,
            _run.c.event_id,
            _run.c.object_id,
            _run.c.resting,
            _screening.c.p_kilonova,
        )
        .join(
            _screening,
            and_(
                _screening.c.event_id == _run.c.event_id,
                _screening.c.object_id == _run.c.object_id,
                _screening.c.p_kilonova.is_not(None),
            ),
        )
        .where(
            _run.c.state == "queued",
            _run.c.may_rest,
            _run.c.event_id.in_(event_ids),
            _run.c.event_id.not_in(retracted),
        )
        .order_by(_run.c.event_id, _run.c.run_key)
        .with_for_update(of=_run, skip_locked=True)
    )
    queued: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        queued[row.event_id].append(row)
    return queued


def _finds(session: Session, event_id: str) -> dict[str, float]:
    """Object -> P(kilonova) of its inference, of the candidates in the event's map."""
    matched = set(
        session.execute(
            select(_match.c.object_id)
            .join(
                _event,
                and_(
                    _event.c.event_id == _match.c.event_id,
                    _event.c.localization_id == _match.c.localization_id,
                ),
            )
            .join(
                _run,
                and_(
                    _run.c.event_id == _match.c.event_id,
                    _run.c.object_id == _match.c.object_id,
                    _run.c.state == "done",
                ),
            )
            .where(_match.c.event_id == event_id)
        ).scalars()
    )
    return {
        object_id: word.p_kilonova
        for object_id, word in newest_words(session, event_id).items()
        if word.p_kilonova is not None and object_id in matched
    }


# -- in words ------------------------------------------------------------------------------


def _entries(
    event_id: str, cause_id: str, change: Mapping[bool, Sequence[str]], finds: Mapping[str, float]
) -> list[journal.Entry]:
    words = {True: ("rested", "rests", "rest"), False: ("woken", "wakes", "wake")}
    entries = []
    for resting, (what, one, many) in words.items():
        n = len(change[resting])
        if n:
            runs = f"1 run {one}" if n == 1 else f"{n} runs {many}"
            said = f"{runs}: {_said(finds)}"
            entries.append(journal.Entry("infer", what, said, cause_id, event_id=event_id))
    return entries


def _said(finds: Mapping[str, float]) -> str:
    if not finds:
        return "nothing is found yet"
    name = min(finds, key=lambda n: (-finds[n], n))
    return f"{name} has P {finds[name]:.3g}"
