"""A model on old events: queued once, behind all else; old runs stay."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from mmcoord import rerun, runs, usermodels
from mmcoord.cli import app
from mmcoord.errors import UnknownRecord
from mmcoord.inference.usermodel import read_source
from mmcoord.stages.context import Context
from mmcoord.stages.infer import InferStage
from mmcoord.store.database import Database
from mmcoord.store.tables import RequestRow, RunRequestRow
from tests.inference.usermodels import FADER
from tests.making import STAND_IN_CPU_S, T0, StandInExecutor, make_context
from tests.stages.test_infer import night, rows, work
from tests.stores import migrated
from tests.test_usermodels import verdict

EVENT = "MS260301a"


@pytest.fixture
def ctx(database: Database, tmp_path: Path) -> Context:
    ctx = make_context(database, tmp_path)
    night(ctx)
    work(ctx, InferStage(StandInExecutor()))
    model = read_source(FADER, name="fader")
    with database.write() as session:
        usermodels.add(session, model, verdict(model), "a group", ctx.now())
    return ctx


def gather(ctx: Context, **changes: object) -> rerun.Rerun:
    asked = {"models": ("fader",), "events": None, "since": None, **changes}
    with ctx.database.read() as session:
        return rerun.gather(session, ctx.settings.infer, **asked)  # type: ignore[arg-type]


def queue(ctx: Context, found: rerun.Rerun) -> int:
    with ctx.database.write() as session:
        return rerun.queue(session, found, ctx.now())


def test_a_users_model_runs_on_the_old_candidates_once(ctx: Context) -> None:
    (before,) = rows(ctx)
    found = gather(ctx)
    assert found.counts == {"new": 1}
    assert found.expected_cpu_s == STAND_IN_CPU_S
    assert queue(ctx, found) == 1
    executor = StandInExecutor()
    work(ctx, InferStage(executor))
    (job,) = executor.jobs
    assert job.models == ("fader",)
    assert [source.name for source in job.user_models] == ["fader"]
    assert {run.run_key: run.state for run in rows(ctx)} == {
        before.run_key: "done",
        found.keys[EVENT, "fader"]: "done",
    }
    again = gather(ctx)
    assert again.counts == {"done": 1}
    assert queue(ctx, again) == 0


def test_it_waits_behind_what_is_asked_for_now_and_is_the_houses(ctx: Context) -> None:
    found = gather(ctx)
    queue(ctx, found)
    key = found.keys[EVENT, "fader"]
    run = next(run for run in rows(ctx) if run.run_key == key)
    assert run.priority < runs.aged_priority(0.0, ctx.now() + timedelta(hours=12))
    with ctx.database.read() as session:
        asked = session.execute(
            select(RunRequestRow).where(RunRequestRow.run_key == key)  # type: ignore[arg-type]
        ).scalar_one()
    assert asked.group == runs.HOUSE


def test_only_events_that_are_named_or_recent(ctx: Context) -> None:
    assert gather(ctx, events=(EVENT,)).counts == {"new": 1}
    assert gather(ctx, since=T0 - timedelta(days=1)).counts == {"new": 1}
    assert gather(ctx, since=T0 + timedelta(days=1)).counts == {}
    with pytest.raises(UnknownRecord, match="'S000000x' is not known"):
        gather(ctx, events=("S000000x",))
    with pytest.raises(UnknownRecord):
        gather(ctx, models=("nobodys_model",))


def test_the_plan_keeps_the_answer_that_compares_classes(ctx: Context) -> None:
    queue(ctx, gather(ctx))

    class OneClass(StandInExecutor):
        def __init__(self) -> None:
            super().__init__(p_kilonova=None)  # type: ignore[arg-type]

    work(ctx, InferStage(OneClass()))
    with ctx.database.read() as session:
        newest = session.execute(
            select(RequestRow).order_by(RequestRow.revision.desc())  # type: ignore[attr-defined]
        ).scalars().first()  # fmt: skip
    assert newest is not None
    assert newest.row["p_kilonova"] == 0.9


def test_the_command_says_what_it_would_cost_and_queues_nothing_then(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = migrated(f"sqlite:///{tmp_path / 'a.db'}")
    ctx = make_context(database, tmp_path)
    night(ctx)
    work(ctx, InferStage(StandInExecutor()))

    def run(*words: str) -> Any:
        options = ["--model", "nsbh", "--events", "all", "--db", str(tmp_path / "a.db"), "--json"]
        app(["rerun", *options, *words], standalone_mode=False)
        return json.loads(capsys.readouterr().out)

    told = run("--dry-run", "--since", "2026-01-01")
    assert (told["runs"], told["queued"]) == ({"new": 1}, 0)
    assert told["expected_cpu_s"] == STAND_IN_CPU_S
    assert len(rows(ctx)) == 1
    assert run()["queued"] == 1
    told = run()
    assert (told["runs"], told["queued"]) == ({"queued": 1}, 0)
    assert len(rows(ctx)) == 2
    database.close()
