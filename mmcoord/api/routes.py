"""The JSON API of what everybody may see, read-only, under ``/api/v1``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from mmcoord.api.models import (
    Error,
    EventDetail,
    Ledger,
    NoticeDetail,
    ObjectDetail,
    Page,
    Plan,
    Story,
)
from mmcoord.api.service import ServiceDep
from mmcoord.errors import UnknownRecord
from mmcoord.store import alarms as stored_alarms
from mmcoord.store import (
    finding,
    views,
    views_candidates,
    views_known,
    views_log,
    views_notices,
)
from mmcoord.store.alarms import AlarmLine
from mmcoord.store.tables import AlarmRow, DeadLetterRow, DeliveryRow
from mmcoord.store.tiles import tiles_of
from mmcoord.store.views import EventLine
from mmcoord.store.views_candidates import CandidateLine
from mmcoord.store.views_log import DeadLetter, Delivery
from mmcoord.store.views_notices import NoticeList

__all__ = ["router"]

router = APIRouter(
    prefix="/api/v1", tags=["api"], responses={404: {"model": Error}, 503: {"model": Error}}
)

Limit = Annotated[int, Query(ge=1, le=500, description="at most this many items")]
Offset = Annotated[int, Query(ge=0, le=1_000_000, description="skip this many items")]
_ROW_ID = 2**63 - 1
NoticeId = Annotated[int, Path(ge=1, le=_ROW_ID)]
_POINTS = 20_000


@router.get("/events")
def events(
    service: ServiceDep,
    limit: Limit = 100,
    offset: Offset = 0,
    name: Annotated[
        str | None, Query(max_length=300, description="only events that go by this name")
    ] = None,
) -> Page[EventLine]:
    """Events, the one heard of last first; with ``name`` those that it stands for."""
    with service.read() as session:
        if name is not None:
            ids = finding.find(session, name)
            lines = [line for line in (views.event(session, id) for id in ids) if line]
            page = lines[offset : offset + limit]
            return Page(items=page, total=len(lines), limit=limit, offset=offset)
        found = views.events(session, limit, offset)
        return Page(items=found, total=views.event_total(session), limit=limit, offset=offset)


@router.get("/events/{event_id:path}/plan")
def plan(
    service: ServiceDep,
    event_id: str,
    revision: Annotated[
        int | None, Query(ge=1, le=2**31 - 1, description="the newest by default")
    ] = None,
) -> Plan:
    """A revision of the event's plan."""
    with service.read() as session:
        line = _event(session, event_id)
        wanted = revision if revision is not None else line.plan_revision
        if wanted is None:
            return Plan(event_id=line.event_id, plan=None, rows=[], tiles=[])
        found = views.plan(session, line.event_id, wanted)
        if found is None:
            raise UnknownRecord(f"event {line.event_id!r} has no plan revision {wanted}")
        rows = [target.row for target in views.targets(session, line.event_id, wanted)]
        fields = list(tiles_of(session, line.event_id, wanted))
        return Plan(event_id=line.event_id, plan=found, rows=rows, tiles=fields)


@router.get("/events/{event_id:path}/story")
def story(
    service: ServiceDep,
    event_id: str,
    limit: Limit = 100,
    before: Annotated[
        int | None, Query(ge=1, le=_ROW_ID, description="entries older than this id")
    ] = None,
) -> Story:
    """What happened to the event, the newest first."""
    with service.read() as session:
        line = _event(session, event_id)
        return Story(
            event_id=line.event_id,
            milestones=views_log.milestones(session, line.event_id),
            entries=views_log.story(session, line.event_id, limit, before),
        )


@router.get("/events/{event_id:path}/candidates")
def candidates(
    service: ServiceDep, event_id: str, limit: Limit = 100, offset: Offset = 0
) -> Page[CandidateLine]:
    """Candidates matched with the event's present map: by rank, then by credible level."""
    with service.read() as session:
        line = _event(session, event_id)
        found = views_candidates.candidates(session, line, limit, offset)
        total = views_candidates.candidate_total(session, line)
        return Page(items=found, total=total, limit=limit, offset=offset)


@router.get("/events/{event_id:path}")
def event(service: ServiceDep, event_id: str) -> EventDetail:
    """One event by any of its names: its map, its revisions, circulars that name it."""
    with service.read() as session:
        line = _event(session, event_id)
        return EventDetail(
            event=line,
            localization=views.place(session, line.localization_id),
            revisions=views.alerts(session, line.event_id),
            names=finding.names_of(session, line.event_id),
            linked=finding.linked(session, line.event_id),
            circulars=finding.circulars_of(session, line.event_id),
        )


