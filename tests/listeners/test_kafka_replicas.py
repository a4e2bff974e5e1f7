"""Whole processes on a real Kafka and the real store: one of two killed, the daemon stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer
from sqlalchemy import func, select

from mmcoord.store import queue
from mmcoord.store.database import Database
from mmcoord.store.tables import CandidateRow, NoticeRow
from tests.listeners.broker import Broker
from tests.listeners.conftest import until
from tests.making import candidate_row
from tests.stores import migrated

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


class Stream:
    """Sends candidates at a steady rate until it is stopped."""

    def __init__(self, broker: Broker, topic: str, partitions: int, rate_hz: float) -> None:
        self.sent = 0
        self._where = (topic, partitions, rate_hz)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._producer = Producer(
            {"bootstrap.servers": broker.address("plain"), "enable.idempotence": True}
        )

    def _run(self) -> None:
        topic, partitions, rate_hz = self._where
        while not self._stop.wait(1.0 / rate_hz):
            row = candidate_row(f"object-{self.sent:06d}", self.sent % 360, 0.0)
            self._producer.produce(topic, row, partition=self.sent % partitions)
            self.sent += 1

    @contextmanager
    def flowing(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()
            assert self._producer.flush(30) == 0


def places(database: Database) -> dict[int, list[int]]:
    """Partition -> offsets in the store, in order."""
    with database.read() as session:
        rows = session.execute(
            select(NoticeRow.partition, NoticeRow.offset).order_by(NoticeRow.offset)
        )
        found: dict[int, list[int]] = {}
        for partition, offset in rows:
            found.setdefault(partition, []).append(offset)
        return found


def stored(database: Database) -> int:
    with database.read() as session:
        return int(session.execute(select(func.count()).select_from(NoticeRow)).scalar_one())


def check_all_once(database: Database, sent: int) -> None:
    """No offset lacks, none is twice, no content is twice, and the ledger agrees."""
    for offsets in places(database).values():
        assert offsets == list(range(len(offsets)))
    with database.read() as session:
        rows, contents = session.execute(
            select(func.count(), func.count(func.distinct(NoticeRow.sha256)))
        ).one()
        intake = queue.balance(session)[0]
    assert (rows, contents) == (sent, sent)
    assert (intake.received, intake.lost) == (sent, 0)


REPLICA = """
import signal, sys, threading
from pathlib import Path
import httpx
from mmcoord.config import ListenerSettings, Settings
from mmcoord.stages import intake
from mmcoord.opening import open_database
from mmcoord.wiring import build_context, build_listener

servers, topic, url, tally = sys.argv[1:]
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
ctx = build_context(Settings(database_url=url), open_database(Settings(database_url=url)),
                    httpx.Client())
listener = build_listener(
    ctx, "replica",
    ListenerSettings("kafka", "table_candidates", (topic,), f"group-{topic}",
                     {"bootstrap_servers": servers, "broker": "real",
                      "config": {"group.protocol": "consumer"}}),
    lambda status: None,
)
write = listener._write
def counting(notices):
    write(notices)
    with open(tally, "a") as file:
        file.writelines(f"{n.partition}\\n" for n in notices)
listener._write = counting
listener.run(stop)
"""


def tally(path: Path) -> list[int]:
    """Partitions of what one replica has stored."""
    return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.mark.long
def test_one_of_two_replicas_is_killed_and_nothing_is_lost_or_doubled(
    broker, topic, database_url, tmp_path
):
    broker.create(topic, 4)
    database = migrated(database_url)
    tallies = [tmp_path / "one", tmp_path / "two"]
    stream = Stream(broker, topic, partitions=4, rate_hz=150.0)
    replicas = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                REPLICA,
                broker.address("plain"),
                topic,
                database_url,
                str(path),
            ],
            cwd=ROOT,
        )
        for path in tallies
    ]
    try:
        with stream.flowing():
            until(lambda: all(len(set(tally(path)[-20:])) >= 2 for path in tallies), 60)
            shared = [set(tally(path)[-20:]) for path in tallies]
            replicas[0].kill()
            replicas[0].wait(10)
            seen = len(tally(tallies[1]))
            until(lambda: set(tally(tallies[1])[seen:]) == {0, 1, 2, 3}, 60)
        until(lambda: stored(database) >= stream.sent, 60)
        replicas[1].terminate()
        assert replicas[1].wait(20) == 0
    finally:
        for replica in replicas:
            replica.kill()
            replica.wait()
    assert len(shared[0] | shared[1]) == 4
    check_all_once(database, stream.sent)
    database.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """Ours, without settings of mmcoord but those given."""
    return {k: v for k, v in os.environ.items() if not k.startswith("MMCOORD_")} | more


def test_sigterm_while_the_daemon_starts_ends_it_as_well(tmp_path):
    """The lock of the store is taken in the middle of starting, before the page is served."""
    command = [sys.executable, "-m", "mmcoord.cli", "serve", "--port", str(free_port())]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(MMCOORD_DATA_DIR=str(tmp_path)))
    try:
        until((tmp_path / "mmcoord.db.lock").exists, 180)
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 0
    finally:
        process.kill()
        process.wait()


CONFIG = """
data_dir = "{folder}"
[web]
port = {port}
[infer]
workers = 1
[listeners.candidates]
transport = "kafka"
source = "table_candidates"
topics = ["{topic}"]
group_id = "group-{topic}"
[listeners.candidates.options]
bootstrap_servers = "{servers}"
broker = "real"
[listeners.candidates.options.config]
"group.protocol" = "consumer"
"""


@pytest.mark.long
def test_sigterm_drains_the_daemon_and_a_restart_goes_on(broker, made_topic, tmp_path):
    config = tmp_path / "mmcoord.toml"
    config.write_text(
        CONFIG.format(
            folder=tmp_path, port=free_port(), topic=made_topic, servers=broker.address("plain")
        )
    )
    command = [sys.executable, "-m", "mmcoord.cli", "serve", "--config", str(config)]
    database = migrated(f"sqlite:///{tmp_path / 'mmcoord.db'}")
    stream = Stream(broker, made_topic, partitions=1, rate_hz=200.0)

    def life(enough: int) -> None:
        """Start the daemon, let it store so much, ask it to end, look at what it left."""
        process = subprocess.Popen(command, cwd=ROOT, env=environment())
        try:
            until(lambda: stored(database) >= enough or process.poll() is not None, 90)
            process.send_signal(signal.SIGTERM)
            asked = time.monotonic()
            assert process.wait(30) == 0
            assert time.monotonic() - asked < 15
        finally:
            process.kill()
            process.wait()
        offsets = places(database)[0]
        assert broker.committed(f"group-{made_topic}", made_topic) == {0: offsets[-1] + 1}
        assert offsets == list(range(len(offsets)))

    with stream.flowing():
        life(enough=200)
        after_first = stored(database)
        life(enough=after_first + 200)
    assert 200 <= after_first < stored(database) < stream.sent  # it ended in mid-stream, twice
    life(enough=stream.sent)
    check_all_once(database, stream.sent)
    with database.read() as session:
        candidates = session.execute(select(func.count()).select_from(CandidateRow)).scalar_one()
        waiting = queue.pending(session, queue.INTAKE)
    assert candidates + waiting == stream.sent
    database.close()
