"""Scenarios through the real stages: scored against the truth, sent to Kafka, replayed later."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from mmcoord import practice_scenario
from mmcoord.cli_common import pipeline
from mmcoord.errors import ConfigError, MmcoordError
from mmcoord.practice import Pace, play
from mmcoord.practice_scenario import play_scenario, play_track, send
from mmcoord.replay import feed
from mmcoord.replay_event import compared, stored_messages, table
from mmcoord.simulate.night import Night, make_night
from mmcoord.simulate.sources import Scenario
from mmcoord.simulate.track import make_track
from mmcoord.stages.context import Context
from mmcoord.stages.pipeline import Pipeline
from tests.listeners.packets import needs_schemas

pytestmark = pytest.mark.long


@contextmanager
def stages(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Context, Pipeline]]:
    """The whole way on an empty store, quick looks alone."""
    monkeypatch.setenv("MMCOORD_DATA_DIR", str(folder))
    monkeypatch.setenv("MMCOORD_INFER__SCREEN_THRESHOLD", "1.1")
    monkeypatch.setenv("MMCOORD_INFER__WORKERS", "1")
    with pipeline(None, str(folder / "practice.db")) as made:
        yield made


def night(**scenario: bool) -> Night:
    return make_night(4, n_candidates=25, scenario=Scenario(**scenario))


def test_a_promoted_event_with_a_burst_is_found_linked_and_the_same_again_tomorrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = night(promoted=True, with_grb=True)
    event_id = made.truth.event_id
    with stages(tmp_path, monkeypatch) as (ctx, way):
        score = play_scenario(ctx, way, made, None)
        assert score["significant"] is score["is_practice"] is score["matched"] is True
        assert score["found"] is True and score["rank"] <= 3  # noqa: PT018
        assert score["found_after_s"] > 0
        assert score["ledger_balanced"] and score["dead_letters"] == 0  # noqa: PT018
        assert score["inferences_of_it"] == score["false_starts"] == 0
        assert len(score["linked"]) == 1 and "Fermi-GBM" in score["linked"][0]  # noqa: PT018
        with ctx.database.read() as session:
            stored = stored_messages(session, event_id)
        payloads = {message.payload for message in made.messages}
        assert {message.payload for message in stored} <= payloads
        assert sum(message.source == "igwn" for message in stored) == 4
        (tmp_path / "again").mkdir()
        with stages(tmp_path / "again", monkeypatch) as (other, again):
            feed(other, stored)
            again.drain()
            with ctx.database.read() as then, other.database.read() as now:
                document = compared(then, now, event_id)
    first = document["targets"][0]
    assert first["candidate"] == made.truth.kilonova_id
    assert first["then"]["p_kilonova"] == pytest.approx(first["now"]["p_kilonova"], abs=1e-9)
    assert document["then"]["candidates_matched"] == document["now"]["candidates_matched"]
    assert any(made.truth.kilonova_id in line for line in table(document))


def test_a_retraction_withdraws_what_was_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = night(retracted=True)
    with stages(tmp_path, monkeypatch) as (ctx, way):
        before = dataclasses.replace(made, messages=made.messages[:-1])
        assert play_scenario(ctx, way, before, None)["deliveries"].get("sent", 0) > 0
        play(ctx, way, made.messages[-1:], "retraction", Pace(1e9))
        way.drain()
        score = practice_scenario._score(ctx, made.truth.event_id, made.truth.kilonova_id)
    assert score["state"] == "retracted"
    assert score["deliveries"]["withdrawn"] > 0


def test_a_track_is_matched_and_starts_no_inference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stages(tmp_path, monkeypatch) as (ctx, way):
        score = play_track(ctx, way, make_track(2, n_candidates=10), None)
    assert score["is_practice"] is True
    assert score["matched"] is True
    assert score["false_starts"] == score["inferences_of_it"] == 0
    assert score["ledger_balanced"] is True


@needs_schemas
def test_the_stream_is_taken_by_a_broker_message_by_message() -> None:
    broker = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "ignored"})
    address = next(iter(broker.list_topics(timeout=10).brokers.values()))
    made = make_night(4, n_candidates=6, fmt="fink")
    sent = send(made.messages, f"{address.host}:{address.port}")
    assert sent == {
        "practice.igwn": 3,
        "practice.fink_practice": sum(m.source == "fink_practice" for m in made.messages),
    }


def test_a_broker_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(practice_scenario, "_FLUSH_S", 0.2)
    with pytest.raises(MmcoordError, match="not taken"):
        send(make_night(4, n_candidates=2).messages[:3], "127.0.0.1:9")


def test_a_stream_of_nights_is_not_sent() -> None:
    from typer.main import get_command

    from mmcoord.cli import app

    with pytest.raises(ConfigError, match="kafka"):
        get_command(app).main(
            ["practice", "night", "--kafka", "localhost:9"], standalone_mode=False
        )
