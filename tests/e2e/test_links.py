"""Links in notices, through the daemon and with real files."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

import skymaps
from mmcoord import fetching
from mmcoord.stages import fetch, intake
from mmcoord.store.tables import DeadLetterRow, EventRow, JournalRow, LocalizationRow
from tests.linkserver import HOST, POLICY, running
from tests.listeners.conftest import until
from tests.making import T0, lvk_notice, make_context, send
from tests.shared import shared
from tests.stores import migrated


def notice_with(link: str) -> bytes:
    return json.dumps(
        {
            "mission": "Fermi", "instrument": "GBM", "id": ["1"], "messenger": "EM",
            "trigger_time": "2026-03-01T02:30:00Z", "alert_datetime": "2026-03-01T02:31:00Z",
            "alert_tense": "current", "ra": 150.0, "dec": -20.0, "ra_dec_error": 8.0,
            "healpix_url": link,
        }
    ).encode()  # fmt: skip


def test_the_daemon_looks_at_links_and_refuses_the_hostile_one(
    sqlite_url: str, tmp_path: Path
) -> None:
    """The link leads to where clouds keep credentials; nothing is asked there."""
    database = migrated(sqlite_url)
    ctx = make_context(database, tmp_path / "out", clock="wall")
    send(ctx, [("gcn_unified", notice_with("http://169.254.169.254/latest/meta-data/"))])
    config = tmp_path / "mmcoord.toml"
    config.write_text(
        f'data_dir = "{tmp_path}"\ndatabase_url = "{sqlite_url}"\n[infer]\nworkers = 1\n'
        "[web]\nport = 0\n"
    )
    log = (tmp_path / "log").open("w")
    daemon = subprocess.Popen(
        [sys.executable, "-m", "mmcoord.cli", "serve", "--config", str(config)],
        stdout=log, stderr=log,
    )  # fmt: skip

    def dead_letters() -> list[DeadLetterRow]:
        with database.read() as session:
            return list(session.execute(select(DeadLetterRow)).scalars())

    try:
        until(lambda: bool(dead_letters()), seconds=120.0)
    finally:
        daemon.terminate()
        daemon.wait(60)
        log.close()
    (letter,) = dead_letters()
    assert letter.stage == "fetch"
    assert "169.254.169.254" in letter.reason
    with database.read() as session:
        event = session.execute(select(EventRow)).scalar_one()
        assert event.localization_id is not None  # the circle
        story = session.execute(
            select(JournalRow.stage).where(JournalRow.event_id == event.event_id)
        ).scalars()
        assert "fetch" in set(story)
    database.close()


@pytest.mark.parametrize(
    "name", ["gw/glg_healpix_all_bn180116026.fit", "gw/GRB220617A_IPN_map_hpx.fits.gz"]
)
def test_real_map_files_behind_a_link_take_the_place_of_the_circle(
    sqlite_url: str, tmp_path: Path, name: str
) -> None:
    content = shared(name).read_bytes()
    database = migrated(sqlite_url)
    time = [T0 + timedelta(hours=1)]
    ctx = replace(make_context(database, tmp_path / "out", clock="wall"), now=lambda: time[0])
    with running() as server:

        def get(url: str) -> bytes:
            return fetching.fetch(url, POLICY, server.network())

        send(ctx, [("gcn_unified", notice_with(f"http://{HOST}/map"))])
        while intake.run(ctx) or fetch.run(ctx, get):
            pass
        with database.read() as session:
            circle = session.execute(select(EventRow.localization_id)).scalar_one()
        server.answers["/map"] = content
        time[0] += timedelta(seconds=90)  # as Fermi's maps do
        while intake.run(ctx) or fetch.run(ctx, get):
            pass
        assert [path for path, _ in server.seen] == ["/map", "/map"]
    skymap = skymaps.load(content)
    with database.read() as session:
        place = session.get(
            LocalizationRow, session.execute(select(EventRow.localization_id)).scalar_one()
        )
    assert place is not None
    assert place.id == skymap.content_id != circle
    assert place.fits == content
    database.close()


def test_lvk_notice_without_map_gets_the_file_that_gracedb_has(
    sqlite_url: str, tmp_path: Path
) -> None:
    """Burst names are tried after the CBC names, as long as files are missing."""
    content = shared("gw/MS220722v_bayestar.multiorder.fits").read_bytes()
    database = migrated(sqlite_url)
    ctx = make_context(database, tmp_path / "out", clock="wall")
    payload = lvk_notice("MS220722v").replace(b"//example.org", f"//{HOST}".encode())
    with running() as server:
        server.answers["/api/superevents/MS220722v/files/cwb.multiorder.fits"] = content
        send(ctx, [("igwn", payload)])
        intake.run(ctx)
        fetch.run(ctx, lambda url: fetching.fetch(url, POLICY, server.network()))
        intake.run(ctx)
        assert len(server.seen) == 3
    with database.read() as session:
        event = session.execute(select(EventRow)).scalar_one()
    assert event.localization_id == skymaps.load(content).content_id
    database.close()
