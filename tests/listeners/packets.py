"""Survey packets that the tests make by the official schemas, and how to take them apart."""

from __future__ import annotations

import importlib.util
import io
import json
import zlib
from functools import cache
from typing import Any

import bson
import fastavro
import pytest

from listeners import avro
from listeners.brokers import rubin
from mmcoord.records import Candidate, Photometry

VERSIONS = [701, 702, 703, 704, 800, 900, 1000, 1100, 1101]
"""Every version of Rubin's schema that the installed package has, from 7.1 on."""

needs_schemas = pytest.mark.skipif(
    importlib.util.find_spec("lsst") is None,
    reason="package lsst-alert-packet (extra 'rubin') is not installed",
)


def source(**changes: Any) -> dict[str, Any]:
    """A DiaSource at 50 times its error."""
    made = {
        "diaSourceId": 170094456272322680,
        "visit": 2027030500055,
        "diaObjectId": 170028485706776685,
        "ssObjectId": 0,
        "midpointMjdTai": 61500.25,
        "ra": 63.349628,
        "dec": -47.180758,
        "raErr": 6.8e-06,
        "decErr": 6.6e-06,
        "band": "i",
        "psfFlux": 25000.0,
        "psfFluxErr": 500.0,
        "snr": 50.0,
        "reliability": 0.9,
        "timeWithdrawnMjdTai": None,
    }
    return made | changes


def packet(**changes: Any) -> dict[str, Any]:
    return {
        "diaSourceId": 170094456272322680,
        "diaSource": source(),
        "prvDiaSources": None,
        "prvDiaForcedSources": None,
        "diaObject": {"diaObjectId": 170028485706776685, "ra": 63.3495, "dec": -47.1808},
        "ssSource": {"ssObjectId": None},
    } | changes


def split(found: Any) -> tuple[list[Candidate], list[Photometry]]:
    return (
        [record for record in found if isinstance(record, Candidate)],
        [record for record in found if isinstance(record, Photometry)],
    )


def filled(schema: Any, named: dict[str, Any], values: Any) -> Any:
    """A value that fits a schema: what is wanted, null where it may be, else something."""
    if isinstance(schema, list):
        if values is None and "null" in schema:
            return None
        return filled(next(s for s in schema if s != "null"), named, values)
    if isinstance(schema, str) and schema in named:
        return filled(named[schema], named, values)
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind == "record":
        given = values or {}
        return {f["name"]: filled(f["type"], named, given.get(f["name"])) for f in schema["fields"]}
    if kind == "array":
        return [filled(schema["items"], named, item) for item in values or ()]
    if isinstance(kind, dict):
        return filled(kind, named, values)
    empty = {"string": "", "bytes": b"", "boolean": False, "float": 0.0, "double": 0.0}
    return values if values is not None else empty.get(kind, 0)


@cache
def official_schema(version: int) -> Any:
    """Rubin's whole schema of a version, as fastavro takes it."""
    folder = rubin._installed() / str(version // 100) / str(version % 100)
    name = f"lsst.v{version // 100}_{version % 100}.alert"
    named: dict[str, Any] = {}
    for path in folder.glob("*.avsc"):
        if path.stem != name:
            fastavro.parse_schema(json.loads(path.read_text()), named)
    return fastavro.parse_schema(json.loads((folder / f"{name}.avsc").read_text()), named)


def on_the_wire(version: int, alert: dict[str, Any]) -> bytes:
    """The packet as Rubin sends it, by the official schema of that version."""
    schema = official_schema(version)
    stream = io.BytesIO()
    named = schema["__named_schemas"]
    fastavro.schemaless_writer(stream, schema, filled(schema, named, alert))
    return b"\x00" + version.to_bytes(4, "big") + stream.getvalue()


def off_the_wire(payload: bytes) -> Any:
    """A Rubin packet in full, by fastavro and the official schema."""
    schema = official_schema(int.from_bytes(payload[1:5], "big"))
    return fastavro.schemaless_reader(io.BytesIO(payload[5:]), schema, None)


def ztf_detection(**changes: Any) -> dict[str, Any]:
    made = {
        "jd": 2461500.7,
        "fid": 2,
        "ra": 120.0,
        "dec": 20.0,
        "magpsf": 18.5,
        "sigmapsf": 0.1,
        "diffmaglim": 20.5,
        "isdiffpos": "t",
        "ssdistnr": -999.0,
        "exptime": 30.0,
        "drb": 0.99,
        "candid": 1060135832015015002,
    }
    return made | changes


def container(alert: dict[str, Any]) -> bytes:
    """An alert as one Avro container, fields optional as Spark writes them."""
    schema = schema_of(alert, ["Alert"])
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), alert)
    return avro.wrap(json.dumps(schema).encode(), stream.getvalue())


