"""Claims end when their time is over, and the plan moves back to what they held."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlmodel import col

from followup.claims import STANDING
from mmcoord.stages.context import Context
from mmcoord.store import claims
from mmcoord.store.tables_claims import ClaimRow

__all__ = ["run"]


def run(ctx: Context) -> int:
    """End what is due; returns how many claims ended."""
    now = ctx.now()
    with ctx.database.read() as session:
        first = session.execute(
            select(func.min(col(ClaimRow.expires_at))).where(
                col(ClaimRow.state).in_([state.value for state in STANDING])
            )
        ).scalar_one()
    if first is None or first > now:
        return 0
    with ctx.database.write() as session:
        return claims.expire(session, now)
