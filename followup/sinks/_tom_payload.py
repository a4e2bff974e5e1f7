"""What a target at a TOM looks like when mmcoord has written it: pure, no network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from followup.sinks._plan_json import finite, iso_utc, look_json, photometry_of
from followup.sinks._times import utc_of_mjd_tai
from followup.sinks.base import Answer, Outcome, Payload
from mmcoord.records import AlertType, Outgoing, OutgoingKind, Photometry, PlanRow

__all__ = [
    "ACTIVE",
    "SOURCE",
    "DatumKey",
    "Json",
    "Wanted",
    "datum_key",
    "extras_of",
    "has_extras",
    "revision_of",
    "stale_answer",
    "target_payload",
]

Json = dict[str, Any]
DatumKey = tuple[str, str, float | None]
"""Time, band, brightness: what makes a photometric point the same point."""

SOURCE = "mmcoord"
"""``source_name`` of our photometry."""
ACTIVE = "active"
"""``mmcoord_state`` of what has not been withdrawn."""


def target_payload(
    outgoing: Outgoing, groups: tuple[str, ...], *, with_photometry: bool
) -> Payload:
    """The body that creates the one target of ``outgoing``, and its photometry.

    Raises
    ------
    ValueError
        ``outgoing`` has not exactly one row.
    """
    (row,) = outgoing.rows
    state = _state_of(outgoing)
    target_list = outgoing.event_id
    if state == "retracted":
        target_list = f"{outgoing.event_id} retracted"
    points = photometry_of(outgoing) if with_photometry else ()
    return {
        "target": {
            "name": row.object_id,
            "type": "SIDEREAL",
            "ra": finite(row.ra_deg),
            "dec": finite(row.dec_deg),
            "epoch": 2000.0,
            "targetextra_set": _extras(outgoing, row, state),
            "target_lists": [{"name": target_list}],
            "groups": [{"name": name} for name in groups],
        },
        "photometry": [_datum(point) for point in points],
        "request": _app_request(outgoing, row, state),
    }


@dataclass(frozen=True, slots=True)
class Wanted:
    """A payload read back: what the target shall look like."""

    payload: Payload
    object_id: str
    ra_deg: float
    """NaN when the plan gives none."""
    dec_deg: float
    extras: Mapping[str, str]
    lists: list[str]

    @classmethod
    def of(cls, payload: Payload, key: str) -> Wanted:
        target = payload["target"]
        extras = {extra["key"]: extra["value"] for extra in target["targetextra_set"]}
        extras["mmcoord_key"] = key
        lists = [entry["name"] for entry in target["target_lists"]]
        ra, dec = (math.nan if target[axis] is None else target[axis] for axis in ("ra", "dec"))
        return cls(payload, target["name"], ra, dec, extras, lists)

    @property
    def event_id(self) -> str:
        return self.extras["mmcoord_event"]

    @property
    def revision(self) -> int:
        return int(self.extras["mmcoord_plan_revision"])

    def extra_set(self) -> list[Json]:
        return [{"key": k, "value": v} for k, v in self.extras.items()]

    def problem(self) -> Answer | None:
        """Why this must not be sent: a TOM would store ra 400 and dec 95."""
        for name, value, low, high in (
            ("ra", self.ra_deg, 0.0, 360.0),
            ("dec", self.dec_deg, -90.0, 90.0),
        ):
            good = math.isfinite(value) and low <= value <= high
            if not good or (name == "ra" and value == 360.0):
                detail = f"{self.object_id}: {name} {value!r} is not a position in degrees"
                return Answer(Outcome.REJECTED, detail=detail)
        for datum in self.payload["photometry"]:
            if len(datum["value"]["bandpass"]) > 32:  # the TOM answers 500 to it, for ever
                detail = f"{self.object_id}: band name longer than 32 characters"
                return Answer(Outcome.REJECTED, detail=detail)
        return None


def _state_of(outgoing: Outgoing) -> str:
    if outgoing.kind is OutgoingKind.PUBLISH:
        return ACTIVE
    return "retracted" if outgoing.alert_type is AlertType.RETRACTION else "withdrawn"


def _extras(outgoing: Outgoing, row: PlanRow, state: str) -> list[Json]:
    values: dict[str, str | float | None] = {
        "mmcoord_event": outgoing.event_id,
        "mmcoord_object": row.object_id,
        "mmcoord_state": state,
        "mmcoord_rank": str(row.rank),
        "mmcoord_score": row.score,
        "mmcoord_p_kilonova": row.p_kilonova,
        "mmcoord_credible_level_2d": row.credible_level_2d,
        "mmcoord_credible_level_3d": row.credible_level_3d,
        "mmcoord_request": _request(row),
        "mmcoord_reasons": "; ".join(f"{k}: {v}" for k, v in row.reasons.items()) or None,
        "mmcoord_page": outgoing.page_url,
        "mmcoord_practice": "true" if outgoing.is_practice else "false",
        "mmcoord_plan_revision": str(outgoing.plan_revision),
        "mmcoord_key": outgoing.key,
    }
    return [{"key": name, "value": _text(value)} for name, value in values.items()]


def _app_request(outgoing: Outgoing, row: PlanRow, state: str) -> Json:
    """The same for a TOM that has our app."""
    return {
        "event_id": outgoing.event_id,
        "object_id": row.object_id,
        "is_practice": outgoing.is_practice,
        "state": state,
        "plan_revision": outgoing.plan_revision,
        "delivery_key": outgoing.key,
        "rank": row.rank,
        "score": finite(row.score),
        "factors": {name: finite(value) for name, value in row.factors.items()},
        "reasons": dict(row.reasons),
        "instrument": row.instrument or "",
        "band": row.band or "",
        "start": iso_utc(row.start),
        "exposure_s": finite(row.exposure_s),
        "predicted_mag": finite(row.predicted_mag),
        "looks": [look_json(look) for look in row.looks],
        "page_url": outgoing.page_url or "",
    }


def _request(row: PlanRow) -> str | None:
    """The observation asked for, in one line for people."""
    parts = [row.instrument, row.band]
    if row.exposure_s is not None:
        parts.append(f"{row.exposure_s:g} s")
    if row.start is not None:
        parts.append(f"from {iso_utc(row.start)}")
    if row.predicted_mag is not None:
        parts.append(f"predicted {row.predicted_mag:.2f} mag")
    first = " ".join(part for part in parts if part)
    further = [
        f"{look.role}: {look.instrument} {look.band} {look.exposure_s:g} s from "
        f"{iso_utc(look.start)}"
        for look in row.looks
    ]
    return "; ".join(part for part in (first, *further) if part) or None


def _text(value: str | float | None) -> str:
    """Extras come back as text, so they are sent as text; the TOM refuses null."""
    if isinstance(value, str):
        return value.strip()
    number = finite(value)
    return "unknown" if number is None else f"{number:.6g}"


def _datum(point: Photometry) -> Json:
    brightness: Json = (
        {"limit": point.mag_ab}
        if point.is_limit
        else {"brightness": point.mag_ab, "brightness_error": point.mag_err}
    )
    return {
        "data_type": "photometry",
        "source_name": SOURCE,
        "timestamp": utc_of_mjd_tai(point.obs_mjd_tai),
        "value": {**brightness, "bandpass": point.band, "unit": "AB mag"},
    }


def datum_key(datum: Json) -> DatumKey:
    """The key of a point of ours or of the TOM's, which does not show a limit's value."""
    value = datum["value"]
    return (_microseconds(datum["timestamp"]), value["bandpass"], value.get("brightness"))


def _microseconds(timestamp: str) -> str:
    """A TOM leaves out the fraction when it is zero."""
    head, _, fraction = timestamp.rstrip("Z").partition(".")
    return f"{head}.{fraction.ljust(6, '0')}Z"


def extras_of(target: Json) -> dict[str, str]:
    return {extra["key"]: extra["value"] for extra in target.get("targetextra_set", [])}


def has_extras(target: Json, extras: Mapping[str, str]) -> bool:
    there = extras_of(target)
    return all(there.get(key) == value for key, value in extras.items())


def revision_of(target: Json) -> int:
    text = extras_of(target).get("mmcoord_plan_revision", "")
    return int(text) if text.isdecimal() else -1


def stale_answer(target: Json, wanted: Wanted) -> Answer | None:
    """The answer to a publication that the TOM has moved past already."""
    extras = extras_of(target)
    if extras.get("mmcoord_event") != wanted.event_id:
        return None
    there = revision_of(target)
    remote_id = str(target["id"])
    if extras.get("mmcoord_state", ACTIVE) != ACTIVE and there >= wanted.revision:
        return Answer(Outcome.REJECTED, remote_id, f"withdrawn at plan revision {there}; left so")
    if there > wanted.revision:
        return Answer(Outcome.SENT, remote_id, f"plan revision {there} is there already")
    return None
