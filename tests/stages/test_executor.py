"""The pool: a process that dies is named and takes nobody with it; sandboxes are paid for."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mmcoord.config import InferSettings, load_settings
from mmcoord.errors import ConfigError
from mmcoord.inference.engine import run
from mmcoord.inference.job import run_key
from mmcoord.stages.executor import (
    ExecutorAway,
    NoExecutor,
    PoolExecutor,
    WorkerLost,
    build_executor,
)
from tests.inferring import LONG, QUICK, of_model, wait_for

SPIN_S = 2.0
SPINS = f"""
import time
if not SPUN:
    end = time.process_time() + {SPIN_S}
    while time.process_time() < end:
        pass
    SPUN.append(True)
return p.peak + p.fade * t_day
"""


@pytest.fixture(scope="module")
def pool() -> Iterator[PoolExecutor]:
    executor = PoolExecutor(2)
    yield executor
    executor.close()


def children() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.pid}


@pytest.mark.slow
def test_a_killed_process_is_named_and_its_neighbour_goes_on(pool: PoolExecutor) -> None:
    before = children()
    doomed = pool.submit(LONG)
    (victim,) = children() - before
    neighbour = pool.submit(QUICK)
    time.sleep(1.0)
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(WorkerLost, match=f"worker process {victim} was ended by SIGKILL"):
        doomed.result(timeout=120)
    here = run(QUICK)
    assert neighbour.result(timeout=240).samples == here.samples
    again = pool.submit(replace(QUICK, seed=5))  # the slot of the dead one has a new process
    assert again.result(timeout=240).summary["seed"] == 5


@pytest.mark.long
def test_a_process_that_died_idle_is_replaced(pool: PoolExecutor) -> None:
    pool.submit(QUICK).result(timeout=240)
    ours = {slot._process.pid for slot in pool._slots if slot._process and slot._process.pid}
    for pid in ours:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not ours & children())
    assert pool.submit(QUICK).result(timeout=240).run_key == run_key(QUICK)


def test_inference_yields_to_the_service(pool: PoolExecutor) -> None:
    pool.submit(QUICK).result(timeout=240)
    (first, *_) = (s._process.pid for s in pool._slots if s._process and s._process.pid)
    assert os.getpriority(os.PRIO_PROCESS, first) > os.getpriority(os.PRIO_PROCESS, 0)


@pytest.mark.long
@pytest.mark.usefixtures("sandbox_works")
def test_the_processor_time_of_a_sandbox_is_part_of_the_cost(pool: PoolExecutor) -> None:
    job = of_model(SPINS)
    (source,) = job.user_models
    source = replace(source, source=source.source.replace("KIND =", "SPUN = []\nKIND ="))
    result = pool.submit(replace(job, user_models=(source,))).result(timeout=240)
    assert SPIN_S <= result.summary["cpu_s"] < result.summary["wall_s"] * 2


def test_what_is_given_up_at_the_end_is_no_fault_of_the_job() -> None:
    executor = PoolExecutor(1)
    futures = [executor.submit(LONG), executor.submit(replace(LONG, seed=2))]
    executor.close()
    for future in futures:
        with pytest.raises((ExecutorAway, WorkerLost)):
            future.result(timeout=120)


def test_no_executor_takes_nothing() -> None:
    executor = build_executor(InferSettings(executor="none"))
    assert isinstance(executor, NoExecutor)
    assert executor.capacity == 0
    with pytest.raises(ExecutorAway):
        executor.submit(QUICK)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[infer]\nexecutor = "cloud"', "executor: 'cloud' is not"),
        ("[infer]\nlease_s = 0", "lease_s"),
        ('[infer.dask]\ncluster = "pbs"', "cluster: 'pbs' is not"),
        ('[infer.dask]\ncluster = "address"', "address is needed"),
        ('[infer.dask]\naddress = "tls://x:1"', "address is needed"),
        ("[infer.dask]\nminimum = 3\nmaximum = 2", "minimum <= maximum"),
        ("[infer.dask]\nmaximum = 0", "minimum <= maximum"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(ConfigError, match=told):
        load_settings(tmp_path / "settings.toml", {})


_NUMBA_CAME_FIRST = """
import numba
import numpy as np
from mmcoord.stages.executor import _initialise
_initialise(1)
numba.set_num_threads(1)
double = numba.njit(parallel=True)(lambda x: x + x)
assert double(np.ones(9)).sum() == 18.0
print(numba.njit(lambda x: x + numba.get_num_threads())(1))
"""


def test_a_worker_whose_main_module_brought_numba_still_compiles() -> None:
    """A spawned process imports its parent's main module before anything of ours is asked."""
    found = subprocess.run(
        [sys.executable, "-c", _NUMBA_CAME_FIRST],
        env={**os.environ, "NUMBA_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.strip() == "2", found.stderr
