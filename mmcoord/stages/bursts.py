"""Bursts: what the alerts of all networks say of one neutrino burst becomes one assessment.

SNEWS over SCiMMA and GCN, its older notices and Super-K announce the same burst under names
of their own. Those within its window are joined (:mod:`mmcoord.supernova.burst`), and the
burst is followed under one of these events: its map is that of the triangulation, its plan
the watch for the first light. The other events point to it and start nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

import skymaps
from mmcoord.records import BURST_GROUPS, BURST_WINDOW, AlertType, EventState
from mmcoord.stages import localize
from mmcoord.stages.alerts import adopt_map, store_localization
from mmcoord.stages.context import Context
from mmcoord.stages.isolate import serve_each
from mmcoord.stages.keys import event_key
from mmcoord.store import bursts, journal, queue
from mmcoord.store.queue import BURST, COINCIDE, Wish, Work
from mmcoord.store.tables import AlertRow, BurstRow, EventRow
from mmcoord.supernova.assess import Assessment, assess
from mmcoord.supernova.burst import Sighting, Statement, SuperK, clusters, join
from skymaps.detectors import builtin_detectors

__all__ = ["run", "statement_of", "warm_up"]

_BATCH = 20


def run(ctx: Context) -> int:
    """Assess the bursts that something new was said of; returns how many wishes were served."""
    return serve_each(ctx, BURST, _BATCH, lambda work: _serve(ctx, work), lambda work: work.key)


def warm_up() -> None:
    """Load the compiled kernels on a small burst: the first one does not wait for them."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    sightings = tuple(Sighting(name, now) for name in ("IceCube", "Super-K", "JUNO"))
    statement = Statement("warm", "SNEWS2", "", now, now, True, sightings=sightings)
    found = assess(join([statement]), builtin_detectors())
    assert found.skymap is not None
    localize.measured(found.skymap)


def statement_of(alert: AlertRow) -> Statement | None:
    """One alert as a burst needs it; None where it has no time."""
    if alert.event_time is None:
        return None
    extra = alert.extra
    return Statement(
        event_id=alert.event_id,
        group=alert.group or "",
        sender=f"{alert.group} {extra.get('server_tag', '')} {extra.get('sub list number', '')}",
        said_at=alert.time_created,
        first_time=alert.event_time,
        is_practice=alert.is_practice,
        is_retraction=alert.alert_type == AlertType.RETRACTION,
        sightings=_sightings(alert),
        status={str(k): str(v) for k, v in _mapping(extra.get("detector_status")).items()},
        is_pre_supernova=str(extra.get("is_pre_sn")).lower() == "true",
        superk=_superk(alert) if alert.group == "Super-K" else None,
        markers={str(k): v is True for k, v in _mapping(extra.get("markers")).items()},
    )


def _sightings(alert: AlertRow) -> tuple[Sighting, ...]:
    assert alert.event_time is not None
    given = alert.extra.get("detections")
    if isinstance(given, list) and given:
        return tuple(
            Sighting(one["detector"], datetime.fromisoformat(one["time"]), one["p_value"])
            for one in given
        )
    if alert.group == "Super-K":
        return (Sighting("Super-K", alert.event_time),)
    return (Sighting(None, alert.event_time),)


def _superk(alert: AlertRow) -> SuperK:
    extra = alert.extra
    distance_mpc = _float(extra.get("luminosity_distance"))
    error_mpc = _float(extra.get("luminosity_distance_error"))
    pointing = _mapping(extra.get("pointing"))
    number = extra.get("n_events")
    return SuperK(
        n_events=int(number) if isinstance(number, int | float) and number >= 0 else 0,
        interval_s=_float(extra.get("detection_interval")),
        distance_kpc=1000.0 * distance_mpc if distance_mpc and distance_mpc > 0.0 else None,
        distance_err_kpc=1000.0 * error_mpc if error_mpc else None,
        ra_deg=_float(pointing.get("ra_deg")),
        dec_deg=_float(pointing.get("dec_deg")),
        radius_deg=_float(pointing.get("radius_deg")),
        containment=_float(pointing.get("containment")),
    )


