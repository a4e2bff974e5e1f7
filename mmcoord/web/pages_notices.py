"""The inbox: notices as they were received, and what became of each."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse

from listeners.base import Source
from listeners.vetoes import Vetoes
from mmcoord.api.service import ServiceDep
from mmcoord.errors import UnknownRecord
from mmcoord.records import Candidate, Photometry
from mmcoord.store import views, views_log, views_notices
from mmcoord.store.views_notices import STATES
from mmcoord.web import links, raw
from mmcoord.web.rendering import render

__all__ = ["router"]

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)

_PER_PAGE = 50
_ROW_ID = 2**63 - 1
_OBJECTS = 200


@router.get("/notices")
def notices(
    service: ServiceDep,
    request: Request,
    source: str = "",
    state: str = "",
    before: Annotated[int | None, Query(ge=1, le=_ROW_ID)] = None,
) -> HTMLResponse:
    """The inbox, the newest first, by source and state."""
    with service.read() as session:
        found = views_notices.notices(
            session,
            _PER_PAGE,
            before=before,
            source=source or None,
            state=state if state in STATES else None,
        )
    return render(
        service,
        request,
        "notices.html",
        notices=found.items,
        older=found.before,
        before=before,
        source=source,
        state_wanted=state,
        states=STATES,
        sources=sorted({*service.sources, *([source] if source else [])}),
    )


@router.get("/notices/{notice_id}")
def notice(
    service: ServiceDep, request: Request, notice_id: Annotated[int, Path(ge=1, le=_ROW_ID)]
) -> HTMLResponse:
    """A notice as it was received, and what became of it."""
    with service.read() as session:
        line = views_notices.notice(session, notice_id)
        payload = views_notices.notice_payload(session, notice_id)
        if line is None or payload is None:
            raise UnknownRecord(f"notice {notice_id} is not known")
        letters = views_log.dead_letters(session, 50, notice_id=notice_id)
        entries = views_log.caused_by(session, f"notice:{notice_id}", 100)
        events = views_notices.notice_events(session, notice_id)
        urls = views.urls_of_notice(session, notice_id)
        named = objects_named(payload, service.sources.get(line.source))
        objects = views_notices.known_objects(session, named)
    return render(
        service,
        request,
        "notice.html",
        notice=line,
        shown=raw.pretty(payload),
        dead_letters=letters,
        entries=entries,
        events=events,
        objects=objects,
        links=links.links(urls, service.settings.fetch.policy.hosts),
    )


def objects_named(payload: bytes, source: Source | None) -> list[str]:
    """The objects that the notice speaks of, read by its source as the intake reads it.

    Rows of candidates keep the notice that brought them first and have no index on it; the
    notice itself says whom it is about.
    """
    if source is None:
        return []
    try:
        records = source.read(payload, Vetoes())
    except Exception:
        # What cannot be read has a dead letter with the reason; the page shows that.
        return []
    names = {r.object_id for r in records if isinstance(r, Candidate | Photometry)}
    return sorted(names)[:_OBJECTS]
