"""Points that their source has changed: which value stands, and what became of the others.

A measurement is the same if it is of the same object, band and time (to a microday) and from the
same source. A newer message that gives it another value replaces the old one; one that says an
old value again restores it; a :class:`~mmcoord.records.Withdrawal` takes it back. Values that one
message gives side by side (a detection and forced photometry on it), or one table, are
measurements of their own and never replace each other. Nothing is deleted: rows lose their
``is_current``, and ``point_change`` has the history.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session, aliased
from sqlmodel import col

from listeners.base import Source
from mmcoord.errors import BadInput
from mmcoord.records import ParsedRecord, Photometry, Withdrawal
from mmcoord.store.ingest import point_key
from mmcoord.store.tables import DetectionRow, NoticeRow, PointChangeRow
from mmcoord.store.types import table

__all__ = ["PointChange", "settle_points", "table_reader"]

_detection: Any = table(DetectionRow)
_SAME_TIME_DAY = 1.5e-6
_CHUNK = 500
_TABLE = "table_photometry"

Said = Mapping[tuple[str, str], set[int]]
"""(object id, point key) -> notices of this batch that say it."""
SaidInTable = Callable[[Session, str, str, str], bool]


@dataclass(frozen=True, slots=True)
class PointChange:
    """A stored point whose standing has changed."""

    row_id: int
    object_id: str
    point_key: str
    kind: str
    """``edited``, ``withdrawn`` or ``restored``; see ``PointChangeRow``."""
    detail: str
    notice_id: int
    replaced_by: str | None = None

    @property
    def stands(self) -> bool:
        return self.kind == "restored"


@dataclass(frozen=True, slots=True)
class _Origin:
    """The notice behind a value."""

    notice_id: int
    source: str
    topic: str
    said_at: datetime

    @property
    def order(self) -> tuple[datetime, int]:
        return (self.said_at, self.notice_id)


def settle_points(
    session: Session,
    records: Sequence[tuple[ParsedRecord, int]],
    now: datetime,
    said_in_table: SaidInTable,
) -> list[PointChange]:
    """Decide between values of one measurement, after ``records`` (record, notice id) are stored.

    ``said_in_table(session, topic, object_id, point_key)`` tells whether a table says a point:
    its rows are notices of their own, and not all of them need be in the batch.
    """
    said: dict[tuple[str, str], set[int]] = defaultdict(set)
    for record, notice_id in records:
        if isinstance(record, Photometry):
            said[record.object_id, point_key(record)].add(notice_id)
    changes = _restored(session, said)
    changes += _edited(session, said, said_in_table)
    changes += _withdrawn(session, records)
    if changes:
        _write(session, changes, now)
    return changes


def table_reader(sources: Mapping[str, Source]) -> SaidInTable:
    """Reads a table's rows back from the inbox: rare, since only edits ask."""
    known: dict[str, set[tuple[str, str]]] = {}

    def said_in_table(session: Session, topic: str, object_id: str, key: str) -> bool:
        if topic not in known:
            payloads = session.execute(
                select(col(NoticeRow.payload)).where(
                    col(NoticeRow.topic) == topic, col(NoticeRow.source) == _TABLE
                )
            ).scalars()
            known[topic] = {
                (record.object_id, point_key(record))
                for payload in payloads
                for record in _readable(sources[_TABLE], payload)
                if isinstance(record, Photometry)
            }
        return (object_id, key) in known[topic]

    return said_in_table


def _readable(source: Source, payload: bytes) -> Sequence[ParsedRecord]:
    try:
        return source.parse(payload)
    except BadInput:  # a dead letter already
        return ()


def _edited(session: Session, said: Said, said_in_table: SaidInTable) -> list[PointChange]:
    lost: dict[int, PointChange] = {}
    pairs = _rivals(session, said)
    origins = _origins(session, {n for a, b in pairs for n in (a.notice_id, b.notice_id)})
    for one, other in pairs:
        first, last = origins[one.notice_id], origins[other.notice_id]
        if first.source != last.source:
            continue
        if first.order > last.order:
            one, other, first, last = other, one, last, first
        if _side_by_side(said, one, other, first, last):
            continue
        if last.source == _TABLE and said_in_table(
            session, last.topic, one.object_id, one.point_key
        ):
            continue
        lost[one.id or 0] = PointChange(
            one.id or 0, one.object_id, one.point_key, "edited",
            f"{_words(one)} became {_words(other)} ({last.source})", last.notice_id,
            other.point_key,
        )  # fmt: skip
    return list(lost.values())


def _rivals(session: Session, said: Said) -> list[tuple[DetectionRow, DetectionRow]]:
    """Pairs of standing points of one object, band and time, one of them new."""
    if not said:
        return []
    since = min(min(notices) for notices in said.values())
    new, old = aliased(DetectionRow), aliased(DetectionRow)
    found: list[tuple[DetectionRow, DetectionRow]] = []
    for some in _chunks({object_id for object_id, _ in said}):
        query = select(old, new).where(
            col(new.object_id).in_(some),
            col(new.notice_id) >= since,
            col(old.object_id) == col(new.object_id),
            col(old.band) == col(new.band),
            col(old.obs_mjd_tai) > col(new.obs_mjd_tai) - _SAME_TIME_DAY,
            col(old.obs_mjd_tai) < col(new.obs_mjd_tai) + _SAME_TIME_DAY,
            col(old.id) != col(new.id),
            col(old.notice_id) != col(new.notice_id),
            col(old.is_current),
            col(new.is_current),
        )
        found += [(one, other) for one, other in session.execute(query)]
    return found


