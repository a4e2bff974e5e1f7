"""ZTF alert packets (Avro containers), from ZTF itself or from a broker that passes them on.

Fields as in ZTF's schema 3.3 to 4.02 (https://zwickytransientfacility.github.io/ztf-avro-alert).
``jd`` is UTC at the start of the exposure; a point is dated at its middle. A negative
difference is no magnitude of a transient and gives no point. -999 means "none".

Evidence for our vetoes: a known solar-system object within 5 arcsec (``ssdistnr``); the
nearest PS1 source within 1 arcsec and star-like (``sgscore1`` above 0.76, the cut of ZTF's
Bright Transient Survey, Perley et al. 2020, with its radius halved); ``drb``, or ``rb`` where
there is none; ``jdstarthist``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from listeners.base import Source
from listeners.fields import json_value
from listeners.layout import Fields, packets
from listeners.vetoes import NO_VETOES, Evidence, Vetoes, judge, known_number
from mmcoord.errors import BadCandidate, BadPhotometry
from mmcoord.records import Candidate, ParsedRecord, Photometry
from mmcoord.timescales import utc_mjd_to_tai

__all__ = ["SOURCE", "parse", "sift"]

_NAME = "ztf"
_NAMED = re.compile("[A-Za-z0-9]{1,64}")
_BANDS = {1: "ztf:g", 2: "ztf:r", 3: "ztf:i"}
_JD_OF_MJD = 2400000.5
_EXPOSURE_S = 30.0
_MOVING_ARCSEC = 5.0
"""A known solar-system object this near to the source is the source."""
_STAR_ARCSEC = 1.0
_STAR_SCORE = 0.76
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
_POINT = frozenset(
    {"jd", "fid", "exptime", "magpsf", "sigmapsf", "diffmaglim", "isdiffpos"},
)
_FIRST = {"objectId": None, "candidate": _POINT | {*_KEPT, "ra", "dec", "ssdistnr"}}
_FIELDS = Fields(_FIRST, _FIRST | {"prv_candidates": _POINT})


def parse(payload: bytes) -> list[ParsedRecord]:
    """All alerts of one container, kept whatever the vetoes would say.

    Raises
    ------
    BadInput
        A broken container, no identifier, impossible values.
    """
    return sift(payload, NO_VETOES)


def sift(payload: bytes, vetoes: Vetoes) -> list[ParsedRecord]:
    """All alerts of one container, read no further than our vetoes need.

    Raises
    ------
    BadInput
        As :func:`parse`.
    """
    found: list[ParsedRecord] = []
    for packet in packets(payload, _FIELDS):
        object_id, detection = _newest(packet.beginning())
        vetoed = judge(_evidence(detection), vetoes, object_id, _NAME)
        found += [vetoed] if vetoed is not None else _records(packet.whole())
    return found


SOURCE = Source(
    name=_NAME, parse=parse, sift=sift, description="ZTF alert packets (Avro)", is_bulk=True
)


def _newest(alert: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """(object, its newest detection)."""
    detection = alert.get("candidate")
    object_id = alert.get("objectId")
    if not isinstance(detection, dict):
        raise BadCandidate("not there", where="candidate")
    if not isinstance(object_id, str) or not _NAMED.fullmatch(object_id):
        raise BadCandidate(f"{object_id!r:.60} is no identifier", where="objectId")
    return object_id, detection


def _evidence(detection: Mapping[str, Any]) -> Evidence:
    score = known_number(detection.get("drb"))
    if score is None:
        score = known_number(detection.get("rb"))
    newest, first = (known_number(detection.get(key)) for key in ("jd", "jdstarthist"))
    moving = known_number(detection.get("ssdistnr"))
    star = known_number(detection.get("sgscore1"))
    apart = known_number(detection.get("distpsnr1"))
    is_star = (star or 0.0) > _STAR_SCORE and apart is not None and 0.0 <= apart < _STAR_ARCSEC
    return Evidence(
        moving=f"ssdistnr {moving:g}"
        if moving is not None and 0 <= moving < _MOVING_ARCSEC
        else "",
        star=f"PS1 sgscore1 {star:.2f} at {apart:.2f} arcsec" if is_star else "",
        reliability=score if score is not None and score >= 0.0 else None,
        history_day=newest - first
        if newest is not None and first is not None and first > 0
        else None,
    )


def _records(alert: Mapping[str, Any]) -> list[Candidate | Photometry]:
    object_id, detection = _newest(alert)
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
