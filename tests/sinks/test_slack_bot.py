"""One message per event, edited in place, however often a delivery is repeated."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from followup.claims import Verb
from followup.sinks import slack_bot
from followup.sinks._http import Reply, judge
from followup.sinks._slack_web import WEB
from followup.sinks.base import Answer, Outcome
from mmcoord.records import AlertType, Outgoing, OutgoingKind
from tests.sinks.sample import outgoing, row
from tests.sinks.services import Flaky

TOKEN = "xoxb-5ecret-0123456789"
SQUARE = {"0.5": [[[10.0, 0.0], [20.0, 0.0], [20.0, 10.0], [10.0, 10.0]]], "0.9": []}


@dataclass
class FakeSlackWeb:
    """A channel: posts, edits, threads, metadata, files in three steps.

    Each message is a second after the one before it. A cursor is a place in time, so that what
    is posted between two pages moves neither.
    """

    messages: list[dict[str, Any]] = field(default_factory=list)
    began_s: int = field(default_factory=lambda: int(time.time()))
    asked: Counter[str] = field(default_factory=Counter)
    files: dict[str, bytes] = field(default_factory=dict)
    placed: list[tuple[str, str]] = field(default_factory=list)
    _number: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "files.slack.invalid":
            self.files[request.url.path] = request.content
            return httpx.Response(200, text="OK")
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._no("invalid_auth")
        method = request.url.path.rpartition("/")[2].replace(".", "_")
        self.asked[method] += 1
        if request.method == "GET":
            values = dict(request.url.params)
        else:
            values = json.loads(request.content)
        answer: httpx.Response = getattr(self, method)(values)
        return answer

    @staticmethod
    def _no(error: str) -> httpx.Response:
        return httpx.Response(200, json={"ok": False, "error": error})

    def chat_postMessage(self, values: dict[str, Any]) -> httpx.Response:
        if "thread_ts" in values and values["thread_ts"] not in {m["ts"] for m in self.messages}:
            return self._no("thread_not_found")
        ts = f"{self.began_s + next(self._number)}.000100"
        self.messages.append({**values, "ts": ts})
        return httpx.Response(200, json={"ok": True, "ts": ts})

    def chat_update(self, values: dict[str, Any]) -> httpx.Response:
        for message in self.messages:
            if message["ts"] == values["ts"]:
                message.update(values)
                return httpx.Response(200, json={"ok": True, "ts": values["ts"]})
        return self._no("message_not_found")

    def conversations_history(self, values: dict[str, Any]) -> httpx.Response:
        """The newest first."""
        assert values["include_all_metadata"] == "true"
        roots = [m for m in reversed(self.messages) if "thread_ts" not in m]
        after = self._after(roots, values)
        if "cursor" in values:
            after = [m for m in after if float(m["ts"]) < float(values["cursor"])]
        return self._page(after, values)

    def conversations_replies(self, values: dict[str, Any]) -> httpx.Response:
        """The oldest first; the message that they hang on stands first on each page."""
        if values["ts"] not in {m["ts"] for m in self.roots()}:
            return self._no("thread_not_found")
        thread = [m for m in self.messages if values["ts"] in (m["ts"], m.get("thread_ts"))]
        after = self._after(thread[1:], values)
        if "cursor" in values:
            after = [m for m in after if float(m["ts"]) > float(values["cursor"])]
        return self._page(after, values, thread[:1])

    @staticmethod
    def _after(found: list[dict[str, Any]], values: dict[str, Any]) -> list[dict[str, Any]]:
        return [m for m in found if float(m["ts"]) > float(values.get("oldest", 0))]

    @staticmethod
    def _page(
        found: list[dict[str, Any]], values: dict[str, Any], first: Sequence[dict[str, Any]] = ()
    ) -> httpx.Response:
        size = int(values["limit"])
        body: dict[str, Any] = {"ok": True, "messages": [*first, *found[:size]]}
        if size < len(found):
            body["response_metadata"] = {"next_cursor": found[size - 1]["ts"]}
        return httpx.Response(200, json=body)

    def files_getUploadURLExternal(self, values: dict[str, Any]) -> httpx.Response:
        number = next(self._number)
        url = f"https://files.slack.invalid/{number}"
        return httpx.Response(200, json={"ok": True, "upload_url": url, "file_id": f"F{number}"})

    def files_completeUploadExternal(self, values: dict[str, Any]) -> httpx.Response:
        self.placed.append((values["files"][0]["id"], values["thread_ts"]))
        return httpx.Response(200, json={"ok": True})

    def auth_test(self, values: dict[str, Any]) -> httpx.Response:
        return httpx.Response(200, json={"ok": True, "user": "mmcoord", "team": "Observers"})

    def roots(self) -> list[dict[str, Any]]:
        return [m for m in self.messages if "thread_ts" not in m]


def bot(service: Any, **more: object) -> slack_bot.SlackBotSink:
    transport = service if isinstance(service, httpx.BaseTransport) else None
    client = httpx.Client(transport=transport or httpx.MockTransport(service))
    table = {"token": TOKEN, "channel": "C1", "picture": False, **more}
    return slack_bot.build("slack", table, client)


def plan(revision: int = 1, **more: Any) -> Outgoing:
    made = outgoing((row(1), row(2)), revision=revision, key=f"key-{revision}", **more)
    return replace(made, outlines=SQUARE)


def send(sink: slack_bot.SlackBotSink, made: Outgoing) -> Answer:
    return sink.send(sink.payload(made), key=made.key)


def test_revisions_edit_one_message_and_are_told_in_its_thread() -> None:
    slack = FakeSlackWeb()
    sink = bot(slack)
    for revision in (1, 2, 2, 3):
        assert send(sink, plan(revision)).outcome is Outcome.SENT
    (root,) = slack.roots()
    assert "revision 3" in root["text"]
    thread = [m["text"] for m in slack.messages if m.get("thread_ts") == root["ts"]]
    assert [text.partition(":")[0] for text in thread] == ["Revision 1", "Revision 2", "Revision 3"]


def test_an_older_revision_that_comes_late_changes_nothing() -> None:
    slack = FakeSlackWeb()
    sink = bot(slack)
    send(sink, plan(2))
    before = json.dumps(slack.messages)
    assert send(sink, plan(1)).outcome is Outcome.SENT
    assert json.dumps(slack.messages) == before


def test_a_retraction_edits_the_message() -> None:
    slack = FakeSlackWeb()
    sink = bot(slack)
    send(sink, plan(1))
    gone = plan(2, kind=OutgoingKind.WITHDRAW, alert_type=AlertType.RETRACTION)
    for _ in range(2):
        answer = sink.withdraw(sink.payload(gone), key="key-1", remote_id=None)
        assert answer.outcome is Outcome.SENT
    (root,) = slack.roots()
    assert "RETRACTED" in root["text"]
    assert not any(block["type"] == "actions" for block in root["blocks"])
    assert len(slack.messages) == 3


def test_the_buttons_are_read_by_our_own_endpoint_and_keep_slacks_limits() -> None:
    sink = bot(FakeSlackWeb(), tom_url="https://tom.invalid")
    blocks = sink.payload(plan())["message"]["blocks"]
    assert len(blocks) <= 50
    buttons = [b for block in blocks if block["type"] == "actions" for b in block["elements"]]
    claims = [b for b in buttons if "value" in b]
    assert [json.loads(b["value"])[1] for b in claims] == [row(1).object_id, row(2).object_id]
    for button in buttons:
        assert len(button["text"]["text"]) <= 75
        assert len(button.get("value", "")) <= 2000
        assert len(button.get("url", "")) <= 3000
    assert {b["action_id"].partition(":")[0] for b in claims} == {Verb.CLAIM.value}
    assert len({b["action_id"] for b in buttons}) == len(buttons)
    links = [b["url"] for b in buttons if "url" in b]
    assert any(url.startswith("https://gcn.nasa.gov/circulars/new?") for url in links)
    assert any(url.startswith("https://tom.invalid/targets/") for url in links)


def test_the_map_is_uploaded_into_the_thread_once_per_map() -> None:
    pytest.importorskip("matplotlib")
    slack = FakeSlackWeb()
    sink = bot(slack, picture=True)
    send(sink, plan(1))
    send(sink, plan(2))
    (root,) = slack.roots()
    assert [ts for _, ts in slack.placed] == [root["ts"]]
    (content,) = slack.files.values()
    assert b"\x89PNG" in content
    moved = {"0.5": [[[30.0, 0.0], [40.0, 0.0], [40.0, 10.0]]], "0.9": []}
    send(sink, replace(plan(3), outlines=moved))
    assert len(slack.placed) == 2


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        ("invalid_auth", Outcome.RETRY),
        ("channel_not_found", Outcome.RETRY),
        ("ratelimited", Outcome.RETRY),
        ("msg_blocks_too_long", Outcome.REJECTED),
        ("fatal_error", Outcome.UNKNOWN),
        ("something_new", Outcome.UNKNOWN),
    ],
)
def test_a_200_with_an_error_is_not_taken_for_success(error: str, outcome: Outcome) -> None:
    reply = Reply(200, {"ok": False, "error": error})
    assert judge(reply, WEB).outcome is outcome


def test_no_secret_is_in_what_is_told_of_a_failure() -> None:
    def echo(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500, text=f"your token {TOKEN}")

    assert TOKEN not in send(bot(echo), plan()).detail


@pytest.mark.parametrize("seed", range(3))
def test_every_event_has_one_message_through_a_service_that_fails_at_random(seed: int) -> None:
    rng = random.Random(seed)
    slack = FakeSlackWeb()
    error = {"ok": False, "error": "internal_error"}
    sink = bot(Flaky(httpx.MockTransport(slack), rng, rate=0.2, error_200=error))
    for number in range(15):
        for revision in (1, 2):
            made = replace(plan(revision), event_id=f"E{number}", key=f"E{number}-{revision}")
            payload = sink.payload(made)
            for _ in range(200):
                answer = sink.send(payload, key=made.key)
                if answer.outcome is Outcome.SENT:
                    break
                assert answer.outcome in (Outcome.RETRY, Outcome.UNKNOWN)
            else:
                raise AssertionError("never delivered")
    events = [m["metadata"]["event_payload"]["event_id"] for m in slack.roots()]
    assert sorted(events) == sorted(f"E{n}" for n in range(15))
    keys = [m["metadata"]["event_payload"]["key"] for m in slack.messages if "thread_ts" in m]
    assert sorted(keys) == sorted(f"E{n}-{r}" for n in range(15) for r in (1, 2))


def of_event(number: int, revision: int = 1) -> Outgoing:
    return replace(plan(revision), event_id=f"E{number}", key=f"E{number}-{revision}")


def full_channel(n: int) -> FakeSlackWeb:
    """With a message of ours for each of ``n`` events, as one bot posted them."""
    slack = FakeSlackWeb()
    sink = bot(slack)
    for number in range(n):
        assert send(sink, of_event(number)).outcome is Outcome.SENT
    slack.asked.clear()
    return slack


def test_a_look_up_asks_for_what_is_new_however_full_the_channel() -> None:
    slack = full_channel(450)
    begun_anew = bot(slack)
    send(begun_anew, of_event(450))
    assert slack.asked["conversations_history"] == 3  # 450 in pages of 200: once
    slack.asked.clear()
    for number in (451, 452):
        send(begun_anew, of_event(number))
    assert slack.asked == {"conversations_history": 2, "chat_postMessage": 4}
    slack.asked.clear()
    send(begun_anew, of_event(7, revision=2))  # its message is known, its thread is not
    assert slack.asked == {"conversations_replies": 1, "chat_update": 1, "chat_postMessage": 1}
    events = [m["metadata"]["event_payload"]["event_id"] for m in slack.roots()]
    assert sorted(events) == sorted(f"E{n}" for n in range(453))


def test_a_reading_that_broke_off_goes_on_where_it_was() -> None:
    slack = full_channel(450)
    turn = itertools.count()

    def every_third_fails(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503) if next(turn) % 3 == 2 else slack(request)

    sink, made = bot(every_third_fails), of_event(450)
    outcomes = [send(sink, made).outcome for _ in range(4)]
    assert outcomes[-1] is Outcome.SENT
    # Two pages, the third and the end of the channel, the end again: no page twice.
    assert slack.asked["conversations_history"] == 5
    events = [m["metadata"]["event_payload"]["event_id"] for m in slack.roots()]
    assert events.count("E450") == 1


def test_two_bots_that_take_turns_leave_one_message_for_each_event() -> None:
    slack, rng = FakeSlackWeb(), random.Random(1)
    bots = [bot(slack), bot(slack)]
    for _ in range(60):
        assert send(rng.choice(bots), of_event(rng.randrange(20), revision=rng.randrange(1, 4)))
    events = Counter(m["metadata"]["event_payload"]["event_id"] for m in slack.roots())
    assert set(events.values()) == {1}
    said = Counter(
        m["metadata"]["event_payload"]["key"] for m in slack.messages if "thread_ts" in m
    )
    assert set(said.values()) == {1}
    for root in slack.roots():  # the newest of the revisions that came stands
        thread = [m for m in slack.messages if m.get("thread_ts") == root["ts"]]
        newest = max(m["metadata"]["event_payload"]["revision"] for m in thread)
        assert root["metadata"]["event_payload"]["revision"] == newest


def test_after_somebody_deleted_the_message_another_is_posted() -> None:
    slack = FakeSlackWeb()
    sink = bot(slack)
    send(sink, plan(1))
    slack.messages.clear()
    assert send(sink, plan(2)).outcome is Outcome.RETRY
    assert send(sink, plan(2)).outcome is Outcome.SENT
    (root,) = slack.roots()
    assert "revision 2" in root["text"]
    slack.messages.clear()
    gone = plan(3, kind=OutgoingKind.WITHDRAW, alert_type=AlertType.RETRACTION)
    answer = sink.withdraw(sink.payload(gone), key="key-2", remote_id=root["ts"])
    assert answer.outcome is Outcome.SENT
    assert slack.messages == []


def test_a_withdrawal_finds_a_message_older_than_what_is_read_back() -> None:
    slack = FakeSlackWeb(began_s=int(time.time()) - 60 * 86400)
    answer = send(bot(slack), plan(1))
    gone = plan(2, kind=OutgoingKind.WITHDRAW, alert_type=AlertType.RETRACTION)
    sink = bot(slack)
    sink.withdraw(sink.payload(gone), key="key-1", remote_id=answer.remote_id)
    (root,) = slack.roots()
    assert "RETRACTED" in root["text"]


def test_words_for_the_operators_are_said_once() -> None:
    slack = FakeSlackWeb()
    for sink in (bot(slack), bot(slack)):
        assert sink.tell("late", key="alarm:1").outcome is Outcome.SENT
    assert len(slack.messages) == 1
