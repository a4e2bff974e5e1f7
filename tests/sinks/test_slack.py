"""The Slack sink: within the limits, nothing injected, honest about what it cannot do."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from followup.sinks.base import Granularity, Outcome
from followup.sinks.slack import SlackSink, build
from mmcoord.errors import ConfigError
from mmcoord.records import AlertType, OutgoingKind
from tests.sinks.sample import EVENT, outgoing, row, row_of, tile
from tests.sinks.services import WEBHOOK, FakeSlack, client_for


def _sink(slack: FakeSlack, **more: object) -> SlackSink:
    return build("slack", {"webhook": WEBHOOK, **more}, client_for(slack))


def _texts(message: dict[str, object]) -> list[tuple[str, str]]:
    found = []
    for block in message["blocks"]:
        if block["type"] in ("header", "section"):
            found.append((block["type"], block["text"]["text"]))
        else:
            found += [(block["type"], element["text"]) for element in block["elements"]]
    return found


def _check_limits(message: dict[str, object]) -> None:
    limits = {"header": 150, "section": 3000, "context": 3000}
    assert 1 <= len(message["blocks"]) <= 50
    for kind, text in _texts(message):
        assert 1 <= len(text) <= limits[kind]
    assert len(json.dumps(message["blocks"], ensure_ascii=False)) < 13_000


def test_a_plan_is_one_message_with_its_first_rows() -> None:
    slack = FakeSlack()
    sink = _sink(slack, rows=3)
    plan = outgoing(tuple(row(n) for n in range(1, 6)))
    assert sink.send(sink.payload(plan), key=plan.key).outcome is Outcome.SENT
    (message,) = slack.posted
    whole = "\n".join(text for _, text in _texts(message))
    assert EVENT in message["text"]
    assert "PRACTICE" in message["text"]
    assert "LSST-DO-900003" in whole
    assert "LSST-DO-900004" not in whole
    assert "and 2 more" in whole
    assert "BNS 98%" in whole
    assert f"<{plan.page_url}|" in whole
    assert sink.granularity is Granularity.PLAN


@given(
    name=st.text(min_size=1, max_size=4000),
    event=st.text(min_size=1, max_size=4000),
    count=st.integers(0, 100),
    page=st.text(max_size=3000),
    fields=st.integers(0, 60),
)
@example(name="<", event="&" * 4000, count=100, page="x" * 4000, fields=60)
@example(name="`" * 4000, event="x", count=100, page="|>", fields=60)
def test_any_plan_keeps_slacks_limits_and_injects_nothing(
    name: str, event: str, count: int, page: str, fields: int
) -> None:
    rows = tuple(replace(row_of(n, n), object_id=f"{name}{n}") for n in range(1, count + 1))
    plan = replace(
        outgoing(rows, event_id=event, with_photometry=False),
        page_url=f"https://x.org/{page}",
        tiles=tuple(tile(n, instrument=name) for n in range(fields)),
    )
    sink = _sink(FakeSlack(), rows=100)
    for kind in OutgoingKind:
        message = sink.payload(replace(plan, kind=kind))["message"]
        _check_limits(message)
        links = [t for _, t in _texts(message) if t.startswith("<https://x.org/")]
        for kind_of_block, text in _texts(message):
            if kind_of_block != "header" and text not in links:
                assert "<" not in text
                assert ">" not in text
        assert links or len(page) > 200  # an address may grow twelvefold when it is quoted
        for link in links:
            assert link.count("<") == link.count(">") == link.count("|") == 1
            assert link.endswith("|Event page>")


def test_the_tiles_are_told_after_the_rows_how_many_of_how_much_and_the_first() -> None:
    eight = tuple(tile(n) for n in range(8))
    message = _sink(FakeSlack()).payload(replace(outgoing((row(1),)), tiles=eight))["message"]
    assert message["text"].endswith("(1 candidates, 8 tiles)")
    texts = [text for _, text in _texts(message)]
    (told,) = [text for text in texts if "wide cameras" in text]
    assert texts.index(told) > next(n for n, text in enumerate(texts) if "LSST-DO-900001" in text)
    assert "8 of ztf with 40 % of the map" in told
    assert told.count("ztf:r") == 5
    assert "and 3 more" in told


def test_tiles_alone_are_a_plan() -> None:
    message = _sink(FakeSlack()).payload(replace(outgoing(()), tiles=(tile(0),)))["message"]
    whole = json.dumps(message)
    assert "No candidate yet." in whole
    assert "empty" not in whole
    assert "1 tile of wide cameras" in whole


def test_control_characters_are_escaped() -> None:
    plan = outgoing((replace(row(1), object_id="<!channel> & co"),))
    whole = json.dumps(_sink(FakeSlack()).payload(plan)["message"])
    assert "<!channel>" not in whole
    assert "&lt;!channel&gt; &amp; co" in whole


@pytest.mark.parametrize(
    ("kind", "alert_type", "word"),
    [
        (OutgoingKind.WITHDRAW, AlertType.RETRACTION, "RETRACTED"),
        (OutgoingKind.WITHDRAW, AlertType.UPDATE, "WITHDRAWN"),
        (OutgoingKind.PUBLISH, AlertType.UPDATE, "WITHDRAWN"),
    ],
)
def test_withdrawing_posts_a_message_that_says_so(
    kind: OutgoingKind, alert_type: AlertType, word: str
) -> None:
    slack = FakeSlack()
    sink = _sink(slack)
    plan = outgoing((row(1),))
    sink.send(sink.payload(plan), key=plan.key)
    payload = sink.payload(replace(plan, kind=kind, alert_type=alert_type))
    assert sink.withdraw(payload, key=plan.key, remote_id=None).outcome is Outcome.SENT
    message = slack.posted[1]
    _check_limits(message)
    assert word in message["text"]
    assert EVENT in message["text"]
    assert "cannot change" in json.dumps(message)


def test_a_webhook_cannot_look_up() -> None:
    sink = _sink(FakeSlack())
    plan = outgoing((row(1),))
    assert sink.lookup(sink.payload(plan), key=plan.key) is None


def test_the_check_posts_nothing() -> None:
    slack = FakeSlack()
    assert _sink(slack).check().outcome is Outcome.UNKNOWN
    assert slack.posted == []


def test_a_repeat_can_be_recognised_by_people() -> None:
    sink = _sink(FakeSlack())
    first, again, other = (
        _texts(sink.payload(outgoing((row(1),), key=key))["message"])[-1] for key in ("a", "a", "b")
    )
    assert first == again != other


def test_an_empty_plan_says_so() -> None:
    message = _sink(FakeSlack()).payload(outgoing(()))["message"]
    assert any("empty" in text for _, text in _texts(message))


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({}, "webhook"),
        ({"webhook": "http://hooks.slack.invalid/services/x"}, "webhook"),
        ({"webhook": "hooks"}, "webhook"),
        ({"webhook": WEBHOOK, "rows": 0}, "rows"),
        ({"webhook_env": "NO_SUCH_VARIABLE_HERE"}, "webhook_env"),
        ({"webhook_file": "/no/such/file"}, "webhook_file"),
        ({"webhook": WEBHOOK, "channel": "#x"}, "channel"),
    ],
)
def test_a_wrong_setting_is_named(table: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError, match=f"sinks.slack.{key}:"):
        build("slack", table, client_for(FakeSlack()))
