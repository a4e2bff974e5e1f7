"""The queue of inferences and what they cost."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from mmcoord import resting
from mmcoord import runs as house
from mmcoord.access import Scope
from mmcoord.api.service import ServiceDep
from mmcoord.store import access, summary, views_queue
from mmcoord.web.rendering import render
from mmcoord.web.signin import signed_in

__all__ = ["router"]

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)

_PER_PAGE = 50


@router.get("/runs")
def runs(
    service: ServiceDep,
    request: Request,
    state: str = "",
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> HTMLResponse:
    """Counts and costs of all runs; what a private one is about, its own group alone sees."""
    who = signed_in(service, request)
    group = who.group if who is not None and Scope.READ in who.scopes else None
    wanted = state if state in views_queue.STATES else None
    now = service.now()
    with service.read() as session:
        states = views_queue.state_counts(session)
        total = views_queue.total(session, group, state=wanted)
        lines = views_queue.lines(session, group, _PER_PAGE, offset, state=wanted)
        values = {
            "counts": summary.runs(session),
            "oldest": views_queue.waiting_since(session),
            "cpu_s": views_queue.cpu_total_s(session),
            "usage": [(g, house.usage(session, g, now)) for g in access.groups(session)],
            "asked": views_queue.asked(session),
            "runs": lines,
            "why_resting": resting.reasons(session, lines),
        }
    of_this_kind = states[wanted] if wanted is not None else sum(states.values())
    return render(
        service,
        request,
        "runs.html",
        states=states,
        total=total,
        private=of_this_kind - total,
        state_wanted=wanted,
        offset=offset,
        per_page=_PER_PAGE,
        **values,
    )
