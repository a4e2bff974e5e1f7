"""Inference is asked for once per data set, whoever asks, whatever crashes."""

from __future__ import annotations

import json
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

import skymaps
from mmcoord.config import InferSettings
from mmcoord.errors import BadPhotometry
from mmcoord.inference.job import DistancePrior, Job, Result, run_key
from mmcoord.records import Photometry
from mmcoord.stages import intake, plan
from mmcoord.stages.context import Context
from mmcoord.stages.executor import WorkerLost
from mmcoord.stages.infer import InferStage
from mmcoord.stages.jobs import job_from_json, job_to_json
from mmcoord.stages.match import MatchStage
from mmcoord.stages.question import Pair
from mmcoord.store import queue
from mmcoord.store.database import Database
from mmcoord.store.tables import DeadLetterRow, MatchRow, RequestRow, RunRow, ScreeningRow
from tests.making import (
    StandInExecutor,
    candidate_row,
    gaussian_map,
    lvk_notice,
    make_context,
    photometry_row,
    send,
)

FADING = [
    (0.5, "lsst:g", 19.2),
    (0.5, "lsst:i", 19.3),
    (1.5, "lsst:g", 20.6),
    (1.5, "lsst:i", 20.0),
]


def night(ctx: Context, *, offset: int = 0) -> None:
    """An event and one candidate that fades like a kilonova at 60 Mpc."""
    fits = skymaps.to_fits_bytes(gaussian_map())
    messages = [
        ("igwn", lvk_notice(skymap=fits)),
        ("table_candidates", candidate_row("fader", 150.0, -20.0)),
        *(("table_photometry", photometry_row("fader", *point)) for point in FADING),
    ]
    send(ctx, messages, first_offset=offset)


def work(ctx: Context, infer: InferStage) -> None:
    """Intake, match, infer and plan until nothing moves."""
    match = MatchStage()
    while intake.run(ctx) or match.run(ctx) or infer.run(ctx) or plan.run(ctx):
        pass


@pytest.fixture
def ctx(database: Database, tmp_path: Path) -> Context:
    return make_context(database, tmp_path)


def rows(ctx: Context) -> list[RunRow]:
    with ctx.database.read() as session:
        return list(session.execute(select(RunRow).order_by(RunRow.created_at)).scalars())


def test_a_fading_candidate_is_screened_inferred_and_planned(ctx: Context) -> None:
    executor = StandInExecutor(p_kilonova=0.9)
    night(ctx)
    work(ctx, InferStage(executor))
    (run,) = rows(ctx)
    assert (run.state, run.object_id, len(executor.jobs)) == ("done", "fader", 1)
    assert executor.jobs[0].distance.kind == "gaussian"
    assert 55 < executor.jobs[0].distance.mean_mpc < 70
    with ctx.database.read() as session:
        request = session.execute(
            select(RequestRow).order_by(RequestRow.revision.desc())  # type: ignore[attr-defined]
        ).scalars().first()  # fmt: skip
        assert all(balance.lost == 0 for balance in queue.balance(session))
    assert request is not None
    assert (request.row["p_kilonova"], request.row["run_key"]) == (0.9, run.run_key)


def test_more_notices_of_the_same_map_start_no_second_run(ctx: Context) -> None:
    executor = StandInExecutor()
    infer = InferStage(executor)
    night(ctx)
    work(ctx, infer)
    fits = skymaps.to_fits_bytes(gaussian_map())
    for number, kind in enumerate(("INITIAL", "UPDATE")):
        send(ctx, [("igwn", lvk_notice(alert_type=kind, skymap=fits))], first_offset=100 + number)
        work(ctx, infer)
    assert len(executor.jobs) == 1
    assert rows(ctx)[0].cached == 2


def test_new_photometry_is_a_new_data_set(ctx: Context) -> None:
    executor = StandInExecutor()
    infer = InferStage(executor)
    night(ctx)
    work(ctx, infer)
    send(ctx, [("table_photometry", photometry_row("fader", 2.5, "lsst:i", 21.0))], first_offset=50)
    work(ctx, infer)
    assert [run.state for run in rows(ctx)] == ["done", "done"]
    assert [len(job.photometry) for job in executor.jobs] == [4, 5]
    with ctx.database.read() as session:
        screening = session.execute(select(ScreeningRow)).scalar_one()
    assert screening.run_key == rows(ctx)[1].run_key


