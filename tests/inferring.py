"""Runs for tests and benchmarks of where inference happens: cheap real jobs, engines, a check."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select

from mmcoord import runs
from mmcoord.inference.job import DistancePrior, Job, SamplerSettings, run_key
from mmcoord.inference.source import UserSource
from mmcoord.records import Photometry
from mmcoord.store.access import add_group
from mmcoord.store.database import Database
from mmcoord.store.tables import RunRequestRow, RunRow
from mmcoord.store.tables_attempts import RunAttemptRow
from tests.inference.usermodels import HEAD

T0 = 60000.0
LIGHT = tuple(
    Photometry("a", T0 + day, band, 19.0 + day, 0.1)
    for day in (0.5, 1.5, 2.5)
    for band in ("lsst:g", "lsst:r")
)
QUICK = Job(
    LIGHT,
    T0,
    DistancePrior("gaussian", 100.0, 10.0),
    models=("steady",),
    sampler=SamplerSettings(ess_target=200, max_calls=20_000),
)
"""Half a second of a real inference."""
MIDDLING = replace(QUICK, models=("villar17_1",), sampler=SamplerSettings(8000, 2_000_000))
"""A few seconds: long enough to be killed in the middle, short enough to be done again."""
LONG = replace(QUICK, models=("villar17_2",), sampler=SamplerSettings(200_000, 40_000_000))
"""Many seconds: nobody waits for its end."""


def of_model(body: str, **changes: object) -> Job:
    """A job with a model from others whose function has this body."""
    lines = "".join(f"    {line}\n" for line in body.strip("\n").split("\n"))
    text = f"{HEAD}\ndef absolute_magnitude(p, t_day, wavelength_angstrom):\n{lines}"
    source = UserSource("mine", 1, text)
    return replace(QUICK, models=("mine",), user_models=(source,), **changes)  # type: ignore[arg-type]


def ask(database: Database, job: Job, *groups: str) -> str:
    """Submit a job in the name of these groups, which are made; returns its key."""
    now = datetime.now(UTC)
    for group in groups or ("us",):
        with database.write() as session:
            add_group(session, group, quota_cpu_s=1e6, period_day=30.0, priority=0.5, now=now)
            session.flush()
            runs.submit(session, job, runs.Requester(group), now)
    return run_key(job)


def run_of(database: Database, key: str) -> RunRow:
    with database.read() as session:
        return session.get_one(RunRow, key)


def attempts_of(database: Database, key: str) -> list[RunAttemptRow]:
    with database.read() as session:
        rows = session.execute(
            select(RunAttemptRow).where(RunAttemptRow.run_key == key).order_by(RunAttemptRow.id)  # type: ignore[arg-type]
        )
        return list(rows.scalars())


def wait_for(what: Callable[[], bool], timeout_s: float = 240.0) -> None:
    """Until it is so."""
    end = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout_s:g} s")
        time.sleep(0.05)


def faults_of(database: Database, keys: Sequence[str]) -> list[str]:
    """What is wrong with runs that should all have ended well: one result each, nothing left
    behind, everything charged exactly once. Empty when all is well."""
    wrong: list[str] = []
    with database.read() as session:
        for key in keys:
            row = session.get_one(RunRow, key)
            ended = session.execute(
                select(RunAttemptRow.outcome).where(RunAttemptRow.run_key == key)
            ).scalars().all()  # fmt: skip
            charged = session.execute(
                select(func.sum(RunRequestRow.charged_cpu_s)).where(RunRequestRow.run_key == key)
            ).scalar_one()
            unpaid = session.execute(
                select(func.count())
                .select_from(RunRequestRow)
                .where(
                    RunRequestRow.run_key == key,
                    RunRequestRow.charged_cpu_s.is_(None),  # type: ignore[union-attr]
                )
            ).scalar_one()
            if row.state != "done" or not row.samples:
                wrong.append(f"{key[:8]} is {row.state}: {row.error}")
            if ended.count("done") != 1:
                wrong.append(f"{key[:8]} has {ended.count('done')} results: {ended}")
            if "" in ended or row.lease_owner is not None:
                wrong.append(f"{key[:8]} is an orphan: {ended}")
            if unpaid or charged is None or abs(charged - (row.cpu_s or 0.0)) > 1e-6:
                wrong.append(f"{key[:8]} cost {row.cpu_s}, charged {charged}, unpaid {unpaid}")
    return wrong


def start_engine(url: str, folder: Path, *, lease_s: float = 2.0, workers: int = 1) -> Engine:
    """An engine in a process of its own, without the pipeline's lock: there may be several."""
    log = (folder / f"engine-{time.monotonic_ns()}.log").open("w")
    command = [sys.executable, "-m", "tests.engine_main", url, str(folder)]
    process = subprocess.Popen(
        [*command, str(lease_s), str(workers)], stdout=log, stderr=subprocess.STDOUT
    )
    return Engine(process, Path(log.name))


class Engine:
    """A running engine process."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log

    @property
    def pid(self) -> int:
        return self.process.pid

    def workers(self) -> list[int]:
        """Its worker processes: children that were spawned, without multiprocessing's tracker."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                command = (stat.parent / "cmdline").read_bytes()
            except (OSError, ValueError):
                continue
            if parent == self.pid and b"spawn_main" in command:
                found.append(int(stat.parent.name))
        return found

    def kill(self) -> None:
        """kill -9, if it lives."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
