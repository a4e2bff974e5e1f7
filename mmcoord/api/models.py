"""Response models of the API: what is published, and nothing else.

Lines of :mod:`mmcoord.store.views` are models themselves; here is what wraps them.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from mmcoord.records import PlanTile
from mmcoord.store.alarms import AlarmLine
from mmcoord.store.finding import CircularLine, LinkLine, NameLine
from mmcoord.store.views import AlertLine, EventLine, Place, PlanLine
from mmcoord.store.views_known import KnownLine
from mmcoord.store.views_log import (
    DeadLetter,
    Entry,
    LedgerLine,
    Milestone,
    ObjectLine,
    ObjectMatch,
    Point,
    RunLine,
)
from mmcoord.store.views_notices import NoticeLine

__all__ = [
    "Error",
    "EventDetail",
    "Health",
    "Ledger",
    "NoticeDetail",
    "ObjectDetail",
    "Page",
    "Plan",
    "Story",
]

Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """A slice of a list."""

    items: list[Item]
    total: int
    limit: int
    offset: int


class Error(BaseModel):
    """What went wrong."""

    detail: str


class Health(BaseModel):
    """Whether the house is in order."""

    status: Literal["ok", "degraded"]
    ledger_balanced: bool | None
    """None: the store could not be asked."""
    sources: list[dict[str, Any]]
    version: str
    reasons: list[str]
    """Why the status is not ok."""
    alarms: list[AlarmLine]
    """Those that stand."""


class EventDetail(BaseModel):
    """An event with its map and the alerts that made it."""

    event: EventLine
    localization: Place | None
    revisions: list[AlertLine]
    names: list[NameLine]
    """Every name that finds it, with who told it."""
    linked: list[LinkLine]
    """Other events that belong with it, and why."""
    circulars: list[CircularLine]
    """GCN circulars that name it, the newest first."""


class Plan(BaseModel):
    """One revision of a plan; rows are as the planner wrote them."""

    event_id: str
    plan: PlanLine | None
    rows: list[dict[str, Any]]
    """By rank; ``looks`` of a row are further observations of its target."""
    tiles: list[PlanTile]
    """Fields of wide cameras, in order of time."""


class Story(BaseModel):
    """What happened to an event: by kind, and entry by entry, the newest first."""

    event_id: str
    milestones: list[Milestone]
    entries: list[Entry]


class ObjectDetail(BaseModel):
    """An object with its photometry, matches, inferences and catalogue entries."""

    object: ObjectLine | None
    """None: photometry came before the candidate itself."""
    photometry: list[Point]
    matches: list[ObjectMatch]
    runs: list[RunLine]
    known: list[KnownLine]
    """What catalogues of transients (TNS, YSE-PZ) say of it."""


class NoticeDetail(BaseModel):
    """A notice and what became of it; its bytes are at ``/raw``."""

    notice: NoticeLine
    dead_letters: list[DeadLetter]
    event_ids: list[str]
    """Events of which it is an alert, first or repeated."""


class Ledger(BaseModel):
    """received = processed + dead + pending + lost, per stage."""

    balanced: bool
    stages: list[LedgerLine]
