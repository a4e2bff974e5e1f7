"""Alerts are read on a thread of their own, beside the stages, without waiting for candidates."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

import skymaps
from mmcoord.stages import intake
from mmcoord.stages.context import Context
from mmcoord.stages.intake import Lane
from mmcoord.stages.match import MatchStage
from mmcoord.store import queue
from mmcoord.store.database import Database
from mmcoord.store.tables import AlertRow, CandidateRow, MatchRow, NoticeRow
from tests.making import T0, candidate_row, gaussian_map, lvk_notice, make_context, send


@pytest.fixture
def ctx(database: Database, tmp_path: Path) -> Context:
    return make_context(database, tmp_path / "out")


def count(ctx: Context, kind: type) -> int:
    with ctx.database.read() as session:
        return int(session.execute(select(func.count()).select_from(kind)).scalar_one())


def send_candidates(ctx: Context, n: int, *, topic: str) -> None:
    rows = [candidate_row(f"{topic}-{i}", 150.0 + 0.001 * i, -20.0) for i in range(n)]
    send(ctx, [("table_candidates", row) for row in rows], topic=topic)


def test_an_alert_is_read_before_any_candidate_of_a_backlog(ctx: Context) -> None:
    send_candidates(ctx, 1200, topic="backlog")
    send(ctx, [("igwn", lvk_notice())], topic="gw")
    assert intake.run(ctx, Lane.ALERTS) == 1
    assert count(ctx, AlertRow) == 1
    assert count(ctx, CandidateRow) == 0
    assert intake.run(ctx, Lane.ALERTS) == 0


def test_a_gravitational_wave_is_read_before_a_flood_of_other_alerts(ctx: Context) -> None:
    circular = {"circularId": 1, "subject": "s", "body": "b", "submitter": "a", "createdOn": 1}
    flood = [
        ("gcn_circulars", json.dumps({**circular, "circularId": i}).encode()) for i in range(200)
    ]
    send(ctx, flood, topic="flood")
    send(ctx, [("igwn", lvk_notice())], topic="gw")
    assert intake.run(ctx, Lane.ALERTS) == 8
    assert count(ctx, AlertRow) == 1


def test_the_other_lane_leaves_alerts_alone(ctx: Context) -> None:
    send(ctx, [("igwn", lvk_notice())], topic="gw")
    send_candidates(ctx, 3, topic="few")
    assert intake.run(ctx, Lane.BULK) == 3
    assert intake.run(ctx, Lane.BULK) == 0
    assert count(ctx, AlertRow) == 0
    assert intake.run(ctx) == 1
    assert count(ctx, AlertRow) == 1


def test_whatever_is_received_wakes_the_waiting_loops(ctx: Context) -> None:
    rung = threading.Event()
    send_candidates(replace(ctx, wake=rung.set), 1, topic="one")
    assert rung.is_set()


def test_a_redelivery_is_not_counted_again(ctx: Context) -> None:
    send_candidates(ctx, 5, topic="twice")
    send_candidates(ctx, 7, topic="twice")  # five of them known by their coordinates
    assert count(ctx, NoticeRow) == 7
    with ctx.database.snapshot() as session:
        intake_balance = queue.balance(session)[0]
    assert (intake_balance.received, intake_balance.pending, intake_balance.lost) == (7, 7, 0)


def test_other_content_under_known_coordinates_is_not_taken_for_a_repeat(ctx: Context) -> None:
    """A broker that is set up anew counts its offsets from zero again."""
    send(ctx, [("igwn", lvk_notice("MS260301a"))], topic="gw")
    assert send(ctx, [("igwn", lvk_notice("MS260301b"))], topic="gw") == 1
    assert send(ctx, [("igwn", lvk_notice("MS260301b"))], topic="gw") == 0
    while intake.run(ctx):
        pass
    assert count(ctx, AlertRow) == 2


def test_both_lanes_and_matching_at_once_lose_nothing(ctx: Context) -> None:
    """Three threads on one store, as in the daemon, with notices that share their wishes."""
    skymap = skymaps.to_fits_bytes(gaussian_map(150.0, -20.0, 5.0))
    n_batches, per_batch = 12, 150
    faults: list[BaseException] = []
    fed = threading.Event()

    def feed() -> None:
        for batch in range(n_batches):
            send_candidates(ctx, per_batch, topic=f"c{batch}")
            created = T0 + timedelta(minutes=batch)
            notice = lvk_notice(created=created, alert_type="UPDATE", skymap=skymap)
            send(ctx, [("igwn", notice)], topic="gw", first_offset=batch)
        fed.set()

    def loop(step) -> None:  # type: ignore[no-untyped-def]
        try:
            while not fed.is_set() or step():
                step()
        except BaseException as error:  # told below, in the test's own thread
            faults.append(error)
            raise

    match = MatchStage()
    threads = [
        threading.Thread(target=feed),
        threading.Thread(target=loop, args=(lambda: intake.run(ctx, Lane.ALERTS),)),
        threading.Thread(target=loop, args=(lambda: intake.run(ctx, Lane.BULK) + match.run(ctx),)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert not faults
    while intake.run(ctx) or match.run(ctx):
        pass
    assert count(ctx, AlertRow) == n_batches
    assert count(ctx, CandidateRow) == n_batches * per_batch
    assert count(ctx, MatchRow) == n_batches * per_batch  # all lie well inside the map
    with ctx.database.snapshot() as session:
        assert all(balance.lost == 0 for balance in queue.balance(session))
