"""VOEvent XML from GCN Classic over Kafka (``gcn.classic.voevent.*``), through a hardened parser.

IceCube (gold, bronze, cascade), SNEWS, Super-K, KM3NeT, Fermi GBM, Swift and SVOM are known
by name; any other stream is read by the same rules. VOEvent 2.0: IVOA Recommendation, 11 July
2011. Packet types and parameters: https://gcn.nasa.gov/docs/client, "sock_pkt_def".

Traps that are dealt with here:

* IceCube's FAR is per year, while the JSON notices have Hz; the unit is read, not assumed;
* KM3NeT's FAR is labelled per year and is in Hz: its threshold, 3.9e-7 Hz, is one a month,
  and no rate that small would be worth a label per year;
* SNEWS sends RA = Dec = 0 with a radius of 360 deg for "position not known";
* Super-K sends a radius of zero and the true one, tens of degrees, as a parameter;
* a test is marked in up to four places: one mark is enough to make it practice;
* the same neutrino comes here and as JSON: both are named by run and event number.

Coordinates are FK5 (J2000), which is ICRS within 0.03 arcsec, far below any error radius.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from listeners.base import Source
from listeners.fields import event_name, finite, shown, text, utc
from listeners.regions import error_region, pointing
from mmcoord.errors import BadNotice
from mmcoord.records import Alert, AlertType, ErrorRegion, Messenger

__all__ = ["SOURCE", "parse"]

_MAX_BYTES = 2**20
_MAX_PARAMS = 1000
_JULIAN_YEAR_S = 31_557_600.0
_ROLES = frozenset({"observation", "prediction", "utility", "test"})
_TEST_PARAMS = frozenset({"Test", "InternalTest", "Test_Submission"})
_RETRACTION = frozenset({"Retraction"})
_IVORN = re.compile(r"ivo://[^/#]+/([A-Za-z0-9_-]+)#(\S+)")


@dataclass(frozen=True, slots=True)
class _Stream:
    mission: str
    messenger: Messenger
    containment: float
    """Of the error radius, as the mission documents it."""
    first: tuple[str, ...] = ("",)
    """What the ivorn's fragment holds in a first notice; the others are updates."""
    id_params: tuple[str, ...] = ("TrigID", "Trans_Num", "Burst_Id", "Trigger_Number")


_Params = Mapping[str, tuple[str, str]]
"""Name -> (value, unit)."""

_STREAMS = {
    "AMON": _Stream("IceCube", Messenger.NEUTRINO, 0.9),
    "SNEWS": _Stream("SNEWS", Messenger.NEUTRINO, 0.9),
    "SK_SN": _Stream("Super-K", Messenger.NEUTRINO, 0.9),
    "Fermi": _Stream("Fermi-GBM", Messenger.EM, 0.68, ("GBM_Alert", "GBM_SubThresh")),
    "SWIFT": _Stream("Swift-BAT", Messenger.EM, 0.9, ("BAT_GRB_Pos",)),
}
_SVOM = _Stream("SVOM", Messenger.EM, 0.9, ("_grm-trigger", "_eclairs-wakeup", "_eclairs-catalog"))
_KM3NET = _Stream(
    "KM3NeT", Messenger.NEUTRINO, 0.9, id_params=("alert_id", "id", "TrigID", "event_id")
)
_PER_YEAR_AT_LEAST = 1e-4
"""A smaller rate labelled per year is one in Hz: nobody alerts once in ten thousand years."""


