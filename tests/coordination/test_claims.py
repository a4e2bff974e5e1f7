"""A claim from each door reaches the store once, and the plan moves around it."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from click.testing import Result
from fastapi.testclient import TestClient
from sqlalchemy import select
from typer.testing import CliRunner

from followup.claims import ClaimState, SkipReason, Verb
from mmcoord.access import Scope
from mmcoord.api.app import create_app
from mmcoord.api.slack import signature
from mmcoord.cli import app
from mmcoord.config import SlackSettings
from mmcoord.errors import Refused, UnknownRecord
from mmcoord.stages import claims as claim_stage
from mmcoord.stages import plan
from mmcoord.stages.context import Context
from mmcoord.stages.planrows import row_from_json
from mmcoord.store import claims
from mmcoord.store.claims import Act
from mmcoord.store.reading import newest_plan
from mmcoord.store.tables import EventRow, RequestRow
from tests.api.conftest import make_token
from tests.coordination.conftest import EVENT, TARGETS

NOW = datetime(2026, 3, 1, 4, tzinfo=UTC)
FIRST, SECOND, _ = TARGETS


def say(ctx: Context, verb: Verb, group: str = "ztf", at: datetime = NOW, **more: Any) -> Any:
    said = Act(verb, EVENT, more.pop("object_id", FIRST), group, "test", **more)
    with ctx.database.write() as session:
        return claims.act(session, said, at)


def rows(ctx: Context) -> dict[str, Any]:
    with ctx.database.read() as session:
        newest = newest_plan(session, EVENT)
        assert newest is not None
        query = select(RequestRow).filter_by(event_id=EVENT, revision=newest.revision)
        found = session.execute(query).scalars()
        return {row.object_id: row_from_json(row.row) for row in found}


def replan(ctx: Context) -> None:
    while plan.run(ctx):
        pass


def test_a_claim_lowers_its_target_in_a_new_plan_and_a_release_raises_it_again(
    ctx: Context,
) -> None:
    before = rows(ctx)
    say(ctx, Verb.CLAIM)
    replan(ctx)
    during = rows(ctx)
    assert during[FIRST].score == pytest.approx(0.44 * before[FIRST].score)
    assert "claimed by ztf" in during[FIRST].reasons["claims"]
    assert during[SECOND].score == before[SECOND].score
    say(ctx, Verb.RELEASE)
    replan(ctx)
    assert rows(ctx)[FIRST].score == before[FIRST].score


def test_a_claim_ends_when_its_time_is_over(ctx: Context) -> None:
    before = rows(ctx)
    say(ctx, Verb.CLAIM, hours=2.0)
    replan(ctx)
    early = dataclasses.replace(ctx, now=lambda: NOW + timedelta(hours=1.9))
    late = dataclasses.replace(ctx, now=lambda: NOW + timedelta(hours=2))
    assert claim_stage.run(early) == 0
    assert claim_stage.run(late) == 1
    assert claim_stage.run(late) == 0
    replan(ctx)
    assert rows(ctx)[FIRST].score == before[FIRST].score
    with ctx.database.read() as session:
        (row,) = claims.of_event(session, EVENT)
    assert row.state == ClaimState.EXPIRED


def test_claiming_again_makes_a_claim_last_and_no_second_one(ctx: Context) -> None:
    first = say(ctx, Verb.CLAIM, hours=2.0)
    again = say(ctx, Verb.CLAIM, at=NOW + timedelta(hours=1), hours=2.0)
    assert again.id == first.id
    assert again.expires_at == NOW + timedelta(hours=3)
    after = say(ctx, Verb.CLAIM, at=NOW + timedelta(hours=9))
    assert after.id != first.id


def test_a_key_is_one_act_however_often_it_comes(ctx: Context) -> None:
    first = say(ctx, Verb.CLAIM, key="k1")
    say(ctx, Verb.RELEASE, key="k2")
    repeat = say(ctx, Verb.CLAIM, key="k1")
    assert repeat.id == first.id
    assert repeat.state == ClaimState.RELEASED
    with pytest.raises(Refused, match="another request"):
        say(ctx, Verb.CLAIM, key="k1", object_id=SECOND)
    other = say(ctx, Verb.CLAIM, key="k1", group="lco")  # keys belong to their group
    assert other.id != first.id


@pytest.mark.parametrize("verb", [Verb.RELEASE])
def test_what_was_not_claimed_cannot_be_given_back(ctx: Context, verb: Verb) -> None:
    with pytest.raises(Refused, match="no claim"):
        say(ctx, verb)


def test_nobody_claims_what_is_no_candidate_of_the_event(ctx: Context) -> None:
    with pytest.raises(UnknownRecord, match="no candidate"):
        say(ctx, Verb.CLAIM, object_id="elsewhere")


def test_nobody_is_sent_to_a_retracted_event_but_what_was_done_is_told(ctx: Context) -> None:
    with ctx.database.write() as session:
        event = session.get(EventRow, EVENT)
        assert event is not None
        event.state = "retracted"
    with pytest.raises(Refused, match="retracted"):
        say(ctx, Verb.CLAIM)
    assert say(ctx, Verb.COMPLETE).state == ClaimState.COMPLETED


def test_a_decline_keeps_its_reason_as_a_code(ctx: Context) -> None:
    assert say(ctx, Verb.DECLINE, reason=SkipReason.WEATHER).reason == "weather"
    assert say(ctx, Verb.DECLINE, object_id=SECOND).reason == "other"


def test_claims_of_one_group_at_one_time_are_one_claim(ctx: Context) -> None:
    """Two observers of a group press at once; the store keeps one standing claim."""
    threads = [threading.Thread(target=say, args=(ctx, Verb.CLAIM)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ctx.database.read() as session:
        assert len(claims.of_event(session, EVENT)) == 1


# -- over HTTP ---------------------------------------------------------------------------


def body(verb: str = "claim", **more: Any) -> dict[str, Any]:
    return {"event_id": EVENT, "object_id": FIRST, "verb": verb, **more}


def test_the_api_takes_claims_of_groups_that_may_and_tells_of_others(
    ctx: Context, client: TestClient
) -> None:
    ztf = make_token(ctx.database, "ztf", Scope.CLAIM)
    lco = make_token(ctx.database, "lco", Scope.CLAIM)
    reader = make_token(ctx.database, "reader", Scope.READ)
    assert client.post("/api/v1/claims", json=body()).status_code == 401
    assert client.post("/api/v1/claims", json=body(), headers=reader).status_code == 403
    first = client.post("/api/v1/claims", json=body(), headers=ztf)
    assert first.status_code == 200
    assert first.json()["others"] == []
    second = client.post("/api/v1/claims", json=body(instrument="lco-1m"), headers=lco)
    assert [other["group"] for other in second.json()["others"]] == ["ztf"]
    listed = client.get("/api/v1/claims", params={"event_id": EVENT}).json()
    assert [(c["group"], c["state"]) for c in listed] == [("ztf", "claimed"), ("lco", "claimed")]


def test_the_api_says_a_repeat_is_the_same_and_a_contradiction_a_conflict(
    ctx: Context, client: TestClient
) -> None:
    headers = make_token(ctx.database, "ztf", Scope.CLAIM) | {"Idempotency-Key": "one"}
    first = client.post("/api/v1/claims", json=body(), headers=headers).json()
    assert client.post("/api/v1/claims", json=body(), headers=headers).json() == first
    wrong = client.post("/api/v1/claims", json=body("complete"), headers=headers)
    assert wrong.status_code == 409
    unknown = client.post("/api/v1/claims", json=body() | {"object_id": "x"}, headers=headers)
    assert unknown.status_code == 409  # the key again; without it the object is unknown
    del headers["Idempotency-Key"]
    unknown = client.post("/api/v1/claims", json=body() | {"object_id": "x"}, headers=headers)
    assert unknown.status_code == 404


# -- on the page -------------------------------------------------------------------------


def sign_in(ctx: Context, client: TestClient, *scopes: Scope) -> str:
    """The word that a form of the page must carry."""
    text = make_token(ctx.database, "ztf", *scopes)["Authorization"].split()[1]
    answer = client.post("/signin", content=urlencode({"token": text, "back": f"/events/{EVENT}"}))
    assert answer.status_code == 303
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=strict" in answer.headers["set-cookie"]
    page = client.get(answer.headers["location"]).text
    found = re.search(r'name="word" value="(\w+)"', page)
    return found.group(1) if found else ""


def press(client: TestClient, word: str, verb: str, **headers: str) -> Any:
    form = {"word": word, "event_id": EVENT, "object_id": FIRST, "verb": verb}
    return client.post("/claims", content=urlencode(form), headers=headers)


def test_a_button_of_the_page_claims_and_the_page_then_offers_the_next_step(
    ctx: Context, client: TestClient
) -> None:
    assert 'value="claim"' not in client.get(f"/events/{EVENT}").text
    word = sign_in(ctx, client, Scope.CLAIM)
    assert press(client, word, "claim").status_code == 303
    page = client.get(f"/events/{EVENT}").text
    assert "claimed by <strong>ztf</strong>" in page
    assert f'value="release" aria-label="Release {FIRST}"' in page
    assert press(client, word, "complete").status_code == 303
    assert press(client, word, "release").status_code == 409


def test_no_other_site_can_press_a_button(ctx: Context, client: TestClient) -> None:
    word = sign_in(ctx, client, Scope.CLAIM)
    assert press(client, "", "claim").status_code == 403
    assert press(client, word, "claim", **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    client.cookies.clear()
    assert press(client, word, "claim").status_code == 401
    with ctx.database.read() as session:
        assert claims.of_event(session, EVENT) == []


def test_a_token_that_may_not_claim_sees_no_button(ctx: Context, client: TestClient) -> None:
    assert sign_in(ctx, client, Scope.READ) == ""


@pytest.mark.parametrize("back", ["//evil.invalid", "https://evil.invalid", "/\\evil.invalid"])
def test_signing_in_leads_nowhere_else(ctx: Context, client: TestClient, back: str) -> None:
    text = make_token(ctx.database, "ztf", Scope.CLAIM)["Authorization"].split()[1]
    answer = client.post("/signin", content=urlencode({"token": text, "back": back}))
    assert answer.headers["location"] == "/"
    assert client.post("/signin", content="token=mmc_no").status_code == 401


# -- in Slack ----------------------------------------------------------------------------

SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"


def test_the_signature_is_the_one_of_slacks_own_example() -> None:
    """The worked example of Slack's page on verifying requests."""
    example = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&"
        b"channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&"
        b"command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
        b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&"
        b"trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    wanted = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    assert signature(SIGNING_SECRET, "1531420618", example) == wanted


