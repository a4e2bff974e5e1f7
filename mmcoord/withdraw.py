"""Taking an event back by hand: a message of our own in the inbox."""

from __future__ import annotations

from listeners.operator import withdrawal
from mmcoord.errors import UnknownRecord
from mmcoord.records import EventState, Messenger, Notice
from mmcoord.stages import intake
from mmcoord.stages.context import Context
from mmcoord.store.tables import AlertRow, EventRow

__all__ = ["withdraw"]


def withdraw(ctx: Context, event_id: str, reason: str) -> bool:
    """Put the withdrawal of an event into the inbox; false when it is retracted already.

    The running daemon reads it like any alert: the plan is emptied, and what was posted is
    withdrawn at every sink.

    Raises
    ------
    UnknownRecord
        No such event.
    """
    with ctx.database.read() as session:
        event = session.get(EventRow, event_id)
        if event is None:
            raise UnknownRecord(f"no event {event_id!r}")
        if event.state == EventState.RETRACTED.value:
            return False
        alert = session.get(AlertRow, event.current_alert_id) if event.current_alert_id else None
        now = ctx.now()
        payload = withdrawal(
            event_id,
            messenger=Messenger(event.messenger),
            group=alert.group if alert else None,
            is_practice=event.is_practice,
            event_time=event.event_time,
            reason=reason,
            at=now,
        )
    notice = Notice(
        source="operator",
        broker="operator",
        topic="withdraw",
        partition=0,
        offset=int(now.timestamp() * 1e6),
        payload=payload,
        received_at=now,
        sent_at=now,
    )
    return intake.receive(ctx, [notice]) == 1
