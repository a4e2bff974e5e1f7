"""Lasair, ANTARES and BABAMUL: field maps, shapes of their clients, hostile bytes."""

from __future__ import annotations

import io
import json
import math
import tracemalloc
import zlib
from functools import cache
from typing import Any

import bson
import fastavro
import pytest
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from listeners import avro
from listeners.brokers import antares, babamul, fink, lasair, ztf
from listeners.connections import kafka
from listeners.kafka import KafkaListener
from listeners.vetoes import Vetoes
from mmcoord.errors import BadInput, ConfigError
from mmcoord.records import Candidate
from tests.listeners.conftest import settings as kafka_settings
from tests.listeners.packets import (
    antares_locus,
    antares_message,
    babamul_alert,
    container,
    fink_alert,
    lasair_object,
    split,
    ztf_alert,
)
from tests.listeners.test_igwn import edits, hostile, json_values, mutated

# --- Lasair -----------------------------------------------------------------------------------


def lasair_records(**changes: Any) -> Any:
    return split(lasair.parse(json.dumps(lasair_object(**changes)).encode()))


def test_lasair_example_with_lite_light_curve():
    """Values from Lasair's page; the magnitude by the definition of AB and nJy."""
    (candidate,), (point,) = lasair_records()
    assert (candidate.object_id, candidate.source) == ("169760235333878021", "lsst")
    assert (candidate.ra_deg, candidate.dec_deg) == (221.87087177320953, -38.16173726666955)
    assert candidate.attributes == {"lasair": {"UTC": "2026-01-29 11:40:14"}}
    assert (point.obs_mjd_tai, point.band) == (61029.354114730224, "lsst:z")
    assert point.mag_ab == pytest.approx(8.90 - 2.5 * math.log10(13677.0458984375e-9), abs=1e-9)
    assert candidate.ebv_mw is None


@pytest.mark.parametrize(
    "names",
    [
        ("diaObjectId", "ra", "decl"),
        ("objects.diaObjectId", "objects.ra", "objects.decl"),
        ("DIAOBJECTID", "RA", "DECL"),
        ("objectId", "ramean", "decmean"),
        ("diaobjectid", "raDeg", "decDeg"),
    ],
)
def test_lasair_attributes_are_found_under_the_names_that_queries_give_them(names):
    made = dict(zip(names, [169760235333878021, 10.5, -20.25], strict=True))
    (candidate,), points = split(lasair.parse(json.dumps(made).encode()))
    assert candidate == Candidate("169760235333878021", 10.5, -20.25, "lsst")
    assert points == []


def test_lasair_full_alert_with_forced_fluxes_and_attributes():
    detections = [
        {"psfFlux": 9000.0, "psfFluxErr": 100.0, "midpointMjdTai": 61028.25, "band": "r"},
        {"psfFlux": 10000, "psfFluxErr": 100, "midpointMjdTai": 61029.25, "band": "r"},
    ]
    forced = [
        {"psfFlux": 9900.0, "psfFluxErr": 100.0, "midpointMjdTai": 61029.25, "band": "r"},
        {"psfFlux": 1.0, "psfFluxErr": 100.0, "midpointMjdTai": 61020.25, "band": "g"},
        {"psfFlux": None, "psfFluxErr": 100.0, "midpointMjdTai": 61021.25, "band": "g"},
        {"psfFlux": math.nan, "psfFluxErr": 100.0, "midpointMjdTai": 61022.25, "band": "g"},
    ]
    alert = {"diaObject": {}, "diaSourcesList": detections, "diaForcedSourcesList": forced}
    (candidate,), points = lasair_records(
        alert=alert, ebv=0.031, classification="SN", latestR=0.9, g_psfFlux=3.5, best_distance=40.1
    )
    assert [(p.obs_mjd_tai, p.band, p.is_limit) for p in points] == [
        (61029.25, "lsst:r", False),
        (61028.25, "lsst:r", False),
        (61020.25, "lsst:g", True),
    ]
    assert points[0].mag_ab == pytest.approx(31.4 - 10.0)
    assert candidate.ebv_mw == 0.031
    assert candidate.attributes["sherlock"] == "SN"
    assert candidate.attributes["reliability"] == 0.9
    assert candidate.attributes["lasair"]["g_psfFlux"] == 3.5
    assert candidate.attributes["lasair"]["best_distance"] == 40.1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"diaObjectId": None}, "no identifier"),
        ({"diaObjectId": 0}, "no identifier"),
        ({"diaObjectId": True}, "no identifier"),
        ({"diaObjectId": "a b"}, "no identifier"),
        ({"ra": None}, "SELECT one"),
        ({"decl": None}, "SELECT one"),
        ({"ra": "10"}, "number"),
        ({"ra": 360.5}, "ra"),
        ({"decl": math.nan}, "finite"),
        ({"alert": {"diaSourcesList": [{"psfFlux": "a", "psfFluxErr": 1.0}]}}, None),
        (
            {
                "alert": {
                    "diaSourcesList": [
                        {"psfFlux": "a", "psfFluxErr": 1.0, "midpointMjdTai": 61000.0, "band": "r"}
                    ]
                }
            },
            "not a number",
        ),
        ({f"x{k}": 1 for k in range(300)}, "attributes"),
    ],
)
def test_impossible_lasair_messages_are_refused(changes, words):
    payload = json.dumps(lasair_object(**changes)).encode()
    if words is None:
        assert lasair.parse(payload)  # a flux without a time is no measurement
        return
    with pytest.raises(BadInput, match=words):
        lasair.parse(payload)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*lasair_object(), "ebv", "classification", "latestR", "x"]), json_values)
