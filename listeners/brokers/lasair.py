"""Objects that a Lasair filter lets through (topics ``lasair_<user><filter>``): JSON.

The keys are what the filter's owner SELECTed, with or without the table's name, in any case,
or under an alias (``sherlock_classifications.classification AS class``). So each value is
looked for under several names (``_NAMES``), and the keys of a message that none of them is are
kept as attributes. ``UTC`` is added by Lasair. Filters can add the light curve, in ``alert``:
the lite one has five values a detection, the full one what Rubin sent, but for the images.
The lists hold the newest detection too; forced fluxes stand apart.

Evidence for our vetoes: Sherlock's class VS (variable star) or CV (cataclysmic variable); BS is
a neighbour of a bright star and no evidence. ``latestR``, or the newest detection's
``reliability``; ``firstDiaSourceMjdTai``, or the earliest detection. ``ssObjectId`` where the
filter or the full alert has it; Lasair runs filters on objects, not on moving ones.

``ebv`` is E(B-V) of the Milky Way (Schlegel, Finkbeiner & Davis 1998, as Lasair says).

Shapes as in the page "Alert Streams" and in ``pipeline/filter/util.py`` of lasair-lsst
(308098e), attributes as in its ``common/schema/11_1``; Lasair's older stream of ZTF
(``objectId``, ``ramean``, ``decmean``) is read for its position. The tests use the examples of
that page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from listeners.base import Source
from listeners.brokers import lsst
from listeners.fields import finite, json_object, json_value, shown
from listeners.vetoes import NO_VETOES, Evidence, Vetoes, judge, known_number
from mmcoord.errors import BadCandidate
from mmcoord.records import Candidate, ParsedRecord, Photometry

__all__ = ["SOURCE", "parse", "sift"]

_NAME = "lasair"
_NAMES = {
    "object": ("diaobjectid", "objectid"),
    "ra": ("ra", "ramean", "radeg", "racen"),
    "dec": ("decl", "dec", "decmean", "decdeg", "declination", "deccen"),
    "ra_err": ("raerr",),
    "dec_err": ("decerr", "declerr"),
    "ebv": ("ebv",),
    "class": ("classification", "sherlock_classification", "class", "sherlock_class"),
    "reliability": ("latestr", "reliability", "latest_reliability"),
    "moving": ("ssobjectid",),
    "first": ("firstdiasourcemjdtai", "mjdmin"),
    "newest": ("lastdiasourcemjdtai", "mjdmax"),
}
"""What we want -> the names that it may have, in lower case, without the table's."""
_KNOWN = frozenset(name for names in _NAMES.values() for name in names) | {"alert"}
_STARS = ("VS", "CV")
_POINT = ("midpointMjdTai", "band", "psfFlux", "psfFluxErr", "timeWithdrawnMjdTai")
_NAMED = re.compile("[A-Za-z0-9]{1,64}")
_MAX_ATTRIBUTES = 200


def parse(payload: bytes) -> list[ParsedRecord]:
    """One message, kept whatever the vetoes would say.

    Raises
    ------
    BadInput
        Not JSON, no identifier or position under any known name, impossible values.
    """
    return sift(payload, NO_VETOES)


def sift(payload: bytes, vetoes: Vetoes) -> list[ParsedRecord]:
    """One message, left out where our vetoes say so.

    Raises
    ------
    BadInput
        As :func:`parse`.
    """
    message = json_object(payload)
    plain = {key.rpartition(".")[2].lower(): value for key, value in message.items()}
    known = {what: _first(plain, names) for what, names in _NAMES.items()}
    object_id = _object_id(known["object"])
    position = [finite(_needed(known, key), key) for key in ("ra", "dec")]
    detections, forced = _lists(message.get("alert"))
    vetoed = judge(_evidence(known, detections), vetoes, object_id, _NAME)
    if vetoed is not None:
        return [vetoed]
    ebv = known_number(known["ebv"])
    candidate = Candidate(
        object_id=object_id,
        ra_deg=position[0],
        dec_deg=position[1],
        source="lsst" if object_id.isdigit() else "ztf",
        position_error_arcsec=_position_error(known),
        ebv_mw=ebv if ebv is not None and 0.0 <= ebv < 100.0 else None,
        attributes=_attributes(message, known),
    )
    return [candidate, *_light_curve(object_id, detections, forced)]


