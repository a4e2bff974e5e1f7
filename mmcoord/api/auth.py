"""Who calls: a token in the ``Authorization`` header, or nobody.

A token that is wrong in any way (unknown, mistyped, expired, revoked) is answered with the
same 401 in the same words. A caller without the scope that a route asks for gets 403. What
belongs to another group is answered as what does not exist.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, HTTPException

from mmcoord.access import Scope
from mmcoord.api.service import Service, ServiceDep
from mmcoord.store import access
from mmcoord.store.tables import TokenRow

__all__ = ["Caller", "CallerDep", "allowed"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a good token."""

    group: str
    token_id: str
    scopes: frozenset[Scope]


def caller(
    service: ServiceDep, authorization: Annotated[str | None, Header()] = None
) -> Caller | None:
    """The caller; None without the header."""
    if authorization is None:
        return None
    kind, _, text = authorization.partition(" ")
    now = service.now()
    with service.read() as session:
        row = access.token_of(session, text.strip(), now) if kind.lower() == "bearer" else None
    if row is None:
        raise HTTPException(
            401, "no such token", headers={"WWW-Authenticate": 'Bearer realm="mmcoord"'}
        )
    if access.is_use_due(row, now):
        _note_use(service, row.id)
    return Caller(row.group, row.id, frozenset(Scope(name) for name in row.scopes))


def _note_use(service: Service, token_id: str) -> None:
    with service.database.write() as session:
        row = session.get(TokenRow, token_id)
        if row is not None:
            row.last_used_at = service.now()


CallerDep = Annotated[Caller | None, Depends(caller)]


def allowed(scope: Scope) -> Callable[[Caller | None], Awaitable[Caller]]:
    """A dependency: the caller, who must have a scope."""

    async def check(found: CallerDep) -> Caller:
        if found is None:
            raise HTTPException(
                401, "a token is needed", headers={"WWW-Authenticate": 'Bearer realm="mmcoord"'}
            )
        if scope not in found.scopes:
            raise HTTPException(403, f"this token has no scope {scope.value!r}")
        return found

    return check
