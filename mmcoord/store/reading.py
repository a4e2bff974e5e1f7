"""Rows back into records."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session, defer
from sqlalchemy.sql.base import ExecutableOption
from sqlmodel import col

from mmcoord.records import Candidate, Match, Photometry
from mmcoord.store.tables import (
    CandidateRow,
    DetectionRow,
    MatchRow,
    PlanRevisionRow,
    RunRow,
)

__all__ = ["matched", "newest_plan", "photometry_of", "without_bulk"]

_CHUNK = 2000


def newest_plan(session: Session, event_id: str) -> PlanRevisionRow | None:
    """The latest plan revision of an event; None before the first."""
    return session.execute(
        select(PlanRevisionRow)
        .where(col(PlanRevisionRow.event_id) == event_id)
        .order_by(col(PlanRevisionRow.revision).desc())
        .limit(1)
    ).scalar_one_or_none()


def without_bulk() -> tuple[ExecutableOption, ...]:
    """Options for runs of which neither the samples nor the job are wanted."""
    samples, job = cast(Any, RunRow.samples), cast(Any, RunRow.job)
    return (defer(samples), defer(job))


def photometry_of(
    session: Session, object_ids: Collection[str]
) -> dict[str, tuple[Photometry, ...]]:
    """All points of the objects that stand, in time order; an object without any is left out."""
    found: dict[str, list[Photometry]] = defaultdict(list)
    ordered = sorted(object_ids)
    for start in range(0, len(ordered), _CHUNK):
        rows = session.execute(
            select(
                col(DetectionRow.object_id),
                col(DetectionRow.obs_mjd_tai),
                col(DetectionRow.band),
                col(DetectionRow.mag_ab),
                col(DetectionRow.mag_err),
                col(DetectionRow.is_limit),
            )
            .where(
                col(DetectionRow.object_id).in_(ordered[start : start + _CHUNK]),
                col(DetectionRow.is_current),
            )
            .order_by(
                col(DetectionRow.object_id),
                col(DetectionRow.obs_mjd_tai),
                col(DetectionRow.point_key),
            )
        )
        for row in rows:
            found[row[0]].append(Photometry(*row))
    return {object_id: tuple(points) for object_id, points in found.items()}


def matched(session: Session, event_id: str, localization_id: str) -> list[tuple[Match, Candidate]]:
    """The candidates that match a map of an event, by ``object_id``; without their attributes.

    Columns and no rows of the mapper: there are thousands of them in every plan.
    """
    of_match = [getattr(MatchRow, name) for name in _MATCH]
    of_candidate = [getattr(CandidateRow, name) for name in _CANDIDATE]
    found = session.execute(
        select(*of_match, *of_candidate)
        .join(CandidateRow, col(CandidateRow.object_id) == col(MatchRow.object_id))
        .where(col(MatchRow.event_id) == event_id, col(MatchRow.localization_id) == localization_id)
        .order_by(col(MatchRow.object_id))
    )
    n = len(_MATCH)
    return [
        (
            Match(**dict(zip(_MATCH, row[:n], strict=True))),
            Candidate(**dict(zip(_CANDIDATE, row[n:], strict=True))),
        )
        for row in found
    ]


_MATCH = tuple(field.name for field in dataclasses.fields(Match))
_CANDIDATE = tuple(
    field.name for field in dataclasses.fields(Candidate) if field.name != "attributes"
)
