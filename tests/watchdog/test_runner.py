"""The watchdog on a real store: what it reads, raises, clears and remembers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlmodel import col

from listeners.settings import ListenerState, ListenerStatus
from mmcoord import deadletters
from mmcoord.config import ListenerSettings, SinkSettings
from mmcoord.errors import ConfigError
from mmcoord.records import Notice
from mmcoord.stages import intake
from mmcoord.stages.context import Context
from mmcoord.store import alarms
from mmcoord.store.database import Database
from mmcoord.store.tables import AlarmRow, DeliveryRow, JournalRow, ListenerRow, WorkRow
from mmcoord.watchdog.reading import read_store
from mmcoord.watchdog.runner import Watchdog
from mmcoord.watchdog.settings import WatchdogSettings
from mmcoord.watchdog.telling import Teller, operators
from tests.making import lvk_notice, make_context
from tests.stores import migrated

START = datetime(2027, 3, 4, 3, 0, tzinfo=UTC)
# "ledger": some tests write work past the queue. "disk": this machine's own.
AT_ONCE = WatchdogSettings(store_every_s=0.0, clear_after_s=0.0, off=("disk", "ledger"))

NO_STAGES = replace(AT_ONCE, off=(*AT_ONCE.off, "waiting"))
"""For tests in which nothing serves what the intake asks for."""


class House:
    """A store, a clock that is set by hand, and listeners whose status is."""

    def __init__(self, database: Database, folder: Path, **settings: Any) -> None:
        self.time = START
        self.statuses: dict[str, ListenerStatus] = {}
        settings = {"watchdog": AT_ONCE, **settings}
        made = make_context(database, folder, **settings)
        self.ctx: Context = replace(made, now=lambda: self.time)
        self.start()

    def start(self) -> None:
        """A new process on the same store."""
        self.watchdog = Watchdog(self.ctx, lambda: dict(self.statuses))

    def look(self, **later: float) -> set[str]:
        """Look once, so much later, at listeners that have just reported; the keys that stand."""
        self.time += timedelta(**later)
        self.statuses = {name: replace(status) for name, status in self.statuses.items()}
        self.watchdog.step()
        with self.ctx.database.read() as session:
            return {line.key for line in alarms.open_alarms(session)}

    def rows(self) -> list[AlarmRow]:
        with self.ctx.database.read() as session:
            return list(session.execute(select(AlarmRow).order_by(col(AlarmRow.id))).scalars())

    def receive(self, payload: bytes, broker: str = "gcn", offset: int = 0) -> None:
        notice = Notice("igwn", broker, "igwn.gwalert", 0, offset, payload, self.time, self.time)
        intake.receive(self.ctx, [notice])
        while intake.run(self.ctx):
            pass


@pytest.fixture
def house(database: Database, tmp_path: Path) -> House:
    return House(database, tmp_path / "out")


def gcn(**changes: Any) -> dict[str, ListenerSettings]:
    values = {"transport": "gcn", "source": "voevent", "topics": ("t",), "group_id": "g"}
    return {"gcn": ListenerSettings(**(values | changes))}


def status(state: ListenerState = ListenerState.RUNNING, **changes: Any) -> ListenerStatus:
    return ListenerStatus("gcn", "voevent", state, broker="kafka.gcn.nasa.gov", **changes)


def test_an_alarm_is_raised_once_and_cleared_once(house: House) -> None:
    wish = WorkRow(stage="match", key="e", requested=1, done=0, priority=0,
                   not_before=START, enqueued_at=START)  # fmt: skip
    with house.ctx.database.write() as session:
        session.add(wish)
    assert house.look(minutes=9) == set()
    assert house.look(minutes=2) == {"waiting match alerts"}
    for _ in range(3):
        house.look(minutes=1)
    (row,) = house.rows()
    assert row.raised_at == START + timedelta(minutes=11)
    assert "14 min" in row.text  # the text follows the facts
    with house.ctx.database.write() as session:
        session.get(WorkRow, ("match", "e")).done = 1  # type: ignore[union-attr]
    assert house.look(minutes=1) == set()
    house.look(minutes=1)
    (row,) = house.rows()
    assert row.cleared_at == START + timedelta(minutes=15)
    with house.ctx.database.read() as session:
        told = session.execute(select(JournalRow.what).where(col(JournalRow.stage) == "watchdog"))
        assert list(told.scalars()) == ["alarm", "cleared"]


def test_a_trouble_that_comes_and_goes_is_one_alarm(database: Database, tmp_path: Path) -> None:
    settings = replace(AT_ONCE, clear_after_s=60.0)
    house = House(database, tmp_path / "out", watchdog=settings, listeners=gcn())
    bad, good = status(missing_topics=("t",)), status()
    for seen in (bad, good, bad, good, bad, good):
        house.statuses["gcn"] = seen
        assert house.look(seconds=30) == {"topics gcn"}
    assert house.look(seconds=61) == set()
    assert len(house.rows()) == 1


def test_an_alarm_that_stood_before_a_restart_is_taken_over(
    database: Database, tmp_path: Path
) -> None:
    settings = replace(AT_ONCE, clear_after_s=60.0)
    house = House(database, tmp_path / "out", watchdog=settings, listeners=gcn())
    house.statuses["gcn"] = status(ListenerState.UNREACHABLE)
    house.look()
    assert house.look(seconds=61) == {"unreachable gcn"}
    house.start()
    house.statuses["gcn"] = status(ListenerState.CONNECTING)
    for _ in range(10):
        assert house.look(seconds=20) == {"unreachable gcn"}
    house.statuses["gcn"] = status()
    house.look()
    assert house.look(seconds=61) == set()
    assert len(house.rows()) == 1


def test_an_alert_that_cannot_be_read_stands_until_it_is_tried_again(house: House) -> None:
    house.receive(b'{"superevent_id": "S270304a"}')
    assert house.look() == {"unread igwn 2027-03-04T03Z"}
    with house.ctx.database.write() as session:
        deadletters.retry(session, [], house.time)
    assert house.look() == set()  # pending again
    while intake.run(house.ctx):
        pass
    house.time += timedelta(hours=1)
    house.receive(b"not even JSON", offset=1)
    assert house.look() == {"unread igwn 2027-03-04T03Z", "unread igwn 2027-03-04T04Z"}
    assert house.look(hours=25) == set()


def test_candidates_that_cannot_be_read_wake_nobody(house: House) -> None:
    notice = Notice("table_candidates", "f", "f", 0, 0, b"{}", house.time, house.time)
    intake.receive(house.ctx, [notice])
    while intake.run(house.ctx):
        pass
    assert house.look() == set()


def test_a_mock_superevent_silences_the_canary(database: Database, tmp_path: Path) -> None:
    house = House(database, tmp_path / "out", listeners=gcn(source="igwn"), watchdog=NO_STAGES)
    house.statuses["gcn"] = status()
    assert house.look() == set()
    assert house.look(hours=2.6) == {"mock"}
    house.receive(lvk_notice("S270304a"))  # a real one is no canary
    assert house.look(minutes=1) == {"mock"}
    house.receive(lvk_notice("MS270304b"), offset=1)
    assert house.look(minutes=1) == set()
    house.start()  # a restart does not begin to count anew
    house.look()
    assert house.look(hours=2.6) == {"mock"}


def test_the_first_start_is_remembered_over_restarts(database: Database, tmp_path: Path) -> None:
    house = House(database, tmp_path / "out", listeners=gcn())
    house.statuses["gcn"] = status()
    house.look()
    for _ in range(21):  # three weeks of daily restarts without ever connecting
        house.start()
        house.statuses["gcn"] = status(ListenerState.UNREACHABLE)
        found = house.look(days=1)
    assert "unused gcn" in found
    with database.read() as session:
        row = session.get(ListenerRow, "gcn")
    assert row is not None
    assert (row.first_started_at, row.connected_at) == (START, START)
    house.start()
    house.statuses["gcn"] = status()
    assert house.look(minutes=1) == set()


def test_a_silence_through_rebuilds_is_one_alarm(database: Database, tmp_path: Path) -> None:
    """The listener rebuilds its client at each minute of silence; then the heart beats again."""
    settings = replace(AT_ONCE, clear_after_s=60.0, off=(*AT_ONCE.off, "rebuilt"))
    beating = gcn(options={"heartbeat_topic": "beat", "silence_s": 60.0})
    house = House(database, tmp_path / "out", watchdog=settings, listeners=beating)
    last = START
    for second in range(0, 600, 5):
        is_down = second > 60 and second % 60 < 5
        state = ListenerState.WAITING if is_down else ListenerState.RUNNING
        house.statuses["gcn"] = status(state, last_received_at=last)
        found = house.look(seconds=5)
        assert (found == {"silent gcn"}) is (second >= 60), second
    for _ in range(14):
        house.statuses["gcn"] = status(last_received_at=house.time)
        found = house.look(seconds=5)
    assert found == set()
    assert len(house.rows()) == 1


def test_lag_and_rebuilds_are_taken_from_the_recent_past(
    database: Database, tmp_path: Path
) -> None:
    house = House(database, tmp_path / "out", listeners=gcn())
    house.statuses["gcn"] = status(lag=2000)
    assert house.look() == set()
    house.statuses["gcn"] = status(lag=2500, rebuilds=4)
    assert house.look(minutes=5) == set()
    house.statuses["gcn"] = status(lag=2600, rebuilds=7)
    assert house.look(minutes=6) == {"lag gcn", "rebuilt gcn"}
    house.statuses["gcn"] = status(lag=1500, rebuilds=7)
    assert house.look(minutes=10) == {"rebuilt gcn"}  # it shrinks
    house.statuses["gcn"] = status(lag=0, rebuilds=7)
    assert house.look(minutes=51) == set()


def test_one_notice_over_two_brokers_is_seen_on_both(database: Database, tmp_path: Path) -> None:
    both = {**gcn(source="igwn"), "hop": ListenerSettings("kafka", "igwn", ("t",), "g")}
    house = House(database, tmp_path / "out", listeners=both, watchdog=NO_STAGES)
    house.statuses["gcn"] = replace(status(), broker="gcn")
    house.statuses["hop"] = replace(status(), name="hop", broker="hop")
    house.look()
    house.time += timedelta(minutes=1)
    house.receive(lvk_notice("MS270304a"), "gcn")
    house.receive(lvk_notice("MS270304a"), "hop", 5)  # a duplicate for the intake
    house.receive(lvk_notice("MS270304a", "INITIAL"), "gcn", 1)
    assert house.look(minutes=9) == set()
    assert house.look(minutes=2) == {"path hop"}
    (row,) = house.rows()
    assert "INITIAL of MS270304a" in row.text
    house.receive(lvk_notice("MS270304a", "INITIAL"), "hop", 6)
    assert house.look(minutes=1) == set()


def delivery(key: str, state: str, **changes: Any) -> DeliveryRow:
    values: dict[str, Any] = {
        "key": key, "kind": "publish", "sink": "folder", "event_id": "S1", "plan_revision": 1,
        "target": "x", "is_practice": True, "state": state, "detail": "HTTP 401", "attempts": 4,
        "created_at": START, "next_attempt_at": START, "finished_at": None,
    }  # fmt: skip
    return DeliveryRow(**(values | changes))


def test_deliveries_that_do_not_get_through(house: House) -> None:
    with house.ctx.database.write() as session:
        session.add_all(
            [
                delivery("a", "pending"),
                delivery("b", "failed", finished_at=START, attempts=1),
                delivery("c", "pending", attempts=3),
                delivery("d", "sent", finished_at=START),
            ]
        )
    assert house.look() == {"deliveries folder"}
    (row,) = house.rows()
    assert (row.severity, "2 deliveries" in row.text) == ("warn", True)
    with house.ctx.database.write() as session:
        session.get(DeliveryRow, 1).state = "sent"  # type: ignore[union-attr]
    assert house.look(hours=5) == {"deliveries folder"}
    assert house.look(hours=2) == set()


def test_what_is_not_due_does_not_wait(house: House) -> None:
    with house.ctx.database.write() as session:
        session.add(
            WorkRow(stage="infer", key="k", requested=1, done=0, priority=0,
                    not_before=START + timedelta(hours=9), enqueued_at=START)
        )  # fmt: skip
    with house.ctx.database.snapshot() as session:
        assert read_store(session, START + timedelta(hours=1), AT_ONCE, {}).waiting == {}


# -- a store that is down ----------------------------------------------------------------


def sql(database: Database, words: str) -> None:
    with database.write() as session:
        session.execute(text(words))


def test_a_store_that_is_down_is_told_at_once_and_written_when_it_is_back(
    database: Database, tmp_path: Path
) -> None:
    house = House(database, tmp_path / "out", operators=("folder",))
    sink = operators(house.ctx.settings, house.ctx.sinks)["folder"]
    teller = Teller("folder", sink, database, house.watchdog.unwritten, lambda: house.time)
    house.look()
    sql(database, "ALTER TABLE notice RENAME TO away")
    house.time += timedelta(seconds=5)
    house.watchdog.step()
    assert teller.step() == 1
    assert teller.step() == 0
    sql(database, "ALTER TABLE away RENAME TO notice")
    house.look(minutes=3)
    house.look(minutes=1)
    (row,) = house.rows()
    assert row.key == "store"
    assert row.raised_at == START + timedelta(seconds=5)
    assert row.cleared_at is not None
    assert teller.step() == 1
    assert teller.step() == 0
    told = sorted(path.name for path in (tmp_path / "out").glob("*.json"))
    assert [("raised" in name, "cleared" in name) for name in told] == [
        (False, True),
        (True, False),
    ]


def test_a_full_disk_that_can_be_read_is_told_all_the_same(sqlite_url: str, tmp_path: Path) -> None:

    database = migrated(sqlite_url)
    house = House(database, tmp_path / "out")
    sql(
        database,
        "CREATE TRIGGER full BEFORE INSERT ON alarm "
        "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
    )
    house.receive(b"not JSON")
    house.watchdog.step()
    due = house.watchdog.unwritten.due("anybody", house.time)
    assert {note.alarm.key for note in due} == {"store", "unread igwn 2027-03-04T03Z"}
    assert "disk is full" in next(n.alarm.text for n in due if n.alarm.key == "store")
    sql(database, "DROP TRIGGER full")
    assert house.look() == {"unread igwn 2027-03-04T03Z"}
    assert house.watchdog.unwritten.due("anybody", house.time) == []
    assert {row.key: row.cleared_at is None for row in house.rows()} == {
        "store": False,
        "unread igwn 2027-03-04T03Z": True,
    }
    database.close()


# -- settings ----------------------------------------------------------------------------


def test_operators_must_be_sinks_that_can_be_told(database: Database, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"operators: no sink is named 'pager'; there is folder"):
        House(database, tmp_path / "out", operators=("pager",))
    tom = SinkSettings("tom", True, {"url": "https://tom.invalid", "token": "t", "groups": ["g"]})
    with pytest.raises(ConfigError, match="'tom' cannot be told"):
        House(database, tmp_path / "out", operators=("tom",), sinks={"tom": tom})
