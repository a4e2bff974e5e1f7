"""ZTF alert packets (Avro containers), from ZTF itself or from a broker that passes them on.

Fields as in ZTF's schema 3.3 to 4.02 (https://zwickytransientfacility.github.io/ztf-avro-alert).
``jd`` is UTC at the start of the exposure; a point is dated at its middle. A negative
difference is no magnitude of a transient and gives no point. -999 means "none".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from listeners import avro
from listeners.base import Source
from listeners.fields import json_value
from mmcoord.errors import BadCandidate, BadPhotometry
from mmcoord.records import Candidate, Photometry
from mmcoord.timescales import utc_mjd_to_tai

__all__ = ["SOURCE", "parse"]

_BANDS = {1: "ztf:g", 2: "ztf:r", 3: "ztf:i"}
_JD_OF_MJD = 2400000.5
_EXPOSURE_S = 30.0
_MOVING_ARCSEC = 5.0
"""A known solar-system object this near to the source is the source."""
_KEPT = (
    "candid",
    "drb",
    "rb",
    "isdiffpos",
    "sgscore1",
    "distpsnr1",
    "ndethist",
    "jdstarthist",
    "fwhm",
    "neargaia",
)


def parse(payload: bytes) -> list[Candidate | Photometry]:
    """All alerts of one container; known moving objects are left out.

    Raises
    ------
    BadInput
        A broken container, no identifier, impossible values.
    """
    found: list[Candidate | Photometry] = []
    for alert in avro.read_container(payload, record_items=True):
        found += _records(alert)
    return found


SOURCE = Source(name="ztf", parse=parse, description="ZTF alert packets (Avro)", is_bulk=True)


def _records(alert: Mapping[str, Any]) -> list[Candidate | Photometry]:
    detection = alert.get("candidate")
    object_id = alert.get("objectId")
    if not isinstance(detection, dict):
        raise BadCandidate("not there", where="candidate")
    if not isinstance(object_id, str) or not object_id.isalnum():
        raise BadCandidate(f"{object_id!r:.60} is no identifier", where="objectId")
    if _is_moving(detection):
        return []
    attributes: dict[str, Any] = json_value({key: detection.get(key) for key in _KEPT})
    candidate = Candidate(
        object_id=object_id,
        ra_deg=_number(detection, "ra"),
        dec_deg=_number(detection, "dec"),
        source="ztf",
        attributes={key: value for key, value in attributes.items() if value is not None},
    )
    previous = alert.get("prv_candidates")
    measured = [detection, *(previous if isinstance(previous, list) else [])]
    points = [_point(object_id, item) for item in measured if isinstance(item, dict)]
    return [candidate, *(point for point in points if point is not None)]


def _is_moving(detection: Mapping[str, Any]) -> bool:
    distance = detection.get("ssdistnr")
    return isinstance(distance, float) and 0.0 <= distance < _MOVING_ARCSEC


def _number(detection: Mapping[str, Any], key: str) -> float:
    value = detection.get(key)
    if not isinstance(value, float):
        raise BadCandidate(f"{value!r:.60} is not a number", where=f"candidate.{key}")
    return value


def _point(object_id: str, measured: Mapping[str, Any]) -> Photometry | None:
    band, jd = _BANDS.get(measured.get("fid", 0)), measured.get("jd")
    if band is None or not isinstance(jd, float) or not math.isfinite(jd):
        raise BadPhotometry("no filter 1, 2 or 3, or no time", where="fid, jd")
    exposure = measured.get("exptime")
    half = (exposure if isinstance(exposure, float) and exposure > 0 else _EXPOSURE_S) / 2.0
    time = utc_mjd_to_tai(jd - _JD_OF_MJD + half / 86400.0)
    mag, error = measured.get("magpsf"), measured.get("sigmapsf")
    if mag is None:
        limit = measured.get("diffmaglim")
        if not isinstance(limit, float) or not math.isfinite(limit):
            return None
        return Photometry(object_id, time, band, limit, None, is_limit=True)
    if measured.get("isdiffpos") not in ("t", "1"):
        return None
    if not isinstance(mag, float) or not isinstance(error, float):
        raise BadPhotometry("a magnitude or its error is not a number", where="magpsf")
    return Photometry(object_id, time, band, mag, error)
