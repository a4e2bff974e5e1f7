"""The consumer loop against a Kafka of the test's own: nothing lost, whatever breaks."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import gcn_kafka
import hop
import pytest
from confluent_kafka import Consumer, TopicPartition
from hop.models import AvroBlob

from listeners import igwn
from listeners.connections import Connection, gcn, kafka, scimma
from listeners.kafka import KafkaListener
from listeners.settings import KafkaSettings, ListenerState
from mmcoord.errors import ConfigError
from mmcoord.records import Notice
from tests.listeners.broker import why_not
from tests.listeners.conftest import FAST, Cluster, Inbox, running, settings, until
from tests.listeners.notices import SCHEMA, notice

ROOT = Path(__file__).parents[2]


def numbered(first: int, last: int) -> list[bytes]:
    return [b"%d" % i for i in range(first, last)]


def listen(cluster: Cluster, inbox: Inbox, using: KafkaSettings, **more: object) -> KafkaListener:
    return KafkaListener(
        using,
        cluster.connection(),
        inbox.write,
        inbox.statuses.append,
        **more,  # type: ignore[arg-type]
    )


# --- the place is kept ----------------------------------------------------------------------


def test_restart_resumes_and_repeats_nothing(cluster, topic):
    first, second = Inbox(), Inbox()
    cluster.send(topic, *numbered(0, 10))
    with running(listen(cluster, first, settings(topic))):
        until(lambda: len(first.notices) == 10)
    cluster.send(topic, *numbered(10, 15))  # while nobody listens
    with running(listen(cluster, second, settings(topic))):
        until(lambda: len(second.notices) >= 5)
    assert first.payloads == numbered(0, 10)
    assert second.payloads == numbered(10, 15)
    assert first.places | second.places == {("mock", topic, 0, i) for i in range(15)}


def test_receipt_tells_when_it_was_sent(cluster, topic):
    inbox = Inbox()
    before = datetime.now(UTC)
    cluster.send(topic, b"a", timestamp=1_700_000_000_123)
    with running(listen(cluster, inbox, settings(topic))):
        until(lambda: bool(inbox.notices))
    (received,) = inbox.notices
    assert received.source == "igwn"
    assert received.sent_at == datetime(2023, 11, 14, 22, 13, 20, 123000, tzinfo=UTC)
    assert before <= received.received_at <= datetime.now(UTC)


def test_own_offsets_overrule_the_committed_ones(cluster, topic):
    """After the store went back to an older copy, the broker's memory is ahead of ours."""
    first, second = Inbox(), Inbox()
    cluster.send(topic, *numbered(0, 8))
    with running(listen(cluster, first, settings(topic))):
        until(lambda: len(first.notices) == 8)
    with running(listen(cluster, second, settings(topic), start_offsets=lambda: {(topic, 0): 3})):
        until(lambda: len(second.notices) >= 5)
    assert second.payloads == numbered(3, 8)


# --- the store fails ------------------------------------------------------------------------


def test_failing_store_loses_and_reorders_nothing(cluster, topic):
    inbox = Inbox()
    failures = iter([RuntimeError("disk full"), RuntimeError("still full")])

    def write(notices: Sequence[Notice]) -> None:
        for failure in failures:
            raise failure
        inbox.write(notices)

    cluster.send(topic, *numbered(0, 20))
    listener = KafkaListener(
        settings(topic, batch_size=5), cluster.connection(), write, inbox.statuses.append
    )
    with running(listener):
        until(lambda: len(inbox.notices) >= 20)
    assert inbox.payloads == numbered(0, 20)
    told = [status.last_error for status in inbox.statuses]
    assert "store: RuntimeError: disk full" in told
    assert ListenerState.STORE_DOWN in {status.state for status in inbox.statuses}
    assert listener.status.state is ListenerState.STOPPED


def test_nothing_is_committed_while_the_store_is_down(cluster, topic):
    def write(notices: Sequence[Notice]) -> None:
        raise OSError("no store")

    inbox = Inbox()
    cluster.send(topic, *numbered(0, 3))
    down = KafkaListener(settings(topic), cluster.connection(), write, inbox.statuses.append)
    with running(down):
        until(lambda: down.status.state is ListenerState.STORE_DOWN)
        cluster.send(topic, *numbered(3, 6))  # arrives meanwhile
        time.sleep(0.3)
    with running(listen(cluster, inbox, settings(topic))):
        until(lambda: len(inbox.notices) >= 6)
    assert inbox.payloads == numbered(0, 6)


