"""Alerts into the store: revisions joined, the event folded from them, late maps, names.

An event is a pure function (:func:`fold`) of the set of its alerts, and two notices of one
identity are joined field by field, so that no order of arrival matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.records import (
    BURST_GROUPS,
    Alert,
    AlertType,
    EventState,
    LateMap,
)
from mmcoord.stages import localize
from mmcoord.stages.keys import alert_key, event_key
from mmcoord.stages.links import has_own_map, map_links
from mmcoord.stages.merging import joined
from mmcoord.stages.readout import Readout
from mmcoord.store import journal, naming, queue
from mmcoord.store.ingest import (
    note_alert_notice,
)
from mmcoord.store.queue import BURST, COINCIDE, FETCH, INTAKE, Wish
from mmcoord.store.tables import (
    AlertRow,
    EventRow,
    LateMapRow,
    LocalizationRow,
)
from mmcoord.store.types import table

__all__ = [
    "Folded",
    "adopt_map",
    "fold",
    "seek_map",
    "store_localization",
    "write_alert",
    "write_late_map",
]

TRIANGULATED = "triangulation"
"""``AlertRow.localized_by`` of a map that came from the burst stage."""
_TWIN = timedelta(minutes=10)
"""Notices of one type that are nearer in time may be two forms of one."""


@dataclass(frozen=True, slots=True)
class Folded:
    """An event as its alerts say, whatever order they came in."""

    current: AlertRow
    state: EventState
    localization_id: str | None
    event_time: datetime | None


def fold(alerts: Sequence[AlertRow]) -> Folded:
    """Summarise an event from all its alerts; the order of ``alerts`` does not matter.

    Current is the newest by (time created, alert type). A retraction, whenever it arrives
    and even before its event, retracts for good. The localization and the time of the event
    are those of the newest alert that has one: an update may leave either out; but the circle of
    a notice does not replace the map that another form of the same notice had.
    """
    ordered = sorted(alerts, key=lambda row: (row.time_created, AlertType(row.alert_type).rank))
    standing = [row for row in ordered if row.alert_type != AlertType.RETRACTION]
    retracted = len(standing) < len(ordered)
    localized = [row for row in standing if row.localization_id]
    times = [row.event_time for row in (*ordered, *standing) if row.event_time]
    return Folded(
        current=standing[-1] if standing else ordered[-1],
        state=EventState.RETRACTED if retracted else EventState.ACTIVE,
        localization_id=_place(localized).localization_id if localized else None,
        event_time=times[-1] if times else None,
    )


def _place(localized: Sequence[AlertRow]) -> AlertRow:
    """Whose localization stands. The forms of one notice (JSON and VOEvent of IceCube) are made
    minutes apart at most, are of one type, and only one of them has the map."""
    newest = localized[-1]
    triangulated = [row for row in localized if row.localized_by == TRIANGULATED]
    if triangulated:
        return triangulated[-1]
    if newest.localized_by == "region":
        for row in reversed(localized):
            is_twin = row.alert_type == newest.alert_type and row.messenger == newest.messenger
            if newest.time_created - row.time_created > _TWIN:
                break
            if is_twin and row.localized_by != "region":
                return row
    return newest


def write_alert(
    session: Session,
    readout: Readout,
    alert: Alert,
    now: datetime,
    entries: list[journal.Entry],
    wishes: list[Wish],
) -> str:
    known = session.execute(
        select(AlertRow).where(
            col(AlertRow.event_id) == alert.event_id,
            col(AlertRow.alert_type) == alert.alert_type.value,
            col(AlertRow.time_created) == alert.time_created,
        )
    ).scalar_one_or_none()
    for localization in (readout.localization, readout.combined):
        if localization is not None:
            store_localization(session, localization, now)
    localization_id = readout.localization.id if readout.localization else None
    name = f"{alert.alert_type} {alert.event_id}"
    row = _alert_row(alert, readout, localization_id)
    if known is not None:
        note_alert_notice(session, known, readout.notice_id)
        added = _complete(session, known, row)
        if not added:
            return f"duplicate of notice {known.notice_id}: {name}"
        outcome = f"{name}: adds {added}"
    else:
        session.add(row)
        session.flush()
        note_alert_notice(session, row, readout.notice_id)
        outcome = name
    session.flush()
    _refresh_event(session, alert, readout, now)
    wishes += [
        Wish("match", event_key(alert.event_id), readout.cause_id, priority=queue.URGENT),
        Wish("plan", alert.event_id, readout.cause_id, priority=queue.URGENT),
        Wish(COINCIDE, alert.event_id, readout.cause_id, priority=queue.URGENT),
    ]
    if alert.group in BURST_GROUPS:
        wishes.append(Wish(BURST, alert.event_id, readout.cause_id, priority=queue.URGENT))
    entries.append(
        journal.Entry(
            INTAKE,
            "received",
            outcome + (f" (dead letter: {readout.error})" if readout.error else ""),
            readout.cause_id,
            event_id=alert.event_id,
            latency_s=max((now - readout.received_at).total_seconds(), 0.0),
        )
    )
    return outcome


def _complete(session: Session, known: AlertRow, other: AlertRow) -> str:
    """Join what two notices of one identity say; returns what that added, for people.

    A notice can be sent again with a coincidence added and nothing else changed, its
    creation time included; and the JSON and VOEvent forms of one notice differ in what they
    tell. Whichever comes first, the alert ends the same (:func:`merging.joined`).
    """
    added = []
    better = _better_localized(session, known, other)
    if better.localization_id != known.localization_id:
        known.localization_id = better.localization_id
        known.localized_by = better.localized_by
        added.append("a map")
    for field, value in joined(known, other).items():
        setattr(known, field, value)
        added.append(f"a coincidence with {value['observatory']}" if field == "external" else field)
    return ", ".join(added)


def _better_localized(session: Session, known: AlertRow, other: AlertRow) -> AlertRow:
    """Which of two rows of one alert has the localization that stands.

    A triangulation, which has everything in it, goes before a map of the notice, that before
    one from its link, and that before a circle; of two of a kind the richer one stands. A row
    older than the column ``localized_by`` has a map.
    """
    rows = {
        row.id: row
        for row in session.execute(
            select(
                col(LocalizationRow.id), col(LocalizationRow.is_3d), col(LocalizationRow.n_tiles)
            ).where(col(LocalizationRow.id).in_([known.localization_id, other.localization_id]))
        )
    }

    def worth(alert: AlertRow) -> tuple[int, bool, int, str]:
        found = rows.get(alert.localization_id)
        if found is None:
            return (-1, False, 0, "")
        kind = {"region": 0, "link": 1, TRIANGULATED: 3}.get(alert.localized_by or "map", 2)
        return (kind, found.is_3d, found.n_tiles, found.id)

    return max(known, other, key=worth)


def write_late_map(
    session: Session,
    readout: Readout,
    late: LateMap,
    now: datetime,
    entries: list[journal.Entry],
    wishes: list[Wish],
) -> str:
    """Keep a map that was behind a link, and complete its alert if that is here already."""
    assert readout.localization is not None
    store_localization(session, readout.localization, now)
    statement = queue.insert_for(session, table(LateMapRow)).values(
        event_id=late.event_id,
        alert_type=late.alert_type.value,
        time_created=late.time_created,
        localization_id=readout.localization.id,
        url=late.url,
        notice_id=readout.notice_id,
    )
    new = statement.excluded
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["event_id", "alert_type", "time_created"],
            set_={name: new[name] for name in ("localization_id", "url", "notice_id")},
            # Two files for one alert: which one stands must not hang on the order.
            where=new.localization_id < table(LateMapRow).c.localization_id,
        )
    )
    name = f"{late.alert_type} {late.event_id}"
    alert = _alert_of(session, late)
    if alert is None:
        return f"map of {name}, whose notice is not here yet"
    if not _complete_late(session, alert, readout, now, wishes):
        return f"map of {name}: not needed, the alert has one"
    text = f"map of {name} from {late.url}"
    waited = max((now - readout.received_at).total_seconds(), 0.0)
    entries.append(
        journal.Entry(INTAKE, "localized", text, readout.cause_id, late.event_id, latency_s=waited)
    )
    return text


def seek_map(
    session: Session,
    readout: Readout,
    alert: Alert,
    now: datetime,
    wishes: list[Wish],
    *,
    fetches: bool,
) -> None:
    """An alert without a map of its own: one that was fetched before, or else a wish for one."""
    row = _alert_of(session, alert)
    assert row is not None
    if _complete_late(session, row, readout, now, wishes) or not fetches:
        return
    if row.notice_id == readout.notice_id and map_links(row):
        key = alert_key(alert.event_id, alert.alert_type, alert.time_created)
        wishes.append(Wish(FETCH, key, readout.cause_id, priority=queue.URGENT))


def _alert_of(session: Session, identity: Alert | LateMap) -> AlertRow | None:
    return session.execute(
        select(AlertRow).where(
            col(AlertRow.event_id) == identity.event_id,
            col(AlertRow.alert_type) == identity.alert_type.value,
            col(AlertRow.time_created) == identity.time_created,
        )
    ).scalar_one_or_none()


def _complete_late(
    session: Session, alert: AlertRow, readout: Readout, now: datetime, wishes: list[Wish]
) -> bool:
    """Give an alert the map that was behind its link; false where nothing changes.

    A map in the notice itself goes before it, and it goes before a circle.
    """
    found = session.execute(
        select(col(LateMapRow.localization_id)).where(
            col(LateMapRow.event_id) == alert.event_id,
            col(LateMapRow.alert_type) == alert.alert_type,
            col(LateMapRow.time_created) == alert.time_created,
        )
    ).scalar_one_or_none()
    if found is None or found == alert.localization_id:
        return False
    if has_own_map(alert) and alert.localized_by != "link":
        return False
    alert.localization_id = found
    alert.localized_by = "link"
    session.flush()
    event = session.get(EventRow, alert.event_id)
    assert event is not None
    alerts = session.execute(
        select(AlertRow).where(col(AlertRow.event_id) == alert.event_id)
    ).scalars()
    event.localization_id = fold(list(alerts)).localization_id
    event.updated_at = now
    event.cause_id = readout.cause_id
    wishes += [
        Wish("match", event_key(alert.event_id), readout.cause_id, priority=queue.URGENT),
        Wish(COINCIDE, alert.event_id, readout.cause_id, priority=queue.URGENT),
        Wish("plan", alert.event_id, readout.cause_id, priority=queue.URGENT),
    ]
    return True


def adopt_map(
    session: Session, event_id: str, localization_id: str, now: datetime, cause_id: str
) -> None:
    """Give an event's newest standing alert the map that was made of all alerts of a burst."""
    event = session.get_one(EventRow, event_id)
    alerts = list(
        session.execute(select(AlertRow).where(col(AlertRow.event_id) == event_id)).scalars()
    )
    current = fold(alerts).current
    current.localization_id, current.localized_by = localization_id, TRIANGULATED
    session.flush()
    event.localization_id = fold(alerts).localization_id
    event.updated_at, event.cause_id = now, cause_id


