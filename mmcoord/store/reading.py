"""Rows back into records."""

from __future__ import annotations

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

__all__ = ["candidate_record", "match_record", "newest_plan", "photometry_of", "without_bulk"]

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


def candidate_record(row: CandidateRow) -> Candidate:
    """The candidate of a row."""
    return Candidate(
        object_id=row.object_id,
        ra_deg=row.ra_deg,
        dec_deg=row.dec_deg,
        source=row.source,
        position_error_arcsec=row.position_error_arcsec,
        redshift=row.redshift,
        redshift_err=row.redshift_err,
        ebv_mw=row.ebv_mw,
        is_practice=row.is_practice,
        attributes=row.attributes,
    )


def match_record(row: MatchRow) -> Match:
    """The match of a row."""
    return Match(
        event_id=row.event_id,
        localization_id=row.localization_id,
        object_id=row.object_id,
        prob_density_sr=row.prob_density_sr,
        credible_level_2d=row.credible_level_2d,
        prob_density_mpc3=row.prob_density_mpc3,
        credible_level_3d=row.credible_level_3d,
        distance_mean_mpc=row.distance_mean_mpc,
        distance_std_mpc=row.distance_std_mpc,
        time_offset_day=row.time_offset_day,
    )
