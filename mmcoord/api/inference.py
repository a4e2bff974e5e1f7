"""Asking for inferences over HTTP: submit, watch, fetch, and what it cost.

A request names either a public pair (event and candidate), which is the same question that
the pipeline asks and so the same run, or brings photometry of its own. Photometry that is
brought is private to the caller's group unless the caller says otherwise: the run lies in the
group's partition, has a key of its own, and is linked to nothing that is public.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, Header, HTTPException
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat
from sqlalchemy.orm import Session

from mmcoord import runs
from mmcoord.access import Scope
from mmcoord.api.auth import Caller, CallerDep, allowed
from mmcoord.api.caching import etag_of, is_known, kept
from mmcoord.api.models import Error
from mmcoord.api.service import Service, ServiceDep
from mmcoord.api.visible import run_detail, run_head
from mmcoord.bands import canonical
from mmcoord.errors import BadInput, ConfigError, OverQuota, UnknownRecord
from mmcoord.inference.job import DistancePrior, Job, run_key
from mmcoord.records import Photometry
from mmcoord.runs import Requester
from mmcoord.stages.question import Question, pair_job, question_of
from mmcoord.store import access, views_runs
from mmcoord.store.views_log import RunDetail
from mmcoord.store.views_runs import RunHead
from mmcoord.timescales import mjd_tai, utc_mjd_to_tai

__all__ = ["Distance", "Point", "RunRequest", "Submitted", "UsageReport", "router"]

router = APIRouter(
    prefix="/api/v1",
    tags=["inference"],
    responses={404: {"model": Error}, 401: {"model": Error}, 403: {"model": Error}},
)

_MAX_POINTS = 5000
_PING_S = 15.0
_LONGEST_S = 900.0
_RETRY_AFTER_S = 3600
_ENDED = ("done", "failed", "superseded")
Runner = Annotated[Caller, Depends(allowed(Scope.RUN))]
Reader = Annotated[Caller, Depends(allowed(Scope.READ))]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Point(_Strict):
    """One photometric point or limit."""

    mjd: FiniteFloat
    """MJD at the middle of the exposure, UTC."""
    band: str = Field(max_length=40)
    mag: FiniteFloat
    """AB; the limit itself where ``mag_err`` is null."""
    mag_err: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class Distance(_Strict):
    """Luminosity distance."""

    mean_mpc: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    std_mpc: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RunRequest(_Strict):
    """What to infer. Either ``event_id`` and ``object_id``, or ``photometry`` and ``t0``."""

    event_id: str | None = Field(None, max_length=256)
    object_id: str | None = Field(None, max_length=256)
    photometry: list[Point] | None = Field(None, max_length=_MAX_POINTS)
    t0: datetime | None = None
    """Time of the event; without a zone it is UTC."""
    distance: Distance | None = None
    redshift: Annotated[float, Field(gt=0, lt=20)] | None = None
    ebv_mw: Annotated[float, Field(ge=0, lt=100)] | None = None
    models: list[Annotated[str, Field(max_length=80)]] = Field(["all"], min_length=1, max_length=50)
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    private: bool = True
    """Whether photometry that is brought stays with the group. A named pair is public."""


class Submitted(BaseModel):
    """Where the answer will be."""

    run_key: str
    state: str
    how: str
    """``executed``: started for you; ``coalesced``: joined a run; ``cached``: already there."""
    url: str
    summary: dict[str, Any] | None = None
    """The answer, if it is there already; its shape is in docs/inference.md."""


class UsageReport(BaseModel):
    """A group's quota and what is left of it, CPU seconds."""

    group: str
    quota_cpu_s: float
    period_day: float
    charged_cpu_s: float
    waiting: int
    left_cpu_s: float


@router.post("/runs", status_code=202, responses={422: {"model": Error}, 429: {"model": Error}})
def submit(
    service: ServiceDep, who: Runner, request: RunRequest, after: BackgroundTasks
) -> Submitted:
    """Ask for an inference. The same question again is the same run and costs nothing new.

    Where the answer is there, its summary comes at once.
    """
    try:
        job, event_id, object_id = _job(service, who, request)
        key = run_key(job)
        with service.read() as session:
            summary = views_runs.summary_if_done(session, key)
        if summary is not None:
            # Free, so that nobody need wait for it to be written down.
            after.add_task(_note_cached, service, who, key)
            sees = job.partition == runs.PUBLIC or Scope.READ in who.scopes
            return Submitted(
                run_key=key,
                state="done",
                how="cached",
                url=_url(key),
                summary=summary if sees else None,
            )
        with service.database.write() as session:
            group = access.group(session, who.group)
            done = runs.submit(
                session,
                job,
                Requester(who.group, who.token_id, group.priority),
                service.now(),
                event_id=event_id,
                object_id=object_id,
            )
    except OverQuota as error:
        raise HTTPException(429, str(error), headers={"Retry-After": str(_RETRY_AFTER_S)}) from None
    except (BadInput, ConfigError) as error:
        raise HTTPException(422, str(error)) from None
    service.wake()
    return Submitted(run_key=done.run_key, state=done.state, how=done.how, url=_url(done.run_key))


def _url(key: str) -> str:
    return f"/api/v1/runs/{key}"


