"""Survey packets: units, vetoes, history, versions, and agreement between two encodings."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import astropy.units as u
import fastavro
import pytest
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from listeners import avro, boom
from listeners.brokers import fink, lsst, rubin, ztf
from listeners.kafka import KafkaListener
from listeners.vetoes import Vetoes
from mmcoord.errors import BadCandidate, BadInput, BadNotice
from mmcoord.records import Candidate, Photometry, Vetoed
from tests.listeners.conftest import Cluster, Inbox, running, until
from tests.listeners.conftest import settings as kafka_settings
from tests.listeners.packets import (
    VERSIONS,
    needs_schemas,
    on_the_wire,
    packet,
    source,
    split,
    ztf_detection,
)
from tests.listeners.test_igwn import edits, hostile, mutated
from tests.shared import shared


def only_point(**changes: Any) -> Photometry | None:
    found = lsst.records(packet(diaSource=source(**changes)))
    points = [record for record in found if isinstance(record, Photometry)]
    assert len(points) <= 1
    return points[0] if points else None


# --- LSST: what a packet means ----------------------------------------------------------------


def test_candidate_stands_where_the_object_is():
    (candidate,), _ = split(lsst.records(packet()))
    assert candidate.object_id == "170028485706776685"
    assert (candidate.ra_deg, candidate.dec_deg) == (63.3495, -47.1808)
    assert candidate.attributes["reliability"] == 0.9
    (new,), _ = split(lsst.records(packet(diaObject={"ra": None, "dec": None})))
    assert (new.ra_deg, new.dec_deg) == (63.349628, -47.180758)
    assert new.position_error_arcsec == pytest.approx(6.8e-6 * 3600)


@given(st.floats(10.0, 1e7), st.floats(1e-3, 0.3))
def test_flux_is_an_ab_magnitude(flux_njy, relative_error):
    point = only_point(psfFlux=flux_njy, psfFluxErr=flux_njy * relative_error)
    assert point is not None
    assert point.mag_ab == pytest.approx((flux_njy * u.nJy).to_value(u.ABmag), abs=1e-9)
    assert point.mag_err == pytest.approx(1.0857362 * relative_error, rel=1e-6)
    assert point.obs_mjd_tai == 61500.25
    assert point.band == "lsst:i"


@pytest.mark.parametrize(
    ("snr", "kind"), [(3.0, "point"), (2.99, "limit"), (-2.9, "limit"), (-3.0, None), (-35, None)]
)
def test_faint_fluxes(snr, kind):
    point = only_point(psfFlux=snr * 100.0, psfFluxErr=100.0)
    if kind is None:
        assert point is None
        return
    assert point is not None
    assert point.is_limit is (kind == "limit")
    if kind == "limit":
        assert point.mag_ab == pytest.approx((500 * u.nJy).to_value(u.ABmag), abs=1e-9)


@pytest.mark.parametrize(
    "failed",
    [
        {"psfFlux": math.nan},
        {"psfFluxErr": math.nan},
        {"psfFluxErr": 0.0},
        {"psfFluxErr": math.inf},
        {"psfFlux": None},
        {"band": None},
    ],
)
def test_failed_measurement_is_no_point(failed):
    assert only_point(**failed) is None


@pytest.mark.parametrize("none", [0, None])
def test_no_solar_system_object_is_zero_or_null(none):
    assert lsst.records(packet(diaSource=source(ssObjectId=none)))


@pytest.mark.parametrize("never", [None, math.nan, 0.0])
def test_not_withdrawn_is_null_or_nan_or_zero(never):
    assert lsst.records(packet(diaSource=source(timeWithdrawnMjdTai=never)))


def test_an_exposure_gives_one_point_and_the_detection_wins():
    earlier = source(midpointMjdTai=61499.25, psfFlux=9000.0)
    forced = [
        {"midpointMjdTai": 61500.25, "band": "i", "psfFlux": 24000.0, "psfFluxErr": 480.0},
        {"midpointMjdTai": 61499.25, "band": "i", "psfFlux": 9100.0, "psfFluxErr": 480.0},
        {"midpointMjdTai": 61490.25, "band": "i", "psfFlux": 100.0, "psfFluxErr": 480.0},
        {"midpointMjdTai": 61490.25, "band": "r", "psfFlux": 100.0, "psfFluxErr": 480.0},
    ]
    _, points = split(lsst.records(packet(prvDiaSources=[earlier], prvDiaForcedSources=forced)))
    fluxes = [(p.obs_mjd_tai, p.band, p.is_limit) for p in points]
    assert fluxes == [
        (61500.25, "lsst:i", False),
        (61499.25, "lsst:i", False),
        (61490.25, "lsst:i", True),
        (61490.25, "lsst:r", True),
    ]
    assert points[0].mag_ab == pytest.approx((25000 * u.nJy).to_value(u.ABmag))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"diaSource": None}, "diaSource"),
        ({"diaSource": source(diaObjectId=None)}, "diaSource.diaObjectId"),
        ({"diaSource": source(diaObjectId=0)}, "diaSource.diaObjectId"),
        ({"diaSource": source(ra=None), "diaObject": None}, "ra"),
        ({"diaSource": source(ra=math.nan), "diaObject": None}, "ra"),
        ({"diaSource": source(band="q")}, "band"),
        ({"diaSource": source(psfFlux="bright")}, "psfFlux"),
    ],
)
def test_impossible_packets_are_refused(changes, where):
    with pytest.raises(BadInput) as caught:
        lsst.records(packet(**changes))
    assert caught.value.where == where


# --- Rubin on the wire ------------------------------------------------------------------------


@needs_schemas
@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_read_by_its_own_schema(version):
    made = packet(
        prvDiaSources=[source(midpointMjdTai=61499.25, psfFlux=9000.0)],
        prvDiaForcedSources=[source(midpointMjdTai=61490.25, psfFlux=100.0)],
        ssSource=None,
    )
    (candidate,), points = split(rubin.parse(on_the_wire(version, made)))
    (expected,), expected_points = split(lsst.records(made))
    assert candidate.object_id == expected.object_id
    assert candidate.ra_deg == expected.ra_deg
    assert [p.obs_mjd_tai for p in points] == [p.obs_mjd_tai for p in expected_points]
    for point, wanted in zip(points, expected_points, strict=True):
        assert point.mag_ab == pytest.approx(wanted.mag_ab, abs=1e-6)  # float32 on the wire


@needs_schemas
def test_versions_do_differ_on_the_wire():
    """So that reading one by the schema of another would be seen."""
    bodies = {on_the_wire(version, packet(ssSource=None))[5:] for version in VERSIONS}
    assert len(bodies) > 2


@needs_schemas
@pytest.mark.parametrize("version", VERSIONS)
def test_moving_object_is_left_out_after_the_first_pass(version):
    whole = on_the_wire(version, packet(diaSource=source(ssObjectId=5), ssSource=None))
    (vetoed,) = rubin.sift(whole, Vetoes())
    assert vetoed == Vetoed("170028485706776685", "rubin", "moving", "ssObjectId 5")
    assert rubin.sift(whole[:-20], Vetoes()) == [vetoed]  # the rest is never looked at
    with pytest.raises(BadNotice, match="bytes end"):
        rubin.parse(whole[:-20])


@needs_schemas
@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "no zero byte"),
        (b"Obj\x01", "no zero byte"),
        (b"\x00\x00\x00\x63\x63" + bytes(50), "no schema of version"),
        (b"\x84\x03\x00\x00", "no zero byte"),
        (b"\x00\x84\x03\x00\x00", "no schema of version"),
        (b"\x00\x00\x00\x00\x07", "too old"),
        (b"\x00\x00\x00\x03\x84", "avro record"),
    ],
)
def test_what_is_no_packet_is_refused(payload, words):
    with pytest.raises(BadNotice, match=words):
        rubin.parse(payload)


@needs_schemas
@settings(max_examples=200, deadline=None)
@given(edits)
def test_mutated_packet_is_refused_or_sound(changes):
    made = packet(prvDiaSources=[source(midpointMjdTai=61499.25)], ssSource=None)
    try:
        rubin.parse(mutated(on_the_wire(1101, made), changes))
    except BadInput:
        return


@needs_schemas
def test_real_packet():
    """The one real packet at hand: version 9.0, big-endian, "none" as 0 and as NaN."""
    payload = shared("lsst/boom_7912941781254298.avro").read_bytes()
    assert payload[:5] == b"\x00\x00\x00\x03\x84"
    (candidate,), points = split(rubin.parse(payload))
    assert candidate.object_id == "7912941781254298"
    assert candidate.ra_deg == 55.75212760972686
    assert candidate.attributes["reliability"] == pytest.approx(0.1125, abs=1e-4)
    assert points == []  # a negative difference of 5 sigma


# --- Fink -------------------------------------------------------------------------------------

FINK_FILE = "lsst/part-2-918301.avro"


def test_fink_sends_two_moving_objects_among_seven_alerts():
    found = fink.parse(shared(FINK_FILE).read_bytes())
    candidates, points = split(found)
    assert len(candidates) == 5
    moving = [record for record in found if isinstance(record, Vetoed)]
    assert [m.object_id for m in moving] == ["sso21163624394469969", "sso21165806389311562"]
    assert {m.veto for m in moving} == {"moving"}
    assert all("clf" in c.attributes["fink"] for c in candidates)
    assert {p.object_id for p in points} == {c.object_id for c in candidates}
    assert len({(p.object_id, round(p.obs_mjd_tai, 6), p.band) for p in points}) == len(points)
    for candidate in candidates:
        json.dumps(dict(candidate.attributes), allow_nan=False)


@needs_schemas
def test_fink_and_rubin_tell_the_same():
    """The same real alerts, re-encoded with Rubin's own schema of their version (10.0)."""
    with shared(FINK_FILE).open("rb") as stream:
        alerts = list(fastavro.reader(stream))
    compared = 0
    for alert in alerts:
        if alert["diaSource"]["ssObjectId"]:
            continue
        plain = alert | {"ssSource": None, "mpc_orbits": None}
        (one,), points = split(rubin.parse(on_the_wire(1000, plain)))
        (other,), other_points = split(lsst.records(alert))
        assert one == other
        assert points == other_points
        compared += 1
    assert compared == 5