@pytest.fixture
def slack(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("TEST_SIGNING_SECRET", SIGNING_SECRET)
    settings = dataclasses.replace(
        ctx.settings,
        slack=SlackSettings({"signing_secret_env": "TEST_SIGNING_SECRET"}, {"U1": "ztf"}),
    )
    return TestClient(create_app(ctx.database, settings, list))


def pressed(user: str = "U1", verb: str = "claim", trigger: str = "1.2.3") -> bytes:
    action = {"action_id": f"{verb}:0", "value": json.dumps([EVENT, FIRST])}
    payload = {
        "type": "block_actions",
        "user": {"id": user},
        "team": {"id": "T1"},
        "trigger_id": trigger,
        "actions": [action],
    }
    return urlencode({"payload": json.dumps(payload)}).encode()


def slack_post(client: TestClient, content: bytes, age_s: float = 0.0, **headers: str) -> Any:
    stamp = str(int(time.time() - age_s))
    signed = {
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": signature(SIGNING_SECRET, stamp, content),
    }
    return client.post("/api/v1/slack/interact", content=content, headers=signed | headers)


def test_a_press_in_slack_is_a_claim_and_its_repeat_no_second_one(
    ctx: Context, slack: TestClient
) -> None:
    assert slack_post(slack, pressed()).status_code == 200
    assert slack_post(slack, pressed()).status_code == 200
    with ctx.database.read() as session:
        (row,) = claims.of_event(session, EVENT)
    assert (row.group, row.state, row.via) == ("ztf", "claimed", "slack")


def test_what_slack_did_not_sign_or_signed_long_ago_is_refused(
    ctx: Context, slack: TestClient
) -> None:
    assert slack_post(slack, pressed(), age_s=600).status_code == 401
    assert slack_post(slack, pressed(), **{"X-Slack-Signature": "v0=00"}).status_code == 401
    tampered = signature(SIGNING_SECRET, str(int(time.time())), pressed(user="U2"))
    assert slack_post(slack, pressed(), **{"X-Slack-Signature": tampered}).status_code == 401
    with ctx.database.read() as session:
        assert claims.of_event(session, EVENT) == []


def test_a_stranger_in_slack_is_told_so(ctx: Context, slack: TestClient) -> None:
    answer = slack_post(slack, pressed(user="U9"))
    assert "speak for no group" in answer.json()["text"]
    with ctx.database.read() as session:
        assert claims.of_event(session, EVENT) == []


# -- on the command line -----------------------------------------------------------------


def test_the_command_line_claims_and_lists(ctx: Context) -> None:
    path = str(ctx.database.url.database)

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--db", path])

    done = run("claim", EVENT, FIRST, "--group", "ztf", "--json")
    assert json.loads(done.stdout)["claim"]["state"] == "claimed", done.output
    refused = run("claim", EVENT, "nothing", "--group", "ztf")
    assert isinstance(refused.exception, UnknownRecord)
    (line,) = json.loads(run("claims", EVENT, "--json").stdout)
    assert (line["object_id"], line["group"], line["via"]) == (FIRST, "ztf", "cli")