def test_lasair_with_any_value_is_refused_or_sound(key, value):
    payload = json.dumps(lasair_object(**{key: value})).encode()
    try:
        found = lasair.sift(payload, Vetoes())
    except BadInput:
        return
    json.dumps([dict(r.attributes) for r in found if isinstance(r, Candidate)], allow_nan=False)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["psfFlux", "psfFluxErr", "midpointMjdTai", "band"]), json_values)
def test_lasair_with_any_point_is_refused_or_sound(key, value):
    made = lasair_object()
    made["alert"]["diaSourcesList"][0][key] = value
    try:
        lasair.parse(json.dumps(made).encode())
    except BadInput:
        return


# --- ANTARES ----------------------------------------------------------------------------------


def antares_candidate(**changes: Any) -> Candidate:
    (candidate,) = antares.parse(antares_message(antares_locus(**changes)))
    assert isinstance(candidate, Candidate)
    return candidate


def test_antares_locus_is_named_as_its_survey_names_it():
    candidate = antares_candidate()
    assert (candidate.object_id, candidate.source) == ("170666303786319881", "lsst")
    assert (candidate.ra_deg, candidate.dec_deg) == (221.8, -38.2)
    assert candidate.attributes["antares"] == "ANT2027abcdefg"
    assert candidate.attributes["tags"] == ["nuclear"]
    assert candidate.attributes["newest_alert_magnitude"] == 21.3


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"survey": {"lsst": {"dia_object_id": [170666303786319881]}}}, "170666303786319881"),
        ({"survey": {"lsst": {"dia_object_id": None}}}, "ANT2027abcdefg"),
        ({"survey": {"lsst": {"dia_object_id": ["1", "2"]}}}, "ANT2027abcdefg"),
        ({"survey": {"ztf": {"id": ["ZTF27abcdefg"]}}}, "ZTF27abcdefg"),
        ({"survey": None, "ztf_object_id": "ZTF27abcdefg"}, "ZTF27abcdefg"),
        ({"survey": {"ztf": {"id": ["ZTF27a", "ZTF27b"]}}}, "ANT2027abcdefg"),
        ({"survey": []}, "ANT2027abcdefg"),
    ],
)
def test_a_locus_of_several_objects_keeps_its_own_name(properties, expected):
    assert antares_candidate(properties=properties).object_id == expected


