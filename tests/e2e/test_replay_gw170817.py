"""The real input of the main job: GW170817's map and AT2017gfo among 4,305 other candidates."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.shared import shared

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def replay(*paths: Path, db: Path) -> dict[str, Any]:
    """``mmcoord replay`` as a user types it."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mmcoord.cli",
            "replay",
            *map(str, paths),
            "--db",
            str(db),
            "--json",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gw170817") / "night.db"


@pytest.fixture(scope="module")
def night(store: Path) -> dict[str, Any]:
    return replay(shared("scenarios/gw170817"), db=store)


def test_the_localization_is_gw170817s(night: dict[str, Any]) -> None:
    """GCN 21513: 90 % area 31 deg2, distance 40 +- 8 Mpc."""
    (event,) = night["events"]
    assert (event["id"], event["state"], event["alerts"]) == ("MS181101ab", "active", 3)
    assert event["area_90_deg2"] == pytest.approx(31.0, rel=0.01)
    assert event["distance_mpc"] == pytest.approx(39.8, abs=0.05)
    assert event["distance_std_mpc"] == pytest.approx(8.3, abs=0.05)


def test_at2017gfo_is_ranked_first_with_a_sensible_ejecta_mass(night: dict[str, Any]) -> None:
    """Villar et al. 2017: 0.078 Msun in all; other models of the same data 0.05 to 0.09."""
    first = night["events"][0]["plan"][0]
    assert (first["rank"], first["candidate"]) == (1, "AT2017gfo")
    assert first["credible_level_2d"] == pytest.approx(0.556, abs=0.005)
    assert first["p_kilonova"] > 0.9
    assert first["run_key"]
    assert 0.05 < first["ejecta_mass_total_msun"] < 0.12


def test_no_other_real_transient_is_taken_for_a_kilonova(night: dict[str, Any]) -> None:
    """Placed at positions and times where they could be one, some may stay undecided."""
    others = [row for row in night["events"][0]["plan"] if row["candidate"].startswith("ZTF")]
    assert others
    assert all(row["p_kilonova"] < 0.9 for row in others)


def test_nothing_is_lost_and_each_data_set_is_inferred_once(
    night: dict[str, Any], store: Path
) -> None:
    import sqlite3

    assert night["dead_letters"] == 0
    assert night["ledger_balanced"]
    with sqlite3.connect(store) as connection:
        objects, runs = connection.execute(
            "SELECT count(DISTINCT object_id), count(*) FROM run WHERE state = 'done'"
        ).fetchone()
    assert runs == objects == night["runs"]["executed"]


def test_mock_notices_reach_practice_sinks_only(night: dict[str, Any]) -> None:
    assert night["deliveries"]["sent"] > 0
    assert night["deliveries"]["failed"] == night["deliveries"]["pending"] == 0


def test_the_same_replay_again_changes_nothing(night: dict[str, Any], store: Path) -> None:
    again = replay(shared("scenarios/gw170817"), db=store)
    assert again == night


def test_a_retraction_withdraws_what_was_posted(night: dict[str, Any], store: Path) -> None:
    """Runs last in this module: it changes the store."""
    after = replay(shared("gw/MS181101ab-retraction.json"), db=store)
    (event,) = after["events"]
    assert (event["state"], event["plan"]) == ("retracted", [])
    assert after["deliveries"]["sent"] == 0
    assert after["deliveries"]["withdrawn"] == night["deliveries"]["sent"]
    states = {
        json.loads(path.read_text())["state"] for path in Path(f"{store}.outbox").glob("*.json")
    }
    assert states == {"withdrawn"}
