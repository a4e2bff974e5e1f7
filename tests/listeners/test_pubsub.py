"""Pub/Sub: stored first, acknowledged after. Against Google's own emulator where it is
installed, and against a stand-in of the client's interface everywhere."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from listeners.pubsub import PubSubListener, PubSubSettings, subscriber
from listeners.settings import ListenerState
from mmcoord.errors import ConfigError
from mmcoord.records import Notice
from tests.listeners.web_service import Waits

SETTINGS = PubSubSettings("pg", "pittgoogle", "our-project", "lsst", pull_s=2.0)


@dataclass
class Message:
    data: bytes
    message_id: str
    publish_time: datetime = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


@dataclass
class Received:
    message: Message
    ack_id: str


@dataclass
class Answer:
    received_messages: list[Received]


class DeadlineExceeded(Exception):
    """Named as Google's, which is raised when no message comes in time."""


@dataclass
class StandIn:
    """The three calls of the client that are used; what is not acknowledged comes again."""

    waiting: list[Message]
    faults: list[Exception] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)

    def pull(self, *, request: dict[str, Any], retry: None, timeout: float) -> Answer:
        assert request["subscription"] == SETTINGS.path
        if self.faults:
            raise self.faults.pop()
        left = [m for m in self.waiting if m.message_id not in self.acknowledged]
        if not left:
            raise DeadlineExceeded
        return Answer([Received(m, m.message_id) for m in left[: request["max_messages"]]])

    def acknowledge(self, *, request: dict[str, Any], timeout: float) -> None:
        self.acknowledged += request["ack_ids"]

    def close(self) -> None:
        """Nothing to free."""


def run(client: StandIn, write: Any, stop: threading.Event) -> PubSubListener:
    found = PubSubListener(SETTINGS, lambda: client, write)
    found.run(stop)
    return found


def test_messages_are_acknowledged_only_after_they_are_stored() -> None:
    client = StandIn([Message(b"one", "1"), Message(b"two", "2")])
    stop = threading.Event()
    kept: list[Notice] = []

    def write(notices: Sequence[Notice]) -> None:
        assert client.acknowledged == []
        kept.extend(notices)
        stop.set()

    found = run(client, write, stop)
    assert [n.payload for n in kept] == [b"one", b"two"]
    assert client.acknowledged == ["1", "2"]
    assert kept[0].sent_at == datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
    assert {(n.broker, n.topic) for n in kept} == {("pubsub:our-project", "lsst")}
    assert found.status.received == 2


def test_while_the_store_is_down_nothing_is_acknowledged() -> None:
    client = StandIn([Message(b"one", "1")])

    def write(notices: Sequence[Notice]) -> None:
        raise OSError("disk full")

    found = run(client, write, Waits(3))
    assert client.acknowledged == []
    assert "disk full" in found.status.last_error


def test_what_comes_again_has_the_same_coordinates_and_what_is_new_has_not() -> None:
    found = PubSubListener(SETTINGS, lambda: None, lambda notices: None)
    one, again = (found._notice(Message(b"x", "1")) for _ in range(2))
    other = found._notice(Message(b"x", "2"))
    assert (one.topic, one.offset) == (again.topic, again.offset)
    assert one.offset != other.offset


def test_a_client_that_breaks_is_made_anew() -> None:
    client = StandIn([Message(b"one", "1")], faults=[RuntimeError("stream reset")])
    stop = threading.Event()
    states: list[ListenerState] = []
    found = PubSubListener(
        SETTINGS,
        lambda: client,
        lambda notices: stop.set(),
        lambda status: states.append(status.state),
    )
    found._delay = lambda attempt=None: 0.0  # type: ignore[method-assign, assignment]
    found.run(stop)
    assert client.acknowledged == ["1"]
    assert found.status.rebuilds == 1
    assert ListenerState.WAITING in states
    assert "stream reset" in found.status.last_error


@pytest.mark.parametrize("changes", [{"project": ""}, {"subscription": "a/b"}])
def test_names_are_demanded(changes: dict[str, str]) -> None:
    values = {"name": "pg", "source": "s", "project": "p", "subscription": "q"} | changes
    with pytest.raises(ConfigError, match=next(iter(changes))):
        PubSubSettings(**values)


def test_credentials_that_cannot_be_read_are_a_configuration_error(tmp_path: Path) -> None:
    pytest.importorskip("google.cloud.pubsub_v1")
    file = tmp_path / "key.json"
    file.write_text('{"private_key": "s3cret"}')
    with pytest.raises(ConfigError, match="no usable credentials") as caught:
        subscriber(str(file))
    assert "s3cret" not in str(caught.value)


# -- Google's emulator -------------------------------------------------------------------

_EMULATOR = Path("/usr/lib/google-cloud-sdk/platform/pubsub-emulator/bin/cloud-pubsub-emulator")


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    """A running emulator of Pub/Sub; its address in the variable that Google's client reads."""
    pytest.importorskip("google.cloud.pubsub_v1")
    if not _EMULATOR.exists() or shutil.which("java") is None:
        pytest.skip("Google's Pub/Sub emulator is not installed here")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [str(_EMULATOR), "--host=127.0.0.1", f"--port={port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    before = os.environ.get("PUBSUB_EMULATOR_HOST")
    os.environ["PUBSUB_EMULATOR_HOST"] = f"127.0.0.1:{port}"
    try:
        _until_open(port, process)
        yield f"127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)
        if before is None:
            del os.environ["PUBSUB_EMULATOR_HOST"]
        else:
            os.environ["PUBSUB_EMULATOR_HOST"] = before


def _until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.skip("Google's Pub/Sub emulator does not start here")


def test_googles_client_and_emulator_lose_and_double_nothing(emulator: str) -> None:
    from google.cloud import pubsub_v1

    project = SETTINGS.project
    publisher = pubsub_v1.PublisherClient()
    topic = f"projects/{project}/topics/lsst-alerts-json"
    publisher.create_topic(request={"name": topic})
    admin = subscriber()
    admin.create_subscription(
        request={"name": SETTINGS.path, "topic": topic, "ack_deadline_seconds": 10}
    )
    for number in range(50):
        publisher.publish(topic, f"alert {number}".encode()).result(timeout=30)

    kept: dict[int, bytes] = {}
    stop = threading.Event()
    fails = [True]

    def write(notices: Sequence[Notice]) -> None:
        if fails and fails.pop():
            raise OSError("the store is down for once")
        kept.update({notice.offset: notice.payload for notice in notices})
        if len(kept) >= 50:
            stop.set()

    watchdog = threading.Timer(60, stop.set)
    watchdog.start()
    try:
        found = PubSubListener(SETTINGS, subscriber, write)
        found.run(stop)
    finally:
        watchdog.cancel()
    assert sorted(kept.values()) == sorted(f"alert {n}".encode() for n in range(50))
    assert found.check() == f"{SETTINGS.path} of {topic}"
    assert list(found._pull(admin)) == []  # everything is acknowledged
    admin.close()
    publisher.transport.close()
