"""An in-process Kafka (librdkafka's mock cluster) and a way to run listeners against it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from confluent_kafka import Producer

from listeners.connections import Connection, kafka
from listeners.kafka import KafkaListener
from listeners.settings import KafkaSettings, ListenerStatus
from mmcoord.records import Notice
from tests.listeners.broker import Broker, why_not
from tests.system import missing

FAST = {"group.protocol": "consumer"}
"""The new group protocol: on the mock cluster members join at once (classic: 3 s)."""


@dataclass
class Inbox:
    """A store that keeps what it is given, and every status that it is told."""

    notices: list[Notice] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    statuses: list[ListenerStatus] = field(default_factory=list)

    def write(self, notices: Sequence[Notice]) -> None:
        self.notices.extend(notices)
        self.batches.append(len(notices))

    @property
    def payloads(self) -> list[bytes]:
        return [notice.payload for notice in self.notices]

    @property
    def places(self) -> set[tuple[str, str, int, int]]:
        return {(n.broker, n.topic, n.partition, n.offset) for n in self.notices}


class Cluster:
    """A mock cluster of one broker; lives as long as the object."""

    def __init__(self) -> None:
        self.owner = Producer({"test.mock.num.brokers": 1})
        brokers = self.owner.list_topics(timeout=10).brokers.values()
        self.servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        self.producer = Producer(
            {"bootstrap.servers": self.servers, "message.max.bytes": 8_000_000, "linger.ms": 0}
        )

    def send(self, topic: str, *payloads: bytes | None, partition: int = 0, **more: object) -> None:
        failures: list[object] = []
        for payload in payloads:
            self.producer.produce(
                topic,
                payload,
                partition=partition,
                on_delivery=lambda error, _: failures.append(error) if error else None,
                **more,
            )
        assert self.producer.flush(20) == 0
        assert not failures

    def connection(self) -> Connection:
        return kafka(self.servers, broker="mock", config=FAST)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real Apache Kafka."""
    if why_not():
        missing(f"Apache Kafka: {why_not()}")
    made = Broker(tmp_path_factory.mktemp("kafka"))
    yield made
    made.kill()


@pytest.fixture
def made_topic(broker: Broker, topic: str) -> str:
    """A topic of the test's own on the real Kafka."""
    broker.create(topic)
    return topic


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic of the test's own."""
    return "".join(c if c.isalnum() else "-" for c in request.node.name)[:80] + f".{time.time_ns()}"


def settings(topic: str, **changes: object) -> KafkaSettings:
    values: dict[str, object] = {
        "name": "test",
        "source": "igwn",
        "topics": (topic,),
        "group_id": f"group-{topic}",
        "poll_s": 0.05,
        "backoff_s": 0.05,
        "backoff_max_s": 0.2,
    }
    return KafkaSettings(**(values | changes))  # type: ignore[arg-type]


@contextmanager
def running(listener: KafkaListener) -> Iterator[KafkaListener]:
    """The listener in a thread of its own, stopped and drained at the end."""
    stop = threading.Event()
    thread = threading.Thread(target=listener.run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield listener
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive(), "the listener did not stop"


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for a condition; fails when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
