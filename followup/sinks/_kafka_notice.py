"""Notices of our own in the style of GCN's unified schema: results of inferences, and plans.

The outer shape is that of ``gcn/notices/boom/alert.schema.json`` (core ``Alert``, ``Reporter``,
``data.targets`` with ``Localization``, ``Event``, ``FollowUp``), which leaves room for what is
ours: ``inference`` and ``request`` of a target, ``plan``. What is not known is left out: the
schema's numbers cannot be null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from followup.sinks._plan_json import finite, iso_utc, tile_json
from mmcoord.announcements import Announcement, RunStatus
from mmcoord.records import Outgoing, OutgoingKind, PlanRow

__all__ = ["plan_notice", "result_notice"]

_SUMMARY = ("model", "converged", "ess", "log_evidence", "log_evidence_err", "p_kilonova",
            "reason", "n_points", "n_detections", "parameters", "derived", "comparison",
            "failed_models", "seed")  # fmt: skip
"""What of a run's summary is told."""


def result_notice(said: Announcement, mission: str) -> dict[str, Any]:
    """A public run of one candidate: its answer, or that the answer no longer holds."""
    holds = said.status is RunStatus.DONE
    p_kilonova = finite(said.summary.get("p_kilonova"))
    target: dict[str, Any] = {
        "event_name": said.object_id,
        **_place(said.ra_deg, said.dec_deg),
        "gcn_crossmatch": [_event(said.event_id, said.messenger)],
        "inference": {
            "run_key": said.run_key,
            "status": said.status.value,
            **({"supersedes": list(said.supersedes)} if said.supersedes else {}),
            **({"url": said.run_url} if said.run_url else {}),
            **({key: _plain(said.summary[key]) for key in _SUMMARY if key in said.summary}
               if holds else {}),
        },
    }  # fmt: skip
    if holds and p_kilonova is not None:
        target["classification_scores"] = {"kilonova": p_kilonova, "other": 1.0 - p_kilonova}
    if not holds:
        alert_type = "retraction"
    else:
        alert_type = "update" if said.supersedes else "initial"
    return {
        **_head(mission, said.is_practice, alert_type),
        "alert_datetime": iso_utc(said.at),
        "data": {"targets": [target]},
    }


def plan_notice(plan: Outgoing, mission: str) -> dict[str, Any]:
    """A plan revision of one event with all its targets, or that it no longer holds."""
    withdrawn = plan.kind is OutgoingKind.WITHDRAW
    known = {
        "event_id": plan.event_id,
        "revision": plan.plan_revision,
        "event_time": iso_utc(plan.event_time),
        "url": plan.page_url,
        "tiles": None if withdrawn else [_known(tile_json(tile)) for tile in plan.tiles] or None,
    }
    return {
        **_head(mission, plan.is_practice, _plan_type(plan)),
        "data": {
            "plan": _known(known),
            "targets": [] if withdrawn else [_target(plan, row) for row in plan.rows],
        },
    }


def _plan_type(plan: Outgoing) -> str:
    if plan.kind is OutgoingKind.WITHDRAW:
        return "retraction"
    return "initial" if plan.plan_revision <= 1 else "update"


def _target(plan: Outgoing, row: PlanRow) -> dict[str, Any]:
    asked = {
        "rank": row.rank,
        "score": finite(row.score),
        "instrument": row.instrument,
        "band": row.band,
        "start": iso_utc(row.start),
        "exposure_s": finite(row.exposure_s),
        "predicted_mag": finite(row.predicted_mag),
        "run_key": row.run_key,
    }
    p_kilonova = finite(row.p_kilonova)
    scores = {} if p_kilonova is None else {"kilonova": p_kilonova, "other": 1.0 - p_kilonova}
    return {
        "event_name": row.object_id,
        **_place(row.ra_deg, row.dec_deg),
        "classification_scores": scores,
        "gcn_crossmatch": [_event(plan.event_id, "")],
        "request": _known(asked),
    }


def _head(mission: str, is_practice: bool, alert_type: str) -> dict[str, Any]:
    return {
        "mission": mission,
        "messenger": "EM",
        "alert_tense": "test" if is_practice else "current",
        "alert_type": alert_type,
    }


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _place(ra_deg: float, dec_deg: float) -> dict[str, float]:
    known = math.isfinite(ra_deg) and math.isfinite(dec_deg)
    return {"ra": ra_deg, "dec": dec_deg} if known else {}


def _event(event_id: str, messenger: str) -> dict[str, str]:
    return {"ref_ID": event_id, **({"ref_type": messenger} if messenger else {})}


def _plain(value: Any) -> Any:
    """The same without what JSON does not have."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return finite(value) if isinstance(value, float) else value
