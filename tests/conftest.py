"""Fixtures that every room's tests may use, and the watch that no test leaves this machine."""

from __future__ import annotations

import ipaddress
import socket
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import event
from sqlalchemy.pool import Pool

from mmcoord.store.database import Database
from tests.stores import migrated

pytest_plugins = [
    "tests.fixtures_postgres",
    "tests.fixtures_slurm",
    "tests.fixtures_tom",
    "tests.inference.usermodels",
]

# How fast a machine is says nothing about the code: no test fails because others use it, too.
settings.register_profile("mmcoord", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mmcoord")


@event.listens_for(Pool, "checkout")
def _without_waiting_for_the_disk(connection: Any, _record: Any, _proxy: Any) -> None:
    """No test pulls the plug: what is committed need not be on the disk, which costs 5 ms each."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")


_left: list[str] = []
"""Attempts of the running test to reach another machine."""


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: sees every connection that Python code makes, whatever library it is in."""
    if event == "socket.connect":
        address = arguments[1]
        if not isinstance(address, tuple):  # a Unix socket
            return
        if address[0] == "localhost" or _is_loopback(address[0]):
            return
    elif event == "socket.getaddrinfo":
        address = arguments[0]
        if address in (None, "", b"", "localhost", b"localhost", socket.gethostname()):
            return
        if _is_number(address.decode() if isinstance(address, bytes) else address):
            return
    else:
        return
    _left.append(f"{event} {address}")
    raise OSError(f"a test may not leave this machine: {event} {address}")


def _is_loopback(text: str) -> bool:
    return _is_number(text) and ipaddress.ip_address(text).is_loopback


def _is_number(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """Fails a test that tried to reach another machine, even where the code took it lightly."""
    _left.clear()
    yield
    assert not _left, _left


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
    if database_url.startswith("sqlite"):
        database = migrated(database_url)
    else:
        database = Database(database_url)  # a copy of one that has them
    yield database
    database.close()
