"""The survey's alerts as the packets that Rubin and Fink send.

Rubin's are written with the official schema of the newest version installed
(``lsst-alert-packet``, extra ``rubin``). Fink's are the same alert and Fink's own part behind
it, with the schema as the message's key. What mmcoord does not read is null or zero. A packet
has no room for a mark of practice: it is the topic that says so (sources ``rubin_practice``
and ``fink_practice``), and no redshift of a host, which a table has.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

import fastavro
import numpy as np

from mmcoord.errors import ConfigError
from mmcoord.simulate.alerts import DELAY_S, Observed, TimedMessage
from mmcoord.simulate.survey import BANDS
from mmcoord.timescales import mjd_tai

__all__ = ["Format", "packet_alerts"]

Format = Literal["table", "rubin", "fink"]

_ZERO_POINT_NJY = 31.4
_RELIABILITY = 0.95
_LIMIT_SNR = 5.0
_OPINIONS = {
    "type": "record",
    "name": "misc",
    "namespace": "fink",
    "fields": [{"name": "firstDiaSourceMjdTaiFink", "type": ["null", "double"]}],
}


def packet_alerts(
    rng: np.random.Generator,
    thing: Observed,
    object_id: int,
    event_time: datetime,
    fmt: Format,
) -> list[TimedMessage]:
    """One packet for each detection, with all the light curve before it.

    Raises
    ------
    ConfigError
        Rubin's schemas are not installed.
    """
    begin_mjd = mjd_tai(event_time)
    sources: list[dict[str, Any]] = []
    forced: list[dict[str, Any]] = []
    messages: list[TimedMessage] = []
    for visit, t_day in enumerate(thing.visits.t_day):
        point = _point(thing, object_id, visit, begin_mjd)
        if not thing.seen.detected[0, visit]:
            forced.append(point)
            continue
        detection = point | {
            "ra": thing.ra_deg,
            "dec": thing.dec_deg,
            "reliability": _RELIABILITY,
            "snr": point["psfFlux"] / point["psfFluxErr"],
        }
        alert = {
            "diaSourceId": detection["diaSourceId"],
            "observation_reason": "practice",
            "target_name": "practice",
            "diaSource": detection,
            "prvDiaSources": list(sources),
            "prvDiaForcedSources": list(forced),
            "diaObject": {
                "diaObjectId": object_id,
                "ra": thing.ra_deg,
                "dec": thing.dec_deg,
                "nDiaSources": len(sources) + 1,
            },
        }
        sources.append(detection)
        sent_at = event_time + timedelta(days=float(t_day), seconds=rng.uniform(*DELAY_S))
        messages.append(_message(sent_at, alert, fmt))
    return messages


def _point(thing: Observed, object_id: int, visit: int, begin_mjd: float) -> dict[str, Any]:
    """A source or a forced flux; a limit is a forced flux of zero with the error of the depth."""
    mag = float(thing.seen.mag[0, visit])
    flux = 10.0 ** (0.4 * (_ZERO_POINT_NJY - mag))
    if thing.seen.detected[0, visit]:
        error = flux * float(thing.seen.mag_err[0, visit]) * np.log(10.0) / 2.5
    else:
        flux, error = 0.0, flux / _LIMIT_SNR
    return {
        "diaSourceId": object_id * 8 % 2**62 + visit,
        "diaForcedSourceId": object_id * 8 % 2**62 + visit,
        "diaObjectId": object_id,
        "visit": visit,
        "midpointMjdTai": begin_mjd + float(thing.visits.t_day[visit]),
        "band": BANDS[thing.visits.band[visit]].removeprefix("lsst:"),
        "psfFlux": flux,
        "psfFluxErr": float(error),
    }


def _message(sent_at: datetime, alert: Mapping[str, Any], fmt: Format) -> TimedMessage:
    version, text = _schema()
    stream = io.BytesIO()
    if fmt == "rubin":
        schema = _parsed(text)
        fastavro.schemaless_writer(stream, schema, _filled(schema, {}, alert))
        payload = b"\0" + version.to_bytes(4, "big") + stream.getvalue()
        return TimedMessage(sent_at, "rubin_practice", payload)
    key = _fink_schema()
    schema = _parsed(key)
    history = [alert["diaSource"], *alert["prvDiaSources"]]
    first = min(source["midpointMjdTai"] for source in history)
    misc = {"firstDiaSourceMjdTaiFink": first}
    fastavro.schemaless_writer(stream, schema, _filled(schema, {}, {**alert, "misc": misc}))
    return TimedMessage(sent_at, "fink_practice", stream.getvalue(), key.encode())


@cache
def _schema() -> tuple[int, str]:
    """(100 major + minor, schema with every part in it) of the newest version installed."""
    try:
        place = distribution("lsst-alert-packet").locate_file("lsst/alert/packet/schema")
    except PackageNotFoundError:
        raise ConfigError(
            "format: Rubin's schemas are not installed (pip install mmcoord[rubin])"
        ) from None
    folder = Path(str(place))
    major, minor = (folder / "latest.txt").read_text().strip().split(".")[:2]
    name = f"lsst.v{major}_{minor}.alert"
    whole: Any = fastavro.schema.load_schema(
        str(folder / major / minor / f"{name}.avsc"), _write_hint=False
    )
    return 100 * int(major) + int(minor), json.dumps(whole)


@cache
def _fink_schema() -> str:
    whole = json.loads(_schema()[1])
    whole["fields"].append({"name": "misc", "type": ["null", _OPINIONS]})
    return json.dumps(whole)


@cache
def _parsed(text: str) -> Any:
    return fastavro.parse_schema(json.loads(text))


def _filled(schema: Any, named: dict[str, Any], value: Any) -> Any:
    """What fits a schema: the value, null where there is none and may be, else an empty one."""
    if isinstance(schema, list):
        if value is None and "null" in schema:
            return None
        return _filled(next(s for s in schema if s != "null"), named, value)
    if isinstance(schema, str) and schema in named:
        return _filled(named[schema], named, value)
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind == "record":
        named[schema["name"]] = schema
        given = value or {}
        return {
            f["name"]: _filled(f["type"], named, given.get(f["name"])) for f in schema["fields"]
        }
    if kind == "array":
        return [_filled(schema["items"], named, item) for item in value or ()]
    if isinstance(kind, dict):
        return _filled(kind, named, value)
    empty = {"string": "", "bytes": b"", "boolean": False, "float": 0.0, "double": 0.0}
    return value if value is not None else empty.get(kind, 0)
