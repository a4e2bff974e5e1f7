"""``tom_nonlocalizedevents``, where a TOM has it: our rank as an event candidate's priority.

Seen on version 1.0: an event cannot be made over REST (400 or 500), so that only events that
the TOM has from its own sources get candidates; the pair of event and target is unique, and a
repeat is a 400 that says so.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from followup.sinks._tom_rest import Failed, Tom

__all__ = ["TomEvents"]

Json = dict[str, Any]
_EVENTS, _CANDIDATES = "/api/nonlocalizedevents/", "/api/eventcandidates/"
_KNOWN_FOR_S = 300.0


@dataclass(slots=True)
class TomEvents:
    """Events and their candidates as a TOM has them."""

    tom: Tom
    _present: bool | None = None
    _looked_at: float = field(default=0.0, repr=False)
    _events: dict[str, int] = field(default_factory=dict, repr=False)

    def mark(self, event_id: str, target_id: int, *, priority: int, viable: bool, why: str) -> None:
        """Give a target its place among the event's candidates.

        Does nothing where the TOM has not the app, or not the event.
        """
        event = self._event(event_id)
        if event is None:
            return
        state = {"priority": priority, "viable": viable, "viability_reason": why}
        candidate = self._candidate(event, target_id)
        if candidate is None:
            body = {"nonlocalizedevent": event, "target": target_id, **state}
            try:
                self.tom.post(_CANDIDATES, body)
                return
            except Failed as failed:
                if failed.status != 400:
                    raise
            candidate = self._candidate(event, target_id)  # somebody was quicker
            if candidate is None:
                return
        if any(candidate.get(name) != value for name, value in state.items()):
            self.tom.patch(f"{_CANDIDATES}{candidate['id']}/", state)

    def _event(self, event_id: str) -> int | None:
        if self._present is None or time.monotonic() - self._looked_at > _KNOWN_FOR_S:
            self._present = self.tom.has(_EVENTS)
            self._looked_at = time.monotonic()
        if not self._present:
            return None
        if event_id not in self._events:
            for event in self.tom.pages(_EVENTS, {"event_id": event_id}):
                if event.get("event_id") == event_id:
                    self._events[event_id] = int(event["id"])
        return self._events.get(event_id)

    def _candidate(self, event: int, target_id: int) -> Json | None:
        params = {"nonlocalizedevent": event, "target": target_id}
        for candidate in self.tom.pages(_CANDIDATES, params):
            if candidate.get("nonlocalizedevent") == event and candidate.get("target") == target_id:
                return candidate
        return None
