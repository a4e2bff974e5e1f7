"""Kill the consumer, kill the broker, cut the network: is everything stored, once, in order?

A real Apache Kafka is sent notices and candidates at a steady rate while a consumer (real
listeners, ``intake.receive`` and ``intake.run`` on SQLite) reads them. The consumer is
killed with SIGKILL at random, the broker is killed and started again, and the network
between the two is cut once: the consumer lives in a network namespace, whose link is taken
down. At the end the store is compared with what the broker acknowledged and with a plain
fold of the notices in memory.

    python -m benchmarks.listeners_faults --messages 100000 --kills 50 --restarts 3 --cut-s 60

Needs Java 17 and the fetched Kafka (``python -m tests.listeners.broker``); root for the cut.
Prints one JSON document; exit code 1 when anything is lost, doubled or out of order.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from benchmarks.listeners_night import PARTITIONS, Expected, messages
from tests.listeners.broker import Broker, why_not

_OUTSIDE, _INSIDE = "10.213.77.1", "10.213.77.2"
_STALL_S = 240.0

Place = tuple[str, int, int]


def main() -> int:
    """Run once and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--cut-s", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=190.0, help="messages a second")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    if why_not():
        print(f"listeners_faults: {why_not()}", file=sys.stderr)
        return 1
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mmcoord-faults-") as folder, network() as (host, net):
        broker = Broker(Path(folder), host)
        try:
            report = run(wanted, Path(folder) / "store.db", broker, net)
        finally:
            broker.kill()
    if not net:
        report["cut_refused"] = "no network namespace on this machine (root and iproute2 needed)"
    report["duration_s"] = round(time.monotonic() - begun, 1)
    print(json.dumps(report, indent=2))
    return 0 if report["passed"] else 1


@contextmanager
def network() -> Iterator[tuple[str, str]]:
    """(address of the broker, namespace of the consumer); loopback and "" where not allowed."""
    name = f"mmfault{os.getpid()}"
    try:
        for words in (
            f"netns add {name}",
            f"link add {name} type veth peer name inside netns {name}",
            f"addr add {_OUTSIDE}/30 dev {name}",
            f"link set {name} up",
            f"-n {name} addr add {_INSIDE}/30 dev inside",
            f"-n {name} link set inside up",
            f"-n {name} link set lo up",
        ):
            subprocess.run(["ip", *words.split()], check=True, timeout=10, capture_output=True)
    except (OSError, subprocess.SubprocessError):
        _remove(name)
        yield "127.0.0.1", ""
        return
    try:
        yield _OUTSIDE, name
    finally:
        _remove(name)


def _remove(namespace: str) -> None:
    for words in (f"link del {namespace}", f"netns del {namespace}"):
        try:
            subprocess.run(["ip", *words.split()], timeout=10, capture_output=True, check=False)
        except OSError:
            return


class Sender(threading.Thread):
    """Sends at a steady rate and remembers what the broker acknowledged, and where."""

    def __init__(self, broker: Broker, total: int, rate_hz: float, seed: int) -> None:
        super().__init__(daemon=True)
        self.expected = Expected()
        self.sent: dict[Place, str] = {}
        """Where the broker put it -> SHA-256 of the payload."""
        self.failed = 0
        self._messages = messages(total, seed, self.expected)
        self._rate_hz = rate_hz
        self._producer = Producer(
            {
                "bootstrap.servers": broker.address("plain"),
                "enable.idempotence": True,  # what is counted is the consumer's doing alone
                "delivery.timeout.ms": 600_000,
                "linger.ms": 20,
                "log_level": 0,
                "error_cb": lambda error: None,
            }
        )

    def run(self) -> None:
        begun = time.monotonic()
        for number, (topic, partition, payload) in enumerate(self._messages):
            while (ahead := begun + number / self._rate_hz - time.monotonic()) > 0:
                self._producer.poll(min(ahead, 0.05))
            self._produce(topic, partition, payload)
        self._producer.flush(600)

    def _produce(self, topic: str, partition: int, payload: bytes) -> None:
        digest = hashlib.sha256(payload).hexdigest()

        def done(error: object, message: Any) -> None:
            if error is None:
                self.sent[topic, partition, message.offset()] = digest
            else:
                self.failed += 1

        while True:
            try:
                self._producer.produce(topic, payload, partition=partition, on_delivery=done)
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)