def test_schema_in_the_key_is_joined_to_the_value(topic: str, cluster: Cluster):
    """As on Fink's Kafka: the key is the writer's schema, the value has none."""
    with shared(FINK_FILE).open("rb") as stream:
        reader = fastavro.reader(stream)
        schema, alert = reader.writer_schema, next(reader)
    value = io.BytesIO()
    fastavro.schemaless_writer(value, schema, alert)
    key = json.dumps(schema).encode()
    inbox = Inbox()
    cluster.send(topic, value.getvalue(), key=key)
    using = kafka_settings(topic, key_is_schema=True)
    with running(KafkaListener(using, cluster.connection(), inbox.write)):
        until(lambda: bool(inbox.notices))
    (payload,) = inbox.payloads
    assert key in payload
    assert value.getvalue() in payload
    (candidate,), _ = split(fink.parse(payload))
    assert candidate.object_id == str(alert["diaSource"]["diaObjectId"])


def test_wrapped_datum_is_a_container_that_others_read():
    schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": "long"}]}
    datum = io.BytesIO()
    fastavro.schemaless_writer(datum, schema, {"x": 41})
    wrapped = avro.wrap(json.dumps(schema).encode(), datum.getvalue())
    assert list(fastavro.reader(io.BytesIO(wrapped))) == [{"x": 41}]
    assert avro.read_container(wrapped) == [{"x": 41}]


