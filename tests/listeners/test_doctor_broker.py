"""``mmcoord doctor`` against a real Apache Kafka: what it says, and whether it is right."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from mmcoord.doctor import Finding, examine
from tests.listeners.broker import PASSWORD, USER, Broker, TokenServer, why_not
from tests.listeners.test_kafka_broker import numbered, send
from tests.system import missing

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if why_not():
        missing(f"Apache Kafka: {why_not()}")
    made = Broker(tmp_path_factory.mktemp("kafka"))
    yield made
    made.kill()


@pytest.fixture
def made_topic(broker: Broker, topic: str) -> str:
    broker.create(topic, 2)
    return topic


def findings(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    broker: Broker,
    topics: list[str],
    *,
    password: str = PASSWORD,
    source: str = "voevent",
    head: str = "",
    **options: Any,
) -> dict[str, Finding]:
    """What doctor says of one listener that logs in as SCiMMA's clients do."""
    monkeypatch.setenv("DOCTOR_PASSWORD", password)
    config = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": USER,
    }
    text = [
        f"data_dir = {json.dumps(str(folder))}",
        head,
        "[listeners.here]",
        'transport = "kafka"',
        f"source = {json.dumps(source)}",
        f"topics = {json.dumps(topics)}",
        'group_id = "doctor"',
        "[listeners.here.options]",
        f"bootstrap_servers = {json.dumps(broker.address('scram'))}",
        'password_env = "DOCTOR_PASSWORD"',
        *(f"{key} = {json.dumps(value)}" for key, value in options.items()),
        "[listeners.here.options.config]",
        *(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in config.items()),
    ]
    path = folder / "mmcoord.toml"
    path.write_text("\n".join(text))
    return {finding.what: finding for finding in examine(path, None)}


def commit(broker: Broker, topic: str, partition: int, offset: int) -> None:
    """Our group's place, as a listener would have left it."""
    consumer = Consumer({"bootstrap.servers": broker.address("plain"), "group.id": "doctor"})
    consumer.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=False)
    consumer.close()


@pytest.mark.long
def test_the_last_message_and_what_waits_for_our_group(
    broker: Broker, made_topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = datetime.now(UTC) - timedelta(hours=3)
    send(broker, made_topic, *numbered(0, 5), partition=0,
         timestamp=int((then - timedelta(hours=1)).timestamp() * 1000))  # fmt: skip
    send(broker, made_topic, *numbered(5, 7), partition=1, timestamp=int(then.timestamp() * 1000))
    commit(broker, made_topic, 0, 4)
    found = findings(tmp_path, monkeypatch, broker, [made_topic])
    assert found["listener here"].good
    said = found[f"listener here, {made_topic}"]
    assert said.good
    assert f"last message {then:%Y-%m-%d %H:%M:%S} UTC (3.0 h ago)" in said.text
    assert "3 wait for group doctor" in said.text  # 1 of partition 0, both of partition 1


def test_a_group_that_has_read_nothing_is_told_apart(
    broker: Broker, made_topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = findings(tmp_path, monkeypatch, broker, [made_topic])
    assert "no message; 0 wait" in empty[f"listener here, {made_topic}"].text
    send(broker, made_topic, b"1", b"2")
    said = findings(tmp_path, monkeypatch, broker, [made_topic])[f"listener here, {made_topic}"]
    assert "nothing taken yet, 2 wait" in said.text


def test_a_lag_beyond_the_limit_is_bad(
    broker: Broker, made_topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(broker, made_topic, *numbered(0, 30))
    found = findings(tmp_path, monkeypatch, broker, [made_topic], head="[watchdog]\nlag = 20")
    said = found[f"listener here, {made_topic}"]
    assert not said.good
    assert "30 wait" in said.text


def test_a_wrong_password_is_named_as_such_and_not_shown(
    broker: Broker, made_topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = findings(tmp_path, monkeypatch, broker, [made_topic], password="batteries-staple")
    said = found["listener here"]
    assert not said.good
    assert "refuses the login" in said.text
    assert "check user name and secret" in said.text
    assert "batteries-staple" not in said.text


@pytest.mark.long
def test_a_broker_that_is_not_there_is_not_a_wrong_password(
    broker: Broker, made_topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nowhere:
        def address(self, listener: str) -> str:
            return "127.0.0.1:9"

    found = findings(tmp_path, monkeypatch, Nowhere(), [made_topic])  # type: ignore[arg-type]
    assert not found["listener here"].good
    assert "cannot be reached" in found["listener here"].text


def test_an_unknown_topic_is_bad_and_the_others_are_looked_at(
    broker: Broker, made_topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(broker, made_topic, b"1")
    found = findings(tmp_path, monkeypatch, broker, [made_topic, "no.such.topic"])
    assert not found["listener here, no.such.topic"].good
    assert "unknown to the broker" in found["listener here, no.such.topic"].text
    assert found[f"listener here, {made_topic}"].good


def test_silence_where_messages_come_by_themselves_is_bad(
    broker: Broker, made_topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = f"beat-{made_topic}"
    broker.create(beat)
    old = int((time.time() - 3 * 3600) * 1000)
    send(broker, made_topic, b"1", timestamp=old)
    send(broker, beat, b"1", timestamp=old)
    found = findings(
        tmp_path, monkeypatch, broker, [made_topic], source="igwn", heartbeat_topic=beat
    )
    assert not found[f"listener here, {beat}"].good
    assert "mock superevents" in found[f"listener here, {made_topic}"].text
    send(broker, made_topic, b"2")
    send(broker, beat, b"2")
    found = findings(
        tmp_path, monkeypatch, broker, [made_topic], source="igwn", heartbeat_topic=beat
    )
    assert found[f"listener here, {beat}"].good
    assert found[f"listener here, {made_topic}"].good
    assert "nobody is told" in found["operators"].text


def at_gcn(
    folder: Path, monkeypatch: pytest.MonkeyPatch, broker: Broker, topic: str, token_url: str
) -> dict[str, Finding]:
    """What doctor says of a listener that logs in as GCN's clients do."""
    monkeypatch.setenv("GCN_CLIENT_SECRET", "the-secret")
    config = {
        "bootstrap.servers": broker.address("oauth"),
        "security.protocol": "sasl_plaintext",
        "sasl.oauthbearer.token.endpoint.url": token_url,
    }
    path = folder / "mmcoord.toml"
    path.write_text(
        f"""
        data_dir = {json.dumps(str(folder))}
        [listeners.gcn]
        transport = "gcn"
        source = "voevent"
        topics = [{json.dumps(topic)}]
        group_id = "doctor"
        [listeners.gcn.options]
        client_id = "the-client"
        client_secret_env = "GCN_CLIENT_SECRET"
        [listeners.gcn.options.config]
        """
        + "\n".join(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in config.items())
    )
    return {finding.what: finding for finding in examine(path, None)}


def test_gcn_lets_in_with_a_token_and_not_without(
    broker: Broker, made_topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(broker, made_topic, b"1")
    tokens = TokenServer(lifetime_s=30)
    found = at_gcn(tmp_path, monkeypatch, broker, made_topic, tokens.url)
    assert found["listener gcn"].good
    assert "1 wait for group doctor" in found[f"listener gcn, {made_topic}"].text
    tokens.close()
    found = at_gcn(tmp_path, monkeypatch, broker, made_topic, tokens.url)
    assert not found["listener gcn"].good
    assert "check user name and secret" in found["listener gcn"].text
    assert "the-secret" not in found["listener gcn"].text
