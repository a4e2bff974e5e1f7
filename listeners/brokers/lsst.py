"""LSST alerts, whoever passes them on: a decoded packet into a candidate and its photometry.

Fields as in ``lsst.v8_0`` to ``lsst.v11_1`` (package ``lsst-alert-packet``): fluxes are PSF
fluxes on the difference image in nJy, times are TAI at the middle of the exposure.

Rules that are ours:

* a moving object is told by ``ssObjectId``; 0 and null both mean "none", and brokers turn
  an absent ``ssSource`` into a record of nulls, so the record itself tells nothing;
* an exposure gives one point: the detection where there is one, else the forced flux.
  Both together would count one exposure twice;
* signal to noise of at least 3 is a detection, between -3 and 3 a 5-sigma upper limit, and
  below that, where the template is brighter than the image, nothing;
* a flux that another pipeline withdrew is no point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from listeners.fields import json_value
from mmcoord.bands import canonical
from mmcoord.errors import BadCandidate, BadPhotometry
from mmcoord.records import Candidate, Photometry

__all__ = ["is_moving", "records"]

_ZERO_POINT_NJY = 31.4
"""AB magnitude of 1 nJy: 8.90 for 1 Jy, plus 22.5."""
_DETECTION_SNR = 3.0
_LIMIT_SNR = 5.0
_MAG_PER_RELATIVE_FLUX = 2.5 / math.log(10.0)
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


def is_moving(alert: Mapping[str, Any]) -> bool:
    """Whether the source belongs to a known solar-system object."""
    return bool(_part(alert, "diaSource").get("ssObjectId"))


def records(alert: Mapping[str, Any], *, source: str = "lsst") -> list[Candidate | Photometry]:
    """The candidate and its light curve; nothing for a moving object or a withdrawn source.

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
    if is_moving(alert) or _is_withdrawn(detection):
        return []
    identifier = detection.get("diaObjectId")
    if not isinstance(identifier, int) or isinstance(identifier, bool) or identifier <= 0:
        raise BadCandidate(f"{identifier!r} is no object", where="diaSource.diaObjectId")
    known = _part(alert, "diaObject")
    place = known if known.get("ra") is not None and known.get("dec") is not None else detection
    object_id = str(identifier)
    candidate = Candidate(
        object_id=object_id,
        ra_deg=_number(place.get("ra"), "ra"),
        dec_deg=_number(place.get("dec"), "dec"),
        source=source,
        position_error_arcsec=_position_error(place),
        attributes=_attributes(detection, known),
    )
    return [candidate, *_light_curve(object_id, alert, detection)]


def _part(alert: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = alert.get(key)
    return value if isinstance(value, dict) else {}


def _is_withdrawn(measured: Mapping[str, Any]) -> bool:
    """Null, NaN (so in real packets of version 9) and 0 mean "not withdrawn"."""
    time = measured.get("timeWithdrawnMjdTai")
    return isinstance(time, float) and math.isfinite(time) and time > 0


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
        point = _point(object_id, measured)
        if point is not None:
            points.setdefault((round(point.obs_mjd_tai, 6), point.band), point)
    return list(points.values())


def _items(alert: Mapping[str, Any], key: str) -> Iterable[Mapping[str, Any]]:
    value = alert.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _point(object_id: str, measured: Mapping[str, Any]) -> Photometry | None:
    """One flux as a magnitude or a limit; None where the packet has no measurement."""
    time, band = measured.get("midpointMjdTai"), measured.get("band")
    flux, error = measured.get("psfFlux"), measured.get("psfFluxErr")
    if band is None or flux is None or error is None or time is None:
        return None
    if _is_withdrawn(measured):
        return None
    if not all(isinstance(value, float) for value in (time, flux, error)):
        raise BadPhotometry("a flux, its error or its time is not a number", where="psfFlux")
    if not (math.isfinite(flux) and 0.0 < error < math.inf):
        return None  # NaN stands for a failed fit
    name = canonical(f"lsst:{band}")
    if flux >= _DETECTION_SNR * error:
        mag = _ZERO_POINT_NJY - 2.5 * math.log10(flux)
        return Photometry(object_id, time, name, mag, _MAG_PER_RELATIVE_FLUX * error / flux)
    if flux <= -_DETECTION_SNR * error:
        return None  # the template was brighter: no limit on a transient either
    limit = _ZERO_POINT_NJY - 2.5 * math.log10(_LIMIT_SNR * error)
    return Photometry(object_id, time, name, limit, None, is_limit=True)
