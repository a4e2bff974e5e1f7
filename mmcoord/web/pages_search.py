"""Search by any name, or by position and radius."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from mmcoord.api.service import ServiceDep
from mmcoord.store import views_search
from mmcoord.store.views import EventLine
from mmcoord.store.views_search import MAX_RADIUS_ARCSEC, FoundObject
from mmcoord.web.position import BadPosition, read_position
from mmcoord.web.rendering import render

__all__ = ["router"]

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)

_SHOWN = 100
_ARCSEC = {"arcsec": 1.0, "arcmin": 60.0, "deg": 3600.0}


@router.get("/search")
def search(
    service: ServiceDep,
    request: Request,
    q: Annotated[str, Query(max_length=300)] = "",
    radius: Annotated[float, Query(gt=0, le=MAX_RADIUS_ARCSEC, allow_inf_nan=False)] = 5.0,
    unit: Literal["arcsec", "arcmin", "deg"] = "arcsec",
) -> Response:
    """What is called so, or lies there. A name of one thing alone leads to its page."""
    asked = q.strip()
    trouble = None
    try:
        position = read_position(asked)
    except BadPosition as error:
        position, trouble = None, str(error)
    events: list[EventLine] = []
    objects: list[FoundObject] = []
    with service.read() as session:
        if position is not None:
            radius_arcsec = min(radius * _ARCSEC[unit], MAX_RADIUS_ARCSEC)
            objects = views_search.objects_near(
                session, position.ra_deg, position.dec_deg, radius_arcsec, _SHOWN
            )
        elif asked and trouble is None:
            events = views_search.events_called(session, asked, _SHOWN)
            objects = views_search.objects_called(session, asked, _SHOWN)
    if position is None and len(events) + len(objects) == 1:
        where = (
            f"/events/{quote(events[0].event_id, safe='')}"
            if events
            else f"/objects/{quote(objects[0].object_id, safe='')}"
        )
        return RedirectResponse(where, 303)
    return render(
        service,
        request,
        "search.html",
        asked=asked,
        position=position,
        trouble=trouble,
        radius=radius,
        unit=unit,
        units=list(_ARCSEC),
        most_deg=MAX_RADIUS_ARCSEC / 3600.0,
        events=events,
        objects=objects,
        shown=_SHOWN,
    )
