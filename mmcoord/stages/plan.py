"""Plan: everything known about an event's candidates becomes one ranked, scheduled list.

A new revision is written only when its content differs from the last, and the deliveries
that it calls for are written in the same transaction (outbox). A retracted event gets an
empty revision, and what was posted for it is withdrawn.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import insert
from sqlalchemy.orm import Session

from followup.assign import assign
from followup.explain import outlook
from followup.factors import RankSettings
from followup.looks import Cadence
from followup.prospects import Memory
from followup.rank import rank
from followup.slate import Slate
from followup.weather import Spell, read_weather
from mmcoord.config import is_address
from mmcoord.elsewhere import Elsewhere
from mmcoord.galaxies import installed
from mmcoord.records import PlanRow, PlanTile
from mmcoord.stages import breakout, outbox
from mmcoord.stages.bookings import bookings_against, displaced
from mmcoord.stages.context import Context
from mmcoord.stages.isolate import serve_each
from mmcoord.stages.planrows import newest_rows, row_to_json
from mmcoord.stages.policy import reason_to_rest
from mmcoord.stages.searching import seek
from mmcoord.stages.targets import targets_of
from mmcoord.store import bursts, claims, journal, queue
from mmcoord.store.elsewhere import elsewhere_between
from mmcoord.store.queue import Wish, Work
from mmcoord.store.reading import newest_plan
from mmcoord.store.tables import EventRow, PlanRevisionRow, RequestRow
from mmcoord.store.tables_tiles import PlanTileRow
from mmcoord.store.tiles import PREFIX as TILE
from mmcoord.store.tiles import newest_tiles, tile_to_json
from mmcoord.store.weather import known_weather
from mmcoord.timescales import mjd_tai

__all__ = ["Draft", "content_sha256", "run"]

_STAGE = "plan"
_BATCH = 10
_DAY = timedelta(days=1)
_OTHERS_SPAN = timedelta(days=2)
"""Four times the time in which an observation is worth making again."""
_MEMORY = Memory()
"""What the targets of the plans before could have: nothing that a crash could lose, plans are the
same without it."""
_GRID = timedelta(minutes=10)
"""Plans are made for instants on this grid, so that a plan does not change by the second."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan as it should now be."""

    rows: tuple[PlanRow, ...]
    planned_for: datetime
    note: str
    objective: float = 0.0
    upper_bound: float = 0.0
    certified_gap: float = 0.0
    displaces: tuple[str, ...] = ()
    """Events from whose plans it takes telescope time."""
    tiles: tuple[PlanTile, ...] = ()
    claimed: tuple[tuple[str, str, str], ...] = ()
    """(tile, group, state) of the claims on tiles, which sinks are told of."""


