"""The outbox: what a plan revision says to each sink, written before anything is sent.

One delivery per (sink, event, plan revision, target), by a unique key. Practice and real
never mix: a sink whose kind differs from the event's gets a ``refused`` row, which records
that somebody might have expected a message and why there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from followup.sinks.base import Granularity, Sink, TakesTiles
from mmcoord.config import Settings
from mmcoord.policy import Action, Facts, decide
from mmcoord.records import AlertType, EventState, Outgoing, OutgoingKind, PlanRow, PlanTile
from mmcoord.stages.context import Context
from mmcoord.stages.planrows import row_from_json
from mmcoord.store import approvals, bursts, claims
from mmcoord.store.reading import newest_plan, photometry_of
from mmcoord.store.tables import (
    AlertRow,
    DeadLetterRow,
    DeliveryRow,
    EventRow,
    LocalizationRow,
    PlanRevisionRow,
    RequestRow,
)
from mmcoord.store.tiles import asked_before

__all__ = [
    "claimed_tiles",
    "delivery_key",
    "headlines_of",
    "messages",
    "outgoing_for",
    "why_refused",
    "withdraw_late",
    "write_deliveries",
]


def delivery_key(kind: str, sink: str, event_id: str, revision: int, target: str) -> str:
    """The idempotency key of a delivery."""
    return f"{kind}:{sink}:{event_id}:{revision}:{target}"


def why_refused(settings: Settings, sink: Sink, *, is_practice: bool) -> str | None:
    """Practice goes to practice sinks, real to production sinks, and nothing else. Pure.

    Returns the reason for a refusal, None when the sink may be told.
    """
    if sink.is_practice != is_practice:
        return f"a {'practice' if is_practice else 'real'} event, and this sink takes none"
    if not is_practice and not settings.send_real:
        return "a real event in a replay: what was said is not repeated (--send repeats it)"
    return None


def write_deliveries(
    ctx: Context,
    session: Session,
    event: EventRow,
    revision: PlanRevisionRow,
    rows: Sequence[PlanRow],
    tiles: Sequence[PlanTile] = (),
) -> None:
    """Write what this revision calls for, at every sink."""
    now = ctx.now()
    for name, sink in sorted(ctx.sinks.items()):
        wanted = ctx.settings.sinks.get(name)
        if wanted is not None and not wanted.plans:
            continue  # for the operators alone
        _supersede(session, name, event.event_id, now)
        if event.state == EventState.RETRACTED.value:
            _write_withdrawals(ctx, session, event, revision, name, sink)
        else:
            _write_publications(ctx, session, event, revision, name, sink, rows, tiles)


def outgoing_for(
    ctx: Context,
    session: Session,
    event: EventRow,
    revision: int,
    rows: Sequence[PlanRow],
    *,
    kind: OutgoingKind,
    key: str,
    headlines: Sequence[str],
    tiles: Sequence[PlanTile] = (),
) -> Outgoing:
    """What a sink is asked to say, from the store; ``headlines``: see :func:`headlines_of`."""
    alert = session.get(AlertRow, event.current_alert_id) if event.current_alert_id else None
    place = session.get(LocalizationRow, event.localization_id) if event.localization_id else None
    photometry = photometry_of(session, [row.object_id for row in rows])
    return Outgoing(
        kind=kind,
        event_id=event.event_id,
        event_aliases=tuple(event.aliases),
        event_time=event.event_time,
        alert_type=AlertType(event.alert_type),
        is_practice=event.is_practice,
        plan_revision=revision,
        rows=tuple(rows),
        area_90_deg2=place.area_90_deg2 if place else None,
        distance_mpc=place.distance_mpc if place else None,
        distance_std_mpc=place.distance_std_mpc if place else None,
        far_hz=alert.far_hz if alert else None,
        classification=dict(alert.classification) if alert else {},
        photometry=tuple(point for row in rows for point in photometry.get(row.object_id, ())),
        headlines=tuple(headlines),
        page_url=page_url(ctx, event.event_id),
        outlines=dict(place.outlines) if place else {},
        undertakings=claims.undertakings(
            session,
            event.event_id,
            {*(row.object_id for row in rows), *(tile.tile_id for tile in tiles)},
        ),
        tiles=tuple(tiles),
        key=key,
    )


def headlines_of(session: Session, event_id: str) -> tuple[str, ...]:
    """What is said before any plan of a neutrino burst; of another event nothing."""
    burst = bursts.newest(session, event_id)
    return tuple(burst.assessment["headlines"]) if burst else ()


def page_url(ctx: Context, event_id: str) -> str:
    """The event's page, for links in messages."""
    web = ctx.settings.web
    base = ctx.settings.page_url or f"http://{web.host}:{web.port}"
    return f"{base.rstrip('/')}/events/{event_id}"


