"""kill -9 of engines, of their workers and of database connections while inference runs.

Two engine processes work on one store. In each trial three real inferences are asked for by two
groups, and at a random instant a fault is made: an engine is killed with SIGKILL (and started
again), a worker process is, or, on PostgreSQL, every connection is terminated
(``pg_terminate_backend``). When all runs have ended each must have exactly one result, no
attempt or lease may be left open, and the groups' charges must add up to what the run cost.

    python -m benchmarks.inference_faults --trials 60

Prints one JSON document; exit code 1 if a trial fails.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks.skymaps_common import machine
from mmcoord.store.database import Database
from mmcoord.store.migrate import upgrade
from tests.fixtures_postgres import fresh_database, running_postgres
from tests.inferring import QUICK, Engine, ask, attempts_of, faults_of, run_of, start_engine

_RUNS = 3
_GROUPS = ("us", "them")
_LONGEST_S = 600.0
_FAULTS = {"postgresql": ("engine", "worker", "connections"), "sqlite": ("engine", "worker")}


def main() -> int:
    """Run the trials."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    chance = random.Random(wanted.seed)
    trials: list[dict[str, Any]] = []
    begun = time.monotonic()
    for kind in ("postgresql", "sqlite"):
        n = wanted.trials // 2
        with store(kind) as (database, folder):
            for line in trial_all(database, folder, kind, n, chance):
                trials.append(line)
                print(json.dumps(line), file=sys.stderr, flush=True)
    failed = [line for line in trials if line["wrong"]]
    report = {
        "benchmark": "inference_faults",
        "machine": machine(),
        "duration_s": round(time.monotonic() - begun, 1),
        "trials": dict(Counter(f"{t['store']}: {t['fault']}" for t in trials)),
        "hit_while_running": sum(t["running"] > 0 for t in trials),
        "runs": _RUNS * len(trials),
        "attempts": sum(t["attempts"] for t in trials),
        "longest_s": max((t["seconds"] for t in trials), default=0.0),
        "failed": failed,
    }
    print(json.dumps(report, indent=2))
    return 1 if failed else 0


@contextmanager
def store(kind: str) -> Iterator[tuple[Database, Path]]:
    """An empty store, and a folder."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mmcoord-faults-")))
        if kind == "postgresql":
            url = stack.enter_context(fresh_database(stack.enter_context(running_postgres())))
        else:
            url = f"sqlite:///{folder / 'mmcoord.db'}"
        database = Database(url)
        stack.callback(database.close)
        upgrade(database)
        yield database, folder


def trial_all(
    database: Database, folder: Path, kind: str, n: int, chance: random.Random
) -> Iterator[dict[str, Any]]:
    """So many trials on one store."""
    url = database.url.render_as_string(hide_password=False)
    engines = [start_engine(url, folder) for _ in range(2)]
    try:
        for number in range(n):
            fault = _FAULTS[kind][number % len(_FAULTS[kind])]
            jobs = [replace(QUICK, seed=_RUNS * number + k) for k in range(_RUNS)]
            keys = [ask(database, job, *_GROUPS) for job in jobs]
            begun = time.monotonic()
            time.sleep(chance.uniform(0.0, 3.0))
            running = sum(run_of(database, key).state == "running" for key in keys)
            make(fault, database, engines, chance)
            for place, engine in enumerate(engines):
                if engine.process.poll() is not None:
                    engines[place] = start_engine(url, folder)
            while any(run_of(database, k).state not in ("done", "failed") for k in keys):
                if time.monotonic() - begun > _LONGEST_S:
                    break
                time.sleep(0.1)
            yield {
                "store": kind,
                "fault": fault,
                "running": running,
                "attempts": sum(len(attempts_of(database, key)) for key in keys),
                "seconds": round(time.monotonic() - begun, 1),
                "wrong": faults_of(database, keys),
            }
    finally:
        for engine in engines:
            engine.kill()


def make(fault: str, database: Database, engines: list[Engine], chance: random.Random) -> None:
    """Do the harm."""
    if fault == "engine":
        chance.choice(engines).kill()
    elif fault == "worker":
        workers = [pid for engine in engines for pid in engine.workers()]
        if workers:
            os.kill(chance.choice(workers), signal.SIGKILL)
    else:
        with database.read() as session:
            session.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )


if __name__ == "__main__":
    sys.exit(main())
