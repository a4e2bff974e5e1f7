"""Groups and tokens in the store."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from mmcoord import access
from mmcoord.access import Minted, Scope
from mmcoord.errors import ConfigError, UnknownRecord
from mmcoord.store.tables import AccessGroupRow, TokenRow

__all__ = ["add_group", "add_token", "group", "groups", "revoke_token", "token_of", "tokens"]

_NAME = re.compile(r"[a-z][a-z0-9-]{1,39}")
_RESERVED = frozenset({"mmcoord", "public"})
_USED_S = 60.0
"""``last_used_at`` is written at most so often: a busy client would write at every call."""


def add_group(
    session: Session,
    name: str,
    *,
    quota_cpu_s: float,
    period_day: float,
    priority: float,
    now: datetime,
) -> AccessGroupRow:
    """Make a group, or give one that is there a new quota.

    Raises
    ------
    ConfigError
        A name, quota or priority that cannot be.
    """
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise ConfigError(
            f"group {name!r}: two to forty of a-z, 0-9 and '-', beginning with a letter; "
            f"not {' or '.join(sorted(_RESERVED))}"
        )
    if not (quota_cpu_s >= 0 and period_day > 0 and 0 <= priority <= 1):
        raise ConfigError("quota and period are positive, a priority is between 0 and 1")
    row = session.get(AccessGroupRow, name)
    if row is None:
        row = AccessGroupRow(name=name, quota_cpu_s=quota_cpu_s, created_at=now)
        session.add(row)
    row.quota_cpu_s, row.period_day, row.priority = quota_cpu_s, period_day, priority
    return row


def group(session: Session, name: str) -> AccessGroupRow:
    """A group.

    Raises
    ------
    UnknownRecord
        There is none of that name.
    """
    row = session.get(AccessGroupRow, name)
    if row is None:
        raise UnknownRecord(f"group {name!r} is not known")
    return row


def groups(session: Session) -> list[AccessGroupRow]:
    """All groups by name."""
    return list(
        session.execute(select(AccessGroupRow).order_by(col(AccessGroupRow.name))).scalars()
    )


def add_token(
    session: Session,
    group_name: str,
    *,
    label: str,
    scopes: tuple[Scope, ...],
    valid_day: float,
    now: datetime,
) -> tuple[TokenRow, Minted]:
    """Make a token; the text in the second value is the only copy of it.

    Raises
    ------
    UnknownRecord
        No such group.
    """
    group(session, group_name)
    minted = access.mint()
    row = TokenRow(
        id=minted.id,
        group=group_name,
        label=label,
        secret_sha256=minted.secret_sha256,
        scopes=[scope.value for scope in scopes],
        created_at=now,
        expires_at=now + timedelta(days=valid_day),
    )
    session.add(row)
    return row, minted


def tokens(session: Session) -> list[TokenRow]:
    """All tokens, the newest first."""
    return list(
        session.execute(select(TokenRow).order_by(col(TokenRow.created_at).desc())).scalars()
    )


def revoke_token(session: Session, token_id: str, now: datetime) -> TokenRow:
    """Make a token worthless at once.

    Raises
    ------
    UnknownRecord
        No such token.
    """
    row = session.get(TokenRow, token_id)
    if row is None:
        raise UnknownRecord(f"token {token_id!r} is not known")
    row.revoked_at = row.revoked_at or now
    return row


def token_of(session: Session, text: str, now: datetime) -> TokenRow | None:
    """The row of a token that is good now; None for any other text, whatever its fault."""
    parts = access.parse(text)
    if parts is None:
        return None
    identifier, secret = parts
    row = session.get(TokenRow, identifier)
    kept = row.secret_sha256 if row is not None else "0" * 64
    stands = access.good(
        secret,
        kept,
        expires_at=row.expires_at if row is not None else now,
        revoked_at=row.revoked_at if row is not None else None,
        now=now,
    )
    return row if stands else None


def is_use_due(row: TokenRow, now: datetime) -> bool:
    """Whether the token's last use has to be written down again."""
    return row.last_used_at is None or (now - row.last_used_at).total_seconds() > _USED_S