CRASHING = """
import os, signal, sqlite3, sys, threading
from listeners.connections import kafka
from listeners.kafka import KafkaListener
from listeners.settings import KafkaSettings

servers, topic, path, crash_after = *sys.argv[1:4], int(sys.argv[4])
store = sqlite3.connect(path, check_same_thread=False)
stop = threading.Event()
seen = 0

def write(notices):
    global seen
    with store:
        for n in notices:
            store.execute("insert or ignore into inbox values (?, ?, ?)",
                          (n.partition, n.offset, n.payload))
            store.execute("insert into receipts values (?)", (n.offset,))
    seen += len(notices)
    if seen >= crash_after:
        os.kill(os.getpid(), signal.SIGKILL)   # stored, not yet committed to the broker
    if store.execute("select count(*) from inbox").fetchone()[0] == 40:
        stop.set()

KafkaListener(
    KafkaSettings("test", "igwn", (topic,), "crashing", batch_size=6, poll_s=0.05),
    kafka(servers, broker="mock", config={"session.timeout.ms": 6000}),
    write,
).run(stop)
"""


@pytest.mark.slow
@pytest.mark.skipif(not why_not(), reason="tested on a real Kafka instead")
def test_kill_9_between_write_and_commit_loses_nothing(cluster, topic, tmp_path):
    path = tmp_path / "inbox.db"
    with sqlite3.connect(path) as store:
        store.execute("create table inbox (part, offset, payload, primary key (part, offset))")
        store.execute("create table receipts (offset)")
    cluster.send(topic, *numbered(0, 40))
    ends = []
    for crash_after in (6, 12, 1000):
        command = [sys.executable, "-c", CRASHING, cluster.servers, topic, str(path)]
        done = subprocess.run([*command, str(crash_after)], cwd=ROOT, timeout=90, check=False)
        ends.append(done.returncode)
    assert ends == [-signal.SIGKILL] * 2 + [0]
    with sqlite3.connect(path) as store:
        stored = store.execute("select offset, payload from inbox order by offset").fetchall()
        (receipts,) = store.execute("select count(*) from receipts").fetchone()
    assert stored == [(i, b"%d" % i) for i in range(40)]
    assert receipts > 40  # something was indeed delivered again


# --- what comes is not judged ---------------------------------------------------------------


def test_poison_passes_through_untouched(cluster, topic):
    poison = [b"", b"\x00" * 10, b"Obj\x01rubbish", b"{", os.urandom(2000), b"x" * 4_000_000]
    inbox = Inbox()
    cluster.send(topic, *poison, None, b"after")
    with running(listen(cluster, inbox, settings(topic))):
        until(lambda: len(inbox.notices) == 8)
    assert inbox.payloads == [*poison, b"", b"after"]


def test_gcn_client_reads_the_notice(cluster, topic):
    """The client and its settings are those of GCN, but for the address and the login."""
    inbox = Inbox()
    plain = {"bootstrap.servers": cluster.servers, "security.protocol": "plaintext"}
    connection = gcn("id", "secret", config={**plain, **FAST})
    made: list[Consumer] = []

    def make(config: dict[str, object]) -> Consumer:
        made.append(connection.make({**config, "sasl.mechanisms": "PLAIN"}))
        return made[-1]

    payload = hop.models.JSONBlob(notice()).serialize()["content"]
    cluster.send(topic, payload)
    using = Connection(connection.broker, make, connection.config)
    with running(KafkaListener(settings(topic), using, inbox.write)):
        until(lambda: bool(inbox.notices))
    assert isinstance(made[0], gcn_kafka.Consumer)
    assert inbox.notices[0].broker == "kafka.gcn.nasa.gov"
    assert inbox.payloads == [payload]
    assert igwn.parse(payload)[0].event_id == "S270304ab"


def test_hop_publishes_and_we_read_the_same_alert(cluster, topic):
    """hop's own producer, as LVK uses it for SCiMMA; Avro in, the JSON notice's alert out."""
    made = notice()
    made["event"] = {**made["event"], "skymap": b"SIMPLE  = map"}
    inbox = Inbox()
    stream = hop.Stream(auth=False)
    cluster.send(topic, b"first")
    with stream.open(
        f"kafka://{cluster.servers}/{topic}", "w", automatic_offload=False
    ) as publisher:
        publisher.write(AvroBlob(made, schema=SCHEMA))
        publisher.write({"drill": True}, test=True)
        publisher.write({"drill": False})
    listener = listen(cluster, inbox, settings(topic))
    with running(listener):
        until(lambda: len(inbox.notices) == 3 and listener.status.skipped_tests == 1)
    avro = next(payload for payload in inbox.payloads if payload.startswith(b"Obj\x01"))
    (alert,) = igwn.parse(avro)
    assert alert.skymap_fits == b"SIMPLE  = map"
    assert b'{"drill": true}' not in inbox.payloads
    kept = Inbox()
    with running(listen(cluster, kept, settings(topic, keep_tests=True, group_id="keeps"))):
        until(lambda: len(kept.notices) == 4)
    assert b'{"drill": true}' in kept.payloads