def test_the_older_shape_of_a_locus_is_read_alike():
    """``OldMarshmallowLocusFromKafka``: the same below ``data``."""
    locus = antares_locus()
    older = {"data": {"id": locus.pop("id"), "attributes": locus}}
    assert antares.parse(antares_message(older)) == [antares_candidate()]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "cut off"),
        (b"no zlib", "does not inflate"),
        (zlib.compress(b"no bson"), "not BSON"),
        (antares_message(antares_locus())[:-8], "cut off"),
        (antares_message(antares_locus(id=5)), "text is needed"),
        (antares_message(antares_locus(ra=None)), "number"),
        (antares_message(antares_locus(dec=95.0)), "dec"),
        (antares_message({"data": 5}), "object"),
    ],
)
def test_what_is_no_locus_is_refused(payload, words):
    with pytest.raises(BadInput, match=words):
        antares.parse(payload)


@settings(max_examples=300, deadline=None)
@given(edits)
def test_mutated_locus_is_refused_or_sound(changes):
    try:
        antares.parse(zlib.compress(mutated(bson.encode(antares_locus()), changes)))
    except BadInput:
        return


def test_nested_bson_is_refused():
    document = b"\x05\0\0\0\0"
    for _ in range(20_000):
        body = b"\x03a\0" + document
        document = (len(body) + 5).to_bytes(4, "little") + body + b"\0"
    with pytest.raises(BadInput):
        antares.parse(zlib.compress(document))


# --- BABAMUL ----------------------------------------------------------------------------------


def babamul_records(**changes: Any) -> Any:
    return split(babamul.parse(container(babamul_alert(**changes))))


def test_babamul_light_curve_is_in_njy_and_utc():
    (candidate,), points = babamul_records()
    assert (candidate.object_id, candidate.source) == ("170028485706776685", "lsst")
    assert (candidate.ra_deg, candidate.dec_deg) == (63.349628, -47.180758)
    assert candidate.position_error_arcsec == pytest.approx(6.8e-6 * 3600)
    assert candidate.attributes["ztf_match"] == "ZTF27abcdefg"
    assert candidate.attributes["near_brightstar"] is True
    day_before = Time(61499.25, format="mjd", scale="tai")
    assert [(p.band, p.is_limit) for p in points] == [
        ("lsst:i", False),
        ("lsst:r", False),
        ("lsst:r", True),
    ]
    assert points[0].obs_mjd_tai == 61500.25
    assert points[1].obs_mjd_tai == pytest.approx(day_before.tai.mjd, abs=1e-8)
    assert points[1].mag_ab == pytest.approx(8.90 - 2.5 * math.log10(9000e-9), abs=1e-9)


def test_babamul_band_is_an_enumeration_on_the_wire():
    """As the Rust type derives it: named types, defined once and referred to after."""
    band = {"type": "enum", "name": "Band", "symbols": list("grizyujhk")}
    alert = babamul_alert()
    point = [("jd", "double"), ("psfFlux", "double"), ("psfFluxErr", "double"), ("band", "Band")]
    types = {int: "long", float: "double", str: "string", bool: "boolean"}
    candidate = [
        {"name": k, "type": ["null", band if k == "band" else types.get(type(v), "long")]}
        for k, v in alert["candidate"].items()
    ]

    def record(name: str, fields: Any) -> dict[str, Any]:
        return {"type": "record", "name": name, "fields": fields}

    photometry = record("AlertPhotometry", [{"name": n, "type": t} for n, t in point])
    forced = record(
        "ForcedPhotometry",
        [{"name": n, "type": ["null", t] if n == "psfFlux" else t} for n, t in point],
    )
    flags = [{"name": key, "type": ["null", "boolean"]} for key in alert["properties"]]
    match = record(
        "Match",
        [
            {"name": "objectId", "type": "string"},
            {"name": "prv_candidates", "type": {"type": "array", "items": "AlertPhotometry"}},
        ],
    )
    matches = record("Matches", [{"name": "ztf", "type": ["null", match]}])
    schema = record(
        "BabamulLsstAlert",
        [
            {"name": "candid", "type": "long"},
            {"name": "objectId", "type": "string"},
            {"name": "candidate", "type": record("LsstCandidate", candidate)},
            {"name": "prv_candidates", "type": {"type": "array", "items": photometry}},
            {"name": "fp_hists", "type": {"type": "array", "items": forced}},
            {"name": "properties", "type": record("LsstAlertProperties", flags)},
            {"name": "survey_matches", "type": matches},
        ],
    )
    alert["survey_matches"]["ztf"]["prv_candidates"] = alert["prv_candidates"]
    stream = io.BytesIO()
    fastavro.writer(stream, schema, [alert], codec="null")
    assert babamul.parse(stream.getvalue()) == babamul.parse(container(babamul_alert()))