def _note_cached(service: Service, who: Caller, key: str) -> None:
    with service.database.write() as session:
        runs.note_cached(session, key, Requester(who.group, who.token_id), service.now())


@router.get("/runs/{run_key}", responses={304: {"description": "It stands as it did."}})
def run(
    service: ServiceDep,
    who: CallerDep,
    run_key: str,
    response: Response,
    if_none_match: Annotated[str | None, Header()] = None,
) -> RunDetail:
    """One inference: its state, its summary and the light curve that it predicts."""
    if if_none_match is not None:
        etag = _etag(run_head(service, who, run_key))
        if is_known(if_none_match, etag):
            return kept({"ETag": etag})  # type: ignore[return-value]
    found = run_detail(service, who, run_key)
    response.headers["ETag"] = _etag(found)
    return found


def _etag(run: RunHead | RunDetail) -> str:
    """Whoever asks, and how often, changes the counters alone: not worth another answer."""
    ended = run.finished_at.isoformat() if run.finished_at else ""
    return etag_of(run.run_key, run.state, ended)


@router.get(
    "/runs/{run_key}/events", response_class=StreamingResponse, responses={503: {"model": Error}}
)
async def watch(service: ServiceDep, who: CallerDep, run_key: str) -> StreamingResponse:
    """The run's state as server-sent events, until it has ended."""
    now = await asyncio.to_thread(run_head, service, who, run_key)
    if service.run_watch.full:
        raise HTTPException(503, "too many watch", headers={"Retry-After": "10"})
    return StreamingResponse(
        _states(service, who, run_key, now.state),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.get("/usage")
def usage(service: ServiceDep, who: Reader) -> UsageReport:
    """What the caller's group has used of its quota."""
    with service.read() as session:
        found = runs.usage(session, access.group(session, who.group), service.now())
    return UsageReport(
        group=who.group,
        quota_cpu_s=found.quota_cpu_s,
        period_day=found.period_day,
        charged_cpu_s=round(found.charged_cpu_s, 3),
        waiting=found.waiting,
        left_cpu_s=round(found.left_cpu_s, 3),
    )


async def _states(
    service: Service, who: Caller | None, run_key: str, now: str
) -> AsyncIterator[str]:
    begun = time.monotonic()
    async with aclosing(service.run_watch.states(run_key, now, _PING_S)) as states:
        async for state in states:
            if state is None:
                yield ": still here\n\n"
            else:
                yield await asyncio.to_thread(_state, service, who, run_key, state)
            if state in _ENDED or time.monotonic() - begun > _LONGEST_S:
                return


def _state(service: Service, who: Caller | None, run_key: str, state: str) -> str:
    """The event that tells a state; whether the caller may see it is asked each time."""
    found = (run_detail if state == "done" else run_head)(service, who, run_key)
    summary = found.summary or None if isinstance(found, RunDetail) else None
    data = {"state": state, "error": found.error, "summary": summary}
    return f"event: run\ndata: {json.dumps(data)}\n\n"


def _job(service: Service, who: Caller, request: RunRequest) -> tuple[Job, str, str]:
    """The job, and the public event and object that its run belongs to (or neither)."""
    if request.photometry is None:
        if request.event_id is None or request.object_id is None:
            raise HTTPException(422, "event_id and object_id are needed, or photometry and t0")
        if request.distance or request.redshift or request.ebv_mw or request.t0:
            raise HTTPException(422, "a named pair brings its own time, distance and extinction")
        with service.read() as session:
            question = _question(service, session, request)
            job = pair_job(session, request.event_id, request.object_id, question)
        return job, request.event_id, request.object_id
    if request.t0 is None:
        raise HTTPException(422, "t0 is needed with photometry")
    if request.event_id is not None or request.object_id is not None:
        raise HTTPException(422, "photometry that is brought is linked to no event and no object")
    with service.read() as session:
        question = _question(service, session, request)
    t0 = request.t0 if request.t0.tzinfo else request.t0.replace(tzinfo=UTC)
    job = Job(
        photometry=tuple(_point(point) for point in request.photometry),
        t0_mjd_tai=mjd_tai(t0),
        distance=_distance(request),
        redshift=request.redshift,
        ebv_mw=request.ebv_mw,
        models=question.models,
        seed=question.seed,
        user_models=question.user_models,
        class_priors=question.class_priors,
        partition=who.group if request.private else runs.PUBLIC,
    )
    return job, "", ""


def _question(service: Service, session: Session, request: RunRequest) -> Question:
    base_rate = service.settings.infer.base_rate  # as the house asks: one run serves both
    try:
        return question_of(session, request.models, request.seed, base_rate)
    except UnknownRecord as error:  # of a model, which is no record that the address names
        raise HTTPException(422, str(error)) from None


def _point(point: Point) -> Photometry:
    return Photometry(
        object_id="brought",
        obs_mjd_tai=utc_mjd_to_tai(point.mjd),
        band=canonical(point.band),
        mag_ab=point.mag,
        mag_err=point.mag_err,
        is_limit=point.mag_err is None,
    )


def _distance(request: RunRequest) -> DistancePrior:
    if request.distance is not None:
        return DistancePrior("gaussian", request.distance.mean_mpc, request.distance.std_mpc)
    if request.redshift is not None:
        return DistancePrior.from_redshift(request.redshift)
    return DistancePrior.unknown()
