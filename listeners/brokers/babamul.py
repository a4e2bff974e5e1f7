"""LSST alerts from BABAMUL, the public stream of BOOM (topics ``babamul.lsst.*``).

Each message is an Avro container with its schema. The candidate is Rubin's DiaSource with
some fields added; the light curve has a form of its own: ``jd`` is UTC, at the middle of the
exposure, fluxes are PSF fluxes on the difference image in nJy. An object that is only a
moving one is named ``sso<ssObjectId>``.

Evidence for our vetoes: ``ssObjectId`` and ``properties.rock``; ``properties.star``, a star-like
source of the Legacy Surveys within 1 arcsec. The topics ``*.stellar`` hold besides whatever is
within 20 arcsec of a bright star (``near_brightstar``), which is no evidence against a
transient: it is kept as an attribute. The light curve of a matching ZTF object is not read,
only its name: its fluxes are said to be in nJy and are scaled by another zero point.

Field names and types as in ``BabamulLsstAlert`` of boom (8ebd463) and in the models of the
client ``babamul`` 0.2.0; the tests make their packets by these. No real packet was at hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from listeners.base import Source
from listeners.brokers import lsst
from listeners.fields import json_value
from listeners.layout import Fields, packets
from listeners.vetoes import NO_VETOES, Evidence, Vetoes, judge, known_number
from mmcoord.errors import BadCandidate, BadPhotometry
from mmcoord.records import Candidate, ParsedRecord, Photometry
from mmcoord.timescales import utc_mjd_to_tai

__all__ = ["SOURCE", "parse", "sift"]

_NAME = "babamul"
_NAMED = re.compile("[A-Za-z0-9]{1,64}")
_JD_OF_MJD = 2400000.5
_POINT = frozenset({"jd", "psfFlux", "psfFluxErr", "band"})
_KEPT = (
    "diaSourceId",
    "visit",
    "snr",
    "reliability",
    "isDipole",
    "isNegative",
    "extendedness",
    "trailLength",
    "glint_trail",
    "ndethist",
    "jdstarthist",
)
_CANDIDATE = {"ra", "dec", "raErr", "decErr", "ssObjectId", "midpointMjdTai", "band", "jd"}
_CANDIDATE |= {"psfFlux", "psfFluxErr", *_KEPT}
_FIRST = {"objectId": None, "candidate": frozenset(_CANDIDATE)}
_FIELDS = Fields(
    _FIRST, _FIRST | {"prv_candidates": _POINT, "fp_hists": _POINT}, through="fp_hists"
)


def parse(payload: bytes) -> list[ParsedRecord]:
    """All alerts of one container, kept whatever the vetoes would say.

    Raises
    ------
    BadInput
        A broken container or impossible values.
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
        beginning = packet.beginning()
        object_id, _ = _newest(beginning)
        vetoed = judge(_evidence(beginning), vetoes, object_id, _NAME)
        if vetoed is None:
            alert = packet.whole()
            vetoed = judge(_evidence(alert), vetoes, object_id, _NAME)
        found += [vetoed] if vetoed is not None else _records(alert)
    return found


SOURCE = Source(
    name=_NAME,
    parse=parse,
    sift=sift,
    topics=tuple(
        f"babamul.lsst.{match}-match.{kind}"
        for match in ("no-ztf", "ztf")
        for kind in ("stellar", "hosted", "hostless", "unknown")
    ),
    description="LSST alerts from BABAMUL (Avro)",
    is_bulk=True,
)


def _newest(alert: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """(object, its newest detection)."""
    detection = alert.get("candidate")
    object_id = alert.get("objectId")
    if not isinstance(detection, dict):
        raise BadCandidate("not there", where="candidate")
    if not isinstance(object_id, str) or not _NAMED.fullmatch(object_id):
        raise BadCandidate(f"{object_id!r:.60} is no identifier", where="objectId")
    if not isinstance(detection.get("diaSourceId"), int):
        raise BadCandidate("not a DiaSource of LSST", where="candidate.diaSourceId")
    return object_id, detection


def _part(alert: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = alert.get(key)
    return value if isinstance(value, dict) else {}


def _evidence(alert: Mapping[str, Any]) -> Evidence:
    detection, properties = _part(alert, "candidate"), _part(alert, "properties")
    newest, first = (known_number(detection.get(key)) for key in ("jd", "jdstarthist"))
    moving = lsst.moving_id(detection)
    said = f"ssObjectId {moving}" if moving else ""
    if not said and properties.get("rock") is True:
        said = "properties.rock"
    is_star = properties.get("star") is True
    return Evidence(
        moving=said,
        star="star-like source of the Legacy Surveys within 1 arcsec" if is_star else "",
        reliability=known_number(detection.get("reliability")),
        history_day=newest - first if newest is not None and first else None,
    )


def _records(alert: Mapping[str, Any]) -> list[ParsedRecord]:
    object_id, detection = _newest(alert)
    matched = _part(_part(alert, "survey_matches"), "ztf").get("objectId")
    properties = _part(alert, "properties")
    attributes = {key: detection.get(key) for key in _KEPT}
    attributes |= {key: properties.get(key) for key in ("star", "near_brightstar", "stationary")}
    attributes["ztf_match"] = matched
    candidate = Candidate(
        object_id=object_id,
        ra_deg=_number(detection, "ra"),
        dec_deg=_number(detection, "dec"),
        source="lsst",
        position_error_arcsec=_position_error(detection),
        attributes=json_value({k: v for k, v in attributes.items() if v is not None}),
    )
    return [candidate, *_light_curve(object_id, alert, detection)]


def _number(detection: Mapping[str, Any], key: str) -> float:
    value = detection.get(key)
    if not isinstance(value, float):
        raise BadCandidate(f"{value!r:.60} is not a number", where=f"candidate.{key}")
    return value


def _position_error(detection: Mapping[str, Any]) -> float | None:
    errors = [known_number(detection.get(key)) for key in ("raErr", "decErr")]
    known = [error for error in errors if error is not None and error >= 0]
    return max(known) * 3600.0 if len(known) == 2 else None


def _light_curve(
    object_id: str, alert: Mapping[str, Any], detection: Mapping[str, Any]
) -> list[Photometry]:
    """One point an exposure: the detection where there is one, else the forced flux."""
    newest = [lsst.measured_point(object_id, detection)]
    found = [
        _point(object_id, item)
        for key in ("prv_candidates", "fp_hists")
        for item in _items(alert, key)
    ]
    points: dict[tuple[float, str], Photometry] = {}
    for point in (*newest, *found):
        if point is not None:
            points.setdefault((round(point.obs_mjd_tai, 4), point.band), point)
    return list(points.values())


def _items(alert: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = alert.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _point(object_id: str, item: Mapping[str, Any]) -> Photometry | None:
    jd = item.get("jd")
    if not isinstance(jd, float) or known_number(jd) is None:
        raise BadPhotometry(f"{jd!r:.60} is no time", where="jd")
    time = utc_mjd_to_tai(jd - _JD_OF_MJD)
    return lsst.flux_point(
        object_id, time, item.get("band"), item.get("psfFlux"), item.get("psfFluxErr")
    )
