from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from mmcoord.api.app import create_app
from mmcoord.config import Settings
from mmcoord.store.database import Database
from tests.web import sample


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An empty store and the sample store, made once and copied by the tests."""
    found = {}
    for name in ("empty", "filled"):
        folder = tmp_path_factory.mktemp(name)
        store = sample.open_store(folder)
        if name == "filled":
            sample.fill(store)
        store.close()
        found[name] = folder / sample.FILE
    return found


@pytest.fixture
def database(
    tmp_path: Path, made: dict[str, Path], request: pytest.FixtureRequest
) -> Iterator[Database]:
    """A store: empty, or with the sample event where the test asks for ``filled``."""
    kind = "filled" if "filled" in request.fixturenames else "empty"
    shutil.copy(made[kind], tmp_path / sample.FILE)
    store = sample.open_store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def filled(database: Database) -> Database:
    """The store with the sample event."""
    return database


@pytest.fixture
def client(database: Database) -> Iterator[TestClient]:
    """The application on ``database``, without any source."""
    with TestClient(create_app(database, Settings(), list)) as found:
        yield found
