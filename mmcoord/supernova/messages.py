"""A burst of neutrinos as messages tell it: which detectors, when; and where that points.

What belongs to one burst is decided elsewhere; here are the messages of one, read by the
listeners, turned into arrival times for :func:`skymaps.triangulation.triangulate`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from listeners import snews
from listeners.fields import json_object, mapping, shown, text, utc
from mmcoord.errors import BadInput, BadNotice
from mmcoord.records import Alert
from mmcoord.supernova.burst import Sighting, Statement, join
from mmcoord.supernova.classify import classify
from mmcoord.timescales import mjd_utc
from skymaps.detectors import DetectorTable, TimingMethod
from skymaps.skymap import SkyMapError
from skymaps.triangulation import Arrival, BadClocks, Pointing, Triangulation, triangulate

__all__ = ["BurstTimes", "arrivals_of", "assessment", "locate", "read_times"]

_EXPERIMENT_TIMES = ("neutrino_time_utc", "neutrino_time")


@dataclass(frozen=True)
class BurstTimes:
    """First times of one burst."""

    times: Mapping[str, datetime]
    """By detector, as the messages name it; of several times of one, the last that was sent."""
    is_practice: bool
    alerts: tuple[Alert, ...] = ()
    """Those of the messages that are alerts of SNEWS."""
    p_values: Mapping[str, float] = field(default_factory=dict)
    """By detector, where an alert gives them."""

    @property
    def first(self) -> datetime:
        """The earliest."""
        return min(self.times.values())


def read_times(payloads: Iterable[tuple[str, bytes]]) -> BurstTimes:
    """Times out of messages, each given with its name: SNEWS alerts and reports to SNEWS.

    Raises
    ------
    BadNotice
        A message that is neither, or no time in any; with the message's name.
    """
    times: dict[str, datetime] = {}
    alerts: list[Alert] = []
    practice: list[bool] = []
    for name, payload in payloads:
        try:
            if _is_report(payload):
                detector, moment, is_practice = _report(payload)
                times[detector] = moment
                practice.append(is_practice)
                continue
            for alert in snews.parse(payload):
                alerts.append(alert)
                practice.append(alert.is_practice)
                times |= _detections(alert)
        except BadInput as error:
            raise BadNotice(str(error), where=name) from error
    if not times:
        raise BadNotice("no detector with a neutrino time", where="messages")
    p_values = {
        str(item["detector"]): float(item["p_value"])
        for alert in alerts
        for item in alert.extra["detections"]
        if item["detector"] is not None and item["p_value"] is not None
    }
    # One message that is marked as a test makes a test of all.
    return BurstTimes(times, any(practice), tuple(alerts), p_values)


def _is_report(payload: bytes) -> bool:
    """Whether it is what an experiment sends to SNEWS."""
    try:
        return "detector_name" in json_object(payload)
    except BadNotice:
        return False  # the listener says what is wrong


def _report(payload: bytes) -> tuple[str, datetime, bool]:
    notice = json_object(payload)
    detector = text(notice["detector_name"], "detector_name")
    found = [notice[key] for key in _EXPERIMENT_TIMES if notice.get(key) is not None]
    if not found:
        raise BadNotice(f"{shown(detector)} reports no neutrino time", where="neutrino_time_utc")
    marks = (str(notice.get(key)).lower() == "true" for key in ("is_test", "is_firedrill"))
    return detector, utc(found[0], "neutrino_time_utc"), any(marks)


def _detections(alert: Alert) -> dict[str, datetime]:
    """Times of an alert; of a detector named twice the earlier."""
    found: dict[str, datetime] = {}
    for item in alert.extra["detections"]:
        row = mapping(item, "detections")
        if row["detector"] is not None:
            found.setdefault(str(row["detector"]), datetime.fromisoformat(str(row["time"])))
    return found


def arrivals_of(
    burst: BurstTimes,
    table: DetectorTable,
    *,
    method: TimingMethod = "first_event",
    distance_kpc: float | None = None,
) -> tuple[list[Arrival], list[str]]:
    """Arrivals at the detectors of the table (seconds after the first), and who is not in it."""
    arrivals, unknown = [], []
    seen: dict[str, str] = {}
    for name, moment in burst.times.items():
        if name not in table:
            unknown.append(name)
            continue
        detector = table[name]
        if detector.name in seen:
            raise BadNotice(f"{seen[detector.name]} and {name} are one", where="detector_names")
        seen[detector.name] = name
        timing = detector.timing(method, 10.0 if distance_kpc is None else distance_kpc)
        seconds = (moment - burst.first) / timedelta(seconds=1)
        arrivals.append(Arrival.of(detector, seconds, timing))
    return arrivals, unknown


def locate(
    burst: BurstTimes,
    arrivals: Sequence[Arrival],
    *,
    pointings: Sequence[Pointing] = (),
    galactic_prior: bool = True,
    bad_clocks: BadClocks | None = None,
    ln_distance_sigma: float = 0.5,
) -> Triangulation:
    """The map of a burst.

    Raises
    ------
    BadNotice
        With what the numerics refuse.
    """
    try:
        return triangulate(
            arrivals,
            mjd_utc(burst.first),
            pointings=pointings,
            galactic_prior=galactic_prior,
            bad_clocks=BadClocks() if bad_clocks is None else bad_clocks,
            ln_distance_sigma=ln_distance_sigma,
        )
    except SkyMapError as error:
        raise BadNotice(str(error), where="neutrino_times") from error


def assessment(burst: BurstTimes) -> dict[str, Any]:
    """What is thought of a burst beyond its direction, for the answer of ``triangulate``:
    ``probability_real``, ``false_alarm_rate_hz``, ``classification`` and why."""
    statement = Statement(
        event_id="",
        group="SNEWS2",
        sender="",
        said_at=burst.first,
        first_time=burst.first,
        is_practice=burst.is_practice,
        sightings=tuple(
            Sighting(name, moment, burst.p_values.get(name)) for name, moment in burst.times.items()
        ),
        status=_status(burst.alerts),
    )
    found, real = classify(join([statement]))
    return {
        "probability_real": real.probability,
        "false_alarm_rate_hz": real.false_alarm_rate_hz,
        "classification": dict(found.probabilities()),
        "verdict": found.verdict,
        "reasons": list(found.reasons),
        "inputs_missing": list(found.missing),
    }


def _status(alerts: Iterable[Alert]) -> dict[str, str]:
    """State of the detectors, where an alert tells it (GCN's proposed schema)."""
    return {
        str(name): str(state)
        for alert in alerts
        for name, state in (alert.extra.get("detector_status") or {}).items()
    }
