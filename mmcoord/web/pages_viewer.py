"""The interactive sky: Aladin Lite on a page of its own, with what we know drawn over it.

Only this page lets a script compile WebAssembly, carry its own styles and load images of the sky
from the CDS; the pages with buttons that do something keep the strict policy.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response

from mmcoord import aladin
from mmcoord.api.caching import etag_of
from mmcoord.api.service import ServiceDep
from mmcoord.store import elsewhere, finding, views
from mmcoord.store.views_candidates import spots
from mmcoord.timescales import mjd_tai
from mmcoord.web.rendering import render

__all__ = ["router"]

router = APIRouter(prefix="/viewer", include_in_schema=False)

Name = Annotated[str, Query(alias="event", max_length=300)]
_DOTS = 3000
_POINTING_DAYS = 14.0
_CDS = "https://*.cds.unistra.fr https://*.u-strasbg.fr"
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self' blob:",
        "style-src 'self' 'unsafe-inline'",
        f"img-src 'self' data: blob: {_CDS}",
        f"connect-src 'self' data: {_CDS}",
        "font-src 'self' data:",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)


@router.get("")
def viewer(service: ServiceDep, request: Request, name: Name) -> HTMLResponse:
    """The sky of one event, first as the drawing that needs nobody."""
    with service.read() as session:
        line = views.event(session, finding.one(session, name))
        assert line is not None
        place = views.place(session, line.localization_id)
        candidates = spots(session, line, _DOTS)
    page = render(
        service,
        request,
        "viewer.html",
        event=line,
        sky=service.drawings.of(place, candidates),
        keep="",
        burst=None,
        n_candidates=line.candidates_matched,
        n_drawn=len(candidates),
        installed=aladin.installed(service.settings),
    )
    page.headers["Content-Security-Policy"] = _POLICY
    return page


@router.get("/sky.json")
def drawn(service: ServiceDep, name: Name) -> JSONResponse:
    """What is drawn over the images: regions, candidates, pointings of others.

    Who has it already is told that it stands (``mmcoord/api/shared.py``).
    """
    with service.read() as session:
        line = views.event(session, finding.one(session, name))
        assert line is not None
        place = views.place(session, line.localization_id)
        candidates = spots(session, line, _DOTS)
        start = mjd_tai(line.event_time) if line.event_time else None
        pointings = (
            elsewhere.elsewhere_between(session, start, start + _POINTING_DAYS)
            if start is not None
            else []
        )
    answer = JSONResponse(
        {
            "outlines": place.outlines if place else {},
            "candidates": [c._asdict() for c in candidates],
            "pointings": [
                {
                    "who": one.who,
                    "status": one.status,
                    "ra_deg": one.ra_deg,
                    "dec_deg": one.dec_deg,
                    "radius_deg": one.radius_deg,
                }
                for one in pointings
            ],
        }
    )
    answer.headers["ETag"] = etag_of(hashlib.sha256(answer.body).hexdigest()[:32])
    return answer


@router.get("/aladin.js")
def script(service: ServiceDep) -> Response:
    """The viewer itself, where an operator has installed it."""
    if not aladin.installed(service.settings):
        raise HTTPException(404, "Aladin Lite is not installed; see docs/page.md")
    headers = {"Cache-Control": "public, max-age=86400"}
    return FileResponse(
        aladin.script_path(service.settings), media_type="text/javascript", headers=headers
    )