def _side_by_side(
    said: Said, one: DetectionRow, other: DetectionRow, first: _Origin, last: _Origin
) -> bool:
    """Whether one message, or one table, gives both values."""
    if first.topic == last.topic and last.source == _TABLE:
        return True
    both = said.get((one.object_id, one.point_key), set()) | {one.notice_id}
    return bool(both & (said.get((other.object_id, other.point_key), set()) | {other.notice_id}))


def _restored(session: Session, said: Said) -> list[PointChange]:
    """Replaced or withdrawn values that a newer message of their source says again."""
    if not said:
        return []
    changed: dict[tuple[str, str], PointChangeRow] = {}
    for some in _chunks({object_id for object_id, _ in said}):
        query = select(PointChangeRow).where(col(PointChangeRow.object_id).in_(some))
        for row in session.execute(query.order_by(col(PointChangeRow.id))).scalars():
            changed[row.object_id, row.point_key] = row
    changes = []
    for key, last in changed.items():
        if last.kind == "restored" or key not in said:
            continue
        point = session.execute(
            select(DetectionRow).where(
                col(DetectionRow.object_id) == key[0], col(DetectionRow.point_key) == key[1]
            )
        ).scalar_one()
        origins = _origins(session, {*said[key], last.notice_id, point.notice_id})
        own = origins[point.notice_id]
        newest = max((origins[n] for n in said[key]), key=lambda origin: origin.order)
        if newest.source != own.source or newest.order <= origins[last.notice_id].order:
            continue
        changes.append(
            PointChange(
                point.id or 0, *key, "restored", f"{_words(point)} is said again", newest.notice_id
            )
        )
        rival = last.replaced_by
        if rival is not None and newest.notice_id not in said.get((key[0], rival), set()):
            other = session.execute(
                select(DetectionRow).where(
                    col(DetectionRow.object_id) == key[0], col(DetectionRow.point_key) == rival
                )
            ).scalar_one()
            changes.append(
                PointChange(
                    other.id or 0, key[0], rival, "edited",
                    f"{_words(other)} became {_words(point)} ({own.source})", newest.notice_id,
                    key[1],
                )
            )  # fmt: skip
    return changes


def _withdrawn(session: Session, records: Sequence[tuple[ParsedRecord, int]]) -> list[PointChange]:
    changes = []
    for record, notice_id in records:
        if not isinstance(record, Withdrawal):
            continue
        points = session.execute(
            select(DetectionRow).where(
                col(DetectionRow.object_id) == record.object_id,
                col(DetectionRow.band) == record.band,
                col(DetectionRow.obs_mjd_tai) > record.obs_mjd_tai - _SAME_TIME_DAY,
                col(DetectionRow.obs_mjd_tai) < record.obs_mjd_tai + _SAME_TIME_DAY,
                col(DetectionRow.is_current),
            )
        ).scalars().all()  # fmt: skip
        origins = _origins(session, {notice_id, *(point.notice_id for point in points)})
        changes += [
            PointChange(
                point.id or 0, point.object_id, point.point_key, "withdrawn",
                f"{_words(point)} is withdrawn ({record.reason or 'no reason given'})", notice_id,
            )
            for point in points
            if origins[point.notice_id].source == origins[notice_id].source
        ]  # fmt: skip
    return changes


def _origins(session: Session, notice_ids: Iterable[int]) -> dict[int, _Origin]:
    found: dict[int, _Origin] = {}
    for some in _chunks(notice_ids):
        query = select(
            col(NoticeRow.id), col(NoticeRow.source), col(NoticeRow.topic),
            col(NoticeRow.sent_at), col(NoticeRow.received_at),
        ).where(col(NoticeRow.id).in_(some))  # fmt: skip
        rows: Any = session.execute(query)
        for identifier, source, topic, sent_at, received_at in rows:
            found[identifier] = _Origin(identifier, source, topic, sent_at or received_at)
    return found


def _write(session: Session, changes: Sequence[PointChange], now: datetime) -> None:
    for stands in (False, True):
        rows = [change.row_id for change in changes if change.stands is stands]
        for some in _chunks(rows):
            session.execute(
                update(_detection).where(_detection.c.id.in_(some)).values(is_current=stands)
            )
    session.execute(
        insert(PointChangeRow),
        [
            {
                "object_id": change.object_id,
                "point_key": change.point_key,
                "kind": change.kind,
                "replaced_by": change.replaced_by,
                "detail": change.detail,
                "notice_id": change.notice_id,
                "at": now,
            }
            for change in changes
        ],
    )


def _words(point: DetectionRow) -> str:
    value = f"> {point.mag_ab:.3f}" if point.is_limit else f"{point.mag_ab:.3f}"
    error = "" if point.mag_err is None else f" +- {point.mag_err:.3f}"
    return f"{point.band} {value}{error} at {point.obs_mjd_tai:.5f}"


def _chunks(items: Iterable[Any]) -> list[list[Any]]:
    ordered = sorted(items)
    return [ordered[k : k + _CHUNK] for k in range(0, len(ordered), _CHUNK)]