def parse(payload: bytes) -> list[Alert]:
    """Read one VOEvent.

    Raises
    ------
    BadNotice
        XML that is broken, too large, or declares a document type or entities; a notice
        without identity or time; values that are none. Nothing else is raised.
    """
    root = _root(payload)
    ivorn = text(root.get("ivorn"), "ivorn")
    found = _IVORN.fullmatch(ivorn)
    if found is None:
        raise BadNotice(f"{shown(ivorn)} is not an identifier", where="ivorn")
    name, fragment = found.groups()
    if name in ("gwnet", "LVC"):
        raise BadNotice("LVK notices are read from igwn.gwalert", where="ivorn")
    role = root.get("role", "observation")
    if role not in _ROLES:
        raise BadNotice(f"unknown role {shown(role)}", where="role")
    stream = _stream(ivorn, name)
    params = _params(root)
    is_practice = role != "observation" or _is_true(params, _TEST_PARAMS)
    is_icecube = name == "AMON" and "run_id" in params
    if name == "AMON" and not is_icecube:
        stream = _Stream("AMON", Messenger.NEUTRINO, 0.9)
    event_time = _find(root, "WhereWhen", "ISOTime")
    identifier = _icecube_id(params) if is_icecube else _identifier(params, stream)
    region = _region(root, params, stream)
    return [
        Alert(
            event_id=event_name(stream.mission, identifier, is_practice=is_practice),
            messenger=stream.messenger,
            alert_type=_alert_type(root, params, stream, fragment),
            time_created=utc(_find(root, "Who", "Date"), "Who.Date"),
            is_practice=is_practice,
            event_time=None if event_time is None else utc(event_time, "WhereWhen.ISOTime"),
            far_hz=_far_hz(params, stream),
            group=stream.mission,
            pipeline=re.split(r"[_-]?\d", fragment)[0] or None,
            search=params.get("Packet_Type", (None, ""))[0],
            instruments=(name,),
            region=region,
            aliases=(ivorn, *_event_names(params)),
            urls=_map_links(params),
            extra={
                "params": {key: value for key, (value, _) in params.items()},
                "markers": _markers(role, params),
            }
            | _pointing(stream, region),
        )
    ]


SOURCE = Source(
    name="voevent",
    parse=parse,
    topics=(
        "gcn.classic.voevent.ICECUBE_ASTROTRACK_GOLD",
        "gcn.classic.voevent.ICECUBE_ASTROTRACK_BRONZE",
        "gcn.classic.voevent.ICECUBE_CASCADE",
        "gcn.classic.voevent.SNEWS",
        "gcn.classic.voevent.SK_SN",
        "gcn.classic.voevent.FERMI_GBM_ALERT",
        "gcn.classic.voevent.FERMI_GBM_FLT_POS",
        "gcn.classic.voevent.FERMI_GBM_GND_POS",
        "gcn.classic.voevent.FERMI_GBM_FIN_POS",
        "gcn.classic.voevent.FERMI_GBM_SUBTHRESH",
        "gcn.classic.voevent.SWIFT_BAT_GRB_POS_ACK",
        "gcn.notices.km3net.voevent",
        "gcn.notices.svom.voevent.eclairs",
        "gcn.notices.svom.voevent.grm",
        "gcn.notices.svom.voevent.mxt",
    ),
    description="VOEvent XML: IceCube, SNEWS, Super-K, KM3NeT, Fermi GBM, Swift BAT, SVOM",
)


def _stream(ivorn: str, name: str) -> _Stream:
    """By the ivorn: most missions by its resource, SVOM and KM3NeT by its authority too."""
    if ivorn.startswith("ivo://org.svom/"):
        return _SVOM
    if "km3net" in ivorn.partition("#")[0].lower():
        return _KM3NET
    return _STREAMS.get(name, _Stream(name, Messenger.EM, 0.9))


def _root(payload: bytes) -> Element:
    if len(payload) > _MAX_BYTES:
        raise BadNotice(f"{len(payload)} bytes, more than {_MAX_BYTES}", where="payload")
    try:
        root: Element = fromstring(payload, forbid_dtd=True)
    except DefusedXmlException as error:
        raise BadNotice(
            f"XML with a document type: {type(error).__name__}", where="payload"
        ) from None
    except (ParseError, ValueError, LookupError) as error:
        # LookupError: an encoding that nobody knows
        raise BadNotice(f"not XML: {error}"[:200], where="payload") from None
    if _local(root) != "VOEvent":
        raise BadNotice(f"a VOEvent is needed, not {shown(_local(root))}", where="payload")
    return root


