"""The service in several processes on one PostgreSQL, and what it says to its manager."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select, text

import skymaps
from mmcoord import supervisor
from mmcoord.config import Settings
from mmcoord.daemon import serve
from mmcoord.errors import ConfigError
from mmcoord.roles import ALL, EXCLUSIVE, Role, roles_of
from mmcoord.store import queue
from mmcoord.store.database import Database
from mmcoord.store.tables import PlanRevisionRow
from tests.deploy.running import free_port, serving, until
from tests.making import candidate_row, gaussian_map, lvk_notice, make_context, send

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("listen", {Role.LISTEN}),
        ("stages, deliver", {Role.STAGES, Role.DELIVER}),
        ("listen,stages,deliver,page", ALL),
    ],
)
def test_roles_are_named_with_commas(text: str, found: set[Role]) -> None:
    assert roles_of(text) == found


@pytest.mark.parametrize("text", ["", ",", "listen,cook"])
def test_an_unknown_role_is_an_error_that_names_the_known_ones(text: str) -> None:
    with pytest.raises(ConfigError, match="listen, stages, deliver, page"):
        roles_of(text)


def test_roles_want_a_store_that_several_processes_can_share(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="PostgreSQL"):
        serve(Settings(data_dir=str(tmp_path)), roles=frozenset({Role.PAGE}))


@pytest.mark.postgres
def test_each_part_of_the_service_has_its_own_lock(postgres_url: str) -> None:
    one, other = Database(postgres_url), Database(postgres_url)
    with one.pipeline_lock([Role.STAGES]):
        with other.pipeline_lock([Role.LISTEN, Role.DELIVER]):
            third = Database(postgres_url)
            with pytest.raises(ConfigError, match="deliver"), third.pipeline_lock([Role.DELIVER]):
                pass
            third.close()
        with pytest.raises(ConfigError, match="stages"), other.pipeline_lock():
            pass
        # What it had got before it was refused is free again.
        with other.pipeline_lock([r for r in EXCLUSIVE if r is not Role.STAGES]):
            pass
    for database in (one, other):
        database.close()


@pytest.mark.postgres
def test_a_lock_that_the_server_has_forgotten_is_known_to_be_lost(postgres_url: str) -> None:
    database, other = Database(postgres_url), Database(postgres_url)
    with database.pipeline_lock([Role.STAGES]) as is_held:
        assert is_held()
        with other.engine.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks "
                    "WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
                )
            )
        assert not is_held()
        with other.pipeline_lock([Role.STAGES]) as is_theirs:
            assert is_theirs()
        assert not is_held()
    for one in (database, other):
        one.close()


@pytest.mark.postgres
def test_processes_that_write_the_same_wishes_in_another_order_take_turns(
    postgres_url: str,
) -> None:
    """Without turns PostgreSQL ends one of the two by a deadlock."""
    import threading

    from mmcoord.stages.context import utc_now
    from mmcoord.store.migrate import upgrade
    from mmcoord.store.queue import Wish

    shared = [Database(postgres_url, shared=True) for _ in range(2)]
    upgrade(shared[0])
    first, second = threading.Barrier(2), threading.Barrier(2, timeout=2.0)
    errors = []

    def write(database: Database, keys: str) -> None:
        first.wait()
        try:
            with database.write() as session:
                queue.enqueue(session, [Wish("match", keys[0], "")], utc_now())
                with contextlib.suppress(threading.BrokenBarrierError):
                    second.wait()  # where both could write, both hold their first row now
                queue.enqueue(session, [Wish("infer", keys[1], "")], utc_now())
                queue.enqueue(session, [Wish("match", keys[1], "")], utc_now())
        except Exception as error:
            errors.append(error)

    threads = [
        threading.Thread(target=write, args=pair) for pair in zip(shared, ("ab", "ba"), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with shared[0].snapshot() as session:
        balance = {line.stage: line for line in queue.balance(session)}
    for database in shared:
        database.close()
    assert errors == []
    assert (balance["match"].received, balance["match"].lost) == (4, 0)


def drain(manager: socket.socket) -> None:
    """Read what is there, and wait for nothing."""
    patience = manager.gettimeout()
    manager.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            manager.recv(100)
    manager.settimeout(patience)


def test_a_manager_that_does_not_read_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        for _ in range(5000):  # more than any queue of datagrams holds
            supervisor.tell("WATCHDOG=1")
        assert manager.recv(100) == b"WATCHDOG=1"
    supervisor.tell("STOPPING=1")  # nobody is there any more


@pytest.fixture
def config(tmp_path: Path, postgres_url: str) -> Path:
    path = tmp_path / "mmcoord.toml"
    path.write_text(
        f"""
data_dir = {json.dumps(str(tmp_path / "var"))}
database_url = {json.dumps(postgres_url)}
[infer]
workers = 1
screen_threshold = 2.0
debounce_s = 0.0
[plan]
debounce_s = 0.0
[sinks.folder]
kind = "file"
practice = true
[sinks.folder.options]
folder = {json.dumps(str(tmp_path / "out"))}
"""
    )
    return path


@pytest.mark.postgres
@pytest.mark.slow
def test_a_notice_goes_its_way_through_two_processes_that_tell_their_manager(
    config: Path, postgres_url: str, tmp_path: Path
) -> None:
    ports = {"listen,page": free_port(), "stages,deliver": free_port()}

    def get(roles: str, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{ports[roles]}{path}", timeout=20)

    def start(roles: str, **environment: str) -> AbstractContextManager[subprocess.Popen[str]]:
        return serving(
            "--config", str(config), "--roles", roles, "--port", str(ports[roles]), **environment
        )

    with ExitStack() as stack:
        manager = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(150)

        def hears(state: str) -> bool:
            return manager.recv(100).decode() == state

        showing = stack.enter_context(start("listen,page", NOTIFY_SOCKET=str(tmp_path / "notify")))
        until(lambda: hears("READY=1"))
        until(lambda: hears("WATCHDOG=1"))
        database = Database(postgres_url, shared=True)
        stack.callback(database.close)
        ctx = make_context(database, tmp_path / "unused")
        notice = lvk_notice("MS270304a", skymap=skymaps.to_fits_bytes(gaussian_map()))
        send(ctx, [("igwn", notice), ("table_candidates", candidate_row("SN27a", 150.0, -20.0))])
        assert get("listen,page", "/").status_code == 200
        with database.read() as session:  # nobody has the role that would serve it
            assert queue.pending(session, queue.INTAKE) == 2

        stack.enter_context(start("stages,deliver"))

        def is_served() -> bool:
            drain(manager)
            with database.snapshot() as session:
                lines = queue.balance(session)
                plans = session.execute(select(func.count()).select_from(PlanRevisionRow))
                return plans.scalar_one() > 0 and all(x.pending == x.lost == 0 for x in lines)

        until(is_served)
        with pytest.raises(ConfigError, match="stages"), database.pipeline_lock([Role.STAGES]):
            pass
        assert get("listen,page", "/healthz").json()["ledger_balanced"]
        assert get("stages,deliver", "/metrics").status_code == 200
        assert get("stages,deliver", "/").status_code == 404  # health and figures alone
        drain(manager)
        showing.send_signal(signal.SIGTERM)
        until(lambda: hears("STOPPING=1"))
        assert showing.wait(60) == 0