def _external(alert: Alert, readout: Readout) -> dict[str, Any]:
    if alert.external is None:
        return {}
    return {
        "observatory": alert.external.observatory,
        "search": alert.external.search,
        "notice_id": alert.external.notice_id,
        "time_difference_s": alert.external.time_difference_s,
        "far_time_hz": alert.external.far_time_hz,
        "far_time_sky_hz": alert.external.far_time_sky_hz,
        "combined_localization_id": readout.combined.id if readout.combined else None,
    }


def _refresh_event(session: Session, alert: Alert, readout: Readout, now: datetime) -> None:
    alerts = list(
        session.execute(select(AlertRow).where(col(AlertRow.event_id) == alert.event_id)).scalars()
    )
    folded = fold(alerts)
    event = session.get(EventRow, alert.event_id)
    was_practice = event.is_practice if event is not None else None
    if event is None:
        event = EventRow(
            event_id=alert.event_id,
            messenger=alert.messenger.value,
            state=folded.state.value,
            is_practice=alert.is_practice,
            alert_type=folded.current.alert_type,
            first_received_at=readout.received_at,
            updated_at=now,
        )
        session.add(event)
    event.state = folded.state.value
    # Once practice, always practice: a later notice cannot open the way to production sinks.
    event.is_practice = any(row.is_practice for row in alerts)
    event.messenger = folded.current.messenger
    event.event_time = folded.event_time
    event.alert_type = (
        AlertType.RETRACTION.value
        if folded.state is EventState.RETRACTED
        else folded.current.alert_type
    )
    event.significant = folded.current.significant
    event.current_alert_id = folded.current.id
    event.localization_id = folded.localization_id
    event.aliases = sorted({name for row in alerts for name in row.aliases})
    event.updated_at = now
    event.cause_id = readout.cause_id
    session.flush()
    naming.learn(
        session,
        event.event_id,
        alerts,
        readout.cause_id,
        practice_changed=was_practice not in (None, event.is_practice),
    )


