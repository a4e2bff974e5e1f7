"""Alerts of a burst through intake, assessment and plan."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from mmcoord.records import Notice
from mmcoord.simulate.burst import PracticeBurst, make_burst
from mmcoord.stages import bursts as stage
from mmcoord.stages import intake, plan
from mmcoord.stages.context import Context
from mmcoord.store import bursts, queue
from mmcoord.store.reading import newest_plan
from mmcoord.store.tables import BurstRow, DeadLetterRow, EventRow, JournalRow, PlanRevisionRow
from mmcoord.withdraw import withdraw
from tests.making import make_context
from tests.shared import shared
from tests.stores import migrated

T0 = datetime(2026, 3, 1, 2, 30, 30, tzinfo=UTC)


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Context]:
    database = migrated(f"sqlite:///{tmp_path / 'bursts.db'}")
    yield make_context(database, tmp_path / "out", clock="data")
    database.close()


def feed(ctx: Context, messages: Sequence[tuple[str, bytes, datetime]]) -> None:
    with ctx.database.read() as session:
        start = len(session.execute(select(JournalRow.id)).all()) * 1000
    for number, (source, payload, sent) in enumerate(messages):
        notice = Notice(source, "test", "t", 0, start + number, payload, ctx.now(), sent)
        intake.receive(ctx, [notice])
    while intake.run(ctx) + stage.run(ctx) + plan.run(ctx):
        pass


def snews(
    minute: float, detectors: dict[str, float], *, kind: str = "COINC_MSG", **more: Any
) -> tuple[str, bytes, datetime]:
    sent = T0 + timedelta(minutes=minute)
    alert = {
        "id": f"SNEWS_Coincidence_ALERT {sent.isoformat()}",
        "alert_type": kind,
        "server_tag": "one",
        "detector_names": list(detectors),
        "neutrino_times": [(T0 + timedelta(seconds=s)).isoformat() for s in detectors.values()],
        "sent_time": sent.isoformat(),
        "sub list number": 0,
        **more,
    }
    return "snews2", json.dumps(alert).encode(), sent


def superk(minute: float, seconds: float = 0.0, **more: Any) -> tuple[str, bytes, datetime]:
    sent = T0 + timedelta(minutes=minute)
    notice = {
        "$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/superk/sn_alert.schema.json",
        "mission": "Super-Kamiokande",
        "messenger": "Neutrino",
        "id": "SN.1",
        "alert_datetime": sent.isoformat().replace("+00:00", "Z"),
        "alert_tense": "current",
        "alert_type": "initial",
        "trigger_time": (T0 + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z"),
        "n_events": 6000,
        "ra": 266.4,
        "dec": -29.0,
        "ra_dec_error": 4.0,
        "containment_probability": 0.68,
        **more,
    }
    return "gcn_unified", json.dumps(notice).encode(), sent


PAIR = {"IceCube": 0.0, "JUNO": 0.012}
THREE = {**PAIR, "LVD": 0.03}


def only(ctx: Context) -> tuple[str, dict[str, Any]]:
    """The one event under which a burst is followed, and its standing assessment."""
    with ctx.database.read() as session:
        (leader,) = set(session.execute(select(BurstRow.event_id)).scalars())
        row = bursts.newest(session, leader)
        assert row is not None
        assert session.execute(select(DeadLetterRow.reason)).scalars().all() == []
        return leader, row.assessment


def plan_of(ctx: Context, event_id: str) -> PlanRevisionRow:
    with ctx.database.read() as session:
        made = newest_plan(session, event_id)
    assert made is not None
    return made


def event(ctx: Context, event_id: str) -> EventRow:
    with ctx.database.read() as session:
        return session.get_one(EventRow, event_id)


def test_detectors_join_and_the_map_shrinks(ctx: Context) -> None:
    feed(ctx, [snews(1, PAIR)])
    leader, pair = only(ctx)
    assert event(ctx, leader).localization_id is not None
    feed(ctx, [snews(2, THREE, kind="UPDATE")])
    _, three = only(ctx)
    assert [one["detector"] for one in three["detections"]] == ["IceCube", "JUNO", "LVD"]
    assert three["probability_real"] > 0.999 > 0.5 > pair["probability_real"]
    assert three["area_90_deg2"] < pair["area_90_deg2"]


def test_snews_and_super_kamiokande_are_one_burst_with_one_plan(ctx: Context) -> None:
    feed(ctx, [snews(1, THREE), superk(2)])
    leader, found = only(ctx)
    assert leader.startswith("SNEWS2-")
    assert found["events"] == sorted([leader, "Super-K-SN.1"])
    assert found["distance_source"] == "counts of Super-K"
    assert plan_of(ctx, leader).n_targets > 0
    other = plan_of(ctx, "Super-K-SN.1")
    assert other.n_targets == 0
    assert leader in other.note


def test_whoever_came_first_leads_and_the_end_is_the_same(ctx: Context) -> None:
    feed(ctx, [superk(2), snews(1, THREE)])
    leader, found = only(ctx)
    assert leader == "Super-K-SN.1"
    assert len(found["detections"]) == 4


def test_super_kamiokandes_direction_goes_into_the_map(ctx: Context) -> None:
    feed(ctx, [snews(1, THREE)])
    _, before = only(ctx)
    feed(ctx, [superk(2)])
    _, after = only(ctx)
    assert after["area_90_deg2"] < 0.5 * before["area_90_deg2"]


def test_no_position_stays_no_position(ctx: Context) -> None:
    """RA = Dec = 0 with 360 deg is the sign for not known, not a point (trap 2)."""
    feed(ctx, [superk(2, ra=0.0, dec=0.0, ra_dec_error=360.0)])
    leader, found = only(ctx)
    assert found["area_90_deg2"] > 1000.0
    assert event(ctx, leader).localization_id is not None


def test_a_repeat_changes_nothing(ctx: Context) -> None:
    feed(ctx, [snews(1, PAIR), snews(1, PAIR)])
    with ctx.database.read() as session:
        assert len(session.execute(select(BurstRow.id)).all()) == 1


def test_a_retraction_empties_the_plan(ctx: Context) -> None:
    feed(ctx, [snews(1, THREE)])
    leader, _ = only(ctx)
    feed(ctx, [snews(3, THREE, kind="RETRACTION")])
    assert event(ctx, leader).state == "retracted"
    _, found = only(ctx)
    assert found["is_retracted"]
    assert plan_of(ctx, leader).n_targets == 0


def test_the_operator_can_withdraw_what_nobody_retracts(ctx: Context) -> None:
    feed(ctx, [snews(1, THREE)])
    leader, _ = only(ctx)
    assert withdraw(ctx, leader, "LVD reports a clock fault by phone")
    feed(ctx, [])
    assert event(ctx, leader).state == "retracted"
    assert not withdraw(ctx, leader, "again")
    assert plan_of(ctx, leader).n_targets == 0
    with ctx.database.read() as session:
        assert all(balance.lost == 0 for balance in queue.balance(session))


def test_an_unconfirmed_pair_ages_out(ctx: Context) -> None:
    feed(ctx, [snews(1, PAIR)])
    leader, _ = only(ctx)
    later = snews(60 * 30, {"LZ": 60 * 30 * 60.0, "SNO+": 60 * 30 * 60.0 + 0.02})
    feed(ctx, [later])  # the clock of a replay is the newest message
    with ctx.database.write() as session:
        queue.enqueue(session, [queue.Wish("plan", leader, "")], ctx.now())
    feed(ctx, [])
    made = plan_of(ctx, leader)
    assert made.n_targets == 0
    assert "Aged out" in made.note


def test_marks_that_disagree_make_it_practice(ctx: Context) -> None:
    feed(ctx, [snews(1, PAIR, kind="TEST COINC_MSG", is_test=False)])
    leader, found = only(ctx)
    assert event(ctx, leader).is_practice
    assert found["contradictions"]


def test_the_silence_of_the_big_ones_is_heard(ctx: Context) -> None:
    """In the proposed schema of GCN the state of every detector comes with the alert."""
    small = {"LVD": 0.0, "SNO+": 0.02}
    status = {"LVD": "triggered", "SNO+": "triggered", "IceCube": "on", "Super-K": "on"}
    feed(ctx, [snews(1, small, detector_status=status)])
    _, found = only(ctx)
    assert found["silent"] == ["IceCube", "Super-K"]
    assert found["probability_real"] < 1e-3
    assert found["verdict"] == "noise"


def test_a_detector_nobody_knows_is_told_and_left_out(ctx: Context) -> None:
    feed(ctx, [snews(1, {**PAIR, "Kamioka-9": 0.01})])
    _, found = only(ctx)
    assert any("Kamioka-9" in note for note in found["notes"])
    assert len(found["detections"]) == 3


def messages_of(burst: PracticeBurst) -> list[tuple[str, bytes, datetime]]:
    return [(m.source, m.payload, m.sent_at) for m in burst.messages]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_practice_supernova_is_found_where_it_is(ctx: Context, seed: int) -> None:
    burst = make_burst(seed, distance_kpc=8.0)
    feed(ctx, messages_of(burst))
    leader, found = only(ctx)
    assert event(ctx, leader).is_practice
    assert found["probability_real"] > 0.999
    assert found["distance_kpc"] == pytest.approx(8.0, rel=0.5)


def test_the_real_fire_drill_is_one_event_that_grows(ctx: Context) -> None:
    """SNEWS, 28 September 2022; seven detectors (nu/snews/fd2209b-data.json)."""
    alert = shared("nu/snews/fd_sep_alert.json").read_bytes()
    sent = datetime(2022, 9, 28, 14, 38, tzinfo=UTC)
    feed(ctx, [("snews2", alert, sent)])
    leader, found = only(ctx)
    assert event(ctx, leader).is_practice
    assert len(found["detections"]) == 7
    assert found["probability_real"] > 0.999
    assert found["area_90_deg2"] is not None
