"""Our claims as pointings: planned, completed, cancelled, each once."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from followup.sinks import treasuremap
from followup.sinks._http import Reply, judge
from followup.sinks._settings import Secret
from followup.sinks.base import Outcome
from followup.sinks.treasuremap import WRITE
from mmcoord.errors import ConfigError
from mmcoord.records import Outgoing, Undertaking
from tests.sinks.sample import EVENT_TIME, outgoing, row
from tests.sinks.services import Flaky

TABLE = {"token": "tm-t0ken", "groups": ["ztf"], "instruments": ["ztf=47"]}


@dataclass
class FakeMap:
    """Stores pointings, says so in its own way, and answers 500 to what it does not like."""

    stored: list[dict[str, Any]] = field(default_factory=list)
    _number: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if body.pop("api_token", None) != "tm-t0ken":
            return httpx.Response(500, text="invalid api_token")
        if request.url.path == "/api/v1/update_pointings":
            for one in self.stored:
                if one["id"] == body["id"] and one["status"] == "planned":
                    one["status"] = "cancelled"
            return httpx.Response(200, text="Updated 1 Pointings successfully")
        if request.method == "GET":
            found = [
                one
                for one in self.stored
                if one["graceid"] == body["graceid"]
                and one["status"] == body.get("status", one["status"])
                and one["instrumentid"] == body.get("instrument", one["instrumentid"])
            ]
            return httpx.Response(200, json=found)
        (pointing,) = body["pointings"]
        if pointing["status"] == "completed" and "depth" not in pointing:
            said = {"pointing_ids": [], "ERRORS": [["depth is required"]], "WARNINGS": []}
            return httpx.Response(200, json=said)
        number = next(self._number)
        place = f"POINT ({pointing.pop('ra')} {pointing.pop('dec')})"
        stored = {**pointing, "position": place, "id": number, "graceid": body["graceid"]}
        self.stored.append(stored)
        return httpx.Response(200, json={"pointing_ids": [number], "ERRORS": [], "WARNINGS": []})

    def statuses(self) -> list[str]:
        return [one["status"] for one in self.stored]


def sink(service: Any, **more: Any) -> treasuremap.TreasureMapSink:
    transport = service if isinstance(service, httpx.BaseTransport) else None
    client = httpx.Client(transport=transport or httpx.MockTransport(service))
    return treasuremap.build("map", TABLE | more, client)


def plan(state: str | None, group: str = "ztf", instrument: str = "ztf") -> Outgoing:
    made = replace(outgoing((row(1),), with_photometry=False), is_practice=False)
    if state is None:
        return made
    claim = Undertaking(row(1).object_id, group, state, EVENT_TIME, instrument, "ztf:g")
    return replace(made, undertakings=(claim,))


def tell(found: treasuremap.TreasureMapSink, state: str) -> None:
    answer = found.send(found.payload(plan(state)), key="k")
    assert answer.outcome is Outcome.SENT, answer


def test_a_claim_goes_from_planned_to_completed_and_is_told_once() -> None:
    service = FakeMap()
    found = sink(service)
    for state in ("claimed", "claimed", "started", "completed", "completed"):
        tell(found, state)
    assert service.statuses() == ["cancelled", "completed"]
    done = service.stored[1]
    assert (done["band"], done["depth"], done["depth_unit"]) == ("g", 20.5, "ab_mag")
    assert (done["instrumentid"], done["time"]) == (47, "2026-11-23T01:02:03")


@pytest.mark.parametrize("state", ["released", "declined", "expired"])
def test_what_is_given_back_is_cancelled(state: str) -> None:
    service = FakeMap()
    found = sink(service)
    tell(found, "claimed")
    tell(found, state)
    assert service.statuses() == ["cancelled"]


def test_a_retraction_cancels_what_is_planned_and_leaves_what_was_observed() -> None:
    service = FakeMap()
    found = sink(service)
    tell(found, "claimed")
    payload = found.payload(plan("claimed"))
    assert found.withdraw(payload, key="k", remote_id="1").outcome is Outcome.SENT
    tell(found, "completed")
    assert found.withdraw(payload, key="k", remote_id="2").outcome is Outcome.SENT
    assert service.statuses() == ["cancelled", "completed"]


def test_a_plan_claims_nothing_that_nobody_of_ours_has_claimed() -> None:
    found = sink(FakeMap())
    assert found.payload(plan(None)) == {}
    assert found.payload(plan("claimed", group="others")) == {}
    assert found.payload(plan("claimed", instrument="decam")) == {}


def test_the_pointings_of_others_are_read_whatever_one_of_them_holds() -> None:
    good = {"id": 1, "instrumentid": 5, "ra": 1.0, "dec": 2.0, "status": "planned", "time": "t"}
    listed = [good, {"id": 2}, "nonsense", {**good, "id": 3, "status": "pointing_status.completed"}]

    def service(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=listed)

    client = httpx.Client(transport=httpx.MockTransport(service))
    found = treasuremap.pointings(client, "https://map.invalid", Secret("t"), "S1")
    assert [(one.id, one.status) for one in found] == [(1, "planned"), (3, "completed")]


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(200, {"pointing_ids": [7], "ERRORS": [], "WARNINGS": ["w"]}), Outcome.SENT),
        (Reply(200, {"pointing_ids": [], "ERRORS": ["x"]}, '"ERRORS": ["x"]'), Outcome.REJECTED),
        (Reply(500, None, "invalid api_token"), Outcome.RETRY),
        (Reply(500, None, "oops"), Outcome.UNKNOWN),
        (Reply(429), Outcome.RETRY),
        (Reply(400, None, "bad"), Outcome.REJECTED),
    ],
)
def test_an_answer_is_read_for_what_it_says_inside(reply: Reply, outcome: Outcome) -> None:
    assert judge(reply, WRITE).outcome is outcome


@pytest.mark.parametrize("wrong", [{"instruments": ["ztf"]}, {"groups": []}, {"instruments": []}])
def test_settings_that_tell_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"instruments|groups"):
        sink(FakeMap(), **wrong)


def test_through_a_service_that_fails_at_random_each_pointing_is_there_once() -> None:
    rng = random.Random(1)
    service = FakeMap()
    flaky = Flaky(httpx.MockTransport(service), rng, rate=0.3)
    found = sink(flaky)
    for number in range(60):
        made = replace(plan("claimed"), event_id=f"S{number}")
        payload = found.payload(made)
        for _ in range(100):
            answer = found.send(payload, key="k")
            if answer.outcome is Outcome.SENT:
                break
    counts = Counter(one["graceid"] for one in service.stored)
    assert counts == Counter({f"S{number}": 1 for number in range(60)})