def _serve(ctx: Context, work: Work) -> None:
    with ctx.database.read() as session:
        cluster = _cluster(session, work.key)
        leader = _leader(session, [s.event_id for s in cluster]) if cluster else None
    if leader is None:
        with ctx.database.write() as session:
            queue.finish(session, [work])
        return
    found = assess(join(cluster), ctx.detectors)
    localization = localize.measured(found.skymap) if found.skymap is not None else None
    now = ctx.now()
    with ctx.database.write() as session:
        if localization is not None:
            store_localization(session, localization, now)
        content = found.to_json()
        text = json.dumps(content, sort_keys=True, allow_nan=False)
        digest = hashlib.sha256(text.encode()).hexdigest()
        last = bursts.newest(session, leader)
        moved = bursts.follow(session, found.burst.events, leader)
        if last is None or last.content_sha256 != digest:
            row = BurstRow(
                event_id=leader,
                revision=last.revision + 1 if last else 1,
                content_sha256=digest,
                assessment=content,
                localization_id=localization.id if localization else None,
                created_at=now,
                cause_id=work.cause_id,
            )
            session.add(row)
            if localization is not None:
                adopt_map(session, leader, localization.id, now, work.cause_id)
            _announce(session, leader, row, found, work, now)
        queue.enqueue(
            session,
            [Wish("plan", event, work.cause_id, priority=queue.URGENT) for event in moved],
            now,
        )
        queue.finish(session, [work])


def _announce(
    session: Session, leader: str, row: BurstRow, found: Assessment, work: Work, now: datetime
) -> None:
    queue.enqueue(
        session,
        [
            Wish("match", event_key(leader), work.cause_id, priority=queue.URGENT),
            Wish("plan", leader, work.cause_id, priority=queue.URGENT),
            Wish(COINCIDE, leader, work.cause_id, priority=queue.URGENT),
        ],
        now,
    )
    area = (
        f", 90 % region {skymaps.credible_area_deg2(found.skymap, 0.9):,.0f} deg2"
        if found.skymap is not None
        else ", no map"
    )
    said = (
        f"burst, assessment {row.revision}: {len(found.burst.sightings)} detectors, "
        f"P(real) {found.reality.probability:.3g}, {found.classification.verdict}{area}"
    )
    waited = (now - work.enqueued_at).total_seconds()
    entry = journal.Entry(
        BURST, "assessed", said, work.cause_id, event_id=leader, latency_s=max(waited, 0.0)
    )
    journal.write(session, [entry], now)


def _cluster(session: Session, event_id: str) -> list[Statement]:
    """All that is said of the burst that an event announces."""
    event = session.get(EventRow, event_id)
    if event is None or event.event_time is None:
        return []
    alerts = session.execute(
        select(AlertRow)
        .join(EventRow, col(EventRow.event_id) == col(AlertRow.event_id))
        .where(
            col(AlertRow.group).in_(BURST_GROUPS),
            col(EventRow.is_practice) == event.is_practice,
            col(EventRow.event_time).between(
                event.event_time - 2 * BURST_WINDOW, event.event_time + 2 * BURST_WINDOW
            ),
        )
    ).scalars()
    statements = [s for s in map(statement_of, alerts) if s is not None]
    for cluster in clusters(statements):
        if any(statement.event_id == event_id for statement in cluster):
            return cluster
    return []


def _leader(session: Session, event_ids: Sequence[str]) -> str:
    """The event that was received first of those that still stand."""
    rows = session.execute(select(EventRow).where(col(EventRow.event_id).in_(set(event_ids))))
    return min(
        rows.scalars(),
        key=lambda row: (
            row.state == EventState.RETRACTED.value,
            row.first_received_at,
            row.event_id,
        ),
    ).event_id


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
