"""Every line of every table that reads a service's answers, and that no line is untried.

``docs/sinks.md`` shows the same tables; the names of the cases are the names there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from followup.sinks import _tom_rest, hermes, slack, tom
from followup.sinks._http import Rule
from followup.sinks.base import Answer, Outcome
from tests.sinks.sample import outgoing, row
from tests.sinks.services import HERMES_TOKEN, WEBHOOK, client_for

S, R, N, U = Outcome.SENT, Outcome.RETRY, Outcome.REJECTED, Outcome.UNKNOWN
PLAN = outgoing((row(1),), with_photometry=False)


@dataclass(frozen=True)
class Case:
    rule: str
    given: httpx.Response | type[httpx.TransportError]
    outcome: Outcome
    wait: float | None = None


def _html(status: int) -> httpx.Response:
    return httpx.Response(status, text="<html>an error page</html>")


REFUSED = Case("not reached", httpx.ConnectError, R)
REFUSED_SLOWLY = Case("not reached", httpx.ConnectTimeout, R)
SILENT = Case("no answer", httpx.ReadTimeout, U)
CUT = Case("no answer", httpx.RemoteProtocolError, U)
UNREADABLE = Case("no answer", httpx.ReadError, U)
REDIRECT = Case(
    "redirected", httpx.Response(302, headers={"Location": "https://evil.invalid/"}), R, 300.0
)
LATER = httpx.Response(429, headers={"Retry-After": "17"})

SLACK = [
    Case("posted", httpx.Response(200, text="ok"), S),
    REFUSED,
    REFUSED_SLOWLY,
    REDIRECT,
    Case("too many requests", LATER, R, 17.0),
    Case("too many requests", httpx.Response(429), R, 30.0),
    Case("webhook refused", httpx.Response(403, text="invalid_token"), R, 300.0),
    Case("webhook refused", httpx.Response(404, text="no_service"), R, 300.0),
    Case("webhook refused", httpx.Response(410, text="channel_is_archived"), R, 300.0),
    Case("not accepted", httpx.Response(400, text="invalid_payload"), N),
    Case("not accepted", httpx.Response(413), N),
    Case("failed inside", httpx.Response(500, text="rollup_error"), U, 30.0),
    Case("failed inside", httpx.Response(503), U, 30.0),
    Case("no answer", httpx.ReadTimeout, U, 30.0),
    Case("no answer", httpx.RemoteProtocolError, U, 30.0),
    Case("not Slack's answer", _html(200), U, 300.0),
]

UUID = {"uuid": "6b1e0d0c-0000-4000-8000-000000000001"}
NO_CREDENTIAL = {"error": "User account does not have an associated SCIMMA auth credential."}
KAFKA = {"error": "Error posting message to kafka: Local: Timed out"}
HERMES_SUBMIT = [
    Case("published", httpx.Response(200, json=UUID), S),
    REFUSED,
    REDIRECT,
    Case("token refused", httpx.Response(401, json={}), R, 300.0),
    Case("token refused", httpx.Response(403, json={"detail": "Invalid token."}), R, 300.0),
    Case("wrong address", _html(404), R, 300.0),
    Case("too many requests", LATER, R, 17.0),
    Case("no SCiMMA credential", httpx.Response(200, json=NO_CREDENTIAL), R, 300.0),
    Case("Kafka failed", httpx.Response(400, json=KAFKA), U, 60.0),
    Case("not accepted", httpx.Response(400, json={"title": ["may not be blank"]}), N),
    Case("not accepted", httpx.Response(413), N),
    Case("failed inside", _html(500), U, 60.0),
    Case("failed inside", httpx.Response(502), U, 60.0),
    Case("failed inside", httpx.Response(503), U, 60.0),
    Case("no answer", httpx.ReadTimeout, U, 60.0),
    Case("no answer", httpx.RemoteProtocolError, U, 60.0),
    Case("not Hermes's answer", _html(200), U, 60.0),
    Case("not Hermes's answer", httpx.Response(200, json={}), U, 60.0),
]
HERMES_QUERY = [
    Case("found out", httpx.Response(200, json={"messages": []}), R),
    Case("not reached", httpx.ConnectError, U),
    Case("token refused", httpx.Response(403, json={}), U, 300.0),
    Case("redirected", httpx.Response(301), U, 300.0),
    Case("wrong address", _html(404), U, 300.0),
    Case("too many requests", LATER, U, 17.0),
    Case("the archive cannot be searched", _html(500), U),
    Case("the archive cannot be searched", httpx.ReadTimeout, U),
    Case("the archive cannot be searched", httpx.Response(200, json={"error": "x"}), U),
]
HERMES_MARK = [
    Case("marked as retracted", httpx.Response(200, json={"success": "true"}), S),
    Case("not reached", httpx.ConnectError, R),
    Case("too many requests", LATER, R, 17.0),
    Case("cannot be marked", httpx.Response(401, json={"error": "x"}), S),
    Case("cannot be marked", httpx.Response(403, json={"error": "x"}), S),
    Case("cannot be marked", _html(404), S),
    Case("marking failed", _html(500), R),
    Case("marking failed", httpx.ReadTimeout, R),
]
HERMES_PRELOAD = [
    Case("loaded", httpx.Response(201, json={"key": "k"}), S),
    Case("not reached", httpx.ConnectError, R),
    Case("token refused", httpx.Response(401, json={}), R, 300.0),
    Case("redirected", httpx.Response(301), R, 300.0),
    Case("wrong address", _html(404), R, 300.0),
    Case("too many requests", LATER, R, 17.0),
    Case("not loaded", _html(500), R),
    Case("not loaded", httpx.ReadTimeout, R),
]

HERMES_HEARTBEAT = [
    Case("logged in", httpx.Response(200, json={"is_authenticated": True}), S),
    Case("not reached", httpx.ConnectError, R),
    Case("token refused", httpx.Response(403, json={}), R, 300.0),
    Case("redirected", httpx.Response(301), R, 300.0),
    Case("wrong address", _html(404), R, 300.0),
    Case("too many requests", LATER, R, 17.0),
    Case("not logged in", httpx.Response(200, json={"is_authenticated": False}), R, 300.0),
    Case("no heartbeat", _html(200), R),
    Case("no heartbeat", _html(500), R),
    Case("no heartbeat", httpx.ReadTimeout, R),
]

GROUPS = {"results": [{"id": 2, "name": "mmcoord"}], "next": None}
TOM_READ = [
    Case("read", httpx.Response(200, json=GROUPS), S),
    REFUSED,
    REDIRECT,
    Case("token refused", httpx.Response(401, json={"detail": "Invalid token."}), R, 300.0),
    Case("forbidden", httpx.Response(403, json={}), R, 300.0),
    Case("too many requests", LATER, R, 17.0),
    Case("unavailable", httpx.Response(503), R),
    Case("not found", _html(404), R, 300.0),
    Case("unreadable", _html(200), R),
    Case("unreadable", _html(500), R),
    Case("unreadable", httpx.ReadTimeout, R),
]
TOM_WRITE = [
    Case("written", httpx.Response(201, json={}), S),  # completed from the request, see below
    REFUSED,
    REDIRECT,
    Case("token refused", httpx.Response(401, json={}), R, 300.0),
    Case("forbidden", httpx.Response(403, json={}), R, 300.0),
    Case("too many requests", LATER, R, 17.0),
    Case("unavailable", httpx.Response(503), R),
    Case("no right to change", httpx.Response(404, json={}), R, 300.0),
    Case("not accepted", httpx.Response(400, json={"ra": ["A valid number is required."]}), N),
    Case("not accepted", httpx.Response(409, json={"detail": "retracted"}), N),
    Case("not accepted", httpx.Response(413), N),
    Case("failed inside", _html(500), U),
    Case("failed inside", httpx.Response(502), U),
    SILENT,
    CUT,
    UNREADABLE,
    Case("not a TOM's answer", _html(200), U),
]

Handler = Callable[[httpx.Request], httpx.Response]


def _give(case: Case, request: httpx.Request) -> httpx.Response:
    if isinstance(case.given, httpx.Response):
        given = case.given
        return httpx.Response(given.status_code, headers=given.headers, content=given.content)
    raise case.given("bad luck", request=request)


def _slack(case: Case) -> Answer:
    with client_for(lambda request: _give(case, request)) as client:
        sink = slack.build("slack", {"webhook": WEBHOOK}, client)
        return sink.send(sink.payload(PLAN), key=PLAN.key)


def _hermes_sink(client: httpx.Client) -> hermes.HermesSink:
    return hermes.build("hermes", {"token": HERMES_TOKEN, "submitter": "test"}, client)


def _submit(case: Case) -> Answer:
    def service(request: httpx.Request) -> httpx.Response:
        if "query" in request.url.path:
            return httpx.Response(200, json={"messages": []})
        return _give(case, request)

    with client_for(service) as client:
        sink = _hermes_sink(client)
        return sink.send(sink.payload(PLAN), key=PLAN.key)


def _query(case: Case) -> Answer:
    with client_for(lambda request: _give(case, request)) as client:
        sink = _hermes_sink(client)
        return sink.lookup(sink.payload(PLAN), key=PLAN.key)


def _mark(case: Case) -> Answer:
    def service(request: httpx.Request) -> httpx.Response:
        if request.method == "PATCH":
            return _give(case, request)
        return httpx.Response(200, json={"messages": [], **UUID})

    with client_for(service) as client:
        sink = _hermes_sink(client)
        return sink.withdraw(sink.payload(PLAN), key=PLAN.key, remote_id="u")


def _preload(case: Case) -> Answer:
    with client_for(lambda request: _give(case, request)) as client:
        sink = _hermes_sink(client)
        return sink.preload(sink.payload(PLAN))


def _heartbeat(case: Case) -> Answer:
    with client_for(lambda request: _give(case, request)) as client:
        return _hermes_sink(client).check()


def _tom(service: Handler) -> Answer:
    with client_for(service) as client:
        table = {"url": "https://tom.invalid", "token": "t" * 40}
        sink = tom.build("tom", table, client)
        return sink.send(sink.payload(PLAN), key=PLAN.key)


def _tom_read(case: Case) -> Answer:
    def service(request: httpx.Request) -> httpx.Response:
        if "groups" in request.url.path:
            return _give(case, request)
        return _tom_service(request)

    return _tom(service)


def _tom_write(case: Case) -> Answer:
    def service(request: httpx.Request) -> httpx.Response:
        if request.method == "GET" or case.rule == "written":
            return _tom_service(request)
        return _give(case, request)

    return _tom(service)


def _tom_service(request: httpx.Request) -> httpx.Response:
    """An empty TOM that takes a target."""
    if request.method == "POST":
        content = request.content.decode()
        return httpx.Response(201, content='{"id": 7, "aliases": [], ' + content[1:])
    empty = {"results": [], "next": None}
    return httpx.Response(200, json=GROUPS if "groups" in request.url.path else empty)


TABLES: dict[str, tuple[Sequence[Rule], list[Case], Callable[[Case], Answer]]] = {
    "slack post": (slack.POST, SLACK, _slack),
    "hermes submit": (hermes.SUBMIT, HERMES_SUBMIT, _submit),
    "hermes query": (hermes.QUERY, HERMES_QUERY, _query),
    "hermes mark": (hermes.MARK, HERMES_MARK, _mark),
    "hermes preload": (hermes.PRELOAD, HERMES_PRELOAD, _preload),
    "hermes heartbeat": (hermes.HEARTBEAT, HERMES_HEARTBEAT, _heartbeat),
    "tom read": (_tom_rest.READS, TOM_READ, _tom_read),
    "tom write": (_tom_rest.WRITES, TOM_WRITE, _tom_write),
}
CASES = [(table, case) for table, (_, cases, _) in TABLES.items() for case in cases]


@pytest.mark.parametrize(
    ("table", "case"), CASES, ids=[f"{t}, {c.rule}, {n}" for n, (t, c) in enumerate(CASES)]
)
def test_an_answer_is_read_as_the_table_says(table: str, case: Case) -> None:
    answer = TABLES[table][2](case)
    assert answer.outcome is case.outcome, answer
    assert answer.retry_after_s == case.wait
    if answer.outcome is not S:
        assert case.rule in answer.detail or case.rule == "found out"


@pytest.mark.parametrize("table", list(TABLES))
def test_no_line_of_a_table_is_untried(table: str) -> None:
    rules, cases, _ = TABLES[table]
    assert {case.rule for case in cases} == {rule.name for rule in rules}


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("17", 17.0, 17.0),
        ("0.5", 0.5, 0.5),
        ("-3", 0.0, 0.0),
        ("999999999", 3600.0, 3600.0),
        ("in half an hour", 1500, 1800),
        ("nan", 30.0, 30.0),
        ("soon", 30.0, 30.0),
    ],
)
def test_the_time_that_a_service_asks_for_is_kept(header: str, low: float, high: float) -> None:
    if header == "in half an hour":
        header = format_datetime(datetime.now(UTC) + timedelta(seconds=1800), usegmt=True)
    wait = _slack(Case("", httpx.Response(429, headers={"Retry-After": header}), R)).retry_after_s
    assert wait is not None
    assert low <= wait <= high
