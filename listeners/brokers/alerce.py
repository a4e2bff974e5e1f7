"""ALeRCE's LSST objects over HTTP: the list of what changed, then each light curve.

Routes and fields as in the client ``alerce`` 2.3.1: ``object_api/list_objects`` answers
``items`` with ``oid``, ``meanra``, ``meandec``, ``firstmjd``, ``lastmjd``, ``n_det`` and a
class, one row for each classifier; ``lightcurve_api/lightcurve`` answers ``detections``,
``non_detections`` and ``forced_photometry`` with ``mjd`` (taken as TAI, as Rubin sends it),
``band`` (a number, named by ``band_map``) and ``psfFlux`` on the difference image in nJy.

A list of what changed is asked with some overlap, because objects of one exposure share their
time and do not all arrive at once; ALeRCE can also answer a heavy query with an empty list, so
that an empty answer never moves the place.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from listeners.base import Source
from listeners.brokers import lsst, lsst_json
from listeners.feed import Cursor, Feed, Options, Page
from listeners.fields import finite, json_object, json_value, mapping, shown
from listeners.http import Answer, Request, checked_base
from listeners.vetoes import Vetoes
from mmcoord.errors import BadCandidate, BadNotice
from mmcoord.records import Candidate, Photometry, Vetoed
from mmcoord.timescales import mjd_tai

__all__ = ["SOURCE", "build", "parse", "sift"]

_BASE = "https://api-lsst.alerce.online"
_PAGE = 1000
_OVERLAP_DAY = 0.02
_RECENT = 5000
"""Objects of the overlap whose light curves need not be asked for again."""
_BANDS = {0: "u", 1: "g", 2: "r", 3: "i", 4: "z", 5: "y"}
_FILTERS = ("classifier", "class_name", "probability", "ranking", "n_det")
_KEPT = ("n_det", "n_forced", "firstmjd", "lastmjd")


def parse(payload: bytes) -> list[Candidate | Photometry]:
    """An object with its classes, or the light curve of one.

    Raises
    ------
    BadInput
        With the field at fault.
    """
    given = json_object(payload)
    object_id = _oid(given.get("oid"))
    if "lightcurve" in given:
        curve = mapping(given["lightcurve"], "lightcurve")
        return _points(object_id, curve)
    return [_candidate(object_id, given)]


def sift(payload: bytes, vetoes: Vetoes) -> Sequence[Candidate | Photometry | Vetoed]:
    """As :func:`parse`; the light curve of a known moving object is left out."""
    given = json_object(payload)
    if vetoes.moving and isinstance(given.get("lightcurve"), dict):
        for item in _items(given["lightcurve"], "detections"):
            if item.get("ssObjectId") not in (None, 0, "0", ""):
                detail = f"ssObjectId {shown(item['ssObjectId'])}"
                return [Vetoed(_oid(given.get("oid")), "alerce", "moving", detail)]
    return parse(payload)


SOURCE = Source(
    name="alerce",
    parse=parse,
    topics=("objects", "lightcurve"),
    description="LSST objects and light curves from ALeRCE (JSON over HTTP)",
    is_bulk=True,
    sift=sift,
)


# -- records ---------------------------------------------------------------------------------


def _oid(value: object) -> str:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63:
        return str(value)
    raise BadCandidate(f"{shown(value)} is no identifier", where="oid")


def _candidate(object_id: str, given: Mapping[str, Any]) -> Candidate:
    rows = [mapping(row, "rows") for row in _items(given, "rows")]
    if not rows:
        raise BadNotice("no rows", where="rows")
    attributes: dict[str, Any] = json_value({key: rows[-1].get(key) for key in _KEPT})
    classes: dict[str, Any] = {}
    for row in rows:
        name, label = row.get("classifier_name"), row.get("class_name")
        if isinstance(name, str) and isinstance(label, str):
            classes[name[:100]] = {"class": label[:100], "probability": row.get("probability")}
    attributes["classes"] = json_value(classes) or None
    return Candidate(
        object_id=object_id,
        ra_deg=finite(rows[-1].get("meanra"), "meanra"),
        dec_deg=finite(rows[-1].get("meandec"), "meandec"),
        source="alerce",
        attributes={key: value for key, value in attributes.items() if value is not None},
    )


def _points(object_id: str, curve: Mapping[str, Any]) -> list[Candidate | Photometry]:
    """The photometry, by the rules that hold for every LSST light curve."""
    detections = [_as_rubin(item) for item in _items(curve, "detections")]
    forced = [_as_rubin(item) for item in _items(curve, "forced_photometry")]
    if not detections and not forced:
        return []
    first = {**(detections or forced)[0], "diaObjectId": int(object_id), "ssObjectId": 0}
    alert = lsst_json.alert(
        {
            "diaSource": {**first, "ra": 0.0, "dec": 0.0},
            "prvDiaSources": detections[1:],
            "prvDiaForcedSources": forced,
        }
    )
    return [record for record in lsst.records(alert) if isinstance(record, Photometry)]


def _as_rubin(item: Mapping[str, Any]) -> dict[str, Any]:
    band = item.get("band_name") or item.get("band")
    names = item.get("band_map")
    if isinstance(band, int) and not isinstance(band, bool):
        known = names.get(str(band)) if isinstance(names, dict) else None
        band = known if isinstance(known, str) else _BANDS.get(band)
    return {
        "midpointMjdTai": item.get("mjd"),
        "band": band if isinstance(band, str) and len(band) < 20 else None,
        "psfFlux": item.get("psfFlux"),
        "psfFluxErr": item.get("psfFluxErr"),
    }


def _items(given: Mapping[str, Any], key: str) -> list[Any]:
    value = given.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadNotice(f"a list is needed, not {shown(value)}", where=key)
    return [mapping(item, key) for item in value]


# -- the feed ----------------------------------------------------------------------------------


def build(options: Options) -> Feed:
    """The feed. Options: ``url``, the list's filters (``classifier``, ``class_name``,
    ``probability``, ``ranking``, ``n_det``), ``light_curves``, ``first_days``.

    Raises
    ------
    ConfigError
        A bad address.
    """
    base = checked_base(str(options.get("url", _BASE)), "alerce: url")
    filters = tuple((key, str(options[key])) for key in _FILTERS if key in options)
    first_days = float(options.get("first_days", 1.0))
    with_curves = bool(options.get("light_curves", True))

    def request(cursor: Cursor, now: datetime) -> Request | None:
        if cursor["queue"]:
            oid = str(cursor["queue"][0])
            return Request(
                url=f"{base}/lightcurve_api/lightcurve",
                topic="lightcurve",
                params=(("survey_id", "lsst"), ("oid", oid)),
                readable=frozenset({200, 404}),
                memo=oid,
            )
        return Request(
            url=f"{base}/object_api/list_objects",
            topic="objects",
            params=(
                ("survey", "lsst"),
                *filters,
                ("lastmjd", repr(float(cursor["from"]))),
                ("lastmjd", "99999.0"),
                ("order_by", "lastmjd"),
                ("order_mode", "ASC"),
                ("page", str(int(cursor["page"]))),
                ("page_size", str(_PAGE)),
            ),
            readable=frozenset({200, 404}),
            timeout_s=180.0,
        )

    def read(answer: Answer, cursor: Cursor, now: datetime) -> Page:
        if answer.memo is not None:
            return _read_curve(answer, cursor)
        return _read_list(answer, cursor, with_curves=with_curves)

    return Feed(
        broker=str(urlsplit(base).hostname),
        start=lambda now: _place(mjd_tai(now) - first_days),
        request=request,
        read=read,
        skip=_skip,
        poll_s=120.0,
    )


def _place(begin: float) -> dict[str, Any]:
    return {"from": begin, "page": 1, "queue": [], "recent": {}, "over": False}


def _skip(cursor: Cursor, now: datetime) -> Cursor:
    """Past a light curve that stays unreadable; a list is asked for again for ever."""
    return {**cursor, "queue": cursor["queue"][1:]} if cursor["queue"] else cursor


def _read_curve(answer: Answer, cursor: Cursor) -> Page:
    queue = list(cursor["queue"])[1:]
    further = {**cursor, "queue": queue}
    more = bool(queue) or not cursor["over"]
    if answer.status == 404:
        return Page((), further, more=more, note=f"ALeRCE has no light curve of {answer.memo}")
    curve = json_object(answer.body)
    payload = json.dumps({"oid": answer.memo, "lightcurve": curve}, sort_keys=True).encode()
    return Page([payload], further, more=more)


def _read_list(answer: Answer, cursor: Cursor, *, with_curves: bool) -> Page:
    if answer.status == 404:  # no objects by the client's documentation
        return Page((), {**cursor, "over": True})
    rows = _items(json_object(answer.body), "items")
    by_object: dict[str, list[Any]] = {}
    for row in rows:
        by_object.setdefault(_oid(row.get("oid")), []).append(row)
    times = [finite(row.get("lastmjd"), "items.lastmjd") for row in rows]
    recent = dict(cursor["recent"])
    fresh = [oid for oid, own in by_object.items() if recent.get(oid) != own[-1].get("lastmjd")]
    recent.update({oid: own[-1].get("lastmjd") for oid, own in by_object.items()})
    is_last = len(rows) < _PAGE
    further = {
        **_next_page(cursor, times, is_last=is_last),
        "queue": fresh if with_curves else [],
        "recent": dict(list(recent.items())[-_RECENT:]),
        "over": is_last,
    }
    payloads = [
        json.dumps({"oid": oid, "rows": own}, sort_keys=True).encode()
        for oid, own in by_object.items()
    ]
    return Page(payloads, further, more=not is_last or bool(further["queue"]))


def _next_page(cursor: Cursor, times: Sequence[float], *, is_last: bool) -> dict[str, Any]:
    """Go on from the last row's time; a page whose rows all share one is followed by number."""
    begin, page = float(cursor["from"]), int(cursor["page"])
    newest = max((time for time in times if math.isfinite(time)), default=begin)
    if is_last:
        return {"from": max(begin, newest - _OVERLAP_DAY), "page": 1}
    is_sorted = all(a <= b for a, b in itertools.pairwise(times))
    if is_sorted and newest > times[0]:
        return {"from": newest, "page": 1}
    return {"from": begin, "page": page + 1}
