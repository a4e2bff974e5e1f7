"""Reading by plan: what fastavro reads, cut down to the wanted fields, whatever the bytes."""

from __future__ import annotations

import io
import json
import math
import struct
from typing import Any

import fastavro
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from listeners import avro
from listeners.brokers import babamul, fink, rubin, ztf
from listeners.layout import Fields, Packet, make_layout, packets
from listeners.projection import compile_plan, read
from mmcoord.errors import BadNotice
from tests.listeners.packets import (
    VERSIONS,
    needs_schemas,
    off_the_wire,
    on_the_wire,
    packet,
    source,
)
from tests.listeners.test_igwn import edits, hostile, mutated
from tests.shared import shared

PRIMITIVES = ["boolean", "int", "long", "float", "double", "bytes", "string"]


def cut_down(record: Any, wanted: Any) -> Any:
    """The wanted fields of what fastavro made: the plain twin of a plan."""
    result = {}
    for name, inner in wanted.items():
        if name not in record:
            continue
        value = record[name]
        if inner is not None and isinstance(value, dict):
            value = {key: item for key, item in value.items() if key in inner}
        elif inner is not None and isinstance(value, list):
            value = [
                None if row is None else {k: v for k, v in row.items() if k in inner}
                for row in value
            ]
        result[name] = value
    return result


