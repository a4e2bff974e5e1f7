"""Transients that BOOM announces on GCN (``gcn.notices.boom.alert``): candidates, not an event.

A notice names targets, each with its photometry and with the gravitational-wave events that
BOOM matched it to. Its matches are kept as attributes; ours are made anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from listeners.base import Source
from listeners.fields import finite, json_object, json_value, mapping, shown, text, utc
from mmcoord.bands import canonical
from mmcoord.errors import BadNotice, BadPhotometry
from mmcoord.records import Candidate, Photometry
from mmcoord.timescales import utc_mjd_to_tai

__all__ = ["SOURCE", "parse"]

_MJD_OF_UNIX = 40587.0
_SECONDS_PER_DAY = 86400.0


def parse(payload: bytes) -> list[Candidate | Photometry]:
    """Read one notice.

    Photometry in a band or magnitude system that we have no name for is left out; the
    candidate's attribute ``photometry_not_read`` counts it.

    Raises
    ------
    BadInput
        With the field at fault.
    """
    notice = json_object(payload)
    tense = notice.get("alert_tense") or "current"
    data = mapping(notice.get("data"), "data")
    photometry = [mapping(p, "data.photometry") for p in _list(data, "photometry")]
    found: list[Candidate | Photometry] = []
    for given in _list(data, "targets"):
        target = mapping(given, "data.targets")
        name = text(target.get("event_name"), "data.targets.event_name")
        own = [point for point in photometry if point.get("event_name") == name]
        points = [point for point in (_point(name, item) for item in own) if point is not None]
        attributes = {key: target.get(key) for key in ("classification_scores", "gcn_crossmatch")}
        attributes["photometry_not_read"] = len(own) - len(points) or None
        found.append(
            Candidate(
                object_id=name,
                ra_deg=finite(target.get("ra"), "data.targets.ra"),
                dec_deg=finite(target.get("dec"), "data.targets.dec"),
                source="boom",
                is_practice=tense != "current",
                attributes=json_value({k: v for k, v in attributes.items() if v is not None}),
            )
        )
        found += points
    return found


SOURCE = Source(
    name="boom",
    parse=parse,
    topics=("gcn.notices.boom.alert",),
    description="transients announced by BOOM on GCN (JSON)",
    is_bulk=True,
)


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data.get(key, [])
    if not isinstance(value, list):
        raise BadNotice(f"a list is needed, not {shown(value)}", where=f"data.{key}")
    return value


def _point(name: str, given: Mapping[str, Any]) -> Photometry | None:
    where = "data.photometry"
    if given.get("mag_system", "AB") != "AB":
        return None
    try:
        band = canonical(text(given.get("filter"), f"{where}.filter"))
    except BadPhotometry:
        return None
    time = utc(given.get("observation_start"), f"{where}.observation_start")
    mjd = utc_mjd_to_tai(time.timestamp() / _SECONDS_PER_DAY + _MJD_OF_UNIX)
    if given.get("mag") is None:
        limit = given.get("limiting_mag")
        if limit is None:
            return None
        magnitude = finite(limit, f"{where}.limiting_mag")
        return Photometry(name, mjd, band, magnitude, None, is_limit=True)
    if given.get("mag_error") is None:
        return None
    magnitude, error = (finite(given[key], f"{where}.{key}") for key in ("mag", "mag_error"))
    return Photometry(name, mjd, band, magnitude, error)
