"""A neutrino burst on the page: what was assessed, and the waiting time as a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from mmcoord.store import bursts
from mmcoord.store.views import Target
from mmcoord.store.views_candidates import Spot
from mmcoord.supernova.waiting import WaitingTime, cadence_at
from mmcoord.web.lightcurve import Tick
from mmcoord.web.projection import Array, open_path

__all__ = ["FACTORS", "STEPS", "BurstPanel", "panel", "star_dots"]

FACTORS = ("odds", "observability")
STEPS = ("received", "assessed", "planned", "sent")
"""How far a burst comes: nothing is matched or inferred for it."""
_WIDTH, _HEIGHT = 640.0, 220.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 78.0, 628.0, 12.0, 186.0
_FROM_H, _TO_H = 1.0 / 60.0, 72.0
_TICKS = ((1 / 60, "1 min"), (1 / 6, "10 min"), (1.0, "1 h"), (6.0, "6 h"), (24.0, "1 d"))


@dataclass(frozen=True, slots=True)
class BurstPanel:
    """Everything that the template says of a burst."""

    revision: int
    assessed_at: datetime
    found: dict[str, Any]
    """See :meth:`mmcoord.supernova.assess.Assessment.to_json`."""
    followed_as: str
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    curve: str
    """Path of P(light has come) against time since the neutrinos, logarithmic."""
    ticks: tuple[Tick, ...]
    now_x: float | None
    """Where now is; None before the first minute and after the end."""
    p_now: float
    """Probability that light has come by now."""
    left_now: tuple[tuple[str, float], ...]
    """What it is, with its probability, if nothing was seen until now."""
    look_every: timedelta | None
    """Time between two looks now; None when the watch is over."""


def panel(
    session: Session, event_id: str, event_time: datetime | None, now: datetime
) -> BurstPanel | None:
    """The panel of an event; None where it announces no burst, or none is assessed yet."""
    leader = bursts.followed_as(session, event_id)
    row = bursts.newest(session, leader) if leader is not None else None
    if leader is None or row is None:
        return None
    waiting = WaitingTime(p_failed=row.assessment["waiting"]["p_failed"])
    hours = np.geomspace(_FROM_H, _TO_H, 200)
    chance = waiting.probability_before(hours)
    since_h = (now - event_time) / timedelta(hours=1) if event_time else 0.0
    return BurstPanel(
        revision=row.revision,
        assessed_at=row.created_at,
        found=row.assessment,
        followed_as=leader,
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        right=_RIGHT,
        top=_TOP,
        bottom=_BOTTOM,
        curve=open_path(_x(hours), _BOTTOM - chance * (_BOTTOM - _TOP)),
        ticks=tuple(Tick(float(_x(np.array(h))), text) for h, text in _TICKS),
        now_x=float(_x(np.array(since_h))) if _FROM_H < since_h < _TO_H else None,
        p_now=float(waiting.probability_before(max(since_h, 0.0))),
        left_now=tuple(waiting.by_class(max(since_h, 0.0)).items()),
        look_every=cadence_at(event_time, now) if event_time else None,
    )


def _x(hours: Array) -> Array:
    share = np.log(hours / _FROM_H) / np.log(_TO_H / _FROM_H)
    place: Array = _LEFT + share * (_RIGHT - _LEFT)
    return place


def star_dots(rows: Sequence[Target]) -> list[Spot]:
    """The stars of the plan as dots of the sky map."""
    return [
        Spot(target.object_id, target.row["ra_deg"], target.row["dec_deg"], None, target.rank)
        for target in rows
    ]