# --- many partitions, many replicas, many messages ------------------------------------------


def test_two_replicas_share_and_one_takes_over(cluster, topic):
    """The mock cluster makes four partitions of a topic."""
    one, two = Inbox(), Inbox()
    for partition in range(4):
        cluster.send(topic, b"start", partition=partition)
    staying = listen(cluster, one, settings(topic, name="one"))
    with running(staying):
        until(lambda: len(one.notices) == 4)
        with running(listen(cluster, two, settings(topic, name="two"))):
            deadline = time.monotonic() + 30
            while not two.notices:
                assert time.monotonic() < deadline
                for partition in range(4):
                    cluster.send(topic, b"shared", partition=partition)
                time.sleep(0.2)
        sent = len(one.places | two.places)
        for partition in range(4):
            cluster.send(topic, b"last", partition=partition)
        until(lambda: one.payloads.count(b"last") == 4)
        until(lambda: len(one.places | two.places) >= sent)
    everything = one.places | two.places
    for partition in range(4):
        offsets = sorted(o for _, _, p, o in everything if p == partition)
        assert offsets == list(range(len(offsets)))


def test_batches_are_bounded(cluster, topic):
    inbox = Inbox()
    cluster.send(topic, *numbered(0, 95))
    with running(listen(cluster, inbox, settings(topic, batch_size=10))):
        until(lambda: len(inbox.notices) == 95)
    assert max(inbox.batches) <= 10
    large = Inbox()
    cluster.send(topic, *[b"x" * 10_000] * 50)
    limited = settings(topic, batch_bytes=25_000, group_id="bytes")
    with running(listen(cluster, large, limited)):
        until(lambda: len(large.notices) == 145)
    assert max(large.batches[-10:]) <= 3


def test_burst_is_committed_a_few_times_a_second(cluster, topic):
    commits: list[float] = []

    class Counting(KafkaListener):
        def _committed(self, error, partitions):
            assert error is None
            commits.append(time.monotonic())
            super()._committed(error, partitions)

    inbox, rest = Inbox(), Inbox()
    cluster.send(topic, *numbered(0, 3000))
    using = settings(topic, batch_size=5)
    begun = time.monotonic()
    with running(Counting(using, cluster.connection(), inbox.write)):
        until(lambda: len(inbox.notices) == 3000)
    assert len(inbox.batches) >= 600
    assert 1 <= len(commits) <= 3 + (time.monotonic() - begun) / 0.2
    cluster.send(topic, b"end")
    with running(listen(cluster, rest, settings(topic))):
        until(lambda: bool(rest.notices))
    assert rest.payloads == [b"end"]  # the last batches were committed as well


def test_repeated_fault_is_told_once(cluster):
    inbox = Inbox()
    listener = listen(cluster, inbox, settings("t"))
    for _ in range(100):
        listener._fault("the same")
    listener._fault("another")
    assert [status.last_error for status in inbox.statuses] == ["the same", "another"]


def test_full_inbox_pauses_and_room_goes_on(cluster, topic):
    inbox = Inbox()
    asked: list[float] = []
    room = threading.Event()
    room.set()

    def has_room() -> bool:
        asked.append(time.monotonic())
        return room.is_set()

    cluster.send(topic, *numbered(0, 3))
    with running(listen(cluster, inbox, settings(topic), has_room=has_room)) as listener:
        until(lambda: len(inbox.notices) == 3)
        room.clear()
        until(lambda: listener.status.state is ListenerState.PAUSED)
        cluster.send(topic, *numbered(3, 6))
        time.sleep(0.5)
        assert len(inbox.notices) == 3
        room.set()
        until(lambda: len(inbox.notices) == 6)
        assert listener.status.state is ListenerState.RUNNING
    assert inbox.payloads == numbered(0, 6)
    assert all(later - earlier >= 1.0 for earlier, later in pairwise(asked))


