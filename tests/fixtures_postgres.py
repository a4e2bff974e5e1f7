"""A real PostgreSQL on loopback, started once per test session."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from tests.stores import migrated
from tests.system import missing


def _find(program: str) -> str | None:
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), reverse=True)
    return str(versions[0]) if versions else shutil.which(program)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _as_server(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root: Debian's package brings a user for it."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a server with an empty cluster: ``postgresql://.../``, without a database.

    It does not wait for the disk: these clusters need not outlive a crash of the machine.
    """
    with running_postgres("-c", "fsync=off", "-c", "full_page_writes=off") as url:
        yield url


@contextmanager
def running_postgres(*options: str) -> Iterator[str]:
    """The server behind the fixture, for benchmarks too."""
    initdb, postgres = _find("initdb"), _find("postgres")
    if initdb is None or postgres is None:
        missing("PostgreSQL's server programs (Debian: postgresql)")
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            missing("a system user 'postgres' to run the server as")
    folder = Path(tempfile.mkdtemp(prefix="mmcoord-pg-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        data, port = folder / "data", _free_port()
        subprocess.run(
            _as_server([initdb, "-D", str(data), "-U", "mmcoord", "-A", "trust", "-E", "UTF8"]),
            check=True,
            capture_output=True,
            cwd=folder,
        )
        server = subprocess.Popen(
            _as_server(
                [
                    postgres,
                    "-D",
                    str(data),
                    "-p",
                    str(port),
                    "-h",
                    "127.0.0.1",
                    "-k",
                    str(folder),
                    *options,
                ]
            ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
        try:
            url = f"postgresql+psycopg://mmcoord@127.0.0.1:{port}"
            _wait(url)
            yield url
        finally:
            server.send_signal(signal.SIGINT)  # "fast": does not wait for open connections
            server.wait(timeout=30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str) -> None:
    for _ in range(200):
        try:
            psycopg.connect(_admin(url)).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise RuntimeError("PostgreSQL did not come up within 20 s")


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """Name of a database with the store's tables, for copies."""
    with psycopg.connect(_admin(postgres_server), autocommit=True) as connection:
        connection.execute('CREATE DATABASE "with_tables"')
    migrated(f"{postgres_server}/with_tables").close()
    return "with_tables"


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest, postgres_server: str) -> Iterator[str]:
    """URL of a fresh database, dropped after the test; with tables where ``database`` is asked
    for, without them where a test makes them itself."""
    template = None
    if "database" in request.fixturenames:
        template = request.getfixturevalue("postgres_template")
    with fresh_database(postgres_server, template) as url:
        yield url


def _admin(server: str) -> str:
    return f"{server.replace('+psycopg', '')}/postgres"


@contextmanager
def fresh_database(server: str, template: str | None = None) -> Iterator[str]:
    """A database of its own on a server of :func:`running_postgres`."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    made = SQL("CREATE DATABASE {} TEMPLATE {}").format(
        Identifier(name), Identifier(template or "template1")
    )
    with psycopg.connect(_admin(server), autocommit=True) as connection:
        connection.execute(made)
    yield f"{server}/{name}"
    with psycopg.connect(_admin(server), autocommit=True) as connection:
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
