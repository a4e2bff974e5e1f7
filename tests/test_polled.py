"""From the configuration file to a service: secrets, feeds, the stored place, doctor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from listeners.polling import HttpListener
from listeners.pubsub import PubSubListener
from mmcoord.config import ListenerSettings, load_settings
from mmcoord.doctor import examine
from mmcoord.errors import ConfigError
from mmcoord.seed import ask_tns
from mmcoord.stages import intake
from mmcoord.stages.context import Context
from mmcoord.store import queue
from mmcoord.store.cursors import stored_place
from mmcoord.store.tables import (
    CandidateRow,
    DeadLetterRow,
    DetectionRow,
    KnownTransientRow,
    NoticeRow,
)
from mmcoord.wiring import build_listener
from tests.listeners.test_services import CURVE, alerce_row, yse_server
from tests.listeners.test_tns import OBJECT, OPTIONS
from tests.listeners.web_service import Asked, Reply, Waits, serving
from tests.making import make_context
from tests.stores import migrated

PASSWORD = "pa55"  # what the server of test_services takes


@pytest.fixture
def ctx(sqlite_url: str, tmp_path: Path) -> Iterator[Context]:
    database = migrated(sqlite_url)
    yield make_context(database, tmp_path)
    database.close()


def test_a_service_is_polled_into_the_store_and_goes_on_after_a_restart(ctx: Context) -> None:
    rows = [alerce_row(), alerce_row(7, meanra="north")]

    def answer(asked: Asked) -> Reply:
        document = CURVE if asked.path.startswith("/lightcurve") else {"items": rows}
        return Reply(body=json.dumps(document).encode())

    with serving(answer) as service:
        settings = ListenerSettings("http", "alerce", options={"url": service.url})
        for _ in range(2):  # the second one is a restart: the place comes from the store
            listener = build_listener(ctx, "alerce", settings, lambda status: None)
            assert isinstance(listener, HttpListener)
            listener.run(Waits(1))
        curves = [a for a in service.asked if a.path.startswith("/lightcurve")]
    assert len(curves) == 2
    while intake.run(ctx):
        pass
    with ctx.database.read() as session:
        assert stored_place(session, "alerce") is not None
        assert [c.object_id for c in session.execute(select(CandidateRow)).scalars()] == [
            str(rows[0]["oid"])
        ]
        objects = {d.object_id for d in session.execute(select(DetectionRow)).scalars()}
        assert objects == {str(rows[0]["oid"]), "7"}
        (letter,) = session.execute(select(DeadLetterRow)).scalars()
        assert letter.reason == "meanra: a number is needed, not 'north'"
        assert len(session.execute(select(NoticeRow)).all()) == 4
        assert all(balance.lost == 0 for balance in queue.balance(session))


def test_a_crash_between_two_pages_repeats_one_and_skips_none(ctx: Context) -> None:
    """The store fails after each write that it has made, as a kill at that instant would."""
    pages = {n: [{"name": f"t{n}", "ra": 1.0, "dec": n, "id": n}] for n in range(4)}

    def answer(asked: Asked) -> Reply:
        at = int(asked.get("offset"))
        found = pages.get(at, [])
        more = "x" if at < 3 else None
        return Reply(body=json.dumps({"results": found, "next": more}).encode())

    with serving(answer) as service:
        options = {"url": service.url, "username": "me", "password_env": "YSE_PASSWORD"}
        settings = ListenerSettings("http", "ysepz", options=options)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("YSE_PASSWORD", PASSWORD)
            for _ in range(6):
                listener = build_listener(ctx, "yse", settings, lambda status: None)
                assert isinstance(listener, HttpListener)
                _killed_after_one_page(listener)
        asked = [int(a.get("offset")) for a in service.asked]
    assert asked[:4] == [0, 1, 2, 3]
    with ctx.database.read() as session:
        stored = session.execute(select(NoticeRow.payload)).scalars().all()
    assert sorted(json.loads(payload)["id"] for payload in stored) == [0, 1, 2, 3]


def _killed_after_one_page(listener: HttpListener) -> None:
    write = listener._write
    stop = Waits(1)

    def once(*arguments: object) -> None:
        write(*arguments)  # type: ignore[arg-type]
        stop.set()

    listener._write = once
    listener.run(stop)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (ListenerSettings("http", "igwn"), "cannot be polled; over http there are alerce"),
        (ListenerSettings("http", "tns"), "listeners.x.options: tns: api_key_env"),
        (ListenerSettings("http", "ampel", options={"limit": "many"}), "listeners.x.options"),
        (ListenerSettings("http", "tns", options={"api_key": "k"}), "does not belong"),
        (ListenerSettings("pubsub", "pittgoogle"), "listeners.x.options.project"),
        (ListenerSettings("smoke", "igwn"), "none of gcn, http, kafka, pubsub, scimma"),
        (ListenerSettings("kafka", "igwn", options={"bootstrap_servers": "h:1"}), "topics"),
    ],
)
def test_a_wrong_configuration_says_where(
    ctx: Context, settings: ListenerSettings, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        build_listener(ctx, "x", settings, lambda status: None)


def test_pub_sub_is_built_without_asking_anybody(ctx: Context) -> None:
    options = {"project": "ours", "subscription": "lsst"}
    settings = ListenerSettings("pubsub", "pittgoogle", options=options)
    listener = build_listener(ctx, "pg", settings, lambda status: None)
    assert isinstance(listener, PubSubListener)
    assert listener.settings.path == "projects/ours/subscriptions/lsst"


def test_a_key_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mmcoord.toml"
    file.write_text(
        '[listeners.tns]\ntransport = "http"\nsource = "tns"\n'
        '[listeners.tns.options]\napi_key = "k3y"\n'
    )
    with pytest.raises(ConfigError, match="api_key: a secret does not belong"):
        load_settings(file)


def test_doctor_asks_each_service_once_and_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YSE_GOOD", PASSWORD)
    monkeypatch.setenv("YSE_BAD", "wr0ng-secret")
    rows = [{"name": "a", "ra": 1.0, "dec": 2.0, "modified_date": "2999-01-01T00:00:00Z"}]
    with serving(yse_server(rows)) as service:
        file = tmp_path / "mmcoord.toml"
        file.write_text(
            f'data_dir = "{tmp_path / "data"}"\n'
            + "".join(
                f'[listeners.{name}]\ntransport = "http"\nsource = "ysepz"\n'
                f'[listeners.{name}.options]\nurl = "{service.url}"\nusername = "me"\n'
                f'password_env = "{variable}"\n'
                for name, variable in (("good", "YSE_GOOD"), ("bad", "YSE_BAD"))
            )
        )
        findings = {finding.what: finding for finding in examine(file, None)}
    assert findings["listener good"].good
    assert findings["listener good"].text == "transients: answers, 1 items"
    assert not findings["listener bad"].good
    assert "login refused" in findings["listener bad"].text
    assert "wr0ng" not in repr(findings)


def test_one_object_of_tns_is_asked_for_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_url: str
) -> None:
    monkeypatch.setenv("TNS_KEY", str(OPTIONS["api_key"]))
    database = migrated(sqlite_url)
    with serving(lambda asked: Reply(body=json.dumps(OBJECT).encode())) as service:
        options = {"url": service.url, "bot_id": "1", "bot_name": "b", "api_key_env": "TNS_KEY"}
        listeners = {"tns": ListenerSettings("http", "tns", options=options)}
        ctx = make_context(database, tmp_path, listeners=listeners)
        assert ask_tns(ctx, "AT2017gfo").classification == "Kilonova"
    while intake.run(ctx):
        pass
    with database.read() as session:
        row = session.get(KnownTransientRow, ("tns", "22811"))
        assert row is not None
        assert (row.name, row.host) == ("AT 2017gfo", "NGC 4993")
    with pytest.raises(ConfigError, match="no listener of this source"):
        ask_tns(make_context(database, tmp_path), "AT2017gfo")
    database.close()
