"""One page out of its template, with what every page shows."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from sqlalchemy.exc import SQLAlchemyError

from mmcoord.api.service import Service, ServiceDep
from mmcoord.store.views_log import journal_newest
from mmcoord.web.signin import signed_in
from mmcoord.web.templating import TEMPLATES

__all__ = ["made_after", "render"]


def made_after(service: ServiceDep, request: Request) -> None:
    """Note, before a page reads anything, up to which entry of the journal it certainly tells.

    Its live stream begins there, so that nothing is missed between the two.
    """
    try:
        with service.database.read() as session:
            request.state.made_after = journal_newest(session)
    except SQLAlchemyError:
        pass  # the page that is being made says itself that the store is away


def render(service: Service, request: Request, name: str, **values: Any) -> HTMLResponse:
    """The page; the alarms that stand are on every one."""
    if "alarms" not in values:
        values["alarms"] = service.alarms()
    values |= {
        "request": request,
        "now": service.now(),
        "version": service.version,
        "who": signed_in(service, request),
        "made_after": getattr(request.state, "made_after", None),
    }
    return HTMLResponse(TEMPLATES.get_template(name).render(values))
