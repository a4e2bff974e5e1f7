"""Two events in one night: their plans do not meet on a telescope."""

from __future__ import annotations

from pathlib import Path

import pytest

import skymaps
from followup.spoken_for import Booking, bookings_of_row, meeting
from mmcoord.config import PlanSettings
from mmcoord.stages import intake, plan
from mmcoord.stages.context import Context
from mmcoord.stages.match import MatchStage
from mmcoord.stages.planrows import newest_rows
from mmcoord.store import queue
from mmcoord.store.database import Database
from mmcoord.store.queue import Wish
from tests.making import candidate_row, gaussian_map, lvk_notice, make_context, photometry_row, send

WIDE, NARROW = "MS260301wide", "MS260301narrow"


@pytest.fixture
def ctx(database: Database, tmp_path: Path) -> Context:
    """One camera, and six candidates that both events' maps hold, better placed in NARROW's."""
    one_camera = PlanSettings(debounce_s=0.0, instruments=("ztf",), tiles=0)
    ctx = make_context(database, tmp_path, plan=one_camera)
    messages = [
        ("table_candidates", candidate_row(f"c{n}", 149.0 + 0.3 * n, -20.0)) for n in range(6)
    ]
    messages += [
        ("table_photometry", photometry_row(f"c{n}", 0.5, "lsst:r", 19.0)) for n in range(6)
    ]
    send(ctx, messages)
    return ctx


def announce(ctx: Context, event_id: str, ra_deg: float, number: int) -> None:
    fits = skymaps.to_fits_bytes(gaussian_map(ra_deg=ra_deg))
    notice = lvk_notice(event_id, "INITIAL", skymap=fits)
    send(ctx, [("igwn", notice)], first_offset=number)
    intake.run(ctx)
    stage = MatchStage()
    while stage.run(ctx):
        pass


def make_plans(ctx: Context) -> int:
    served = 0
    while n := plan.run(ctx):
        served += n
        assert served < 20, "plans go round among the events"
    return served


def asked(ctx: Context, event_id: str) -> list[Booking]:
    cameras = {i.id: i for i in ctx.catalogue.select(("ztf",))}
    with ctx.database.read() as session:
        rows = newest_rows(session, event_id)
    return [booking for row in rows for booking in bookings_of_row(row, event_id, cameras)]


def test_the_lower_score_yields_and_then_both_plans_stand(ctx: Context) -> None:
    announce(ctx, WIDE, 153.5, 100)
    make_plans(ctx)
    alone = asked(ctx, WIDE)
    announce(ctx, NARROW, 150.0, 200)
    make_plans(ctx)
    wide, narrow = asked(ctx, WIDE), asked(ctx, NARROW)
    assert len(wide) == len(narrow) == len(alone) == 6
    assert meeting(narrow, wide) == []
    taken = meeting(narrow, alone)
    assert taken, "they would not have met anyway"
    assert all(new.score > old.score for new, old in taken)
    with ctx.database.write() as session:
        queue.enqueue(session, [Wish("plan", name, "again") for name in (WIDE, NARROW)], ctx.now())
    assert make_plans(ctx) == 2
    assert (asked(ctx, WIDE), asked(ctx, NARROW)) == (wide, narrow)


def wish(ctx: Context, event_id: str, priority: int) -> None:
    with ctx.database.write() as session:
        queue.enqueue(session, [Wish("plan", event_id, "test", priority)], ctx.now())


@pytest.mark.parametrize(
    ("wishes", "takes"),
    [
        ((queue.YIELDING,), False),
        ((queue.YIELDING, queue.NORMAL), True),
        ((queue.NORMAL, queue.YIELDING), True),
    ],
)
def test_who_is_planned_only_because_time_was_taken_from_it_takes_from_nobody(
    ctx: Context, wishes: tuple[int, ...], takes: bool
) -> None:
    """Though its targets are worth more: who took its time may have moved on since."""
    announce(ctx, WIDE, 153.5, 100)
    make_plans(ctx)
    wide = asked(ctx, WIDE)
    announce(ctx, NARROW, 150.0, 200)
    with ctx.database.write() as session:
        queue.finish(session, queue.take(session, "plan", ctx.now(), 10))
    for priority in wishes:
        wish(ctx, NARROW, priority)
    assert make_plans(ctx) == (2 if takes else 1)
    assert bool(meeting(asked(ctx, NARROW), wide)) is takes
    assert (asked(ctx, WIDE) != wide) is takes
    assert meeting(asked(ctx, NARROW), asked(ctx, WIDE)) == []


def test_practice_takes_no_time_from_a_real_event(ctx: Context) -> None:
    announce(ctx, WIDE, 150.0, 100)
    make_plans(ctx)
    before = asked(ctx, WIDE)
    announce(ctx, "S260301real", 150.0, 200)
    make_plans(ctx)
    real = asked(ctx, "S260301real")
    assert [(b.begin, b.end) for b in real] == [(b.begin, b.end) for b in before]
