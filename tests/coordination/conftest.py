from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import skymaps
from mmcoord.api.app import create_app
from mmcoord.config import PlanSettings
from mmcoord.stages import intake, plan
from mmcoord.stages.context import Context
from mmcoord.stages.match import MatchStage
from mmcoord.store.database import Database
from tests.making import candidate_row, gaussian_map, lvk_notice, make_context, photometry_row, send
from tests.stores import migrated

EVENT = "MS260301abc"
TARGETS = {f"{EVENT}-{n}": (149.0 + n, -20.0) for n in range(3)}
ONE_CAMERA = PlanSettings(debounce_s=0.0, instruments=("ztf",))


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a practice event, three candidates and the first plan; made once.

    On SQLite alone: what is particular to PostgreSQL is tested with the store.
    """
    path = tmp_path_factory.mktemp("planned") / "mmcoord.db"
    database = migrated(f"sqlite:///{path}")
    ctx = make_context(database, path.parent / "out", plan=ONE_CAMERA)
    fits = skymaps.to_fits_bytes(gaussian_map())
    messages = [("igwn", lvk_notice(EVENT, "INITIAL", skymap=fits))]
    messages += [
        ("table_candidates", candidate_row(name, ra, dec)) for name, (ra, dec) in TARGETS.items()
    ]
    messages += [
        ("table_photometry", photometry_row(name, 0.5, "lsst:r", 19.0)) for name in TARGETS
    ]
    send(ctx, messages)
    intake.run(ctx)
    stage = MatchStage()
    while stage.run(ctx):
        pass
    while plan.run(ctx):
        pass
    database.close()
    return path


@pytest.fixture
def ctx(planned: Path, tmp_path: Path) -> Iterator[Context]:
    """A copy of that store."""
    shutil.copy(planned, tmp_path / "mmcoord.db")
    database = Database(f"sqlite:///{tmp_path / 'mmcoord.db'}")
    yield make_context(database, tmp_path / "out", plan=ONE_CAMERA)
    database.close()


@pytest.fixture
def client(ctx: Context) -> Iterator[TestClient]:
    """The application on that store."""
    app = create_app(ctx.database, ctx.settings, list)
    with TestClient(app, follow_redirects=False) as found:
        yield found