def test_listener_held_from_the_start_says_so_and_joins_its_group(cluster, topic):
    inbox = Inbox()
    room = threading.Event()
    cluster.send(topic, b"waits")
    assigned: list[str] = []

    class Noting(KafkaListener):
        def _assigned(self, consumer, partitions):
            super()._assigned(consumer, partitions)
            assigned.append(self.status.state)

    listener = Noting(
        settings(topic),
        cluster.connection(),
        inbox.write,
        inbox.statuses.append,
        has_room=room.is_set,
    )
    with running(listener):
        until(lambda: bool(assigned))
        assert assigned == [ListenerState.PAUSED]
        time.sleep(0.3)
        assert listener.status.state is ListenerState.PAUSED
        assert inbox.notices == []
        room.set()
        until(lambda: inbox.payloads == [b"waits"])
        assert listener.status.state is ListenerState.RUNNING


def test_store_that_cannot_be_asked_for_room_stops_nothing(cluster, topic):
    def has_room() -> bool:
        raise OSError("no store")

    inbox = Inbox()
    cluster.send(topic, *numbered(0, 3))
    with running(listen(cluster, inbox, settings(topic), has_room=has_room)) as listener:
        until(lambda: len(inbox.notices) == 3)
        assert listener.status.last_error == "store: OSError: no store"


# --- faults of the connection ---------------------------------------------------------------


def test_silence_rebuilds_the_client_and_repeats_nothing(cluster, topic):
    inbox = Inbox()
    cluster.send(topic, *numbered(0, 4))
    using = settings(topic, silence_s=1.5)  # longer than a busy machine takes to join a group
    with running(listen(cluster, inbox, using)) as listener:
        until(lambda: listener.status.rebuilds >= 2)
        cluster.send(topic, *numbered(4, 8))
        until(lambda: len(inbox.notices) >= 8, 60.0)
    assert inbox.payloads == numbered(0, 8)
    assert any("no message for" in status.last_error for status in inbox.statuses)


def test_heartbeats_keep_alive_and_are_not_stored(cluster, topic):
    inbox = Inbox()
    beat = f"beat-{topic}"
    cluster.send(beat, b"old")
    cluster.send(topic, b"notice")
    using = settings(topic, heartbeat_topic=beat, silence_s=2.0)
    with running(listen(cluster, inbox, using)) as listener:
        until(lambda: bool(inbox.notices))
        for _ in range(15):
            cluster.send(beat, b"beat")
            time.sleep(0.2)
        assert listener.status.rebuilds == 0
    assert inbox.payloads == [b"notice"]


def test_client_that_cannot_be_made_is_tried_again(cluster, topic):
    inbox = Inbox()
    good = cluster.connection()
    attempts: list[float] = []

    def make(config: dict[str, object]) -> Consumer:
        attempts.append(time.monotonic())
        if len(attempts) < 3:
            raise OSError("no route to host")
        return good.make(config)

    cluster.send(topic, b"a")
    using = Connection("mock", make, good.config)
    listener = KafkaListener(settings(topic), using, inbox.write, inbox.statuses.append)
    with running(listener):
        until(lambda: bool(inbox.notices))
    assert len(attempts) == 3
    assert listener.status.rebuilds == 2
    assert listener.status.last_error == "OSError: no route to host"


def test_unreachable_broker_is_reported_and_stopping_is_prompt(caplog, capfd):
    inbox = Inbox()
    listener = KafkaListener(
        settings("t"), kafka("127.0.0.1:9", broker="nobody"), inbox.write, inbox.statuses.append
    )
    with running(listener):
        until(lambda: "127.0.0.1:9" in listener.status.last_error)
        until(lambda: listener.status.state is ListenerState.UNREACHABLE)
        begun = time.monotonic()
    assert time.monotonic() - begun < 20
    assert inbox.notices == []
    assert "127.0.0.1:9" in caplog.text
    assert "127.0.0.1:9" not in capfd.readouterr().err  # librdkafka's default is stderr


def test_failing_watcher_does_not_stop_the_listener(cluster, topic):
    def watch(status: object) -> None:
        raise RuntimeError("the page is down")

    inbox = Inbox()
    cluster.send(topic, *numbered(0, 3))
    listener = KafkaListener(settings(topic), cluster.connection(), inbox.write, watch)
    with running(listener):
        until(lambda: len(inbox.notices) == 3)
    assert listener.status.state is ListenerState.STOPPED


