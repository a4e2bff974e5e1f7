"""A worker elsewhere: real server and worker processes over TLS, killed and restarted mid-run."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
import trustme

from mmcoord.access import Scope
from mmcoord.errors import ConfigError, Refused
from mmcoord.inference.engine import run
from mmcoord.store.database import Database
from mmcoord.worker import Worker, WorkerSettings, token_of
from tests.api.conftest import make_token
from tests.inferring import MIDDLING, QUICK, ask, attempts_of, faults_of, of_model, run_of, wait_for
from tests.stores import migrated

pytestmark = pytest.mark.long


@dataclass
class Site:
    """The store, its server and the workers that come to it."""

    database: Database
    folder: Path
    port: int
    ca: trustme.CA
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def serve(self) -> subprocess.Popen[bytes]:
        """A server that answers."""
        store = self.database.url.render_as_string(False)
        certificate, key = self.folder / "server.pem", self.folder / "server.key"
        child = self._start(
            "-m", "tests.server_main", store, str(self.port), str(certificate), str(key)
        )
        wait_for(self._answers)
        return child

    def work(self) -> subprocess.Popen[bytes]:
        """A worker, as an operator starts it."""
        ca, token = self.folder / "ca.pem", self.folder / "token"
        options = [f"--url={self.url}", f"--ca-file={ca}", f"--token-file={token}", "--name=site-1"]
        return self._start("-m", "mmcoord.cli", "worker", *options)

    def _answers(self) -> bool:
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        try:
            httpx.get(f"{self.url}/api/v1/openapi.json", verify=context, timeout=10.0)
        except httpx.HTTPError:
            return False
        return True

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"child-{len(self.children)}.log").open("w")
        child = subprocess.Popen([sys.executable, *arguments], stdout=log, stderr=log)
        self.children.append(child)
        return child


@pytest.fixture
def site(sqlite_url: str, tmp_path: Path) -> Iterator[Site]:
    """On SQLite; ``tests/api/test_worker_routes.py`` asks the same routes on both."""
    database = migrated(sqlite_url)
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = ca.issue_cert("127.0.0.1")
    server.cert_chain_pems[0].write_to_path(str(tmp_path / "server.pem"))
    server.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    token = make_token(database, "site", Scope.WORKER)["Authorization"].removeprefix("Bearer ")
    (tmp_path / "token").write_text(token)
    (tmp_path / "token").chmod(0o600)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    found = Site(database, tmp_path, port, ca)
    yield found
    for child in found.children:
        child.kill()
        child.wait()
    database.close()


def has_it(site: Site, key: str) -> bool:
    return run_of(site.database, key).state == "running"


def is_done(site: Site, key: str) -> bool:
    return run_of(site.database, key).state == "done"


@pytest.mark.slow
def test_a_run_survives_the_worker_and_the_server(site: Site) -> None:
    """kill -9 of the worker in the middle of a run, then of the server, then SIGTERM."""
    server, worker = site.serve(), site.work()
    key = ask(site.database, MIDDLING, "us", "them")
    wait_for(lambda: has_it(site, key))
    worker.kill()
    worker.wait()
    worker = site.work()
    wait_for(lambda: len(attempts_of(site.database, key)) == 2)  # after 3 s without a heartbeat
    server.kill()
    server.wait()
    server = site.serve()
    wait_for(lambda: is_done(site, key))
    assert faults_of(site.database, [key]) == []
    lost, *_ = attempts_of(site.database, key)
    assert " site-1 " in lost.owner
    assert lost.outcome.startswith("LeaseExpired: nothing was heard of worker ")

    key = ask(site.database, replace(MIDDLING, seed=2))
    wait_for(lambda: has_it(site, key))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
    (attempt,) = attempts_of(site.database, key)
    row = run_of(site.database, key)
    assert (attempt.outcome, row.state, row.attempts) == ("given back", "queued", 0)


@pytest.mark.slow
@pytest.mark.usefixtures("sandbox_works")
def test_the_answer_is_the_engine_s_and_a_bad_model_is_named(
    site: Site,
) -> None:
    database = site.database
    site.serve()
    site.work()
    bad = ask(database, of_model("import socket\nsocket.socket()"))
    good = ask(database, QUICK)
    wait_for(lambda: is_done(site, good) and run_of(database, bad).state == "failed")
    assert run_of(database, good).samples == run(QUICK).samples
    assert "PermissionError" in str(run_of(database, bad).error)
    assert "worker site-1" in str(run_of(database, bad).error)


def worker_of(site: Site, **changes: str) -> Worker:
    token = (site.folder / "token").read_text()
    settings = WorkerSettings(site.url, token, 1, "w", str(site.folder / "ca.pem"))
    return Worker(replace(settings, **changes))  # type: ignore[arg-type]


def test_a_token_that_is_no_good_ends_the_worker_with_the_reason(site: Site) -> None:
    site.serve()
    with pytest.raises(Refused, match="no such token"):
        worker_of(site, token="mmc_nonsense").run()
    reader = make_token(site.database, "site", Scope.READ)["Authorization"].removeprefix("Bearer ")
    with pytest.raises(Refused, match="no scope 'worker'"):
        worker_of(site, token=reader).run()


def test_a_server_with_another_certificate_is_told_nothing(site: Site, tmp_path: Path) -> None:
    site.serve()
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        worker_of(site, ca_file=str(other))._leased()


def test_a_token_does_not_go_over_the_network_in_the_clear() -> None:
    with pytest.raises(ConfigError, match="in the clear"):
        WorkerSettings("http://mmcoord.example.org", "t")
    WorkerSettings("http://127.0.0.1:8765", "t")
    assert "secret" not in repr(WorkerSettings("https://mmcoord.example.org", "secret"))


def test_a_token_comes_from_a_file_that_is_ours_or_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("mmc_x\n")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="everybody can read"):
        token_of(file)
    file.chmod(0o600)
    assert token_of(file) == "mmc_x"
    assert token_of(None, {"MMCOORD_TOKEN": "mmc_y"}) == "mmc_y"
    with pytest.raises(ConfigError, match="a token is needed"):
        token_of(None, {})
    with pytest.raises(ConfigError, match="No such file"):
        token_of(tmp_path / "absent")