def schema_of(value: Any, path: list[str]) -> Any:
    """The type of a value: named after its place, numbers as long and double."""
    if isinstance(value, dict):
        is_item = path[-1] == "item"
        fields = [
            {
                "name": key,
                "type": (schema_of if is_item and item is not None else optional_type)(
                    item, [*path, key]
                ),
            }
            for key, item in value.items()
        ]
        return {"type": "record", "name": "_".join(path), "fields": fields}
    if isinstance(value, list):
        return {"type": "array", "items": optional_type(value[0], [*path, "item"])}
    names = {bool: "boolean", int: "long", float: "double", str: "string", bytes: "bytes"}
    return names.get(type(value), "double")


def optional_type(value: Any, path: list[str]) -> Any:
    return [schema_of(value, path), "null"]


def fink_alert(**changes: Any) -> dict[str, Any]:
    """As Fink sends it: Rubin's packet, the images, and Fink's opinions behind them."""
    opinions = {
        "clf": {"cats_class": 11},
        "xm": {
            "gaiadr3_Plx": None,
            "gaiadr3_e_Plx": None,
            "vsx_Type": None,
            "gcvs_type": None,
            "legacydr8_pstar": 1.0,
        },
        "misc": {"firstDiaSourceMjdTaiFink": 61490.25},
    }
    made = packet(prvDiaSources=[source(midpointMjdTai=61495.25)])
    return made | {"cutoutTemplate": b"image"} | opinions | changes


def ztf_alert(**changes: Any) -> dict[str, Any]:
    made = ztf_detection(sgscore1=0.98, distpsnr1=1.5, jdstarthist=2461490.7, rb=0.5)
    made |= {key: changes.pop(key) for key in list(changes) if key in made}
    return {"objectId": "ZTF27abcdefg", "candidate": made, "prv_candidates": None} | changes


def lasair_object(**changes: Any) -> dict[str, Any]:
    """The example of Lasair's page "Alert Streams", with a lite light curve."""
    made = {
        "diaObjectId": 169760235333878021,
        "decl": -38.16173726666955,
        "ra": 221.87087177320953,
        "UTC": "2026-01-29 11:40:14",
        "alert": {
            "diaSourcesList": [
                {
                    "psfFlux": 13677.0458984375,
                    "psfFluxErr": 1538.7562255859375,
                    "midpointMjdTai": 61029.354114730224,
                    "band": "z",
                    "reliability": 0.4863438308238983,
                }
            ],
            "diaForcedSourcesList": [],
        },
    }
    return made | changes


def antares_locus(**changes: Any) -> dict[str, Any]:
    """A locus as ``LocusMessageToUsers`` of antares-client has it."""
    properties = {
        "survey": {"lsst": {"dia_object_id": ["170666303786319881"]}},
        "ztf_ssnamenr": "null",
        "newest_alert_observation_time": 61500.2,
        "oldest_alert_observation_time": 61490.2,
        "newest_alert_magnitude": 21.3,
        "num_alerts": 3,
    }
    properties |= changes.pop("properties", {})
    made = {"id": "ANT2027abcdefg", "ra": 221.8, "dec": -38.2, "properties": properties}
    return made | {"tags": ["nuclear"], "catalogs": ["gaia_dr3_gaia_source"]} | changes


def antares_message(locus: dict[str, Any]) -> bytes:
    return zlib.compress(bson.encode(locus))


def babamul_alert(**changes: Any) -> dict[str, Any]:
    """As ``BabamulLsstAlert`` of boom, with the fields of a candidate that are read."""
    jd = 2461500.75 - 37.0 / 86400.0  # MJD 61500.25 TAI
    candidate = {
        "diaSourceId": 170094456272322680,
        "visit": 2027030500055,
        "diaObjectId": 170028485706776685,
        "ssObjectId": None,
        "midpointMjdTai": 61500.25,
        "ra": 63.349628,
        "raErr": 6.8e-06,
        "dec": -47.180758,
        "decErr": 6.6e-06,
        "psfFlux": 25000.0,
        "psfFluxErr": 500.0,
        "reliability": 0.9,
        "band": "i",
        "objectId": "170028485706776685",
        "jd": jd,
        "isdiffpos": True,
        "jdstarthist": jd - 10.0,
        "ndethist": 3,
    }
    candidate |= {key: changes.pop(key) for key in list(changes) if key in candidate}
    made = {
        "candid": 170094456272322680,
        "objectId": "170028485706776685",
        "candidate": candidate,
        "prv_candidates": [
            {"jd": jd - 1.0, "psfFlux": 9000.0, "psfFluxErr": 500.0, "band": "r"},
            {"jd": jd, "psfFlux": 25000.0, "psfFluxErr": 500.0, "band": "i"},
        ],
        "fp_hists": [
            {"jd": jd - 1.0, "psfFlux": 8900.0, "psfFluxErr": 500.0, "band": "r"},
            {"jd": jd - 9.0, "psfFlux": 10.0, "psfFluxErr": 500.0, "band": "r"},
        ],
        "properties": {"rock": False, "stationary": True, "star": False, "near_brightstar": True},
        "survey_matches": {"ztf": {"objectId": "ZTF27abcdefg"}},
    }
    return made | changes