@pytest.mark.parametrize(
    ("models", "said", "n_priors"),
    [
        ("nicholl21_bns,sn_ia", {"bin_edges": [1.0, 1.2, 1.4], "probabilities": [0.3, 0.7]}, 1),
        ("all", {"bin_edges": [1.0, 1.2, 1.4], "probabilities": [0.3, 0.7]}, 0),
        ("nicholl21_bns,sn_ia", None, 0),
        ("nicholl21_bns,sn_ia", {"bin_edges": "nonsense"}, 0),
    ],
)
def test_the_alerts_chirp_mass_goes_with_the_job(
    database: Database, tmp_path: Path, models: str, said: object, n_priors: int
) -> None:
    ctx = make_context(database, tmp_path, infer=InferSettings(debounce_s=0.0, models=models))
    executor = StandInExecutor()
    fits = skymaps.to_fits_bytes(gaussian_map())
    night = [
        ("igwn", lvk_notice(skymap=fits, mchirp_source=said)),
        ("table_candidates", candidate_row("fader", 150.0, -20.0)),
        *(("table_photometry", photometry_row("fader", *point)) for point in FADING),
    ]
    send(ctx, night)
    work(ctx, InferStage(executor))
    (job,) = executor.jobs
    assert len(job.priors) == n_priors
    if n_priors:
        assert job.priors[0].name == "chirp_mass"
        assert job.priors[0].edges == (1.0, 1.2, 1.4)


class Stubborn(StandInExecutor):
    """Jobs stay under way until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[Job, Future[Result]]] = []

    def submit(self, job: Job, priority: float = 0.0) -> Future[Result]:
        self.jobs.append(job)
        future: Future[Result] = Future()
        self.open.append((job, future))
        return future

    def let_go(self) -> None:
        for job, future in self.open:
            future.set_result(Result(run_key(job), {"p_kilonova": 0.5, "model": "x"}, b"", {}))
        self.open.clear()


def test_a_burst_of_photometry_does_not_occupy_every_worker_with_stale_data(ctx: Context) -> None:
    executor = Stubborn()
    infer = InferStage(executor)
    night(ctx)
    work(ctx, infer)
    for number in range(3):
        point = photometry_row("fader", 2.5 + number, "lsst:i", 21.0 + number)
        send(ctx, [("table_photometry", point)], first_offset=50 + number)
        work(ctx, infer)
    assert len(executor.open) == 1  # two workers, one candidate: one run at a time
    assert [run.state for run in rows(ctx)] == ["running", "superseded", "superseded", "queued"]
    executor.let_go()
    work(ctx, infer)
    executor.let_go()
    work(ctx, infer)
    assert [len(job.photometry) for job in executor.jobs] == [4, 7]
    assert [r.state for r in rows(ctx)] == ["done", "superseded", "superseded", "done"]


def test_what_a_dead_process_left_running_is_run_again(ctx: Context) -> None:
    night(ctx)
    work(ctx, InferStage(Stubborn()))  # this process dies here
    assert rows(ctx)[0].state == "running"
    executor = StandInExecutor()
    second = InferStage(executor)
    second.recover(ctx)
    work(ctx, second)
    # The interrupted attempt is not held against the run.
    assert [(run.state, run.attempts) for run in rows(ctx)] == [("done", 1)]
    assert len(executor.jobs) == 1


class Failing(StandInExecutor):
    """Every job ends by an exception."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def submit(self, job: Job, priority: float = 0.0) -> Future[Result]:
        self.jobs.append(job)
        future: Future[Result] = Future()
        future.set_exception(self._error)
        return future


@pytest.mark.parametrize(
    ("error", "attempts"), [(MemoryError("worker gone"), 3), (BadPhotometry("no point"), 1)]
)
def test_a_lost_worker_is_tried_again_a_refusal_is_not(
    ctx: Context, error: Exception, attempts: int
) -> None:
    executor = Failing(error)
    night(ctx)
    work(ctx, InferStage(executor))
    (run,) = rows(ctx)
    assert (run.state, run.attempts, len(executor.jobs)) == ("failed", attempts, attempts)
    with ctx.database.read() as session:
        (letter,) = session.execute(select(DeadLetterRow)).scalars()
    assert "fader" in letter.reason
    assert type(error).__name__ in letter.reason


