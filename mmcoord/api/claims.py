"""Claims over HTTP: a group says what it observes, starts, has done, or leaves to others.

A request with the header ``Idempotency-Key`` may be sent again at any time: the same key is
the same act. What cannot be said now (a start of what another request completed) is a 409.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from followup.claims import SkipReason, Verb
from mmcoord.access import Scope
from mmcoord.api.auth import Caller, allowed
from mmcoord.api.models import Error
from mmcoord.api.service import ServiceDep
from mmcoord.errors import Refused
from mmcoord.store import claims, finding
from mmcoord.store.claims import Act
from mmcoord.store.tables_claims import ClaimRow

__all__ = ["ClaimAnswer", "ClaimLine", "ClaimRequest", "router"]

router = APIRouter(
    prefix="/api/v1",
    tags=["claims"],
    responses={n: {"model": Error} for n in (401, 403, 404, 409)},
)

_MAX_NAME = 256
Claimer = Annotated[Caller, Depends(allowed(Scope.CLAIM))]


class ClaimRequest(BaseModel):
    """What is said of one target of one event."""

    model_config = ConfigDict(extra="forbid")

    event_id: str = Field(max_length=_MAX_NAME)
    """Any name of the event."""
    object_id: str = Field(max_length=_MAX_NAME)
    verb: Verb
    instrument: str | None = Field(None, max_length=80)
    band: str | None = Field(None, max_length=40)
    hours: Annotated[float, Field(gt=0, le=1000)] | None = None
    """How long the claim shall stand."""
    reason: SkipReason | None = None
    """Why it is declined."""
    note: str = Field("", max_length=1000)


class ClaimLine(BaseModel):
    """One claim as it stands."""

    id: int
    event_id: str
    object_id: str
    group: str
    state: str
    instrument: str | None
    band: str | None
    reason: str | None
    note: str
    via: str
    created_at: datetime
    changed_at: datetime
    expires_at: datetime | None

    @classmethod
    def of(cls, row: ClaimRow) -> ClaimLine:
        """From the store's row."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class ClaimAnswer(BaseModel):
    """The claim, and what others have standing or done on the same target."""

    claim: ClaimLine
    others: list[ClaimLine]


@router.post("/claims")
def say(
    service: ServiceDep,
    who: Claimer,
    body: ClaimRequest,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> ClaimAnswer:
    """Claim, start, complete, release or decline a target."""
    said = Act(
        verb=body.verb,
        event=body.event_id,
        object_id=body.object_id,
        group=who.group,
        via="api",
        instrument=body.instrument,
        band=body.band,
        hours=body.hours,
        reason=body.reason,
        note=body.note,
        key=idempotency_key,
    )
    try:
        with service.database.write() as session:
            row = claims.act(session, said, service.now(), service.settings.claims)
            others = [ClaimLine.of(other) for other in claims.others(session, row)]
            answer = ClaimAnswer(claim=ClaimLine.of(row), others=others)
    except Refused as error:
        raise HTTPException(409, str(error)) from error
    service.wake()
    return answer


@router.get("/claims")
def claims_of_event(
    service: ServiceDep, event_id: Annotated[str, Field(max_length=_MAX_NAME)]
) -> list[ClaimLine]:
    """All claims on the targets of an event, the oldest first."""
    with service.read() as session:
        found = claims.of_event(session, finding.one(session, event_id))
        return [ClaimLine.of(row) for row in found]