@router.get("/objects/{object_id:path}")
def object_detail(service: ServiceDep, object_id: str) -> ObjectDetail:
    """One object: its photometry, its matches with events, its inferences.

    A name that a catalogue of transients has for it (``AT2017gfo``) finds it too.
    """
    with service.read() as session:
        object_id = views_known.object_called(session, object_id) or object_id
        line = views_log.object_line(session, object_id)
        points = views_log.photometry(session, object_id, _POINTS)
        if line is None and not points:
            raise UnknownRecord(f"object {object_id!r} is not known")
        return ObjectDetail(
            object=line,
            photometry=points,
            matches=views_log.object_matches(session, object_id),
            runs=views_log.runs(session, 100, object_id=object_id),
            known=views_known.known_lines(session, object_id, line.ra_deg, line.dec_deg)
            if line
            else [],
        )


@router.get("/ledger")
def ledger(service: ServiceDep) -> Ledger:
    """Counts per stage, and whether they agree."""
    with service.read() as session:
        lines = views_log.ledger(session)
    return Ledger(balanced=all(line.lost == 0 for line in lines), stages=lines)


@router.get("/dead-letters")
def dead_letters(service: ServiceDep, limit: Limit = 100, offset: Offset = 0) -> Page[DeadLetter]:
    """What could not be used, and why, the newest first."""
    with service.read() as session:
        found = views_log.dead_letters(session, limit, offset)
        total = views_log.total(session, DeadLetterRow)
    return Page(items=found, total=total, limit=limit, offset=offset)


@router.get("/deliveries")
def deliveries(
    service: ServiceDep,
    event_id: str | None = None,
    state: str | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Page[Delivery]:
    """Messages to the sinks, the newest first."""
    wanted: dict[str, Any] = {
        name: value for name, value in (("event_id", event_id), ("state", state)) if value
    }
    with service.read() as session:
        found = views_log.deliveries(session, limit, offset, **wanted)
        total = views_log.total(session, DeliveryRow, **wanted)
    return Page(items=found, total=total, limit=limit, offset=offset)


@router.get("/alarms")
def alarms(
    service: ServiceDep,
    all_of_them: Annotated[
        bool, Query(alias="all", description="those that were cleared, too")
    ] = False,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Page[AlarmLine]:
    """What an operator has to know: the alarms that stand, the most severe first."""
    with service.read() as session:
        if all_of_them:
            total = views_log.total(session, AlarmRow)
            return Page(
                items=stored_alarms.alarms(session, limit, offset),
                total=total,
                limit=limit,
                offset=offset,
            )
        standing = stored_alarms.open_alarms(session)
    part = standing[offset : offset + limit]
    return Page(items=part, total=len(standing), limit=limit, offset=offset)


@router.get("/notices")
def notices(
    service: ServiceDep,
    source: str | None = None,
    state: Literal["pending", "processed", "dead"] | None = None,
    before: Annotated[
        int | None, Query(ge=1, le=_ROW_ID, description="those with a smaller id")
    ] = None,
    limit: Limit = 100,
) -> NoticeList:
    """Notices without their bytes, the newest first. ``before`` of the answer goes on."""
    with service.read() as session:
        return views_notices.notices(session, limit, before=before, source=source, state=state)


@router.get("/notices/{notice_id}")
def notice(service: ServiceDep, notice_id: NoticeId) -> NoticeDetail:
    """One notice and what became of it."""
    with service.read() as session:
        found = views_notices.notice(session, notice_id)
        if found is None:
            raise UnknownRecord(f"notice {notice_id} is not known")
        letters = views_log.dead_letters(session, 100, notice_id=notice_id)
        event_ids = views_notices.notice_events(session, notice_id)
    return NoticeDetail(notice=found, dead_letters=letters, event_ids=event_ids)


@router.get("/notices/{notice_id}/raw", response_class=Response)
def notice_raw(service: ServiceDep, notice_id: NoticeId) -> Response:
    """The bytes of a notice exactly as received, as a download."""
    with service.read() as session:
        payload = views_notices.notice_payload(session, notice_id)
    if payload is None:
        raise UnknownRecord(f"notice {notice_id} is not known")
    return Response(
        payload,
        media_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="notice-{notice_id}.bin"'},
    )


def _event(session: Any, name: str) -> EventLine:
    line = views.event(session, finding.one(session, name))
    assert line is not None
    return line
