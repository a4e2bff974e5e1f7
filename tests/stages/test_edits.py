"""Points that their source edits, withdraws or says again: which value stands."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from mmcoord.stages.context import Context
from mmcoord.stages.infer import InferStage
from mmcoord.store.database import Database
from mmcoord.store.reading import photometry_of
from mmcoord.store.tables import DetectionRow, PointChangeRow
from tests.making import (
    T0,
    StandInExecutor,
    make_context,
    photometry_row,
    send,
)
from tests.stages.test_infer import work

WRONG, RIGHT = (0.5, "lsst:g", 19.2), (0.5, "lsst:g", 19.6)


@pytest.fixture
def ctx(database: Database, tmp_path: Path) -> Context:
    return make_context(database, tmp_path)


def say(ctx: Context, topic: str, *rows: bytes, hours: float = 1.0) -> None:
    """A table of photometry; another topic is another file, sent later."""
    messages = [("table_photometry", row) for row in rows]
    send(ctx, messages, topic=topic, sent_at=T0 + timedelta(hours=hours))


def magnitudes(ctx: Context, object_id: str = "fader") -> list[float]:
    with ctx.database.read() as session:
        points = photometry_of(session, [object_id]).get(object_id, ())
    return sorted(p.mag_ab for p in points)


def history(ctx: Context) -> list[str]:
    with ctx.database.read() as session:
        changes = session.execute(select(PointChangeRow).order_by(PointChangeRow.id))  # type: ignore[arg-type]
        return [change.kind for change in changes.scalars()]


def read_all(ctx: Context) -> None:
    work(ctx, InferStage(StandInExecutor()))


def test_an_edited_point_replaces_the_old_one_which_is_kept(ctx: Context) -> None:
    say(ctx, "v1", photometry_row("fader", *WRONG), photometry_row("fader", 1.5, "lsst:g", 20.6))
    read_all(ctx)
    say(ctx, "v2", photometry_row("fader", *RIGHT), hours=2)
    read_all(ctx)
    assert magnitudes(ctx) == [19.6, 20.6]
    with ctx.database.read() as session:
        kept = session.execute(select(DetectionRow)).scalars().all()
        (change,) = session.execute(select(PointChangeRow)).scalars().all()
    assert sorted((row.mag_ab, row.is_current) for row in kept) == [
        (19.2, False), (19.6, True), (20.6, True),
    ]  # fmt: skip
    assert "lsst:g 19.200" in change.detail
    assert "became lsst:g 19.600" in change.detail


def test_another_error_or_a_limit_instead_is_an_edit_too(ctx: Context) -> None:
    say(ctx, "v1", photometry_row("fader", 0.5, "lsst:g", 19.2, 0.05))
    read_all(ctx)
    say(ctx, "v2", photometry_row("fader", 0.5, "lsst:g", 19.2, 0.2), hours=2)
    read_all(ctx)
    say(ctx, "v3", photometry_row("fader", 0.5, "lsst:g", 19.2, "inf"), hours=3)
    read_all(ctx)
    with ctx.database.read() as session:
        (point,) = photometry_of(session, ["fader"])["fader"]
    assert point.is_limit
    assert history(ctx) == ["edited", "edited"]


def test_values_side_by_side_in_one_table_stay_both(ctx: Context) -> None:
    say(ctx, "v1", photometry_row("fader", *WRONG), photometry_row("fader", *RIGHT))
    read_all(ctx)
    assert magnitudes(ctx) == [19.2, 19.6]
    # The next edition of the table edits one of the two.
    newer = photometry_row("fader", 0.5, "lsst:g", 19.7)
    say(ctx, "v2", photometry_row("fader", *WRONG), newer, hours=2)
    read_all(ctx)
    assert magnitudes(ctx) == [19.2, 19.7]


def test_another_band_time_object_or_repeat_is_no_edit(ctx: Context) -> None:
    say(ctx, "v1", photometry_row("fader", *WRONG))
    read_all(ctx)
    say(
        ctx, "v2",
        photometry_row("fader", *WRONG),
        photometry_row("fader", 0.5, "lsst:r", 19.6),
        photometry_row("fader", 0.5001, "lsst:g", 19.6),
        photometry_row("other", 0.5, "lsst:g", 19.6),
        hours=2,
    )  # fmt: skip
    read_all(ctx)
    assert magnitudes(ctx) == [19.2, 19.6, 19.6]
    assert history(ctx) == []


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_newest_value_stands_in_whatever_order_the_tables_come(
    ctx: Context, order: tuple[int, ...]
) -> None:
    for k in order:
        say(ctx, f"v{k}", photometry_row("fader", 0.5, "lsst:g", 19.0 + 0.3 * k), hours=1.0 + k)
        read_all(ctx)
    assert magnitudes(ctx) == [19.6]


def test_a_value_said_again_by_a_newer_table_is_restored(ctx: Context) -> None:
    for hours, point in enumerate((WRONG, RIGHT, WRONG), start=1):
        say(ctx, f"v{hours}", photometry_row("fader", *point), hours=hours)
        read_all(ctx)
    assert magnitudes(ctx) == [19.2]
    assert history(ctx) == ["edited", "restored", "edited"]


def test_a_withdrawn_point_is_used_no_more_and_kept(ctx: Context) -> None:
    say(ctx, "v1", photometry_row("fader", *WRONG), photometry_row("fader", 1.5, "lsst:g", 20.6))
    read_all(ctx)
    say(ctx, "v2", withdrawal(*WRONG), hours=2)
    read_all(ctx)
    assert magnitudes(ctx) == [20.6]
    with ctx.database.read() as session:
        assert len(session.execute(select(DetectionRow)).scalars().all()) == 2
        (change,) = session.execute(select(PointChangeRow)).scalars().all()
    assert change.kind == "withdrawn"
    assert "ghost" in change.detail


def withdrawal(days: float, band: str, mag: float) -> bytes:
    row = json.loads(photometry_row("fader", days, band, mag))
    return json.dumps({**row, "withdrawn": "true", "reason": "ghost"}).encode()