class Consumer:
    """Lives of the consuming process, one after the other."""

    def __init__(self, broker: Broker, store: Path, namespace: str) -> None:
        self.store = store
        self.log = store.with_name("consumer.log")
        inside = ["ip", "netns", "exec", namespace] if namespace else []
        module = [sys.executable, "-m", "benchmarks.listeners_consumer"]
        self._command = [*inside, *module, broker.address("plain"), str(store)]
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Begin a life and wait until it listens."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the consumer did not start: {self.log.read_text()[-2000:]}")

    def end(self, number: signal.Signals) -> int:
        """End it by a signal; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def stored(self) -> int:
        """Rows of the inbox."""
        return self.count("SELECT count(*) FROM notice")

    def count(self, query: str) -> int:
        if not self.store.exists():
            return 0
        connection = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=60)
        try:
            return int(connection.execute(query).fetchone()[0])
        except sqlite3.OperationalError:  # killed before the first migration
            return 0
        finally:
            connection.close()


def run(wanted: argparse.Namespace, store: Path, broker: Broker, namespace: str) -> dict[str, Any]:
    """The faults in random order, then a quiet end, then the count."""
    for topic, partitions in PARTITIONS.items():
        broker.create(topic, partitions)
    sender = Sender(broker, wanted.messages, wanted.rate, wanted.seed)
    consumer = Consumer(broker, store, namespace)
    faults = ["kill"] * wanted.kills + ["restart"] * wanted.restarts
    faults += ["cut"] if wanted.cut_s > 0 and namespace else []
    draw = random.Random(wanted.seed)
    draw.shuffle(faults)
    done: Counter[str] = Counter()
    sender.start()
    consumer.start()
    for fault in faults:
        before = consumer.stored()
        if fault == "kill":
            time.sleep(draw.uniform(0.0, 5.0))
            consumer.end(signal.SIGKILL)
            done["lives_that_stored"] += consumer.stored() > before
            consumer.start()
        elif fault == "restart":
            broker.kill()
            time.sleep(draw.uniform(0.5, 5.0))
            broker.start()
            await_more(consumer, consumer.stored(), sender)
        else:
            cut(namespace, wanted.cut_s)
            await_more(consumer, consumer.stored(), sender)
        done[fault] += 1
        print(f"{fault} {done[fault]}: {consumer.stored()} stored", file=sys.stderr, flush=True)
    sending = sender.is_alive()
    sender.join()
    drain(consumer, len(sender.sent))
    clean_exit = consumer.end(signal.SIGTERM) == 0
    report = {
        "benchmark": "listeners_faults",
        "machine": {"cpu_count": os.cpu_count(), "platform": platform.platform()},
        "kills": done["kill"],
        "lives_that_stored": done["lives_that_stored"],
        "restarts": done["restart"],
        "cut_s": wanted.cut_s * done["cut"],
        "sending_until_the_last_fault": sending,
        "clean_exit": clean_exit,
        **compare(store, sender),
    }
    bad = ("lost", "doubled", "altered", "out_of_order", "wrong_events", "not_produced")
    report["passed"] = (
        clean_exit
        and report["ledger_balanced"]
        and report["dead_letters"] == report["dead_letters_expected"]
        and not any(report[key] for key in bad)
    )
    return report


def cut(namespace: str, seconds: float) -> None:
    """Take the consumer's link down for a while; whatever happens, it comes up again."""
    link = ["ip", "-n", namespace, "link", "set", "inside"]
    try:
        subprocess.run([*link, "down"], check=True, timeout=10)
        time.sleep(seconds)
    finally:
        subprocess.run([*link, "up"], check=True, timeout=10)