def test_array_of_tiny_records_is_refused_even_from_a_broker():
    """One byte for a dictionary of 200: the cheapest way to fill the memory."""
    tiny = {"type": "record", "name": "T", "fields": [{"name": "b", "type": "boolean"}]}
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "x", "type": {"type": "array", "items": tiny}}],
    }
    with pytest.raises(BadNotice, match="array of records"):
        fink.parse(hostile(schema, b"\x00"))


# --- ZTF --------------------------------------------------------------------------------------


def ztf_records(**changes: Any) -> tuple[list[Candidate], list[Photometry]]:
    made = {"objectId": "ZTF27abcdefg", "candidate": ztf_detection(), "prv_candidates": None}
    return split(ztf._records(made | changes))


def test_ztf_time_is_the_middle_of_the_exposure_in_tai():
    _, (point,) = ztf_records()
    expected = Time(2461500.7, format="jd", scale="utc") + 15 * u.s
    assert point.obs_mjd_tai == pytest.approx(expected.tai.mjd, abs=1e-8)
    assert (point.band, point.mag_ab, point.mag_err) == ("ztf:r", 18.5, 0.1)


def test_ztf_history_holds_limits_and_no_negative_differences():
    history = [
        {"jd": 2461499.7, "fid": 1, "magpsf": None, "diffmaglim": 20.1},
        {"jd": 2461498.7, "fid": 3, "magpsf": None, "diffmaglim": None},
        ztf_detection(jd=2461497.7, isdiffpos="f"),
        ztf_detection(jd=2461496.7, isdiffpos="1"),
    ]
    _, points = ztf_records(prv_candidates=history)
    assert [(p.band, p.mag_ab, p.is_limit) for p in points] == [
        ("ztf:r", 18.5, False),
        ("ztf:g", 20.1, True),
        ("ztf:r", 18.5, False),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"objectId": None},
        {"objectId": "a b"},
        {"candidate": None},
        {"candidate": ztf_detection(ra=None)},
        {"candidate": ztf_detection(dec=-91.0)},
        {"candidate": ztf_detection(fid=9)},
        {"candidate": ztf_detection(jd=math.nan)},
        {"candidate": ztf_detection(sigmapsf=0.0)},
    ],
)
def test_impossible_ztf_packet_is_refused(changes):
    with pytest.raises(BadInput):
        ztf_records(**changes)


