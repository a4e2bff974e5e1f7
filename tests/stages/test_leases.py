"""Leases: one owner at a time, taken over when it is silent, the first result counts, paid once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, OperationalError

from mmcoord import leases
from mmcoord.config import InferSettings
from mmcoord.inference.job import Job, Result, run_key
from mmcoord.stages.context import Context
from mmcoord.stages.execution import Execution
from mmcoord.stages.executor import ExecutorAway
from mmcoord.store.database import Database
from tests.inferring import QUICK, ask, attempts_of, faults_of, run_of, start_engine, wait_for
from tests.making import make_context
from tests.stores import migrated

pytestmark = pytest.mark.long

CPU_S = 7.0


class Held:
    """Keeps its jobs under way until told what becomes of them."""

    capacity = 4

    def __init__(self) -> None:
        self.open: dict[str, Future[Result]] = {}

    def submit(self, job: Job, priority: float = 0.0) -> Future[Result]:
        self.open[run_key(job)] = Future()
        return self.open[run_key(job)]

    def finish(self, cpu_s: float = CPU_S) -> None:
        for key, future in self.open.items():
            future.set_result(Result(key, {"cpu_s": cpu_s, "run_key": key}, b"samples", {}))
        self.open.clear()

    def close(self) -> None:
        """Nothing to free."""


@pytest.fixture
def ctx(database: Database, tmp_path: Path) -> Context:
    return make_context(database, tmp_path, infer=InferSettings(lease_s=60.0))


def later(ctx: Context, seconds: float) -> Context:
    return replace(ctx, now=lambda: datetime.now(UTC) + timedelta(seconds=seconds))


def engine(executor: Held | None = None) -> tuple[Execution, Held]:
    executor = executor or Held()
    return Execution(executor), executor


def test_what_one_engine_has_no_other_takes(ctx: Context) -> None:
    key = ask(ctx.database, QUICK)
    (first, _), (second, other) = engine(), engine()
    assert first.dispatch(ctx) == 1
    assert second.dispatch(ctx) == 0
    assert second.dispatch(later(ctx, 59.0)) == 0
    assert (other.open, run_of(ctx.database, key).lease_owner) == ({}, first.owner)


def test_an_expired_lease_is_taken_over_and_the_first_result_counts_and_is_paid_once(
    ctx: Context,
) -> None:
    key = ask(ctx.database, QUICK, "us", "them")
    (first, slow), (second, quick) = engine(), engine()
    first.dispatch(ctx)
    assert second.dispatch(later(ctx, 61.0)) == 1
    quick.finish(cpu_s=2.0)
    slow.finish(cpu_s=50.0)
    assert second.collect(ctx) == first.collect(ctx) == 1
    row = run_of(ctx.database, key)
    assert (row.state, row.cpu_s, row.attempts) == ("done", 2.0, 2)
    assert faults_of(ctx.database, [key]) == []
    silent, done = attempts_of(ctx.database, key)
    assert (silent.outcome, done.outcome) == (
        f"LeaseExpired: nothing was heard of {first.owner}",
        "done",
    )


def test_the_result_of_an_owner_who_lost_its_lease_counts_if_it_is_the_first(ctx: Context) -> None:
    key = ask(ctx.database, QUICK)
    (first, slow), (second, quick) = engine(), engine()
    first.dispatch(ctx)
    second.dispatch(later(ctx, 61.0))
    slow.finish(cpu_s=3.0)
    first.collect(ctx)
    assert (run_of(ctx.database, key).state, run_of(ctx.database, key).cpu_s) == ("done", 3.0)
    quick.finish(cpu_s=9.0)
    second.collect(ctx)
    assert run_of(ctx.database, key).cpu_s == 3.0
    assert [a.ended_at is not None for a in attempts_of(ctx.database, key)] == [True, True]


def test_the_failure_of_an_owner_who_lost_its_lease_says_nothing(ctx: Context) -> None:
    key = ask(ctx.database, QUICK)
    (first, slow), (second, quick) = engine(), engine()
    first.dispatch(ctx)
    second.dispatch(later(ctx, 61.0))
    slow.open[key].set_exception(MemoryError("gone"))
    first.collect(ctx)
    assert run_of(ctx.database, key).lease_owner == second.owner
    quick.finish()
    second.collect(ctx)
    assert faults_of(ctx.database, [key]) == []


def test_a_run_whose_owners_all_fall_silent_fails_with_their_names(ctx: Context) -> None:
    key = ask(ctx.database, QUICK)
    for number in range(3):
        assert engine()[0].dispatch(later(ctx, 61.0 * number)) == 1
    engine()[0].dispatch(later(ctx, 200.0))
    row = run_of(ctx.database, key)
    assert (row.state, row.attempts) == ("failed", 3)
    assert "nothing was heard of engine" in str(row.error)


def test_a_heartbeat_keeps_a_long_run(database: Database, tmp_path: Path) -> None:
    ctx = make_context(database, tmp_path, infer=InferSettings(lease_s=0.8))
    key = ask(database, QUICK)
    (first, slow), (second, _) = engine(), engine()
    first.dispatch(ctx)
    begun = time.monotonic()
    while time.monotonic() - begun < 2.5:
        assert second.dispatch(ctx) == 0
        time.sleep(0.1)
    slow.finish()
    first.collect(ctx)
    first.close()
    assert run_of(database, key).attempts == 1
    assert faults_of(database, [key]) == []


def test_engines_that_take_at_once_share_out_and_take_nothing_twice(ctx: Context) -> None:
    keys = {ask(ctx.database, replace(QUICK, seed=seed)) for seed in range(16)}
    engines = [engine() for _ in range(4)]
    others = [Database(str(ctx.database.url.render_as_string(False))) for _ in engines]
    contexts = [replace(ctx, database=database) for database in others]
    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda one, ctx: one[0].dispatch(ctx), engines, contexts))
    assert taken == [4, 4, 4, 4]
    assert set().union(*(executor.open for _, executor in engines)) == keys
    for (execution, executor), context in zip(engines, contexts, strict=True):
        executor.finish()
        execution.collect(context)
        context.database.close()
    assert faults_of(ctx.database, sorted(keys)) == []


def test_a_place_that_is_away_is_no_fault_of_the_run(ctx: Context) -> None:
    key = ask(ctx.database, QUICK)
    execution, held = engine()
    for _ in range(5):
        execution.dispatch(ctx)
        held.open.pop(key).set_exception(ExecutorAway("no scheduler"))
        execution.collect(ctx)
    row = run_of(ctx.database, key)
    assert (row.state, row.attempts, row.lease_owner) == ("queued", 0, None)


def test_a_worker_with_other_models_is_told_and_its_result_is_not_taken(ctx: Context) -> None:
    key = ask(ctx.database, QUICK)
    execution, held = engine()
    execution.dispatch(ctx)
    held.open[key].set_result(Result("f" * 64, {}, b"", {}))
    execution.collect(ctx)
    row = run_of(ctx.database, key)
    assert (row.state, row.samples) == ("queued", None)
    assert "other models" in str(row.error)


def test_only_the_dead_of_this_machine_are_known_to_be_dead() -> None:
    me = leases.engine_owner()
    kind, host, _, _ = me.split(" ")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    alive = f"{kind} {host} {child.pid} {'0' * 32}"
    assert not leases.is_gone(alive, me)
    child.kill()
    child.wait()
    assert leases.is_gone(alive, me)
    assert not leases.is_gone(me, me)
    assert not leases.is_gone(f"{kind} elsewhere {child.pid} {'0' * 32}", me)
    assert not leases.is_gone(f"worker abc name {'0' * 32}", me)


# -- the connection to the database dies ---------------------------------------------------


def cut_at_commit(database: Database) -> list[int]:
    """The next commit fails for real: PostgreSQL's backend is killed, SQLite says locked."""
    cut: list[int] = []

    @event.listens_for(database.engine, "commit")
    def _cut(connection: Connection) -> None:
        if cut:
            return
        cut.append(1)
        if database.is_sqlite:
            raise OperationalError("COMMIT", {}, Exception("database is locked"))
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        other = Database(database.url.render_as_string(False))
        with other.read() as session:
            # Waits up to 5 s for its end.
            killed = session.execute(
                text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid}
            ).scalar()
        other.close()
        assert killed

    return cut


