"""Event candidates of ``tom_nonlocalizedevents``, answered as version 1.0.0 does.

The running one is in ``test_tom_events_real.py``; here is what it does not do when asked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from followup.sinks._settings import Secret
from followup.sinks._tom_events import TomEvents
from followup.sinks._tom_rest import Failed, Login, Tom

EVENT, NUMBER = "S240422ed", 7


@dataclass
class FakeEvents:
    """One event; unique candidates; no event is made over REST."""

    has_app: bool = True
    candidates: list[dict[str, Any]] = field(default_factory=list)
    hidden: bool = False
    """The list does not show what is there: another process has just made it."""
    asked: list[str] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Token t"
        path = request.url.path
        if not self.has_app:
            return httpx.Response(404, json={"detail": "Not found."})
        number = path.rstrip("/").rpartition("/")[2]
        self.asked.append(request.method + (" one" if number.isdecimal() else ""))
        if path == "/api/nonlocalizedevents/":
            assert request.method == "GET"
            return self._list([{"id": NUMBER, "event_id": EVENT}])
        if number.isdecimal():
            return self._one(request, int(number))
        if request.method == "GET":
            hidden, self.hidden = self.hidden, False
            assert request.url.params["nonlocalizedevent"] == str(NUMBER)
            return self._list([] if hidden else self.candidates)
        body = json.loads(request.content)
        assert body.pop("nonlocalizedevent") == NUMBER
        target = {"id": body.pop("target"), "name": "with all its fields"}
        if target in [c["target"] for c in self.candidates]:
            said = {"non_field_errors": ["The fields must make a unique set."]}
            return httpx.Response(400, json=said)
        number_of = len(self.candidates) + 1
        made = {**body, "id": number_of, "nonlocalizedevent": EVENT, "target": target}
        self.candidates.append(made)
        return httpx.Response(201, json=made)

    def _one(self, request: httpx.Request, number: int) -> httpx.Response:
        found = [c for c in self.candidates if c["id"] == number]
        if not found:
            return httpx.Response(404, json={"detail": "No EventCandidate matches."})
        if request.method == "PATCH":
            found[0].update(json.loads(request.content))
        return httpx.Response(200, json=found[0])

    @property
    def writes(self) -> list[str]:
        return [method for method in self.asked if not method.startswith("GET")]

    @staticmethod
    def _list(results: list[dict[str, Any]]) -> httpx.Response:
        return httpx.Response(200, json={"count": len(results), "next": None, "results": results})


def events(service: FakeEvents) -> TomEvents:
    client = httpx.Client(transport=httpx.MockTransport(service))
    return TomEvents(Tom("https://tom.invalid", Login(Secret("t")), client, "mmcoord"))


def mark(found: TomEvents, priority: int = 1, event: str = EVENT, **more: Any) -> None:
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
    assert service.writes == ["POST", "PATCH one", "PATCH one"]
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


def test_what_a_person_has_ruled_out_stays_so() -> None:
    service = FakeEvents()
    found = events(service)
    mark(found, 1)
    (candidate,) = service.candidates
    candidate.update(viable=False, viability_reason="an asteroid")
    for more in ({}, {"viable": False, "why": "withdrawn"}, {}):
        mark(found, 2, **more)
        assert (candidate["priority"], candidate["viable"]) == (2, False)
        assert candidate["viability_reason"] == "an asteroid"


def test_what_we_ended_comes_back() -> None:
    service = FakeEvents()
    found = events(service)
    mark(found, 1)
    (candidate,) = service.candidates
    mark(found, 1, viable=False, why="withdrawn")
    mark(found, 3)
    assert (candidate["priority"], candidate["viable"]) == (3, True)
    assert candidate["viability_reason"] == "near"


def test_the_end_of_what_is_no_candidate_makes_none() -> None:
    service = FakeEvents()
    mark(events(service), 1, viable=False, why="retracted")
    assert service.writes == []


def test_a_candidate_that_somebody_deleted_is_made_again() -> None:
    service = FakeEvents()
    found = events(service)
    mark(found, 1)
    service.candidates.clear()
    mark(found, 2)
    (candidate,) = service.candidates
    assert candidate["priority"] == 2


def test_the_candidates_of_an_event_are_listed_once() -> None:
    service = FakeEvents()
    found = events(service)
    for target in range(50):
        found.mark(EVENT, target, priority=target, viable=True, why="near")
    assert service.asked.count("POST") == 50
    assert service.asked.count("GET") == 3  # is the app there, which event, its candidates


def test_an_event_that_the_tom_does_not_have_is_left_alone() -> None:
    service = FakeEvents()
    mark(events(service), 1, "unknown there")
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
