"""Malformed and contradictory messages of each source of bursts do what the rules say."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from listeners import gcn_unified, snews, voevent
from mmcoord.errors import BadNotice
from tests.shared import shared

Change = Callable[[dict[str, Any]], object]

SNEWS = {
    "id": "SNEWS_Coincidence_ALERT 2026-03-01T02:31:00",
    "alert_type": "COINC_MSG",
    "server_tag": "one",
    "detector_names": ["Super-K", "IceCube"],
    "neutrino_times": ["2026-03-01T02:30:00.0", "2026-03-01T02:30:00.01"],
    "p_values": [0.1, 0.2],
    "sent_time": "2026-03-01T02:31:00",
}
SUPERK = {
    "$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/superk/sn_alert.schema.json",
    "mission": "Super-Kamiokande",
    "messenger": "Neutrino",
    "id": "SN.1",
    "alert_datetime": "2026-03-01T02:31:00Z",
    "alert_tense": "current",
    "alert_type": "initial",
    "trigger_time": "2026-03-01T02:30:00Z",
    "n_events": 6000,
    "ra": 266.4,
    "dec": -29.0,
    "ra_dec_error": 4.0,
    "luminosity_distance": 0.008,
}
GCN_SNEWS = {
    "$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/snews2/coincidence.schema.json",
    "id": "SNEWS2-1",
    "alert_datetime": "2026-03-01T02:31:00Z",
    "alert_type": "initial",
    "messenger": "Neutrino",
    "detector_status": {"Super-K": "triggered", "IceCube": "triggered", "JUNO": "on"},
    "event_times_utc": ["2026-03-01T02:30:00.000Z", "2026-03-01T02:30:00.010Z"],
    "tier_data": {"p_values": [0.1, 0.2]},
}


def changed(notice: dict[str, Any], change: Change) -> bytes:
    document = copy.deepcopy(notice)
    change(document)
    return json.dumps(document).encode()


def put(**values: Any) -> Change:
    return lambda d: d.update(values)


def drop(key: str) -> Change:
    return lambda d: d.pop(key)


@pytest.mark.parametrize(
    "change",
    [
        drop("id"), drop("detector_names"), drop("neutrino_times"), drop("sent_time"),
        put(neutrino_times=["2026-03-01T02:30:00.0"]), put(neutrino_times=["soon", "later"]),
        put(detector_names=[]), put(p_values=[0.1, 7.0]), put(alert_type="SURPRISE"),
        put(detector_names="Super-K"), put(detector_name="Super-K", tier="TimingTier"),
    ],
)  # fmt: skip
def test_snews_alerts_that_cannot_be_used_are_refused_with_the_field(change: Change) -> None:
    with pytest.raises(BadNotice) as error:
        snews.parse(changed(SNEWS, change))
    assert error.value.where


@pytest.mark.parametrize(
    "change",
    [
        put(alert_tense="someday"), put(alert_type="surprise"), put(messenger="Gossip"),
        put(ra=400.0), put(dec=-100.0), put(ra_dec_error=-1.0), put(containment_probability=2.0),
        put(alert_datetime="yesterday"), put(luminosity_distance="far"), drop("id"),
    ],
)  # fmt: skip
def test_super_kamiokandes_notices_that_cannot_be_used_are_refused(change: Change) -> None:
    with pytest.raises(BadNotice) as error:
        gcn_unified.parse(changed(SUPERK, change))
    assert error.value.where


@pytest.mark.parametrize(
    "change",
    [
        put(event_times_utc=[]), put(event_times_utc=["soon"]), put(event_times_utc={"JUNO": 1}),
        put(detector_status="all of them"), put(alert_type="surprise"), drop("alert_datetime"),
        put(alert_tense="someday"), put(alert_datetime="soon"), drop("event_times_utc"),
        put(tier_data={"p_values": [0.1, 3.0]}),
    ],
)  # fmt: skip
def test_snews_notices_of_gcn_that_cannot_be_used_are_refused(change: Change) -> None:
    with pytest.raises(BadNotice):
        gcn_unified.parse(changed(GCN_SNEWS, change))


@pytest.mark.parametrize(
    ("change", "is_practice", "marks"),
    [
        (put(), False, {False}),
        (put(alert_type="TEST COINC_MSG"), True, {True}),
        (put(is_test="True"), True, {True, False}),
        (put(is_test=True, alert_type="TEST UPDATE"), True, {True}),
        (put(is_firedrill=True), True, {True, False}),
        (put(is_test="False", alert_type="TEST UPDATE"), True, {True, False}),
    ],
)
def test_one_mark_of_a_test_is_enough_and_a_disagreement_is_kept(
    change: Change, is_practice: bool, marks: set[bool]
) -> None:
    (alert,) = snews.parse(changed(SNEWS, change))
    assert alert.is_practice is is_practice
    assert set(alert.extra["markers"].values()) == marks


def test_a_drills_topic_is_a_mark_too() -> None:
    (alert,) = snews.parse_drill(changed(SNEWS, put(is_test=False)))
    assert alert.is_practice
    assert set(alert.extra["markers"].values()) == {True, False}


@pytest.mark.parametrize("radius", [180.0, 360.0])
def test_a_radius_of_half_the_sky_is_no_position(radius: float) -> None:
    (alert,) = gcn_unified.parse(changed(SUPERK, put(ra=0.0, dec=0.0, ra_dec_error=radius)))
    assert alert.region is None
    assert "pointing" not in alert.extra


@pytest.mark.parametrize(("value", "kpc"), [(0.008, 8.0), (8.0, 8.0), (0.0025, 2.5)])
def test_both_units_of_the_distance_become_one(value: float, kpc: float) -> None:
    (alert,) = gcn_unified.parse(changed(SUPERK, put(luminosity_distance=value)))
    assert 1000.0 * alert.extra["luminosity_distance"] == pytest.approx(kpc)


VOEVENT_BREAKS = [
    ("<voe:VOEvent", "<voe:Event"),
    ("ivorn=", "name="),
    ("role=", 'role="maybe" was='),
    ("TrigID", "Number"),
    ("<Date>", "<Day>"),
    ("</voe:VOEvent>", ""),
]


@pytest.mark.parametrize(("old", "new"), VOEVENT_BREAKS)
def test_broken_voevents_are_refused(old: str, new: str) -> None:
    text = shared("nu/snews/gwcelery_snews_gcn.xml").read_text()
    assert old in text
    with pytest.raises(BadNotice):
        voevent.parse(text.replace(old, new).encode())


@pytest.mark.parametrize(
    ("old", "new"),
    [('role="observation"', 'role="test"'), ('role="observation"', 'role="utility"')],
)
def test_a_role_that_is_not_observation_makes_practice(old: str, new: str) -> None:
    text = shared("nu/snews/gwcelery_snews_gcn.xml").read_text()
    (alert,) = voevent.parse(text.replace(old, new).encode())
    assert alert.is_practice
    assert alert.extra["markers"]["role"]