def same(one: Any, other: Any) -> bool:
    """Equal with NaN equal to NaN, and of the same types."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other)
    return bool(one == other)


# --- schemas and values of any known shape ------------------------------------------------------


@st.composite
def scalar_types(draw: st.DrawFn, names: list[str]) -> Any:
    kind: Any = draw(st.sampled_from([*PRIMITIVES, "enum", "fixed"]))
    if kind == "enum":
        names.append("E")
        kind = {"type": "enum", "name": f"E{len(names)}", "symbols": ["u", "g", "r"]}
    elif kind == "fixed":
        names.append("F")
        kind = {"type": "fixed", "name": f"F{len(names)}", "size": draw(st.integers(1, 9))}
    return optional(draw, kind)


def optional(draw: st.DrawFn, kind: Any) -> Any:
    return draw(st.sampled_from([kind, ["null", kind], [kind, "null"]]))


@st.composite
def record_types(draw: st.DrawFn, names: list[str], depth: int, *, lists: bool = False) -> Any:
    fields = []
    for k in range(draw(st.integers(1, 5))):
        shapes = ["scalar", "scalar", "scalar"]
        shapes += ["record"] if depth else []
        shapes += ["array"] if lists else []
        shape = draw(st.sampled_from(shapes))
        if shape == "scalar":
            kind = draw(scalar_types(names))
        elif shape == "record":
            kind = optional(draw, draw(record_types(names, depth - 1)))
        else:
            item = optional(draw, draw(record_types(names, 0)))
            kind = optional(draw, {"type": "array", "items": item})
        fields.append({"name": f"f{k}", "type": kind})
    names.append("R")
    return {"type": "record", "name": f"R{len(names)}", "fields": fields}


@st.composite
def values(draw: st.DrawFn, kind: Any) -> Any:
    if isinstance(kind, list):
        branch = draw(st.sampled_from(kind))
        return None if branch == "null" else draw(values(branch))
    name = kind if isinstance(kind, str) else kind["type"]
    if name == "record":
        return {f["name"]: draw(values(f["type"])) for f in kind["fields"]}
    if name == "array":
        return draw(st.lists(values(kind["items"]), max_size=5))
    if name == "fixed":
        return draw(st.binary(min_size=kind["size"], max_size=kind["size"]))
    plain = {
        "boolean": st.booleans(),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "float": st.floats(width=32),
        "double": st.floats(),
        "bytes": st.binary(max_size=9),
        "string": st.text(max_size=9),
        "enum": st.sampled_from(["u", "g", "r"]),
    }
    return draw(plain[name])


def whole_type(kind: Any) -> Any:
    """The record, array or other type under an optional one."""
    return next(k for k in kind if k != "null") if isinstance(kind, list) else kind


@st.composite
def cases(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    schema = draw(record_types([], 2, lists=True))
    wanted: dict[str, Any] = {}
    for item in schema["fields"]:
        if not draw(st.booleans()):
            continue
        kind = whole_type(item["type"])
        kind = whole_type(kind["items"]) if isinstance(kind, dict) and "items" in kind else kind
        inner = None
        if isinstance(kind, dict) and kind["type"] == "record":
            scalars = [
                f["name"]
                for f in kind["fields"]
                if isinstance(whole_type(f["type"]), str)
                or whole_type(f["type"])["type"] in ("enum", "fixed")
            ]
            inner = frozenset(name for name in scalars if draw(st.booleans()))
        wanted[item["name"]] = inner
    assume(wanted)
    return schema, wanted, draw(values(schema))


def encoded(schema: Any, value: Any) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return stream.getvalue()


def decoded(schema: Any, datum: bytes) -> Any:
    return fastavro.schemaless_reader(io.BytesIO(datum), fastavro.parse_schema(schema), None)


@settings(max_examples=300, deadline=None)
@given(cases())
def test_a_plan_reads_what_fastavro_reads(case):
    schema, wanted, value = case
    datum = encoded(schema, value)
    plan = compile_plan(schema, wanted)
    assert plan is not None
    found, end = read(b"\x00\x01" + datum, plan, 2)
    assert same(found, cut_down(decoded(schema, datum), wanted))
    assert end <= len(datum) + 2


@settings(max_examples=300, deadline=None)
@given(cases(), edits)
def test_damaged_bytes_are_read_alike_or_refused(case, changes):
    """Where fastavro finds a value in damaged bytes, a plan finds the same or says no."""
    schema, wanted, value = case
    datum = mutated(encoded(schema, value), changes)
    plan = compile_plan(schema, wanted)
    assert plan is not None
    try:
        found, end = read(datum, plan)
    except BadNotice:
        return
    assert 0 <= end <= len(datum)
    try:
        expected = decoded(schema, datum)
    except Exception:
        return  # the damage is in what the plan does not look at
    assert same(found, cut_down(expected, wanted))


@settings(max_examples=300, deadline=None)
@given(cases(), edits)
def test_only_what_fastavro_refuses_is_refused(case, changes):
    schema, wanted, value = case
    datum = mutated(encoded(schema, value), changes)
    try:
        decoded(schema, datum)
    except Exception:
        return
    plan = compile_plan(schema, wanted)
    assert plan is not None
    try:
        read(datum, plan)
        said = ""
    except BadNotice as error:
        said = str(error)
    # fastavro goes on through a number of any length, and takes a negative index from the end.
    assert not said or "longer than ten bytes" in said or "index outside" in said


def test_a_plan_can_stop_after_a_field_and_says_where():
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": name, "type": "long"} for name in "abcd"],
    }
    datum = encoded(schema, {"a": 1, "b": 300, "c": 3, "d": 4})
    plan = compile_plan(schema, {"a": None}, through="c")
    assert plan is not None
    assert read(datum, plan) == ({"a": 1}, 4)


def test_arrays_come_in_blocks_of_any_size():
    """As other writers make them: several blocks, some with a negative count and a size."""
    item = {"type": "record", "name": "I", "fields": [{"name": "x", "type": "double"}]}
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "l", "type": {"type": "array", "items": item}}],
    }
    rows = [struct.pack("<d", float(k)) for k in range(5)]
    datum = b"\x04" + rows[0] + rows[1] + b"\x05\x30" + b"".join(rows[2:5]) + b"\x00"
    plan = compile_plan(schema, {"l": frozenset({"x"})})
    assert plan is not None
    assert read(datum, plan)[0] == decoded(schema, datum)
    assert [row["x"] for row in read(datum, plan)[0]["l"]] == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("count", [10**4, 2**62, -(2**63)])
def test_a_count_that_the_bytes_cannot_hold_is_refused_before_room_is_made(count):
    item = {"type": "record", "name": "I", "fields": [{"name": "x", "type": "double"}]}
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "l", "type": {"type": "array", "items": item}}],
    }
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, "long", count)
    plan = compile_plan(schema, {"l": frozenset({"x"})})
    assert plan is not None
    with pytest.raises(BadNotice, match=r"more items|bytes end"):
        read(stream.getvalue() + bytes(64), plan)


def test_a_million_nulls_are_refused():
    item = {"type": "record", "name": "I", "fields": [{"name": "x", "type": "double"}]}
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "l", "type": {"type": "array", "items": ["null", item]}}],
    }
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, "long", 10**6)
    plan = compile_plan(schema, {"l": frozenset({"x"})})
    assert plan is not None
    with pytest.raises(BadNotice, match="more than 100000"):
        read(stream.getvalue() + bytes(10**6 + 1), plan)


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "map", "values": "int"},
        ["null", "int", "string"],
        ["int"],
        {"type": "array", "items": {"type": "array", "items": "int"}},
    ],
)
def test_an_unknown_shape_gives_no_plan_but_the_same_answer(kind):
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "a", "type": kind}, {"name": "b", "type": "long"}],
    }
    assert compile_plan(schema, {"b": None}) is None
    empty: Any = {"map": {}, "array": []}.get(kind["type"]) if isinstance(kind, dict) else 5
    datum = encoded(schema, {"a": empty, "b": 7})
    layout = make_layout(schema, Fields({"b": None}, {"b": None}))
    found = Packet(b"\x00" + datum, 1, layout)
    assert found.beginning()["b"] == found.whole()["b"] == 7


# --- the packets of each source ---------------------------------------------------------------


def both_passes_agree(found: Packet, expected: Any, fields: Fields) -> None:
    assert found.layout.beginning is not None, "read by the general decoder"
    assert found.layout.whole is not None, "read by the general decoder"
    assert same(found.beginning(), cut_down(expected, fields.first))
    whole = dict(found.whole())
    wanted = [name for name in fields.whole if name in expected]
    assert same({name: whole.pop(name) for name in wanted}, cut_down(expected, fields.whole))
    assert all(same(value, expected[name]) for name, value in whole.items())


@needs_schemas
@pytest.mark.parametrize("version", VERSIONS)
def test_rubin_packets_of_every_version_are_read_as_by_fastavro(version):
    history = [source(midpointMjdTai=61400.0 + k, psfFlux=math.nan) for k in range(300)]
    made = packet(prvDiaSources=history, prvDiaForcedSources=history[:50])
    payload = on_the_wire(version, made)
    found = Packet(payload, 5, rubin._layout(version))
    both_passes_agree(found, off_the_wire(payload), rubin._FIELDS)
    assert len(found.whole()["prvDiaSources"]) == 300


@needs_schemas
def test_the_real_rubin_packet_is_read_as_by_fastavro():
    payload = shared("lsst/boom_7912941781254298.avro").read_bytes()
    both_passes_agree(Packet(payload, 5, rubin._layout(900)), off_the_wire(payload), rubin._FIELDS)


@needs_schemas
@settings(max_examples=200, deadline=None)
@given(edits)
def test_a_damaged_rubin_packet_is_read_alike_or_refused(changes):
    made = packet(prvDiaSources=[source(midpointMjdTai=61499.25)])
    payload = on_the_wire(1101, made)[:5] + mutated(on_the_wire(1101, made)[5:], changes)
    try:
        found = Packet(payload, 5, rubin._layout(1101)).whole()
    except BadNotice:
        return
    try:
        expected = off_the_wire(payload)
    except Exception:
        return
    assert same(dict(found), cut_down(expected, rubin._FIELDS.whole))


def test_real_fink_alerts_are_read_as_by_fastavro():
    """One by one as on Kafka; the opinions behind the images are all read."""
    with shared("lsst/part-2-918301.avro").open("rb") as stream:
        reader = fastavro.reader(stream)
        schema, alerts = reader.writer_schema, list(reader)
    for alert in alerts:
        container = avro.wrap(json.dumps(schema).encode(), encoded(schema, alert))
        (found,) = packets(container, fink._FIELDS)
        both_passes_agree(found, alert, fink._FIELDS)
        assert {"clf", "xm", "pred", "misc", "lc_features"} <= found.whole().keys()


@pytest.mark.parametrize("name", ["boom_2695378462115010012", "fink_ZTF19acihgng"])
def test_real_ztf_packets_are_read_as_by_fastavro(name):
    payload = shared(f"ztf/{name}.avro").read_bytes()
    (found,) = packets(payload, ztf._FIELDS)
    (expected,) = fastavro.reader(io.BytesIO(payload))
    both_passes_agree(found, expected, ztf._FIELDS)


def test_several_records_in_a_block_are_read_in_general():
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "objectId", "type": "string"}, {"name": "x", "type": "int"}],
    }
    body = b"".join(encoded(schema, {"objectId": n, "x": 1}) for n in ("a", "b"))
    fields = Fields({"objectId": None}, {"objectId": None, "x": None})
    found = list(packets(hostile(schema, body, count=2), fields))
    assert [dict(f.beginning()) for f in found] == [{"objectId": "a"}, {"objectId": "b"}]
    assert [f.whole()["x"] for f in found] == [1, 1]


def test_a_container_without_the_fields_is_refused():
    schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": "int"}]}
    for module in (fink, ztf, babamul):
        with pytest.raises(BadNotice, match="none of the fields"):
            module.parse(hostile(schema, b"\x02"))
