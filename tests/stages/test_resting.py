"""Queued runs rest while what is found for their event leaves them not worth their cost."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlmodel import col
from starlette.testclient import TestClient

import skymaps
from mmcoord import leases, rerun, runs
from mmcoord.api.app import create_app
from mmcoord.inference.job import Job, Result, run_key
from mmcoord.resting import MOST_ODDS, left_by, odds_found, rests, rests_beside
from mmcoord.stages import intake
from mmcoord.stages.context import Context
from mmcoord.stages.infer import InferStage
from mmcoord.stages.jobs import job_from_json
from mmcoord.stages.match import MatchStage
from mmcoord.stages.pipeline import Pipeline
from mmcoord.store import queue, summary, views_metrics, views_queue
from mmcoord.store.access import add_group
from mmcoord.store.database import Database
from mmcoord.store.story import story
from mmcoord.store.tables import AccessGroupRow, RunRow, ScreeningRow
from tests.making import (
    T0,
    StandInExecutor,
    candidate_row,
    gaussian_map,
    lvk_notice,
    make_context,
    photometry_row,
    send,
)
from tests.stages.test_infer import FADING
from tests.stores import migrated

# -- the rule ----------------------------------------------------------------------------

THRESHOLD = 0.03
undecided = st.floats(0.1, 0.9)


def p_if_at_most_one(ps: list[float]) -> float:
    """P that the first is it, of independent candidates of which at most one is: by counting
    every case."""
    allowed = {
        case: math.prod(p if it_is else 1.0 - p for p, it_is in zip(ps, case, strict=True))
        for case in itertools.product((False, True), repeat=len(ps))
        if sum(case) <= 1
    }
    return sum(p for case, p in allowed.items() if case[0]) / sum(allowed.values())


@given(st.floats(0.001, 0.999), st.lists(undecided, max_size=6))
def test_what_is_left_is_the_chance_if_the_event_has_one_kilonova(
    p_screen: float, others: list[float]
) -> None:
    left = left_by(odds_found(others), p_screen)
    assert left == pytest.approx(p_if_at_most_one([p_screen, *others]))


@given(st.floats(0.001, 0.999), undecided, undecided, st.floats(0.01, 0.99))
def test_a_candidate_is_weighed_against_the_others_and_not_against_itself(
    p_screen: float, own: float, other: float, threshold: float
) -> None:
    left = p_if_at_most_one([max(p_screen, own), other])
    assume(abs(left - threshold) > 1e-9)
    resting = rests_beside("a", p_screen, {"a": own, "b": other}, threshold)
    assert resting == (left < threshold)


def test_beside_a_sure_kilonova_rests_what_is_below_three_quarters() -> None:
    # o' = 0.03 / 0.97 at 100 times the odds: p = 300 / 397.
    for sure in (0.99, 0.999, 1.0):
        found = odds_found([sure, 0.02])
        assert found == pytest.approx(99.0)
        assert rests(300 / 397 - 1e-9, found, THRESHOLD)
        assert not rests(300 / 397 + 1e-9, found, THRESHOLD)


@given(
    st.floats(0.0, 1.0), st.lists(st.floats(0.0, 1.0), max_size=9), st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)  # fmt: skip
def test_the_more_is_found_the_more_rests(
    p_screen: float, others: list[float], one: float, threshold: float
) -> None:
    less, more = odds_found(others), odds_found([*others, one])
    assert less <= more <= MOST_ODDS
    surer = odds_found([(1.0 + p) / 2.0 for p in others])
    assert less <= surer
    for better in (more, surer):
        assert rests(p_screen, better, threshold) >= rests(p_screen, less, threshold)
    assert not rests(1.0, more, threshold)


@given(st.floats(0.0, 1.0), st.lists(st.floats(0.0, 0.0999), max_size=60))
def test_any_number_of_candidates_that_are_not_favoured_is_no_find(
    p_screen: float, others: list[float]
) -> None:
    assert not rests(p_screen, odds_found(others), THRESHOLD)


# -- in the store ------------------------------------------------------------------------

EVENT = "MS260301a"
LIGHT = {
    # Screened, they pass with P about 0.35, 0.16 and 0.06.
    "fader": FADING,
    "good": [(0.5, "lsst:g", 19.2), (1.5, "lsst:g", 20.6)],
    "meagre": [(0.5, "lsst:g", 19.2), (1.5, "lsst:g", 20.2)],
}
RA_DEG = {"fader": 150.0, "good": 152.5, "meagre": 152.8}


class Saying(StandInExecutor):
    """Answers at once, one run at a time, with what it was told of each object."""

    capacity = 1

    def __init__(self, **p_kilonova: float | None) -> None:
        super().__init__()
        self.p_kilonova = p_kilonova

    def submit(self, job: Job, priority: float = 0.0) -> Future[Result]:
        self.jobs.append(job)
        name = job.photometry[0].object_id
        said = {"model": "x", "p_kilonova": self.p_kilonova.get(name, 0.01), "cpu_s": 1.0}
        future: Future[Result] = Future()
        future.set_result(Result(run_key(job), said, b"", {}))
        return future

    @property
    def asked(self) -> list[str]:
        return [job.photometry[0].object_id for job in self.jobs]


@pytest.fixture
def ctx(sqlite_url: str, tmp_path: Path) -> Context:
    return make_context(migrated(sqlite_url), tmp_path)


@pytest.fixture
def on_either(database: Database, tmp_path: Path) -> Context:
    """On SQLite and on PostgreSQL."""
    return make_context(database, tmp_path)


def heard(ctx: Context) -> None:
    """An event with three candidates."""
    send(
        ctx,
        [
            ("igwn", lvk_notice(skymap=skymaps.to_fits_bytes(gaussian_map()))),
            *(("table_candidates", candidate_row(n, ra, -20.0)) for n, ra in RA_DEG.items()),
            *(("table_photometry", photometry_row(n, *p)) for n in LIGHT for p in LIGHT[n]),
        ],
    )


def work(ctx: Context, infer: InferStage) -> None:
    """Until nothing moves; nothing is planned."""
    match = MatchStage()
    while intake.run(ctx) or match.run(ctx) or infer.run(ctx):
        pass


def night(ctx: Context, executor: Saying) -> InferStage:
    """The event, worked off as far as it goes."""
    heard(ctx)
    infer = InferStage(executor)
    work(ctx, infer)
    return infer


def standing(ctx: Context) -> dict[str, str]:
    """Object -> how its newest run stands."""
    with ctx.database.read() as session:
        lines = views_queue.lines(session, None, 100)
        return {line.object_id: line.state for line in sorted(lines, key=lambda r: r.created_at)}


def told(ctx: Context) -> list[str]:
    with ctx.database.read() as session:
        return [e["text"] for e in story(session, EVENT) if e["what"] in ("rested", "woken")]


def ask(ctx: Context, name: str, group: str = "us") -> runs.Submitted:
    """A group asks for what the pipeline has asked of an object."""
    with ctx.database.write() as session:
        add_group(session, group, quota_cpu_s=1e6, period_day=30.0, priority=0.5, now=ctx.now())
        session.flush()
        row = session.execute(select(RunRow).where(col(RunRow.object_id) == name)).scalar_one()
        return runs.submit(
            session, job_from_json(row.job), runs.Requester(group), ctx.now(),
            event_id=EVENT, object_id=name,
        )  # fmt: skip


def test_beside_a_sure_kilonova_the_others_are_never_taken(on_either: Context) -> None:
    ctx = on_either
    executor = Saying(fader=0.995)
    heard(ctx)
    assert Pipeline(ctx, executor).drain(600.0)  # which ends with them at rest
    assert executor.asked == ["fader"]
    assert standing(ctx) == {"fader": "done", "good": "resting", "meagre": "resting"}
    with ctx.database.write() as session:
        assert not leases.is_waiting(session)
        assert leases.take(session, "another", ctx.now(), 60.0, 10) == []
        assert leases.take(session, "another", ctx.now(), 60.0, 9, partitions=["public"]) == []
        screened = {
            r.object_id: r.p_kilonova for r in session.execute(select(ScreeningRow)).scalars()
        }
        assert all(balance.lost == balance.pending == 0 for balance in queue.balance(session))
        counts = summary.runs(session)
        assert (counts["queued"], counts["resting"], counts["executed"]) == (0, 2, 1)
        assert views_metrics.counts(session).runs == {"done": 1, "resting": 2}
        assert views_queue.waiting_since(session) is None
        assert views_queue.total(session, None, state="resting") == 2
        assert views_queue.total(session, None, state="queued") == 0
    assert all(THRESHOLD < (screened[n] or 0.0) < 0.7 for n in LIGHT), "or the test asks nothing"
    assert told(ctx) == ["2 runs rest: fader has P 0.995"]


def test_half_a_find_stops_the_worse_alone(ctx: Context) -> None:
    executor = Saying(fader=0.6)
    night(ctx, executor)
    assert executor.asked == ["fader", "good"]
    assert standing(ctx)["meagre"] == "resting"
    assert told(ctx) == ["1 run rests: fader has P 0.6"]


@pytest.mark.parametrize("said", [0.05, None])
def test_without_a_find_every_run_is_taken(ctx: Context, said: float | None) -> None:
    executor = Saying(fader=said)
    night(ctx, executor)
    assert executor.asked == ["fader", "good", "meagre"]
    assert told(ctx) == []


def test_newer_data_of_what_rests_rest_in_its_place(ctx: Context) -> None:
    executor = Saying(fader=0.995)
    infer = night(ctx, executor)
    point = photometry_row("good", 1.6, "lsst:g", 20.7)
    send(ctx, [("table_photometry", point)], topic="later")
    work(ctx, infer)
    assert executor.asked == ["fader"]
    with ctx.database.read() as session:
        found = session.execute(
            select(col(RunRow.state), col(RunRow.resting)).where(col(RunRow.object_id) == "good")
        ).all()
    assert sorted(tuple(row) for row in found) == [("queued", True), ("superseded", False)]


def test_when_a_point_behind_the_find_turns_out_wrong_the_others_wake_at_once(
    on_either: Context,
) -> None:
    ctx = on_either
    executor = Saying(fader=0.995)
    infer = night(ctx, executor)
    send(
        ctx,
        [("table_photometry", photometry_row("fader", 0.5, "lsst:g", 19.6))],
        topic="v2",
        sent_at=T0 + timedelta(hours=2),
    )
    intake.run(ctx)  # in the very transaction that taints
    assert standing(ctx) == {"fader": "done", "good": "queued", "meagre": "queued"}
    assert told(ctx)[1:] == ["2 runs wake: nothing is found yet"]
    work(ctx, infer)
    assert len(executor.asked) > 1
    with ctx.database.read() as session:
        assert all(balance.lost == 0 for balance in queue.balance(session))


def test_when_newer_data_make_the_find_unlikely_the_others_wake(ctx: Context) -> None:
    executor = Saying(fader=0.995)
    infer = night(ctx, executor)
    executor.p_kilonova["fader"] = 0.02
    point = photometry_row("fader", 2.5, "lsst:i", 21.0)
    send(ctx, [("table_photometry", point)], topic="later")
    work(ctx, infer)
    assert executor.asked == ["fader", "fader", "good", "meagre"]
    assert told(ctx) == ["2 runs rest: fader has P 0.995", "2 runs wake: fader has P 0.02"]


def test_two_finds_do_not_put_each_other_to_rest(ctx: Context) -> None:
    executor = Saying(fader=0.8, good=0.95)  # beside 0.8 the screen's 0.16 is just worth it
    infer = night(ctx, executor)
    assert executor.asked == ["fader", "good"]
    later = [photometry_row(name, 1.6, "lsst:g", 20.7) for name in ("fader", "meagre")]
    send(ctx, [("table_photometry", row) for row in later], topic="later")
    work(ctx, infer)
    # The screen's 0.3 or so of it would not do beside 0.95.
    assert executor.asked == ["fader", "good", "fader"]


def test_what_has_left_the_map_is_no_find(ctx: Context) -> None:
    executor = Saying(fader=0.995)
    infer = night(ctx, executor)
    fits = skymaps.to_fits_bytes(gaussian_map(ra_deg=156.0, radius_deg=3.5))
    created = T0 + timedelta(hours=3)
    send(ctx, [("igwn", lvk_notice(alert_type="UPDATE", created=created, skymap=fits))], topic="u")
    work(ctx, infer)
    assert executor.asked == ["fader", "good", "meagre"]


def test_of_a_retracted_event_nothing_wakes(ctx: Context) -> None:
    executor = Saying(fader=0.995)
    infer = night(ctx, executor)
    created = T0 + timedelta(hours=3)
    send(ctx, [("igwn", lvk_notice(alert_type="RETRACTION", created=created))], topic="r")
    work(ctx, infer)
    assert executor.asked == ["fader"]


def test_a_resting_run_that_somebody_asks_for_wakes_and_rests_no_more(on_either: Context) -> None:
    ctx = on_either
    executor = Saying(fader=0.995)
    infer = night(ctx, executor)
    asked = ask(ctx, "meagre")
    assert (asked.state, asked.how) == ("queued", "coalesced")
    assert standing(ctx) == {"fader": "done", "good": "resting", "meagre": "queued"}
    assert told(ctx)[1:] == ["1 run wakes: it is asked for"]
    point = photometry_row("fader", 2.5, "lsst:i", 21.0)  # a new find does not put it to rest
    send(ctx, [("table_photometry", point)], topic="later")
    work(ctx, infer)
    assert sorted(executor.asked) == ["fader", "fader", "meagre"]
    with ctx.database.read() as session:
        used = runs.usage(session, session.get_one(AccessGroupRow, "us"), ctx.now())
    assert (used.waiting, used.charged_cpu_s) == (0, 0.5)  # the house waited for it too


def test_a_rerun_of_what_rests_wakes_it(ctx: Context) -> None:
    executor = Saying(fader=0.995)
    infer = night(ctx, executor)
    settings = ctx.settings.infer
    with ctx.database.write() as session:
        found = rerun.gather(session, settings, settings.models.split(","), None)
        assert found.counts == {"done": 1, "new": 2}
        assert rerun.queue(session, found, ctx.now()) == 2
    work(ctx, infer)
    assert executor.asked == ["fader", "good", "meagre"]


def test_the_queue_page_and_the_api_say_that_and_why_a_run_rests(ctx: Context) -> None:
    night(ctx, Saying(fader=0.995))
    with TestClient(create_app(ctx.database, ctx.settings, list)) as client:
        text = client.get("/runs").text
        assert text.count("rests: fader has P 0.995") == 2
        assert client.get("/runs?state=queued").text.count("data-run=") == 0
        found = client.get("/api/v1/objects/good").json()["runs"]
    assert [(run["state"], run["resting"]) for run in found] == [("queued", True)]
