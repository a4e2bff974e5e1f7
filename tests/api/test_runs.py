"""Inferences over HTTP: one run for equal questions, paid by all, seen by whom it concerns."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

import skymaps
from mmcoord.api.app import create_app
from mmcoord.config import InferSettings
from mmcoord.inference.job import Job, Result, run_key
from mmcoord.runs import aged_priority
from mmcoord.stages import intake, plan
from mmcoord.stages.context import Context
from mmcoord.stages.infer import InferStage
from mmcoord.stages.match import MatchStage
from mmcoord.store.database import Database
from mmcoord.store.tables import JournalRow, RunRequestRow, RunRow
from tests.api.conftest import make_token
from tests.making import (
    candidate_row,
    gaussian_map,
    lvk_notice,
    make_context,
    photometry_row,
    send,
)

EVENT, OBJECT = "MS260301a", "fader"
FADING = [
    (0.5, "lsst:g", 19.2),
    (0.5, "lsst:i", 19.3),
    (1.5, "lsst:g", 20.6),
    (1.5, "lsst:i", 20.0),
]
CPU_S = 12.0
POINT = {"mjd": 61100.6, "band": "lsstr", "mag": 20.0, "mag_err": 0.1}


class Measured:
    """Answers at once, and says that it took 12 s of processor time."""

    capacity = 8

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def submit(self, job: Job, priority: float = 0.0) -> Future[Result]:
        self.jobs.append(job)
        content = io.BytesIO()
        np.savez(content, mass=np.array([0.1, 0.2]))
        summary = {"model": "stand-in", "p_kilonova": 0.9, "converged": True, "cpu_s": CPU_S}
        future: Future[Result] = Future()
        future.set_result(Result(run_key(job), summary, content.getvalue(), {}))
        return future

    def close(self) -> None:
        """Nothing to free."""


@pytest.fixture
def ctx(database: Database, tmp_path: Path) -> Context:
    return make_context(database, tmp_path / "out")


@pytest.fixture
def client(ctx: Context) -> Iterator[TestClient]:
    with TestClient(create_app(ctx.database, ctx.settings, list)) as found:
        yield found


def brought(**more: Any) -> dict[str, Any]:
    points = [
        {"mjd": 61100.6, "band": "lsstg", "mag": 19.2, "mag_err": 0.05},
        {"mjd": 61101.6, "band": "lsstr", "mag": 20.4, "mag_err": 0.05},
        {"mjd": 61102.6, "band": "lsstr", "mag": 21.0, "mag_err": None},
    ]
    return {
        "photometry": points,
        "t0": "2026-03-01T02:30:00Z",
        "distance": {"mean_mpc": 60.0, "std_mpc": 12.0},
        **more,
    }


def submit(client: TestClient, who: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/api/v1/runs", headers=who, json=body)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


def work(ctx: Context, infer: InferStage) -> None:
    match = MatchStage()
    while intake.run(ctx) or match.run(ctx) or infer.run(ctx) or plan.run(ctx):
        pass


def charged(ctx: Context) -> dict[str, float]:
    with ctx.database.read() as session:
        rows = session.execute(
            select(RunRequestRow.group, func.sum(RunRequestRow.charged_cpu_s)).group_by(
                RunRequestRow.group
            )
        )
        return {group: total for group, total in rows if total is not None}


def test_a_hundred_requests_of_ten_groups_are_one_run_and_each_group_pays_a_tenth(
    ctx: Context, client: TestClient
) -> None:
    headers = [make_token(ctx.database, f"group{i}") for i in range(10)]
    body = brought(private=False)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda who: submit(client, who, body), headers * 10))
    assert len({answer["run_key"] for answer in answers}) == 1
    assert sorted(answer["how"] for answer in answers) == ["coalesced"] * 99 + ["executed"]
    executor = Measured()
    work(ctx, InferStage(executor))
    assert len(executor.jobs) == 1
    assert charged(ctx) == {f"group{i}": pytest.approx(CPU_S / 10) for i in range(10)}
    late = make_token(ctx.database, "late")
    assert submit(client, late, body)["how"] == "cached"
    assert charged(ctx)["late"] == 0.0
    usage = client.get("/api/v1/usage", headers=headers[0]).json()
    assert usage["charged_cpu_s"] == pytest.approx(CPU_S / 10)
    assert usage["waiting"] == 0


@pytest.mark.parametrize("base_rate", [0.01, 0.3])
def test_a_named_pair_is_the_pipeline_s_own_run(
    database: Database, tmp_path: Path, base_rate: float
) -> None:
    """Whatever the operator believes beforehand: both are asked with it."""
    house = InferSettings(debounce_s=0.0, base_rate=base_rate)
    ctx = make_context(database, tmp_path / "out", infer=house)
    client = TestClient(create_app(ctx.database, ctx.settings, list))
    send(
        ctx,
        [
            ("igwn", lvk_notice(skymap=skymaps.to_fits_bytes(gaussian_map()))),
            ("table_candidates", candidate_row(OBJECT, 150.0, -20.0)),
            *(("table_photometry", photometry_row(OBJECT, *point)) for point in FADING),
        ],
    )
    executor = Measured()
    infer = InferStage(executor)
    work(ctx, infer)
    assert len(executor.jobs) == 1
    who = make_token(ctx.database, "fast")
    answer = submit(client, who, {"event_id": EVENT, "object_id": OBJECT})
    assert (answer["how"], answer["state"]) == ("cached", "done")
    assert charged(ctx) == {"mmcoord": CPU_S, "fast": 0.0}
    other = submit(client, who, {"event_id": EVENT, "object_id": OBJECT, "seed": 7})
    assert other["how"] == "executed"
    work(ctx, infer)
    assert charged(ctx) == {"mmcoord": CPU_S, "fast": CPU_S}
    mine = submit(client, who, brought())
    work(ctx, infer)
    assert mine["how"] == "executed"
    assert [dict(job.class_priors)["kilonova"] for job in executor.jobs] == [base_rate] * 3


def test_newer_data_do_not_drop_a_run_that_a_group_asked_for(
    ctx: Context, client: TestClient
) -> None:
    send(
        ctx,
        [
            ("igwn", lvk_notice(skymap=skymaps.to_fits_bytes(gaussian_map()))),
            ("table_candidates", candidate_row(OBJECT, 150.0, -20.0)),
            *(("table_photometry", photometry_row(OBJECT, *point)) for point in FADING[:3]),
        ],
    )
    idle = Measured()
    idle.capacity = 0
    infer = InferStage(idle)
    work(ctx, infer)
    asked = submit(
        client, make_token(ctx.database, "fast"), {"event_id": EVENT, "object_id": OBJECT}
    )
    assert asked["how"] == "coalesced"
    send(ctx, [("table_photometry", photometry_row(OBJECT, *FADING[3]))], first_offset=50)
    work(ctx, infer)
    with ctx.database.read() as session:
        states = {row.run_key: row.state for row in session.execute(select(RunRow)).scalars()}
    assert len(states) == 2
    assert states[asked["run_key"]] == "queued"


def test_nothing_private_is_in_the_journal_the_pages_or_a_public_key(
    ctx: Context, client: TestClient
) -> None:
    own = make_token(ctx.database, "own")
    key = submit(client, own, brought())["run_key"]
    work(ctx, InferStage(Measured()))
    with ctx.database.read() as session:
        row = session.get_one(RunRow, key)
        assert (row.partition, row.event_id, row.object_id) == ("own", "", "")
        assert list(session.execute(select(JournalRow)).scalars()) == []
    for path in ("/", "/health", "/api/v1/ledger"):
        assert key[:12] not in client.get(path).text
    twin = submit(client, make_token(ctx.database, "twin"), brought())
    assert twin["how"] == "executed"  # the same points of another group are another run
    assert twin["run_key"] != key


def test_samples_come_as_npz_without_pickle(ctx: Context, client: TestClient) -> None:
    own = make_token(ctx.database, "own")
    key = submit(client, own, brought())["run_key"]
    early = client.get(f"/api/v1/runs/{key}/samples.npz", headers=own)
    assert early.status_code == 409
    work(ctx, InferStage(Measured()))
    content = client.get(f"/api/v1/runs/{key}/samples.npz", headers=own).content
    with np.load(io.BytesIO(content), allow_pickle=False) as samples:
        assert samples["mass"].tolist() == [0.1, 0.2]


def test_a_run_is_watched_to_its_end(ctx: Context, client: TestClient) -> None:
    own = make_token(ctx.database, "own")
    key = submit(client, own, brought())["run_key"]
    work(ctx, InferStage(Measured()))
    told = client.get(f"/api/v1/runs/{key}/events", headers=own).text
    assert told.count("event: run") == 1
    assert '"state": "done"' in told


def test_a_used_up_quota_stops_new_runs_and_no_answers(ctx: Context, client: TestClient) -> None:
    poor = make_token(ctx.database, "poor", quota_cpu_s=CPU_S)
    first = submit(client, poor, brought())
    refused = client.post("/api/v1/runs", headers=poor, json=brought(seed=2))
    assert refused.status_code == 429  # one run is waiting, and is held to cost something
    assert int(refused.headers["Retry-After"]) > 0
    work(ctx, InferStage(Measured()))
    refused = client.post("/api/v1/runs", headers=poor, json=brought(seed=2))
    assert refused.status_code == 429
    assert "12 of 12 CPU seconds" in refused.json()["detail"]
    assert submit(client, poor, brought())["run_key"] == first["run_key"]  # cached: free
    with ctx.database.write() as session:  # time brings it back
        for row in session.execute(select(RunRequestRow)).scalars():
            row.requested_at -= timedelta(days=31)
    assert submit(client, poor, brought(seed=2))["how"] == "executed"


def test_a_failed_run_costs_nothing_and_can_be_asked_again(
    ctx: Context, client: TestClient
) -> None:
    class Failing(Measured):
        def submit(self, job: Job, priority: float = 0.0) -> Future[Result]:
            future: Future[Result] = Future()
            future.set_exception(RuntimeError("no"))
            return future

    own = make_token(ctx.database, "own")
    asked = submit(client, own, brought())
    work(ctx, InferStage(Failing()))
    state = client.get(asked["url"], headers=own).json()
    assert state["state"] == "failed"
    assert "no" in state["error"]
    assert charged(ctx) == {"own": 0.0}
    assert submit(client, own, brought())["how"] == "executed"
    work(ctx, InferStage(Measured()))
    assert client.get(asked["url"], headers=own).json()["state"] == "done"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "event_id and object_id"),
        ({"event_id": EVENT}, "object_id"),
        (brought(t0=None), "t0"),
        (brought(event_id=EVENT), "linked to no event"),
        (brought(photometry=[]), "no point"),
        (brought(photometry=[{**POINT, "band": "nonsense"}]), "nonsense"),
        (brought(photometry=[{**POINT, "mjd": "nan"}]), "mjd"),
        (brought(photometry=[{**POINT, "mag_err": -1}]), "mag_err"),
        (brought(models=["no-such-model"]), "no-such-model"),
        (brought(distance={"mean_mpc": -4, "std_mpc": 1}), "mean_mpc"),
        (brought(partition="foreign"), "partition"),
        ({"event_id": EVENT, "object_id": OBJECT, "redshift": 0.1}, "named pair"),
    ],
)  # fmt: skip
def test_a_question_that_makes_no_sense_is_told_what_is_wrong(
    ctx: Context, client: TestClient, body: dict[str, Any], word: str
) -> None:
    answer = client.post("/api/v1/runs", headers=make_token(ctx.database, "own"), json=body)
    assert answer.status_code == 422
    assert word in answer.json()["detail"]


def test_a_pair_that_is_not_there_is_404(ctx: Context, client: TestClient) -> None:
    body = {"event_id": "S1", "object_id": "x"}
    answer = client.post("/api/v1/runs", headers=make_token(ctx.database, "own"), json=body)
    assert answer.status_code == 404


def test_a_body_without_end_is_cut_off(ctx: Context, client: TestClient) -> None:
    answer = client.post(
        "/api/v1/runs", headers=make_token(ctx.database, "own"), content=b"[" * 3_000_000
    )
    assert answer.status_code == 413


def test_who_has_waited_six_hours_goes_before_the_most_urgent_newcomer() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    patient = aged_priority(0.0, noon - timedelta(hours=6, minutes=1))
    assert patient > aged_priority(1.0, noon)
    assert aged_priority(1.0, noon) > aged_priority(0.0, noon - timedelta(hours=5, minutes=59))