@pytest.mark.parametrize("name", ["boom_2695378462115010012", "fink_ZTF19acihgng"])
def test_real_ztf_packets(name):
    payload = shared(f"ztf/{name}.avro").read_bytes()
    with shared(f"ztf/{name}.avro").open("rb") as stream:
        (alert,) = fastavro.reader(stream)
    (candidate,), points = split(ztf.parse(payload))
    assert candidate.object_id == alert["objectId"]
    history = [alert["candidate"], *alert["prv_candidates"]]
    positive = [h for h in history if h["magpsf"] and h["isdiffpos"] in ("t", "1")]
    assert len([p for p in points if not p.is_limit]) == len(positive)


@settings(max_examples=60, deadline=None)
@given(edits)
def test_mutated_ztf_packet_is_refused_or_sound(changes):
    payload = shared("ztf/fink_ZTF19acihgng.avro").read_bytes()
    try:
        ztf.parse(mutated(payload, changes))
    except BadInput:
        return


# --- BOOM on GCN ------------------------------------------------------------------------------


def test_boom_example():
    path = shared("gw/gcn-schema/gcn/notices/boom/alert.example.json")
    (candidate,), points = split(boom.parse(path.read_bytes()))
    assert (candidate.object_id, candidate.source) == ("ZTF25acffkdr", "boom")
    assert candidate.attributes["gcn_crossmatch"][0]["ref_ID"] == "S251117bs"
    assert candidate.attributes["photometry_not_read"] == 1  # ATLAS o
    assert [p.band for p in points] == [*("ztf:g", "ztf:r", "sdss:g", "sdss:r", "sdss:z", "ztf:r")]
    expected = Time("2025-11-28T10:07:08.003", scale="utc").tai.mjd
    assert points[0].obs_mjd_tai == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    "made",
    [
        {},
        {"data": []},
        {"data": {"targets": 5}},
        {"data": {"targets": [{"event_name": "A", "ra": "1", "dec": 2}]}},
        {"data": {"targets": [{"event_name": "A", "ra": 400, "dec": 2}]}},
    ],
)
def test_bad_boom_notice_is_refused(made):
    with pytest.raises(BadInput):
        boom.parse(json.dumps(made).encode())


def test_bad_candidate_is_a_bad_input():
    assert issubclass(BadCandidate, BadInput)
