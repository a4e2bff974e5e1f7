"""One page out of its template, with what every page shows."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from mmcoord.api.service import Service
from mmcoord.web.signin import signed_in
from mmcoord.web.templating import TEMPLATES

__all__ = ["render"]


def render(service: Service, request: Request, name: str, **values: Any) -> HTMLResponse:
    """The page; the alarms that stand are on every one."""
    if "alarms" not in values:
        values["alarms"] = service.alarms()
    values |= {
        "request": request,
        "now": service.now(),
        "version": service.version,
        "who": signed_in(service, request),
    }
    return HTMLResponse(TEMPLATES.get_template(name).render(values))