@pytest.mark.parametrize("when", ["dispatch", "collect"])
def test_a_connection_that_dies_at_the_commit_costs_nothing_and_doubles_nothing(
    ctx: Context, when: str
) -> None:
    key = ask(ctx.database, QUICK, "us", "them")
    execution, held = engine()
    if when == "collect":
        execution.dispatch(ctx)
        held.finish()
    cut = cut_at_commit(ctx.database)
    with pytest.raises(DBAPIError):
        getattr(execution, when)(ctx)
    assert cut
    execution.recover(ctx)
    execution.dispatch(ctx)
    held.finish()
    execution.collect(ctx)
    row = run_of(ctx.database, key)
    assert (row.state, row.cpu_s, row.attempts) == ("done", CPU_S, 1)
    assert faults_of(ctx.database, [key]) == []


def test_a_commit_that_arrived_though_its_answer_did_not_is_not_repeated(ctx: Context) -> None:
    key = ask(ctx.database, QUICK)
    execution, held = engine()
    execution.dispatch(ctx)
    future = held.open[key]
    held.finish(cpu_s=4.0)
    execution.collect(ctx)
    execution._running[key] = future  # as it is after a commit of which nothing was heard
    execution.collect(ctx)
    assert run_of(ctx.database, key).cpu_s == 4.0
    assert faults_of(ctx.database, [key]) == []


# -- real processes ------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.postgres
def test_kill_9_of_an_engine_and_of_a_worker_leave_one_result_each(
    postgres_url: str, tmp_path: Path
) -> None:
    """Two engines on one store; one is killed, then the other's worker is. Once: the same many
    times, on SQLite too, is ``make infer-fault-test``."""
    database = migrated(postgres_url)
    keys = [ask(database, replace(QUICK, seed=seed), "us", "them") for seed in range(4)]
    one, two = start_engine(postgres_url, tmp_path), start_engine(postgres_url, tmp_path)
    try:
        wait_for(lambda: any(run_of(database, key).state == "running" for key in keys))
        one.kill()
        wait_for(lambda: bool(two.workers()))
        os.kill(two.workers()[0], signal.SIGKILL)
        wait_for(lambda: all(run_of(database, key).state in ("done", "failed") for key in keys))
    finally:
        one.kill()
        two.kill()
    assert faults_of(database, keys) == []
    database.close()