def content_sha256(draft: Draft) -> str:
    """Identity of a plan's content."""
    rows = [row_to_json(row) for row in draft.rows]
    tiles = [tile_to_json(tile) for tile in draft.tiles]
    said = [rows, draft.note, tiles, draft.claimed]
    text = json.dumps(said, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def run(ctx: Context, at_most: int = _BATCH, *, urgent_only: bool = False) -> int:
    """Serve one batch of wishes; returns how many were served."""
    return serve_each(ctx, _STAGE, at_most, lambda work: _serve(ctx, work), urgent_only=urgent_only)


def _serve(ctx: Context, work: Work) -> None:
    with ctx.database.read() as session:
        draft = _draft(ctx, session, work.key, yields=work.priority >= queue.YIELDING)
    with ctx.database.write() as session:
        if draft is not None:
            _commit(ctx, session, work, draft)
        queue.finish(session, [work])


def _draft(ctx: Context, session: Session, event_id: str, *, yields: bool) -> Draft | None:
    """``yields``: it takes no telescope time from other events."""
    event = session.get(EventRow, event_id)
    if event is None:
        return None
    known_until = _instant(ctx, event)
    planned_for = _on_grid(known_until)
    if (burst := bursts.followed_as(session, event_id)) is not None:
        rows, note = breakout.draft(ctx, session, event, burst, planned_for)
        return Draft(rows, planned_for, note)
    rest = reason_to_rest(ctx.settings, event)
    if rest is not None:
        return Draft((), planned_for, rest)
    targets = targets_of(ctx, session, event, known_until, planned_for)
    wanted, settings = ctx.settings.plan, RankSettings()
    cadence = Cadence(targets=wanted.cadence_targets, gap_h=wanted.cadence_gap_h)
    slate = Slate(keep=wanted.max_rows, cadence=cadence if wanted.cadence_targets else None)
    chosen = wanted.instruments
    instruments = ctx.catalogue.select(chosen) if chosen else ctx.catalogue.asked
    elsewhere = _elsewhere(session, planned_for)
    rows = rank(
        targets,
        event_time=event.event_time,
        now=planned_for,
        instruments=instruments,
        settings=settings,
        galaxies=installed(ctx.settings),
        elsewhere=elsewhere,
        slate=slate,
        memory=_MEMORY,
        most=wanted.max_rows,
    )
    tiles = seek(session, event, planned_for, instruments, slate, elsewhere, wanted, settings)
    previous, fields = newest_rows(session, event_id), newest_tiles(session, event_id)
    others = bookings_against(
        session, event, previous, instruments, planned_for, fields, yields=yields
    )
    assigned = assign(
        rows,
        slate,
        tolerance=settings.choice_tolerance,
        previous=previous,
        weather=_weather(session, wanted.weather),
        bookings=others,
        tiles=tiles.found,
        previous_tiles=fields,
    )
    certificate = [assigned.sentence] if assigned.upper_bound > 0 else []
    return Draft(
        assigned.rows,
        planned_for,
        "\n".join([outlook(rows, len(targets)), *certificate, tiles.sentence]),
        assigned.objective,
        assigned.upper_bound,
        assigned.certified_gap,
        () if yields else displaced(assigned.rows, event_id, instruments, others, assigned.tiles),
        assigned.tiles,
        _claimed(session, event_id),
    )


def _claimed(session: Session, event_id: str) -> tuple[tuple[str, str, str], ...]:
    found = claims.newest(session, event_id)
    return tuple(
        (name, row.group, row.state)
        for name in sorted(found)
        if name.startswith(TILE)
        for row in found[name]
    )


def _weather(session: Session, where: str | None) -> Mapping[str, Sequence[Spell]]:
    """What is known of the weather: from a file, or as it was last heard from an address."""
    if not where:
        return {}
    return known_weather(session, where) if is_address(where) else read_weather(Path(where))


def _elsewhere(session: Session, planned_for: datetime) -> list[Elsewhere]:
    """What others observe in the coming day, or near enough to it to matter."""
    return elsewhere_between(
        session, mjd_tai(planned_for - _OTHERS_SPAN), mjd_tai(planned_for + _DAY + _OTHERS_SPAN)
    )


def _instant(ctx: Context, event: EventRow) -> datetime:
    """The time to plan from: now, but not past the event's follow-up window."""
    instant = ctx.data_now()
    if event.event_time is not None:
        window = timedelta(days=ctx.settings.match.window_after_day)
        instant = min(instant, event.event_time + window)
    return instant


def _on_grid(instant: datetime) -> datetime:
    midnight = instant.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (instant - midnight) // _GRID * _GRID


def _commit(ctx: Context, session: Session, work: Work, draft: Draft) -> None:
    now = ctx.now()
    event = session.get(EventRow, work.key)
    assert event is not None
    last = newest_plan(session, work.key)
    digest = content_sha256(draft)
    if last is not None and last.content_sha256 == digest:
        return
    revision = PlanRevisionRow(
        event_id=work.key,
        revision=last.revision + 1 if last else 1,
        content_sha256=digest,
        planned_for=draft.planned_for,
        n_targets=len(draft.rows),
        objective=draft.objective,
        upper_bound=draft.upper_bound,
        certified_gap=draft.certified_gap,
        note=draft.note,
        created_at=now,
        cause_id=work.cause_id,
    )
    session.add(revision)
    _store_rows(session, revision, draft.rows)
    _store_tiles(session, revision, draft.tiles)
    told = [Wish(_STAGE, other, work.cause_id, queue.YIELDING) for other in draft.displaces]
    queue.enqueue(session, told, now)
    outbox.write_deliveries(ctx, session, event, revision, draft.rows, draft.tiles)
    journal.write(
        session,
        [
            journal.Entry(
                _STAGE,
                "planned",
                _say(revision, draft),
                work.cause_id,
                event_id=work.key,
                object_id=draft.rows[0].object_id if draft.rows else None,
                latency_s=(now - work.enqueued_at).total_seconds(),
            )
        ],
        now,
    )


def _store_rows(session: Session, revision: PlanRevisionRow, rows: Sequence[PlanRow]) -> None:
    if rows:
        session.execute(
            insert(RequestRow),
            [
                {
                    "event_id": revision.event_id,
                    "revision": revision.revision,
                    "rank": row.rank,
                    "object_id": row.object_id,
                    "score": row.score,
                    "row": row_to_json(row),
                }
                for row in rows
            ],
        )


def _store_tiles(session: Session, revision: PlanRevisionRow, tiles: Sequence[PlanTile]) -> None:
    if tiles:
        session.execute(
            insert(PlanTileRow),
            [
                {
                    "event_id": revision.event_id,
                    "revision": revision.revision,
                    "number": number,
                    **dataclasses.asdict(tile),
                }
                for number, tile in enumerate(tiles, start=1)
            ],
        )


def _say(revision: PlanRevisionRow, draft: Draft) -> str:
    tiles = f", {len(draft.tiles)} tiles" if draft.tiles else ""
    if not draft.rows:
        return f"plan revision {revision.revision}: no targets{tiles}. {revision.note}"
    first = draft.rows[0].object_id
    return f"plan revision {revision.revision}: {len(draft.rows)} targets{tiles}, first {first}"
