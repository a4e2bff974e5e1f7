"""A replayed night ends in a real TOM, seen through the TOM's own REST interface."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import skymaps
from tests.making import T0, candidate_row, csv_of, gaussian_map, lvk_notice, photometry_row
from tests.tom_server import TomServer, extras
from tests.typed import typed

pytestmark = [pytest.mark.tom, pytest.mark.slow, pytest.mark.timeout(600)]

EVENT = "MS260301tom"
TARGETS = {f"{EVENT}-{n}": (149.0 + n, -20.0) for n in range(3)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small night: one event, three candidates that do not fade (nothing to infer)."""
    folder = tmp_path_factory.mktemp("tom-night")
    fits = skymaps.to_fits_bytes(gaussian_map())
    (folder / "initial.json").write_bytes(lvk_notice(EVENT, "INITIAL", skymap=fits))
    (folder / "candidates.csv").write_text(
        csv_of([candidate_row(name, ra, dec) for name, (ra, dec) in TARGETS.items()])
    )
    points = [
        photometry_row(name, day, band, 19.0, 0.05)
        for name in TARGETS
        for day in (0.5, 5.5)
        for band in ("lsst:g", "lsst:r")
    ]
    (folder / "photometry.csv").write_text(csv_of(points))
    return folder


def replay(tom: TomServer, store: Path, *paths: Path) -> dict[str, Any]:
    config = store.with_suffix(".toml")
    config.write_text(
        f"""
        [sinks.our-tom]
        kind = "tom"
        practice = true
        options = {{ url = "{tom.url}", token_env = "TEST_TOM_TOKEN", groups = ["mmcoord"] }}

        [sinks.production-tom]
        kind = "tom"
        practice = false
        options = {{ url = "{tom.url}", token_env = "TEST_TOM_TOKEN", groups = ["mmcoord"] }}
        """
    )
    done = typed("replay", "--config", str(config), "--db", str(store), "--json", *map(str, paths))
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def ours(tom: TomServer) -> dict[str, dict[str, Any]]:
    return {t["name"]: t for t in tom.targets() if t["name"] in TARGETS}


def test_targets_ranks_and_lists_arrive_and_a_retraction_takes_them_back(
    tom: TomServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_TOM_TOKEN", tom.bot.token)
    store = tmp_path / "night.db"
    night = replay(tom, store, folder)
    deliveries = night["deliveries"]
    assert deliveries["sent"] >= len(TARGETS)
    assert deliveries["failed"] == deliveries["pending"] == 0
    assert deliveries["refused"] >= 1  # the production sink took no mock event
    # The TOM shows what the plan says, to the members of the group and to nobody else.
    ranks = {row["candidate"]: str(row["rank"]) for row in night["events"][0]["plan"]}
    held = ours(tom)
    assert {name: extras(t)["mmcoord_rank"] for name, t in held.items()} == ranks
    assert {name: (t["ra"], t["dec"]) for name, t in held.items()} == TARGETS
    assert tom.members(EVENT) >= set(TARGETS)
    assert set(TARGETS) <= {t["name"] for t in tom.targets(tom.observer)}
    assert not set(TARGETS) & {t["name"] for t in tom.targets(tom.outsider)}
    # Again: nothing new, there or here.
    assert replay(tom, store, folder)["deliveries"] == deliveries
    assert len(ours(tom)) == len(TARGETS)
    # The retraction.
    retraction = tmp_path / "retraction.json"
    retraction.write_bytes(lvk_notice(EVENT, "RETRACTION", T0 + timedelta(hours=2)))
    after = replay(tom, store, retraction)
    assert after["events"][0]["state"] == "retracted"
    assert after["deliveries"]["sent"] == 0
    assert {extras(t)["mmcoord_state"] for t in ours(tom).values()} == {"retracted"}
    assert tom.members(f"{EVENT} retracted") == set(TARGETS)
