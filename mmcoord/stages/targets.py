"""What the store knows of an event's candidates, as the planner wants it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from followup.evidence import Prediction, TargetEvidence, gather
from mmcoord.inference.outlook import predictions
from mmcoord.inference.screening import ScreenRequest
from mmcoord.kept import Kept
from mmcoord.predictions import ClassPredictions
from mmcoord.records import Candidate, Match, Photometry
from mmcoord.stages.classes import PREDICTED_BANDS, classes_of
from mmcoord.stages.context import Context
from mmcoord.stages.question import screen_request
from mmcoord.store import claims, crossid
from mmcoord.store.crossid import Place
from mmcoord.store.reading import matched, photometry_of, without_bulk
from mmcoord.store.tables import EventRow, RunRow, ScreeningRow
from mmcoord.store.views_runs import newest_words
from mmcoord.timescales import mjd_tai

__all__ = ["targets_of"]

_CLOCK_SLACK = timedelta(seconds=1)
"""A point may be stamped a little later than the message that brought it."""
_AHEAD_DAY = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0])
_waiting: Kept[dict[str, Prediction] | None] = Kept(512)
"""Predictions of candidates that wait for their runs, 15 kB each."""


def targets_of(
    ctx: Context, session: Session, event: EventRow, known_until: datetime, planned_for: datetime
) -> list[TargetEvidence]:
    """The candidates that match the event's map, with what was known at ``known_until``.

    Predictions begin at ``planned_for``, so that they are the same for all plans of one instant.
    """
    pairs = matched(session, event.event_id, event.localization_id or "")
    photometry = photometry_of(session, [match.object_id for match, _ in pairs])
    screenings = _screenings(session, event.event_id)
    runs = _newest_runs(session, event.event_id)
    known = crossid.known_as(
        session, [Place(row.object_id, row.ra_deg, row.dec_deg) for _, row in pairs]
    )
    claimed = claims.claims_of(session, event.event_id)
    until, begin = mjd_tai(known_until + _CLOCK_SLACK), mjd_tai(planned_for)
    targets = []
    for match, candidate in pairs:
        screening, result = screenings.get(match.object_id), runs.get(match.object_id)
        points = [p for p in photometry.get(match.object_id, ()) if p.obs_mjd_tai <= until]
        request = _request(event, match, candidate, points, screening)
        targets.append(
            gather(
                candidate,
                match,
                points,
                event_time=event.event_time,
                p_kilonova=_p_kilonova(screening, result),
                p_kilonova_origin=(
                    "inference" if result is not None else "screen" if screening else None
                ),
                run_key=result.run_key if result is not None else None,
                predicted=(
                    _predicted(result.light_curve)
                    if result is not None
                    else _from_screen(request, begin)
                ),
                classes=(
                    _Classes(request, begin, result, ctx.settings.infer.base_rate)
                    if request is not None
                    else None
                ),
                known=[one.entry for one in known.get(match.object_id, ())],
                claims=claimed.get(match.object_id, ()),
            )
        )
    return targets


class _Screened(NamedTuple):
    p_kilonova: float | None
    run_key: str | None
    """None: not worth a run."""


def _screenings(session: Session, event_id: str) -> dict[str, _Screened]:
    rows = session.execute(
        select(
            col(ScreeningRow.object_id), col(ScreeningRow.p_kilonova), col(ScreeningRow.run_key)
        ).where(col(ScreeningRow.event_id) == event_id)
    )
    return {object_id: _Screened(p, run_key) for object_id, p, run_key in rows}


def _newest_runs(session: Session, event_id: str) -> dict[str, RunRow]:
    """Per object the run that speaks of it."""
    keys = [word.run_key for word in newest_words(session, event_id).values()]
    rows = session.execute(
        select(RunRow).options(*without_bulk()).where(col(RunRow.run_key).in_(keys))
    ).scalars()
    return {row.object_id: row for row in rows}


def _p_kilonova(screening: _Screened | None, result: RunRow | None) -> float | None:
    if result is not None:
        value = result.summary.get("p_kilonova")
        return float(value) if value is not None else None
    return screening.p_kilonova if screening else None


def _predicted(light_curve: Mapping[str, Any]) -> dict[str, Prediction]:
    """The engine's predictions; its None ("fainter than it says") is the planner's too."""
    return {
        band: Prediction(curve["mjd_tai"], curve["q05"], curve["q50"], curve["q95"])
        for band, curve in light_curve.items()
    }


def _request(
    event: EventRow,
    match: Match,
    candidate: Candidate,
    points: Sequence[Photometry],
    screening: _Screened | None,
) -> ScreenRequest | None:
    """What the bank is asked of a candidate that is worth a run; None for the others."""
    if screening is None or screening.run_key is None or event.event_time is None:
        return None
    return screen_request(candidate, match, points, mjd_tai(event.event_time))


@dataclass(frozen=True, slots=True)
class _Classes:
    """Says what each class would show of a candidate."""

    request: ScreenRequest
    begin_mjd_tai: float
    result: RunRow | None
    base_rate: float

    @property
    def key(self) -> Hashable:
        """A finished run is known by what is written when it ends."""
        run = (self.result.run_key, self.result.finished_at) if self.result is not None else None
        return (self.request, self.begin_mjd_tai, run, self.base_rate)

    def __call__(self) -> ClassPredictions | None:
        return classes_of(self.request, self.begin_mjd_tai, self.result, self.base_rate)


def _from_screen(request: ScreenRequest | None, begin: float) -> dict[str, Prediction] | None:
    """The bank's predictions for a candidate that waits for its run."""
    if request is None:
        return None

    def made() -> dict[str, Prediction] | None:
        return _predicted(predictions(request, PREDICTED_BANDS, begin + _AHEAD_DAY)) or None

    return _waiting.get((request, begin), made)
