"""A model from others that misbehaves is stopped and named on the whole way, and the queue goes on.

Through the store, the stage and a real executor: the pool's processes and Dask's workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

pytest.importorskip("distributed", reason="extra hpc is not installed")

from mmcoord.config import InferSettings
from mmcoord.dask_settings import DaskSettings
from mmcoord.inference.engine import run
from mmcoord.stages.dask_executor import DaskExecutor
from mmcoord.stages.execution import Execution
from mmcoord.stages.executor import Executor, PoolExecutor
from mmcoord.store.database import Database
from mmcoord.store.migrate import upgrade
from mmcoord.store.tables import RunRow
from tests.inferring import QUICK, ask, faults_of, of_model, run_of, wait_for
from tests.making import make_context

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.long]
SECRET = "mmc_this-is-the-secret"
FAULTS = {
    "nan": ("return np.nan * t_day", "absolute_magnitude is nan, not a magnitude"),
    "hang": ("import time\ntime.sleep(1e6)", "no answer within"),
    "50 GB": ("np.ones(50 * 2**30 // 8)", "raised MemoryError: .*it may use 2048 MiB"),
    "socket": ("import socket\nsocket.socket()", "PermissionError.*a model has no network"),
    "token": ("return float(open(TOKEN).read())", "FileNotFoundError.*a model sees no files"),
}
Ended = dict[str, RunRow]


@pytest.fixture(scope="module")
def ended(
    sandbox_works: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Ended]]:
    """What became of the runs, for each executor; both at once, for a hanging model takes time."""
    executors: dict[str, Executor] = {
        "pool": PoolExecutor(2),
        "dask": DaskExecutor(DaskSettings(minimum=2, maximum=2)),
    }
    found: dict[str, Ended] = {}
    with ExitStack() as stack:
        steps = []
        keys: dict[str, dict[str, str]] = {}
        databases = {}
        for name, executor in executors.items():
            folder = tmp_path_factory.mktemp(name)
            (folder / "token").write_text(SECRET)
            database = databases[name] = Database(f"sqlite:///{folder / 'mmcoord.db'}")
            stack.callback(database.close)
            upgrade(database)
            execution = Execution(executor)
            stack.callback(execution.close)
            keys[name] = {
                fault: ask(database, of_model(body.replace("TOKEN", repr(str(folder / "token")))))
                for fault, (body, _) in FAULTS.items()
            }
            keys[name]["good"] = ask(database, QUICK)
            steps.append((execution, make_context(database, folder, infer=InferSettings())))

        def all_ended() -> bool:
            for execution, ctx in steps:
                execution.collect(ctx)
                execution.dispatch(ctx)
            states = {
                run_of(databases[name], key).state
                for name, some in keys.items()
                for key in some.values()
            }
            return states <= {"done", "failed"}

        wait_for(all_ended, 400.0)
        for name, some in keys.items():
            found[name] = {fault: run_of(databases[name], key) for fault, key in some.items()}
            assert faults_of(databases[name], [some["good"]]) == []
        yield found


@pytest.mark.parametrize("executor", ["pool", "dask"])
def test_each_is_stopped_and_named_and_the_queue_goes_on(
    ended: dict[str, Ended], executor: str
) -> None:
    import re

    for fault, (_, told) in FAULTS.items():
        row = ended[executor][fault]
        assert (row.state, row.attempts) == ("failed", 1), fault
        assert str(row.error).startswith("BadModel: model mine"), fault
        assert re.search(told, str(row.error)), row.error
        assert SECRET not in str(row.error)
    assert ended[executor]["good"].samples == run(QUICK).samples
