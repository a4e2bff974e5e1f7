"""Telling the operators: each once, with patience, and through a crash."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from followup.sinks.base import Answer, Outcome, Tells
from followup.sinks.file import build as build_file
from followup.sinks.slack import build as build_slack
from mmcoord.store import alarms
from mmcoord.store.alarms import Wanted
from mmcoord.store.database import Database
from mmcoord.watchdog.telling import Teller, message
from mmcoord.watchdog.unwritten import Unwritten
from tests.sinks.services import WEBHOOK, FakeSlack, client_for
from tests.stores import migrated

START = datetime(2027, 3, 4, 3, 0, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


@dataclass
class Channel:
    """A sink in memory that answers as it is told to."""

    answers: list[Answer | Exception] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)

    def tell(self, text: str, *, key: str) -> Answer:
        self.told.append((key, text))
        answer = self.answers.pop(0) if self.answers else Answer(Outcome.SENT)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Desk:
    """A store with alarms, a clock, and a teller for each sink."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.time = START

    def teller(self, name: str, sink: Tells) -> Teller:
        now = lambda: self.time  # noqa: E731
        return Teller(name, sink, self.database, Unwritten(), now, "https://mmcoord.example.org/")

    def stand(self, *keys: str) -> None:
        """Make these alarms stand, and no others."""
        wanted = [Wanted(key, "page", f"{key} is out.", self.time) for key in keys]
        with self.database.write() as session:
            alarms.settle(session, wanted, self.time)


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


def drain(teller: Teller) -> None:
    for _ in range(5):
        teller.step()


def test_raise_and_clear_are_each_told_once(desk: Desk) -> None:
    channel = Channel()
    teller = desk.teller("ops", channel)
    desk.stand("silent gcn")
    drain(teller)
    desk.time += timedelta(minutes=12)
    desk.stand()
    drain(teller)
    drain(desk.teller("ops", channel))  # a new process
    assert [key for key, _ in channel.told] == ["alarm:1:raised", "alarm:1:cleared"]
    raised, cleared = (text.splitlines() for _, text in channel.told)
    assert raised[0] == "PAGE silent gcn"
    assert "silent gcn is out." in raised[1]
    assert raised[-1] == "https://mmcoord.example.org/health"
    assert cleared[0] == "CLEARED silent gcn"
    assert "Raised 2027-03-04 03:00:00 UTC, cleared 2027-03-04 03:12:00 UTC" in cleared[1]


def test_a_sink_that_is_down_is_tried_with_growing_delay_and_told_at_last(desk: Desk) -> None:
    channel = Channel([Answer(Outcome.RETRY, detail="not reached")] * 4)
    teller = desk.teller("ops", channel)
    desk.stand("silent gcn")
    times = []
    for _ in range(300):
        before = len(channel.told)
        teller.step()
        if len(channel.told) > before:
            times.append((desk.time - START).total_seconds())
        desk.time += timedelta(seconds=1)
    assert times == [0, 5, 15, 35, 75]


def test_the_service_is_not_asked_again_before_it_said(desk: Desk) -> None:
    channel = Channel([Answer(Outcome.RETRY, retry_after_s=90.0)])
    teller = desk.teller("ops", channel)
    desk.stand("silent gcn")
    teller.step()
    desk.time += timedelta(seconds=89)
    teller.step()
    assert len(channel.told) == 1
    desk.time += timedelta(seconds=2)
    teller.step()
    assert len(channel.told) == 2


def test_a_sink_that_breaks_delays_no_other(desk: Desk) -> None:
    broken, good = Channel([RuntimeError("a bug")] * 9), Channel()
    tellers = [desk.teller("broken", broken), desk.teller("good", good)]
    desk.stand("silent gcn", "ledger")
    for teller in tellers:
        teller.step()
    assert len(good.told) == 2
    with desk.database.read() as session:
        told = [line.told for line in alarms.open_alarms(session)]
    assert all(t["broken"]["raised"]["done"] is False for t in told)
    assert all("RuntimeError" in t["broken"]["raised"]["detail"] for t in told)
    assert all(t["good"]["raised"]["outcome"] == "sent" for t in told)


def test_what_was_cleared_before_it_could_be_told_is_told_once(desk: Desk) -> None:
    channel = Channel([Answer(Outcome.RETRY)])
    teller = desk.teller("ops", channel)
    desk.stand("silent gcn")
    teller.step()
    desk.time += timedelta(minutes=1)
    desk.stand()
    drain(teller)
    assert [key for key, _ in channel.told] == ["alarm:1:raised", "alarm:1:cleared"]


def test_a_rejection_is_not_repeated_and_an_unclear_answer_not_for_ever(desk: Desk) -> None:
    no, unclear = Channel([Answer(Outcome.REJECTED)] * 99), Channel([Answer(Outcome.UNKNOWN)] * 99)
    desk.stand("silent gcn")
    for name, channel in (("no", no), ("unclear", unclear)):
        teller = desk.teller(name, channel)
        for _ in range(200):
            teller.step()
            desk.time += timedelta(seconds=30)
    assert len(no.told) == 1
    assert len(unclear.told) == 5


def test_an_old_alarm_is_no_news_for_a_new_operator(desk: Desk) -> None:
    desk.stand("silent gcn")
    desk.stand()
    desk.time += timedelta(days=1, seconds=1)
    channel = Channel()
    drain(desk.teller("late", channel))
    assert channel.told == []


