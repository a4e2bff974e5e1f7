"""The Hermes sink: what it says, what it refuses to say, and saying it once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from followup.sinks._hermes_message import problems
from followup.sinks.base import Granularity, Outcome
from followup.sinks.hermes import HermesSink, build
from mmcoord.errors import ConfigError
from mmcoord.records import AlertType, OutgoingKind
from tests.sinks.sample import EVENT, outgoing, row, tile
from tests.sinks.services import HERMES_TOKEN, FakeHermes, client_for

TABLE = {"token": HERMES_TOKEN, "submitter": "mmcoord test"}


def _sink(service: Callable[[httpx.Request], httpx.Response], **more: object) -> HermesSink:
    return build("hermes", {**TABLE, **more}, client_for(service))


@pytest.fixture
def hermes() -> FakeHermes:
    return FakeHermes(archive_delay_s=0.0)


@pytest.fixture
def sink(hermes: FakeHermes) -> HermesSink:
    return _sink(hermes)


PLAN = outgoing((row(1), row(2)), key="hermes/MS261123a/1")


def test_the_ranking_rides_in_the_message(hermes: FakeHermes, sink: HermesSink) -> None:
    answer = sink.send(sink.payload(PLAN), key=PLAN.key)
    (message,) = hermes.published
    assert (answer.outcome, answer.remote_id) == (Outcome.SENT, message["uuid"])
    assert message["topic"] == "hermes.test"
    assert EVENT in message["title"]
    assert message["data"]["event_id"] == EVENT
    assert [r["rank"] for r in message["data"]["mmcoord"]["requests"]] == [1, 2]
    assert message["data"]["mmcoord"]["key"] == PLAN.key
    assert message["data"]["mmcoord"]["plan_revision"] == 1
    target = message["data"]["targets"][0]
    assert (target["name"], target["ra"], target["dec"]) == ("LSST-DO-900001", 197.95, -23.131)
    assert message["data"]["references"] == [{"url": PLAN.page_url}]
    assert message["message_text"].startswith("PRACTICE")
    assert "LSST-DO-900002" in message["message_text"]
    assert sink.granularity is Granularity.PLAN


def test_the_tiles_ride_in_the_message_and_are_told_in_its_text(sink: HermesSink) -> None:
    plan = replace(PLAN, tiles=tuple(tile(n) for n in range(8)))
    payload = sink.payload(plan)
    told = payload["data"]["mmcoord"]["tiles"]
    assert [one["ra_deg"] for one in told] == [190.0 + 7.0 * n for n in range(8)]
    assert (told[0]["start"], told[0]["probability"]) == ("2026-11-23T04:00:00Z", 0.05)
    assert "8 tiles of wide cameras: 8 of ztf with 40 % of the map" in payload["message_text"]
    assert payload["message_text"].endswith("and 3 more")
    assert problems(payload) == []
    assert json.loads(json.dumps(payload, allow_nan=False)) == payload
    alone = sink.payload(replace(plan, rows=()))  # before the first candidate
    assert "targets" not in alone["data"]
    assert "photometry" not in alone["data"]
    assert problems(alone) == []
    gone = sink.payload(replace(plan, kind=OutgoingKind.WITHDRAW))
    assert gone["data"]["mmcoord"]["tiles"] == []
    assert "tiles" not in gone["message_text"]


def test_photometry_is_in_utc_with_limits_apart(sink: HermesSink) -> None:
    points = sink.payload(outgoing((row(1),)))["data"]["photometry"]
    limit, detection, _ = points
    # 61368.1 TAI is 2026-11-24 02:24:00 TAI, 37 s ahead of UTC
    assert detection["date_obs"] == "2026-11-24T02:23:23.000000Z"
    assert (detection["brightness"], detection["brightness_error"]) == (19.31, 0.02)
    assert (detection["bandpass"], detection["telescope"]) == ("lsst:g", "Rubin")
    assert limit["limiting_brightness"] == 24.1
    assert "brightness" not in limit


def test_the_map_distance_is_not_given_as_the_targets(sink: HermesSink) -> None:
    payload = sink.payload(PLAN)
    assert all("distance" not in target for target in payload["data"]["targets"])
    assert payload["data"]["mmcoord"]["requests"][0]["distance_mpc"] == 41.0


def test_sending_twice_publishes_once(hermes: FakeHermes, sink: HermesSink) -> None:
    first = sink.send(sink.payload(PLAN), key=PLAN.key)
    second = sink.send(sink.payload(PLAN), key=PLAN.key)
    assert len(hermes.published) == 1
    assert (second.outcome, second.remote_id) == (Outcome.SENT, first.remote_id)


def test_a_500_after_publishing_is_found_in_the_archive() -> None:
    hermes = FakeHermes(archive_delay_s=30.0)

    def fails_after(request: httpx.Request) -> httpx.Response:
        answer = hermes(request)
        return httpx.Response(500) if "submit" in request.url.path else answer

    sink = _sink(fails_after)
    payload = sink.payload(PLAN)
    answer = sink.send(payload, key=PLAN.key)
    assert answer.outcome is Outcome.UNKNOWN
    assert answer.retry_after_s is not None
    assert answer.retry_after_s > hermes.archive_delay_s
    hermes.now_s += answer.retry_after_s
    looked = sink.lookup(payload, key=PLAN.key)
    assert looked is not None
    assert (looked.outcome, looked.remote_id) == (Outcome.SENT, hermes.published[0]["uuid"])
    assert sink.send(payload, key=PLAN.key).outcome is Outcome.SENT
    assert len(hermes.published) == 1


def test_an_archive_that_cannot_be_searched_stops_the_sending(hermes: FakeHermes) -> None:
    def no_archive(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500) if "query" in request.url.path else hermes(request)

    sink = _sink(no_archive)
    looked = sink.lookup(sink.payload(PLAN), key=PLAN.key)
    assert looked is not None
    assert looked.outcome is Outcome.UNKNOWN
    assert sink.send(sink.payload(PLAN), key=PLAN.key).outcome is Outcome.RETRY
    assert hermes.published == []


def _others(hermes: FakeHermes, count: int, at_s: float) -> None:
    """Other people's messages on the same topic."""
    for n in range(count):
        hermes.published.append({"topic": "hermes.test", "title": f"x {n}", "uuid": str(n)})
        hermes._times.append(at_s)