SOURCE = Source(
    name=_NAME,
    parse=parse,
    sift=sift,
    description="objects of a Lasair filter (JSON)",
    is_bulk=True,
)


def _first(plain: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((plain[name] for name in names if plain.get(name) is not None), None)


def _needed(known: Mapping[str, Any], key: str) -> Any:
    if known[key] is None:
        names = ", ".join(_NAMES[key])
        raise BadCandidate(f"none of the attributes {names}; SELECT one of them", where=key)
    return known[key]


def _object_id(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63:
        return str(value)
    if isinstance(value, str) and _NAMED.fullmatch(value):
        return value
    raise BadCandidate(f"{shown(value)} is no identifier", where="diaObjectId, objectId")


def _lists(alert: object) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """(detections, forced fluxes) of the light curve, newest detection first."""
    lists: list[list[Mapping[str, Any]]] = []
    for key in ("diaSourcesList", "diaForcedSourcesList"):
        value = alert.get(key) if isinstance(alert, dict) else None
        lists.append(
            [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
        )
    lists[0].sort(key=lambda item: known_number(item.get("midpointMjdTai")) or 0.0, reverse=True)
    return lists[0], lists[1]


def _evidence(known: Mapping[str, Any], detections: list[Mapping[str, Any]]) -> Evidence:
    newest = detections[0] if detections else {}
    moving = known["moving"] or newest.get("ssObjectId")
    score = known_number(known["reliability"])
    said = known["class"]
    is_star = isinstance(said, str) and said.strip().upper() in _STARS
    withdrawn = known_number(newest.get("timeWithdrawnMjdTai")) or 0.0
    return Evidence(
        moving=_moving(moving),
        star=f"Sherlock {said.strip()}" if is_star else "",
        reliability=known_number(newest.get("reliability")) if score is None else score,
        history_day=_history_day(known, detections),
        withdrawn=f"timeWithdrawnMjdTai {withdrawn}" if withdrawn > 0 else "",
    )


def _moving(identifier: object) -> str:
    """A number, or its digits as text; 0 is none."""
    if isinstance(identifier, str) and re.fullmatch("[0-9]{1,19}", identifier):
        identifier = int(identifier)
    if not isinstance(identifier, int) or isinstance(identifier, bool):
        return ""
    return f"ssObjectId {identifier}" if 0 < identifier < 2**63 else ""


def _history_day(known: Mapping[str, Any], detections: list[Mapping[str, Any]]) -> float | None:
    times = [known_number(item.get("midpointMjdTai")) for item in detections]
    times += [known_number(known["first"]), known_number(known["newest"])]
    given = [time for time in times if time is not None and time > 0]
    return max(given) - min(given) if given else None


def _position_error(known: Mapping[str, Any]) -> float | None:
    errors = [known_number(known[key]) for key in ("ra_err", "dec_err")]
    good = [error for error in errors if error is not None and error >= 0]
    return max(good) * 3600.0 if len(good) == 2 else None


def _attributes(message: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """What the filter selected besides, under its own names, and what our rules looked at."""
    kept = {
        key: value
        for key, value in message.items()
        if key.rpartition(".")[2].lower() not in _KNOWN and value is not None
    }
    if len(kept) > _MAX_ATTRIBUTES:
        raise BadCandidate(f"{len(kept)} attributes, more than {_MAX_ATTRIBUTES}", where="payload")
    found = {"lasair": kept, "reliability": known["reliability"], "sherlock": known["class"]}
    cleaned: dict[str, Any] = json_value(found)
    return {key: value for key, value in cleaned.items() if value not in (None, {})}


def _light_curve(
    object_id: str, detections: list[Mapping[str, Any]], forced: list[Mapping[str, Any]]
) -> list[Photometry]:
    points: dict[tuple[float, str], Photometry] = {}
    for item in (*detections, *forced):
        point = lsst.measured_point(object_id, {key: _value(item.get(key)) for key in _POINT})
        if point is not None:
            points.setdefault((round(point.obs_mjd_tai, 6), point.band), point)
    return list(points.values())


def _value(value: object) -> object:
    """JSON has one kind of number; what is not finite is not measured."""
    return known_number(value) if isinstance(value, (int, float)) else value
