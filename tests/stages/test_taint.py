"""Points that their source edits or withdraws; what rested on them is marked and made anew."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from mmcoord import runs
from mmcoord.config import InferSettings
from mmcoord.inference.job import DistancePrior, Job
from mmcoord.records import Photometry
from mmcoord.stages import intake
from mmcoord.stages.context import Context
from mmcoord.stages.infer import InferStage
from mmcoord.store.database import Database
from mmcoord.store.reading import newest_plan, photometry_of
from mmcoord.store.tables import DetectionRow, PointChangeRow, RequestRow, RunRow
from tests.making import (
    T0,
    StandInExecutor,
    lvk_notice,
    make_context,
    photometry_row,
    send,
)
from tests.stages.test_infer import FADING, night, rows, work

EVENT = "MS260301a"
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


# -- which value stands -------------------------------------------------------------------


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


# -- what rested on it --------------------------------------------------------------------


def inferred(ctx: Context, executor: StandInExecutor | None = None) -> RunRow:
    """A night, worked off; the run of its candidate."""
    night(ctx)
    work(ctx, InferStage(executor or StandInExecutor()))
    (run,) = rows(ctx)
    return run


def test_an_edited_point_taints_its_run_and_a_new_one_is_made(ctx: Context) -> None:
    first = inferred(ctx)
    say(ctx, "v2", photometry_row("fader", *RIGHT), hours=2)
    executor = StandInExecutor()
    work(ctx, InferStage(executor))
    old, new = rows(ctx)
    assert old.run_key == first.run_key
    assert (old.state, old.summary) == ("done", first.summary)  # the answer stays as it was
    assert old.tainted_at is not None
    assert old.tainted_by is not None
    assert old.tainted_by.startswith("point lsst:g|")
    assert "19.200" in (old.taint_reason or "")
    assert (new.state, new.tainted_at) == ("done", None)
    assert sorted(p.mag_ab for p in executor.jobs[0].photometry) == [19.3, 19.6, 20.0, 20.6]


def test_an_edit_of_a_point_that_a_run_did_not_use_taints_nothing(ctx: Context) -> None:
    say(ctx, "v1", photometry_row("fader", 20.0, "lsst:g", 22.0))  # beyond the window of jobs
    inferred(ctx)
    say(ctx, "v2", photometry_row("fader", 20.0, "lsst:g", 23.0), hours=2)
    work(ctx, InferStage(StandInExecutor()))
    assert [run.tainted_at for run in rows(ctx)] == [None]


def test_descendants_plans_and_requests_are_tainted_too(ctx: Context) -> None:
    first = inferred(ctx)
    with ctx.database.write() as session:
        for key, parent in (("child", first.run_key), ("grandchild", "child")):
            points = (Photometry("fader", 61101.0, "lsst:r", 20.0, 0.1),)
            job = Job(points, 61100.0, DistancePrior.unknown(), seed=len(key))
            asked = runs.submit(
                session, job, runs.Requester(runs.HOUSE), ctx.now(),
                event_id=EVENT, object_id="fader", parent_key=parent,
            )  # fmt: skip
            run = session.get_one(RunRow, asked.run_key)
            run.state, run.run_key = "done", key
    say(ctx, "v2", photometry_row("fader", *RIGHT), hours=2)
    intake.run(ctx)
    with ctx.database.read() as session:
        tainted = {run.run_key: run.tainted_by for run in session.execute(select(RunRow)).scalars()}
        plan = newest_plan(session, EVENT)
        assert plan is not None
        assert plan.tainted_at is not None
        assert first.run_key[:12] in (plan.taint_reason or "")
        request = session.get_one(RequestRow, (EVENT, plan.revision, 1))
        assert request.tainted_by == first.run_key
    assert tainted["child"] == f"run {first.run_key}"
    assert tainted["grandchild"] == "run child"
    work(ctx, InferStage(StandInExecutor(p_kilonova=0.4)))
    with ctx.database.read() as session:
        newer = newest_plan(session, EVENT)
        assert newer is not None
        assert newer.revision > plan.revision
        assert newer.tainted_at is None


def test_until_the_new_answer_is_there_the_plan_does_not_cite_the_tainted_one(ctx: Context) -> None:
    first = inferred(ctx)

    class Never(StandInExecutor):
        capacity = 0

    say(ctx, "v2", photometry_row("fader", *RIGHT), hours=2)
    work(ctx, InferStage(Never()))
    with ctx.database.read() as session:
        plan = newest_plan(session, EVENT)
        assert plan is not None
        request = session.get_one(RequestRow, (EVENT, plan.revision, 1))
    assert request.row["run_key"] != first.run_key
    assert request.row["p_kilonova"] != 0.9  # the screen's


def test_a_retracted_event_taints_its_runs_and_nothing_is_run_again(ctx: Context) -> None:
    inferred(ctx)
    executor = StandInExecutor()
    retraction = lvk_notice(alert_type="RETRACTION", created=T0 + timedelta(hours=3))
    send(ctx, [("igwn", retraction)], first_offset=90)
    work(ctx, InferStage(executor))
    (run,) = rows(ctx)
    assert (run.tainted_by, run.taint_reason) == (f"event {EVENT}", "the event was retracted")
    assert executor.jobs == []


def test_a_detection_before_the_event_taints_the_run_that_did_not_know(ctx: Context) -> None:
    inferred(ctx)
    say(ctx, "old", photometry_row("fader", -5.0, "lsst:r", 19.0), hours=2)
    work(ctx, InferStage(StandInExecutor(p_kilonova=0.0)))
    old = rows(ctx)[0]
    assert old.taint_reason == "detected 5.00 d before the event"


def test_restoring_the_point_lifts_the_taint_of_the_run_that_used_it(ctx: Context) -> None:
    first = inferred(ctx)
    say(ctx, "v2", photometry_row("fader", *RIGHT), hours=2)
    work(ctx, InferStage(StandInExecutor()))
    say(ctx, "v3", photometry_row("fader", *WRONG), hours=3)
    executor = StandInExecutor()
    work(ctx, InferStage(executor))
    standing = {run.run_key: run.tainted_at is None for run in rows(ctx)}
    assert standing.pop(first.run_key)
    assert list(standing.values()) == [False]
    assert executor.jobs == []  # that question was answered before


def test_a_burst_of_photometry_is_one_run(database: Database, tmp_path: Path) -> None:
    ctx = make_context(database, tmp_path, infer=InferSettings(debounce_s=2.0))
    clock = [T0]
    ctx = replace(ctx, now=lambda: clock[0])
    executor = StandInExecutor()
    infer = InferStage(executor)
    night(ctx)
    for k in range(50):  # one every 0.04 s
        clock[0] = T0 + timedelta(seconds=0.04 * k)
        point = photometry_row("fader", 1.6 + 0.01 * k, "lsst:i", 20.1 + 0.01 * k)
        say(ctx, f"burst{k}", point)
        work(ctx, infer)
    assert executor.jobs == []
    clock[0] = T0 + timedelta(seconds=2.1)
    work(ctx, infer)
    assert [len(job.photometry) for job in executor.jobs] == [len(FADING) + 50]
    assert len(rows(ctx)) == 1