def test_the_search_turns_pages(hermes: FakeHermes, sink: HermesSink) -> None:
    sink.send(sink.payload(PLAN), key=PLAN.key)
    _others(hermes, 2500, 0.0)
    looked = sink.lookup(sink.payload(PLAN), key=PLAN.key)
    assert looked is not None
    assert looked.outcome is Outcome.SENT
    assert [q.get("page") for q in hermes.queries[-3:]] == [None, "1", "2"]


def test_the_search_ends_a_fortnight_back(hermes: FakeHermes, sink: HermesSink) -> None:
    _others(hermes, 5000, -30 * 86400.0)
    looked = sink.lookup(sink.payload(PLAN), key=PLAN.key)
    assert looked is not None
    assert looked.outcome is Outcome.RETRY
    assert len(hermes.queries) == 1


def test_a_topic_too_busy_to_search_is_not_written_blindly(
    hermes: FakeHermes, sink: HermesSink
) -> None:
    _others(hermes, 25_000, 0.0)
    assert sink.send(sink.payload(PLAN), key=PLAN.key).outcome is Outcome.RETRY
    assert len(hermes.published) == 25_000


def test_another_key_is_another_message(hermes: FakeHermes, sink: HermesSink) -> None:
    sink.send(sink.payload(PLAN), key=PLAN.key)
    looked = sink.lookup(sink.payload(PLAN), key="another")
    assert looked is not None
    assert looked.outcome is Outcome.RETRY