@pytest.mark.parametrize(
    "changes",
    [
        {"objectId": None},
        {"objectId": "a b"},
        {"candidate": None},
        {"ra": None},
        {"dec": -91.0},
        {"prv_candidates": [{"jd": math.nan, "psfFlux": 1.0, "psfFluxErr": 1.0, "band": "r"}]},
        {"prv_candidates": [{"jd": 2461500.5, "psfFlux": 1.0, "psfFluxErr": 1.0, "band": "k"}]},
    ],
)
def test_impossible_babamul_packet_is_refused(changes):
    alert = babamul_alert()
    if set(changes) <= {"ra", "dec"}:
        alert["candidate"] |= changes
    else:
        alert |= changes
    with pytest.raises(BadInput):
        babamul.parse(container(alert))


def test_babamul_group_must_begin_with_the_user_name():
    connection = kafka("kaboom.invalid:9093", group_prefix="someone-")
    with pytest.raises(ConfigError, match="someone-"):
        KafkaListener(kafka_settings("t", group_id="mmcoord"), connection, lambda notices: None)


# --- all of them ------------------------------------------------------------------------------

CONTAINERS = {
    "babamul": (babamul, container(babamul_alert())),
    "fink": (fink, container(fink_alert())),
    "ztf": (ztf, container(ztf_alert())),
}


@pytest.mark.parametrize("name", CONTAINERS)
@settings(max_examples=300, deadline=None)
@given(changes=edits)
def test_mutated_container_is_refused_or_sound(name, changes):
    module, payload = CONTAINERS[name]
    try:
        module.sift(mutated(payload, changes), Vetoes())  # type: ignore[attr-defined]
    except BadInput:
        return


@cache
def bomb() -> bytes:
    """Two MiB of deflated zeros that inflate to two GiB."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = engine.compress(bytes(2**25)) + engine.flush(zlib.Z_FULL_FLUSH)
    return block * 64  # after a full flush nothing refers back


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_that_inflates_to_gigabytes_is_refused_in_little_memory(name):
    deflated = bomb()
    assert len(deflated) < 4 * 2**20
    schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": "bytes"}]}
    payload = hostile(schema, deflated, b"deflate")
    module, _ = CONTAINERS[name]
    assert peak_mb(module.parse, payload, "inflates beyond") < 64  # type: ignore[attr-defined]


def test_a_locus_that_inflates_to_gigabytes_is_refused_in_little_memory():
    assert peak_mb(antares.parse, b"\x78\xda" + bomb(), "inflates beyond") < 64


def test_a_schema_that_promises_millions_of_points_is_refused_in_little_memory():
    """Four MiB of empty points, each as cheap as the schema allows."""
    point = {"type": "record", "name": "P", "fields": [{"name": "jd", "type": "double"}]}
    schema = {
        "type": "record",
        "name": "R",
        "fields": [
            {"name": "objectId", "type": "string"},
            {
                "name": "candidate",
                "type": {
                    "type": "record",
                    "name": "C",
                    "fields": [{"name": "diaSourceId", "type": "long"}],
                },
            },
            {"name": "prv_candidates", "type": {"type": "array", "items": ["null", point]}},
        ],
    }
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, "long", 2**22)
    body = b"\x02a\x02" + stream.getvalue() + bytes(2**22 + 1)
    payload = avro.wrap(json.dumps(schema).encode(), body)
    for module in (ztf, babamul):
        assert peak_mb(module.parse, payload, "more than 100000") < 64


def peak_mb(parse: Any, payload: bytes, words: str) -> float:
    """Memory that Python took until the payload was refused."""
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match=words):
            parse(payload)
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
