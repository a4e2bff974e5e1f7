"""What the store holds, summed up: the JSON of ``replay``, of ``/healthz`` and of the page."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord.errors import UnknownRecord
from mmcoord.store import finding, queue, views_queue
from mmcoord.store.crossid import KnownAs, Place, known_as
from mmcoord.store.reading import newest_plan, without_bulk
from mmcoord.store.story import story
from mmcoord.store.tables import (
    AlertRow,
    DeadLetterRow,
    DeliveryRow,
    EventRow,
    JournalRow,
    LocalizationRow,
    MatchRow,
    RequestRow,
    RunRequestRow,
    RunRow,
)
from mmcoord.store.tiles import tile_to_json, tiles_of

__all__ = [
    "deliveries",
    "event_document",
    "event_summary",
    "events",
    "latencies",
    "ledger",
    "plan_document",
    "runs",
    "summary",
]


def summary(session: Session) -> dict[str, Any]:
    """The whole store in one JSON document."""
    balances = queue.balance(session)
    return {
        "events": events(session),
        "runs": runs(session),
        "deliveries": deliveries(session),
        "dead_letters": _count(session, DeadLetterRow),
        "ledger": ledger(session),
        "ledger_balanced": all(balance.lost == 0 for balance in balances),
        "latency_s": latencies(session),
    }


def ledger(session: Session) -> dict[str, dict[str, int]]:
    """Counts per stage; ``lost`` is zero unless something is wrong."""
    return {
        b.stage: {
            "received": b.received,
            "processed": b.processed,
            "dead": b.dead,
            "pending": b.pending,
            "lost": b.lost,
        }
        for b in queue.balance(session)
    }


def events(session: Session) -> list[dict[str, Any]]:
    """All events, newest first."""
    rows = session.execute(
        select(EventRow).order_by(col(EventRow.event_time).desc(), col(EventRow.event_id))
    ).scalars()
    return [event_summary(session, row) for row in rows]


def event_summary(session: Session, event: EventRow) -> dict[str, Any]:
    """One event with its newest plan."""
    place = session.execute(
        select(
            col(LocalizationRow.is_3d),
            col(LocalizationRow.area_90_deg2),
            col(LocalizationRow.distance_mpc),
            col(LocalizationRow.distance_std_mpc),
        ).where(col(LocalizationRow.id) == event.localization_id)
    ).one_or_none()
    plan = newest_plan(session, event.event_id)
    return {
        "id": event.event_id,
        "state": event.state,
        "alert_type": event.alert_type,
        "is_practice": event.is_practice,
        "significant": event.significant,
        "event_time": event.event_time.isoformat() if event.event_time else None,
        "alerts": _count(session, AlertRow, col(AlertRow.event_id) == event.event_id),
        "localization_id": event.localization_id,
        "is_3d": place.is_3d if place else None,
        "area_90_deg2": place.area_90_deg2 if place else None,
        "distance_mpc": place.distance_mpc if place else None,
        "distance_std_mpc": place.distance_std_mpc if place else None,
        "candidates_matched": _count(
            session,
            MatchRow,
            col(MatchRow.event_id) == event.event_id,
            col(MatchRow.localization_id) == event.localization_id,
        ),
        "plan_revision": plan.revision if plan else None,
        "plan_note": plan.note if plan else None,
        "planned_for": plan.planned_for.isoformat() if plan else None,
        "plan": _plan(session, event.event_id, plan.revision) if plan else [],
    }


def event_document(session: Session, event_id: str) -> dict[str, Any]:
    """One event in full, in the shape of ``mmcoord event show --json``: with its names, what
    it is linked with, the circulars that name it (newest first) and its story.

    Raises
    ------
    UnknownRecord
        No such event.
    """
    event = session.get(EventRow, event_id)
    if event is None:
        raise UnknownRecord(f"no event {event_id!r}")
    return {
        **event_summary(session, event),
        "names": [asdict(line) for line in finding.names_of(session, event_id)],
        "linked": [asdict(line) for line in finding.linked(session, event_id)],
        "circulars": [
            {**asdict(line), "created_at": line.created_at.isoformat()}
            for line in finding.circulars_of(session, event_id)
        ],
        "story": story(session, event_id),
    }


def plan_document(session: Session, event_id: str) -> dict[str, Any]:
    """The newest plan of an event, in the shape of ``mmcoord plan --json``.

    ``upper_bound`` certifies the schedule: none of the same targets is worth more. It is null
    in plans that were made before there was a schedule.

    Raises
    ------
    UnknownRecord
        No such event, or no plan of it yet.
    """
    event = session.get(EventRow, event_id)
    if event is None:
        raise UnknownRecord(f"no event {event_id!r}")
    document = event_summary(session, event)
    if document["plan_revision"] is None:
        raise UnknownRecord(f"event {event_id} has no plan yet")
    plan = newest_plan(session, event_id)
    assert plan is not None
    return {
        "event": event_id,
        "revision": document["plan_revision"],
        "planned_for": document["planned_for"],
        "note": document["plan_note"],
        "plan": document["plan"],
        "tiles": [tile_to_json(tile) for tile in tiles_of(session, event_id, plan.revision)],
        "objective": plan.objective,
        "upper_bound": plan.upper_bound,
        "certified_gap": plan.certified_gap,
    }


def _plan(session: Session, event_id: str, revision: int) -> list[dict[str, Any]]:
    rows = list(
        session.execute(
            select(RequestRow)
            .where(col(RequestRow.event_id) == event_id, col(RequestRow.revision) == revision)
            .order_by(col(RequestRow.rank))
        ).scalars()
    )
    known = known_as(
        session,
        [
            Place(row.object_id, row.row["ra_deg"], row.row["dec_deg"])
            for row in rows
            if row.row.get("ra_deg") is not None and row.row.get("dec_deg") is not None
        ],
    )
    results = {
        row.run_key: row
        for row in session.execute(
            select(RunRow)
            .options(*without_bulk())
            .where(col(RunRow.event_id) == event_id, col(RunRow.state) == "done")
        ).scalars()
    }
    return [
        _plan_row(row, results.get(row.row.get("run_key") or ""), known.get(row.object_id, ()))
        for row in rows
    ]


def _plan_row(row: RequestRow, result: RunRow | None, known: Sequence[KnownAs]) -> dict[str, Any]:
    document = {"candidate": row.object_id, **row.row}
    document.pop("object_id", None)
    document["known_as"] = [
        {"name": one.entry.name, "classification": one.entry.classification} for one in known
    ]
    if result is not None:
        document["ejecta_mass_total_msun"] = (
            result.summary.get("derived", {}).get("ejecta_mass_total_msun", {}).get("median")
        )
        document["model"] = result.summary.get("model")
    return document


def runs(session: Session) -> dict[str, int]:
    """Runs by what became of them; ``executed`` are those that were computed, ``resting`` those
    that wait for nothing but better odds."""
    states = views_queue.state_counts(session)
    joined = session.execute(
        select(
            func.coalesce(func.sum(col(RunRow.coalesced)), 0),
            func.coalesce(func.sum(col(RunRow.cached)), 0),
        )
    ).one()
    asked_again = session.execute(
        select(func.count()).select_from(RunRequestRow).where(col(RunRequestRow.how) == "cached")
    ).scalar_one()
    return {
        "executed": states["done"] + states["failed"],
        "coalesced": int(joined[0]),
        "cached": int(joined[1]) + int(asked_again),
        "failed": states["failed"],
        "queued": states["queued"] + states["running"],
        "resting": states["resting"],
        "superseded": states["superseded"],
    }


def deliveries(session: Session) -> dict[str, int]:
    """Deliveries by state. ``withdrawn`` counts what was taken back at a sink."""
    counts: dict[str, int] = defaultdict(int)
    for state, kind, number in session.execute(
        select(col(DeliveryRow.state), col(DeliveryRow.kind), func.count()).group_by(
            col(DeliveryRow.state), col(DeliveryRow.kind)
        )
    ):
        if kind == "withdraw" and state == "sent":
            continue  # counted by what it took back
        counts[state] += number
    return {
        "sent": counts["sent"],
        "failed": counts["failed"],
        "refused": counts["refused"],
        "withdrawn": counts["withdrawn"],
        "pending": counts["pending"] + counts["sending"] + counts["unknown"],
        "superseded": counts["superseded"],
    }


def latencies(session: Session) -> dict[str, dict[str, float]]:
    """Seconds from being asked to being done, per stage: median and maximum."""
    values: dict[str, list[float]] = defaultdict(list)
    for stage, latency in session.execute(
        select(col(JournalRow.stage), col(JournalRow.latency_s)).where(
            col(JournalRow.latency_s).is_not(None)
        )
    ):
        values[stage].append(float(latency or 0.0))
    return {
        stage: {"median": round(statistics.median(found), 4), "max": round(max(found), 4)}
        for stage, found in sorted(values.items())
    }


def _count(session: Session, table: Any, *where: Any) -> int:
    query = select(func.count()).select_from(table)
    return int(session.execute(query.where(*where) if where else query).scalar_one())
