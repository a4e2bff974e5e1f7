"""Notices on a topic of ours: read back by consumers that know nothing of us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from confluent_kafka import Consumer, Message
from hop.io import Deserializer
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

import skymaps
from followup.sinks._kafka_notice import plan_notice, result_notice
from followup.sinks.base import Announces, Outcome
from followup.sinks.kafka import KafkaSink, build
from mmcoord.access import Scope
from mmcoord.announcements import Announcement, RunStatus
from mmcoord.config import SinkSettings
from mmcoord.errors import ConfigError
from mmcoord.policy import Action, Policy, Rule
from mmcoord.records import OutgoingKind
from mmcoord.runs import PUBLIC, Requester, submit
from mmcoord.stages import deliver, intake
from mmcoord.stages.announce import announce
from mmcoord.stages.context import Context
from mmcoord.stages.executor import Executor
from mmcoord.stages.jobs import job_from_json
from mmcoord.stages.pipeline import Pipeline
from mmcoord.store.database import Database
from mmcoord.store.tables import DeliveryRow, RunRow
from tests.api.conftest import make_token
from tests.listeners.broker import PASSWORD, USER, Broker
from tests.making import (
    StandInExecutor,
    candidate_row,
    gaussian_map,
    lvk_notice,
    make_context,
    photometry_row,
    send,
)
from tests.shared import shared
from tests.sinks.sample import EVENT, EVENT_TIME, outgoing, row, tile
from tests.stores import migrated

_SUMMARY = {
    "model": "villar17_2",
    "converged": True,
    "p_kilonova": 0.75,
    "parameters": {"vej_1": {"median": 0.2, "lo90": 0.1, "hi90": 0.3, "unit": "c"}},
    "wall_s": 3.2,
}


def said(**changes: Any) -> Announcement:
    known = Announcement(
        run_key="ab" * 32,
        status=RunStatus.DONE,
        at=datetime(2026, 11, 23, 3, tzinfo=UTC),
        event_id=EVENT,
        event_aliases=("GW261123",),
        messenger="GW",
        event_time=EVENT_TIME,
        is_practice=True,
        object_id="LSST-DO-1",
        ra_deg=197.4,
        dec_deg=-23.4,
        summary=_SUMMARY,
        run_url="https://house.example/api/v1/runs/" + "ab" * 32,
    )
    return replace(known, **changes)


def sink_on(servers: str, topic: str, **more: Any) -> KafkaSink:
    table = {"bootstrap_servers": servers, "topic": topic, "practice": False, "timeout_s": 10}
    return build("ours", {**table, **more}, httpx.Client())


def read(broker: Broker, topic: str, count: int) -> list[Message]:
    """Everything on a topic, by a plain consumer: at least ``count`` messages, then what follows
    within half a second."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker.address("plain"),
            "group.id": f"reader-{uuid.uuid4()}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    found: list[Message] = []
    try:
        consumer.subscribe([topic])
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                found.append(message)
            elif len(found) >= count:
                break
    finally:
        consumer.close()
    return found


