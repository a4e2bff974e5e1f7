"""LVK notices: what is read, what is refused, and that nothing else ever happens."""

from __future__ import annotations

import base64
import importlib.resources
import io
import json
import tracemalloc
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from listeners.avro import read_container
from listeners.fields import MAX_PAYLOAD_BYTES
from listeners.igwn import SOURCE, parse
from mmcoord.errors import BadInput, BadNotice
from mmcoord.records import Alert, AlertType, Messenger
from tests.listeners.notices import MAP, as_avro, container, event, notice
from tests.shared import shared


def read(made: Any) -> Alert:
    (alert,) = parse(json.dumps(made).encode())
    return alert


# --- what is read ---------------------------------------------------------------------------


def test_every_field_of_a_notice_arrives():
    alert = read(notice())
    assert alert.event_id == "S270304ab"
    assert alert.messenger is Messenger.GW
    assert alert.alert_type is AlertType.INITIAL
    assert alert.time_created == datetime(2027, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert alert.event_time == datetime(2027, 3, 4, 4, 59, 8, 167000, tzinfo=UTC)
    assert alert.significant is True
    assert alert.far_hz == 1.5e-9
    assert (alert.group, alert.pipeline, alert.search) == ("CBC", "gstlal", "AllSky")
    assert alert.instruments == ("H1", "L1", "V1")
    assert alert.classification == {"BNS": 0.9, "NSBH": 0.05, "BBH": 0.0, "Terrestrial": 0.05}
    assert alert.properties == {"HasNS": 1.0, "HasRemnant": 0.9, "HasMassGap": 0.0}
    assert alert.skymap_fits == MAP
    assert alert.external is None
    assert alert.urls == {"gracedb": "https://example.org/superevents/S270304ab/view/"}
    assert alert.extra == {}
    assert alert.is_practice is False


@pytest.mark.parametrize("codec", ["null", "deflate"])
@pytest.mark.parametrize("changes", [{}, {"event": event(skymap=None, group="Burst")}])
def test_avro_and_json_of_one_notice_are_one_alert(codec, changes):
    made = notice(**changes)
    assert parse(as_avro(made, codec)) == parse(json.dumps(made).encode())


def test_retraction_has_no_event():
    alert = read(notice(alert_type="RETRACTION", event=None))
    assert alert.alert_type is AlertType.RETRACTION
    assert alert.event_time is None
    assert alert.significant is None
    assert alert.skymap_fits is None


def test_burst_has_neither_classes_nor_properties():
    part = event(group="Burst", pipeline="CWB", duration=0.0114, central_frequency=38.5)
    part |= {"classification": {}, "properties": {}}
    alert = read(notice(event=part))
    assert alert.classification == {}
    assert alert.properties == {}
    assert alert.extra == {"duration": 0.0114, "central_frequency": 38.5}


def test_null_is_not_known_rather_than_zero():
    part = event(skymap=None, far=None, significant=None, classification={"BNS": None})
    alert = read(notice(event=part, urls=None))
    assert alert.skymap_fits is None
    assert alert.far_hz is None
    assert alert.significant is None
    assert alert.classification == {}


def test_external_coincidence_keeps_its_own_map():
    combined = b"SIMPLE  = combined"
    coincidence = {
        "gcn_notice_id": 524666471,
        "ivorn": "ivo://example/1",
        "observatory": "Fermi",
        "search": "GRB",
        "time_difference": 1.74,
        "time_coincidence_far": 2.1e-14,
        "time_sky_position_coincidence_far": None,
        "combined_skymap": base64.b64encode(combined).decode(),
    }
    alert = read(notice(external_coinc=coincidence))
    assert alert.external is not None
    assert alert.external.notice_id == "524666471"
    assert alert.external.time_difference_s == 1.74
    assert alert.external.far_time_hz == 2.1e-14
    assert alert.external.far_time_sky_hz is None
    assert alert.external.skymap_fits == combined
    assert alert.skymap_fits == MAP
    assert alert.extra == {"external_coinc": {"ivorn": "ivo://example/1"}}


def test_unknown_fields_are_kept_where_they_stood():
    masses = {"bin_edges": [0.1, 0.87, 1.74], "probabilities": [0.2, 0.8]}
    part = event(mchirp_source=masses, skymap_filename="bayestar.multiorder.fits,1")
    part["properties"]["SpinPrecession"] = 3.5
    part["properties"]["HasSSM"] = 0.25
    alert = read(notice(event=part, schema_version="2.0"))
    assert alert.extra["mchirp_source"] == masses
    assert alert.extra["skymap_filename"] == "bayestar.multiorder.fits,1"
    assert alert.extra["notice"] == {"schema_version": "2.0"}
    assert alert.extra["properties"] == {"SpinPrecession": 3.5}
    assert alert.properties["HasSSM"] == 0.25
    assert "SpinPrecession" not in alert.properties


@pytest.mark.parametrize(
    ("changes", "practice"),
    [
        ({}, False),
        ({"superevent_id": "MS270304ab"}, True),
        ({"superevent_id": "TS270304ab"}, True),
        ({"event": event(search="MDC")}, True),
        ({"event": event(group="Test")}, True),
        ({"superevent_id": "MS270304ab", "event": None, "alert_type": "RETRACTION"}, True),
    ],
)
def test_mock_and_test_notices_are_practice(changes, practice):
    assert read(notice(**changes)).is_practice is practice


@pytest.mark.parametrize(
    ("given_time", "expected"),
    [
        ("2027-03-04T04:59:08Z", datetime(2027, 3, 4, 4, 59, 8, tzinfo=UTC)),
        ("2027-03-04T04:59:08", datetime(2027, 3, 4, 4, 59, 8, tzinfo=UTC)),
        ("2027-03-04 04:59:08.5", datetime(2027, 3, 4, 4, 59, 8, 500000, tzinfo=UTC)),
        ("2027-03-04T05:59:08+01:00", datetime(2027, 3, 4, 4, 59, 8, tzinfo=UTC)),
        ("2027-03-04T04:59:08.123456789Z", datetime(2027, 3, 4, 4, 59, 8, 123456, tzinfo=UTC)),
        ("2016-12-31T23:59:60.25Z", datetime(2017, 1, 1, tzinfo=UTC)),
    ],
)
def test_times_are_utc(given_time, expected):
    assert read(notice(time_created=given_time)).time_created == expected


def test_rounding_of_a_sum_is_no_fault():
    part = event(classification={"BNS": 1.0000000002, "BBH": -1e-12})
    assert read(notice(event=part)).classification == {"BNS": 1.0, "BBH": 0.0}


def test_what_is_kept_can_be_stored():
    """PostgreSQL takes neither NUL nor lone surrogates, and no database takes NaN in JSON."""
    made = json.dumps(notice(future={"text": "a\x00b\ud800", "huge": 10**40, "list": [1, None]}))
    (alert,) = parse(made.replace('"list"', '"nan": NaN, "list"').encode())
    future = alert.extra["notice"]["future"]
    assert future == {"text": "a\ufffdb\ufffd", "huge": None, "nan": None, "list": [1, None]}
    json.dumps(alert.extra, allow_nan=False).encode("utf-8")


# --- what is refused, and with what words ---------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"superevent_id": None}, "superevent_id"),
        ({"superevent_id": ""}, "superevent_id"),
        ({"superevent_id": "S27 0304"}, "superevent_id"),
        ({"superevent_id": "../etc"}, "superevent_id"),
        ({"superevent_id": ["S270304ab"]}, "superevent_id"),
        ({"alert_type": "RUMOUR"}, "alert_type"),
        ({"alert_type": None}, "alert_type"),
        ({"event": None}, "event"),
        ({"event": "none"}, "event"),
        ({"time_created": "yesterday"}, "time_created"),
        ({"time_created": "2027-02-30T00:00:00Z"}, "time_created"),
        ({"time_created": 1804136767}, "time_created"),
        ({"event": event(time=None)}, "event.time"),
        ({"event": event(time="2027-03-04")}, "event.time"),
        ({"event": event(far=-1e-9)}, "event.far"),
        ({"event": event(far=float("nan"))}, "event.far"),
        ({"event": event(far=float("inf"))}, "event.far"),
        ({"event": event(far=10**400)}, "event.far"),
        ({"event": event(far="1e-9")}, "event.far"),
        ({"event": event(far=True)}, "event.far"),
        ({"event": event(significant="true")}, "event.significant"),
        ({"event": event(significant=1)}, "event.significant"),
        ({"event": event(instruments="H1")}, "event.instruments"),
        ({"event": event(classification={"BNS": 1.5})}, "event.classification.BNS"),
        ({"event": event(classification={"BNS": "0.5"})}, "event.classification.BNS"),
        ({"event": event(properties=[1])}, "event.properties"),
        ({"event": event(properties={"HasNS": float("nan")})}, "event.properties.HasNS"),
        ({"event": event(skymap="not base64!")}, "event.skymap"),
        ({"event": event(skymap="QUJD=RA")}, "event.skymap"),
        ({"event": event(skymap="")}, "event.skymap"),
        ({"event": event(skymap=7)}, "event.skymap"),
        ({"external_coinc": {"observatory": "Fermi"}}, "external_coinc.search"),
        ({"external_coinc": []}, "external_coinc"),
        ({"urls": {"gracedb": 5}}, "urls.gracedb"),
    ],
)
def test_refusals_name_the_field(changes, where):
    with pytest.raises(BadNotice) as caught:
        read(notice(**changes))
    assert caught.value.where == where
    assert str(caught.value).startswith(where + ": ")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe{}",
        b'{"superevent_id": "S1", "superevent_id": "S2"}',
        b'{"a":' * 100_000,
        b'{"a": ' + b"1" * 10_000 + b"}",
        b"Broker: Unknown topic or partition",
        b"Obj\x01",
        b"Obj\x01" + b"\xff" * 100,
        b" " * (MAX_PAYLOAD_BYTES + 1),
    ],
    ids=lambda payload: repr(payload[:20]),
)
def test_what_is_no_notice_is_refused(payload):
    with pytest.raises(BadNotice):
        parse(payload)