def _write_publications(
    ctx: Context,
    session: Session,
    event: EventRow,
    revision: PlanRevisionRow,
    name: str,
    sink: Sink,
    rows: Sequence[PlanRow],
    tiles: Sequence[PlanTile],
) -> None:
    told = claimed_tiles(session, event.event_id, sink)
    staying = {*(row.object_id for row in rows), *(tile.tile_id for tile in told)}
    _write_withdrawals(ctx, session, event, revision, name, sink, staying=staying)
    chosen = _chosen(ctx, session, name, sink, event.event_id, rows)
    said = messages(sink, chosen, tiles, told)
    if not said:
        return
    refusal = why_refused(ctx.settings, sink, is_practice=event.is_practice)
    if refusal is not None:
        _add_refusal(ctx, session, event, revision, name, refusal)
        return
    headlines = headlines_of(session, event.event_id)
    for target, group, fields in said:
        key = delivery_key("publish", name, event.event_id, revision.revision, target)
        outgoing = outgoing_for(
            ctx,
            session,
            event,
            revision.revision,
            group,
            kind=OutgoingKind.PUBLISH,
            key=key,
            headlines=headlines,
            tiles=fields,
        )
        _add(ctx, session, event, revision, name, sink, outgoing, target)


def messages(
    sink: Sink,
    rows: Sequence[PlanRow],
    tiles: Sequence[PlanTile] = (),
    told: Sequence[PlanTile] = (),
) -> list[tuple[str, Sequence[PlanRow], Sequence[PlanTile]]]:
    """Rows and tiles by the message that carries them, with its target: empty for a whole plan.

    ``told``: the tiles of which a sink that speaks per target has something to say.
    """
    if sink.granularity is Granularity.TARGET:
        return [
            *((row.object_id, [row], ()) for row in rows),
            *((tile.tile_id, (), [tile]) for tile in told),
        ]
    return [("", rows, tiles)] if rows or tiles else []


def claimed_tiles(session: Session, event_id: str, sink: Sink) -> list[PlanTile]:
    """The tiles that groups have claimed or observed, for a sink that tells of them."""
    if sink.granularity is not Granularity.TARGET or not isinstance(sink, TakesTiles):
        return []
    return asked_before(session, event_id, claims.newest(session, event_id))


def _last_told(session: Session, name: str, event_id: str, target: str) -> dict[str, Any] | None:
    """The payload that the sink was last sent of a target; None before the first."""
    return session.execute(
        select(col(DeliveryRow.payload))
        .where(
            col(DeliveryRow.sink) == name,
            col(DeliveryRow.event_id) == event_id,
            col(DeliveryRow.target) == target,
            col(DeliveryRow.kind) == OutgoingKind.PUBLISH.value,
            col(DeliveryRow.state) == "sent",
        )
        .order_by(col(DeliveryRow.plan_revision).desc())
        .limit(1)
    ).scalar_one_or_none()


def _chosen(
    ctx: Context,
    session: Session,
    name: str,
    sink: Sink,
    event_id: str,
    rows: Sequence[PlanRow],
) -> list[PlanRow]:
    """The best rows, as far as the sink does not hold them just so.

    A target that was among the best and is no longer is told its new rank once, so that
    nobody finds two thirds there.
    """
    limit = ctx.settings.plan.post_top
    best = [row for row in rows[:limit] if row.score > 0]
    if sink.granularity is Granularity.PLAN:
        return best
    held = _held_rows(session, name, event_id)
    names = {row.object_id for row in best}
    fallen = [
        row
        for row in rows
        if row.object_id not in names
        and (known := held.get(row.object_id)) is not None
        and known.rank <= limit
    ]
    return [row for row in best if held.get(row.object_id) != row] + fallen


