"""A run begins with the newest finished run on older data of the same object, and no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import col, select

from mmcoord import lineage, runs
from mmcoord.inference.job import DistancePrior, Job, family_key, run_key
from mmcoord.inference.start import Proposal
from mmcoord.records import Photometry
from mmcoord.runs import HOUSE, Requester
from mmcoord.stages.jobs import job_from_json
from mmcoord.store.database import Database
from mmcoord.store.tables import RunRow

NOW = datetime(2026, 1, 1, tzinfo=UTC)
T0 = 60000.0
PROPOSAL = Proposal("steady", ("a",), "AAAAAAAAAAAAAIA/")
"""One component: weight 1, mean 0, width 1."""


def point(day: float, mag: float = 20.0) -> Photometry:
    return Photometry("x", T0 + day, "lsst:r", mag, 0.1)


DAY_1 = Job((point(1.0),), T0, DistancePrior("gaussian", 40.0, 8.0), models=("steady",))
DAY_2 = replace(DAY_1, photometry=(point(1.0), point(2.0)))
DAY_3 = replace(DAY_1, photometry=(point(1.0), point(2.0), point(3.0)))


def ask(
    database: Database, job: Job, *, event_id: str = "E", object_id: str = "x", hour: int = 0
) -> str:
    """Submit in the house's name; the run's key."""
    with database.write() as session:
        return runs.submit(
            session, job, Requester(HOUSE), NOW + timedelta(hours=hour),
            event_id=event_id, object_id=object_id,
        ).run_key  # fmt: skip


def finish(database: Database, key: str, *, hour: int = 0, state: str = "done") -> None:
    """As the execution does at the end of a run."""
    with database.write() as session:
        row = session.get_one(RunRow, key)
        row.state, row.finished_at = state, NOW + timedelta(hours=hour)
        if state == "done":
            lineage.keep(session, key, [PROPOSAL])


def parent_of(database: Database, key: str) -> str | None:
    """What the stored job begins with; it is what its row says."""
    with database.read() as session:
        job = job_from_json(session.get_one(RunRow, key).job)
        assert session.get_one(RunRow, key).parent_key == (
            job.start.parent_key if job.start else None
        )
    return job.start.parent_key if job.start else None


def test_a_run_begins_with_the_newest_finished_one(database: Database) -> None:
    first = ask(database, DAY_1)
    assert parent_of(database, first) is None
    finish(database, first, hour=1)
    second = ask(database, DAY_2, hour=2)
    assert parent_of(database, second) == first
    finish(database, second, hour=3)
    third = ask(database, DAY_3, hour=4)
    assert parent_of(database, third) == second
    with database.read() as session:
        job = job_from_json(session.get_one(RunRow, third).job)
    assert job.start is not None
    assert job.start.proposals == (PROPOSAL,)
    assert run_key(job) == third


def test_the_same_question_is_the_run_that_was_asked_first(database: Database) -> None:
    first = ask(database, DAY_1)
    second = ask(database, DAY_2)  # nothing to begin with yet
    finish(database, first, hour=1)
    assert ask(database, DAY_2, hour=2) == second
    finish(database, second, hour=3)
    assert ask(database, DAY_2, hour=4) == second
    assert ask(database, DAY_1, hour=4) == first
    with database.read() as session:
        assert len(session.execute(select(col(RunRow.run_key))).all()) == 2


@pytest.mark.parametrize("state", ["queued", "running", "failed", "superseded"])
def test_only_a_finished_run_is_begun_with(database: Database, state: str) -> None:
    finish(database, ask(database, DAY_1), state=state)
    assert parent_of(database, ask(database, DAY_2, hour=1)) is None


def test_a_run_that_left_nothing_is_passed_over(database: Database) -> None:
    first, second = ask(database, DAY_1), ask(database, DAY_2)
    finish(database, first, hour=1)
    with database.write() as session:
        row = session.get_one(RunRow, second)
        row.state, row.finished_at = "done", NOW + timedelta(hours=2)
    assert parent_of(database, ask(database, DAY_3, hour=3)) == first


@pytest.mark.parametrize(
    "change",
    [
        {"partition": "group"},
        {"distance": DistancePrior("gaussian", 41.0, 8.0)},
        {"models": ("afterglow",)},
        {"t0_mjd_tai": T0 + 0.1},
        {"host_dust": "av"},
        {"systematics": "per_band"},
    ],
)
def test_a_run_of_another_family_is_not_begun_with(
    database: Database, change: dict[str, object]
) -> None:
    finish(database, ask(database, DAY_1), hour=1)
    other = replace(DAY_2, **change)  # type: ignore[arg-type]
    assert family_key(other) != family_key(DAY_1)
    assert parent_of(database, ask(database, other, hour=2)) is None


@pytest.mark.parametrize(("event_id", "object_id"), [("F", "x"), ("E", "y"), ("", "")])
def test_another_object_or_event_is_not_begun_with(
    database: Database, event_id: str, object_id: str
) -> None:
    finish(database, ask(database, DAY_1), hour=1)
    key = ask(database, DAY_2, event_id=event_id, object_id=object_id, hour=2)
    assert parent_of(database, key) is None
