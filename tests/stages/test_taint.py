"""Runs, plans and requests that rested on what turned out to be wrong; and runs asked for once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from mmcoord import runs
from mmcoord.inference.job import DistancePrior, Job
from mmcoord.records import Photometry
from mmcoord.stages import intake
from mmcoord.stages.context import Context
from mmcoord.stages.infer import InferStage
from mmcoord.store.reading import newest_plan
from mmcoord.store.tables import RequestRow, RunRow
from tests.making import (
    T0,
    StandInExecutor,
    lvk_notice,
    make_context,
    photometry_row,
    send,
)
from tests.stages.test_infer import FADING, night, rows, work
from tests.stages.test_known import tns
from tests.stores import migrated

EVENT = "MS260301a"
WRONG, RIGHT = (0.5, "lsst:g", 19.2), (0.5, "lsst:g", 19.6)


@pytest.fixture
def ctx(sqlite_url: str, tmp_path: Path) -> Context:
    database = migrated(sqlite_url)
    return make_context(database, tmp_path)


def say(ctx: Context, topic: str, *rows: bytes, hours: float = 1.0) -> None:
    """A table of photometry; another topic is another file, sent later."""
    messages = [("table_photometry", row) for row in rows]
    send(ctx, messages, topic=topic, sent_at=T0 + timedelta(hours=hours))


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
                event_id=EVENT, object_id="fader",
            )  # fmt: skip
            run = session.get_one(RunRow, asked.run_key)
            run.state, run.run_key, run.parent_key = "done", key, parent
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


def test_a_burst_of_photometry_is_one_run(ctx: Context) -> None:
    clock = [T0]
    infer_settings = replace(ctx.settings.infer, debounce_s=2.0)
    settings = replace(ctx.settings, infer=infer_settings)
    ctx = replace(ctx, settings=settings, now=lambda: clock[0])
    executor = StandInExecutor()
    infer = InferStage(executor)
    night(ctx)
    for batch in range(5):  # ten points every 0.4 s
        clock[0] = T0 + timedelta(seconds=0.4 * batch)
        points = [
            photometry_row("fader", 1.6 + 0.01 * k, "lsst:i", 20.1 + 0.01 * k)
            for k in range(10 * batch, 10 * batch + 10)
        ]
        say(ctx, f"burst{batch}", *points)
        work(ctx, infer)
    assert executor.jobs == []
    clock[0] = T0 + timedelta(seconds=2.1)
    work(ctx, infer)
    assert [len(job.photometry) for job in executor.jobs] == [len(FADING) + 50]
    assert len(rows(ctx)) == 1


def test_a_catalogue_that_knows_it_since_before_the_event_taints_the_run(ctx: Context) -> None:
    first = inferred(ctx)
    earlier = (T0 - timedelta(days=20)).strftime("%Y-%m-%d %H:%M:%S")
    entry = tns(1, 150.0, -20.0, discovered=earlier)
    send(ctx, [("tns", entry)], first_offset=95)
    executor = StandInExecutor()
    work(ctx, InferStage(executor))
    (run,) = rows(ctx)
    assert run.run_key == first.run_key
    # Asked for again with the same photometry, and still not to be relied on.
    assert run.taint_reason == "known 20.00 d before the event"
    assert executor.jobs == []