def test_one_item_that_cannot_be_served_is_buried_and_the_others_go_on(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong with one candidate: here its job cannot even be described."""
    from mmcoord.stages import infer as stage

    decide = stage.decide

    def decide_or_fail(pair: Pair, *rest: object, **more: object) -> stage.Verdict:
        if pair.candidate.object_id == "poison":
            raise OverflowError("absurd")
        return decide(pair, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(stage, "decide", decide_or_fail)
    executor = StandInExecutor()
    night(ctx)
    poison = [
        ("table_candidates", candidate_row("poison", 150.5, -20.5)),
        *(("table_photometry", photometry_row("poison", *point)) for point in FADING),
    ]
    send(ctx, poison, first_offset=50)
    work(ctx, InferStage(executor))
    assert [run.object_id for run in rows(ctx)] == ["fader"]
    with ctx.database.read() as session:
        (letter,) = session.execute(select(DeadLetterRow)).scalars()
        balances = {b.stage: b for b in queue.balance(session)}
    assert "poison" in letter.reason
    assert "OverflowError: absurd" in letter.reason
    assert balances["infer"].dead == 1
    assert all(balance.lost == 0 for balance in balances.values())


def test_late_photometry_that_shows_an_old_source_unmakes_the_match(ctx: Context) -> None:
    """In whatever order: candidate, event and the detections long before it."""
    night(ctx)
    infer = InferStage(StandInExecutor())
    late = [("table_candidates", candidate_row("old", 150.0, -20.2))]
    send(ctx, late, first_offset=50)
    work(ctx, infer)
    with ctx.database.read() as session:
        assert len(session.execute(select(MatchRow)).all()) == 2
    send(
        ctx, [("table_photometry", photometry_row("old", -300.0, "lsst:r", 20.0))], first_offset=51
    )
    work(ctx, infer)
    with ctx.database.read() as session:
        (left,) = session.execute(select(MatchRow)).scalars()
        newest = session.execute(
            select(RequestRow).order_by(RequestRow.revision.desc())  # type: ignore[attr-defined]
        ).scalars().first()  # fmt: skip
    assert left.object_id == "fader"
    assert newest is not None
    assert newest.object_id == "fader"


class Mortal(StandInExecutor):
    """A pool whose worker dies of one candidate."""

    def __init__(self, fatal_mag: float) -> None:
        super().__init__()
        self._fatal_mag = fatal_mag
        self._open: list[tuple[Job, Future[Result]]] = []

    def submit(self, job: Job, priority: float = 0.0) -> Future[Result]:
        future: Future[Result] = Future()
        self._open.append((job, future))
        return future

    def run(self) -> None:
        for job, future in self._open:
            if any(p.mag_ab == self._fatal_mag for p in job.photometry):
                future.set_exception(WorkerLost("worker process 7 was ended by SIGKILL"))
            else:
                future.set_result(Result(run_key(job), {"p_kilonova": 0.9}, b"", {}))
        self._open.clear()


def test_a_worker_that_dies_of_one_job_does_not_cost_its_neighbour_the_run(ctx: Context) -> None:
    night(ctx)
    neighbour = [
        ("table_candidates", candidate_row("deadly", 150.1, -20.1)),
        *(("table_photometry", photometry_row("deadly", *point)) for point in FADING),
        ("table_photometry", photometry_row("deadly", 2.0, "lsst:i", 20.123)),
    ]
    send(ctx, neighbour, first_offset=50)
    executor = Mortal(fatal_mag=20.123)
    infer = InferStage(executor)
    for _ in range(12):
        work(ctx, infer)
        executor.run()
    work(ctx, infer)
    ended = {run.object_id: run for run in rows(ctx)}
    assert {name: (run.state, run.attempts) for name, run in ended.items()} == {
        "fader": ("done", 1),
        "deadly": ("failed", 3),
    }
    assert "worker process 7 was ended by SIGKILL" in str(ended["deadly"].error)


def test_low_significance_and_retracted_events_start_nothing(ctx: Context) -> None:
    executor = StandInExecutor()
    fits = skymaps.to_fits_bytes(gaussian_map())
    candidate = [
        ("table_candidates", candidate_row("fader", 150.0, -20.0)),
        *(("table_photometry", photometry_row("fader", *point)) for point in FADING),
    ]
    send(ctx, [("igwn", lvk_notice("MS260301low", skymap=fits, significant=False)), *candidate])
    send(ctx, [("igwn", lvk_notice("MS260301gone", skymap=fits))], first_offset=50)
    send(ctx, [("igwn", lvk_notice("MS260301gone", "RETRACTION"))], first_offset=51)
    work(ctx, InferStage(executor))
    assert executor.jobs == []
    with ctx.database.read() as session:
        assert session.execute(select(RequestRow)).first() is None


POINTS = st.builds(
    Photometry,
    object_id=st.text(min_size=1, max_size=5),
    obs_mjd_tai=st.floats(59999.5, 60010.0),
    band=st.sampled_from(["lsst:g", "ztf:r", "2mass:ks"]),
    mag_ab=st.floats(15.0, 25.0),
    mag_err=st.floats(0.01, 1.0),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(POINTS, min_size=1, max_size=5), st.floats(1.0, 500.0), st.integers(0, 99))
def test_a_job_survives_the_store(points: list[Photometry], mean: float, seed: int) -> None:
    job = Job(tuple(points), 60000.0, DistancePrior("gaussian", mean, 0.2 * mean), seed=seed)
    back = job_from_json(json.loads(json.dumps(job_to_json(job))))
    assert back == job
    assert run_key(back) == run_key(job)
    assert run_key(replace(job, seed=seed + 1)) != run_key(job)


def test_a_configured_model_that_is_not_there_does_not_stop_the_stage(ctx: Context) -> None:
    infer = replace(ctx.settings.infer, models="gone@1")
    executor = StandInExecutor()
    night(ctx)
    work(replace(ctx, settings=replace(ctx.settings, infer=infer)), InferStage(executor))
    (job,) = executor.jobs
    assert job.models == ("all",)
