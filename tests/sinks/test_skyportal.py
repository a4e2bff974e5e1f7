"""Follow-up requests at SkyPortal: one per source and allocation, deleted when withdrawn."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from followup.sinks import skyportal
from followup.sinks.base import Outcome
from mmcoord.errors import ConfigError
from mmcoord.records import Outgoing
from tests.sinks.sample import outgoing, row_of
from tests.sinks.services import Flaky

TABLE: dict[str, Any] = {
    "url": "https://portal.invalid",
    "token": "sp-t0ken",
    "allocations": ["soar_goodman=12"],
    "groups": ["3"],
    "request": {"observation_type": "IFU"},
}


@dataclass
class FakePortal:
    """Sources by name, requests with SkyPortal's duplicate rule, errors in the body."""

    sources: set[str] = field(default_factory=set)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") != "token sp-t0ken":
            return httpx.Response(401, json={"status": "error", "message": "Credentials malformed"})
        path = request.url.path.removeprefix("/api/")
        if request.method == "DELETE":
            number = int(path.rpartition("/")[2])
            self.requests[number - 1]["status"] = "deleted"
            return self._good({})
        if request.method == "GET":
            name = request.url.params["sourceID"]
            found = [one for one in self.requests if one["obj_id"] == name]
            return self._good({"followup_requests": found, "totalMatches": len(found)})
        body = json.loads(request.content)
        if path == "sources":
            self.sources.add(body["id"])
            return self._good({"id": body["id"]})
        if body["obj_id"] not in self.sources:
            return httpx.Response(400, json={"status": "error", "message": "no such source"})
        self.requests.append({**body, "id": len(self.requests) + 1, "status": "submitted"})
        return self._good({"id": len(self.requests), "ignored": False})

    @staticmethod
    def _good(data: Any) -> httpx.Response:
        return httpx.Response(200, json={"status": "success", "data": data})


def sink(service: Any, **more: Any) -> skyportal.SkyPortalSink:
    transport = service if isinstance(service, httpx.BaseTransport) else None
    client = httpx.Client(transport=transport or httpx.MockTransport(service))
    return skyportal.build("portal", TABLE | more, client)


def plan(number: int = 1, rank: int = 1) -> Outgoing:
    return outgoing((row_of(number, rank),), with_photometry=False)


@pytest.mark.parametrize(
    ("order", "rank", "priority"), [("asc", 1, 1), ("asc", 9, 5), ("desc", 1, 5), ("desc", 9, 1)]
)
def test_the_first_target_is_the_most_urgent_in_either_order(
    order: str, rank: int, priority: int
) -> None:
    payload = sink(FakePortal(), priority_order=order).payload(plan(rank=rank))
    asked = payload["followup_request"]
    assert asked["payload"]["priority"] == priority
    assert asked["payload"]["observation_type"] == "IFU"
    assert asked["not_if_duplicates"] is True
    assert asked["allocation_id"] == 12


def test_an_instrument_that_no_allocation_pays_for_is_not_asked() -> None:
    assert sink(FakePortal(), allocations=["other=1"]).payload(plan()) == {}


def test_a_request_is_made_once_and_deleted_when_withdrawn() -> None:
    portal = FakePortal()
    found = sink(portal)
    payload = found.payload(plan())
    for _ in range(2):
        assert found.send(payload, key="k").outcome is Outcome.SENT
    assert [one["status"] for one in portal.requests] == ["submitted"]
    for _ in range(2):
        assert found.withdraw(payload, key="k", remote_id="1").outcome is Outcome.SENT
    assert [one["status"] for one in portal.requests] == ["deleted"]
    looked = found.lookup(payload, key="k")
    assert looked is not None
    assert looked.outcome is Outcome.RETRY


def test_what_skyportal_ignores_is_there_already() -> None:
    def service(request: httpx.Request) -> httpx.Response:
        data = {"ignored": True, "message": "duplicate"} if request.method == "POST" else {}
        return httpx.Response(200, json={"status": "success", "data": data})

    found = sink(service)
    answer = found.send(found.payload(plan()), key="k")
    assert answer.outcome is Outcome.SENT
    assert "duplicate" in answer.detail


def test_a_telescope_is_not_asked_before_a_person_has_said_so() -> None:
    assert sink(FakePortal()).is_public


@pytest.mark.parametrize(
    "wrong", [{"allocations": ["x"]}, {"groups": ["us"]}, {"priority_order": "up"}, {"request": 1}]
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        sink(FakePortal(), **wrong)


def test_through_a_service_that_fails_at_random_each_request_is_there_once() -> None:
    portal, rng = FakePortal(), random.Random(5)
    found = sink(Flaky(httpx.MockTransport(portal), rng, rate=0.3))
    for number in range(60):
        payload = found.payload(replace(plan(number), key=f"k{number}"))
        for _ in range(100):
            if found.send(payload, key=f"k{number}").outcome is Outcome.SENT:
                break
    counts = Counter(one["obj_id"] for one in portal.requests)
    assert set(counts.values()) == {1}
    assert len(counts) == 60
