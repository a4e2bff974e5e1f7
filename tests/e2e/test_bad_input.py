"""Five kinds of bad input in one folder with good input: each is told, none stops the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

import skymaps
from mmcoord.store.database import Database
from mmcoord.store.tables import DeadLetterRow, EventRow, LocalizationRow
from tests.making import (
    T0,
    candidate_row,
    csv_of,
    gaussian_map,
    half_map_fits,
    lvk_notice,
    photometry_row,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    fits = skymaps.to_fits_bytes(gaussian_map())
    good = lvk_notice("MS260301a", skymap=fits)
    (folder / "good.json").write_bytes(good)
    (folder / "truncated.json").write_bytes(good[: len(good) // 2])
    (folder / "broken-map.json").write_bytes(lvk_notice("MS260301b", skymap=fits[:5000]))
    (folder / "half-map.json").write_bytes(
        lvk_notice("MS260301c", created=T0 + timedelta(minutes=9), skymap=half_map_fits())
    )
    (folder / "candidates.csv").write_text(
        csv_of([candidate_row("fine", 150.0, -20.0), candidate_row("far-out", 400.0, -20.0)])
    )
    (folder / "photometry.csv").write_text(
        csv_of(
            [
                photometry_row("fine", 0.5, "lsst:r", 20.0, 0.05),
                photometry_row("fine", 1.5, "lsst:r", 20.5, -0.05),
            ]
        )
    )
    return folder


def test_each_is_one_dead_letter_or_a_recorded_repair(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "bad.db"
    command = [sys.executable, "-m", "mmcoord.cli", "replay", str(folder), "--db", str(store)]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    database = Database(f"sqlite:///{store}")
    with database.read() as session:
        reasons = list(session.execute(select(DeadLetterRow.reason)).scalars())
        repairs = list(session.execute(select(LocalizationRow.repairs)).scalars())
        events = dict(session.execute(select(EventRow.event_id, EventRow.localization_id)).all())
    database.close()
    assert summary["dead_letters"] == len(reasons) == 4
    for what, where in (
        ("JSON", ""),  # the truncated notice
        ("truncated", "skymap"),  # the broken map
        ("400", "ra"),
        ("-0.05", "mag_err"),
    ):
        assert any(what in reason and where in reason for reason in reasons), (what, reasons)
    assert any("0.5" in repair for mended in repairs for repair in mended)
    # Everything that could be used was used.
    assert set(events) == {"MS260301a", "MS260301b", "MS260301c"}
    assert events["MS260301b"] is None
    assert summary["ledger_balanced"]
    good = next(event for event in summary["events"] if event["id"] == "MS260301a")
    assert [row["candidate"] for row in good["plan"]] == ["fine"]
