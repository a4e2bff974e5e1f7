"""The tables of the newer sinks, line by line, as in ``test_answers.py``."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
import pytest

from followup.sinks import _slack_web, gcn_circular, portal, skyportal, treasuremap
from followup.sinks._http import Rule, call, judge
from followup.sinks.base import Outcome
from tests.sinks.services import client_for
from tests.sinks.test_answers import Case

S, R, N, U = Outcome.SENT, Outcome.RETRY, Outcome.REJECTED, Outcome.UNKNOWN
LATER = httpx.Response(429, headers={"Retry-After": "17"})
REFUSED = Case("not reached", httpx.ConnectError, R)
REDIRECT = Case("redirected", httpx.Response(302, headers={"Location": "x"}), R, 300.0)


def _no(error: str) -> httpx.Response:
    return httpx.Response(200, json={"ok": False, "error": error})


SLACK_WEB = [
    Case("done", httpx.Response(200, json={"ok": True, "ts": "1.2"}), S),
    REFUSED,
    Case("too many requests", LATER, R, 17.0),
    Case("too many requests", _no("ratelimited"), R, 30.0),
    Case("mended by a person", _no("invalid_auth"), R, 300.0),
    Case("mended by a person", _no("not_in_channel"), R, 300.0),
    Case("not accepted", _no("msg_blocks_too_long"), N),
    Case("message gone", _no("message_not_found"), R),
    Case("message gone", _no("thread_not_found"), R),
    Case("failed inside", _no("fatal_error"), U, 30.0),
    Case("failed inside", _no("a_new_word"), U, 30.0),
    Case("failed inside", httpx.Response(502), U, 30.0),
    Case("no answer", httpx.ReadTimeout, U, 30.0),
    Case("not Slack's answer", httpx.Response(200, text="<html>"), U, 300.0),
]
GCN_SUBMIT = [
    Case("published", httpx.Response(201, json={"circularId": 1}), S),
    REFUSED,
    Case("token refused", httpx.Response(403), R, 300.0),
    REDIRECT,
    Case("too many requests", LATER, R, 17.0),
    Case("not accepted", httpx.Response(400, text="invalid subject"), N),
    Case("unclear", httpx.Response(200, text="<html>"), U, 300.0),
    Case("unclear", httpx.Response(500), U, 300.0),
    Case("unclear", httpx.ReadTimeout, U, 300.0),
]
MAP_WRITE = [
    Case("written", httpx.Response(200, json={"pointing_ids": [1], "ERRORS": []}), S),
    REFUSED,
    REDIRECT,
    Case("too many requests", LATER, R, 17.0),
    Case("token refused", httpx.Response(401), R, 300.0),
    Case("token refused", httpx.Response(500, text="invalid api_token"), R, 300.0),
    Case("not accepted", httpx.Response(200, json={"pointing_ids": [], "ERRORS": ["x"]}), N),
    Case("refused", httpx.Response(400), N),
    Case("failed inside", httpx.Response(500, text="oops"), U, 300.0),
    Case("no answer", httpx.ReadTimeout, U, 60.0),
]
MAP_READ = [
    Case("read", httpx.Response(200, json=[]), S),
    REFUSED,
    REDIRECT,
    Case("too many requests", LATER, R, 17.0),
    Case("token refused", httpx.Response(403), R, 300.0),
    Case("unreadable", httpx.Response(500), R),
    Case("unreadable", httpx.ReadTimeout, R),
]
SKYPORTAL = [
    Case("done", httpx.Response(200, json={"status": "success", "data": {}}), S),
    REFUSED,
    Case("token refused", httpx.Response(401, json={"status": "error"}), R, 300.0),
    REDIRECT,
    Case("too many requests", LATER, R, 17.0),
    Case("not accepted", httpx.Response(400, json={"status": "error", "message": "x"}), N),
    Case("not accepted", httpx.Response(200, json={"status": "error", "message": "x"}), N),
    Case("failed inside", httpx.Response(500, json={"status": "error"}), U, 30.0),
    Case("no answer", httpx.ReadTimeout, U, 30.0),
    Case("not SkyPortal's answer", httpx.Response(200, text="<html>"), U, 300.0),
]
PORTAL = [
    Case("done", httpx.Response(201, json={"id": 1}), S),
    REFUSED,
    Case("token refused", httpx.Response(401, json={"detail": "Invalid token."}), R, 300.0),
    REDIRECT,
    Case("too many requests", LATER, R, 17.0),
    Case("not accepted", httpx.Response(400, json={"proposal": ["no such proposal"]}), N),
    Case("failed inside", httpx.Response(502), U, 30.0),
    Case("no answer", httpx.ReadTimeout, U, 30.0),
    Case("not a portal's answer", httpx.Response(200, text="<html>"), U, 300.0),
]
TABLES: dict[str, tuple[Sequence[Rule], list[Case]]] = {
    "slack web": (_slack_web.WEB, SLACK_WEB),
    "gcn submit": (gcn_circular.SUBMIT, GCN_SUBMIT),
    "treasuremap write": (treasuremap.WRITE, MAP_WRITE),
    "portal": (portal.ANSWERS, PORTAL),
    "skyportal": (skyportal.ANSWERS, SKYPORTAL),
    "treasuremap read": (treasuremap.READ, MAP_READ),
}
CASES = [(table, case) for table, (_, cases) in TABLES.items() for case in cases]


@pytest.mark.parametrize(
    ("table", "case"), CASES, ids=[f"{t}, {c.rule}, {n}" for n, (t, c) in enumerate(CASES)]
)
def test_an_answer_is_read_as_the_table_says(table: str, case: Case) -> None:
    def service(request: httpx.Request) -> httpx.Response:
        if isinstance(case.given, httpx.Response):
            given = case.given
            return httpx.Response(given.status_code, headers=given.headers, content=given.content)
        raise case.given("bad luck", request=request)

    with client_for(service) as client:
        reply = call(client, "POST", "https://service.invalid", timeout_s=5, secrets=())
    answer = judge(reply, TABLES[table][0])
    assert answer.outcome is case.outcome, answer
    assert answer.retry_after_s == case.wait
    assert case.rule in answer.detail


@pytest.mark.parametrize("table", list(TABLES))
def test_no_line_of_a_table_is_untried(table: str) -> None:
    rules, cases = TABLES[table]
    assert {case.rule for case in cases} == {rule.name for rule in rules}
