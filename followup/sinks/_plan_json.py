"""A plan as plain JSON values: the spelling that every sink's payload shares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mmcoord.records import Outgoing, Photometry, PlanRow

__all__ = [
    "event_json",
    "finite",
    "iso_utc",
    "photometry_json",
    "photometry_of",
    "row_json",
]


def finite(value: float | None) -> float | None:
    """``value``, or None when it is not a number that JSON has."""
    return value if value is not None and math.isfinite(value) else None


def iso_utc(time: datetime | None) -> str | None:
    """ISO 8601 in UTC with ``Z``; None stays None."""
    if time is None:
        return None
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _finite_map(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: finite(value) for name, value in values.items()}


def event_json(outgoing: Outgoing) -> dict[str, Any]:
    """What is known of the event."""
    return {
        "event_id": outgoing.event_id,
        "aliases": list(outgoing.event_aliases),
        "event_time": iso_utc(outgoing.event_time),
        "alert_type": outgoing.alert_type.value if outgoing.alert_type else None,
        "is_practice": outgoing.is_practice,
        "area_90_deg2": finite(outgoing.area_90_deg2),
        "distance_mpc": finite(outgoing.distance_mpc),
        "distance_std_mpc": finite(outgoing.distance_std_mpc),
        "far_hz": finite(outgoing.far_hz),
        "classification": _finite_map(outgoing.classification),
        "page_url": outgoing.page_url,
    }


def row_json(row: PlanRow) -> dict[str, Any]:
    """One line of the plan; what is not known is None."""
    return {
        "rank": row.rank,
        "object_id": row.object_id,
        "ra_deg": finite(row.ra_deg),
        "dec_deg": finite(row.dec_deg),
        "score": finite(row.score),
        "factors": _finite_map(row.factors),
        "reasons": dict(row.reasons),
        "credible_level_2d": finite(row.credible_level_2d),
        "credible_level_3d": finite(row.credible_level_3d),
        "p_kilonova": finite(row.p_kilonova),
        "run_key": row.run_key,
        "instrument": row.instrument,
        "band": row.band,
        "start": iso_utc(row.start),
        "exposure_s": finite(row.exposure_s),
        "predicted_mag": finite(row.predicted_mag),
        "distance_mpc": finite(row.distance_mpc),
        "distance_err_mpc": finite(row.distance_err_mpc),
    }


def photometry_json(point: Photometry) -> dict[str, Any]:
    """One photometric point or upper limit."""
    return {
        "object_id": point.object_id,
        "obs_mjd_tai": point.obs_mjd_tai,
        "band": point.band,
        "mag_ab": point.mag_ab,
        "mag_err": point.mag_err,
        "is_limit": point.is_limit,
    }


def photometry_of(outgoing: Outgoing) -> tuple[Photometry, ...]:
    """The photometry of the plan's targets, each object's in order of time."""
    wanted = {row.object_id for row in outgoing.rows}
    mine = (point for point in outgoing.photometry if point.object_id in wanted)
    return tuple(sorted(mine, key=lambda p: (p.object_id, p.obs_mjd_tai, p.band)))
