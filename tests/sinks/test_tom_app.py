"""A real TOM with our Django app: requests, buttons, and what mmcoord hears of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from followup.claims import Verb
from followup.sinks import tom as tom_sink
from followup.sinks._tom_app import request_key
from followup.sinks.base import Hears, Outcome
from mmcoord.records import AlertType, OutgoingKind, PlanLook
from tests.sinks.patch_of_sky import post, rows
from tests.sinks.sample import outgoing
from tests.tom_server import TomServer, TomUser, extras

pytestmark = [pytest.mark.tom, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.long]
EVENT = "MS261123app"
LOOK = PlanLook(
    "the same again",
    "lco-1m-ctio",
    "sdss:g",
    datetime(2026, 11, 23, 8, 30, tzinfo=UTC),
    240.0,
    20.5,
)


@pytest.fixture
def sink(tom_with_app: TomServer) -> Iterator[tom_sink.TomSink]:
    with httpx.Client() as client:
        yield tom_sink.build(
            "our-tom", {"url": tom_with_app.url, "token": tom_with_app.bot.token}, client
        )


def requests(tom: TomServer, event: str, user: TomUser | None = None) -> dict[str, Any]:
    found = tom.get("/api/mmcoordrequests/", user, event_id=event, limit=1000).json()["results"]
    return {request["object_id"]: request for request in found}


def say(tom: TomServer, event: str, object_id: str, verb: str, user: TomUser) -> httpx.Response:
    url = f"{tom.url}/api/mmcoordrequests/{request_key(event, object_id)}/say/"
    return httpx.post(url, json={"verb": verb}, headers=user.headers, timeout=60)


def test_a_plan_is_posted_reposted_reranked_claimed_completed_and_withdrawn(
    tom_with_app: TomServer, sink: tom_sink.TomSink
) -> None:
    tom, event = tom_with_app, f"{EVENT}1"
    some = rows(event, 6)
    post(sink, event, some, 1)
    post(sink, event, some, 1)
    assert [r["rank"] for r in requests(tom, event).values()] == [1, 2, 3, 4, 5, 6]
    assert len(tom.targets(name=event)) == 6
    turned = [replace(row, rank=7 - row.rank) for row in some]
    post(sink, event, turned, 2)
    assert {name: r["rank"] for name, r in requests(tom, event).items()} == {
        row.object_id: row.rank for row in turned
    }
    post(sink, event, some, 1)  # late
    assert requests(tom, event)[some[0].object_id]["rank"] == 6

    assert isinstance(sink, Hears)
    claimed, done = some[0].object_id, some[1].object_id
    start = max((word.position for word in sink.hear(0)), default=0)
    assert say(tom, event, claimed, "claim", tom.observer).status_code == 201
    assert say(tom, event, done, "complete", tom.observer).status_code == 201
    words = sink.hear(start)
    assert [(w.verb, w.object_id, w.who) for w in words] == [
        (Verb.CLAIM, claimed, "observer at our-tom"),
        (Verb.COMPLETE, done, "observer at our-tom"),
    ]
    assert sink.hear(words[-1].position) == []

    for row in some:
        taken_back = outgoing(
            (row,),
            event_id=event,
            revision=3,
            kind=OutgoingKind.WITHDRAW,
            alert_type=AlertType.RETRACTION,
        )
        answer = sink.withdraw(sink.payload(taken_back), key="w", remote_id=None)
        assert answer.outcome is Outcome.SENT
    assert {r["state"] for r in requests(tom, event).values()} == {"retracted"}
    assert {extras(t)["mmcoord_state"] for t in tom.targets(name=event)} == {"retracted"}
    refused = say(tom, event, claimed, "claim", tom.bot)
    assert refused.status_code == 400
    assert "retracted" in refused.text
    late = outgoing((some[0],), event_id=event, revision=3)
    assert sink.send(sink.payload(late), key=late.key).outcome is Outcome.REJECTED


def test_a_lookup_finds_what_was_posted_and_no_other(
    tom_with_app: TomServer, sink: tom_sink.TomSink
) -> None:
    event = f"{EVENT}2"
    (row,) = rows(event, 1)
    post(sink, event, [row], 1)
    for revision, found in ((1, Outcome.SENT), (2, Outcome.RETRY)):
        plan = outgoing((row,), event_id=event, revision=revision, with_photometry=False)
        answer = sink.lookup(sink.payload(plan), key=plan.key)
        assert answer is not None
        assert answer.outcome is found


def test_nobody_without_a_user_sees_or_says_anything(
    tom_with_app: TomServer, sink: tom_sink.TomSink
) -> None:
    """Though the TOM's own interface answers anonymous visitors, and even takes targets."""
    tom, event = tom_with_app, f"{EVENT}3"
    (row,) = rows(event, 1)
    post(sink, event, [row], 1)
    key = request_key(event, row.object_id)
    for method, path in (
        ("GET", "/api/mmcoordrequests/"),
        ("GET", "/api/mmcoordclaims/"),
        ("GET", f"/api/mmcoordrequests/{key}/"),
        ("PUT", f"/api/mmcoordrequests/{key}/"),
        ("POST", f"/api/mmcoordrequests/{key}/say/"),
    ):
        answer = httpx.request(method, f"{tom.url}{path}", json={}, timeout=60)
        assert answer.status_code == 401, (method, path)
    assert httpx.get(f"{tom.url}/mmcoord/", timeout=60).status_code == 302
    assert httpx.post(f"{tom.url}/mmcoord/{key}/say/", timeout=60).status_code in (302, 403)
    assert requests(tom, event, tom.outsider) == {}
    assert say(tom, event, row.object_id, "claim", tom.outsider).status_code == 404


