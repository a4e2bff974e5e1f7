"""Tiles of an event's map through the store: planned, shown, claimed, told, or why not."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from typer.testing import CliRunner

import skymaps
from followup.claims import Verb
from followup.sinks import file, gcn_circular, slack, treasuremap
from followup.spoken_for import booking_of, meeting
from mmcoord.api.app import create_app
from mmcoord.cli import app
from mmcoord.config import PlanSettings
from mmcoord.errors import UnknownRecord
from mmcoord.preview import payloads
from mmcoord.records import PlanTile
from mmcoord.stages.context import Context
from mmcoord.stages.pipeline import Pipeline
from mmcoord.store import claims
from mmcoord.store.claims import Act
from mmcoord.store.database import Database
from mmcoord.store.reading import newest_plan
from mmcoord.store.summary import plan_document
from mmcoord.store.tables import DeliveryRow, PlanRevisionRow
from mmcoord.store.tiles import newest_tiles
from tests.making import T0, StandInExecutor, gaussian_map, lvk_notice, make_context, send
from tests.sinks.services import WEBHOOK, FakeSlack
from tests.sinks.test_treasuremap import FakeMap
from tests.stores import migrated

EVENT = "MS260301a"
WIDE = ("decam", "ztf", "lco-1m-ctio")


@pytest.fixture
def store(sqlite_url: str) -> Database:
    return migrated(sqlite_url)


def context(store: Database, folder: Path, **plan: Any) -> Context:
    settings = PlanSettings(debounce_s=0.0, instruments=WIDE, **plan)
    return make_context(store, folder, plan=settings)


def announce(
    ctx: Context, *, hours: float = 1.0, radius: float = 5.0, number: int = 0, **event: Any
) -> None:
    fits = skymaps.to_fits_bytes(gaussian_map(radius_deg=radius))
    notice = lvk_notice(EVENT, skymap=fits, **event)
    send(ctx, [("igwn", notice)], first_offset=number, sent_at=T0 + timedelta(hours=hours))
    work(ctx)


def work(ctx: Context) -> None:
    pipeline = Pipeline(ctx, StandInExecutor())
    pipeline.drain()
    pipeline.close()


def tiles(ctx: Context) -> tuple[PlanTile, ...]:
    with ctx.database.read() as session:
        return newest_tiles(session, EVENT)


def newest(ctx: Context) -> PlanRevisionRow:
    with ctx.database.read() as session:
        plan = newest_plan(session, EVENT)
        assert plan is not None
        return plan


def note(ctx: Context) -> str:
    return newest(ctx).note


def say(ctx: Context, verb: Verb, tile_id: str) -> None:
    with ctx.database.write() as session:
        claims.act(session, Act(verb, EVENT, tile_id, "ourgroup", "cli"), ctx.now())
    work(ctx)


def test_an_alert_without_a_candidate_is_searched_at_once(
    database: Database, tmp_path: Path
) -> None:
    ctx = context(database, tmp_path)
    announce(ctx)
    found = tiles(ctx)
    assert found
    assert {tile.instrument for tile in found} <= {"decam", "ztf"}
    assert [tile.start for tile in found] == sorted(tile.start for tile in found)
    # A kilonova at 60 Mpc is bright: most of the map is up and shown.
    assert 0.5 < sum(tile.new_probability for tile in found) <= 0.951
    assert "Tiles of decam, ztf compete with the targets." in note(ctx)


def test_a_plan_is_the_same_when_it_is_made_again(store: Database, tmp_path: Path) -> None:
    ctx = context(store, tmp_path)
    announce(ctx)
    before = tiles(ctx)
    announce(ctx, number=100, alert_type="INITIAL", created=T0 + timedelta(minutes=9))
    assert tiles(ctx) == before
    # The second plan's bound begins at other prices than the first's; from then on all is the same.
    revision = newest(ctx).revision
    announce(ctx, number=200, alert_type="UPDATE", created=T0 + timedelta(minutes=12))
    assert newest(ctx).revision == revision


@pytest.mark.parametrize(
    ("settings", "alert", "words"),
    [
        ({"tiles": 0}, {}, "switched off (plan.tiles)"),
        ({"tile_field_deg2": 60.0}, {}, "no instrument asked has a field of 60 deg2"),
        ({}, {"radius": 0.3}, "smaller than a field: 0.28 deg2"),
        ({}, {"hours": 49.0}, "older than 48 h"),
    ],
)
def test_a_plan_without_tiles_says_why(
    store: Database,
    tmp_path: Path,
    settings: dict[str, Any],
    alert: dict[str, Any],
    words: str,
) -> None:
    ctx = context(store, tmp_path, **settings)
    announce(ctx, **alert)
    assert tiles(ctx) == ()
    assert "No tiles: " in note(ctx)
    assert words in note(ctx)


def test_a_tile_that_we_have_observed_is_not_asked_for_again(
    store: Database, tmp_path: Path
) -> None:
    ctx = context(store, tmp_path)
    announce(ctx)
    first = max(tiles(ctx), key=lambda tile: tile.new_probability)
    say(ctx, Verb.CLAIM, first.tile_id)
    claimed = {tile.tile_id: tile for tile in tiles(ctx)}
    # Made with 0.7, and then it shows the counterpart with `reach`.
    if first.tile_id in claimed:
        left = claimed[first.tile_id].score / first.score
        assert left == pytest.approx(1.0 - 0.7 * first.reach, abs=0.01)
    say(ctx, Verb.START, first.tile_id)
    say(ctx, Verb.COMPLETE, first.tile_id)
    done = {tile.tile_id: tile for tile in tiles(ctx)}
    # It is seen there with `reach`; what the image could have missed is left.
    left = done[first.tile_id].score / first.score if first.tile_id in done else 0.0
    assert left <= 1.0 - first.reach + 0.01
    with ctx.database.read() as session:
        row = claims.newest(session, EVENT)[first.tile_id][0]
        assert (row.state, row.instrument, row.band) == ("completed", first.instrument, first.band)


def test_what_was_never_asked_for_cannot_be_claimed(store: Database, tmp_path: Path) -> None:
    ctx = context(store, tmp_path)
    announce(ctx)
    with pytest.raises(UnknownRecord, match="no candidate"):
        say(ctx, Verb.CLAIM, "tile-decam-000.00+00.00")


def test_a_pointing_of_the_treasure_map_takes_its_field_off(
    store: Database, tmp_path: Path
) -> None:
    ctx = context(store, tmp_path)
    announce(ctx)
    before = sum(tile.score for tile in tiles(ctx))
    when = T0 + timedelta(minutes=30)
    pointing = {
        "id": 7, "ra": 150.0, "dec": -20.0, "field_radius_deg": 20.0, "instrumentid": 1,
        "instrument_name": "GOTO", "time": when.strftime("%Y-%m-%dT%H:%M:%S"),
        "status": "completed", "band": "r", "depth": 30.0, "depth_unit": "ab_mag",
    }  # fmt: skip
    send(ctx, [("treasuremap", json.dumps(pointing).encode())], first_offset=500)
    work(ctx)
    # Reported as completed, deep beyond doubt: 0.9 of everything is covered.
    assert sum(tile.score for tile in tiles(ctx)) < 0.11 * before


def test_page_api_command_and_files_show_them(
    store: Database, sqlite_url: str, tmp_path: Path
) -> None:
    ctx = context(store, tmp_path)
    announce(ctx)
    found = tiles(ctx)
    with TestClient(create_app(store, ctx.settings, list)) as client:
        answer = client.get(f"/api/v1/events/{EVENT}/plan").json()
        assert [tile["tile_id"] for tile in answer["tiles"]] == [t.tile_id for t in found]
        page = client.get(f"/events/{EVENT}").text
        assert all(tile.tile_id in page for tile in found)
        assert 'class="field" d="M' in page
        table = client.get("/export/tiles.csv", params={"event": EVENT})
        rows = list(csv.DictReader(io.StringIO(table.text)))
        assert [float(row["probability"]) for row in rows] == [t.probability for t in found]
        assert [row["start"] for row in rows] == [t.start.isoformat() for t in found]
        assert client.get("/export/tiles.vot", params={"event": EVENT}).status_code == 200
    with ctx.database.read() as session:
        document = plan_document(session, EVENT)
    assert [tile["reason"] for tile in document["tiles"]] == [t.reason for t in found]
    told = CliRunner().invoke(app, ["plan", EVENT, "--db", sqlite_url])
    assert told.exit_code == 0, told.output
    assert found[0].tile_id in told.stdout


def test_a_page_without_tiles_says_why(store: Database, tmp_path: Path) -> None:
    ctx = context(store, tmp_path, tiles=0)
    announce(ctx)
    with TestClient(create_app(store, ctx.settings, list)) as client:
        page = client.get(f"/events/{EVENT}").text
    assert "No tiles: they are switched off (plan.tiles)." in page


def test_a_claimed_tile_becomes_a_pointing_and_is_told_once(
    store: Database, tmp_path: Path
) -> None:
    """At a Treasure Map that stores: planned, then completed; another one planned, then not."""
    service = FakeMap()
    table = {
        "token": "tm-t0ken", "groups": ["ourgroup"], "instruments": ["decam=38", "ztf=47"],
        "practice": True,
    }  # fmt: skip
    sink = treasuremap.build("map", table, httpx.Client(transport=httpx.MockTransport(service)))
    ctx = dataclasses.replace(context(store, tmp_path), sinks={"map": sink})
    announce(ctx)
    assert payloads(ctx, EVENT, "map") == []
    assert service.stored == []
    first, other, *_ = tiles(ctx)
    say(ctx, Verb.CLAIM, first.tile_id)
    (shown,) = payloads(ctx, EVENT, "map")
    (there,) = service.stored
    assert shown["graceid"] == there["graceid"] == "TEST_EVENT"
    assert there["position"] == f"POINT ({first.ra_deg} {first.dec_deg})"
    assert there["instrumentid"] == {"decam": 38, "ztf": 47}[first.instrument]
    assert (there["status"], there["band"]) == ("planned", first.band)
    say(ctx, Verb.CLAIM, other.tile_id)
    say(ctx, Verb.RELEASE, other.tile_id)
    assert service.statuses() == ["planned", "cancelled"]
    say(ctx, Verb.START, first.tile_id)
    say(ctx, Verb.COMPLETE, first.tile_id)
    assert service.statuses() == ["cancelled", "cancelled", "completed"]
    announce(ctx, number=100, alert_type="INITIAL", created=T0 + timedelta(minutes=9))
    assert service.statuses() == ["cancelled", "cancelled", "completed"]


def test_fields_to_search_are_told_before_there_is_a_candidate(
    store: Database, tmp_path: Path
) -> None:
    channel = FakeSlack()
    client = httpx.Client(transport=httpx.MockTransport(channel))
    sinks = {
        "folder": file.build("folder", {"folder": str(tmp_path / "f"), "practice": True}, client),
        "gcn": gcn_circular.build("gcn", {"practice": True}, client),
        "slack": slack.build("slack", {"webhook": WEBHOOK, "practice": True}, client),
    }
    ctx = dataclasses.replace(context(store, tmp_path), sinks=sinks)
    announce(ctx)
    (message,) = channel.posted
    assert f"{len(tiles(ctx))} tiles of wide cameras: " in json.dumps(message)
    with ctx.database.read() as session:
        assert {row.sink for row in session.execute(select(DeliveryRow)).scalars()} == {"slack"}
    assert len(payloads(ctx, EVENT, "slack")) == 1
    assert payloads(ctx, EVENT, "gcn") == payloads(ctx, EVENT, "folder") == []


def test_a_retraction_cancels_what_is_planned(store: Database, tmp_path: Path) -> None:
    service = FakeMap()
    table = {
        "token": "tm-t0ken", "groups": ["ourgroup"], "instruments": ["decam=38", "ztf=47"],
        "practice": True,
    }  # fmt: skip
    sink = treasuremap.build("map", table, httpx.Client(transport=httpx.MockTransport(service)))
    ctx = dataclasses.replace(context(store, tmp_path), sinks={"map": sink})
    announce(ctx)
    say(ctx, Verb.CLAIM, tiles(ctx)[0].tile_id)
    notice = lvk_notice(EVENT, "RETRACTION", created=T0 + timedelta(minutes=30))
    send(ctx, [("igwn", notice)], first_offset=300)
    work(ctx)
    assert service.statuses() == ["cancelled"]
    assert tiles(ctx) == ()


def test_two_events_do_not_meet_on_a_camera(store: Database, tmp_path: Path) -> None:
    ctx = context(store, tmp_path)
    announce(ctx)
    fits = skymaps.to_fits_bytes(gaussian_map(ra_deg=153.0))
    send(ctx, [("igwn", lvk_notice("MS260301b", skymap=fits))], first_offset=900)
    work(ctx)
    cameras = {camera.id: camera for camera in ctx.catalogue.select(WIDE)}
    asked = []
    with ctx.database.read() as session:
        for event_id in (EVENT, "MS260301b"):
            found = newest_tiles(session, event_id)
            assert found
            asked.append([booking_of(tile, tile.score, event_id, cameras) for tile in found])
    ours, theirs = ([one for one in some if one is not None] for some in asked)
    assert meeting(ours, theirs) == []
