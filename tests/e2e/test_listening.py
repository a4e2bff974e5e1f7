"""From a broker to the store: gcn-kafka and hop as the senders, our listeners in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gcn_kafka
import pytest
from hop import Stream
from hop.models import AvroBlob
from sqlalchemy import func, select

from mmcoord.config import ListenerSettings
from mmcoord.stages import intake
from mmcoord.stages.context import Context
from mmcoord.store.tables import AlertRow, EventRow, NoticeRow
from mmcoord.wiring import build_listener
from tests.listeners.conftest import Cluster, until
from tests.making import lvk_notice, make_context
from tests.shared import shared
from tests.stores import migrated


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def ctx(sqlite_url: str, tmp_path: Path) -> Iterator[Context]:
    database = migrated(sqlite_url)
    yield make_context(database, tmp_path / "out")
    database.close()


@contextmanager
def listening(ctx: Context, cluster: Cluster, topic: str) -> Iterator[None]:
    """A listener as the configuration makes it, in a thread of its own."""
    settings = ListenerSettings(
        transport="kafka",
        source="igwn",
        topics=(topic,),
        group_id=f"mmcoord-{topic}",
        options={
            "bootstrap_servers": cluster.servers,
            "broker": "mock",
            "config": {"group.protocol": "consumer"},
        },
    )
    listener = build_listener(ctx, "test", settings, lambda status: None)
    stop = threading.Event()
    thread = threading.Thread(target=listener.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


def received(ctx: Context) -> int:
    with ctx.database.read() as session:
        return int(session.execute(select(func.count()).select_from(NoticeRow)).scalar_one())


def gcn_producer(cluster: Cluster) -> gcn_kafka.Producer:
    return gcn_kafka.Producer(
        config={
            "bootstrap.servers": cluster.servers,
            "security.protocol": "plaintext",
            "message.max.bytes": 8_000_000,
        }
    )


def test_what_gcn_sends_is_stored_once_across_a_restart(ctx: Context, cluster: Cluster) -> None:
    topic = "igwn.gwalert.restart"
    producer = gcn_producer(cluster)
    producer.produce(topic, lvk_notice("MS260301a"), partition=0)
    producer.flush(10)
    with listening(ctx, cluster, topic):
        until(lambda: received(ctx) == 1)
    producer.produce(topic, lvk_notice("MS260301b"), partition=0)  # while we are down
    producer.flush(10)
    with listening(ctx, cluster, topic):
        until(lambda: received(ctx) == 2)
    while intake.run(ctx):
        pass
    with ctx.database.read() as session:
        events = session.execute(select(EventRow.event_id).order_by(EventRow.event_id)).scalars()
        assert list(events) == ["MS260301a", "MS260301b"]


def test_one_notice_over_gcn_as_json_and_over_scimma_as_avro_is_one_alert(
    ctx: Context, cluster: Cluster
) -> None:
    json_notice = shared("gw/MS181101ab-preliminary.json").read_bytes()
    avro_notice = shared("gw/MS181101ab-preliminary.avro").read_bytes()
    topic = "igwn.gwalert.twice"
    producer = gcn_producer(cluster)
    producer.produce(topic, json_notice, partition=0)
    producer.flush(10)
    with Stream(auth=False).open(
        f"kafka://{cluster.servers}/{topic}", "w", automatic_offload=False
    ) as stream:
        stream.write(AvroBlob.deserialize(avro_notice))
    with listening(ctx, cluster, topic):
        until(lambda: received(ctx) == 2)
    while intake.run(ctx):
        pass
    with ctx.database.read() as session:
        alert = session.execute(select(AlertRow)).scalar_one()
        outcomes = list(session.execute(select(NoticeRow.outcome)).scalars())
    assert alert.localization_id is not None
    assert sum("duplicate" in (outcome or "") for outcome in outcomes) == 1