def _held_rows(session: Session, name: str, event_id: str) -> dict[str, PlanRow]:
    """Target -> the row that this sink was last told about it."""
    last: dict[str, int] = {
        target: revision
        for target, revision in session.execute(
            select(col(DeliveryRow.target), func.max(col(DeliveryRow.plan_revision)))
            .where(
                col(DeliveryRow.sink) == name,
                col(DeliveryRow.event_id) == event_id,
                col(DeliveryRow.kind) == OutgoingKind.PUBLISH.value,
                col(DeliveryRow.state) == "sent",
            )
            .group_by(col(DeliveryRow.target))
        )
    }
    if not last:
        return {}
    told = session.execute(
        select(RequestRow).where(
            col(RequestRow.event_id) == event_id,
            col(RequestRow.revision).in_(set(last.values())),
            col(RequestRow.object_id).in_(set(last)),
        )
    ).scalars()
    return {
        row.object_id: row_from_json(row.row) for row in told if last[row.object_id] == row.revision
    }


def _write_withdrawals(
    ctx: Context,
    session: Session,
    event: EventRow,
    revision: PlanRevisionRow,
    name: str,
    sink: Sink,
    staying: set[str] | None = None,
) -> None:
    """One withdrawal for each thing that this sink holds of the event.

    With ``staying``, only for targets that the plan no longer has. Several revisions of a
    target may be one thing at the sink (same remote id); of several
    messages about whole plans the last one is answered.
    """
    posted: dict[tuple[str, str], DeliveryRow] = {}
    for row in session.execute(
        select(DeliveryRow)
        .where(
            col(DeliveryRow.sink) == name,
            col(DeliveryRow.event_id) == event.event_id,
            col(DeliveryRow.kind) == OutgoingKind.PUBLISH.value,
            col(DeliveryRow.state).in_(("sent", "sending", "unknown")),
        )
        .order_by(col(DeliveryRow.plan_revision))
    ).scalars():
        if staying is not None and (row.target in staying or not row.target):
            continue
        held = row.remote_id or row.key if sink.granularity is Granularity.TARGET else ""
        posted[(row.target, held)] = row
    if not posted:
        return
    asked = _asked_for(session, name, event.event_id)
    headlines = headlines_of(session, event.event_id)
    for _, published in sorted(posted.items()):
        if published.key not in asked:
            _withdraw(ctx, session, event, revision, sink, published, headlines)


def withdraw_late(ctx: Context, session: Session, published: DeliveryRow) -> None:
    """Withdraw what turned out to have arrived after its event was retracted."""
    event = session.get(EventRow, published.event_id)
    revision = newest_plan(session, published.event_id)
    if event is None or revision is None:
        return
    if published.key not in _asked_for(session, published.sink, published.event_id):
        headlines = headlines_of(session, published.event_id)
        sink = ctx.sinks[published.sink]
        _withdraw(ctx, session, event, revision, sink, published, headlines)


def _asked_for(session: Session, name: str, event_id: str) -> set[str | None]:
    """Keys of the publications whose withdrawal is asked for already: it may wait for hours while
    the sink is away, and each new plan comes by."""
    return set(
        session.execute(
            select(col(DeliveryRow.withdraws)).where(
                col(DeliveryRow.sink) == name,
                col(DeliveryRow.event_id) == event_id,
                col(DeliveryRow.kind) == OutgoingKind.WITHDRAW.value,
            )
        ).scalars()
    )


def _withdraw(
    ctx: Context,
    session: Session,
    event: EventRow,
    revision: PlanRevisionRow,
    sink: Sink,
    published: DeliveryRow,
    headlines: Sequence[str],
) -> None:
    outgoing = outgoing_for(
        ctx,
        session,
        event,
        revision.revision,
        _published_rows(session, published),
        kind=OutgoingKind.WITHDRAW,
        key=published.key,
        headlines=headlines,
        tiles=asked_before(session, event.event_id, [published.target]),
    )
    name, target = published.sink, published.target
    _add(ctx, session, event, revision, name, sink, outgoing, target, published)


def _published_rows(session: Session, published: DeliveryRow) -> list[PlanRow]:
    query = (
        select(RequestRow)
        .where(
            col(RequestRow.event_id) == published.event_id,
            col(RequestRow.revision) == published.plan_revision,
        )
        .order_by(col(RequestRow.rank))
    )
    if published.target:
        query = query.where(col(RequestRow.object_id) == published.target)
    return [row_from_json(row.row) for row in session.execute(query).scalars()]


