"""Runs for workers that come over HTTPS: lease, heartbeat, result, failure, giving back.

A worker needs no inbound port: it asks for a run and the answer waits until there is one. It is
given the job and nothing else, of public runs and of its own group's; every later call names the
lease, which only the token that took it can use. What it brings is checked
(:mod:`mmcoord.stages.answers`) and counted at no more than its cores over the time of its lease.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from mmcoord import leases, runs
from mmcoord.access import Scope
from mmcoord.api.auth import Caller, allowed
from mmcoord.api.models import Error
from mmcoord.api.service import Service, ServiceDep
from mmcoord.stages import outcome
from mmcoord.stages.answers import BadAnswer, result_from_json
from mmcoord.stages.jobs import job_from_json
from mmcoord.store.tables import RunRow
from mmcoord.store.tables_attempts import RunAttemptRow

__all__ = ["BODY_LIMITS", "router"]

router = APIRouter(
    prefix="/api/v1/worker",
    tags=["worker"],
    responses={401: {"model": Error}, 403: {"model": Error}, 409: {"model": Error}},
)

BODY_LIMITS = {"/api/v1/worker/result": 16 * 2**20}
_LOOK_S = 0.5
_MAX_WAIT_S = 25.0
"""Proxies give up a connection on which nothing came for half a minute or more."""
_MAX_CORES = 64
Worker = Annotated[Caller, Depends(allowed(Scope.WORKER))]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LeaseRequest(_Strict):
    """Who asks, and how long the answer may wait."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """Of the worker, for people."""
    cores: int = Field(1, ge=1, le=_MAX_CORES)
    """That it has for the run."""
    wait_s: float = Field(0.0, ge=0.0, le=_MAX_WAIT_S)


class Lease(BaseModel):
    """A run to be done."""

    run_key: str
    lease: str
    lease_s: float
    """It is taken away unless it is renewed within this time."""
    job: dict[str, Any]


class Held(_Strict):
    """A lease that the caller has."""

    run_key: str = Field(pattern=r"^[0-9a-f]{64}$")
    lease: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64} [0-9a-f]{32}$")


class Brought(Held):
    """A result: ``docs/api.md`` has its shape."""

    cpu_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    summary: dict[str, Any]
    light_curve: dict[str, Any]
    samples: str
    """``npz`` in base64."""
    proposals: list[dict[str, Any]] = []
    """What the next run on more data may begin with; workers of before bring none."""


class Failed(Held):
    """Why there is no result."""

    reason: str = Field(max_length=2000)


class Renewed(BaseModel):
    """Whether the run is still the caller's."""

    held: bool


class Accepted(BaseModel):
    """What became of a result."""

    accepted: bool
    """False: another has brought it first."""


@router.post("/lease", responses={200: {"model": Lease}, 204: {"description": "no run waits"}})
async def lease(service: ServiceDep, who: Worker, asked: LeaseRequest, request: Request) -> Any:
    """Take a run; waits up to ``wait_s`` for one."""
    begun = time.monotonic()
    while True:
        if not await request.is_disconnected():
            found = await asyncio.to_thread(_take, service, who, asked)
            if found is not None:
                return found
        if time.monotonic() - begun + _LOOK_S > asked.wait_s:
            return Response(status_code=204)
        await asyncio.sleep(_LOOK_S)


@router.post("/renew")
def renew(service: ServiceDep, who: Worker, held: Held) -> Renewed:
    """The heartbeat: keep the run."""
    lease_s = service.settings.infer.lease_s
    with service.database.write() as session:
        kept = leases.renew(
            session, _owner(who, held.lease), [held.run_key], service.now(), lease_s
        )
    return Renewed(held=bool(kept))


@router.post("/result", responses={422: {"model": Error}})
def result(service: ServiceDep, who: Worker, brought: Brought) -> Accepted:
    """Bring a result. The first that comes for a run is the run's, even when its lease has
    expired in the meantime."""
    owner, now = _owner(who, brought.lease), service.now()
    with service.database.read() as session:
        attempt = _attempt(session, brought.run_key, owner)
        row = session.get_one(RunRow, brought.run_key)
        job = job_from_json(row.job)
    try:
        answer = result_from_json(brought.model_dump(), brought.run_key, job)
    except BadAnswer as error:
        with service.database.write() as session:
            _fail(session, service, brought.run_key, owner, f"BadAnswer: {error}")
        raise HTTPException(422, str(error)) from None
    cpu_s = min(brought.cpu_s, _most_cpu_s(attempt, now))
    with service.database.write() as session:
        found = leases.lock_run(session, brought.run_key)
        assert found is not None
        first = outcome.complete(
            session, found, owner, answer, cpu_s, now, service.settings, service.tell
        )
    service.wake()
    return Accepted(accepted=first)


@router.post("/failed", status_code=204)
def failed(service: ServiceDep, who: Worker, told: Failed) -> None:
    """Say that a run gave no result. It is tried again elsewhere a few times."""
    reason = " ".join("".join(c if c.isprintable() else " " for c in told.reason).split())
    with service.database.write() as session:
        _attempt(session, told.run_key, _owner(who, told.lease))
        _fail(session, service, told.run_key, _owner(who, told.lease), reason)
    service.wake()


@router.post("/return", status_code=204)
def give_back(service: ServiceDep, who: Worker, held: Held) -> None:
    """Give a run back undone; says nothing against it."""
    owner = _owner(who, held.lease)
    with service.database.write() as session:
        _attempt(session, held.run_key, owner)
        row = leases.lock_run(session, held.run_key)
        if row is not None and leases.holds(row, owner):
            leases.give_back(session, [row], service.now(), "given back")
    service.wake()


def _take(service: Service, who: Caller, asked: LeaseRequest) -> Lease | None:
    """A lease, or None; looks before it writes."""
    partitions = (runs.PUBLIC, who.group)
    now = service.now()
    with service.read() as session:
        late = leases.is_late(session, now)
        if not late and not leases.is_waiting(session, partitions):
            return None
    mine = f"{asked.name} {uuid.uuid4().hex}"
    lease_s = service.settings.infer.lease_s
    with service.database.write() as session:
        if late:
            outcome.take_over_expired(session, now, service.settings)
        rows = leases.take(
            session,
            _owner(who, mine),
            now,
            lease_s,
            1,
            cores=asked.cores,
            partitions=partitions,
        )
        if not rows:
            return None
        return Lease(run_key=rows[0].run_key, lease=mine, lease_s=lease_s, job=rows[0].job)


def _owner(who: Caller, lease: str) -> str:
    """The token is part of the owner's name: nobody else can use the lease."""
    return f"worker {who.token_id} {lease}"


def _attempt(session: Session, run_key: str, owner: str) -> RunAttemptRow:
    """The lease that the caller speaks of. One that never was, and a run that is not there or is
    another's, are told apart by nothing."""
    found = leases.attempt_of(session, run_key, owner)
    if found is None:
        raise HTTPException(409, "this lease is not yours")
    return found


def _fail(session: Session, service: Service, run_key: str, owner: str, reason: str) -> None:
    row = leases.lock_run(session, run_key)
    assert row is not None
    name = owner.split(" ")[2]
    told = f"worker {name}: {reason}"
    outcome.fail(session, row, owner, told, service.now(), service.settings)


def _most_cpu_s(attempt: RunAttemptRow, now: datetime) -> float:
    return max((now - attempt.taken_at).total_seconds(), 0.0) * attempt.cores
