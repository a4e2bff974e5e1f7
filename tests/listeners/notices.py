"""LVK notices made by the tests themselves, and the same notice as Avro."""

from __future__ import annotations

import base64
import io
from typing import Any

import fastavro

MAP = b"SIMPLE  =                    T" + bytes(range(256)) * 4
"""Stands for a FITS file; listeners carry maps, they do not read them."""


def notice(**changes: Any) -> dict[str, Any]:
    """A significant BNS notice in JSON form; keyword arguments replace top-level keys."""
    made: dict[str, Any] = {
        "alert_type": "INITIAL",
        "time_created": "2027-03-04T05:06:07Z",
        "superevent_id": "S270304ab",
        "urls": {"gracedb": "https://example.org/superevents/S270304ab/view/"},
        "event": {
            "time": "2027-03-04T04:59:08.167Z",
            "far": 1.5e-9,
            "significant": True,
            "instruments": ["H1", "L1", "V1"],
            "group": "CBC",
            "pipeline": "gstlal",
            "search": "AllSky",
            "properties": {"HasNS": 1.0, "HasRemnant": 0.9, "HasMassGap": 0.0},
            "classification": {"BNS": 0.9, "NSBH": 0.05, "BBH": 0.0, "Terrestrial": 0.05},
            "duration": None,
            "central_frequency": None,
            "skymap": base64.b64encode(MAP).decode(),
        },
        "external_coinc": None,
    }
    made.update(changes)
    return made


def event(**changes: Any) -> dict[str, Any]:
    """The ``event`` part, changed."""
    part: dict[str, Any] = notice()["event"]
    part.update(changes)
    return part


_EVENT = {
    "type": "record",
    "name": "EventInfo",
    "fields": [
        {"name": "time", "type": "string"},
        {"name": "far", "type": "double"},
        {"name": "significant", "type": "boolean"},
        {"name": "instruments", "type": {"type": "array", "items": "string"}},
        {"name": "group", "type": "string"},
        {"name": "pipeline", "type": "string"},
        {"name": "search", "type": "string"},
        {"name": "properties", "type": {"type": "map", "values": "double"}},
        {"name": "classification", "type": {"type": "map", "values": "double"}},
        {"name": "duration", "type": ["null", "double"]},
        {"name": "central_frequency", "type": ["null", "double"]},
        {"name": "skymap", "type": ["null", "bytes"]},
    ],
}
SCHEMA = {
    "type": "record",
    "name": "Alert",
    "namespace": "igwn.alerts",
    "fields": [
        {"name": "alert_type", "type": "string"},
        {"name": "time_created", "type": "string"},
        {"name": "superevent_id", "type": "string"},
        {"name": "urls", "type": {"type": "map", "values": "string"}},
        {"name": "event", "type": ["null", _EVENT]},
        {"name": "external_coinc", "type": ["null", {"type": "map", "values": "string"}]},
    ],
}


def container(records: list[Any], schema: Any = SCHEMA, codec: str = "null") -> bytes:
    """An Avro object container file, written by fastavro."""
    stream = io.BytesIO()
    fastavro.writer(stream, fastavro.parse_schema(schema), records, codec=codec)
    return stream.getvalue()


def as_avro(made: dict[str, Any], codec: str = "null") -> bytes:
    """The notice as SCiMMA carries it: one record, the map as raw bytes."""
    record = dict(made)
    if record["event"] is not None:
        skymap = record["event"]["skymap"]
        raw = None if skymap is None else base64.b64decode(skymap)
        record["event"] = {**record["event"], "skymap": raw}
    return container([record], codec=codec)
