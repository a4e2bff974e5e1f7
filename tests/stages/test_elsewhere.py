"""Pointings of others and host galaxies reach the plan, with their sentences."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mmcoord import galaxies
from mmcoord.stages.context import Context
from mmcoord.store.reading import newest_plan
from tests.followup.test_hosts import glade_line
from tests.making import make_context
from tests.stages.test_known import EVENT, NIGHT, plan, take
from tests.stores import migrated


@pytest.fixture
def ctx(sqlite_url: str, tmp_path: Path) -> Context:
    database = migrated(sqlite_url)
    found = make_context(database, tmp_path)
    settings = dataclasses.replace(found.settings, data_dir=str(tmp_path / "data"))
    return dataclasses.replace(found, settings=settings)


def pointing(ctx: Context, number: int, ra: float, status: str) -> tuple[str, bytes]:
    """A deep r-band pointing at the time for which the plan is made."""
    with ctx.database.read() as session:
        newest = newest_plan(session, EVENT)
        assert newest is not None
        when = newest.planned_for + timedelta(hours=6)
    document: dict[str, Any] = {
        "id": number,
        "ra": ra,
        "dec": -20.0,
        "field_radius_deg": 0.003,
        "instrumentid": 1,
        "instrument_name": "GOTO",
        "time": when.strftime("%Y-%m-%dT%H:%M:%S"),
        "status": status,
        "band": "r",
        "depth": 30.0,
        "depth_unit": "ab_mag",
    }
    return "treasuremap", json.dumps(document).encode()


def test_a_pointing_of_another_group_lowers_the_target_that_it_covers(ctx: Context) -> None:
    take(ctx, *NIGHT)
    before = plan(ctx)
    assert "elsewhere" not in before["ZTF26aaa"]["factors"]
    take(ctx, pointing(ctx, 1, 150.0, "completed"))
    after = plan(ctx)
    assert set(after) == set(before)
    covered, free = after["ZTF26aaa"], after["ZTF26bbb"]
    assert 0.0 < covered["factors"]["elsewhere"] < 1.0
    assert "GOTO has observed it in sdss:r" in covered["reasons"]["elsewhere"]
    assert covered["score"] < before["ZTF26aaa"]["score"]
    assert free["factors"]["elsewhere"] is None
    assert free["score"] == before["ZTF26bbb"]["score"]
    take(ctx, pointing(ctx, 1, 150.0, "cancelled"))
    assert plan(ctx)["ZTF26aaa"]["score"] == before["ZTF26aaa"]["score"]


def test_an_installed_catalogue_gives_the_host_factor(ctx: Context, tmp_path: Path) -> None:
    take(ctx, *NIGHT)
    assert "host" not in plan(ctx)["ZTF26aaa"]["factors"]
    table = tmp_path / "glade.txt"
    # 2 arcsec from the first candidate, at a hundred times the distance of the event's map.
    table.write_text(glade_line(**{"8": "150.0", "9": "-19.99944", "32": "900.0", "33": "30.0"}))
    galaxies.install(ctx.settings, "glade", file=table)
    take(ctx, pointing(ctx, 2, 10.0, "planned"))  # anything that asks for the plan
    rows = plan(ctx)
    assert rows["ZTF26aaa"]["factors"]["host"] < 0.1
    assert "NGC4993 (GLADE+)" in rows["ZTF26aaa"]["reasons"]["host"]
    assert rows["ZTF26bbb"]["factors"]["host"] is None
    assert rows["ZTF26bbb"]["rank"] == 1
