"""The consumer loop on a real Apache Kafka: logins, restarts, crashes, times."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Producer

from listeners.connections import Connection, gcn, scimma
from listeners.kafka import KafkaListener
from listeners.settings import ListenerState
from tests.listeners.broker import PASSWORD, QUICK, USER, TokenServer, numbered, plain, send
from tests.listeners.conftest import Inbox, running, settings, until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


def at_scimma(broker, password: str) -> Connection:
    """The login of SCiMMA; only the encryption is missing."""
    return scimma(
        USER,
        password,
        bootstrap_servers=broker.address("scram"),
        config={**QUICK, "security.protocol": "SASL_PLAINTEXT"},
    )


def test_scram_login_and_the_user_s_group(broker, made_topic):
    inbox = Inbox()
    send(broker, made_topic, *numbered(0, 5))
    using = settings(made_topic, group_id=f"{USER}-{made_topic}")
    with running(KafkaListener(using, at_scimma(broker, PASSWORD), inbox.write)):
        until(lambda: len(inbox.notices) == 5)
    assert inbox.payloads == numbered(0, 5)


def test_wrong_password_is_told_and_does_not_spin(broker, made_topic):
    inbox = Inbox()
    using = settings(made_topic, group_id=f"{USER}-{made_topic}")
    listener = KafkaListener(using, at_scimma(broker, "wrong"), inbox.write, inbox.statuses.append)
    with running(listener):
        until(lambda: "uthentication" in listener.status.last_error)
        assert listener.status.state is ListenerState.UNREACHABLE
        before = len(inbox.statuses)
        time.sleep(2)
        assert len(inbox.statuses) - before < 40
    assert "wrong" not in listener.status.last_error
    assert inbox.notices == []


def test_gcn_login_is_renewed_while_idle(broker, made_topic):
    """gcn-kafka's own client against a token endpoint; tokens live four seconds."""
    inbox = Inbox()
    tokens = TokenServer(lifetime_s=4)
    connection = gcn(
        "the-client",
        "the-secret",
        config={
            **QUICK,
            "bootstrap.servers": broker.address("oauth"),
            "security.protocol": "sasl_plaintext",
            "sasl.oauthbearer.token.endpoint.url": tokens.url,
        },
    )
    try:
        with running(KafkaListener(settings(made_topic), connection, inbox.write)):
            send(broker, made_topic, b"before")
            until(lambda: inbox.payloads == [b"before"])
            asked = len(tokens.requests)
            until(lambda: len(tokens.requests) >= asked + 2, seconds=40)  # idle meanwhile
            send(broker, made_topic, b"after")
            until(lambda: inbox.payloads == [b"before", b"after"])
    finally:
        tokens.close()
    assert tokens.requests[0]["grant_type"] == ["client_credentials"]


def test_unknown_topic_is_named_and_the_others_go_on(broker, made_topic):
    inbox = Inbox()
    send(broker, made_topic, b"here")
    late = f"late-{made_topic}"
    using = settings(made_topic, topics=(made_topic, late), topics_check_s=0.5)
    listener = KafkaListener(using, plain(broker), inbox.write, inbox.statuses.append)
    with running(listener):
        until(lambda: inbox.payloads == [b"here"])
        until(lambda: listener.status.missing_topics == (late,))
        assert late in listener.status.last_error
        broker.create(late)
        send(broker, late, b"there")
        until(lambda: inbox.payloads == [b"here", b"there"])
        until(lambda: listener.status.missing_topics == ())


@pytest.mark.long
def test_killed_and_restarted_broker_costs_nothing(broker, made_topic):
    inbox = Inbox()
    listener = KafkaListener(settings(made_topic), plain(broker), inbox.write)
    with running(listener):
        send(broker, made_topic, *numbered(0, 10))
        until(lambda: len(inbox.notices) == 10)
        broker.kill()
        until(lambda: listener.status.state is ListenerState.UNREACHABLE)
        broker.start()
        until(lambda: listener.status.state is ListenerState.RUNNING, seconds=60)
        send(broker, made_topic, *numbered(10, 20))
        until(lambda: len(inbox.places) == 20, seconds=60)
    first_times = list(dict.fromkeys(inbox.payloads))
    assert first_times == numbered(0, 20)


def test_what_retention_has_eaten_is_told_and_the_rest_is_read(broker, made_topic):
    """Ten messages are known; of the next ten, the broker has deleted five meanwhile."""
    send(broker, made_topic, *numbered(0, 20))
    broker.delete_before(made_topic, 15)
    inbox = Inbox()
    listener = KafkaListener(
        settings(made_topic, silence_s=1.0),  # so that it is rebuilt, and looks again
        plain(broker),
        inbox.write,
        inbox.statuses.append,
        start_offsets=lambda: {(made_topic, 0): 10},
    )
    with running(listener):
        until(lambda: inbox.payloads == numbered(15, 20))
        told = f"{made_topic}[0]: the broker no longer keeps 5 messages after our last one"
        assert listener.status.last_error.startswith(told)
        assert "offsets 10 to 14" in listener.status.last_error
        until(lambda: listener.status.rebuilds >= 1 and len(inbox.notices) >= 10)
    assert listener.status.missed == 5  # counted once


