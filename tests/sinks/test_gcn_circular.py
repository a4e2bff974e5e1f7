"""The draft of a circular keeps GCN's rules; nothing is submitted that a person has not signed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from followup.sinks import gcn_circular
from followup.sinks._gcn_draft import AUTHORS, draft, draft_link, problems
from followup.sinks.base import Outcome
from mmcoord.errors import ConfigError
from mmcoord.records import AlertType, OutgoingKind
from tests.sinks.sample import outgoing, row, tile

SIGNED = {
    "submit": True,
    "token": "gcn-t0ken",
    "authors": "The observers (an observatory)",
    "review": "two of us have looked at the first three",
}


def sink(
    table: dict[str, object], handler: Callable[[httpx.Request], httpx.Response] | None = None
) -> gcn_circular.GcnCircularSink:
    def nobody(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    client = httpx.Client(transport=httpx.MockTransport(handler or nobody))
    return gcn_circular.build("gcn", table, client)


def plan(n: int = 3, **more: object):
    return outgoing(tuple(row(k + 1) for k in range(n)), event_id="S240422ed", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("event_id", "begins"),
    [
        ("S240422ed", "LIGO/Virgo/KAGRA S240422ed: "),
        ("IC200107A", "IceCube-200107A: "),
        ("GRB 261123A", "GRB 261123A: "),
    ],
)
def test_the_subject_begins_with_the_event_as_gcn_parses_it(event_id: str, begins: str) -> None:
    subject, _ = draft(outgoing((row(1),), event_id=event_id))
    assert subject.startswith(begins)


@pytest.mark.parametrize("n", [0, 1, 20, 100])
def test_a_draft_is_short_and_lists_the_first_candidates(n: int) -> None:
    subject, body = draft(plan(n))
    assert len(body.splitlines()) <= 60
    assert max(map(len, body.splitlines())) <= 100
    assert body.count("LSST-DO-") == min(n, 20)
    assert "draft" not in subject.lower()


@pytest.mark.parametrize("n", [1, 20, 100])
def test_the_fields_of_wide_cameras_are_proposed_in_few_lines(n: int) -> None:
    planned = replace(plan(n), tiles=tuple(tile(k) for k in range(8)))
    _, body = draft(planned)
    assert "8 of ztf with 40 % of the map" in " ".join(body.split())
    assert body.count("ztf:r") == 3
    assert len(body.splitlines()) <= 60
    assert max(map(len, body.splitlines())) <= 100
    assert len(draft_link(planned)) <= 3000
    assert "propose" not in draft(plan(n))[1]


def test_before_the_first_candidate_there_is_nothing_to_report() -> None:
    assert sink({}).payload(replace(plan(0), tiles=(tile(0),))) == {}


@pytest.mark.parametrize("n", [1, 20, 100])
def test_the_link_opens_the_form_filled_in_and_stays_short(n: int) -> None:
    link = draft_link(plan(n))
    assert len(link) <= 3000
    parts = urlsplit(link)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "gcn.nasa.gov", "/circulars/new")
    fields = parse_qs(parts.query)
    assert fields["subject"][0].startswith("LIGO/Virgo/KAGRA S240422ed")
    assert "LSST-DO-900001" in fields["body"][0]


def test_without_a_persons_word_nothing_is_sent_but_the_link_is_kept() -> None:
    drafts = sink({})
    payload = drafts.payload(plan())
    answer = drafts.send(payload, key="k")
    assert answer.outcome is Outcome.SENT
    assert payload["link"] in answer.detail
    assert not drafts.is_public


@pytest.mark.parametrize("missing", ["token", "authors", "review"])
def test_submission_needs_token_authors_and_review(missing: str) -> None:
    table = {key: value for key, value in SIGNED.items() if key != missing}
    with pytest.raises(ConfigError, match="submit"):
        sink(table)
    with pytest.raises(ConfigError, match="practice"):
        sink(SIGNED | {"practice": True})


def test_a_signed_circular_is_submitted_as_the_api_wants_it() -> None:
    seen = []

    def gcn(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(201, json={"circularId": 40001})

    signed = sink(dict(SIGNED), gcn)
    payload = signed.payload(plan())
    assert problems(payload["circular"]["subject"], payload["circular"]["body"]) == []
    answer = signed.send(payload, key="k")
    assert (answer.outcome, answer.remote_id) == (Outcome.SENT, "40001")
    (request,) = seen
    assert str(request.url) == "https://gcn.nasa.gov/api/circulars"
    assert request.headers["Authorization"] == "Bearer gcn-t0ken"
    sent = json.loads(request.content)
    assert set(sent) == {"subject", "body", "format"}
    assert AUTHORS not in sent["body"]


def test_gaps_that_nobody_filled_are_not_published() -> None:
    signed = sink(dict(SIGNED))
    payload = signed.payload(plan())
    payload["circular"]["body"] += AUTHORS
    assert signed.send(payload, key="k").outcome is Outcome.REJECTED


def test_after_an_unclear_answer_a_circular_is_never_sent_again() -> None:
    def gcn(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("late", request=request)

    signed = sink(dict(SIGNED), gcn)
    payload = signed.payload(plan())
    assert signed.send(payload, key="k").outcome is Outcome.UNKNOWN
    looked = signed.lookup(payload, key="k")
    assert looked is not None
    assert looked.outcome is Outcome.UNKNOWN


def test_a_withdrawal_is_the_draft_of_another_circular() -> None:
    gone = plan(kind=OutgoingKind.WITHDRAW, alert_type=AlertType.RETRACTION)
    drafts = sink({})
    payload = drafts.payload(gone)
    assert "withdrawn" in payload["circular"]["subject"]
    assert "https://gcn.nasa.gov" in drafts.withdraw(payload, key="k", remote_id="1").detail
