"""Alerts of different messengers near one another, through intake and comparison."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

import skymaps
from mmcoord.stages import bursts, coincide, intake
from mmcoord.stages.context import Context
from mmcoord.store import finding, queue
from mmcoord.store.tables import CoincidenceRow
from tests.making import T0, gaussian_map, lvk_notice, make_context, send
from tests.shared import shared
from tests.stores import migrated

YEAR_S = 365.25 * 86400


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Context]:
    database = migrated(f"sqlite:///{tmp_path / 'pairs.db'}")
    yield make_context(database, tmp_path / "out")
    database.close()


def feed(ctx: Context, *messages: tuple[str, bytes], offset: int) -> list[CoincidenceRow]:
    send(ctx, list(messages), first_offset=offset)
    while intake.run(ctx) + bursts.run(ctx) + coincide.run(ctx):
        pass
    with ctx.database.read() as session:
        assert all(balance.lost == 0 for balance in queue.balance(session))
        return list(session.execute(select(CoincidenceRow)).scalars())


def wave(**more: object) -> tuple[str, bytes]:
    fits = skymaps.to_fits_bytes(gaussian_map(distance_mpc=None))
    return "igwn", lvk_notice("S260301a", skymap=fits, far=1e-8, **more)  # type: ignore[arg-type]


def snews(seconds: float) -> tuple[str, bytes]:
    first = T0 + timedelta(seconds=seconds)
    times = [first, first + timedelta(seconds=0.01), first + timedelta(seconds=0.02)]
    sent = (T0 + timedelta(minutes=2)).isoformat()
    alert = {
        "id": f"SNEWS_Coincidence_ALERT {sent}",
        "alert_type": "COINC_MSG",
        "detector_names": ["IceCube", "JUNO", "LVD"],
        "neutrino_times": [time.isoformat() for time in times],
        "sent_time": sent,
    }
    return "snews2", json.dumps(alert).encode()


@pytest.mark.parametrize("wave_first", [True, False])
def test_a_wave_and_a_supernova_burst_are_compared_whichever_comes_first(
    ctx: Context, wave_first: bool
) -> None:
    messages = [wave(), snews(2.0)] if wave_first else [snews(2.0), wave()]
    feed(ctx, messages[0], offset=0)
    (pair,) = feed(ctx, messages[1], offset=10)
    assert (pair.event_id, pair.search) == ("S260301a", "SNEWS")
    assert pair.offset_s == pytest.approx(2.0)
    assert pair.far_time_hz is not None
    # Three of ten detectors: once in 200,000 years by accident (research note, 2.6); 20 s.
    assert 1.0 / (pair.far_time_hz * YEAR_S) == pytest.approx(
        2e5 * YEAR_S / 20.0 / (1e-8 * YEAR_S), rel=0.05
    )
    assert pair.overlap is not None
    with ctx.database.read() as session:
        (line,) = finding.linked(session, "S260301a")
    assert line.event_id == pair.other_id
    assert "+2.0 s from it" in line.why


def test_a_burst_half_a_minute_later_is_another_matter(ctx: Context) -> None:
    feed(ctx, wave(), offset=0)
    assert feed(ctx, snews(30.0), offset=10) == []


def test_a_retraction_ends_the_pair(ctx: Context) -> None:
    feed(ctx, wave(), snews(2.0), offset=0)
    retraction = lvk_notice("S260301a", "RETRACTION", T0 + timedelta(minutes=20))
    assert feed(ctx, ("igwn", retraction), offset=10) == []


def test_a_track_on_the_waves_peak_is_rarer_by_the_overlap(ctx: Context) -> None:
    track = {
        "$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/icecube/"
        "single_neutrino_alerts.schema.json",
        "mission": "IceCube",
        "messenger": "Neutrino",
        "pipeline": "Gold Track Alert",
        "id": ["140000_1"],
        "event_name": ["IceCube-260301A"],
        "record_number": 0,
        "alert_datetime": "2026-03-01T02:31:00Z",
        "alert_type": "initial",
        "alert_tense": "current",
        "trigger_time": "2026-03-01T02:30:10Z",
        "ra": 150.0,
        "dec": -20.0,
        "ra_dec_error": 0.5,
        "containment_probability": 0.9,
        "far": 1e-8,
    }
    (pair,) = feed(ctx, wave(), ("gcn_unified", json.dumps(track).encode()), offset=0)
    assert pair.search == "NEUTRINO"
    # A point-like track at the peak of a circle of 5 deg (90 %): I = 4 pi p(peak), and of a
    # von Mises-Fisher map p(peak) = kappa / 2 pi with kappa = ln 10 / (1 - cos 5 deg).
    assert pair.overlap == pytest.approx(2 * 2.302585 / 0.0038053, rel=0.05)
    assert pair.far_time_hz is not None
    assert pair.far_hz == pytest.approx(pair.far_time_hz / pair.overlap)


def test_icecubes_own_follow_up_is_linked_to_its_superevent(ctx: Context) -> None:
    """The example notice of the schema: S230914ak."""
    example = shared("nu/icecube_json/lvk_nu_track_search.example.json").read_bytes()
    t0 = datetime(2023, 9, 14, 11, 14, 1, tzinfo=UTC)
    notice = lvk_notice(
        "S230914ak",
        created=t0 + timedelta(minutes=5),
        time=t0.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        far=1e-8,
    )
    (pair,) = feed(ctx, ("gcn_unified", example), ("igwn", notice), offset=0)
    assert (pair.event_id, pair.search) == ("S230914ak", "follow-up")
    assert pair.far_hz == pytest.approx(0.0549 * 1e-8)
    with ctx.database.read() as session:
        (line,) = finding.linked(session, "S230914ak")
    assert "IceCube-LVK" in line.event_id
