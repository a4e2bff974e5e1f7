"""The first page: what is active, what needs a person, what is observed next."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from mmcoord.api.health import health_of
from mmcoord.api.service import ServiceDep
from mmcoord.store import views_log, views_tonight
from mmcoord.store.alarms import open_alarms
from mmcoord.web.localtime import local_times
from mmcoord.web.rendering import render

__all__ = ["router"]

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)

_EVENTS = 20
_WINDOWS = 20
_CLAIMS = 20
_SOON = timedelta(hours=2)
"""A claim that ends within this wants a word of its group."""


@router.get("/")
def tonight(service: ServiceDep, request: Request) -> HTMLResponse:
    """What somebody who has just come needs to know."""
    now = service.now()
    since = now - timedelta(days=service.settings.match.window_after_day)
    with service.read() as session:
        standing = open_alarms(session)
        values = {
            "events": views_tonight.active(session, since, _EVENTS),
            "n_active": views_tonight.active_total(session, since),
            "held": views_tonight.held(session),
            "claims": views_tonight.expiring_claims(session, now + _SOON, _CLAIMS),
            "windows": views_tonight.windows(session, since, now, _WINDOWS),
            "health": health_of(service, views_log.ledger(session), standing),
        }
    return render(
        service,
        request,
        "tonight.html",
        alarms=standing,
        within_day=service.settings.match.window_after_day,
        local=local_times(service.settings),
        **values,
    )