def test_backoff_grows_to_its_limit_with_jitter(cluster):
    listener = KafkaListener(
        settings("t", backoff_s=1.0, backoff_max_s=30.0), cluster.connection(), Inbox().write
    )
    delays = [listener._delay() for _ in range(40)]
    for attempt, delay in enumerate(delays):
        longest = min(2.0**attempt, 30.0)
        assert longest / 2 <= delay <= longest
    assert len(set(delays)) > 30


# --- where to start -------------------------------------------------------------------------


class FixedTimes:
    """A client that knows committed offsets and offsets by time; the mock broker does not."""

    def __init__(self, committed: dict[int, int], by_time: dict[int, int]) -> None:
        self.by_partition = {"committed": committed, "times": by_time}
        self.started: dict[int, int] = {}

    def committed(self, partitions, timeout):
        known = self.by_partition["committed"]
        return [TopicPartition(p.topic, p.partition, known[p.partition]) for p in partitions]

    def offsets_for_times(self, partitions, timeout):
        known = self.by_partition["times"]
        return [TopicPartition(p.topic, p.partition, known[p.partition]) for p in partitions]

    def get_watermark_offsets(self, partition, timeout, cached):
        return 0, 1000

    def incremental_assign(self, partitions):
        self.started = {p.partition: p.offset for p in partitions}


NONE, END = -1001, -1  # librdkafka's OFFSET_INVALID and OFFSET_END


@pytest.mark.parametrize(
    ("committed", "by_time", "own", "expected"),
    [
        (50, 20, None, 20),  # rewinds behind the committed place
        (10, 20, None, 10),  # never jumps over what is not stored
        (NONE, 20, None, 20),  # a first start begins at the time
        (NONE, END, None, END),  # nothing was sent since
        (50, END, None, 50),
        (50, 20, 15, 15),
        (50, 20, 30, 20),
    ],
)
def test_backfill_starts_at_the_time_once(cluster, committed, by_time, own, expected):
    since = datetime(2027, 1, 1, tzinfo=UTC)
    client = FixedTimes({0: committed}, {0: by_time})
    offsets = {} if own is None else {("t", 0): own}
    listener = listen(
        cluster, Inbox(), settings("t", backfill_from=since), start_offsets=lambda: offsets
    )
    listener._assigned(client, [TopicPartition("t", 0)])
    assert client.started == {0: expected}
    listener._assigned(client, [TopicPartition("t", 0)])  # after a rebuild
    assert client.started == {0: NONE if own is None else own}


# --- configuration --------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{"group_id": ""}, {"topics": ()}, {"topics": ("",)}])
def test_settings_that_would_lose_messages_are_refused(changes):
    with pytest.raises(ConfigError, match=r"listeners\.test\."):
        settings("t", **changes)


def test_backfill_needs_a_zone():
    with pytest.raises(ConfigError, match="backfill_from"):
        settings("t", backfill_from=datetime(2027, 1, 1))  # noqa: DTZ001


def test_scimma_group_must_carry_the_user_name():
    connection = scimma("alice-1234", "secret")
    with pytest.raises(ConfigError, match="begin with 'alice-1234-'"):
        KafkaListener(settings("t"), connection, Inbox().write)
    KafkaListener(settings("t", group_id="alice-1234-mmcoord"), connection, Inbox().write)


def test_scimma_login_is_scram_over_tls():
    config = scimma("alice-1234", "secret").config
    assert config["security.protocol"] == "SASL_SSL"
    assert config["sasl.mechanism"] == "SCRAM-SHA-512"
    assert config["bootstrap.servers"] == "kafka.scimma.org:9092"
    assert scimma("alice-1234", "secret").broker == "kafka.scimma.org"


def test_credentials_do_not_show():
    assert "s3cr3t" not in repr(scimma("alice-1234", "s3cr3t"))
    assert "s3cr3t" not in repr(gcn("id", "s3cr3t"))


@pytest.mark.parametrize(
    "make", [lambda: gcn("id", ""), lambda: scimma("", "x"), lambda: kafka("")]
)
def test_missing_credentials_are_a_configuration_error(make):
    with pytest.raises(ConfigError, match="needed"):
        make()


def test_caller_cannot_undo_the_safety(cluster):
    """Automatic commits would acknowledge what is not stored."""
    unsafe = {"enable.auto.commit": True, "auto.offset.reset": "latest", "group.id": "other"}
    listener = KafkaListener(
        settings("t", group_id="mine"), kafka("h:1", config=unsafe), Inbox().write
    )
    config = listener._client_config()
    assert config["enable.auto.commit"] is False
    assert config["auto.offset.reset"] == "earliest"
    assert config["group.id"] == "mine"