def test_deep_unknown_field_is_refused():
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    with pytest.raises(BadNotice, match="nested deeper"):
        read(notice(future=deep))


# --- hostile Avro ---------------------------------------------------------------------------


def hostile(schema: Any, body: bytes, codec: bytes = b"null", count: int = 1) -> bytes:
    """A container whose schema is anything and whose single block is ``body``."""
    stream = io.BytesIO()
    meta = {"avro.schema": json.dumps(schema).encode(), "avro.codec": codec}
    fastavro.schemaless_writer(stream, {"type": "map", "values": "bytes"}, meta)
    header = b"Obj\x01" + stream.getvalue() + b"s" * 16
    block = io.BytesIO()
    fastavro.schemaless_writer(block, "long", count)
    fastavro.schemaless_writer(block, "long", len(body))
    return header + block.getvalue() + body + b"s" * 16


def record(kind: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": [{"name": "x", "type": kind}]}


LINKED = {"type": "record", "name": "L", "fields": [{"name": "next", "type": ["null", "L"]}]}
LONG_COUNT = b"\xfe\xff\xff\xff\xff\x0f"  # about 1.7e10 items


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (hostile(record({"type": "array", "items": "null"}), LONG_COUNT), "'null'"),
        (hostile(LINKED, b"\x02" * 100_000), "'L' is not known"),
        (hostile(record({"type": "fixed", "name": "F", "size": 0}), b""), "no bytes"),
        (hostile({"type": "record", "name": "E", "fields": []}, b""), "no fields"),
        (hostile(record({"type": "array", "items": record("int") | {"name": "I"}}), b""), "of rec"),
        (hostile(record("string"), LONG_COUNT), "avro record"),
        (hostile(record("string"), b"", codec=b"snappy"), "avro.codec"),
        (hostile(record("string"), b"\x00", count=10**6), "records in a block"),
        (hostile("string", b"\x02a"), "a record is needed"),
        (hostile({"type": 7}, b""), "avro.schema"),
        (hostile({"type": "record"}, b""), "avro.schema"),
        (hostile(record("string"), b"\x02a")[:-1], "sync"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hostile_container_is_refused_by_name(payload, words):
    with pytest.raises(BadNotice, match=words):
        parse(payload)


def test_deflate_bomb_stays_small():
    """1,000 to 1: 64 MiB of zeros arrive as 64 KiB. The reader stops at its limit."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = engine.compress(bytes(64 * 2**20)) + engine.flush()
    payload = hostile(record("bytes"), bomb, codec=b"deflate")
    assert len(payload) < 200_000
    tracemalloc.start()
    try:
        with pytest.raises(BadNotice, match="inflates beyond"):
            parse(payload)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * MAX_PAYLOAD_BYTES


def test_logical_types_do_not_become_objects():
    """A decimal of megabytes would cost minutes; the annotation is dropped, as Avro allows."""
    kind = {"type": "bytes", "logicalType": "decimal", "precision": 10**6}
    (made,) = read_container(hostile(record(kind), b"\x04ab"))
    assert made == {"x": b"ab"}


def test_several_records_are_several_alerts():
    first, second = notice(), notice(superevent_id="S270304ac")
    for made in (first, second):
        made["event"] = {**made["event"], "skymap": None}
    alerts = parse(container([first, second]))
    assert [alert.event_id for alert in alerts] == ["S270304ab", "S270304ac"]


# --- mutations: only BadInput leaves --------------------------------------------------------

JSON_NOTICE = json.dumps(notice(future=[1, {"x": None}])).encode()
AVRO_NOTICE = as_avro(notice())

edits = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "insert", "double"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=6,
)


def mutated(payload: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    for how, at, content in changes:
        i = int(at * len(payload))
        if how == "set":
            payload = payload[:i] + content + payload[i + len(content) :]
        elif how == "cut":
            payload = payload[:i] + payload[i + 17 * len(content) :]
        elif how == "insert":
            payload = payload[:i] + content + payload[i:]
        else:
            payload = payload[:i] + payload[max(0, i - 40) :]
    return payload


def refused_or_sound(payload: bytes) -> None:
    try:
        alerts = parse(payload)
    except BadInput:
        return
    for alert in alerts:
        json.dumps(alert.extra, allow_nan=False).encode("utf-8")
        assert alert.time_created.tzinfo is not None
        assert all(0 <= p <= 1 for p in alert.classification.values())


@settings(max_examples=400, deadline=None)
@given(edits)
def test_mutated_json_is_refused_or_sound(changes):
    refused_or_sound(mutated(JSON_NOTICE, changes))


@settings(max_examples=400, deadline=None)
@given(edits)
def test_mutated_avro_is_refused_or_sound(changes):
    refused_or_sound(mutated(AVRO_NOTICE, changes))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([*notice(), *(f"event.{key}" for key in notice()["event"])]), json_values)
@example("event.time", "0001-01-01T00:00:00+23:59")
@example("event.time", "9999-12-31T23:59:60Z")
@example("event.classification", {"BNS\x00": 0.5})
def test_any_value_in_any_field_is_refused_or_sound(field, value):
    made = notice()
    if field.startswith("event."):
        made["event"] = {**made["event"], field[6:]: value}
    else:
        made[field] = value
    refused_or_sound(json.dumps(made).encode("utf-8", "surrogatepass"))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_refused(payload):
    refused_or_sound(payload)
    refused_or_sound(b"Obj\x01" + payload)


# --- real notices ---------------------------------------------------------------------------

GUIDE = ("earlywarning", "preliminary", "initial", "update", "ext-update", "retraction")


def one(path: Path) -> Alert:
    (alert,) = parse(path.read_bytes())
    return alert


@pytest.mark.parametrize("name", ["preliminary", "ext-update", "retraction"])
def test_user_guide_notice_is_the_same_over_gcn_and_scimma(name):
    over_gcn = one(shared(f"gw/MS181101ab-{name}.json"))
    over_scimma = one(shared(f"gw/MS181101ab-{name}.avro"))
    assert over_gcn == over_scimma


def test_user_guide_sequence_is_practice_and_in_order():
    alerts = [one(shared(f"gw/MS181101ab-{name}.json")) for name in GUIDE]
    assert {alert.event_id for alert in alerts} == {"MS181101ab"}
    assert all(alert.is_practice for alert in alerts)
    assert [a.order_key for a in alerts] == sorted(a.order_key for a in alerts)
    maps = {alert.skymap_fits for alert in alerts if alert.skymap_fits}
    assert len(maps) == 1


def test_user_guide_coincidence_is_the_gamma_ray_burst():
    external = one(shared("gw/MS181101ab-ext-update.json")).external
    assert external is not None
    assert (external.observatory, external.search, external.notice_id) == (
        "Fermi",
        "GRB",
        "524666471",  # trigger number of GRB 170817A
    )
    assert external.skymap_fits is not None
    assert external.skymap_fits.startswith(b"SIMPLE")


def test_real_nsbh_update_changes_properties_and_not_the_map():
    initial, update = (one(shared(f"gw/S230518h/{n}.json")) for n in ("initial", "update"))
    assert not initial.is_practice
    assert initial.significant
    assert initial.skymap_fits == update.skymap_fits
    assert initial.properties != update.properties
    assert initial.order_key < update.order_key


def test_real_low_significance_notices():
    paths = sorted(shared("gw/o4_low_significance").glob("*.json"))
    alerts = [one(path) for path in paths]
    assert len(alerts) == 12
    for path, alert in zip(paths, alerts, strict=True):
        assert path.name.startswith(f"{alert.event_id}_{alert.alert_type}_")
        assert alert.significant is False
        assert not alert.is_practice
        assert (alert.classification == {}) == (alert.group == "Burst")
        assert alert.far_hz is not None
        assert alert.far_hz > 1e-7


def test_official_schema_accepts_what_we_read_as_valid():
    """Every real JSON notice is valid by LVK's schema and readable here, and a notice that
    lacks a required field is neither."""
    jsonschema = pytest.importorskip("jsonschema")
    folder = importlib.resources.files(pytest.importorskip("igwn_gwalert_schema"))
    schema = json.loads((folder / "igwn.alerts.Alert.schema.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    validator.validate(notice())
    for path in shared("gw").glob("**/*.json"):
        if "gcn-schema" not in path.parts:
            validator.validate(json.loads(path.read_bytes()))
            one(path)
    for key in ("superevent_id", "alert_type", "time_created"):
        broken = notice()
        del broken[key]
        assert not validator.is_valid(broken)
        with pytest.raises(BadNotice):
            read(broken)


def test_source_names_the_topic():
    assert SOURCE.name == "igwn"
    assert SOURCE.topics == ("igwn.gwalert",)
