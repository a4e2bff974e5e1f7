"""The whole daemon: a broker that is not there is told to the operators once, through kill -9."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.slow]
ROOT = Path(__file__).parents[2]
LISTENER = """
[listeners.away]
transport = "kafka"
source = "igwn"
topics = ["igwn.gwalert"]
group_id = "g"
options = { bootstrap_servers = "127.0.0.1:9" }
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def settings(folder: Path, port: int, listener: str) -> Path:
    path = folder / "mmcoord.toml"
    path.write_text(
        f"""
data_dir = {json.dumps(str(folder / "var"))}
operators = ["ops"]
[web]
port = {port}
[infer]
workers = 1
[watchdog]
every_s = 0.2
store_every_s = 0.2
unreachable_s = 1.0
clear_after_s = 0.5
off = ["disk"]
[sinks.ops]
kind = "file"
plans = false
options = {{ folder = {json.dumps(str(folder / "ops"))} }}
{listener}"""
    )
    return path


@contextmanager
def serving(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon, killed with -9 at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mmcoord.cli", "serve", "--config", str(config)],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)


def until(condition: Callable[[], Any], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@pytest.mark.long
def test_a_broker_that_is_away_is_told_once_through_kill_9(tmp_path: Path) -> None:
    port = free_port()
    ops = tmp_path / "ops"

    def told() -> list[str]:
        texts = [json.loads(path.read_text())["payload"]["text"] for path in ops.glob("*.json")]
        return sorted(text.splitlines()[0] for text in texts)

    def healthz() -> dict[str, Any]:
        try:
            return dict(httpx.get(f"http://127.0.0.1:{port}/healthz").json())
        except httpx.HTTPError:
            return {}

    config = settings(tmp_path, port, LISTENER)
    with serving(config):
        until(lambda: told() == ["PAGE unreachable away"])
        until(lambda: healthz().get("status") == "degraded")
        assert [alarm["key"] for alarm in healthz()["alarms"]] == ["unreachable away"]
        page = httpx.get(f"http://127.0.0.1:{port}/").text
        assert "unreachable away" in page
    with serving(config):
        until(lambda: healthz().get("alarms"))
        time.sleep(2.0)  # several looks
        assert [alarm["key"] for alarm in healthz()["alarms"]] == ["unreachable away"]
    assert len(told()) == 1
    with serving(settings(tmp_path, port, "")):
        until(lambda: len(told()) == 2)
        until(lambda: healthz().get("status") == "ok")
    assert told() == ["CLEARED unreachable away", "PAGE unreachable away"]
    listed = subprocess.run(
        [sys.executable, "-m", "mmcoord.cli", "alarms", "--all", "--json", "--config", str(config)],
        cwd=ROOT, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    (row,) = json.loads(listed.stdout)
    assert row["key"] == "unreachable away"
    assert row["cleared_at"] is not None
    assert row["told"]["ops"]["cleared"]["outcome"] == "sent"
