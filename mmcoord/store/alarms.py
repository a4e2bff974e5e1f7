"""Alarms in the store: raising and clearing them, and how far telling them has got.

An alarm is raised and cleared in one transaction with its entry in the journal. Who has been
told is written after the telling: a crash in between tells that alarm a second time, never
more, and never loses one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.store import journal
from mmcoord.store.tables import AlarmRow
from mmcoord.store.types import table

__all__ = [
    "CLEARED",
    "RAISED",
    "AlarmLine",
    "Telling",
    "Told",
    "Wanted",
    "alarms",
    "due",
    "is_due",
    "open_alarms",
    "record",
    "settle",
    "with_answer",
]

RAISED, CLEARED = "raised", "cleared"
_STAGE = "watchdog"
_TELL_FOR = timedelta(days=1)
"""An alarm that was cleared longer ago is no news: what was not told by then is given up."""
_BACKOFF_S = (5.0, 600.0)
_MAX_UNCLEAR = 5
"""Attempts after which an unclear answer counts as told: each may be a message more."""

_alarm: Any = table(AlarmRow)


@dataclass(frozen=True, slots=True)
class AlarmLine:
    """An alarm as the page, the API and the command line show it."""

    id: int
    key: str
    severity: str
    text: str
    raised_at: datetime
    cleared_at: datetime | None
    told: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """An alarm that should stand."""

    key: str
    severity: str
    text: str
    raised_at: datetime
    told: Mapping[str, Any] = field(default_factory=dict)
    """Who knows already, as the table keeps it."""


@dataclass(frozen=True, slots=True)
class Told:
    """How a telling ended; as :class:`followup.sinks.base.Answer` has it."""

    outcome: str
    detail: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Telling:
    """One alarm to be told to one sink."""

    alarm: AlarmLine
    what: str
    """``raised`` or ``cleared``."""

    @property
    def key(self) -> str:
        """The same telling, the same key, also after a crash."""
        return f"alarm:{self.alarm.id}:{self.what}"


# -- looking -----------------------------------------------------------------------------


def open_alarms(session: Session) -> list[AlarmLine]:
    """The alarms that stand: those for which somebody is woken first, then the newest."""
    found = _lines(session, _select().where(_alarm.c.cleared_at.is_(None)))
    return sorted(found, key=lambda line: (line.severity != "page", -line.raised_at.timestamp()))


def alarms(session: Session, limit: int, offset: int = 0) -> list[AlarmLine]:
    """All alarms, the newest first."""
    return _lines(session, _select().order_by(_alarm.c.id.desc()).limit(limit).offset(offset))


# -- raising and clearing ----------------------------------------------------------------


def settle(
    session: Session, wanted: Collection[Wanted], now: datetime
) -> tuple[list[AlarmLine], list[AlarmLine]]:
    """Make exactly the wanted alarms stand; returns what was raised and what was cleared.

    An alarm that stands already keeps its time; its text follows the facts, and that is not
    told again. One whose severity has changed is another alarm.
    """
    missing = {(alarm.key, alarm.severity): alarm for alarm in wanted}
    cleared = []
    for row in session.execute(
        select(AlarmRow).where(col(AlarmRow.cleared_at).is_(None)).order_by(col(AlarmRow.id))
    ).scalars():
        stays = missing.pop((row.key, row.severity), None)
        if stays is None:
            row.cleared_at = now
            cleared.append(row)
        elif stays.text != row.text:
            row.text = stays.text
    raised = [
        AlarmRow(
            key=alarm.key,
            severity=alarm.severity,
            text=alarm.text,
            raised_at=alarm.raised_at,
            told=dict(alarm.told),
        )
        for _, alarm in sorted(missing.items())
    ]
    session.add_all(raised)
    session.flush()
    journal.write(
        session,
        [
            *(journal.Entry(_STAGE, "alarm", f"{a.key}: {a.text}", "") for a in raised),
            *(journal.Entry(_STAGE, "cleared", a.key, "") for a in cleared),
        ],
        now,
    )
    return [_line(row) for row in raised], [_line(row) for row in cleared]


# -- telling -----------------------------------------------------------------------------


def due(session: Session, sink: str, now: datetime) -> list[Telling]:
    """What this sink has to be told now, the oldest alarm first.

    An alarm that was cleared before it could be told is told once, as cleared: the message
    says both.
    """
    recent = or_(_alarm.c.cleared_at.is_(None), _alarm.c.cleared_at > now - _TELL_FOR)
    found = []
    for line in _lines(session, _select().where(recent).order_by(_alarm.c.id)):
        what = RAISED if line.cleared_at is None else CLEARED
        if is_due(line.told.get(sink, {}).get(what, {}), now):
            found.append(Telling(line, what))
    return found


def is_due(state: Mapping[str, Any], now: datetime) -> bool:
    """Whether to try (again), from what is written down of one telling."""
    next_at = state.get("next_at")
    return not state.get("done") and not (next_at and datetime.fromisoformat(next_at) > now)


def record(session: Session, telling: Telling, sink: str, answer: Told, now: datetime) -> None:
    """Write down how telling went."""
    row = session.get(AlarmRow, telling.alarm.id, with_for_update=True)
    if row is not None:
        row.told = with_answer(row.told, sink, telling.what, answer, now)


def with_answer(
    told: Mapping[str, Any], sink: str, what: str, answer: Told, now: datetime
) -> dict[str, Any]:
    """``told`` with one more attempt, and when to try again unless it is done."""
    of_sink = told.get(sink, {})
    attempts = int(of_sink.get(what, {}).get("attempts", 0)) + 1
    is_unclear = answer.outcome == "unknown"
    state = {
        "at": now.isoformat(),
        "outcome": answer.outcome,
        "detail": answer.detail[:300],
        "attempts": attempts,
        "done": answer.outcome in ("sent", "rejected") or (is_unclear and attempts >= _MAX_UNCLEAR),
    }
    if not state["done"]:
        wait = max(_backoff(attempts), answer.retry_after_s or 0.0)
        state["next_at"] = (now + timedelta(seconds=wait)).isoformat()
    return {**told, sink: {**of_sink, what: state}}


def _backoff(attempts: int) -> float:
    first, longest = _BACKOFF_S
    return min(first * 2.0 ** min(attempts - 1, 20), longest)


def _select() -> Any:
    return select(*(_alarm.c[name] for name in AlarmLine.__dataclass_fields__))


def _lines(session: Session, statement: Any) -> list[AlarmLine]:
    return [AlarmLine(**row) for row in session.execute(statement).mappings()]


def _line(row: AlarmRow) -> AlarmLine:
    return AlarmLine(**{name: getattr(row, name) for name in AlarmLine.__dataclass_fields__})