def _local(element: Element) -> str:
    """Name without namespace: VOEvent 1.1 and 2.0 differ in nothing that is read here."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _children(element: Element, name: str) -> Iterator[Element]:
    return (child for child in element if _local(child) == name)


def _find(root: Element, section: str, name: str) -> str | None:
    """Text of the first element of a name in a section, at any depth."""
    for part in _children(root, section):
        for element in part.iter():
            if _local(element) == name:
                return (element.text or "").strip()
    return None


def _params(root: Element) -> dict[str, tuple[str, str]]:
    """Parameters of ``What``: name -> (value, unit); in a group ``Group.name``."""
    params: dict[str, tuple[str, str]] = {}
    for what in _children(root, "What"):
        groups = [("", what), *((f"{g.get('name', '')}.", g) for g in _children(what, "Group"))]
        for prefix, holder in groups:
            for param in _children(holder, "Param"):
                key = prefix + param.get("name", "")
                value = param.get("value")
                if value:
                    params.setdefault(text(key, "What"), (text(value, key), param.get("unit", "")))
                if len(params) > _MAX_PARAMS:
                    raise BadNotice(f"more than {_MAX_PARAMS} parameters", where="What")
    return params


def _identifier(params: _Params, stream: _Stream) -> str:
    for name in stream.id_params:
        for key, (value, _) in params.items():
            if key.rpartition(".")[2] == name:
                return value
    raise BadNotice(f"none of {', '.join(stream.id_params)}", where="What")


def _event_names(params: _Params) -> list[str]:
    """Names that people use, where a stream sends them."""
    return [
        value
        for key, (value, _) in params.items()
        if key.rpartition(".")[2].lower() in ("event_name", "source_name") and value.strip()
    ]


def _map_links(params: _Params) -> dict[str, str]:
    """The link to a map (IceCube's cascades: ``skymap_fits``), under the name that it has in
    the unified schema.
    """
    for key, (value, _) in params.items():
        if key.rpartition(".")[2].lower() in ("skymap_fits", "healpix_url"):
            return {"healpix_url": value}
    return {}


def _icecube_id(params: _Params) -> str:
    """Run and event number without padding, as in the JSON notices."""
    numbers = [params.get(key, ("", ""))[0] for key in ("run_id", "event_id")]
    if not all(number.isdecimal() and len(number) < 20 for number in numbers):
        raise BadNotice(f"no numbers of run and event: {shown(numbers)}", where="What.run_id")
    return "_".join(str(int(number)) for number in numbers)


def _alert_type(root: Element, params: _Params, stream: _Stream, fragment: str) -> AlertType:
    cites = {cited.get("cite") for part in _children(root, "Citations") for cited in part}
    said = fragment.endswith("_retraction") or _is_true(params, _RETRACTION)
    if "retraction" in cites or said:
        return AlertType.RETRACTION
    if "Rev" in params:
        return AlertType.INITIAL if params["Rev"][0] == "0" else AlertType.UPDATE
    is_first = any(part in fragment for part in stream.first)
    return AlertType.INITIAL if is_first else AlertType.UPDATE


def _is_true(params: _Params, names: frozenset[str]) -> bool:
    return any(
        key.rpartition(".")[2] in names and value.strip().lower() in ("true", "1", "yes")
        for key, (value, _) in params.items()
    )


def _markers(role: str, params: _Params) -> dict[str, bool]:
    """What each marker of tests says, so that a disagreement can be noticed."""
    found = {"role": role != "observation"}
    if any(key.rpartition(".")[2] in _TEST_PARAMS for key in params):
        found["parameters"] = _is_true(params, _TEST_PARAMS)
    return found


def _pointing(stream: _Stream, region: ErrorRegion | None) -> dict[str, Any]:
    return {"pointing": pointing(region)} if stream.mission == "Super-K" and region else {}


def _far_hz(params: _Params, stream: _Stream) -> float | None:
    if "FAR" not in params:
        return None
    value, unit = params["FAR"]
    rate = _number(value, "What.FAR")
    if rate < 0:
        raise BadNotice(f"a rate of {rate}", where="What.FAR")
    if unit == "yr^-1" and (stream is not _KM3NET or rate >= _PER_YEAR_AT_LEAST):
        return rate / _JULIAN_YEAR_S
    if unit in ("Hz", "s^-1", "yr^-1"):
        return rate
    raise BadNotice(f"unknown unit {shown(unit)} of a rate", where="What.FAR")


def _region(root: Element, params: _Params, stream: _Stream) -> ErrorRegion | None:
    given = {
        key: _find(root, "WhereWhen", name)
        for key, name in (("ra", "C1"), ("dec", "C2"), ("ra_dec_error", "Error2Radius"))
    }
    if not all(given.values()):
        return None
    numbers = {key: _number(value or "", f"WhereWhen.{key}") for key, value in given.items()}
    if numbers["ra_dec_error"] == 0 and "Src_Error90" in params:
        numbers["ra_dec_error"] = _number(params["Src_Error90"][0], "What.Src_Error90")
    return error_region({**numbers, "containment_probability": stream.containment})


def _number(value: str, where: str) -> float:
    try:
        return finite(float(value), where)
    except ValueError:
        raise BadNotice(f"{shown(value)} is not a number", where=where) from None
