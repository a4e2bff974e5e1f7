"""Matching over months: old events leave the memory, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

import skymaps
from mmcoord.stages import intake
from mmcoord.stages.context import Context
from mmcoord.stages.match import MatchStage
from mmcoord.store.database import Database
from mmcoord.store.tables import MatchRow
from tests.making import T0, candidate_row, gaussian_map, lvk_notice, make_context, send


@pytest.fixture
def ctx(database: Database, tmp_path: Path) -> Context:
    return make_context(database, tmp_path / "out", clock="wall")


def at(ctx: Context, days: float) -> Context:
    """The same store, so many days after the event."""
    return replace(ctx, now=lambda: T0 + timedelta(days=days))


def matched(ctx: Context, stage: MatchStage) -> set[str]:
    while intake.run(ctx) or stage.run(ctx):
        pass
    with ctx.database.read() as session:
        return set(session.execute(select(MatchRow.object_id)).scalars())


def notice(**more: object) -> tuple[str, bytes]:
    return "igwn", lvk_notice(skymap=skymaps.to_fits_bytes(gaussian_map()), **more)  # type: ignore[arg-type]


def candidate(name: str) -> tuple[str, bytes]:
    return "table_candidates", candidate_row(name, 150.0, -20.0)


def test_an_event_takes_candidates_until_its_window_and_the_late_days_are_over(
    ctx: Context,
) -> None:
    stage = MatchStage()
    window = ctx.settings.match.window_after_day
    late = ctx.settings.match.late_day
    send(at(ctx, 0.0), [notice()])
    send(at(ctx, 1.0), [candidate("at once")], first_offset=1)
    assert matched(at(ctx, 1.0), stage) == {"at once"}
    send(ctx, [candidate("late")], first_offset=2)
    assert matched(at(ctx, window + late - 0.1), stage) == {"at once", "late"}
    send(ctx, [candidate("too late")], first_offset=3)
    assert matched(at(ctx, window + late + 0.1), stage) == {"at once", "late"}


def test_a_revision_of_an_old_event_is_matched_with_all_candidates(ctx: Context) -> None:
    stage = MatchStage()
    long_after = at(ctx, 400.0)
    send(ctx, [notice(), candidate("a")])
    assert matched(long_after, stage) == {"a"}  # the event is new to us, however old
    send(ctx, [candidate("b")], first_offset=2)
    assert matched(long_after, stage) == {"a"}
    revision = notice(alert_type="UPDATE", created=T0 + timedelta(days=390))
    send(ctx, [revision], first_offset=3)
    assert matched(long_after, stage) == {"a", "b"}


def test_in_a_replay_no_event_is_too_old(ctx: Context) -> None:
    replay = replace(ctx, settings=replace(ctx.settings, clock="data"))
    stage = MatchStage()
    send(replay, [notice()])
    assert matched(replay, stage) == set()
    send(replay, [candidate("a")], first_offset=1, sent_at=T0 + timedelta(days=1000))
    assert matched(replay, stage) == {"a"}
