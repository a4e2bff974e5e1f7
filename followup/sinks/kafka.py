"""A Kafka topic as a sink: results of public inferences and plans, as notices of our own.

Works with a broker of one's own (``transport = "kafka"``), SCiMMA's Hopskotch (``scimma``; the
headers are hop's, so that ``hop subscribe`` reads it) and NASA's GCN (``gcn``).

Identity: a message's key is the run's, or the event's; the header ``mmcoord-key`` is the
delivery's, and ``_id`` a UUID made of it. The producer is idempotent, so that its own repeats are
one message; SENT is said only after the broker's acknowledgement of all replicas. What no producer
can know is whether a message arrived whose acknowledgement was lost with the process: it is sent
again, and consumers drop the repeat by its header.

Withdrawing publishes a notice of type ``retraction``; what subscribers received stays received.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gcn_kafka
import httpx
from confluent_kafka import KafkaError, KafkaException, Producer
from hop.auth import Auth

from followup.sinks._http import MENDED_BY_A_PERSON_S
from followup.sinks._kafka_notice import plan_notice, result_notice
from followup.sinks._settings import Secret, Settings
from followup.sinks.base import Answer, Granularity, Outcome, Payload
from mmcoord.announcements import Announcement
from mmcoord.records import Outgoing

__all__ = ["ANSWERS", "KafkaSink", "build"]

_KEY_SPACE = uuid.UUID("6d6d636f-6f72-6400-8000-6b61666b6121")
"""Of the UUIDs that are made of delivery keys."""
_SCIMMA = "kafka.scimma.org:9092"
_MAX_BYTES = 1_000_000
"""What brokers take unless they are told otherwise."""

ANSWERS: dict[str, tuple[tuple[int, ...], Outcome, float | None]] = {
    "too large, or not taken as it is": (
        (
            KafkaError.MSG_SIZE_TOO_LARGE,
            KafkaError.INVALID_MSG,
            KafkaError.INVALID_RECORD,
        ),
        Outcome.REJECTED,
        None,
    ),
    "login, right or topic missing": (
        (
            KafkaError._AUTHENTICATION,
            KafkaError.SASL_AUTHENTICATION_FAILED,
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.CLUSTER_AUTHORIZATION_FAILED,
            KafkaError.TOPIC_EXCEPTION,
            KafkaError.UNKNOWN_TOPIC_OR_PART,
            KafkaError._UNKNOWN_TOPIC,
            KafkaError._UNKNOWN_PARTITION,
        ),
        Outcome.RETRY,
        MENDED_BY_A_PERSON_S,
    ),
    "not reached": (
        (
            KafkaError._ALL_BROKERS_DOWN,
            KafkaError._RESOLVE,
            KafkaError._QUEUE_FULL,
            KafkaError._PURGE_QUEUE,
        ),
        Outcome.RETRY,
        None,
    ),
}
"""Words -> the errors that they stand for, how the delivery has ended, when to try again."""


@dataclass(slots=True)
class KafkaSink:
    """One topic. The connection is made at the first message and kept."""

    name: str
    is_practice: bool
    topic: str
    mission: str
    make: Callable[[], Producer] = field(repr=False)
    """Builds the client; its configuration holds credentials."""
    sender: str = ""
    """For hop's header: who says it."""
    announces: bool = False
    timeout_s: float = 30.0
    granularity: Granularity = Granularity.PLAN
    settle_s: float = 0.0
    _producer: Producer | None = field(default=None, repr=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def is_public(self) -> bool:
        """Whoever may read the topic; on a test topic nobody takes a message for real."""
        return not self.is_practice

    def payload(self, outgoing: Outgoing) -> Payload:
        """A plan revision."""
        return {"key": outgoing.event_id, "notice": plan_notice(outgoing, self.mission)}

    def announcement(self, said: Announcement) -> Payload:
        """A public inference."""
        return {"key": said.run_key, "notice": result_notice(said, self.mission)}

    def send(self, payload: Payload, *, key: str) -> Answer:
        """Produce, and wait for the broker's word on it."""
        return self._produce(payload["key"], payload["notice"], key)

    def lookup(self, payload: Payload, *, key: str) -> Answer | None:
        """A topic cannot be asked: what is in doubt is sent again under the same key."""
        return None

    def withdraw(self, payload: Payload, *, key: str, remote_id: str | None) -> Answer:
        """Say on the same topic that it no longer holds."""
        notice = {**payload["notice"], "alert_type": "retraction"}
        return self._produce(payload["key"], notice, f"{key}/withdraw")

    def check(self) -> Answer:
        """Whether the broker lets us in and has the topic; nothing is sent."""
        try:
            with self._turn:
                topics = self._open().list_topics(self.topic, timeout=self.timeout_s).topics
        except KafkaException as error:
            return _answer(error.args[0])
        found = topics[self.topic]
        if found.error is not None:
            return _answer(found.error)
        return Answer(Outcome.SENT, detail=f"{self.topic}, {len(found.partitions)} partitions")

    def _produce(self, record: str, notice: dict[str, Any], key: str) -> Answer:
        value = json.dumps(notice, allow_nan=False, separators=(",", ":")).encode()
        if len(value) > _MAX_BYTES:
            return Answer(Outcome.REJECTED, detail=f"{len(value)} bytes: too large for a topic")
        told: list[Answer] = []

        def delivered(error: KafkaError | None, message: Any) -> None:
            if error is not None:
                told.append(_answer(error))
                return
            place = f"{message.topic()}[{message.partition()}]@{message.offset()}"
            told.append(Answer(Outcome.SENT, place, f"acknowledged at {place}"))

        with self._turn:
            try:
                producer = self._open()
                producer.produce(
                    self.topic,
                    value,
                    record.encode(),
                    headers=self._headers(key),
                    on_delivery=delivered,
                )
                producer.flush(self.timeout_s)
            except (KafkaException, BufferError) as error:
                cause = error.args[0]
                return (
                    _answer(cause)
                    if isinstance(cause, KafkaError)
                    else Answer(Outcome.RETRY, detail=str(error))
                )
            if not told:
                self._drop(producer)
                return Answer(
                    Outcome.UNKNOWN, detail=f"no acknowledgement within {self.timeout_s:g} s"
                )
            if told[0].outcome is not Outcome.SENT:
                self._drop(producer)  # an idempotent producer may be spent after a failure
            return told[0]

    def _headers(self, key: str) -> list[tuple[str, bytes]]:
        return [
            ("mmcoord-key", key.encode()),
            ("_id", uuid.uuid5(_KEY_SPACE, key).bytes),
            ("_format", b"json"),
            *([("_sender", self.sender.encode())] if self.sender else []),
            *([("_test", b"true")] if self.is_practice else []),
        ]

    def _open(self) -> Producer:
        if self._producer is None:
            self._producer = self.make()
        return self._producer

    def _drop(self, producer: Producer) -> None:
        """Forget what it still has in hand: a late success would be a repeat nobody counts."""
        producer.purge()
        self._producer = None


def _answer(error: KafkaError) -> Answer:
    words = f"{error.name()}: {error.str()}"
    for what, (codes, outcome, wait_s) in ANSWERS.items():
        if error.code() in codes:
            return Answer(outcome, detail=f"{what}: {words}", retry_after_s=wait_s)
    return Answer(Outcome.UNKNOWN, detail=words)


def build(name: str, table: Mapping[str, Any], client: httpx.Client) -> KafkaSink:
    """Entry point ``kafka``; ``client`` is not used, and no network is touched.

    Settings: ``topic``; ``transport`` (``kafka``, ``scimma``, ``gcn``); ``bootstrap_servers``
    (needed for ``kafka``); ``username`` and ``password`` (SCRAM-SHA-512 over TLS; for ``scimma``);
    ``client_id`` and ``client_secret`` (``gcn``); ``tls`` (true with a password; false only
    for a broker inside); ``ca_file``; ``announces`` (true: results of public inferences go
    there; without it they do on a practice topic alone); ``mission`` (``mmcoord``);
    ``timeout_s`` (30); ``practice`` (true on a topic that contains "test", else false).

    Raises
    ------
    ConfigError
        A key is wrong, or a practice sink is given a public topic.
    """
    settings = Settings(name, table)
    topic = settings.text("topic")
    practice = settings.flag("practice", "test" in topic)
    if practice and "test" not in topic:
        raise settings.error("topic", 'a practice sink needs a topic that contains "test"')
    timeout_s = settings.number("timeout_s", 30.0, low=1.0, high=300.0)
    sender, make = _connection(settings, timeout_s)
    sink = KafkaSink(
        name,
        practice,
        topic,
        settings.text("mission", "mmcoord"),
        make,
        sender,
        settings.flag("announces", practice),
        timeout_s,
    )
    settings.finish()
    return sink


def _connection(settings: Settings, timeout_s: float) -> tuple[str, Callable[[], Producer]]:
    """Who says it, and how its client is made."""
    config: dict[str, Any] = {
        "client.id": "mmcoord",
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "zstd",
        "message.timeout.ms": int(900 * timeout_s),
        "topic.metadata.propagation.max.ms": int(500 * timeout_s),  # then an unknown one is said
        "reconnect.backoff.ms": 500,
        "linger.ms": 0,
    }
    if settings.has("ca_file"):
        config["ssl.ca.location"] = settings.text("ca_file")
    transport = settings.text("transport", "kafka")
    if transport == "gcn":
        client_id, secret = settings.text("client_id"), _needed(settings, "client_secret")
        return client_id, lambda: gcn_kafka.Producer(
            config, client_id=client_id, client_secret=secret.reveal()
        )
    if transport not in ("kafka", "scimma"):
        raise settings.error("transport", "is none of kafka, scimma, gcn")
    if transport == "scimma":
        config["bootstrap.servers"] = settings.text("bootstrap_servers", _SCIMMA)
        user, password = settings.text("username"), _needed(settings, "password")
    else:
        config["bootstrap.servers"] = settings.text("bootstrap_servers")
        found = settings.secret("password")
        user = settings.text("username") if found is not None else ""
        if found is None:
            return user, lambda: Producer(config)
        password = found
    tls = settings.flag("tls", True)

    def make() -> Producer:
        # hop's own settings first: SCRAM-SHA-512, TLS with the system's authorities.
        login = Auth(user, password.reveal(), ssl=tls)()
        return Producer({**login, **config})

    return user, make


def _needed(settings: Settings, key: str) -> Secret:
    found = settings.secret(key)
    if found is None:
        raise settings.error(key, f"is missing ({key}, {key}_env or {key}_file)")
    return found
