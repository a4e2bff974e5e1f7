"""Event candidates of ``tom_nonlocalizedevents``, answered as version 1.0 was seen to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from followup.sinks._settings import Secret
from followup.sinks._tom_events import TomEvents
from followup.sinks._tom_rest import Failed, Login, Tom


@dataclass
class FakeEvents:
    """One event; unique candidates; no event is made over REST."""

    has_app: bool = True
    candidates: list[dict[str, Any]] = field(default_factory=list)
    hidden: bool = False
    """The list does not show what is there: another process has just made it."""
    writes: list[str] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Token t"
        path = request.url.path
        if not self.has_app:
            return httpx.Response(404, json={"detail": "Not found."})
        if request.method != "GET":
            self.writes.append(request.method)
        if path == "/api/nonlocalizedevents/":
            assert request.method == "GET"
            return self._list([{"id": 7, "event_id": "S240422ed"}])
        if request.method == "GET":
            hidden, self.hidden = self.hidden, False
            return self._list([] if hidden else self.candidates)
        body = json.loads(request.content)
        if request.method == "POST":
            pair = (body["nonlocalizedevent"], body["target"])
            if pair in [(c["nonlocalizedevent"], c["target"]) for c in self.candidates]:
                said = {"non_field_errors": ["The fields must make a unique set."]}
                return httpx.Response(400, json=said)
            self.candidates.append({**body, "id": len(self.candidates) + 1})
            return httpx.Response(201, json=self.candidates[-1])
        number = int(path.rstrip("/").rpartition("/")[2])
        self.candidates[number - 1].update(body)
        return httpx.Response(200, json=self.candidates[number - 1])

    @staticmethod
    def _list(results: list[dict[str, Any]]) -> httpx.Response:
        return httpx.Response(200, json={"count": len(results), "next": None, "results": results})


def events(service: FakeEvents) -> TomEvents:
    client = httpx.Client(transport=httpx.MockTransport(service))
    return TomEvents(Tom("https://tom.invalid", Login(Secret("t")), client, "mmcoord"))


def mark(found: TomEvents, priority: int = 1, event: str = "S240422ed", **more: Any) -> None:
    state: dict[str, Any] = {"viable": True, "why": "near", **more}
    found.mark(event, 3, priority=priority, **state)


def test_a_rank_is_a_priority_and_a_new_rank_changes_it() -> None:
    service = FakeEvents()
    found = events(service)
    mark(found, 1)
    mark(found, 1)
    assert service.writes == ["POST"]
    mark(found, 4)
    mark(found, 4, viable=False, why="retracted")
    assert service.writes == ["POST", "PATCH", "PATCH"]
    (candidate,) = service.candidates
    assert (candidate["priority"], candidate["viable"]) == (4, False)
    assert candidate["viability_reason"] == "retracted"


def test_a_candidate_that_somebody_else_has_just_made_is_changed() -> None:
    service = FakeEvents()
    mark(events(service), 1)
    service.hidden = True
    mark(events(service), 2)
    (candidate,) = service.candidates
    assert candidate["priority"] == 2


@pytest.mark.parametrize("event", ["unknown there"])
def test_an_event_that_the_tom_does_not_have_is_left_alone(event: str) -> None:
    service = FakeEvents()
    mark(events(service), 1, event)
    assert service.writes == []


def test_a_tom_without_the_app_is_asked_once() -> None:
    service = FakeEvents(has_app=False)
    found = events(service)
    mark(found)
    mark(found)
    assert service.writes == []


def test_a_server_at_fault_is_not_taken_for_a_tom_without_the_app() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500)

    with pytest.raises(Failed):
        mark(events(broken))  # type: ignore[arg-type]