def test_an_outsider_cannot_write_a_request_for_a_target_of_others(
    tom_with_app: TomServer, sink: tom_sink.TomSink
) -> None:
    tom, event = tom_with_app, f"{EVENT}4"
    (row,) = rows(event, 1)
    post(sink, event, [row], 1)
    held = requests(tom, event)[row.object_id]
    url = f"{tom.url}/api/mmcoordrequests/{request_key(event, row.object_id)}/"
    body = {**held, "rank": 99, "plan_revision": 9}
    answer = httpx.put(url, json=body, headers=tom.outsider.headers, timeout=60)
    assert answer.status_code == 403
    assert requests(tom, event)[row.object_id]["rank"] == 1


def test_the_buttons_of_a_targets_page_claim(
    tom_with_app: TomServer, sink: tom_sink.TomSink
) -> None:
    """As a browser does it: sign in, open the page, press; the claim is an observation record."""
    tom, event = tom_with_app, f"{EVENT}5"
    (row,) = rows(event, 1)
    post(sink, event, [replace(row, looks=(LOOK,))], 1)
    (target,) = tom.targets(name=row.object_id)
    with httpx.Client(base_url=tom.url, follow_redirects=True, timeout=60) as browser:
        page = browser.get("/accounts/login/").text
        word = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert word is not None
        who = {"login": tom.observer.name, "password": tom.observer.password}
        form = {**who, "username": tom.observer.name, "csrfmiddlewaretoken": word.group(1)}
        browser.post("/accounts/login/", data=form)
        page = browser.get(f"/targets/{target['id']}/").text
        assert "no host catalogue searched" in page  # the reasons are shown
        assert "then the same again: lco-1m-ctio sdss:g 240 s from 2026-11-23 08:30 UTC" in page
        press = re.search(r'action="(/mmcoord/\w+/say/)"><input[^>]*value="(\w+)"', page)
        assert press is not None
        path, word_of_form = press.groups()
        browser.post(path, data={"verb": "claim"})  # as another site would, without the word
        assert "claim by observer" not in browser.get(f"/targets/{target['id']}/").text
        pressed = {"verb": "claim", "csrfmiddlewaretoken": word_of_form}
        assert "claim by observer" in browser.post(path, data=pressed).text
        assert row.object_id in browser.get("/mmcoord/").text
    records = tom.get("/api/observations/", tom.observer).json()["results"]
    (record,) = [r for r in records if r["target"] == target["id"]]
    assert (record["facility"], record["status"]) == ("mmcoord", "CLAIMED")
    url = f"{tom.url}/api/observations/{record['id']}/cancel/"
    cancelled = httpx.patch(url, headers=tom.observer.headers, timeout=60)
    assert cancelled.json()["status"] == "CANCELED"
    assert [w.verb for w in sink.hear(0) if w.event_id == event] == [Verb.CLAIM, Verb.RELEASE]


