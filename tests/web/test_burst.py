"""A neutrino burst's own view: who saw it, how long until light, what to do now."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from mmcoord.api.app import create_app
from mmcoord.config import Settings
from mmcoord.records import Notice
from mmcoord.stages import bursts, intake, plan
from mmcoord.store.tables import EventRow
from tests.making import make_context
from tests.stores import migrated
from tests.supernova.test_messages import alert

TIMES = {"Super-K": 0.012, "IceCube": 0.003, "JUNO": 0.0145}


def view(folder: Path, ago: timedelta) -> str:
    """The text of the event's page, so long after three detectors saw neutrinos."""
    database = migrated(f"sqlite:///{folder / 'bursts.db'}")
    ctx = make_context(database, folder / "out", clock="data")
    begun = datetime.now(UTC) - ago
    times = {name: (begun + timedelta(seconds=s)).isoformat() for name, s in TIMES.items()}
    sent = begun + timedelta(minutes=1)
    payload = alert(times, sent_time=sent.isoformat())
    intake.receive(ctx, [Notice("snews2", "test", "t", 0, 0, payload, ctx.now(), sent)])
    while intake.run(ctx) + bursts.run(ctx) + plan.run(ctx):
        pass
    with database.read() as session:
        event_id = session.execute(select(EventRow.event_id)).scalar_one()
    with TestClient(create_app(database, Settings(), list)) as client:
        answer = client.get(f"/events/{event_id}")
    database.close()
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.text))


def test_the_page_says_who_saw_it_and_what_to_do_now(tmp_path: Path) -> None:
    text = view(tmp_path, timedelta(hours=2))
    for name in TIMES:
        assert name in text
    assert "Now: every 30 min." in text
    left = re.search(r"Nothing seen until now leaves (.*? %)\.", text)
    assert left is not None
    chances = {
        name.strip(): float(share)
        for name, share in re.findall(r"([a-zA-Z ()-]+?) (\d+(?:\.\d+)?) %", left[1])
    }
    assert sum(chances.values()) == pytest.approx(100.0, abs=2.0)
    # Two hours without light: no stripped star (0.5 h at 95 %), the red supergiants remain.
    assert max(chances, key=lambda name: chances[name]) == "red supergiant"
    assert chances["Wolf-Rayet or stripped star"] < 1.0


def test_after_two_days_nobody_is_told_to_look_any_more(tmp_path: Path) -> None:
    assert "Now: every" not in view(tmp_path, timedelta(hours=49))
