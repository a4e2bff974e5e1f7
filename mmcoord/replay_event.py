"""A past event again: what was received of it, through today's models and rules, then and now.

The bytes come from the store's own inbox: every notice of the event, and everything that was
received of the candidates that were matched to it then. The old store is only read; the answer
of today is made in another one, where nothing reaches a production sink.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select, union
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.replay import Message
from mmcoord.store.summary import event_summary
from mmcoord.store.tables import (
    AlertNoticeRow,
    AlertRow,
    CandidateRow,
    DetectionRow,
    EventRow,
    LateMapRow,
    MatchRow,
    NoticeRow,
    RunRow,
)

__all__ = ["compared", "stored_messages", "table"]

_ROW_KEYS = ("rank", "score", "p_kilonova", "model")


def stored_messages(session: Session, event_id: str) -> list[Message]:
    """What the store received of an event and of its candidates, in the order of its content."""
    alerts = select(col(AlertRow.id)).where(col(AlertRow.event_id) == event_id)
    objects = select(col(MatchRow.object_id)).where(col(MatchRow.event_id) == event_id)
    wanted = union(
        select(col(AlertRow.notice_id)).where(col(AlertRow.event_id) == event_id),
        select(col(AlertNoticeRow.notice_id)).where(col(AlertNoticeRow.alert_id).in_(alerts)),
        select(col(LateMapRow.notice_id)).where(col(LateMapRow.event_id) == event_id),
        select(col(CandidateRow.notice_id)).where(col(CandidateRow.object_id).in_(objects)),
        select(col(DetectionRow.notice_id)).where(col(DetectionRow.object_id).in_(objects)),
    )
    rows = session.execute(select(NoticeRow).where(col(NoticeRow.id).in_(wanted))).scalars()
    found = [
        Message(row.source, f"{row.broker}:{row.topic}:{row.partition}", row.offset, row.payload,
                row.sent_at or row.received_at)
        for row in rows
    ]  # fmt: skip
    oldest = datetime.min.replace(tzinfo=UTC)
    order = {"table_candidates": 0}
    found.sort(key=lambda m: (m.sent_at or oldest, order.get(m.source, 1), m.topic, m.offset))
    return found


def compared(then: Session, now: Session, event_id: str) -> dict[str, Any]:
    """The event as it stood in one store beside another.

    ``targets`` has every target of either plan, today's ranks first; a side that did not rank
    it is null.
    """
    sides = {"then": _side(then, event_id), "now": _side(now, event_id)}
    ranked = {
        name: {row["candidate"]: {key: row.get(key) for key in _ROW_KEYS} for row in side["plan"]}
        for name, side in sides.items()
    }
    last = 1 + max((len(rows) for rows in ranked.values()), default=0)

    def place(candidate: str) -> tuple[int, int, str]:
        new, old = ranked["now"].get(candidate), ranked["then"].get(candidate)
        return (new["rank"] if new else last, old["rank"] if old else last, candidate)

    return {
        "event": event_id,
        **{
            name: {key: value for key, value in side.items() if key != "plan"}
            for name, side in sides.items()
        },
        "targets": [
            {
                "candidate": candidate,
                "then": ranked["then"].get(candidate),
                "now": ranked["now"].get(candidate),
            }
            for candidate in sorted({*ranked["then"], *ranked["now"]}, key=place)
        ],
    }


def table(document: Mapping[str, Any], rows: int = 20) -> Sequence[str]:
    """The comparison as lines for people."""
    lines = [f"{document['event']:<28} {'then':>24} {'now':>24}"]
    for key in document["then"]:
        old, new = (_shown(document[side][key]) for side in ("then", "now"))
        lines.append(f"{key:<28} {old:>24} {new:>24}")
    lines.append(
        f"{'candidate':<28} {'rank  p_kilonova  model':>24} {'rank  p_kilonova  model':>24}"
    )
    for row in document["targets"][:rows]:
        lines.append(f"{row['candidate']:<28} {_cell(row['then']):>24} {_cell(row['now']):>24}")
    return lines


def _side(session: Session, event_id: str) -> dict[str, Any]:
    event = session.get(EventRow, event_id)
    if event is None:
        return {"state": None, "plan": []}
    document = event_summary(session, event)
    keys = ("state", "significant", "alerts", "area_90_deg2", "distance_mpc", "candidates_matched")
    inferences = session.execute(
        select(func.count())
        .select_from(RunRow)
        .where(col(RunRow.event_id) == event_id, col(RunRow.state).in_(("done", "failed")))
    ).scalar_one()
    return {
        **{key: document[key] for key in (*keys, "plan_revision", "planned_for", "plan_note")},
        "inferences": inferences,
        "plan": document["plan"],
    }


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:24]


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "not ranked"
    return f"{row['rank']}  {_shown(row['p_kilonova'])}  {row['model'] or '-'}"
