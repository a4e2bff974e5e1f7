"""LSST alerts, whoever passes them on: a decoded packet into a candidate and its photometry.

Fields as in ``lsst.v7_1`` to ``lsst.v11_1`` (package ``lsst-alert-packet``): fluxes are PSF
fluxes on the difference image in nJy, times are TAI at the middle of the exposure.

Rules that are ours:

* a moving object is told by ``ssObjectId``; 0 and null both mean "none", and brokers turn
  an absent ``ssSource`` into a record of nulls, so the record itself tells nothing;
* an exposure gives one point: the detection where there is one, else the forced flux.
  Both together would count one exposure twice;
* signal to noise of at least 3 is a detection, between -3 and 3 a 5-sigma upper limit, and
  below that, where the template is brighter than the image, nothing;
* a flux that another pipeline withdrew is no point;
* the first detection is the earliest that the packet knows of, because the field for it,
  ``firstDiaSourceMjdTai``, is not filled by the project yet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from listeners.fields import json_value, shown
from listeners.layout import Packet
from listeners.vetoes import Evidence, Vetoes, judge, known_number
from mmcoord.bands import canonical
from mmcoord.errors import BadCandidate, BadPhotometry
from mmcoord.records import Candidate, Photometry, Vetoed

__all__ = [
    "FIRST",
    "WHOLE",
    "evidence",
    "flux_point",
    "identity",
    "measured_point",
    "moving_id",
    "records",
    "sift",
    "sift_alert",
    "veto",
]

_ZERO_POINT_NJY = 31.4
"""AB magnitude of 1 nJy: 8.90 for 1 Jy, plus 22.5."""
_DETECTION_SNR = 3.0
_LIMIT_SNR = 5.0
_MAG_PER_RELATIVE_FLUX = 2.5 / math.log(10.0)
_BANDS = {letter: canonical(f"lsst:{letter}") for letter in "ugrizy"}
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
)
_POINT = frozenset({"midpointMjdTai", "band", "psfFlux", "psfFluxErr", "timeWithdrawnMjdTai"})
_SOURCE = _POINT | {*_KEPT, "diaObjectId", "ssObjectId", "ra", "dec", "raErr", "decErr"}
_OBJECT = ("diaObjectId", "ra", "dec", "raErr", "decErr", "nDiaSources", "firstDiaSourceMjdTai")

FIRST = {"diaSource": _SOURCE}
"""Fields of the first pass (:class:`listeners.layout.Fields`)."""
WHOLE = FIRST | {
    "prvDiaSources": _POINT,
    "prvDiaForcedSources": _POINT,
    "diaObject": frozenset(_OBJECT),
}


def sift(
    packet: Packet, vetoes: Vetoes, listener: str
) -> list[Candidate | Photometry] | list[Vetoed]:
    """One packet in two passes: the newest detection, then the light curve of what is left.

    Raises
    ------
    BadInput
        As :func:`records`, and for bytes that do not fit the schema.
    """
    beginning = packet.beginning()
    vetoed = veto(beginning, evidence(beginning), vetoes, listener)
    if vetoed is not None:
        return [vetoed]
    alert = packet.whole()
    vetoed = veto(alert, evidence(alert), vetoes, listener)
    return records(alert) if vetoed is None else [vetoed]


def sift_alert(
    alert: Mapping[str, Any], vetoes: Vetoes, listener: str
) -> list[Candidate | Photometry] | list[Vetoed]:
    """One decoded alert, unless a veto leaves it out.

    Raises
    ------
    BadInput
        As :func:`records`.
    """
    vetoed = veto(alert, evidence(alert), vetoes, listener)
    return records(alert, source=listener) if vetoed is None else [vetoed]


def veto(
    alert: Mapping[str, Any], against: Evidence, vetoes: Vetoes, listener: str
) -> Vetoed | None:
    """What our rules say; a moving object that no object names is left out in any case."""
    vetoed = judge(against, vetoes, identity(alert), listener)
    if vetoed is None and against.moving and not _object_id(_part(alert, "diaSource")):
        return Vetoed(identity(alert), listener, "moving", f"{against.moving}, no diaObjectId")
    return vetoed


def evidence(alert: Mapping[str, Any]) -> Evidence:
    """What an alert, whole or its beginning, says against its source."""
    detection = _part(alert, "diaSource")
    moving = moving_id(detection)
    withdrawn = detection.get("timeWithdrawnMjdTai")
    return Evidence(
        moving=f"ssObjectId {moving}" if moving else "",
        reliability=known_number(detection.get("reliability")),
        history_day=_history_day(alert, detection),
        withdrawn=f"timeWithdrawnMjdTai {withdrawn}" if _is_withdrawn(detection) else "",
    )


def identity(alert: Mapping[str, Any]) -> str:
    """Name of what an alert is about, for people: object, else moving object, else source."""
    detection = _part(alert, "diaSource")
    if object_id := _object_id(detection):
        return object_id
    if moving := moving_id(detection):
        return f"sso{moving}"
    return f"source {shown(detection.get('diaSourceId'))}"


def moving_id(detection: Mapping[str, Any]) -> str:
    """Which solar-system object a source belongs to; empty for the 0 and null of none."""
    identifier = detection.get("ssObjectId")
    if not isinstance(identifier, int) or isinstance(identifier, bool) or identifier == 0:
        return ""
    return shown(identifier)


def records(alert: Mapping[str, Any], *, source: str = "lsst") -> list[Candidate | Photometry]:
    """The candidate and its light curve, whatever the vetoes.

    Raises
    ------
    BadCandidate
        No source, no identifier, or an impossible position.
    BadPhotometry
        Values that are no time and flux.
    """
    detection = _part(alert, "diaSource")
    if not detection:
        raise BadCandidate("not there", where="diaSource")
    object_id = _object_id(detection)
    if not object_id:
        identifier = detection.get("diaObjectId")
        raise BadCandidate(f"{identifier!r:.60} is no object", where="diaSource.diaObjectId")
    known = _part(alert, "diaObject")
    place = known if known.get("ra") is not None and known.get("dec") is not None else detection
    candidate = Candidate(
        object_id=object_id,
        ra_deg=_number(place.get("ra"), "ra"),
        dec_deg=_number(place.get("dec"), "dec"),
        source=source,
        position_error_arcsec=_position_error(place),
        attributes=_attributes(detection, known),
    )
    return [candidate, *_light_curve(object_id, alert, detection)]


def flux_point(
    object_id: str, time: object, band: object, flux: object, error: object
) -> Photometry | None:
    """One difference flux (nJy) at an MJD (TAI) as a magnitude or a limit.

    None where there is no measurement, or where the template was brighter.

    Raises
    ------
    BadPhotometry
        Values that are no time, no LSST band or no flux.
    """
    if band is None or flux is None or error is None or time is None:
        return None
    if not (isinstance(time, float) and isinstance(flux, float) and isinstance(error, float)):
        raise BadPhotometry("a flux, its error or its time is not a number", where="psfFlux")
    if not (math.isfinite(flux) and 0.0 < error < math.inf):
        return None  # NaN stands for a failed fit
    name = _BANDS.get(band) if isinstance(band, str) else None
    if name is None:
        name = canonical(f"lsst:{band}")
    if flux >= _DETECTION_SNR * error:
        mag = _ZERO_POINT_NJY - 2.5 * math.log10(flux)
        return Photometry(object_id, time, name, mag, _MAG_PER_RELATIVE_FLUX * error / flux)
    if flux <= -_DETECTION_SNR * error:
        return None  # no limit on a transient either
    limit = _ZERO_POINT_NJY - 2.5 * math.log10(_LIMIT_SNR * error)
    return Photometry(object_id, time, name, limit, None, is_limit=True)


def _part(alert: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = alert.get(key)
    return value if isinstance(value, dict) else {}


def _object_id(detection: Mapping[str, Any]) -> str:
    """The object's identifier; empty for the 0 and null of a source without an object."""
    identifier = detection.get("diaObjectId")
    if not isinstance(identifier, int) or isinstance(identifier, bool) or identifier <= 0:
        return ""
    return str(identifier)


