"""Which alarms should stand: each limit from both sides, by hand-made facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcoord.errors import ConfigError
from mmcoord.watchdog.decide import decide, kind_of
from mmcoord.watchdog.facts import (
    BurstFacts,
    Facts,
    FailingSink,
    ListenerFacts,
    OnePath,
    Severity,
    StoreFacts,
    UnreadAlerts,
)
from mmcoord.watchdog.settings import KINDS, WatchdogSettings

NOW = datetime(2027, 3, 4, 3, 0, tzinfo=UTC)
LIMITS = WatchdogSettings()


def before(**span: float) -> datetime:
    return NOW - timedelta(**span)


def listener(**changes: Any) -> ListenerFacts:
    """A listener in order."""
    values: dict[str, Any] = {
        "name": "gcn",
        "source": "igwn",
        "transport": "gcn",
        "broker": "kafka.gcn.nasa.gov",
        "topics": ("igwn.gwalert",),
        "heartbeat_topic": "gcn.heartbeat",
        "is_bulk": False,
        "state": "running",
        "good_at": NOW,
        "working_since": before(days=1),
        "reported_at": NOW,
        "last_error": "",
        "last_received_at": before(seconds=1),
        "lag": 0,
        "lag_before": 0,
        "missing_topics": (),
        "rebuilds_last_hour": 0,
        "missed": 0,
        "first_started_at": before(days=400),
        "connected_at": NOW,
    }
    return ListenerFacts(**(values | changes))


def house(*listeners: ListenerFacts, **changes: Any) -> Facts:
    """A service in order, that has run for a day."""
    values: dict[str, Any] = {
        "started_at": before(days=1),
        "listeners": listeners or (listener(),),
        "store": StoreFacts(last_mock_at=before(minutes=50)),
        "disk_free_gib": 500.0,
        "data_dir": "/var/lib/mmcoord",
    }
    return Facts(**(values | changes))


def keys(facts: Facts, settings: WatchdogSettings = LIMITS) -> set[str]:
    return {alarm.key for alarm in decide(facts, NOW, settings)}


def severity(facts: Facts, key: str) -> Severity:
    return next(a.severity for a in decide(facts, NOW, LIMITS) if a.key == key)


def text(facts: Facts, key: str) -> str:
    return next(a.text for a in decide(facts, NOW, LIMITS) if a.key == key)


def test_a_house_in_order_has_no_alarm() -> None:
    assert decide(house(), NOW, LIMITS) == frozenset()


@pytest.mark.parametrize("state", ["unreachable", "waiting", "connecting", ""])
def test_a_listener_that_is_out_for_a_minute_is_unreachable(state: str) -> None:
    out = listener(state=state, good_at=before(seconds=61), last_error="Connection refused")
    assert keys(house(out)) == {"unreachable gcn"}
    assert "Connection refused" in text(house(out), "unreachable gcn")
    assert keys(house(replace(out, good_at=before(seconds=59)))) == set()
    assert keys(house(replace(out, state="paused"))) == set()


def test_a_refused_login_says_what_to_mend() -> None:
    said = "SASL authentication error: Authentication failed"
    out = listener(state="unreachable", good_at=before(hours=1), last_error=said)
    words = text(house(out), "unreachable gcn")
    assert "refused the login" in words
    assert "doctor" in words


def test_candidates_wake_nobody() -> None:
    out = {"state": "unreachable", "good_at": before(hours=1)}
    assert severity(house(listener(**out)), "unreachable gcn") is Severity.PAGE
    bulk = listener(source="ztf", is_bulk=True, **out)
    assert severity(house(bulk), "unreachable gcn") is Severity.WARN


def test_after_a_restart_an_alarm_stays_until_the_listener_has_worked() -> None:
    fresh = listener(state="connecting", good_at=NOW, last_received_at=None)
    stands = frozenset({"unreachable gcn"})
    assert keys(house(fresh, started_at=NOW)) == set()
    assert keys(house(fresh, started_at=NOW, standing=stands)) == {"unreachable gcn"}
    assert keys(house(listener(), started_at=NOW, standing=stands)) == set()


def test_a_silent_heartbeat_is_told_after_a_minute_and_only_where_there_is_one() -> None:
    silent = listener(last_received_at=before(seconds=61))
    assert keys(house(silent)) == {"silent gcn"}
    assert keys(house(replace(silent, last_received_at=before(seconds=59)))) == set()
    assert keys(house(replace(silent, heartbeat_topic=""))) == set()
    never = listener(last_received_at=None)
    assert keys(house(never)) == {"silent gcn"}  # running for a day, nothing ever
    assert keys(house(never, started_at=before(seconds=30))) == set()


def test_a_connection_that_has_just_come_back_is_not_silent_yet() -> None:
    old = listener(last_received_at=before(minutes=10), working_since=before(seconds=14))
    assert keys(house(old)) == set()
    # A client that is rebuilt every minute because nothing comes is silent all the same.
    assert keys(house(replace(old, working_since=before(seconds=16)))) == {"silent gcn"}
    stands = frozenset({"silent gcn"})
    assert keys(house(old, standing=stands)) == {"silent gcn"}
    heard = replace(old, last_received_at=before(seconds=2))
    assert keys(house(heard, standing=stands)) == set()


def test_one_cause_is_one_alarm() -> None:
    out = listener(
        state="unreachable", good_at=before(hours=1), last_received_at=None,
        reported_at=before(hours=1),
    )  # fmt: skip
    assert keys(house(out)) == {"unreachable gcn"}


def test_a_thread_that_says_nothing_is_stuck() -> None:
    assert keys(house(listener(reported_at=before(seconds=181)))) == {"stuck gcn"}
    assert keys(house(listener(reported_at=before(seconds=179)))) == set()


def test_missing_topics_are_named() -> None:
    facts = house(listener(missing_topics=("gcn.notices.superk.sn_alert",)))
    assert keys(facts) == {"topics gcn"}
    assert "gcn.notices.superk.sn_alert" in text(facts, "topics gcn")


def test_rebuilds_are_counted_by_the_hour() -> None:
    assert keys(house(listener(rebuilds_last_hour=7))) == {"rebuilt gcn"}
    assert keys(house(listener(rebuilds_last_hour=6))) == set()


def test_what_a_broker_deleted_unread_is_told_with_its_number() -> None:
    (alarm,) = decide(house(listener(missed=12)), NOW, LIMITS)
    assert (alarm.key, alarm.severity) == ("gap gcn", Severity.PAGE)
    assert "12 messages" in alarm.text
    (alarm,) = decide(house(listener(missed=1, is_bulk=True)), NOW, LIMITS)
    assert alarm.severity is Severity.WARN


@pytest.mark.parametrize(
    ("lag", "lag_before", "is_alarm"),
    [(1001, 1001, True), (1001, 5, True), (1000, 0, False), (5000, 5001, False),
     (5000, None, False), (None, 5000, False)],
)  # fmt: skip
def test_a_lag_is_an_alarm_when_it_is_long_and_does_not_shrink(
    lag: int | None, lag_before: int | None, is_alarm: bool
) -> None:
    facts = house(listener(lag=lag, lag_before=lag_before))
    assert (keys(facts) == {"lag gcn"}) is is_alarm
    visit = listener(source="ztf", is_bulk=True, lag=lag, lag_before=lag_before)
    assert keys(house(visit)) == set()  # one LSST visit is ten thousand


def test_gcn_credentials_are_about_to_be_disabled() -> None:
    idle = {"state": "running", "connected_at": before(days=20.1)}
    assert keys(house(listener(**idle))) == {"unused gcn"}
    assert keys(house(listener(**idle, transport="scimma"))) == set()
    assert keys(house(listener(connected_at=before(days=19.9)))) == set()
    never = listener(connected_at=None, first_started_at=before(days=21))
    assert "unused gcn" in keys(house(never))


# -- the store ---------------------------------------------------------------------------


def test_a_store_that_is_down_says_nothing_of_what_it_holds() -> None:
    facts = house(store=None, store_error="OperationalError: disk I/O error")
    assert keys(facts) == {"store"}
    assert "disk I/O error" in text(facts, "store")


def test_messages_that_only_the_store_refuses_are_an_alarm_of_their_own() -> None:
    held = listener(state="store_down", good_at=before(seconds=61), last_error="ValueError")
    assert keys(house(held)) == {"store gcn"}
    assert keys(house(held, store_error="down")) == {"store"}


def test_the_ledger_must_balance() -> None:
    facts = house(store=StoreFacts(lost={"match": 2}, last_mock_at=NOW))
    assert keys(facts) == {"ledger"}
    assert "match +2" in text(facts, "ledger")
    assert severity(facts, "ledger") is Severity.PAGE


def test_alerts_that_could_not_be_read_are_told_hour_by_hour() -> None:
    first = UnreadAlerts("igwn", before(hours=5), 3, 77, "superevent_id: missing")
    facts = house(
        store=StoreFacts(unread=(first, replace(first, hour=NOW, number=1)), last_mock_at=NOW)
    )
    assert keys(facts) == {"unread igwn 2027-03-03T22Z", "unread igwn 2027-03-04T03Z"}
    words = text(facts, "unread igwn 2027-03-03T22Z")
    assert "3 notices" in words
    assert "/notices/77" in words
    assert "superevent_id: missing" in words


@pytest.mark.parametrize(("is_bulk", "limit_min"), [(False, 10), (True, 60)])
def test_what_waits_too_long_names_its_stage(is_bulk: bool, limit_min: float) -> None:
    def waiting(minutes: float) -> set[str]:
        found = {("match", is_bulk): before(minutes=minutes)}
        return keys(house(store=StoreFacts(waiting=found, last_mock_at=NOW)))

    assert waiting(limit_min + 0.1) == {f"waiting match {'candidates' if is_bulk else 'alerts'}"}
    assert waiting(limit_min - 0.1) == set()


def test_failing_deliveries_wake_somebody_only_when_they_are_real() -> None:
    def facts(is_practice: bool) -> Facts:
        failing = (FailingSink("tom", is_practice, 4, "token refused (HTTP 401)"),)
        return house(store=StoreFacts(failing=failing, last_mock_at=NOW))

    assert severity(facts(False), "deliveries tom") is Severity.PAGE
    assert severity(facts(True), "deliveries tom") is Severity.WARN
    assert "HTTP 401" in text(facts(False), "deliveries tom")


# -- canaries ----------------------------------------------------------------------------

SNEWS = ("gcn.classic.voevent.SNEWS",)
SUPERK = ("gcn.notices.superk.sn_alert",)


@pytest.mark.parametrize(
    ("key", "what", "field", "limit"),
    [
        ("mock", {"source": "igwn"}, "last_mock_at", timedelta(hours=2.5)),
        ("snews", {"source": "voevent", "topics": SNEWS}, "last_snews_test_at", timedelta(10)),
        ("superk", {"source": "gcn_unified", "topics": SUPERK}, "last_superk_test_at",
         timedelta(45)),
    ],
)  # fmt: skip
def test_an_expected_message_is_missed_from_the_later_of_first_start_and_the_last_one(
    key: str, what: dict[str, Any], field: str, limit: timedelta
) -> None:
    second = timedelta(seconds=1)

    def missed(last: datetime | None, first_start: datetime, **more: Any) -> bool:
        it = listener(**what, first_started_at=first_start)
        return key in keys(house(it, store=StoreFacts(**{field: last}), **more))

    old, late, good = before(days=400), NOW - limit - second, NOW - limit + second
    assert missed(late, old)
    assert not missed(good, old)
    assert missed(None, late)
    assert not missed(None, good)
    assert not missed(late, good)
    # Just started: first let it catch up; but what stands, stays.
    assert not missed(late, old, started_at=before(minutes=9))
    assert missed(late, old, started_at=before(minutes=9), standing=frozenset({key}))
    other = listener(source="ztf", topics=("ztf",), first_started_at=old)
    assert keys(house(other, store=StoreFacts())) == set()


def two_paths(**more: Any) -> tuple[ListenerFacts, ListenerFacts]:
    return listener(), listener(name="hop", transport="scimma", broker="kafka.scimma.org", **more)


def test_a_notice_on_one_of_two_paths_names_the_other() -> None:
    came = OnePath("S270304a", "INITIAL", before(minutes=11), frozenset({"kafka.gcn.nasa.gov"}))
    store = StoreFacts(lvk_notices=(came,), last_mock_at=NOW)
    facts = house(*two_paths(), store=store)
    assert keys(facts) == {"path kafka.scimma.org"}
    assert "INITIAL of S270304a" in text(facts, "path kafka.scimma.org")
    both = replace(came, brokers=frozenset({"kafka.gcn.nasa.gov", "kafka.scimma.org"}))
    assert keys(house(*two_paths(), store=replace(store, lvk_notices=(both,)))) == set()
    assert keys(house(store=store)) == set()  # only one path is configured
    fresh = two_paths(first_started_at=before(minutes=5))
    assert keys(house(*fresh, store=store)) == set()


@pytest.mark.parametrize(
    ("free", "expected"),
    [(10.0, set()), (9.9, {"disk low"}), (1.9, {"disk nearly full"}), (None, set())],
)
def test_the_disk(free: float | None, expected: set[str]) -> None:
    assert keys(house(disk_free_gib=free)) == expected


def test_a_supernova_pages_from_the_stated_probability_and_a_drill_never_does() -> None:
    def raised(is_practice: bool, probability: float, *contradictions: str) -> set[str]:
        burst = BurstFacts("SNEWS2-A", is_practice, probability, (), contradictions)
        return keys(house(store=StoreFacts(bursts=(burst,), last_mock_at=NOW)))

    assert raised(False, LIMITS.supernova_probability) == {"supernova SNEWS2-A"}
    assert raised(False, 0.99 * LIMITS.supernova_probability) == set()
    assert raised(True, 1.0) == set()
    assert raised(True, 1.0, "topic says test, flags says real") == {"markers SNEWS2-A"}


# -- all of them -------------------------------------------------------------------------


def everything() -> Facts:
    out = listener(
        name="x", state="unreachable", good_at=before(days=21), missing_topics=("t",), lag=10**6,
        lag_before=10**5, rebuilds_last_hour=100, connected_at=before(days=21),
        topics=(*SNEWS, *SUPERK),
    )  # fmt: skip
    silent = listener(name="y", last_received_at=before(hours=1), broker="b")
    stuck = listener(name="z", reported_at=before(hours=1))
    sky = listener(name="weather", source="weather", transport="http", good_at=before(hours=1))
    path = OnePath("S1", "INITIAL", before(hours=1), frozenset({"b"}))
    return house(
        out,
        silent,
        stuck,
        sky,
        disk_free_gib=5.0,
        store_error="disk full",
        store=StoreFacts(
            lost={"plan": -1},
            unread=(UnreadAlerts("igwn", NOW, 1, 1, "x"),),
            waiting={("plan", False): before(days=1)},
            failing=(FailingSink("s", False, 1, ""),),
            lvk_notices=(path,),
            bursts=(
                BurstFacts("SNEWS2-A", False, 0.99, ("Neutrino burst seen by 3.",), ()),
                BurstFacts("SNEWS2-B", True, 0.99, (), ("topic says test, flags says real",)),
            ),
        ),
    )


def test_every_kind_can_be_raised_switched_off_and_is_explained_in_the_runbook() -> None:
    from pathlib import Path

    found = decide(everything(), NOW, LIMITS)
    assert {kind_of(alarm.key) for alarm in found} == set(KINDS)
    assert len({alarm.key for alarm in found}) == len(found)
    for alarm in found:
        assert alarm.text.rstrip().endswith((".", ")"))
        assert len(alarm.text) < 700
    for kind in KINDS:
        rest = decide(everything(), NOW, WatchdogSettings(off=(kind,)))
        assert {kind_of(alarm.key) for alarm in rest} == set(KINDS) - {kind}
    runbook = (Path(__file__).parents[2] / "docs" / "alarms.md").read_text()
    for kind in KINDS:
        assert f"\n### {kind}" in runbook


def test_settings_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(ConfigError, match="off: 'lagg'"):
        WatchdogSettings(off=("lagg",))
    with pytest.raises(ConfigError, match="silence_s"):
        WatchdogSettings(silence_s=-1.0)
    with pytest.raises(ConfigError, match="every_s"):
        WatchdogSettings(every_s=0.0)


TIMES = st.datetimes(
    datetime(2020, 1, 1),  # noqa: DTZ001 (hypothesis wants them bare)
    datetime(2035, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@given(now=TIMES, good=TIMES, received=st.none() | TIMES, state=st.text(max_size=20),
       error=st.text(max_size=2000), lag=st.none() | st.integers(), started=TIMES)  # fmt: skip
def test_no_facts_break_it(
    now: datetime, good: datetime, received: datetime | None, state: str, error: str,
    lag: int | None, started: datetime,
) -> None:  # fmt: skip
    it = listener(good_at=good, last_received_at=received, state=state, last_error=error, lag=lag,
                  lag_before=lag)  # fmt: skip
    found = decide(house(it, started_at=started), now, LIMITS)
    assert len({alarm.key for alarm in found}) == len(found)
    assert all(len(alarm.text) < 1000 for alarm in found)
