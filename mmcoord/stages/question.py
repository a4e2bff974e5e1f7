"""The question that a candidate puts as a possible counterpart: from stored rows to a job.

Read by the stage (infer.py) for the pipeline and by the API for people.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord import usermodels
from mmcoord.config import InferSettings
from mmcoord.errors import BadInput, UnknownRecord
from mmcoord.inference.classes import BASE_RATE, class_priors
from mmcoord.inference.job import DEFAULT_CLASS_PRIORS, DistancePrior, Job
from mmcoord.inference.job import select as select_points
from mmcoord.inference.models.base import Parameter
from mmcoord.inference.models.informed import alert_priors, within_reach
from mmcoord.inference.screening import ScreenRequest
from mmcoord.inference.source import UserSource
from mmcoord.records import Candidate, EventState, Match, Photometry
from mmcoord.stages.known import fill_redshifts
from mmcoord.store.reading import photometry_of
from mmcoord.store.tables import AlertRow, CandidateRow, EventRow, MatchRow
from mmcoord.timescales import mjd_tai

__all__ = [
    "Pair",
    "Question",
    "configured",
    "distance_prior",
    "job_of",
    "load_pairs",
    "pair_job",
    "question_of",
    "screen_request",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pair:
    """A candidate as a possible counterpart, with what is needed to judge it."""

    event: EventRow
    match: MatchRow
    candidate: CandidateRow
    photometry: tuple[Photometry, ...]
    alert_extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the event's current alert that no column holds (``mchirp_source``)."""

    @property
    def t0_mjd_tai(self) -> float:
        assert self.event.event_time is not None
        return mjd_tai(self.event.event_time)


@dataclass(frozen=True, slots=True)
class Question:
    """Which models are asked, beside what a pair itself says."""

    models: tuple[str, ...] = ("all",)
    seed: int = 1
    user_models: tuple[UserSource, ...] = ()
    """Models from others that ``models`` names."""
    class_priors: tuple[tuple[str, float], ...] = DEFAULT_CLASS_PRIORS


def job_of(pair: Pair, question: Question) -> Job:
    """The question that a pair puts."""
    priors = _priors(pair, question.models)
    return Job(
        photometry=select_points(pair.photometry, pair.t0_mjd_tai),
        t0_mjd_tai=pair.t0_mjd_tai,
        distance=distance_prior(pair),
        redshift=pair.candidate.redshift,
        ebv_mw=pair.candidate.ebv_mw,
        models=within_reach(question.models, priors),
        seed=question.seed,
        priors=priors,
        user_models=question.user_models,
        class_priors=question.class_priors,
    )


def question_of(
    session: Session, models: Sequence[str], seed: int, base_rate: float = BASE_RATE
) -> Question:
    """Models by the names that people write (``all``, ``villar17_2``, ``name@3``), and P(kilonova)
    before looking.

    Raises
    ------
    BadModel, UnknownRecord
        A model from others that is not there, or not accepted.
    """
    names, sources = usermodels.asked(session, models)
    return Question(names, seed, sources, class_priors(base_rate))


def configured(session: Session, settings: InferSettings) -> Question:
    """What the configuration asks for. A model that was withdrawn since must not stop the
    stage: then all of ours are asked, and the log says so."""
    try:
        names = settings.models.split(",")
        return question_of(session, names, settings.seed, settings.base_rate)
    except (BadInput, UnknownRecord) as error:
        _log.error("infer.models: %s; all installed models are used", error)
        return Question(seed=settings.seed, class_priors=class_priors(settings.base_rate))


def pair_job(session: Session, event_id: str, object_id: str, question: Question) -> Job:
    """The job of a stored pair, as the stage itself would ask it.

    Raises
    ------
    UnknownRecord
        No such pair: the event is not active, or the candidate is not matched to its map.
    """
    pair = load_pairs(session, {"asked": (event_id, object_id)}).get("asked")
    if pair is None:
        raise UnknownRecord(f"{object_id!r} is not matched to an active event {event_id!r}")
    return job_of(pair, question)


def screen_request(
    candidate: Candidate | CandidateRow,
    match: Match | MatchRow,
    photometry: Sequence[Photometry],
    t0_mjd_tai: float,
) -> ScreenRequest:
    """What the quick look is told of a candidate."""
    return ScreenRequest(
        tuple(photometry),
        t0_mjd_tai,
        match.distance_mean_mpc,
        match.distance_std_mpc,
        candidate.ebv_mw,
        candidate.redshift,
        candidate.redshift_err,
    )


def _priors(pair: Pair, models: tuple[str, ...]) -> tuple[Parameter, ...]:
    """What the alert says of the binary; an alert that says it wrongly says nothing."""
    try:
        return alert_priors(pair.alert_extra, models)
    except BadInput as error:
        _log.warning("event %s: %s", pair.event.event_id, error)
        return ()


def distance_prior(pair: Pair) -> DistancePrior:
    """A redshift of its own before the map's line of sight before nothing."""
    redshift = pair.candidate.redshift
    if redshift is not None and redshift > 0:
        return DistancePrior.from_redshift(redshift, pair.candidate.redshift_err)
    mean, std = pair.match.distance_mean_mpc, pair.match.distance_std_mpc
    if mean is not None and std is not None and mean > 0 and std > 0:
        return DistancePrior("gaussian", mean, std)
    return DistancePrior.unknown()


def load_pairs(session: Session, wanted: Mapping[str, tuple[str, str]]) -> dict[str, Pair]:
    """Of key -> (event id, object id) the pairs that still exist: event active and timed,
    candidate matched to its map."""
    events = {
        event.event_id: event
        for event in session.execute(
            select(EventRow).where(
                col(EventRow.event_id).in_({event_id for event_id, _ in wanted.values()}),
                col(EventRow.state) == EventState.ACTIVE.value,
                col(EventRow.event_time).is_not(None),
            )
        ).scalars()
    }
    objects = {object_id for _, object_id in wanted.values()}
    candidates = {
        row.object_id: row
        for row in session.execute(
            select(CandidateRow).where(col(CandidateRow.object_id).in_(objects))
        ).scalars()
    }
    fill_redshifts(session, list(candidates.values()))
    matches = {
        (row.event_id, row.localization_id, row.object_id): row
        for row in session.execute(
            select(MatchRow).where(col(MatchRow.object_id).in_(objects))
        ).scalars()
    }
    photometry = photometry_of(session, objects)
    extras = {
        row.id: row.extra
        for row in session.execute(
            select(col(AlertRow.id), col(AlertRow.extra)).where(
                col(AlertRow.id).in_({e.current_alert_id or 0 for e in events.values()})
            )
        )
    }
    pairs = {}
    for key, (event_id, object_id) in wanted.items():
        event, candidate = events.get(event_id), candidates.get(object_id)
        if event is None or candidate is None:
            continue
        match = matches.get((event_id, event.localization_id or "", object_id))
        if match is not None:
            extra = extras.get(event.current_alert_id or 0, {})
            pairs[key] = Pair(event, match, candidate, photometry.get(object_id, ()), extra)
    return pairs
