"""Tiles of an event's map for its plan: whether any are sought, of what, and what is covered.

The grids of fields over a map do not change, so that they are made once for each map and set of
cameras; what others and we ourselves have covered since is taken off at each plan. What the fields
are worth is kept as well: plans are made again and again for one instant (a posterior, a claim),
and then it is the same but for what the candidates leave unfound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

import skymaps
from followup.claims import ClaimState, ClaimWorth
from followup.evidence import Prediction
from followup.factors import RankSettings
from followup.search import Search, SearchSettings, covered_by_others, search, wide
from followup.sites import Instrument
from followup.slate import Slate
from followup.tiling import Covered, Fields, lay_fields, tiles_of
from followup.tonight import night_from
from mmcoord.config import PlanSettings
from mmcoord.elsewhere import Elsewhere
from mmcoord.inference.outlook import unseen
from mmcoord.kept import Kept
from mmcoord.stages.classes import PREDICTED_BANDS
from mmcoord.store import claims
from mmcoord.store.tables import EventRow, LocalizationRow
from mmcoord.store.tiles import asked_before
from mmcoord.timescales import mjd_tai

__all__ = ["Sought", "seek"]

_AHEAD_DAY = np.array([0.001, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0])
"""After the event: also when others have looked already."""
_MAX_PIXELS = 60_000
"""Of a map of 1000 deg2 they are 0.13 deg wide."""
_KEEP = 64
_KEEP_BYTES = 16_000_000
"""Of grids, and of searches: thirty events take turns without one being made again. A grid is
0.4 MB for 58 deg2 and 2.8 MB for 400; a search of 20 fields of six cameras is 0.5 MB."""

_grids: Kept[Fields] = Kept(_KEEP, most_bytes=_KEEP_BYTES, n_bytes=lambda made: made.n_bytes)
_searches: Kept[Search] = Kept(_KEEP, most_bytes=_KEEP_BYTES, n_bytes=lambda made: made.n_bytes)


@dataclass(frozen=True, slots=True)
class Sought:
    """Fields for the schedule, or why there are none."""

    found: Search | None
    sentence: str


def seek(
    session: Session,
    event: EventRow,
    planned_for: datetime,
    instruments: Sequence[Instrument],
    slate: Slate,
    elsewhere: Sequence[Elsewhere],
    wanted: PlanSettings,
    ranking: RankSettings,
) -> Sought:
    """The fields of wide cameras that a plan of ``event`` may ask for."""
    settings = SearchSettings()
    numbers = wide(instruments, wanted.tile_field_deg2)
    place = session.execute(
        select(
            col(LocalizationRow.area_90_deg2),
            col(LocalizationRow.distance_mpc),
            col(LocalizationRow.distance_std_mpc),
        ).where(col(LocalizationRow.id) == event.localization_id)
    ).one_or_none()
    why_not = _why_not(
        event, planned_for, place.area_90_deg2 if place else None, len(numbers), slate.unfound,
        wanted, settings,
    )  # fmt: skip
    if why_not:
        return Sought(None, f"No tiles: {why_not}.")
    assert event.event_time is not None
    assert event.localization_id is not None
    assert place is not None
    t0 = mjd_tai(event.event_time)
    predicted = _counterpart(t0, place.distance_mpc, place.distance_std_mpc)
    covered = covered_by_others(elsewhere, predicted, t0, ranking)
    covered += _covered_by_us(session, event.event_id, ranking.claims)
    cameras = tuple(instruments[n] for n in numbers)
    of_map = (event.localization_id, cameras)
    brightness = (event.event_time, place.distance_mpc, place.distance_std_mpc)

    def worth() -> Search:
        localization = event.localization_id or ""
        fields = _grids.get(of_map, lambda: _fields(session, localization, cameras))
        tiling = tiles_of(fields, covered=covered, least=settings.least, most=wanted.tiles)
        night = night_from(planned_for, ranking)
        return search(tiling, numbers, tuple(instruments), night, predicted, ranking, settings)

    key = (*of_map, tuple(instruments), planned_for, brightness, covered, wanted.tiles)
    found = _searches.get(key, worth).given(slate.unfound)
    if not any(sheet.worth.any() for sheet in found.sheets.values()):
        why = "every field is covered or out of reach of the wide cameras in the coming day"
        return Sought(None, f"No tiles: {why}.")
    names = ", ".join(camera.id for camera in cameras)
    return Sought(found, f"Tiles of {names} compete with the targets.")


def _why_not(
    event: EventRow,
    planned_for: datetime,
    area_deg2: float | None,
    n_cameras: int,
    unfound: float,
    wanted: PlanSettings,
    settings: SearchSettings,
) -> str:
    """Why no tile is sought; empty when some are. Pure."""
    if wanted.tiles == 0:
        return "they are switched off (plan.tiles)"
    if not n_cameras:
        return f"no instrument asked has a field of {wanted.tile_field_deg2:g} deg2 or more"
    if area_deg2 is None:
        return "the event has no map"
    if area_deg2 < wanted.tile_field_deg2:
        return f"the map is smaller than a field: {area_deg2:.2g} deg2 (90 %)"
    if event.event_time is None:
        return "the event has no time, so that nothing says how bright a counterpart would be"
    if planned_for - event.event_time > timedelta(hours=wanted.tile_hours):
        return f"the event is older than {wanted.tile_hours:g} h"
    if unfound < settings.least_unfound:
        return "a candidate is the counterpart all but for certain"
    return ""


def _counterpart(
    t0: float, distance_mpc: float | None, distance_std_mpc: float | None
) -> Mapping[str, Prediction]:
    """The event's kilonova as it would be seen, before anything is; empty without a distance."""
    if not distance_mpc or not distance_std_mpc:
        return {}
    curves: Mapping[str, Mapping[str, Any]] = unseen(
        t0, distance_mpc, distance_std_mpc, PREDICTED_BANDS, t0 + _AHEAD_DAY
    )
    return {
        band: Prediction(c["mjd_tai"], c["q05"], c["q50"], c["q95"]) for band, c in curves.items()
    }


def _fields(session: Session, localization_id: str, cameras: Sequence[Instrument]) -> Fields:
    row = session.get(LocalizationRow, localization_id)
    assert row is not None
    return lay_fields(skymaps.load(row.fits), cameras, max_pixels=_MAX_PIXELS)


def _covered_by_us(session: Session, event_id: str, worth: ClaimWorth) -> tuple[Covered, ...]:
    """Tiles that our own groups have claimed or observed."""
    said = claims.claims_of(session, event_id)
    made = {
        ClaimState.CLAIMED: worth.p_claimed,
        ClaimState.STARTED: worth.p_started,
        ClaimState.COMPLETED: 1.0,
    }
    found = []
    for tile in asked_before(session, event_id, said):
        left = [1.0 - made.get(claim.state, 0.0) * tile.reach for claim in said[tile.tile_id]]
        chance = 1.0 - math.prod(left)
        found.append(Covered(tile.ra_deg, tile.dec_deg, tile.field_deg2, chance))
    return tuple(found)
