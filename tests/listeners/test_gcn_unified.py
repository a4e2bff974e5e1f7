"""GCN's unified schema: the official examples, the traps, and any mutation of them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

from listeners.gcn_unified import SOURCE, TESTS, parse
from mmcoord.errors import BadInput, BadNotice
from mmcoord.records import Alert, AlertType, ErrorRegion, ExternalCoincidence, Messenger
from tests.listeners.test_igwn import edits, json_values, mutated
from tests.shared import shared

EXAMPLES = "gw/gcn-schema/gcn/notices"


def schema_url(path: str) -> str:
    return f"https://gcn.nasa.gov/schema/v7.2.1/gcn/notices/{path}.schema.json"


def track(**changes: Any) -> dict[str, Any]:
    """An IceCube track alert; keyword arguments replace or, with None, take away."""
    made = {
        "$schema": schema_url("icecube/single_neutrino_alerts"),
        "mission": "IceCube",
        "instrument": "IC86",
        "messenger": "Neutrino",
        "pipeline": "Gold Track Alert",
        "record_number": 1,
        "event_name": ["IceCube-270416A"],
        "id": ["137840_57034692"],
        "alert_datetime": "2027-04-16T05:42:00.0Z",
        "alert_type": "update",
        "alert_tense": "current",
        "ra": 345.82,
        "dec": 9.01,
        "ra_dec_error": 0.5,
        "trigger_time": "2027-04-16T05:22:26.150574Z",
        "nu_energy": 127.29,
        "p_astro": 0.34,
        "far": 8e-8,
    } | changes
    return {key: value for key, value in made.items() if value is not None}


def read(made: Any) -> Alert:
    (alert,) = parse(json.dumps(made).encode())
    return alert


def example(name: str) -> Alert:
    (alert,) = parse(shared(f"{EXAMPLES}/{name}.example.json").read_bytes())
    return alert


# --- the core, once -------------------------------------------------------------------------


def test_core_fields():
    alert = read(track())
    assert alert.event_id == "IceCube-137840_57034692"
    assert alert.aliases == ("IceCube-270416A", "137840_57034692")
    assert alert.messenger is Messenger.NEUTRINO
    assert alert.alert_type is AlertType.UPDATE
    assert alert.time_created == datetime(2027, 4, 16, 5, 42, tzinfo=UTC)
    assert alert.event_time == datetime(2027, 4, 16, 5, 22, 26, 150574, tzinfo=UTC)
    assert alert.far_hz == 8e-8
    assert alert.pipeline == "Gold Track Alert"
    assert alert.instruments == ("IceCube IC86",)
    assert alert.significant is None
    assert alert.region == ErrorRegion(345.82, 9.01, 0.5, 0.5, 0.0, 0.9)
    assert alert.extra["nu_energy"] == 127.29
    assert alert.extra["p_astro"] == 0.34


def test_unknown_mission_needs_no_code():
    made = {
        "$schema": schema_url("tess/flare"),
        "mission": "TESS",
        "instrument": "Camera 2",
        "id": "1234 A",
        "alert_datetime": "2027-01-02T03:04:05Z",
        "ra": 10.0,
        "dec": -5.0,
        "ra_dec_error": [0.2, 0.1, 30.0],
        "containment_probability": 0.68,
        "brightness": {"band": "T", "mag": 15.2},
    }
    alert = read(made)
    assert alert.event_id == "TESS-Camera_2-1234_A"
    assert alert.messenger is Messenger.EM
    assert alert.alert_type is AlertType.INITIAL
    assert alert.region == ErrorRegion(10.0, -5.0, 0.2, 0.1, 30.0, 0.68)
    assert alert.extra["brightness"] == {"band": "T", "mag": 15.2}


@pytest.mark.parametrize(
    ("tense", "practice"),
    [(None, False), ("current", False)]
    + [(t, True) for t in ("archival", "planned", "injection", "commanded", "test")],
)
def test_only_current_alerts_are_in_earnest(tense, practice):
    assert read(track(alert_tense=tense)).is_practice is practice


@pytest.mark.parametrize(
    ("changes", "region"),
    [
        ({"ra_dec_error": None}, None),
        ({"ra": None}, None),
        ({"ra": 0, "dec": 0, "ra_dec_error": 360}, None),
        ({"ra_dec_error": 0}, ErrorRegion(345.82, 9.01, 0.05, 0.05, 0.0, 0.9)),
        ({"ra_dec_error": 0.016}, ErrorRegion(345.82, 9.01, 0.016, 0.016, 0.0, 0.9)),
        ({"ra_dec_error": [0.5]}, ErrorRegion(345.82, 9.01, 0.5, 0.5, 0.0, 0.9)),
        ({"ra_dec_error": [0.3, 0.5, 10]}, ErrorRegion(345.82, 9.01, 0.5, 0.3, 100.0, 0.9)),
        ({"ra": 360.0}, ErrorRegion(0.0, 9.01, 0.5, 0.5, 0.0, 0.9)),
    ],
)
def test_localization(changes, region):
    assert read(track(**changes)).region == region


def test_position_without_an_error_is_kept_as_told():
    assert read(track(ra_dec_error=None)).extra["ra"] == 345.82


def test_enclosed_map_is_taken():
    content = b"SIMPLE  = map"
    made = track(healpix_file=base64.b64encode(content).decode())
    assert read(made).skymap_fits == content


def test_a_broken_map_does_not_cost_the_alert():
    """Official examples have words for maps; intake says what is wrong with it."""
    alert = read(track(healpix_file="stuff"))
    assert alert.skymap_fits == b"stuff"
    assert alert.region == read(track()).region


def test_an_error_box_becomes_the_circle_about_it():
    """MAXI's official example; the far corner's distance by astropy."""
    box = example("maxi/gsc.unknown.rectangle")
    centre = SkyCoord(346.56, 18.61, unit="deg")
    corners = [(345.72, 19.547), (345.464, 19.29), (347.309, 17.634), (347.566, 17.889)]
    far = max(centre.separation(SkyCoord(*corner, unit="deg")).deg for corner in corners)
    assert box.region is not None
    assert box.region.semi_major_deg == pytest.approx(far, rel=1e-9)
    assert box.region.semi_minor_deg == box.region.semi_major_deg
    assert (box.region.ra_deg, box.region.dec_deg) == (346.56, 18.61)
    with pytest.raises(BadNotice, match="rectangular_error_corners"):
        read(track(ra_dec_error=None, rectangular_error_corners=[[1, 2], [3], [4, 5]]))


@pytest.mark.parametrize("schema", ["burstcube/test", "icecube/test/tracks"])
def test_a_schema_of_tests_is_practice(schema):
    made = track() | {"$schema": schema_url(schema)}
    assert read(made).is_practice


def test_what_comes_on_a_topic_of_tests_is_practice_whatever_it_says():
    (alert,) = TESTS.parse(json.dumps(track()).encode())
    assert alert.is_practice
    assert alert.event_id == read(track()).event_id + "-TEST"


def test_links_are_text_only():
    alert = read(track(healpix_url="https://example.org/map.fits"))
    assert alert.urls == {"healpix_url": "https://example.org/map.fits"}
    assert alert.skymap_fits is None


def test_padding_of_the_event_number_does_not_matter():
    assert read(track(id="137840_057034692")).event_id == "IceCube-137840_57034692"


def test_id_may_be_text_or_list():
    assert read(track(id="137840_57034692")) == read(track())


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"id": None, "event_name": None}, "id"),
        ({"id": [], "event_name": []}, "id"),
        ({"id": 7}, "id"),
        ({"id": "///"}, "id"),
        ({"alert_type": "rumour"}, "alert_type"),
        ({"alert_tense": "future"}, "alert_tense"),
        ({"messenger": "Pigeon"}, "messenger"),
        ({"alert_datetime": None, "trigger_time": None}, "alert_datetime"),
        ({"alert_datetime": "noon"}, "alert_datetime"),
        ({"trigger_time": 5}, "trigger_time"),
        ({"far": -1}, "far"),
        ({"far": float("nan")}, "far"),
        ({"ra": 400}, "ra, dec"),
        ({"ra": "345"}, "ra"),
        ({"dec": -91}, "ra, dec"),
        ({"ra_dec_error": -1}, "ra_dec_error"),
        ({"ra_dec_error": [1, 2, 3, 4]}, "ra_dec_error"),
        ({"ra_dec_error": float("nan")}, "ra_dec_error"),
        ({"containment_probability": 1.0}, "containment"),
        ({"healpix_file": 7}, "healpix_file"),
        ({"$schema": None, "mission": None, "instrument": None}, "$schema"),
    ],
)
def test_refusals_name_the_field(changes, where):
    with pytest.raises(BadNotice) as caught:
        read(track(**changes))
    assert caught.value.where == where


# --- what missions do differently -------------------------------------------------------------


def test_radio_burst_is_dated_at_infinite_frequency():
    """The signal at 600 MHz is dispersed by seconds: 4.149 ms DM (GHz/nu)^2 of delay."""
    burst = example("chime/frb.detection")
    assert burst.event_id == "CHIME-FRB-427325191"
    assert burst.event_time == datetime(2024, 9, 18, 7, 19, 3, 518831, tzinfo=UTC)
    arrival = datetime(2024, 9, 18, 7, 19, 10, 765268, tzinfo=UTC)
    delay = (arrival - burst.event_time).total_seconds()
    assert delay == pytest.approx(4.149e-3 * burst.extra["dm"] / 0.4**2, rel=0.005)  # 400 MHz


def test_radio_burst_without_infinite_frequency_has_no_event_time():
    update = example("chime/frb.update")
    assert update.event_time is None
    assert update.event_id == "CHIME-FRB-427325191"


def test_radio_burst_sequence_is_in_order():
    """No notice of CHIME says when it was written; the alert type orders them."""
    names = ("detection", "update", "retraction")
    sequence = [example(f"chime/frb.{name}") for name in names]
    assert [a.order_key for a in sequence] == sorted(a.order_key for a in sequence)
    assert len({a.order_key for a in sequence}) == 3


@pytest.mark.parametrize(
    ("given_mpc", "read_mpc"), [(0.0025, 0.0025), (0.199, 0.199), (2.5, 0.0025), (10.0, 0.01)]
)
def test_super_k_distance_in_either_unit(given_mpc, read_mpc):
    made = track(luminosity_distance=given_mpc) | {"$schema": schema_url("superk/sn_alert")}
    assert read(made).extra["luminosity_distance"] == pytest.approx(read_mpc)


def test_super_k_real_and_test():
    real, drill = (example(f"superk/sn_alert.{name}") for name in ("real", "test"))
    assert (real.is_practice, drill.is_practice) == (False, True)
    assert real.event_id != drill.event_id  # though the notices carry the same id
    assert real.event_time == datetime(2023, 8, 1, 0, 0, 1, tzinfo=UTC)
    assert real.region == ErrorRegion(270.82, 31.46, 0.91, 0.91, 0.0, 0.68)
    assert real.extra["n_events"] == 64176


def test_neutrino_search_follows_a_superevent_and_is_not_it():
    alert = example("icecube/lvk_nu_track_search")
    assert alert.event_id == "IceCube-LVK-S230914ak"
    assert alert.external == ExternalCoincidence("LVK", "GW", "S230914ak")
    assert alert.aliases == ()
    assert alert.extra["pval_generic"] == 0.0191
    assert len(alert.extra["coincident_events"]) == 2
    assert not alert.is_practice


def test_neutrino_search_on_a_mock_superevent_is_practice():
    path = shared(f"{EXAMPLES}/icecube/lvk_nu_track_search.example.json")
    made = json.loads(path.read_bytes()) | {"ref_ID": "MS230914ak"}
    assert read(made).is_practice


def test_null_p_value_is_left_out():
    path = shared(f"{EXAMPLES}/icecube/lvk_nu_track_search.example.json")
    made = json.loads(path.read_bytes()) | {"pval_bayesian": None}
    assert "pval_bayesian" not in read(made).extra


def test_fermi_notices_are_one_event():
    names = ("alert", "flight1", "flight2", "flight3", "ground1", "ground2", "final")
    alerts = [example(f"fermi/gbm/trigger.{name}") for name in names]
    assert {alert.event_id for alert in alerts} == {"Fermi-GBM-745121685"}
    assert [a.order_key for a in alerts] == sorted(a.order_key for a in alerts)
    assert alerts[0].region is None
    assert alerts[-1].region == ErrorRegion(29.24, -63.62, 1.0, 1.0, 0.0, 0.68)
    assert "bn240812094" in alerts[0].aliases


def test_guano_follows_a_burst():
    alert = example("swift/bat/Guano")
    assert alert.external == ExternalCoincidence("Fermi", "GRB", "694215970")
    assert alert.classification == {"GRB": 1.0}


UNFIT = {
    "boom/alert": "candidates; read by listeners.boom",
    "heasarc/archive_alert": "an archived pointing without an event",
}


def test_every_official_example_is_read():
    folder = shared(EXAMPLES)
    names = [
        str(path.relative_to(folder)).removesuffix(".example.json")
        for path in sorted(folder.rglob("*.example.json"))
        if "core" not in path.parts
    ]
    assert len(names) > 30
    for name in names:
        if name in UNFIT:
            with pytest.raises(BadNotice):
                example(name)
        else:
            alert = example(name)
            assert alert.event_id
            assert alert.search
            assert name.startswith(alert.search.split("/")[0])


def test_made_notice_is_valid_by_the_official_schema():
    """The test's own notice is one; its refused variants that JSON Schema can see are not."""
    jsonschema = pytest.importorskip("jsonschema")
    referencing = pytest.importorskip("referencing")
    folder = shared(EXAMPLES)
    root = "https://gcn.nasa.gov/schema/main/gcn/notices/"
    resources = [
        (root + str(path.relative_to(folder)), json.loads(path.read_bytes()))
        for path in Path(folder).rglob("*.schema.json")
    ]
    registry = referencing.Registry().with_contents(
        resources, default_specification=referencing.jsonschema.DRAFT202012
    )
    schema = dict(resources)[root + "icecube/single_neutrino_alerts.schema.json"]
    validator = jsonschema.Draft202012Validator(schema, registry=registry)
    assert list(validator.iter_errors(track())) == []
    for changes in ({"alert_type": "rumour"}, {"alert_tense": "future"}, {"id": 7}):
        assert not validator.is_valid(track(**changes))


# --- only BadInput leaves ---------------------------------------------------------------------


def refused_or_sound(payload: bytes) -> None:
    try:
        alerts = parse(payload)
    except BadInput:
        return
    for alert in alerts:
        json.dumps(alert.extra, allow_nan=False).encode("utf-8")
        assert len(alert.event_id) <= 64


@settings(max_examples=300, deadline=None)
@given(edits)
def test_mutated_notice_is_refused_or_sound(changes):
    refused_or_sound(mutated(json.dumps(track()).encode(), changes))


CORE = [*track(), "healpix_file", "healpix_url", "classification", "properties", "ref_ID"]
CORE += ["follow_up_event", "containment_probability", "luminosity_distance"]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(CORE),
    json_values,
    st.sampled_from(["icecube/single_neutrino_alerts", "superk/sn_alert", "chime/frb", "x/y"]),
)
def test_any_value_in_any_field_is_refused_or_sound(key, value, mission):
    made = track() | {"$schema": schema_url(mission), key: value}
    refused_or_sound(json.dumps(made).encode("utf-8", "surrogatepass"))


def test_source():
    assert SOURCE.name == "gcn_unified"
    assert "gcn.notices.superk.sn_alert" in SOURCE.topics
