"""Buttons of the page: signing in, claims on targets. Plain forms; no script is needed."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from followup.claims import SkipReason, Verb
from mmcoord.access import Scope
from mmcoord.api.service import ServiceDep
from mmcoord.errors import Refused
from mmcoord.store import approvals, claims
from mmcoord.store.claims import Act
from mmcoord.web.rendering import render
from mmcoord.web.signin import COOKIE, checked_form, form_of, of_token, remember, signed_in

__all__ = ["router"]

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)


@router.get("/signin")
def signin_page(service: ServiceDep, request: Request, back: str = "/") -> HTMLResponse:
    """Where a token is given."""
    return render(service, request, "signin.html", back=_own_path(back), wrong=False)


@router.post("/signin")
async def signin(service: ServiceDep, request: Request) -> Response:
    """Take a token into the browser."""
    fields = await form_of(request)
    text, back = fields.get("token", "").strip(), _own_path(fields.get("back", "/"))
    if of_token(service, text) is None:
        page = render(service, request, "signin.html", back=back, wrong=True)
        return HTMLResponse(page.body, 401)
    response = RedirectResponse(back, 303)
    remember(service, request, response, text)
    return response


@router.post("/signout")
async def signout(request: Request) -> Response:
    """Forget the token."""
    await form_of(request)
    response = RedirectResponse("/", 303)
    response.delete_cookie(COOKIE)
    return response


@router.post("/claims")
async def claim(service: ServiceDep, request: Request) -> Response:
    """A button beside a target was pressed."""
    fields = await form_of(request)
    who = checked_form(signed_in(service, request), fields, Scope.CLAIM)
    event_id = fields.get("event_id", "")
    try:
        said = Act(
            verb=Verb(fields.get("verb", "")),
            event=event_id,
            object_id=fields.get("object_id", ""),
            group=who.group,
            via="page",
            reason=SkipReason(fields["reason"]) if fields.get("reason") else None,
        )
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    try:
        with service.database.write() as session:
            claims.act(session, said, service.now(), service.settings.claims)
    except Refused as error:
        raise HTTPException(409, str(error)) from error
    service.wake()
    return RedirectResponse(f"/events/{quote(event_id, safe='')}#h-targets", 303)


@router.post("/approvals")
async def approval(service: ServiceDep, request: Request) -> Response:
    """A button beside a message that waits was pressed."""
    fields = await form_of(request)
    who = checked_form(signed_in(service, request), fields, Scope.APPROVE)
    event_id, decision = fields.get("event_id", ""), fields.get("decision", "")
    if decision not in (approvals.APPROVE, approvals.REJECT):
        raise HTTPException(422, f"{decision!r} is neither approve nor reject")
    with service.database.write() as session:
        approvals.answer(
            session,
            event_id,
            fields.get("sink", ""),
            decision,
            by=who.group,
            now=service.now(),
            is_standing=fields.get("standing") == "yes",
        )
    service.wake()
    return RedirectResponse(f"/events/{quote(event_id, safe='')}#h-deliveries", 303)


def _own_path(text: str) -> str:
    """A path of this page; anything that could lead elsewhere becomes the first page."""
    fine = text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if fine and text.isprintable() else "/"