def test_nothing_is_told_where_nothing_is_missing(broker, made_topic):
    send(broker, made_topic, *numbered(0, 8))
    broker.delete_before(made_topic, 5)
    inbox = Inbox()
    own = {(made_topic, 0): 5}
    listener = KafkaListener(
        settings(made_topic), plain(broker), inbox.write, start_offsets=lambda: own
    )
    with running(listener):
        until(lambda: inbox.payloads == numbered(5, 8))
    assert (listener.status.missed, listener.status.last_error) == (0, "")


def test_broker_that_counts_anew_is_told(broker, made_topic):
    """Our record is of an older broker of the same name; the store would drop as repeats."""
    send(broker, made_topic, *numbered(0, 3))
    inbox = Inbox()
    own = {(made_topic, 0): 500}
    listener = KafkaListener(
        settings(made_topic), plain(broker), inbox.write, start_offsets=lambda: own
    )
    with running(listener):
        until(lambda: inbox.payloads == numbered(0, 3))
    assert "give the connection a new broker name" in listener.status.last_error
    assert listener.status.missed == 0


def test_backfill_by_time(broker, made_topic):
    """Timed messages; a listener that has read them all goes back to the third hour."""
    start = datetime.now(UTC) - timedelta(hours=8)
    for hour in range(6):
        stamp = int((start + timedelta(hours=hour)).timestamp() * 1000)
        send(broker, made_topic, b"%d" % hour, timestamp=stamp)
    first, again, once = Inbox(), Inbox(), Inbox()
    with running(KafkaListener(settings(made_topic), plain(broker), first.write)):
        until(lambda: len(first.notices) == 6)
    since = start + timedelta(hours=2, minutes=30)
    using = settings(made_topic, backfill_from=since)
    with running(KafkaListener(using, plain(broker), again.write)):
        until(lambda: len(again.notices) == 3)
    assert again.payloads == numbered(3, 6)
    fresh = settings(made_topic, backfill_from=since, group_id=f"fresh-{made_topic}")
    with running(KafkaListener(fresh, plain(broker), once.write)):
        until(lambda: len(once.notices) == 3)
    assert once.payloads == numbered(3, 6)


def test_lag_is_what_waits_at_the_broker(broker, made_topic):
    inbox = Inbox()
    send(broker, made_topic, *numbered(0, 7))
    listener = KafkaListener(settings(made_topic), plain(broker), inbox.write)
    with running(listener):
        until(lambda: len(inbox.notices) == 7)
        until(lambda: listener.status.lag == 0)


CONSUMER = """
import os, random, signal, sqlite3, sys, threading, time
from listeners.connections import kafka
from listeners.kafka import KafkaListener
from listeners.settings import KafkaSettings

servers, topic, path, seed, total = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
store = sqlite3.connect(path, check_same_thread=False, timeout=30)
stop = threading.Event()
started = []

def stored():
    return store.execute("select count(*) from inbox").fetchone()[0]

def die():
    time.sleep(random.Random(seed).uniform(0.05, 0.6))
    os.kill(os.getpid(), signal.SIGKILL)

def write(notices):
    if seed and not started:
        started.append(threading.Thread(target=die, daemon=True))
        started[0].start()
    time.sleep(0.003)
    with store:
        store.executemany("insert or ignore into inbox values (?, ?, ?)",
                          [(n.partition, n.offset, n.payload) for n in notices])
        store.execute("insert into receipts values (?)", (len(notices),))
    if stored() == total:
        stop.set()

if stored() == total:
    stop.set()
KafkaListener(
    KafkaSettings("test", "igwn", (topic,), "crashing", batch_size=20, poll_s=0.05),
    kafka(servers, broker="real", config={"group.protocol": "consumer"}),
    write,
).run(stop)
"""


@pytest.mark.long
def test_kill_9_at_random_times_loses_and_doubles_nothing(broker, topic, tmp_path):
    total, partitions, kills = 20_000, 3, 6
    broker.create(topic, partitions)
    path = tmp_path / "inbox.db"
    with sqlite3.connect(path) as store:
        store.execute("create table inbox (part, offset, payload, primary key (part, offset))")
        store.execute("create table receipts (count)")
    producer = Producer(
        # Idempotent, so that what is counted is the consumer's doing alone.
        {"bootstrap.servers": broker.address("plain"), "linger.ms": 5, "enable.idempotence": True}
    )
    for i in range(total):
        producer.produce(topic, b"%d" % i, partition=i % partitions)
        producer.poll(0)
    assert producer.flush(60) == 0
    command = [sys.executable, "-c", CONSUMER, broker.address("plain"), topic, str(path)]
    ends = []
    for seed in (*range(1, kills + 1), 0):
        done = subprocess.run([*command, str(seed), str(total)], cwd=ROOT, timeout=120, check=False)
        ends.append(done.returncode)
    assert ends[-1] == 0, ends
    assert set(ends) <= {0, -signal.SIGKILL}
    assert ends.count(-signal.SIGKILL) >= 2, ends
    with sqlite3.connect(path) as store:
        stored = store.execute("select part, offset, payload from inbox").fetchall()
    assert len(stored) == total
    assert {int(payload) for _, _, payload in stored} == set(range(total))
    for part, offset, payload in stored:
        assert int(payload) == offset * partitions + part
