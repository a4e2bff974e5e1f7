"""Inference through the stage on a real Slurm: workers come with the work, go, and are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("dask_jobqueue", reason="extra hpc is not installed")

from mmcoord.config import InferSettings
from mmcoord.dask_settings import DaskSettings
from mmcoord.inference.engine import run
from mmcoord.stages.context import Context
from mmcoord.stages.dask_executor import DaskExecutor
from mmcoord.stages.execution import Execution
from tests.fixtures_slurm import Slurm
from tests.inferring import MIDDLING, QUICK, ask, attempts_of, faults_of, run_of, wait_for
from tests.making import make_context
from tests.stores import migrated

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.long]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def ctx(sqlite_url: str, tmp_path: Path) -> Iterator[Context]:
    database = migrated(sqlite_url)
    yield make_context(database, tmp_path, infer=InferSettings())
    database.close()


@pytest.fixture
def executor(slurm: Slurm) -> Iterator[DaskExecutor]:
    settings = DaskSettings(
        cluster="slurm",
        minimum=0,
        maximum=2,
        idle_s=3.0,
        options={
            "queue": "night",
            "memory": "1GB",
            "interface": "lo",
            "shared_temp_directory": str(slurm.folder),
            "log_directory": str(slurm.folder),
            "job_script_prologue": [f"cd {ROOT}"],
        },
    )
    found = DaskExecutor(settings)
    yield found
    found.close()


def work(execution: Execution, ctx: Context, keys: list[str]) -> None:
    def moved() -> bool:
        execution.collect(ctx)
        execution.dispatch(ctx)
        return all(run_of(ctx.database, key).state in ("done", "failed") for key in keys)

    wait_for(moved, 250.0)


@pytest.mark.timeout(600)
def test_runs_go_through_the_batch_system_and_survive_their_workers(
    slurm: Slurm, executor: DaskExecutor, ctx: Context
) -> None:
    assert slurm.jobs() == {}  # nobody waits for work that is not there
    execution = Execution(executor)
    key = ask(ctx.database, QUICK)
    work(execution, ctx, [key])
    assert run_of(ctx.database, key).samples == run(QUICK).samples

    # scancel, then kill -9, each in the middle of a run: named, tried again, one result.
    for number, end in enumerate(("scancel", "kill -9")):
        key = ask(ctx.database, replace(MIDDLING, seed=number), "us", "them")
        execution.dispatch(ctx)
        client = executor._connected()
        wait_for(lambda: any(client.processing().values()))  # noqa: B023
        (job,) = [job for job, state in slurm.jobs().items() if state == "RUNNING"]
        if end == "scancel":
            slurm.cancel(job)
        else:
            (pid,) = client.run(os.getpid).values()
            os.kill(pid, signal.SIGKILL)
        work(execution, ctx, [key])
        lost, done = attempts_of(ctx.database, key)
        assert lost.outcome.startswith("WorkerLost: Dask worker SLURMCluster-"), end
        assert done.outcome == "done"
        assert faults_of(ctx.database, [key]) == []

    # Two at once need two workers; with nothing to do they all go.
    keys = [ask(ctx.database, replace(MIDDLING, seed=seed)) for seed in (7, 8)]
    execution.dispatch(ctx)
    wait_for(lambda: list(slurm.jobs().values()).count("RUNNING") == 2)
    work(execution, ctx, keys)
    wait_for(lambda: slurm.jobs() == {})
    assert faults_of(ctx.database, keys) == []
