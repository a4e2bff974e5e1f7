"""The facts that are in the store. Call inside ``Database.snapshot``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mmcoord.store import queue
from mmcoord.store.tables import (
    AlertNoticeRow,
    AlertRow,
    BurstRow,
    DeadLetterRow,
    DeliveryRow,
    NoticeRow,
    WorkRow,
)
from mmcoord.store.types import table
from mmcoord.store.weather import weather_until
from mmcoord.watchdog.facts import BurstFacts, FailingSink, OnePath, StoreFacts, UnreadAlerts
from mmcoord.watchdog.settings import WatchdogSettings

__all__ = ["Canaries", "read_canaries", "read_store"]

_alert: Any = table(AlertRow)
_said: Any = table(AlertNoticeRow)
_burst: Any = table(BurstRow)
_dead: Any = table(DeadLetterRow)
_delivery: Any = table(DeliveryRow)
_notice: Any = table(NoticeRow)
_work: Any = table(WorkRow)
_URGENT = 0
"""Priority of alerts and of what they ask for; candidates have a higher number."""
_ROWS = 500
_LVK = "igwn"


def read_store(
    session: Session,
    now: datetime,
    settings: WatchdogSettings,
    practice: Mapping[str, bool],
    weather: str = "",
) -> StoreFacts:
    """Everything that the watchdog asks the store.

    Parameters
    ----------
    practice
        Sink -> whether it is a practice sink.
    weather
        Address of the weather that plans are made with; empty: none.
    """
    canaries = read_canaries(session)
    return StoreFacts(
        lost={b.stage: b.lost for b in queue.balance(session) if b.lost},
        unread=_unread(session, now - timedelta(hours=settings.unread_h)),
        waiting=_waiting(session, now),
        failing=_failing(session, now, settings, practice),
        last_mock_at=canaries.lvk_mock_at,
        last_snews_test_at=canaries.snews_test_at,
        last_superk_test_at=canaries.superk_test_at,
        lvk_notices=_lvk_notices(
            session,
            now - timedelta(hours=settings.one_path_window_h),
            now - timedelta(minutes=settings.one_path_min),
        ),
        bursts=_bursts(session, now - timedelta(hours=settings.burst_h)),
        weather_until=weather_until(session, weather) if weather else None,
    )


@dataclass(frozen=True, slots=True)
class Canaries:
    """When each message that is sent at regular times, as a test, last came."""

    lvk_mock_at: datetime | None
    snews_test_at: datetime | None
    superk_test_at: datetime | None


def read_canaries(session: Session) -> Canaries:
    """The newest of each kind; None where none ever came."""
    lvk_mock = func.substr(_alert.c.event_id, 1, 2) == "MS"  # a range would be sorted first
    return Canaries(
        lvk_mock_at=_last(session, lvk_mock),
        snews_test_at=_last(session, _alert.c.group == "SNEWS", _alert.c.is_practice),
        superk_test_at=_last(session, _alert.c.group == "Super-K", _alert.c.is_practice),
    )


def _unread(session: Session, since: datetime) -> tuple[UnreadAlerts, ...]:
    """Notices of alert sources in the dead letters that nobody has tried again."""
    rows = session.execute(
        select(_notice.c.source, _dead.c.at, _dead.c.notice_id, _dead.c.reason)
        .join(_notice, _notice.c.id == _dead.c.notice_id)
        .where(
            _dead.c.stage == queue.INTAKE,
            _dead.c.retried_at.is_(None),
            _dead.c.at > since,
            _notice.c.priority <= _URGENT,
            _notice.c.state == "dead",
        )
        .order_by(_dead.c.id)
        .limit(_ROWS)
    )
    found: dict[tuple[str, datetime], UnreadAlerts] = {}
    for source, at, notice_id, reason in rows:
        hour = at.replace(minute=0, second=0, microsecond=0)
        before = found.get((source, hour))
        number = before.number + 1 if before else 1
        found[source, hour] = UnreadAlerts(source, hour, number, notice_id, reason)
    return tuple(found.values())


def _waiting(session: Session, now: datetime) -> dict[tuple[str, bool], datetime]:
    found: dict[tuple[str, bool], datetime] = {}
    for stage, priority, since in session.execute(
        # Since it is due: a wish that is put off (a map that is not there yet) does not wait.
        select(_work.c.stage, _work.c.priority, func.min(_work.c.not_before))
        .where(_work.c.requested > _work.c.done, _work.c.not_before <= now)
        .group_by(_work.c.stage, _work.c.priority)
    ):
        place = (stage, priority > _URGENT)
        found[place] = min(since, found.get(place, since))
    for is_bulk in (False, True):
        oldest = _oldest_notice(session, is_bulk=is_bulk)
        if oldest is not None:
            found[queue.INTAKE, is_bulk] = oldest
    return found


def _oldest_notice(session: Session, *, is_bulk: bool) -> datetime | None:
    """Since when the oldest pending notice waits; one tried again waits since then."""
    urgent = _notice.c.priority <= _URGENT
    row = session.execute(
        select(_notice.c.id, _notice.c.received_at)
        .where(_notice.c.state == "pending", ~urgent if is_bulk else urgent)
        .order_by(_notice.c.priority, _notice.c.id)
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    retried: datetime | None = session.execute(
        select(func.max(_dead.c.retried_at)).where(_dead.c.notice_id == row.id)
    ).scalar_one()
    received: datetime = row.received_at
    return retried or received


def _failing(
    session: Session, now: datetime, settings: WatchdogSettings, practice: Mapping[str, bool]
) -> tuple[FailingSink, ...]:
    trying = _delivery.c.state.in_(("pending", "sending", "unknown")) & (
        _delivery.c.attempts >= settings.delivery_attempts
    )
    given_up = (_delivery.c.state == "failed") & (
        _delivery.c.finished_at > now - timedelta(hours=settings.delivery_failed_h)
    )
    details: dict[str, list[str]] = defaultdict(list)
    for sink, detail in session.execute(
        select(_delivery.c.sink, _delivery.c.detail)
        .where(trying | given_up)
        .order_by(_delivery.c.id.desc())
    ):
        details[sink].append(detail)
    return tuple(
        FailingSink(sink, practice.get(sink, False), len(said), said[0])
        for sink, said in sorted(details.items())
    )


def _last(session: Session, *where: Any) -> datetime | None:
    """When the newest such alert came: ids grow with time, so the search goes back from the
    end and is short where such alerts are regular."""
    found: datetime | None = session.execute(
        select(_alert.c.received_at).where(*where).order_by(_alert.c.id.desc()).limit(1)
    ).scalar_one_or_none()
    return found


def _lvk_notices(session: Session, since: datetime, until: datetime) -> tuple[OnePath, ...]:
    """LVK's alerts first heard of in that time, each with the brokers that brought it."""
    newest = (
        select(_alert.c.id, _alert.c.event_id, _alert.c.alert_type, _alert.c.received_at)
        .order_by(_alert.c.id.desc())
        .limit(_ROWS)
        .subquery()
    )
    rows = session.execute(
        select(newest, _notice.c.broker)
        .join(_said, _said.c.alert_id == newest.c.id)
        .join(_notice, _notice.c.id == _said.c.notice_id)
        .where(
            newest.c.received_at > since,
            newest.c.received_at <= until,
            _notice.c.source == _LVK,
        )
    )
    brokers: dict[tuple[str, str, datetime], set[str]] = defaultdict(set)
    for _, event_id, alert_type, received_at, broker in rows:
        brokers[event_id, alert_type, received_at].add(broker)
    return tuple(OnePath(*alert, frozenset(found)) for alert, found in brokers.items())


def _bursts(session: Session, since: datetime) -> tuple[BurstFacts, ...]:
    newest = (
        select(_burst.c.event_id, func.max(_burst.c.revision).label("revision"))
        .where(_burst.c.created_at > since)
        .group_by(_burst.c.event_id)
        .subquery()
    )
    rows = session.execute(
        select(_burst.c.event_id, _burst.c.assessment)
        .join(
            newest,
            (newest.c.event_id == _burst.c.event_id) & (newest.c.revision == _burst.c.revision),
        )
        .order_by(_burst.c.event_id)
        .limit(_ROWS)
    )
    return tuple(
        BurstFacts(
            event_id,
            found["is_practice"],
            found["probability_real"],
            tuple(found["headlines"]),
            tuple(found["contradictions"]),
        )
        for event_id, found in rows
        if not found["is_retracted"]
    )