def notices(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return [json.loads(message.value()) for message in messages]


# -- what is said --------------------------------------------------------------------------


def gcn_schema(name: str) -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    referencing = pytest.importorskip("referencing")
    folder = shared("gw/gcn-schema")
    documents = [json.loads(path.read_text()) for path in folder.rglob("*.schema.json")]
    registry = referencing.Registry().with_contents(
        [(document["$id"], document) for document in documents],
        default_specification=referencing.jsonschema.DRAFT202012,
    )
    schema = json.loads((folder / name).read_text())
    return jsonschema.Draft202012Validator(schema, registry=registry)


def test_notices_fit_gcn_s_schema_of_optical_alerts() -> None:
    validator = gcn_schema("gcn/notices/boom/alert.schema.json")
    unknown = replace(row(1), p_kilonova=None, instrument=None, start=None, exposure_s=None)
    for notice in (
        result_notice(said(), "mmcoord"),
        result_notice(said(supersedes=("cd" * 32,)), "mmcoord"),
        result_notice(said(status=RunStatus.TAINTED), "mmcoord"),
        plan_notice(outgoing((row(1), unknown)), "mmcoord"),
        plan_notice(replace(outgoing((row(1),)), tiles=(tile(0), tile(1))), "mmcoord"),
        plan_notice(outgoing((row(1),), kind=OutgoingKind.WITHDRAW), "mmcoord"),
    ):
        validator.validate(notice)
    wrong = {**result_notice(said(), "mmcoord"), "alert_type": "done"}
    assert not validator.is_valid(wrong)


def test_a_plan_tells_of_its_tiles_and_one_without_says_nothing_of_them() -> None:
    plan = replace(outgoing((row(1),)), tiles=(tile(0), tile(1)))
    told = plan_notice(plan, "x")["data"]["plan"]["tiles"]
    assert [one["tile_id"] for one in told] == [tile(0).tile_id, tile(1).tile_id]
    for other in (replace(plan, tiles=()), replace(plan, kind=OutgoingKind.WITHDRAW)):
        assert "tiles" not in plan_notice(other, "x")["data"]["plan"]


def test_a_result_says_what_it_replaces_and_a_tainted_one_gives_no_numbers() -> None:
    first, newer = result_notice(said(), "x"), result_notice(said(supersedes=("cd" * 32,)), "x")
    assert (first["alert_type"], newer["alert_type"]) == ("initial", "update")
    (target,) = newer["data"]["targets"]
    assert target["inference"]["supersedes"] == ["cd" * 32]
    assert target["classification_scores"] == {"kilonova": 0.75, "other": 0.25}
    assert target["gcn_crossmatch"] == [{"ref_ID": EVENT, "ref_type": "GW"}]
    tainted = result_notice(said(status=RunStatus.TAINTED), "x")
    assert tainted["alert_type"] == "retraction"
    (target,) = tainted["data"]["targets"]
    assert "classification_scores" not in target
    assert target["inference"].keys() == {"run_key", "status", "url"}


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below),
        max_leaves=8,
    ),
    st.floats() | st.none(),
)
def test_any_summary_becomes_json_that_the_store_and_the_topic_can_hold(
    parameters: Any, p_kilonova: float | None
) -> None:
    summary = {"parameters": parameters, "p_kilonova": p_kilonova, "converged": False}
    notice = result_notice(said(summary=summary), "mmcoord")
    assert json.loads(json.dumps(notice, allow_nan=False)) == notice


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ({}, "topic"),
        ({"topic": "t"}, "bootstrap_servers"),
        ({"topic": "t", "transport": "carrier pigeon"}, "transport"),
        ({"topic": "t", "transport": "scimma", "username": "u"}, "password"),
        ({"topic": "t", "transport": "gcn", "client_id": "c"}, "client_secret"),
        ({"topic": "ours", "bootstrap_servers": "b", "practice": True}, '"test"'),
        ({"topic": "t", "bootstrap_servers": "b", "password_env": "NO_SUCH"}, "NO_SUCH"),
        ({"topic": "t", "bootstrap_servers": "b", "acks": "0"}, "acks"),
    ],
)
def test_a_wrong_setting_is_named(table: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        build("ours", table, httpx.Client())


def test_a_password_is_shown_by_nothing() -> None:
    table = {"topic": "t", "transport": "scimma", "username": "u", "password": "hush hush"}
    assert "hush" not in repr(build("ours", table, httpx.Client()))


# -- on a real Kafka -----------------------------------------------------------------------


@pytest.mark.kafka
@pytest.mark.slow
def test_what_is_sent_is_there_and_hop_can_read_it(broker: Broker, made_topic: str) -> None:
    ours = sink_on(broker.address("plain"), made_topic)
    assert isinstance(ours, Announces)
    assert ours.check().outcome is Outcome.SENT
    payload = ours.announcement(said())
    answer = ours.send(payload, key="result:ours:ab:done")
    assert (answer.outcome, answer.remote_id) == (Outcome.SENT, f"{made_topic}[0]@0")
    again = ours.send(payload, key="result:ours:ab:done")  # the outbox may have to
    plan = ours.payload(outgoing((row(1), row(2))))
    assert ours.send(plan, key="publish:ours:1").outcome is Outcome.SENT
    assert ours.withdraw(plan, key="publish:ours:1", remote_id=None).outcome is Outcome.SENT
    first, repeat, published, withdrawn = read(broker, made_topic, 4)
    assert again.remote_id == f"{made_topic}[0]@1"
    assert first.key() == repeat.key() == b"ab" * 32
    assert first.headers() == repeat.headers()
    assert dict(first.headers())["mmcoord-key"] == b"result:ours:ab:done"
    assert published.headers() != first.headers()
    uuid.UUID(bytes=dict(first.headers())["_id"])
    assert json.loads(first.value()) == payload["notice"]
    assert Deserializer.deserialize(first).content == payload["notice"]
    assert published.key() == EVENT.encode()
    assert notices([withdrawn])[0]["alert_type"] == "retraction"


@pytest.mark.kafka
@pytest.mark.slow
def test_scimma_s_login_over_tls_and_what_is_said_of_a_wrong_one(
    broker: Broker,
    made_topic: str,
) -> None:
    login = {
        "transport": "scimma",
        "username": USER,
        "ca_file": str(broker.certificates.authority),
    }
    servers = broker.address("scramtls")
    good = sink_on(servers, made_topic, **login, password=PASSWORD)
    assert good.send(good.announcement(said()), key="k").outcome is Outcome.SENT
    (message,) = read(broker, made_topic, 1)
    assert dict(message.headers())["_sender"] == USER.encode()
    bad = sink_on(servers, made_topic, **login, password="guess", timeout_s=2)
    answer = bad.send(bad.announcement(said()), key="k")
    assert answer.outcome in (Outcome.RETRY, Outcome.UNKNOWN)  # never SENT, never given up
    assert "guess" not in answer.detail
    assert len(read(broker, made_topic, 1)) == 1


@pytest.mark.kafka
@pytest.mark.slow
def test_what_cannot_be_sent_is_told_apart(broker: Broker, made_topic: str) -> None:
    no_topic = sink_on(broker.address("plain"), f"{made_topic}.none", timeout_s=2)
    answer = no_topic.send(no_topic.announcement(said()), key="k")
    assert answer.outcome is Outcome.RETRY
    assert "topic" in answer.detail
    assert no_topic.check().outcome is Outcome.RETRY
    ours = sink_on(broker.address("plain"), made_topic)
    noise = np.random.default_rng(1).integers(0, 2**62, 120_000).tolist()
    large = ours.announcement(said(summary={**_SUMMARY, "parameters": {"noise": noise}}))
    assert ours.send(large, key="k").outcome is Outcome.REJECTED
    assert ours.send(ours.announcement(said()), key="k").outcome is Outcome.SENT
    nobody = sink_on("127.0.0.1:9", made_topic, timeout_s=1)
    answer = nobody.send(nobody.announcement(said()), key="k")
    assert answer.outcome in (Outcome.RETRY, Outcome.UNKNOWN)


# -- through the house ---------------------------------------------------------------------

FADING = [
    (0.5, "lsst:g", 19.2),
    (0.5, "lsst:i", 19.3),
    (1.5, "lsst:g", 20.6),
    (1.5, "lsst:i", 20.0),
]
HOUSE_EVENT, OBJECT = "MS260301a", "fader"


def house(database: Database, folder: Path, servers: str, topic: str) -> Context:
    options = {"topic": topic, "bootstrap_servers": servers, "timeout_s": 10}
    return make_context(
        database, folder, sinks={"topic": SinkSettings("kafka", True, options, plans=False)}
    )


def night(ctx: Context, executor: Executor, points: Sequence[Any], first_offset: int = 0) -> None:
    """Receive one event with one candidate, and work until nothing is left to do."""
    send(
        ctx,
        [
            ("igwn", lvk_notice(skymap=skymaps.to_fits_bytes(gaussian_map()))),
            ("table_candidates", candidate_row(OBJECT, 150.0, -20.0)),
            *(("table_photometry", photometry_row(OBJECT, *point)) for point in points),
        ],
        first_offset=first_offset,
    )
    pipeline = Pipeline(ctx, executor)
    assert pipeline.drain(60)
    pipeline.close()


def deliveries(ctx: Context) -> list[DeliveryRow]:
    with ctx.database.read() as session:
        return list(session.execute(select(DeliveryRow).order_by(DeliveryRow.id)).scalars())


def test_a_public_run_is_written_to_the_outbox_once_and_a_private_one_never(
    database: Database, tmp_path: Path
) -> None:
    ctx = house(database, tmp_path, "127.0.0.1:9", "mmcoord.test")
    ctx.sinks["topic"].timeout_s = 0.1  # type: ignore[attr-defined]
    executor = StandInExecutor()
    send(
        ctx,
        [
            ("igwn", lvk_notice(skymap=skymaps.to_fits_bytes(gaussian_map()))),
            ("table_candidates", candidate_row(OBJECT, 150.0, -20.0)),
            *(("table_photometry", photometry_row(OBJECT, *point)) for point in FADING[:3]),
        ],
    )
    pipeline = Pipeline(ctx, executor)
    pipeline.step()
    for _ in range(10):
        pipeline.step()
    make_token(database, "own", Scope.RUN)
    (public,) = executor.jobs
    with database.write() as session:
        for job in (replace(public, partition="own"), replace(public, seed=9)):
            submit(session, job, Requester("own"), ctx.now())  # brought: linked to nothing
    for _ in range(10):
        pipeline.step()
    assert len(executor.jobs) == 3
    (only,) = deliveries(ctx)
    assert (only.kind, only.target, only.is_practice) == ("result", OBJECT, True)
    with database.write() as session:
        done = session.get_one(RunRow, only.payload["key"])
        assert (done.partition, job_from_json(done.job)) == (PUBLIC, public)
        assert announce(ctx, session, done, RunStatus.DONE) == 0  # said before
        assert announce(ctx, session, done, RunStatus.TAINTED) == 1
    send(ctx, [("table_photometry", photometry_row(OBJECT, *FADING[3]))], first_offset=50)
    for _ in range(10):
        pipeline.step()
    newest = deliveries(ctx)[-1]
    (target,) = newest.payload["notice"]["data"]["targets"]
    assert target["inference"]["supersedes"] == [only.payload["key"]]
    pipeline.close()


SENDS = Rule("sure ones", ("topic",), Action.SEND, min_p_kilonova=0.5)
HOLDS = Rule("ask", ("topic",), Action.HOLD)


@pytest.mark.parametrize(
    ("options", "rules", "told"),
    [
        ({}, (), 0),
        ({"announces": True}, (), 1),
        ({}, (SENDS,), 1),
        ({}, (replace(SENDS, min_p_kilonova=0.9),), 0),
        ({"announces": True}, (HOLDS,), 0),
    ],
)
def test_a_public_topic_is_told_where_the_operator_or_a_rule_says_so(
    sqlite_url: str, tmp_path: Path, options: dict[str, Any], rules: tuple[Rule, ...], told: int
) -> None:
    database = migrated(sqlite_url)
    table = {"topic": "mmcoord.results", "bootstrap_servers": "127.0.0.1:9", **options}
    ctx = make_context(
        database, tmp_path, sinks={"topic": SinkSettings("kafka", False, table, plans=False)}
    )
    ctx = replace(ctx, policy=Policy(rules))
    send(
        ctx,
        [
            ("igwn", lvk_notice("S260301a", skymap=skymaps.to_fits_bytes(gaussian_map()))),
            ("table_candidates", candidate_row(OBJECT, 150.0, -20.0)),
        ],
    )
    intake.run(ctx)
    done = RunRow(
        run_key="ab" * 32,
        event_id="S260301a",
        object_id=OBJECT,
        state="done",
        created_at=ctx.now(),
        summary={"p_kilonova": 0.8},
    )
    with database.write() as session:
        session.add(done)
        session.flush()
        assert announce(ctx, session, done, RunStatus.DONE) == told
    # What was told is taken back, whatever the rules have become.
    with database.write() as session:
        row = session.get_one(RunRow, "ab" * 32)
        nothing = replace(ctx, policy=Policy((replace(HOLDS, action=Action.NEVER),)))
        assert announce(nothing, session, row, RunStatus.TAINTED) == told
    database.close()


@pytest.mark.kafka
@pytest.mark.slow
def test_a_result_reaches_the_topic_and_newer_data_say_what_they_replace(
    sqlite_url: str,
    tmp_path: Path,
    broker: Broker,
) -> None:
    broker.create("results.test")
    database = migrated(sqlite_url)
    ctx = house(database, tmp_path, broker.address("plain"), "results.test")
    night(ctx, StandInExecutor(), FADING[:3])
    night(ctx, StandInExecutor(0.5), FADING, first_offset=100)
    first, second = notices(read(broker, "results.test", 2))
    assert (first["alert_type"], second["alert_type"]) == ("initial", "update")
    keys = [notice["data"]["targets"][0]["inference"]["run_key"] for notice in (first, second)]
    assert second["data"]["targets"][0]["inference"]["supersedes"] == keys[:1]
    assert [row.state for row in deliveries(ctx)] == ["sent", "sent"]
    assert first["alert_tense"] == "test"
    database.close()


_KILLED = """
import os, signal, sys
from pathlib import Path
from followup.sinks.kafka import KafkaSink
from mmcoord.stages import deliver
from mmcoord.store.database import Database
from tests.sinks.test_kafka import house

url, folder, servers, topic = sys.argv[1:]
send = KafkaSink.send

def send_and_die(self, payload, *, key):
    answer = send(self, payload, key=key)
    assert answer.outcome == "sent", answer
    os.kill(os.getpid(), signal.SIGKILL)

KafkaSink.send = send_and_die
deliver.run(house(Database(url), Path(folder), servers, topic))
"""


@pytest.mark.kafka
@pytest.mark.slow
def test_killed_between_the_message_and_its_record_it_is_at_most_repeated_under_the_same_key(
    sqlite_url: str,
    tmp_path: Path,
    broker: Broker,
) -> None:
    broker.create("killed.test")
    database = migrated(sqlite_url)
    ctx = house(database, tmp_path, broker.address("plain"), "killed.test")
    send(
        ctx,
        [
            ("igwn", lvk_notice(skymap=skymaps.to_fits_bytes(gaussian_map()))),
            ("table_candidates", candidate_row(OBJECT, 150.0, -20.0)),
            *(("table_photometry", photometry_row(OBJECT, *point)) for point in FADING),
        ],
    )
    pipeline = Pipeline(ctx, StandInExecutor())
    for _ in range(10):
        pipeline.step()  # everything but deliver
    pipeline.close()
    (waiting,) = deliveries(ctx)
    killed = subprocess.run(
        [
            *(sys.executable, "-c", _KILLED, sqlite_url, str(tmp_path)),
            *(broker.address("plain"), "killed.test"),
        ],
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert killed.returncode == -9
    assert deliveries(ctx)[0].state == "sending"
    deliver.recover(ctx)
    while deliver.run(ctx):
        pass
    assert deliveries(ctx)[0].state == "sent"
    messages = read(broker, "killed.test", 1)
    assert 1 <= len(messages) <= 2
    assert {message.key() for message in messages} == {waiting.payload["key"].encode()}
    assert len({dict(message.headers())["mmcoord-key"] for message in messages}) == 1
    assert len({message.value() for message in messages}) == 1
    database.close()
