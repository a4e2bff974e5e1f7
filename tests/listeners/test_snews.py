"""SNEWS 2.0 alerts: drills are drills, pickles are never read, lists must agree."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listeners import gcn_unified
from listeners.snews import DRILLS, parse
from mmcoord.errors import BadInput, BadNotice
from mmcoord.records import Alert, AlertType
from tests.listeners.test_igwn import edits, json_values, mutated
from tests.shared import shared


def coincidence(**changes: Any) -> dict[str, Any]:
    """An alert in earnest; None takes a key away."""
    made = {
        "id": "SNEWS_Coincidence_ALERT 2027-05-01T12:00:30.000001",
        "alert_type": "COINC_MSG",
        "server_tag": "server-1",
        "False Alarm Prob": "13.96%",
        "detector_names": ["JUNO", "Super-K"],
        "sent_time": "2027-05-01T12:00:30.000001",
        "p_values": [0.02, 0.01],
        "neutrino_times": ["2027-05-01T12:00:01.250000000", "2027-05-01T12:00:01.234567891"],
        "p_values average": 0.015,
        "sub list number": 0,
    } | changes
    return {key: value for key, value in made.items() if value is not None}


def read(made: Any) -> Alert:
    (alert,) = parse(json.dumps(made).encode())
    return alert


def test_alert_in_earnest():
    alert = read(coincidence())
    assert alert.event_id == "SNEWS2-20270501T1200"
    assert alert.event_time == datetime(2027, 5, 1, 12, 0, 1, 234567, tzinfo=UTC)
    assert alert.instruments == ("JUNO", "Super-K")
    assert not alert.is_practice
    assert alert.far_hz is None
    assert [(d["detector"], d["p_value"]) for d in alert.extra["detections"]] == [
        ("Super-K", 0.01),
        ("JUNO", 0.02),
    ]
    assert alert.extra["server_tag"] == "server-1"


def test_an_earlier_detector_joins_the_same_event():
    joined = coincidence(
        id="SNEWS_Coincidence_ALERT-UPDATE x",
        alert_type="UPDATE",
        detector_names=["JUNO", "Super-K", "IceCube"],
        neutrino_times=[*coincidence()["neutrino_times"], "2027-05-01T12:00:00.998"],
        p_values=[0.02, 0.01, 0.01],
    )
    assert read(joined).event_id == read(coincidence()).event_id
    assert read(joined).event_time < read(coincidence()).event_time


def test_two_servers_tell_of_one_event():
    assert read(coincidence(server_tag="b", id="x")).event_id == read(coincidence()).event_id


@pytest.mark.parametrize(
    ("name", "alert_type", "practice"),
    [
        ("COINC_MSG", AlertType.INITIAL, False),
        ("COINC_MSG_STAGGERED", AlertType.UPDATE, False),
        ("UPDATE", AlertType.UPDATE, False),
        ("RETRACTION", AlertType.RETRACTION, False),
        ("TEST COINC_MSG", AlertType.INITIAL, True),
        ("TEST RETRACTION", AlertType.RETRACTION, True),
        (None, AlertType.INITIAL, True),
    ],
)
def test_types(name, alert_type, practice):
    alert = read(coincidence(alert_type=name))
    assert alert.alert_type is alert_type
    assert alert.is_practice is practice


@pytest.mark.parametrize("mark", [{"is_test": True}, {"is_test": "True"}, {"is_firedrill": True}])
def test_any_mark_makes_a_drill_with_its_own_name(mark):
    alert = read(coincidence(**mark))
    assert alert.is_practice
    assert alert.event_id != read(coincidence()).event_id


def test_test_of_the_connection_is_nothing():
    assert parse(b'{"_id": "0_test-connection"}') == []


def test_pickle_is_refused_unread():
    with pytest.raises(BadNotice, match="pickle"):
        parse(pickle.dumps({"id": "x"}))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"id": None}, "id"),
        ({"alert_type": "NEW"}, "alert_type"),
        ({"detector_names": ["JUNO"]}, "detector_names"),
        ({"detector_names": [], "neutrino_times": [], "p_values": []}, "detector_names"),
        ({"detector_names": "JUNO"}, "detector_names"),
        ({"neutrino_times": ["soon", "later"]}, "neutrino_times"),
        ({"p_values": [0.1, 2]}, "p_values"),
        ({"p_values": [0.1, "x"]}, "p_values"),
        ({"sent_time": None}, "sent_time"),
        ({"detector_name": "JUNO"}, "detector_name"),
        ({"tier": "Heartbeat"}, "detector_name"),
    ],
)
def test_refusals_name_the_field(changes, where):
    with pytest.raises(BadNotice) as caught:
        read(coincidence(**changes))
    assert caught.value.where == where


def test_p_values_may_be_missing():
    detections = read(coincidence(p_values=None)).extra["detections"]
    assert [d["p_value"] for d in detections] == [None, None]


def on_gcn(**changes: Any) -> dict[str, Any]:
    """The same coincidence as proposed for GCN (gcn-schema pull request 352)."""
    made = {
        "$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/snews2/coincidence.schema.json",
        "mission": "SNEWS2",
        "messenger": "Neutrino",
        "id": ["a-0001"],
        "alert_datetime": coincidence()["sent_time"],
        "alert_type": "initial",
        "alert_tense": "current",
        "snews2_tier": "CoincidenceTier",
        "detector_status": {
            **dict.fromkeys(coincidence()["detector_names"], "triggered"),
            "NOvA": "on",
            "KM3NeT": "off",
        },
        "event_times_utc": [f"{time}Z" for time in coincidence()["neutrino_times"]],
        "tier_data": {"p_values": coincidence()["p_values"], "false_alarm_prob": "N/A"},
    } | changes
    return {key: value for key, value in made.items() if value is not None}


def gcn(**changes: Any) -> Alert:
    (alert,) = gcn_unified.parse(json.dumps(on_gcn(**changes)).encode())
    return alert


def test_the_notice_on_gcn_is_of_the_same_event():
    ours, theirs = read(coincidence()), gcn()
    for name in ("event_id", "event_time", "instruments", "messenger", "group", "is_practice"):
        assert getattr(theirs, name) == getattr(ours, name), name
    assert theirs.extra["detections"] == ours.extra["detections"]
    assert theirs.extra["detector_status"]["NOvA"] == "on"  # silent though it was listening
    assert theirs.aliases == ("a-0001",)
    assert gcn(alert_type="retraction").alert_type is AlertType.RETRACTION


@pytest.mark.parametrize(
    "changes",
    [
        {"detector_status": None, "detector_names": coincidence()["detector_names"]},
        {
            "detector_status": None,
            "event_times_utc": dict(
                zip(coincidence()["detector_names"], coincidence()["neutrino_times"], strict=True)
            ),
        },
    ],
)
def test_either_way_of_naming_detectors_is_read(changes):
    assert gcn(**changes).extra["detections"] == gcn().extra["detections"]


def test_times_that_cannot_be_told_apart_are_kept_without_detectors():
    alert = gcn(detector_status={"JUNO": "triggered"})
    assert [d["detector"] for d in alert.extra["detections"]] == [None, None]
    assert alert.event_time == gcn().event_time


@pytest.mark.parametrize(
    "mark", [{"alert_tense": "test"}, {"is_test": "True"}, {"is_firedrill": True}]
)
def test_one_mark_of_a_drill_is_enough_on_gcn(mark):
    assert gcn(**mark).is_practice
    assert gcn(**mark).event_id == gcn().event_id + "-TEST"


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"event_times_utc": None}, "event_times_utc"),
        ({"event_times_utc": []}, "event_times_utc"),
        ({"event_times_utc": {}}, "event_times_utc"),
        ({"event_times_utc": ["soon"]}, "event_times_utc"),
        ({"detector_status": "on"}, "detector_status"),
        ({"alert_datetime": None}, "alert_datetime"),
        ({"alert_type": "rumour"}, "alert_type"),
        ({"tier_data": {"p_values": [0.1, 3]}}, "p_values"),
    ],
)
def test_refusals_on_gcn_name_the_field(changes, where):
    with pytest.raises(BadNotice) as caught:
        gcn(**changes)
    assert caught.value.where == where


def test_what_comes_on_a_topic_of_drills_is_practice_whatever_it_says():
    (alert,) = DRILLS.parse(json.dumps(coincidence()).encode())
    assert alert.is_practice
    assert not read(coincidence()).is_practice
    assert "snews2.alert-firedrill" in DRILLS.topics


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*on_gcn(), "is_test", "event_name", "far"]), json_values)
def test_any_value_in_any_field_on_gcn_is_refused_or_sound(key, value):
    try:
        alert = gcn(**{key: value})
    except (BadInput, UnicodeEncodeError):
        return
    json.dumps(alert.extra, allow_nan=False).encode("utf-8")


def test_fire_drill_of_2022():
    (alert,) = parse(shared("nu/snews/fd_sep_alert.json").read_bytes())
    assert alert.is_practice
    assert alert.alert_type is AlertType.UPDATE
    assert len(alert.instruments) == 7
    assert alert.event_time == datetime(2022, 6, 14, 20, 0, 0, 133945, tzinfo=UTC)
    assert alert.extra["detections"][0]["detector"] == "DUNE"


def test_messages_of_experiments_are_no_alerts():
    for name in ("coincidence_tier", "heartbeat", "timing_tier", "significance_tier"):
        payload = shared(f"nu/snews/example_{name}_message.json").read_bytes()
        with pytest.raises(BadNotice):
            parse(payload)


@settings(max_examples=300, deadline=None)
@given(edits)
def test_mutated_alert_is_refused_or_sound(changes):
    try:
        parse(mutated(json.dumps(coincidence()).encode(), changes))
    except BadInput:
        return


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*coincidence(), "is_test"]), json_values)
def test_any_value_in_any_field_is_refused_or_sound(key, value):
    try:
        alerts = parse(json.dumps(coincidence() | {key: value}).encode("utf-8", "surrogatepass"))
    except BadInput:
        return
    for alert in alerts:
        json.dumps(alert.extra, allow_nan=False).encode("utf-8")