def _is_withdrawn(measured: Mapping[str, Any]) -> bool:
    """Null, NaN (so in real packets of version 9) and 0 mean "not withdrawn"."""
    time = measured.get("timeWithdrawnMjdTai")
    return isinstance(time, float) and math.isfinite(time) and time > 0


def _history_day(alert: Mapping[str, Any], detection: Mapping[str, Any]) -> float | None:
    newest = known_number(detection.get("midpointMjdTai"))
    if newest is None:
        return None
    times = [known_number(item.get("midpointMjdTai")) for item in _items(alert, "prvDiaSources")]
    times.append(known_number(_part(alert, "diaObject").get("firstDiaSourceMjdTai")))
    earlier = [time for time in times if time is not None and time > 0]
    return newest - min(earlier) if earlier else None


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadCandidate(f"{value!r:.60} is not a number", where=where)
    return float(value)


def _position_error(place: Mapping[str, Any]) -> float | None:
    errors = [place.get("raErr"), place.get("decErr")]
    if not all(isinstance(e, float) and math.isfinite(e) and e >= 0 for e in errors):
        return None
    return max(float(e) for e in errors if e is not None) * 3600.0


def _attributes(detection: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: detection.get(key) for key in _KEPT}
    kept["nDiaSources"] = known.get("nDiaSources")
    kept["firstDiaSourceMjdTai"] = known.get("firstDiaSourceMjdTai")
    cleaned: dict[str, Any] = json_value(kept)
    return {key: value for key, value in cleaned.items() if value is not None}


def _light_curve(
    object_id: str, alert: Mapping[str, Any], detection: Mapping[str, Any]
) -> list[Photometry]:
    points: dict[tuple[float, str], Photometry] = {}
    detections = [detection, *_items(alert, "prvDiaSources")]
    for measured in (*detections, *_items(alert, "prvDiaForcedSources")):
        point = measured_point(object_id, measured)
        if point is not None:
            points.setdefault((round(point.obs_mjd_tai, 6), point.band), point)
    return list(points.values())


def _items(alert: Mapping[str, Any], key: str) -> Iterable[Mapping[str, Any]]:
    value = alert.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def measured_point(object_id: str, measured: Mapping[str, Any]) -> Photometry | None:
    """The point of one DiaSource or DiaForcedSource; None where it gives none."""
    if _is_withdrawn(measured):
        return None
    get = measured.get
    return flux_point(
        object_id, get("midpointMjdTai"), get("band"), get("psfFlux"), get("psfFluxErr")
    )
