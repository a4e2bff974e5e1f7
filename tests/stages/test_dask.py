"""Dask on this machine: the same answer, one computation for equal keys, named losses, TLS."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="extra hpc is not installed")
import distributed

from mmcoord.config import InferSettings
from mmcoord.dask_settings import DaskSettings
from mmcoord.errors import BadModel, ConfigError
from mmcoord.inference.engine import run
from mmcoord.stages.dask_clusters import build_cluster, kubernetes_spec
from mmcoord.stages.dask_executor import DaskExecutor, reach
from mmcoord.stages.execution import Execution
from tests.inferring import MIDDLING, QUICK, ask, attempts_of, faults_of, of_model, run_of, wait_for
from tests.making import make_context
from tests.stores import migrated

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def local() -> Iterator[DaskExecutor]:
    """One worker, and the tests' own way to it."""
    executor = DaskExecutor(DaskSettings(minimum=1, maximum=1))
    yield executor
    executor.close()


def certificates(executor: DaskExecutor) -> dict[str, str]:
    security = executor._cluster.security
    names = ("tls_ca_file", "tls_client_cert", "tls_client_key")
    return {name: getattr(security, name) for name in names}


def at_address(executor: DaskExecutor, **changes: object) -> DaskSettings:
    address = executor._cluster.scheduler_address
    settings = DaskSettings(cluster="address", address=address, options=certificates(executor))
    return replace(settings, **changes)  # type: ignore[arg-type]


def test_the_answer_is_the_engine_s(local: DaskExecutor) -> None:
    there, here = local.submit(QUICK).result(timeout=200), run(QUICK)
    assert there.samples == here.samples
    assert 0 < there.summary["cpu_s"] < 2 * there.summary["wall_s"]


def test_equal_keys_of_two_engines_on_one_scheduler_are_one_computation(
    local: DaskExecutor,
) -> None:
    other = DaskExecutor(at_address(local))
    job = replace(QUICK, seed=11)
    try:
        blocker = local.submit(replace(QUICK, seed=10), priority=9.0)
        first, second = local.submit(job), other.submit(job)
        blocker.result(timeout=200)
        # The time that it took is measured anew in each computation.
        assert first.result(timeout=200).summary == second.result(timeout=200).summary
    finally:
        other.close()


@pytest.mark.usefixtures("sandbox_works")
def test_what_has_priority_goes_first(local: DaskExecutor) -> None:
    blocker = local.submit(of_model("import time\ntime.sleep(15)\nreturn 1 / 0"), 9.0)
    client = local._connected()
    wait_for(lambda: any(client.processing().values()))
    order: list[str] = []
    waiting = {"first": -900.5, "low": -900.5, "lower": -900.75, "high": -899.5}
    futures = []
    for k, (name, priority) in enumerate(waiting.items()):
        futures.append(local.submit(replace(QUICK, seed=20 + k), priority))
        futures[-1].add_done_callback(lambda _, name=name: order.append(name))  # type: ignore[misc]
    assert not blocker.done()
    for future in futures:
        future.result(timeout=200)
    # The first is with the worker already, where Dask leaves it; the others wait in order.
    assert order == ["first", "high", "low", "lower"]
    assert isinstance(blocker.exception(), BadModel)


def test_a_killed_worker_is_named_and_its_run_tried_again(
    local: DaskExecutor, sqlite_url: str, tmp_path: Path
) -> None:
    database = migrated(sqlite_url)
    ctx = make_context(database, tmp_path, infer=InferSettings())
    key = ask(database, MIDDLING, "us", "them")
    execution = Execution(local)
    execution.dispatch(ctx)
    client = local._connected()
    wait_for(lambda: any(client.processing().values()))
    (pid,) = client.run(os.getpid, workers=list(client.processing())).values()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: bool(execution.collect(ctx)))
    (lost,) = attempts_of(database, key)
    assert lost.outcome.startswith("WorkerLost: Dask worker 0 at tls://127.0.0.1:")

    def ended() -> bool:
        execution.dispatch(ctx)
        execution.collect(ctx)
        return run_of(database, key).state in ("done", "failed")

    wait_for(ended)
    assert faults_of(database, [key]) == []
    database.close()


@pytest.mark.usefixtures("sandbox_works")
def test_the_data_of_a_run_that_failed_stand_in_no_log(local: DaskExecutor) -> None:
    with pytest.raises(BadModel, match="ZeroDivisionError"):
        local.submit(of_model("return 1 / 0")).result(timeout=200)
    logs = str(local._connected().get_worker_logs()) + str(local._cluster.get_logs())
    assert "worker" in logs
    assert "Photometry" not in logs
    assert "lsst:g" not in logs


def test_nobody_without_the_certificates_is_let_in(local: DaskExecutor) -> None:
    with pytest.raises((OSError, ValueError, TypeError)):
        reach(at_address(local, options={}, start_s=2.0))
    stranger = distributed.Security.temporary()
    options = {name: getattr(stranger, name) for name in certificates(local)}
    with pytest.raises((OSError, TimeoutError)):
        reach(at_address(local, options=options, start_s=2.0))
    assert "1 worker" in reach(at_address(local))


def test_a_scheduler_that_is_away_takes_nothing_and_says_so() -> None:
    gone = DaskSettings(cluster="address", address="tcp://127.0.0.1:9", start_s=0.5)
    executor = DaskExecutor(gone)
    assert executor.capacity == 0
    with pytest.raises((OSError, TimeoutError)):
        reach(gone)
    executor.close()


@pytest.mark.parametrize("cluster", ["slurm", "htcondor"])
def test_an_option_that_is_missing_or_that_the_cluster_does_not_have_is_named(
    cluster: str, tmp_path: Path
) -> None:
    options = {"shared_temp_directory": str(tmp_path), "colour": "red"}
    with pytest.raises(ConfigError, match="colour"):
        build_cluster(DaskSettings(cluster=cluster, options=options))
    with pytest.raises(ConfigError, match="shared_temp_directory"):
        build_cluster(DaskSettings(cluster=cluster))


def test_the_kubernetes_resource_has_the_image_and_one_job_a_worker() -> None:
    options = {"image": "registry.example.org/mmcoord:1", "name": "night"}
    spec = kubernetes_spec(DaskSettings(cluster="kubernetes", threads=2, options=options))
    assert (spec["kind"], spec["metadata"]["name"]) == ("DaskCluster", "night")
    (container,) = spec["spec"]["worker"]["spec"]["containers"]
    assert container["image"] == options["image"]
    assert container["args"][:4] == ["dask", "worker", "--nthreads", "1"]
    assert {"name": "NUMBA_NUM_THREADS", "value": "2"} in container["env"]
    with pytest.raises(ConfigError, match="image"):
        kubernetes_spec(DaskSettings(cluster="kubernetes"))
