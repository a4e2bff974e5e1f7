"""Which events start expensive work: inference, plans, messages."""

from __future__ import annotations

from mmcoord.config import Settings
from mmcoord.records import EventState
from mmcoord.store.tables import EventRow

__all__ = ["reason_to_rest"]


def reason_to_rest(settings: Settings, event: EventRow) -> str | None:
    """Why nothing is sought for this event, in a sentence; None when something is. Pure."""
    if event.state == EventState.RETRACTED.value:
        return "The event is retracted."
    if event.messenger not in settings.infer.messengers:
        return f"Follow-up of {event.messenger} events is not switched on (infer.messengers)."
    if event.significant is False and not settings.infer.low_significance:
        return "Below the significance threshold: no targets are sought."
    if event.localization_id is None:
        return "No localization yet: candidates cannot be matched."
    return None
