"""From the settings file to a listener: the example, its options, and a full inbox."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from listeners.kafka import KafkaListener
from listeners.settings import ListenerState
from mmcoord.config import ListenerSettings, load_settings
from mmcoord.errors import ConfigError
from mmcoord.stages import intake
from mmcoord.stages.context import Context
from mmcoord.store.tables import NoticeRow
from mmcoord.wiring import build_listener
from tests.listeners.conftest import Cluster, until
from tests.making import candidate_row, lvk_notice, make_context, send
from tests.stores import migrated

EXAMPLE = Path(__file__).parents[2] / "deploy" / "listeners.toml"


@pytest.fixture
def ctx(sqlite_url: str, tmp_path: Path) -> Iterator[Context]:
    database = migrated(sqlite_url)
    yield make_context(database, tmp_path / "out")
    database.close()


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> dict[str, ListenerSettings]:
    for name in ("GCN_CLIENT_SECRET", "SCIMMA_PASSWORD", "FINK_PASSWORD", "ANTARES_API_SECRET"):
        monkeypatch.setenv(name, "s3cr3t")
    for name in ("BABAMUL_PASSWORD", "RUBIN_PASSWORD"):
        monkeypatch.setenv(name, "s3cr3t")
    return dict(load_settings(EXAMPLE, environ={}).listeners)


def test_example_can_be_built_listener_by_listener(ctx, example):
    """Every key is known, every secret is asked for, every group suits its broker."""
    for name, wanted in example.items():
        listener = build_listener(ctx, name, wanted, lambda status: None)
        assert listener.settings.topics == wanted.topics
        assert listener._client_config()["group.id"] == wanted.group_id


def test_example_has_a_consumer_for_each_class(example):
    """No two listeners share a place at a broker: one would take the other's messages."""
    places = [(w.transport, w.options.get("broker"), w.group_id) for w in example.values()]
    assert len(set(places)) == len(places)
    topics = [(w.transport, topic) for w in example.values() for topic in w.topics]
    assert len(set(topics)) == len(topics)
    assert example["gcn_igwn"].topics == ("igwn.gwalert",)


def test_example_covers_the_topics_of_the_installed_sources(ctx, example):
    """Those that nobody publishes yet stand there as comments: a missing topic is an alarm."""
    named = {(w.source, topic) for w in example.values() for topic in w.topics}
    coming = set(re.findall(r'^ +# "([\w.-]+)",', EXAMPLE.read_text(), re.MULTILINE))
    polled = {point.name for point in entry_points(group="mmcoord.feeds")} | {"pittgoogle"}
    for source in ctx.sources.values():
        if source.name in polled | {"babamul"}:
            continue  # not on Kafka; babamul's topics are a matter of taste
        for topic in source.topics:
            if topic.startswith("practice."):
                continue  # our own, of `mmcoord practice --kafka`
            assert (source.name, topic) in named or topic in coming


def wanted(topic: str, cluster: Cluster, source: str, **options: Any) -> ListenerSettings:
    return ListenerSettings(
        transport="kafka",
        source=source,
        topics=(topic,),
        group_id=f"group-{topic}",
        options={
            "bootstrap_servers": cluster.servers,
            "broker": "mock",
            "config": {"group.protocol": "consumer"},
            **options,
        },
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"silence": 60.0}, r"listeners\.x\.options: unknown key 'silence'"),
        ({"max_pending": 0}, r"listeners\.x\.options\.max_pending: 0"),
        ({"max_pending": True}, r"listeners\.x\.options\.max_pending: True"),
        ({"max_pending": "many"}, r"listeners\.x\.options\.max_pending: 'many'"),
    ],
)
def test_option_that_would_be_ignored_is_refused(ctx, cluster, options, words):
    with pytest.raises(ConfigError, match=words):
        build_listener(
            ctx, "x", wanted("t", cluster, "table_candidates", **options), lambda status: None
        )


@contextmanager
def listening(listener: KafkaListener) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=listener.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def stored(ctx: Context, topic: str) -> int:
    with ctx.database.read() as session:
        query = select(func.count()).select_from(NoticeRow).where(NoticeRow.topic == topic)
        return int(session.execute(query).scalar_one())


def rows(count: int) -> list[tuple[str, bytes]]:
    return [("table_candidates", candidate_row(f"waiting-{i}", i, 0.0)) for i in range(count)]


def test_full_inbox_holds_candidates_and_never_alerts(ctx, cluster, topic):
    bulk, alerts = f"bulk-{topic}", f"alerts-{topic}"
    assert send(ctx, rows(30), topic="backlog") == 30
    cluster.send(bulk, *(candidate_row(f"new-{i}", i, 1.0) for i in range(5)))
    cluster.send(alerts, lvk_notice("MS260301a"))
    listeners = [
        build_listener(ctx, name, settings, lambda status: None)
        for name, settings in (
            ("bulk", wanted(bulk, cluster, "table_candidates", max_pending=30)),
            ("alerts", wanted(alerts, cluster, "igwn", max_pending=30)),
        )
    ]
    with ExitStack() as stack:
        for listener in listeners:
            stack.enter_context(listening(listener))
        until(lambda: listeners[0].status.state is ListenerState.PAUSED)
        until(lambda: stored(ctx, alerts) == 1)
        assert stored(ctx, bulk) == 0
        assert listeners[1].status.state is ListenerState.RUNNING
        while intake.run(ctx):
            pass
        until(lambda: stored(ctx, bulk) == 5)
        assert listeners[0].status.state is ListenerState.RUNNING


def test_room_is_there_again_when_half_the_backlog_is_read(ctx, cluster):
    listener = build_listener(
        ctx, "x", wanted("t", cluster, "table_candidates", max_pending=10), lambda status: None
    )

    def leave(pending: int) -> None:
        with ctx.database.write() as session:
            ids = list(
                session.execute(
                    select(NoticeRow.id).where(NoticeRow.state == "pending").order_by(NoticeRow.id)
                ).scalars()
            )
            read = ids[: len(ids) - pending]
            session.execute(
                update(NoticeRow).where(NoticeRow.id.in_(read)).values(state="processed")
            )

    assert listener._has_room()
    send(ctx, rows(9))
    assert listener._has_room()
    send(ctx, rows(3), first_offset=9)
    assert not listener._has_room()
    leave(pending=6)
    assert not listener._has_room()
    leave(pending=4)
    assert listener._has_room()
