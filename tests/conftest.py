"""Fixtures that every room's tests may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mmcoord.store.database import Database
from mmcoord.store.migrate import upgrade

pytest_plugins = [
    "tests.fixtures_postgres",
    "tests.fixtures_tom",
    "tests.inference.usermodels",
]


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of a store that does not exist yet."""
    return f"sqlite:///{tmp_path / 'store' / 'mmcoord.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """Both database systems, one after the other."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty store with its tables, on both database systems."""
    database = Database(database_url)
    upgrade(database)
    yield database
    database.close()
