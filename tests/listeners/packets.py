"""Survey packets that the tests make by the official schemas, and how to take them apart."""

from __future__ import annotations

import importlib.util
import io
import json
from typing import Any

import fastavro
import pytest

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


def on_the_wire(version: int, alert: dict[str, Any]) -> bytes:
    """The packet as Rubin sends it, by the official schema of that version."""
    folder = rubin._installed() / str(version // 100) / str(version % 100)
    name = f"lsst.v{version // 100}_{version % 100}.alert"
    named: dict[str, Any] = {}
    for path in folder.glob("*.avsc"):
        if path.stem != name:
            fastavro.parse_schema(json.loads(path.read_text()), named)
    schema = fastavro.parse_schema(json.loads((folder / f"{name}.avsc").read_text()), named)
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema, filled(schema, named, alert))
    return b"\x00" + version.to_bytes(4, "big") + stream.getvalue()


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
