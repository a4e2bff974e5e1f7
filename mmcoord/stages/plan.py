"""Plan: everything known about an event's candidates becomes one ranked, scheduled list.

A new revision is written only when its content differs from the last, and the deliveries
that it calls for are written in the same transaction (outbox). A retracted event gets an
empty revision, and what was posted for it is withdrawn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert, select
from sqlalchemy.orm import Session
from sqlmodel import col

from followup.assign import Slate, assign
from followup.evidence import Prediction, TargetEvidence, gather
from followup.factors import RankSettings
from followup.rank import outlook, rank
from followup.weather import read_weather
from mmcoord.elsewhere import Elsewhere
from mmcoord.galaxies import installed
from mmcoord.inference.outlook import predictions
from mmcoord.records import Photometry, PlanRow
from mmcoord.stages import breakout, outbox
from mmcoord.stages.bookings import bookings_against, displaced
from mmcoord.stages.classes import PREDICTED_BANDS, classes_of
from mmcoord.stages.context import Context
from mmcoord.stages.isolate import bury_work, isolating
from mmcoord.stages.planrows import newest_rows, row_to_json
from mmcoord.stages.policy import reason_to_rest
from mmcoord.stages.question import screen_request
from mmcoord.store import bursts, claims, crossid, journal, queue
from mmcoord.store.crossid import Place
from mmcoord.store.elsewhere import elsewhere_between
from mmcoord.store.queue import Wish, Work
from mmcoord.store.reading import (
    candidate_record,
    match_record,
    newest_plan,
    photometry_of,
    without_bulk,
)
from mmcoord.store.tables import (
    CandidateRow,
    EventRow,
    MatchRow,
    PlanRevisionRow,
    RequestRow,
    RunRow,
    ScreeningRow,
)
from mmcoord.timescales import mjd_tai

__all__ = ["Draft", "content_sha256", "run"]

_STAGE = "plan"
_BATCH = 10
_CLOCK_SLACK = timedelta(seconds=1)
"""A point may be stamped a little later than the message that brought it."""
_DAY = timedelta(days=1)
_OTHERS_SPAN = timedelta(days=2)
"""Four times the time in which an observation is worth making again."""
_AHEAD_DAY = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0])
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


def content_sha256(draft: Draft) -> str:
    """Identity of a plan's content."""
    text = json.dumps(
        [[row_to_json(row) for row in draft.rows], draft.note], sort_keys=True, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def run(ctx: Context) -> int:
    """Serve one batch of wishes; returns how many were served."""
    with ctx.database.read() as session:
        works = queue.take(session, _STAGE, ctx.now(), _BATCH)
    for work in works:
        isolating(
            [work],
            lambda some: _serve(ctx, some[0]),
            lambda one, reason: bury_work(ctx, one, reason),
        )
    return len(works)


def _serve(ctx: Context, work: Work) -> None:
    with ctx.database.read() as session:
        draft = _draft(ctx, session, work.key)
    with ctx.database.write() as session:
        if draft is not None:
            _commit(ctx, session, work, draft)
        queue.finish(session, [work])


def _draft(ctx: Context, session: Session, event_id: str) -> Draft | None:
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
    targets = _targets(ctx, session, event, known_until)
    wanted, settings = ctx.settings.plan, RankSettings()
    slate = Slate(keep=wanted.max_rows)
    chosen = wanted.instruments
    instruments = ctx.catalogue.select(chosen) if chosen else ctx.catalogue.asked
    rows = rank(
        targets,
        event_time=event.event_time,
        now=planned_for,
        instruments=instruments,
        settings=settings,
        galaxies=installed(ctx.settings),
        elsewhere=_elsewhere(session, planned_for),
        slate=slate,
    )
    previous = newest_rows(session, event_id)
    others = bookings_against(session, event, previous, instruments, planned_for)
    assigned = assign(
        rows[: wanted.max_rows],
        slate,
        tolerance=settings.choice_tolerance,
        previous=previous,
        weather=read_weather(Path(wanted.weather)) if wanted.weather else None,
        bookings=others,
    )
    return Draft(
        assigned.rows,
        planned_for,
        "\n".join([outlook(rows), *([assigned.sentence] if assigned.upper_bound > 0 else [])]),
        assigned.objective,
        assigned.upper_bound,
        assigned.certified_gap,
        displaced(assigned.rows, event_id, instruments, others),
    )


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


def _targets(
    ctx: Context, session: Session, event: EventRow, known_until: datetime
) -> list[TargetEvidence]:
    pairs = session.execute(
        select(MatchRow, CandidateRow)
        .join(CandidateRow, col(CandidateRow.object_id) == col(MatchRow.object_id))
        .where(
            col(MatchRow.event_id) == event.event_id,
            col(MatchRow.localization_id) == event.localization_id,
        )
        .order_by(col(MatchRow.object_id))
    ).all()
    photometry = photometry_of(session, [match.object_id for match, _ in pairs])
    screenings = {
        row.object_id: row
        for row in session.execute(
            select(ScreeningRow).where(col(ScreeningRow.event_id) == event.event_id)
        ).scalars()
    }
    runs = _newest_runs(session, event.event_id, screenings)
    known = crossid.known_as(
        session, [Place(row.object_id, row.ra_deg, row.dec_deg) for _, row in pairs]
    )
    claimed = claims.claims_of(session, event.event_id)
    until = mjd_tai(known_until + _CLOCK_SLACK)
    targets = []
    for match, candidate in pairs:
        screening, result = screenings.get(match.object_id), runs.get(match.object_id)
        points = [p for p in photometry.get(match.object_id, ()) if p.obs_mjd_tai <= until]
        classes = None
        if event.event_time is not None and screening is not None and screening.run_key is not None:
            request = screen_request(candidate, match, points, mjd_tai(event.event_time))
            classes = classes_of(request, until, result, ctx.settings.infer.base_rate)
        targets.append(
            gather(
                candidate_record(candidate),
                match_record(match),
                points,
                event_time=event.event_time,
                p_kilonova=_p_kilonova(screening, result),
                p_kilonova_origin=(
                    "inference" if result is not None else "screen" if screening else None
                ),
                run_key=result.run_key if result is not None else None,
                predicted=(
                    _predicted(result.light_curve)
                    if result is not None
                    else _from_screen(event, match, candidate, points, screening, until)
                ),
                classes=classes,
                known=[one.entry for one in known.get(match.object_id, ())],
                claims=claimed.get(match.object_id, ()),
            )
        )
    return targets


def _newest_runs(
    session: Session, event_id: str, screenings: Mapping[str, ScreeningRow]
) -> dict[str, RunRow]:
    """Per object the finished run for its newest data, else the last one that finished."""
    done = session.execute(
        select(RunRow)
        .options(*without_bulk())
        .where(
            col(RunRow.event_id) == event_id,
            col(RunRow.state) == "done",
            col(RunRow.tainted_at).is_(None),
        )
        .order_by(col(RunRow.created_at), col(RunRow.run_key))
    ).scalars()
    newest: dict[str, RunRow] = {}
    for row in done:
        screening = screenings.get(row.object_id)
        wanted = screening.run_key if screening else None
        held = newest.get(row.object_id)
        if held is not None and row.summary.get("p_kilonova") is None:
            continue  # a model asked alone says nothing of the class
        if held is None or held.run_key != wanted:
            newest[row.object_id] = row
    # Newer data may have ruled an object out without a run: then the screen speaks.
    return {
        object_id: row
        for object_id, row in newest.items()
        if (screening := screenings.get(object_id)) is None or screening.run_key is not None
    }


def _p_kilonova(screening: ScreeningRow | None, result: RunRow | None) -> float | None:
    if result is not None:
        value = result.summary.get("p_kilonova")
        return float(value) if value is not None else None
    return screening.p_kilonova if screening else None


def _predicted(light_curve: Mapping[str, Any]) -> dict[str, Prediction]:
    """The engine's predictions; its None ("fainter than it says") is the planner's too."""
    return {
        band: Prediction(curve["mjd_tai"], curve["q05"], curve["q50"], curve["q95"])
        for band, curve in light_curve.items()
    }


def _from_screen(
    event: EventRow,
    match: MatchRow,
    candidate: CandidateRow,
    points: Sequence[Photometry],
    screening: ScreeningRow | None,
    until: float,
) -> dict[str, Prediction] | None:
    """The bank's predictions for a candidate that waits for its run."""
    if screening is None or screening.run_key is None or event.event_time is None:
        return None
    request = screen_request(candidate, match, points, mjd_tai(event.event_time))
    return _predicted(predictions(request, PREDICTED_BANDS, until + _AHEAD_DAY)) or None


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
    queue.enqueue(session, [Wish(_STAGE, other, work.cause_id) for other in draft.displaces], now)
    outbox.write_deliveries(ctx, session, event, revision, draft.rows)
    journal.write(
        session,
        [
            journal.Entry(
                _STAGE,
                "planned",
                _say(revision, draft.rows),
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


def _say(revision: PlanRevisionRow, rows: Sequence[PlanRow]) -> str:
    if not rows:
        return f"plan revision {revision.revision}: no targets. {revision.note}"
    return f"plan revision {revision.revision}: {len(rows)} targets, first {rows[0].object_id}"