def test_further_looks_are_data_of_the_request_and_of_a_claims_record(
    tom_with_app: TomServer, sink: tom_sink.TomSink
) -> None:
    tom, event = tom_with_app, f"{EVENT}8"
    (row,) = rows(event, 1)
    post(sink, event, [replace(row, looks=(LOOK,))], 1)
    asked = requests(tom, event)[row.object_id]
    assert asked["looks"] == [
        {
            "role": "the same again", "instrument": "lco-1m-ctio", "band": "sdss:g",
            "start": "2026-11-23T08:30:00Z", "exposure_s": 240.0, "predicted_mag": 20.5,
        }
    ]  # fmt: skip
    assert say(tom, event, row.object_id, "claim", tom.observer).status_code == 201
    (target,) = tom.targets(name=row.object_id)
    records = tom.get("/api/observations/", tom.observer).json()["results"]
    (record,) = [r for r in records if r["target"] == target["id"]]
    assert record["parameters"]["looks"] == asked["looks"]
    post(sink, event, [row], 2)
    assert requests(tom, event)[row.object_id]["looks"] == []


def test_an_observation_can_be_submitted_through_the_tom(
    tom_with_app: TomServer, sink: tom_sink.TomSink
) -> None:
    tom, event = tom_with_app, f"{EVENT}6"
    (row,) = rows(event, 1)
    post(sink, event, [row], 1)
    (target,) = tom.targets(name=row.object_id)
    body = {
        "facility": "mmcoord",
        "observation_type": "REQUEST",
        "target_id": target["id"],
        "observing_parameters": {"event_id": event},
    }
    url = f"{tom.url}/api/observations/"
    submitted = httpx.post(url, json=body, headers=tom.observer.headers, timeout=60)
    assert submitted.status_code == 201, submitted.text
    assert [w.verb for w in sink.hear(0) if w.event_id == event] == [Verb.CLAIM]
    body["observing_parameters"] = {"event_id": "another"}
    assert httpx.post(url, json=body, headers=tom.observer.headers, timeout=60).status_code == 400


def test_a_light_curve_is_a_data_product_once(tom_with_app: TomServer) -> None:
    pytest.importorskip("matplotlib")
    tom, event = tom_with_app, f"{EVENT}7"
    (row,) = rows(event, 1)
    with httpx.Client() as client:
        table = {"url": tom.url, "token": tom.bot.token, "pictures": True}
        for _ in range(2):
            sink = tom_sink.build("our-tom", table, client)
            plan = outgoing((row,), event_id=event)
            plan = replace(
                plan,
                photometry=tuple(replace(p, object_id=row.object_id) for p in plan.photometry),
            )
            assert sink.send(sink.payload(plan), key=plan.key).outcome is Outcome.SENT
    (target,) = tom.targets(name=row.object_id)
    products = tom.get("/api/dataproducts/").json()["results"]
    ours = [p for p in products if p["target"] == target["id"]]
    assert [p["data_product_type"] for p in ours] == ["image_file"]
    assert Path(ours[0]["product_id"]).name.startswith(f"mmcoord-{event}")