def await_more(consumer: Consumer, before: int, sender: Sender) -> None:
    """Wait until something more is stored, so that the next fault meets work."""
    end = time.monotonic() + _STALL_S
    while consumer.stored() <= before and (sender.is_alive() or before < len(sender.sent)):
        if time.monotonic() > end:
            raise RuntimeError(f"nothing stored for {_STALL_S:.0f} s after a fault")
        time.sleep(0.2)


def drain(consumer: Consumer, total: int) -> None:
    """Wait until all is stored and read, or nothing moves any more: the count will tell."""
    pending = "SELECT count(*) FROM notice WHERE state = 'pending'"
    last, since = (-1, -1), time.monotonic()
    while True:
        now = (consumer.stored(), consumer.count(pending))
        if now[0] >= total and now[1] == 0:
            return
        if now != last:
            last, since = now, time.monotonic()
        if time.monotonic() - since > _STALL_S:
            return
        time.sleep(0.5)


def compare(store: Path, sender: Sender) -> dict[str, Any]:
    """The store against what the broker acknowledged and against the fold in memory."""
    connection = sqlite3.connect(store)
    rows = connection.execute("SELECT topic, partition, offset, sha256, state FROM notice")
    stored: dict[Place, str] = {}
    doubled = 0
    for topic, partition, offset, digest, _ in rows:
        doubled += (topic, partition, offset) in stored
        stored[topic, partition, offset] = digest
    expected = sender.expected
    names = Counter(row[0] for row in connection.execute("SELECT object_id FROM candidate"))
    doubled += sum(count - 1 for count in names.values())
    ledger = connection.execute(
        "SELECT received, processed, dead FROM ledger WHERE stage = 'intake'"
    ).fetchone()
    report = {
        "produced": len(sender.sent),
        "notices": sum(topic == "igwn.gwalert" for topic, _, _ in sender.sent),
        "events": len(expected.order),
        "not_produced": sender.failed,
        "stored": len(stored),
        "lost": len(sender.sent.keys() - stored.keys()) + len(expected.candidates - names.keys()),
        "doubled": doubled + len(stored.keys() - sender.sent.keys()),
        "altered": sum(
            stored.get(place, digest) != digest for place, digest in sender.sent.items()
        ),
        **_events(connection, expected),
        "repeats_recognised": connection.execute(
            "SELECT count(*) FROM notice WHERE outcome LIKE 'duplicate of%'"
        ).fetchone()[0],
        "repeats_sent": expected.repeats,
        "dead_letters": connection.execute("SELECT count(*) FROM dead_letter").fetchone()[0],
        "dead_letters_expected": expected.poison,
        "ledger": dict(zip(("received", "processed", "dead"), ledger, strict=True)),
        "ledger_balanced": ledger[0] == ledger[1] + ledger[2] == len(stored),
    }
    connection.close()
    return report


def _events(connection: sqlite3.Connection, expected: Expected) -> dict[str, int]:
    """Events whose alerts came in another order, or that ended otherwise than the fold."""
    order: dict[str, list[tuple[str, datetime]]] = {}
    for event_id, kind, created in connection.execute(
        "SELECT event_id, alert_type, time_created FROM alert ORDER BY id"
    ):
        order.setdefault(event_id, []).append((kind, _utc(created)))
    ends = {
        event_id: (state, kind, (current, _utc(created)))
        for event_id, state, kind, current, created in connection.execute(
            "SELECT e.event_id, e.state, e.alert_type, a.alert_type, a.time_created "
            "FROM event e JOIN alert a ON a.id = e.current_alert_id"
        )
    }
    known = expected.order
    return {
        "out_of_order": sum(order.get(name) != known[name] for name in known),
        "wrong_events": sum(ends.get(name) != expected.final(name) for name in known)
        + len(ends.keys() - known.keys()),
    }


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


if __name__ == "__main__":
    sys.exit(main())