def _add(
    ctx: Context,
    session: Session,
    event: EventRow,
    revision: PlanRevisionRow,
    name: str,
    sink: Sink,
    outgoing: Outgoing,
    target: str,
    published: DeliveryRow | None = None,
) -> None:
    now = ctx.now()
    state, detail = _let_out(ctx, session, event, name, sink, outgoing)
    payload: dict[str, Any] = {}
    try:
        payload = sink.payload(outgoing)
    except Exception as error:
        # A fault of one sink must not keep the plan from the others.
        state, detail = "failed", f"no payload: {type(error).__name__}: {error}"
        session.add(
            DeadLetterRow(
                stage="deliver",
                reason=f"{outgoing.key} to {name}: {detail}",
                at=now,
                cause_id=revision.cause_id,
            )
        )
    if not payload and state != "failed" and outgoing.kind is OutgoingKind.PUBLISH:
        return
    # A target whose row is the same was not chosen; of a tile its message tells.
    tells_of_tile = bool(target and outgoing.tiles) and outgoing.kind is OutgoingKind.PUBLISH
    if tells_of_tile and payload == _last_told(session, name, event.event_id, target):
        return
    session.add(
        DeliveryRow(
            key=f"withdraw:{published.key}" if published else outgoing.key,
            kind=outgoing.kind.value,
            sink=name,
            event_id=event.event_id,
            plan_revision=revision.revision,
            target=target,
            # What was published as real is withdrawn as real, whatever the event has become.
            is_practice=published.is_practice if published else event.is_practice,
            payload=payload,
            state=state,
            detail=detail,
            remote_id=published.remote_id if published else None,
            withdraws=published.key if published else None,
            created_at=now,
            next_attempt_at=now,
            finished_at=now if state in ("failed", "refused") else None,
            cause_id=revision.cause_id,
        )
    )


def _let_out(
    ctx: Context, session: Session, event: EventRow, name: str, sink: Sink, outgoing: Outgoing
) -> tuple[str, str]:
    """(state, why) of a new delivery: sent at once, held for a person, or refused.

    What is out may always be taken back, and practice is published to nobody.
    """
    if outgoing.kind is OutgoingKind.WITHDRAW or event.is_practice:
        return "pending", ""
    said = approvals.standing(session, event.event_id, name)
    if said is not None:
        state = "pending" if said.decision == approvals.APPROVE else "refused"
        return state, f"{said.decision} by {said.by} at plan revision {said.plan_revision}"
    verdict = decide(
        ctx.policy, _facts(event, outgoing), name, is_public=getattr(sink, "is_public", True)
    )
    states = {Action.SEND: "pending", Action.HOLD: approvals.HELD, Action.NEVER: "refused"}
    return states[verdict.action], verdict.why


def _facts(event: EventRow, outgoing: Outgoing) -> Facts:
    return Facts(
        messenger=event.messenger,
        alert_type=event.alert_type,
        significant=event.significant,
        classification=outgoing.classification,
        far_hz=outgoing.far_hz,
        area_90_deg2=outgoing.area_90_deg2,
        distance_mpc=outgoing.distance_mpc,
        p_kilonova=outgoing.rows[0].p_kilonova if outgoing.rows else None,
    )


def _add_refusal(
    ctx: Context,
    session: Session,
    event: EventRow,
    revision: PlanRevisionRow,
    name: str,
    refusal: str,
) -> None:
    now = ctx.now()
    session.add(
        DeliveryRow(
            key=delivery_key("publish", name, event.event_id, revision.revision, ""),
            kind=OutgoingKind.PUBLISH.value,
            sink=name,
            event_id=event.event_id,
            plan_revision=revision.revision,
            target="",
            is_practice=event.is_practice,
            state="refused",
            detail=f"{event.event_id} is {refusal}",
            created_at=now,
            next_attempt_at=now,
            finished_at=now,
            cause_id=revision.cause_id,
        )
    )


def _supersede(session: Session, name: str, event_id: str, now: datetime) -> None:
    """What an older revision has not sent yet is not worth sending any more."""
    session.execute(
        update(DeliveryRow)
        .where(
            col(DeliveryRow.sink) == name,
            col(DeliveryRow.event_id) == event_id,
            col(DeliveryRow.kind) == OutgoingKind.PUBLISH.value,
            col(DeliveryRow.state).in_(("pending", approvals.HELD)),
        )
        .values(state="superseded", finished_at=now)
    )
