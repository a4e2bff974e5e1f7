"""Request groups: validated only, unless the operator and a person want more; each once."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from followup.sinks import portal
from followup.sinks.base import Outcome
from mmcoord.errors import ConfigError
from mmcoord.records import Outgoing
from tests.sinks.sample import outgoing, row_of
from tests.sinks.services import Flaky

TABLE: dict[str, Any] = {
    "url": "https://observe.invalid",
    "token": "lco-t0ken",
    "proposal": "KEY2026A-001",
    "instruments": ["soar_goodman=SOAR_GHTS_REDCAM"],
    "filters": ["lsst:r=r-SDSS"],
}


@dataclass
class FakePortal:
    """Validates, stores and cancels request groups."""

    groups: list[dict[str, Any]] = field(default_factory=list)
    validated: int = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") != "Token lco-t0ken":
            return httpx.Response(401, json={"detail": "Invalid token."})
        path = request.url.path.removeprefix("/api/requestgroups/")
        if request.method == "GET":
            name = request.url.params["name"]
            found = [one for one in self.groups if name in one["name"]]
            return httpx.Response(200, json={"count": len(found), "results": found})
        body = json.loads(request.content)
        if path == "validate/":
            self.validated += 1
            exposure = body["requests"][0]["configurations"][0]["instrument_configs"][0]
            bad = {} if exposure["exposure_time"] > 0 else {"requests": ["no exposure"]}
            return httpx.Response(200, json={"request_durations": {}, "errors": bad})
        if path.endswith("/cancel/"):
            self.groups[int(path.partition("/")[0]) - 1]["state"] = "CANCELED"
            return httpx.Response(200, json={})
        self.groups.append({**body, "id": len(self.groups) + 1, "state": "PENDING"})
        return httpx.Response(201, json=self.groups[-1])


def sink(service: Any, **more: Any) -> portal.PortalSink:
    transport = service if isinstance(service, httpx.BaseTransport) else None
    client = httpx.Client(transport=transport or httpx.MockTransport(service))
    return portal.build("lco", TABLE | more, client)


def plan(number: int = 1, revision: int = 1) -> Outgoing:
    return outgoing((row_of(number, 1),), revision=revision, with_photometry=False)


def test_by_default_a_request_is_validated_and_nothing_is_booked() -> None:
    service = FakePortal()
    found = sink(service)
    answer = found.send(found.payload(plan()), key="k")
    assert answer.outcome is Outcome.SENT
    assert "not submitted" in answer.detail
    assert (service.validated, service.groups) == (1, [])
    assert not found.is_public
    assert sink(service, submit=True).is_public


def test_a_new_ranking_asks_for_no_second_exposure_and_a_withdrawal_cancels() -> None:
    service = FakePortal()
    found = sink(service, submit=True)
    for revision in (1, 2, 3):
        payload = found.payload(plan(revision=revision))
        assert found.send(payload, key=f"k{revision}").outcome is Outcome.SENT
    (group,) = service.groups
    assert (group["proposal"], group["operator"]) == ("KEY2026A-001", "SINGLE")
    (request,) = group["requests"]
    (configuration,) = request["configurations"]
    assert configuration["instrument_type"] == "SOAR_GHTS_REDCAM"
    assert configuration["instrument_configs"][0]["optical_elements"] == {"filter": "r-SDSS"}
    assert request["windows"] == [{"start": "2026-11-23T04:30:00Z", "end": "2026-11-23T10:30:00Z"}]
    for _ in range(2):
        assert found.withdraw(payload, key="k", remote_id=None).outcome is Outcome.SENT
    assert [one["state"] for one in service.groups] == ["CANCELED"]


def test_what_the_portal_finds_invalid_is_not_submitted() -> None:
    service = FakePortal()
    found = sink(service, submit=True)
    payload = found.payload(plan())
    payload["requests"][0]["configurations"][0]["instrument_configs"][0]["exposure_time"] = 0
    assert found.send(payload, key="k").outcome is Outcome.REJECTED
    assert service.groups == []


def test_an_instrument_or_band_that_the_portal_has_not_is_not_asked() -> None:
    assert sink(FakePortal(), instruments=["x=Y"]).payload(plan()) == {}
    assert sink(FakePortal(), filters=["lsst:g=gp"]).payload(plan()) == {}


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"instruments": ["x"]}, "instruments"),
        ({"filters": ["=y"]}, "filters"),
        ({"submit": True, "practice": True}, "submit"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any], names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        sink(FakePortal(), **wrong)


def test_through_a_service_that_fails_at_random_each_group_is_there_once() -> None:
    service, rng = FakePortal(), random.Random(6)
    found = sink(Flaky(httpx.MockTransport(service), rng, rate=0.3), submit=True)
    for number in range(60):
        payload = found.payload(plan(number))
        for _ in range(100):
            if found.send(payload, key=f"k{number}").outcome is Outcome.SENT:
                break
    counts = Counter(one["name"] for one in service.groups)
    assert set(counts.values()) == {1}
    assert len(counts) == 60
