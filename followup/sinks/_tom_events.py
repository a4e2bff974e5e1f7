"""``tom_nonlocalizedevents``, where a TOM has it: our rank as an event candidate's priority.

Seen on a running 1.0.0 (``tests/sinks/test_tom_events_real.py``): an event cannot be made over
REST (400 or 500), so that only events that the TOM has from its own sources get candidates; a
candidate is written with the numbers of its event and target, and answered with the event's
name and the whole target; a list can be asked for one event but not for one target; the pair is
unique, and a repeat is a 400 that says so.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any

from followup.sinks._tom_rest import Failed, Tom

__all__ = ["TomEvents"]

Json = dict[str, Any]
_log = logging.getLogger(__name__)
_EVENTS, _CANDIDATES = "/api/nonlocalizedevents/", "/api/eventcandidates/"
_KNOWN_FOR_S = 300.0
_ENDED = ("retracted", "withdrawn")
"""Reasons that we give ourselves; any other one is a person's."""


@dataclass(slots=True)
class TomEvents:
    """Events and their candidates as a TOM has them."""

    tom: Tom
    _present: bool | None = None
    _looked_at: float = field(default=0.0, repr=False)
    _events: dict[str, int] = field(default_factory=dict, repr=False)
    _numbers: dict[int, dict[int, int]] = field(default_factory=dict, repr=False)
    """Event -> target -> candidate, as last listed."""

    def mark(self, event_id: str, target_id: int, *, priority: int, viable: bool, why: str) -> None:
        """Give a target its place among the event's candidates.

        Does nothing where the TOM has not the app, or not the event. What a person has found
        not viable stays so, with the person's reason, and only changes its priority.
        """
        event = self._event(event_id)
        if event is None:
            return
        state = {"priority": priority, "viable": viable, "viability_reason": why}
        if event not in self._numbers:
            self._list(event)
        try:
            self._write(event, target_id, state)
        except Failed as failed:
            if failed.status not in (400, 404):
                raise
            self._list(event)  # somebody else has made it, or deleted it
            try:
                self._write(event, target_id, state)
            except Failed as again:
                if again.status != 400:
                    raise
                _log.warning("no candidate of %s: %s", event_id, again.answer.detail)

    def _write(self, event: int, target_id: int, state: Json) -> None:
        number = self._numbers[event].get(target_id)
        if number is None and not state["viable"]:
            return  # nothing to end
        if number is None:
            body = {"nonlocalizedevent": event, "target": target_id, **state}
            self._numbers[event][target_id] = int(self.tom.post(_CANDIDATES, body)["id"])
            return
        held = self.tom.get(f"{_CANDIDATES}{number}/")
        if not held["viable"] and held["viability_reason"] not in _ENDED:
            state = {"priority": state["priority"]}
        if any(held.get(name) != value for name, value in state.items()):
            self.tom.patch(f"{_CANDIDATES}{number}/", state)

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

    def _list(self, event: int) -> None:
        self._numbers[event] = {
            int(candidate["target"]["id"]): int(candidate["id"])
            for candidate in self.tom.pages(_CANDIDATES, {"nonlocalizedevent": event})
        }