def _alert_row(alert: Alert, readout: Readout, localization_id: str | None) -> AlertRow:
    return AlertRow(
        event_id=alert.event_id,
        alert_type=alert.alert_type.value,
        time_created=alert.time_created,
        notice_id=readout.notice_id,
        localization_id=localization_id,
        localized_by=readout.localized_by,
        messenger=alert.messenger.value,
        is_practice=alert.is_practice,
        event_time=alert.event_time,
        significant=alert.significant,
        far_hz=alert.far_hz,
        group=alert.group,
        pipeline=alert.pipeline,
        search=alert.search,
        instruments=list(alert.instruments),
        classification=dict(alert.classification),
        properties=dict(alert.properties),
        external=_external(alert, readout),
        urls=dict(alert.urls),
        extra=dict(alert.extra),
        aliases=list(alert.aliases),
        received_at=readout.received_at,
        cause_id=readout.cause_id,
    )


def store_localization(
    session: Session, localization: localize.Localization, now: datetime
) -> None:
    statement = queue.insert_for(session, table(LocalizationRow)).values(
        id=localization.id,
        fits=localization.fits,
        is_3d=localization.is_3d,
        n_tiles=localization.n_tiles,
        area_50_deg2=localization.area_50_deg2,
        area_90_deg2=localization.area_90_deg2,
        distance_mpc=localization.distance_mpc,
        distance_std_mpc=localization.distance_std_mpc,
        repairs=list(localization.repairs),
        outlines=localization.outlines,
        created_at=now,
    )
    session.execute(statement.on_conflict_do_nothing())
