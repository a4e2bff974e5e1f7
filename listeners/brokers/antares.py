"""Loci that an ANTARES filter tagged (topics ``client.<tag>``): BSON, deflated by zlib.

A locus is a place with the alerts of one or two surveys. The message says where it is, what
filters said of it (``properties``, ``tags``) and in which catalogues it is (``catalogs``), and
has no light curve: photometry comes by another source of the same survey. Therefore the
candidate is named as the survey names it where the locus has one such name.

Two shapes are in use, both read: ``{id, ra, dec, properties, tags, catalogs}`` and the older
``{data: {id, attributes: {...}}}``.

Evidence for our vetoes: ``ztf_ssnamenr`` (its "none" is null, empty or the text "null");
a catalogue that holds stars alone (``_STAR_CATALOGUES``; Gaia's and the guide stars' hold
galaxies too); the times of the oldest and the newest alert.

Needs the extra ``antares`` (``bson`` of pymongo; the package named ``bson`` is another one).
Shapes as in ``antares_client._stream.schema.locus`` of antares-client 2.0.2; the tests make their
messages by these. No real message was at hand.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from listeners.base import Source
from listeners.fields import MAX_PAYLOAD_BYTES, finite, json_value, mapping, shown, text
from listeners.vetoes import NO_VETOES, Evidence, Vetoes, judge, known_number
from mmcoord.errors import BadNotice
from mmcoord.records import Candidate, ParsedRecord

__all__ = ["SOURCE", "parse", "sift"]

_NAME = "antares"
_MAX_INFLATED_BYTES = 2**20
"""A locus has a few kB of properties. An array of nulls takes three bytes an element in BSON
and a hundred in Python."""
_STAR_CATALOGUES = ("asassn_variable_catalog", "linear_ll", "sdss_stars", "vsx")
_KEPT = (
    "newest_alert_magnitude",
    "newest_alert_observation_time",
    "oldest_alert_observation_time",
    "brightest_alert_magnitude",
    "num_alerts",
    "num_mag_values",
)


def parse(payload: bytes) -> list[ParsedRecord]:
    """One locus, kept whatever the vetoes would say.

    Raises
    ------
    BadInput
        Not zlib or BSON, more than 1 MiB of data, no identifier, impossible values.
    """
    return sift(payload, NO_VETOES)


def sift(payload: bytes, vetoes: Vetoes) -> list[ParsedRecord]:
    """One locus, left out where our vetoes say so.

    Raises
    ------
    BadInput
        As :func:`parse`.
    """
    locus = _locus(_decoded(_inflated(payload)))
    locus_id = text(locus.get("id"), "id")
    properties = mapping(locus.get("properties") or {}, "properties")
    survey, object_id = _name(locus_id, properties)
    vetoed = judge(_evidence(locus, properties), vetoes, object_id, _NAME)
    if vetoed is not None:
        return [vetoed]
    attributes = {key: properties.get(key) for key in _KEPT}
    attributes |= {"antares": locus_id, "tags": _words(locus, "tags")}
    attributes |= {"catalogs": _words(locus, "catalogs")}
    return [
        Candidate(
            object_id=object_id,
            ra_deg=finite(locus.get("ra"), "ra"),
            dec_deg=finite(locus.get("dec"), "dec"),
            source=survey,
            attributes=json_value({k: v for k, v in attributes.items() if v is not None}),
        )
    ]


SOURCE = Source(
    name=_NAME,
    parse=parse,
    sift=sift,
    description="loci of an ANTARES filter (needs the extra 'antares')",
    is_bulk=True,
)


def _inflated(payload: bytes) -> bytes:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise BadNotice(f"{len(payload)} bytes, more than {MAX_PAYLOAD_BYTES}", where="payload")
    engine = zlib.decompressobj()
    try:
        content = engine.decompress(payload, _MAX_INFLATED_BYTES + 1)
    except zlib.error as error:
        raise BadNotice(f"does not inflate: {error}", where="payload") from None
    if len(content) > _MAX_INFLATED_BYTES:
        raise BadNotice(f"inflates beyond {_MAX_INFLATED_BYTES} bytes", where="payload")
    if not engine.eof:
        raise BadNotice("the deflated data are cut off", where="payload")
    return content


def _decoded(content: bytes) -> Mapping[str, Any]:
    try:
        from bson import decode
        from bson.errors import BSONError
    except ImportError:
        raise BadNotice(
            "the package pymongo is not installed (pip install mmcoord[antares])", where="payload"
        ) from None
    try:
        found: dict[str, Any] = decode(content)
    except (BSONError, ValueError, OverflowError, RecursionError) as error:
        raise BadNotice(f"not BSON: {error}"[:300], where="payload") from None
    return found


def _locus(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """The locus in either of its two shapes."""
    if "data" not in message:
        return message
    data = mapping(message["data"], "data")
    return {**mapping(data.get("attributes"), "data.attributes"), "id": data.get("id")}


def _name(locus_id: str, properties: Mapping[str, Any]) -> tuple[str, str]:
    """(survey, name) of the one LSST object, else of the one ZTF object, else of the locus."""
    survey = properties.get("survey")
    survey = survey if isinstance(survey, dict) else {}
    lsst = _names(survey.get("lsst"), "dia_object_id")
    if len(lsst) == 1 and lsst[0].isdigit() and int(lsst[0]) > 0:
        return "lsst", lsst[0]
    ztf = _names(survey.get("ztf"), "id") or _listed(properties.get("ztf_object_id"))
    return ("ztf", ztf[0]) if len(ztf) == 1 else ("antares", locus_id)


def _names(part: object, key: str) -> list[str]:
    return _listed(part.get(key)) if isinstance(part, dict) else []


def _listed(value: object) -> list[str]:
    """One identifier or a list of them, as text; what is none is left out."""
    given = value if isinstance(value, list) else [value]
    names = [str(x) for x in given if isinstance(x, (int, str)) and not isinstance(x, bool)]
    return [name for name in names if name.isascii() and name.isalnum() and len(name) < 64]


def _words(locus: Mapping[str, Any], key: str) -> list[str]:
    value = locus.get(key)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _evidence(locus: Mapping[str, Any], properties: Mapping[str, Any]) -> Evidence:
    moving = properties.get("ztf_ssnamenr")
    is_moving = isinstance(moving, str) and moving.strip() not in ("", "null")
    stars = [name for name in _words(locus, "catalogs") if name.startswith(_STAR_CATALOGUES)]
    newest, oldest = (
        known_number(properties.get(f"{which}_alert_observation_time"))
        for which in ("newest", "oldest")
    )
    return Evidence(
        moving=f"ztf_ssnamenr {shown(moving)}" if is_moving else "",
        star=f"catalogue {json_value(stars[0][:60])}" if stars else "",
        history_day=newest - oldest if newest is not None and oldest is not None else None,
    )
