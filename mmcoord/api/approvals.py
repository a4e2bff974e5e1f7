"""What waits for a person before it is published, over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from mmcoord.access import Scope
from mmcoord.api.auth import Caller, allowed
from mmcoord.api.models import Error
from mmcoord.api.service import ServiceDep
from mmcoord.store import approvals, finding
from mmcoord.store.tables import DeliveryRow

__all__ = ["ApprovalRequest", "Waiting", "router"]

router = APIRouter(
    prefix="/api/v1",
    tags=["approvals"],
    responses={n: {"model": Error} for n in (401, 403, 404)},
)

Approver = Annotated[Caller, Depends(allowed(Scope.APPROVE))]


class ApprovalRequest(BaseModel):
    """What a person says of an event at a sink."""

    model_config = ConfigDict(extra="forbid")

    event_id: str = Field(max_length=256)
    sink: str = Field(max_length=100)
    decision: Literal["approve", "reject"]
    standing: bool = False
    """Also for later plan revisions."""
    note: str = Field("", max_length=1000)


class Waiting(BaseModel):
    """A message, and what has become of it."""

    key: str
    sink: str
    event_id: str
    plan_revision: int
    target: str
    state: str
    detail: str
    payload: dict[str, Any]
    created_at: datetime

    @classmethod
    def of(cls, row: DeliveryRow) -> Waiting:
        """From the outbox's row."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


@router.get("/approvals")
def waiting(service: ServiceDep, who: Approver) -> list[Waiting]:
    """Messages that wait for a person, with all that they would say."""
    with service.read() as session:
        return [Waiting.of(row) for row in approvals.held(session)]


@router.post("/approvals")
def answer(service: ServiceDep, who: Approver, body: ApprovalRequest) -> list[Waiting]:
    """Let out, or refuse, what waits of an event at a sink."""
    with service.database.write() as session:
        rows = approvals.answer(
            session,
            finding.one(session, body.event_id),
            body.sink,
            body.decision,
            by=who.group,
            now=service.now(),
            is_standing=body.standing,
            note=body.note,
        )
        found = [Waiting.of(row) for row in rows]
    service.wake()
    return found