@pytest.mark.parametrize("from_withdraw_outgoing", [True, False])
@pytest.mark.parametrize("with_remote_id", [True, False])
def test_withdrawing_says_so_once_and_marks_the_message(
    hermes: FakeHermes, sink: HermesSink, from_withdraw_outgoing: bool, with_remote_id: bool
) -> None:
    sent = sink.send(sink.payload(PLAN), key=PLAN.key)
    payload = sink.payload(PLAN)
    if from_withdraw_outgoing:
        end = replace(PLAN, kind=OutgoingKind.WITHDRAW, alert_type=AlertType.RETRACTION)
        payload = sink.payload(end)
    for _ in range(2):
        answer = sink.withdraw(
            payload, key=PLAN.key, remote_id=sent.remote_id if with_remote_id else None
        )
        assert answer.outcome is Outcome.SENT
    _, said = hermes.published
    state = "retracted" if from_withdraw_outgoing else "withdrawn"
    assert state.upper() in said["title"]
    assert said["data"]["mmcoord"]["state"] == state
    assert said["data"]["mmcoord"]["takes_back"] == sent.remote_id
    assert said["data"]["mmcoord"]["requests"] == []
    assert "targets" not in said["data"]
    assert str(sent.remote_id) in said["message_text"]
    assert hermes.retracted == {sent.remote_id}


def test_a_message_that_cannot_be_marked_is_still_taken_back_in_words(
    hermes: FakeHermes,
) -> None:
    def no_marks(request: httpx.Request) -> httpx.Response:
        if request.method == "PATCH":
            return httpx.Response(403, json={"error": "Operation not permitted"})
        return hermes(request)

    sink = _sink(no_marks)
    sent = sink.send(sink.payload(PLAN), key=PLAN.key)
    answer = sink.withdraw(sink.payload(PLAN), key=PLAN.key, remote_id=sent.remote_id)
    assert answer.outcome is Outcome.SENT
    assert "cannot be marked" in answer.detail
    assert len(hermes.published) == 2


def test_a_mark_that_failed_is_repeated_without_repeating_the_words(hermes: FakeHermes) -> None:
    broken = {"now": True}

    def unlucky(request: httpx.Request) -> httpx.Response:
        if request.method == "PATCH" and broken["now"]:
            return httpx.Response(502)
        return hermes(request)

    sink = _sink(unlucky)
    sent = sink.send(sink.payload(PLAN), key=PLAN.key)
    first = sink.withdraw(sink.payload(PLAN), key=PLAN.key, remote_id=sent.remote_id)
    broken["now"] = False
    second = sink.withdraw(sink.payload(PLAN), key=PLAN.key, remote_id=sent.remote_id)
    assert (first.outcome, second.outcome) == (Outcome.RETRY, Outcome.SENT)
    assert len(hermes.published) == 2
    assert hermes.retracted == {sent.remote_id}


def test_nothing_published_is_nothing_to_withdraw(hermes: FakeHermes, sink: HermesSink) -> None:
    answer = sink.withdraw(sink.payload(PLAN), key=PLAN.key, remote_id=None)
    assert answer.outcome is Outcome.SENT
    assert hermes.published == []


def test_preload_gives_a_link_for_a_person(hermes: FakeHermes, sink: HermesSink) -> None:
    answer = sink.preload(sink.payload(PLAN))
    assert answer.extra["link"] == "https://hermes.lco.global/submit-message?id=0a0b"
    assert hermes.published == []


