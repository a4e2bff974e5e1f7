"""Every real survey packet at hand, by ``mmcoord replay`` into the store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest

from listeners.brokers import lsst
from listeners.vetoes import NO_VETOES
from mmcoord.records import Candidate
from tests.e2e.test_replay_gw170817 import replay
from tests.shared import shared

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    place = tmp_path_factory.mktemp("packets") / "packets.db"
    folders = [shared("lsst"), shared("ztf")]
    packets = [path for folder in folders for path in sorted(Path(folder).glob("*.avro"))]
    summary = replay(*packets, db=place)
    assert summary["dead_letters"] == 0
    assert summary["ledger_balanced"]
    assert summary["ledger"]["intake"]["processed"] == len(packets) == 4
    connection = sqlite3.connect(place)
    yield connection
    connection.close()


def fink_alerts() -> dict[str, Any]:
    with shared("lsst/part-2-918301.avro").open("rb") as stream:
        return {str(a["diaSource"]["diaObjectId"]): a for a in fastavro.reader(stream)}


def test_every_packet_becomes_the_object_that_it_is_about(store: sqlite3.Connection) -> None:
    found = dict(store.execute("SELECT object_id, source FROM candidate"))
    assert found == {
        "7912941781254298": "lsst",
        "170028485706776685": "lsst",
        "313897383979122767": "lsst",
        "313893023095193658": "lsst",
        "314002971860926640": "lsst",
        "ZTF19acihgng": "ztf",
    }


def test_what_is_left_out_is_counted_by_its_rule(store: sqlite3.Connection) -> None:
    """Two asteroids, a star of 6.7 sigma of parallax, and a star-like PS1 source at 0.2"."""
    counters = {(source, name): n for source, name, n in store.execute("SELECT * FROM counter")}
    assert counters == {
        ("fink_lsst", "veto moving"): 2,
        ("fink_lsst", "veto star"): 1,
        ("ztf", "veto star"): 1,
    }
    (outcome,) = store.execute(
        "SELECT outcome FROM notice WHERE topic LIKE 'boom_2695378462115010012%'"
    ).fetchone()
    assert outcome.startswith("ZTF18abudxnw left out: star")


def test_positions_and_newest_fluxes_are_those_of_the_packets(store: sqlite3.Connection) -> None:
    alerts = fink_alerts()
    compared = 0
    for object_id, ra, dec in store.execute("SELECT object_id, ra_deg, dec_deg FROM candidate"):
        if object_id not in alerts:
            continue
        alert = alerts[object_id]
        assert (ra, dec) == (alert["diaObject"]["ra"], alert["diaObject"]["dec"])
        newest = alert["diaSource"]
        rows = store.execute(
            "SELECT band, mag_ab FROM detection WHERE object_id = ? AND obs_mjd_tai = ?",
            (object_id, newest["midpointMjdTai"]),
        ).fetchall()
        if newest["psfFlux"] > 3 * newest["psfFluxErr"]:
            ((band, mag),) = rows
            assert band == f"lsst:{newest['band']}"
            assert 10 ** ((31.4 - mag) / 2.5) == pytest.approx(newest["psfFlux"], rel=1e-9)
            compared += 1
    assert compared >= 3


def test_each_exposure_gives_one_point(store: sqlite3.Connection) -> None:
    for object_id, alert in fink_alerts().items():
        exposures = {
            (round(item["midpointMjdTai"], 6), item["band"])
            for key in ("prvDiaSources", "prvDiaForcedSources")
            for item in (*(alert[key] or ()), alert["diaSource"])
            if item["psfFlux"] > -3 * item["psfFluxErr"]
        }
        points = store.execute(
            "SELECT round(obs_mjd_tai, 6), band FROM detection WHERE object_id = ?", (object_id,)
        ).fetchall()
        assert len(points) == len(set(points))
        assert {(time, f"lsst:{band}") for time, band in exposures} >= set(points)


def test_the_table_of_test_data_holds_alerts_of_the_same_meaning() -> None:
    """A Parquet file is no packet and no source reads it; its rows are Fink's alerts."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra 'parquet' is not installed")
    rows = parquet.read_table(shared("lsst/rubin_test_data_10_0.parquet")).to_pylist()
    assert len(rows) == 27
    moving = 0
    for row in rows:
        source = row["diaSource"]
        vetoed = lsst.veto(row, lsst.evidence(row), NO_VETOES, "table")
        if source["ssObjectId"]:
            assert vetoed is not None
            assert vetoed.veto == "moving"
            moving += 1
            continue
        candidate, *points = lsst.records(row)
        assert isinstance(candidate, Candidate)
        assert candidate.object_id == str(source["diaObjectId"])
        assert candidate.ra_deg == row["diaObject"]["ra"]
        assert len(points) <= 1 + sum(
            len(row[key] or ()) for key in ("prvDiaSources", "prvDiaForcedSources")
        )
        json.dumps(dict(candidate.attributes), allow_nan=False)
    assert moving == 3
