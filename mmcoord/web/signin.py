"""Who looks at the page: an API token in a cookie, for the buttons.

The cookie is HttpOnly and SameSite=Strict, so that no script and no other site can use it. A
form also carries a word that only who knows the token can make (an HMAC under its secret),
and a request that the browser itself says came from another site is refused. The JSON API
does not look at the cookie at all.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import parse_qs

from fastapi import HTTPException, Request
from fastapi.responses import Response
from sqlalchemy.exc import SQLAlchemyError

from mmcoord.access import Scope, parse
from mmcoord.api.service import Service
from mmcoord.store import access

__all__ = ["SignedIn", "checked_form", "form_of", "remember", "signed_in"]

COOKIE = "mmcoord_token"
_HOURS = 12
_MAX_FORM_BYTES = 20_000


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody with a good token in their browser."""

    group: str
    scopes: frozenset[Scope]
    form_word: str
    """What a form of ours must carry."""

    @property
    def may_claim(self) -> bool:
        return Scope.CLAIM in self.scopes

    @property
    def may_approve(self) -> bool:
        return Scope.APPROVE in self.scopes


def signed_in(service: Service, request: Request) -> SignedIn | None:
    """Who looks; None without a good token."""
    text = request.cookies.get(COOKIE, "")
    try:
        return of_token(service, text) if text else None
    except SQLAlchemyError:
        return None  # the page that is being made says itself that the store is away


def of_token(service: Service, text: str) -> SignedIn | None:
    """Who a token stands for; None for one that is not good now."""
    parts = parse(text)
    if parts is None:
        return None
    with service.read() as session:
        row = access.token_of(session, text, service.now())
    if row is None:
        return None
    word = hmac.new(parts[1].encode(), b"mmcoord form", hashlib.sha256).hexdigest()
    return SignedIn(row.group, frozenset(Scope(name) for name in row.scopes), word)


def remember(service: Service, request: Request, response: Response, text: str) -> None:
    """Put the token into the browser."""
    is_secure = request.url.scheme == "https" or service.settings.page_url.startswith("https:")
    response.set_cookie(
        COOKIE,
        text,
        max_age=_HOURS * 3600,
        httponly=True,
        samesite="strict",
        secure=is_secure,
    )


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, the first of each name.

    Raises
    ------
    HTTPException
        403: from another site; 413, 422: not a form of ours.
    """
    # With our Referrer-Policy a browser says "Origin: null" of its own site's forms too.
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, "this form is on another site")
    body = await request.body()
    if len(body) > _MAX_FORM_BYTES:
        raise HTTPException(413, "too long a form")
    try:
        fields = parse_qs(body.decode(), max_num_fields=30, keep_blank_values=True)
    except ValueError as error:
        raise HTTPException(422, "not a form") from error
    return {name: values[0] for name, values in fields.items()}


def checked_form(who: SignedIn | None, fields: dict[str, str], scope: Scope) -> SignedIn:
    """Who sent a form, when they may and the form is ours.

    Raises
    ------
    HTTPException
        401, 403.
    """
    if who is None:
        raise HTTPException(401, "sign in first")
    if not hmac.compare_digest(fields.get("word", "").encode(), who.form_word.encode()):
        raise HTTPException(403, "this form is not from this page; load the page again")
    if scope not in who.scopes:
        raise HTTPException(403, f"this token has no scope {scope.value!r}")
    return who
