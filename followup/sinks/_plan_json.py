"""A plan as plain JSON values and as lines for people: what every sink's payload shares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mmcoord.records import Outgoing, Photometry, PlanLook, PlanRow, PlanTile

__all__ = [
    "event_json",
    "finite",
    "iso_utc",
    "look_json",
    "photometry_json",
    "photometry_of",
    "row_json",
    "summary_line",
    "table_line",
    "tile_json",
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
        "looks": [look_json(look) for look in row.looks],
    }


def look_json(look: PlanLook) -> dict[str, Any]:
    """A further look at a target."""
    return {
        "role": look.role,
        "instrument": look.instrument,
        "band": look.band,
        "start": iso_utc(look.start),
        "exposure_s": finite(look.exposure_s),
        "predicted_mag": finite(look.predicted_mag),
    }


def tile_json(tile: PlanTile) -> dict[str, Any]:
    """A field of a wide camera."""
    return {
        "tile_id": tile.tile_id,
        "instrument": tile.instrument,
        "band": tile.band,
        "ra_deg": finite(tile.ra_deg),
        "dec_deg": finite(tile.dec_deg),
        "field_deg2": finite(tile.field_deg2),
        "start": iso_utc(tile.start),
        "exposure_s": finite(tile.exposure_s),
        "probability": finite(tile.probability),
        "new_probability": finite(tile.new_probability),
        "reach": finite(tile.reach),
        "score": finite(tile.score),
        "reason": tile.reason,
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


def summary_line(outgoing: Outgoing) -> str:
    """The event in one line: name, classes, distance, area, false-alarm rate."""
    parts = []
    classes = sorted(outgoing.classification.items(), key=lambda item: -item[1])
    likely = [f"{name} {p:.0%}" for name, p in classes if p >= 0.01]
    if likely:
        parts.append(", ".join(likely))
    distance, std = finite(outgoing.distance_mpc), finite(outgoing.distance_std_mpc)
    if distance is not None:
        parts.append(f"{distance:.0f}{f' +/- {std:.0f}' if std is not None else ''} Mpc")
    area = finite(outgoing.area_90_deg2)
    if area is not None:
        parts.append(f"90% area {area:.0f} deg2" if area >= 10.0 else f"90% area {area:.2g} deg2")
    far = finite(outgoing.far_hz)
    if far is not None and far > 0.0:
        parts.append(f"one false alarm in {_period(1.0 / far)}")
    return f"{outgoing.event_id} ({'; '.join(parts)})" if parts else outgoing.event_id


def table_line(row: PlanRow) -> str:
    """One line of the plan in fixed columns; a dash where nothing is known."""
    p_kilonova = f"{row.p_kilonova:.2f}" if row.p_kilonova is not None else "-"
    asked = [row.instrument, row.band]
    if row.exposure_s is not None:
        asked.append(f"{row.exposure_s:.0f} s")
    request = " ".join(part for part in asked if part) or "-"
    return (
        f"{row.rank:>3}  {row.object_id:<20} {row.ra_deg:10.5f} {row.dec_deg:+9.5f}"
        f"  score {row.score:.3g}  P(KN) {p_kilonova}  {request}"
    )


def _period(seconds: float) -> str:
    """A length of time in the unit that reads best."""
    for unit, length_s in (("yr", 31_557_600.0), ("d", 86_400.0), ("h", 3_600.0)):
        if seconds >= length_s:
            return f"{seconds / length_s:.3g} {unit}"
    return f"{seconds:.3g} s"