def test_a_store_that_takes_no_writes_makes_no_repeats(sqlite_url: str) -> None:
    database = migrated(sqlite_url)
    desk, channel = Desk(database), Channel()
    desk.stand("disk nearly full")
    with database.write() as session:
        session.connection().exec_driver_sql(
            "CREATE TRIGGER full BEFORE UPDATE ON alarm BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    teller = desk.teller("ops", channel)
    drain(teller)
    assert len(channel.told) == 1
    with database.write() as session:
        session.connection().exec_driver_sql("DROP TRIGGER full")
    drain(teller)
    assert len(channel.told) == 1
    with database.read() as session:
        assert alarms.due(session, "ops", desk.time) == []
    database.close()


CRASHING = """
import os, signal, sys
from datetime import datetime, UTC
from pathlib import Path
from followup.sinks.base import Answer, Outcome
from mmcoord.store.database import Database
from mmcoord.watchdog.telling import Teller
from mmcoord.watchdog.unwritten import Unwritten

url, out, die = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "die"

class Channel:
    def tell(self, text, *, key):
        with out.open("a") as file:
            file.write(key + "\\n")
        if die:
            os.kill(os.getpid(), signal.SIGKILL)
        return Answer(Outcome.SENT)

teller = Teller("ops", Channel(), Database(url), Unwritten(), lambda: datetime.now(UTC))
for _ in range(3):
    teller.step()
"""


def test_kill_9_between_telling_and_writing_it_down_makes_one_repeat(
    sqlite_url: str, tmp_path: Path
) -> None:
    database = migrated(sqlite_url)
    Desk(database).stand("silent gcn")
    database.close()
    out = tmp_path / "told"
    ends = [
        subprocess.run(
            [sys.executable, "-c", CRASHING, sqlite_url, str(out), how],
            cwd=ROOT, timeout=60, check=False,
        ).returncode
        for how in ("die", "live", "live")
    ]  # fmt: skip
    assert ends == [-signal.SIGKILL, 0, 0]
    assert Counter(out.read_text().split()) == {"alarm:1:raised": 2}


# -- the sinks ---------------------------------------------------------------------------


def test_a_folder_recognises_a_repeat(desk: Desk, tmp_path: Path) -> None:
    sink = build_file("ops", {"folder": str(tmp_path / "ops"), "practice": True},
                      httpx.Client())  # fmt: skip
    assert isinstance(sink, Tells)
    for _ in range(2):
        assert sink.tell("PAGE silent gcn\nIt is.", key="alarm:1:raised").outcome is Outcome.SENT
    (path,) = (tmp_path / "ops").iterdir()
    document = json.loads(path.read_text())
    assert document["payload"]["text"] == "PAGE silent gcn\nIt is."


def test_a_folder_that_is_gone_is_tried_again(tmp_path: Path) -> None:
    sink = build_file("ops", {"folder": str(tmp_path / "ops")}, httpx.Client())
    (tmp_path / "ops").rmdir()
    assert sink.tell("x", key="k").outcome is Outcome.RETRY


def test_slack_is_told_through_its_webhook_with_nothing_active() -> None:
    slack = FakeSlack()
    sink = build_slack("ops", {"webhook": WEBHOOK}, client_for(slack))
    assert isinstance(sink, Tells)
    text = "PAGE deliveries <!channel>\n<https://evil.invalid|click> & <@U1> *x*"
    assert sink.tell(text, key="alarm:1:raised").outcome is Outcome.SENT
    whole = json.dumps(slack.posted[0], ensure_ascii=False)
    mrkdwn = [
        slack.posted[0]["text"],
        *(b["text"]["text"] for b in slack.posted[0]["blocks"] if b["type"] == "section"),
    ]
    assert all("<" not in words and ">" not in words for words in mrkdwn)
    assert "&lt;https://evil.invalid|click&gt; &amp; &lt;@U1&gt;" in whole
    assert slack.posted[0]["text"].startswith("PAGE deliveries")


def test_any_text_keeps_slacks_limits() -> None:
    slack = FakeSlack()
    sink = build_slack("ops", {"webhook": WEBHOOK}, client_for(slack))
    for text in ("", "\n\n", "&" * 9000, "x\n" + "<" * 9000, "y" * 149 + "&", "é" * 9000 + "\nz"):
        assert sink.tell(text, key="k").outcome is Outcome.SENT
        body = slack.posted[-1]
        for block in body["blocks"]:
            if block["type"] == "header":
                assert 1 <= len(block["text"]["text"]) <= 150
            elif block["type"] == "section":
                words = block["text"]["text"]
                assert 1 <= len(words) <= 3000
                assert words.rstrip("…").endswith(("&lt;", "z"))  # no entity is cut in two
        assert 1 <= len(body["text"]) <= 160


def test_slack_that_is_down_is_tried_again_and_its_address_is_not_told() -> None:
    def down(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(f"cannot reach {request.url}", request=request)

    answer = build_slack("ops", {"webhook": WEBHOOK}, client_for(down)).tell("x", key="k")
    assert answer.outcome is Outcome.RETRY
    assert "Sl4ckWebh00k" not in answer.detail


def test_the_message_says_both_times_when_it_is_over() -> None:
    line = alarms.AlarmLine(1, "mock", "page", "None came.", START, None, {})
    assert message(line).splitlines()[0] == "PAGE mock"
    assert "/health" not in message(line)