def _message(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    message = json.loads(json.dumps(_sink(FakeHermes()).payload(PLAN)))
    assert problems(message) == []
    change(message)
    return message


def _target(**values: object) -> Callable[[dict[str, Any]], object]:
    return lambda m: m["data"]["targets"][0].update(values)


def _point(**values: object) -> Callable[[dict[str, Any]], object]:
    return lambda m: m["data"]["photometry"][1].update(values)


BROKEN = {
    "right ascension that Hermes would wrap": (_target(ra=400.0), "targets[0].ra"),
    "right ascension of 360": (_target(ra=360.0), "targets[0].ra"),
    "declination below the pole": (_target(dec=-90.1), "targets[0].dec"),
    "declination that Hermes would read as hours": (_target(dec="-01:30:00"), "targets[0].dec"),
    "right ascension as text": (_target(ra="197.45"), "targets[0].ra"),
    "position that is not a number": (_target(ra=math.nan), "targets[0].ra"),
    "no position": (_target(dec=None), "targets[0].dec"),
    "epoch that Hermes refuses": (_target(epoch="J2000"), "targets[0].epoch"),
    "blank target name": (_target(name=""), "targets[0].name"),
    "target name twice": (_target(name="LSST-DO-900002"), "occurs twice"),
    "magnitude that is published and then fails": (_point(brightness=math.nan), "brightness"),
    "infinite magnitude": (_point(brightness=math.inf), "brightness"),
    "magnitude 0, taken for missing": (_point(brightness=0.0), "brightness"),
    "magnitude as text": (_point(brightness="NaN"), "brightness"),
    "magnitude and limit": (_point(limiting_brightness=20.0), "either"),
    "neither magnitude nor limit": (_point(brightness=None), "either"),
    "error of 0": (_point(brightness_error=0.0), "brightness_error"),
    "no telescope": (_point(telescope=""), "telescope"),
    "photometry of nothing": (_point(target_name="other"), "target_name"),
    "no band": (_point(bandpass=""), "bandpass"),
    "unreadable time": (_point(date_obs="yesterday"), "date_obs"),
    "blank title": (lambda m: m.update(title=" "), "title"),
    "blank submitter": (lambda m: m.update(submitter=""), "submitter"),
    "reference to nowhere": (
        lambda m: m["data"].update(references=[{"url": "http://mmcoord:8000/"}]),
        "references[0]",
    ),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_message_that_hermes_would_corrupt_is_not_sent(name: str) -> None:
    change, place = BROKEN[name]
    found = problems(_message(change))
    assert any(place in problem for problem in found), found


def test_a_broken_plan_is_rejected_before_any_request() -> None:
    def unreachable(request: httpx.Request) -> httpx.Response:
        raise AssertionError("a request was made")

    sink = _sink(unreachable)
    plan = outgoing((replace(row(1), ra_deg=400.0),))
    answer = sink.send(sink.payload(plan), key=plan.key)
    assert answer.outcome is Outcome.REJECTED
    assert "targets[0].ra 400.0" in answer.detail


@given(
    ra=st.floats(allow_nan=True, allow_infinity=True),
    dec=st.floats(allow_nan=True, allow_infinity=True),
)
def test_positions_pass_exactly_when_they_are_on_the_sky(ra: float, dec: float) -> None:
    found = problems(_message(_target(ra=ra, dec=dec)))
    assert bool(found) == (not (0.0 <= ra < 360.0 and -90.0 <= dec <= 90.0))


@pytest.mark.parametrize(
    "url",
    [
        "http://mmcoord:8000/event/x",
        "http://127.0.0.1:8765/event/x",
        "http://192.168.1.5/event/x",
        "http://[::1]/event/x",
        "file:///event/x",
        "",
    ],
)
def test_an_address_that_others_cannot_reach_is_no_reference(sink: HermesSink, url: str) -> None:
    payload = sink.payload(replace(PLAN, page_url=url))
    assert "references" not in payload["data"]
    assert problems(payload) == []


def test_an_empty_plan_can_be_said(hermes: FakeHermes, sink: HermesSink) -> None:
    plan = outgoing((), key="empty")
    assert sink.send(sink.payload(plan), key=plan.key).outcome is Outcome.SENT


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"submitter": "s"}, "token"),
        ({"token": "t"}, "submitter"),
        ({**TABLE, "token_env": "X"}, "token"),
        ({**TABLE, "topic": "hermes.message", "practice": True}, "topic"),
        ({**TABLE, "url": "http://hermes.example.org"}, "url"),
        ({**TABLE, "url": "https://user:pw@hermes.example.org"}, "url"),
        ({**TABLE, "timeout_s": 0}, "timeout_s"),
        ({**TABLE, "topik": "x"}, "topik"),
    ],
)
def test_a_wrong_setting_is_named(table: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError, match=f"sinks.hermes.{key}:"):
        build("hermes", table, client_for(FakeHermes()))


def test_the_topic_decides_whether_it_is_practice() -> None:
    assert _sink(FakeHermes()).is_practice
    assert not _sink(FakeHermes(), topic="hermes.message").is_practice


def test_the_check_tells_a_known_token_from_an_unknown_one(sink: HermesSink) -> None:
    assert sink.check().outcome is Outcome.SENT
    assert _sink(FakeHermes(), token="another").check().outcome is Outcome.RETRY
