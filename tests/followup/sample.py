"""Small instruments and targets made by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from followup.evidence import Prediction, TargetEvidence
from followup.sites import Band, Instrument, Site
from mmcoord.timescales import mjd_tai

EVENT = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
NOW = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)

PARANAL = Site("paranal", "Paranal", -24.627, -70.405, 2669.0, "test")
PALOMAR = Site("palomar", "Palomar", 33.356, -116.863, 1706.0, "test")


def instrument(**changes: Any) -> Instrument:
    values: dict[str, Any] = {
        "id": "one-metre",
        "name": "a 1 m camera",
        "site": PARANAL,
        "aperture_m": 1.0,
        "field_deg2": 0.2,
        "min_altitude_deg": 30.0,
        "max_altitude_deg": 90.0,
        "max_airmass": 2.0,
        "sun_altitude_deg": -18.0,
        "moon_separation_deg": 0.0,
        "overhead_s": 30.0,
        "slew_s": 60.0,
        "min_exposure_s": 10.0,
        "max_exposure_s": 300.0,
        "depth_exposure_s": 300.0,
        "depth_seeing_arcsec": 1.5,
        "depth_source": "test",
        "limits_source": "test",
        "bands": (Band("r", "lsst:r", 22.0),),
    }
    return Instrument(**(values | changes))


def target(object_id: str = "a", **changes: Any) -> TargetEvidence:
    """Near the meridian at midnight over Paranal in November."""
    values: dict[str, Any] = {"object_id": object_id, "ra_deg": 60.0, "dec_deg": -30.0}
    return TargetEvidence(**(values | changes))


def steady(magnitude: float, width: float = 0.5) -> Prediction:
    """A source of constant brightness through the nights around NOW."""
    begin = mjd_tai(NOW) - 3.0
    times = [begin, begin + 10.0]
    low, high = magnitude - width, magnitude + width
    return Prediction(times, [low, low], [magnitude] * 2, [high, high])
