"""Which alarms should stand: pure, no clock, no store.

Every alarm says what is wrong, what it means and what to do; docs/alarms.md says more.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from listeners.settings import ListenerState
from mmcoord.watchdog.facts import Alarm, Facts, ListenerFacts, Severity, StoreFacts
from mmcoord.watchdog.settings import WatchdogSettings

__all__ = ["decide", "kind_of"]

_KAFKA = ("gcn", "scimma", "kafka")
_GOOD = (ListenerState.RUNNING, ListenerState.PAUSED)
_LVK = "igwn"
_WEATHER = "weather"
_SNEWS_TOPIC = "gcn.classic.voevent.SNEWS"
_SUPERK_TOPIC = "gcn.notices.superk.sn_alert"
_LEFT_OUT = 240
_SETTLE_S = 15.0
"""Statuses come every five seconds."""


def decide(facts: Facts, now: datetime, settings: WatchdogSettings) -> frozenset[Alarm]:
    """The alarms that should stand at ``now``. At most one has a key.

    While the store cannot be asked, nothing is said about what it holds.
    """
    found = [*_house(facts)]
    for listener in facts.listeners:
        found += _listener(listener, facts, now, settings)
    if facts.store is not None:
        found += _store(facts.store, now, settings)
        found += _canaries(facts, facts.store, now, settings)
        found += _paths(facts, facts.store)
        found += _bursts(facts.store, settings)
    found += _disk(facts, settings)
    return frozenset(alarm for alarm in found if kind_of(alarm.key) not in settings.off)


def kind_of(key: str) -> str:
    """The kind of an alarm (:data:`mmcoord.watchdog.settings.KINDS`): its key's first word."""
    return key.partition(" ")[0]


def _house(facts: Facts) -> Iterator[Alarm]:
    if facts.store_error:
        yield Alarm(
            "store",
            Severity.PAGE,
            f"The store cannot be used ({_short(facts.store_error)}). Listeners hold their "
            "messages at the brokers and nothing is matched or posted. Mend the database (is its "
            "disk full?); what waits is then taken up by itself.",
        )


# -- listeners ---------------------------------------------------------------------------


def _listener(
    it: ListenerFacts, facts: Facts, now: datetime, settings: WatchdogSettings
) -> Iterator[Alarm]:
    if it.source == _WEATHER:
        yield from _weather(it, facts.store, now, settings)
        return
    severity = Severity.WARN if it.is_bulk else Severity.PAGE
    if _is_unreachable(it, facts, now, settings):
        yield Alarm(f"unreachable {it.name}", severity, _unreachable_text(it, now))
    elif it.transport in _KAFKA and _age(it.reported_at, now) > settings.stuck_s:
        yield Alarm(
            f"stuck {it.name}",
            severity,
            f"The thread of listener {it.name} has said nothing for "
            f"{_span(_age(it.reported_at, now))}. Restart mmcoord; nothing is lost by it, the "
            "broker keeps what was not stored.",
        )
    elif _is_silent(it, facts, now, settings):
        heard = _span(_age(it.last_received_at or facts.started_at, now))
        yield Alarm(
            f"silent {it.name}",
            severity,
            f"Listener {it.name} has heard nothing for {heard}, not even a heartbeat on "
            f"{it.heartbeat_topic} (about one a second). Alerts may be missed. See the "
            "broker's status page, then the network; mmcoord doctor asks the broker directly.",
        )
    if it.missing_topics:
        yield Alarm(
            f"topics {it.name}",
            severity,
            f"{it.broker or 'The broker'} does not know, or does not let us read, "
            f"{', '.join(it.missing_topics)} of listener {it.name}: nothing comes from there. "
            f"Correct listeners.{it.name}.topics, or ask for the permission (a new one can take "
            "an hour).",
        )
    if it.rebuilds_last_hour > settings.rebuilds_per_hour:
        yield Alarm(
            f"rebuilt {it.name}",
            Severity.WARN,
            f"The client of listener {it.name} was built anew {it.rebuilds_last_hour} times in "
            f"the last hour{_because(it)}. Alerts come late while it is. Look for an unstable "
            "network or another program with the same group_id and credentials.",
        )
    if it.missed:
        yield Alarm(
            f"gap {it.name}",
            severity,
            f"{it.broker or 'The broker'} had deleted {_count(it.missed, 'message')} before "
            f"listener {it.name} read them: we were away for longer than it keeps them. They are "
            "not in our store; look for them at another broker or in the archive (GraceDB, GCN). "
            "The alarm stands until the next start.",
        )
    yield from _holding(it, facts, now, settings)
    yield from _behind(it, facts, settings)
    yield from _unused(it, now, settings)


def _weather(
    it: ListenerFacts, store: StoreFacts | None, now: datetime, settings: WatchdogSettings
) -> Iterator[Alarm]:
    """Not heard for long, or all that was said is over: plans go on with what there is."""
    until = store.weather_until if store is not None else None
    if _age(it.good_at, now) > 60.0 * settings.weather_min:
        yield Alarm(
            f"weather {it.name}",
            Severity.WARN,
            f"The weather (plan.weather) has not been obtained for {_span(_age(it.good_at, now))}"
            f"{_because(it)}. Plans go on with what was said before. Look at the service that "
            "tells it; mmcoord doctor asks it.",
        )
    elif until is not None and until < now:
        yield Alarm(
            f"weather {it.name}",
            Severity.WARN,
            f"The weather service (plan.weather) answers, but all that it says ended "
            f"{_span(_age(until, now))} ago, so that plans count every site as open. Look at what "
            "writes the weather.",
        )


def _is_unreachable(
    it: ListenerFacts, facts: Facts, now: datetime, settings: WatchdogSettings
) -> bool:
    if it.state in _GOOD:
        return False
    if it.state == ListenerState.STORE_DOWN:
        return False  # see _holding
    stands = f"unreachable {it.name}" in facts.standing
    return stands or _age(it.good_at, now) > settings.unreachable_s


def _unreachable_text(it: ListenerFacts, now: datetime) -> str:
    where = it.broker or it.transport
    since = _span(_age(it.good_at, now))
    if "uthentication" in it.last_error or "OAUTHBEARER" in it.last_error:
        return (
            f"{where} has refused the login of listener {it.name} for {since}{_because(it)}. No "
            "alert comes from there. Check user name and secret; credentials expire and GCN "
            "disables those unused for 30 days. mmcoord doctor tries the login."
        )
    return (
        f"Listener {it.name} has not been connected to {where} for {since}{_because(it)}. No "
        "alert comes from there; the client keeps trying. Check the network and the broker's "
        "status page; mmcoord doctor asks the broker directly."
    )


def _is_silent(it: ListenerFacts, facts: Facts, now: datetime, settings: WatchdogSettings) -> bool:
    """Connected, and yet nothing comes.

    Just after it has connected the first message may be on its way. That is not waited for as
    long as a silence may last: a client that is rebuilt at each silence would never be silent.
    """
    if not it.heartbeat_topic or it.state != ListenerState.RUNNING or it.working_since is None:
        return False
    heard = it.last_received_at
    if f"silent {it.name}" in facts.standing and (heard is None or heard < it.working_since):
        return True
    if _age(it.working_since, now) < _SETTLE_S:
        return False
    return _age(heard or facts.started_at, now) > settings.silence_s


def _holding(
    it: ListenerFacts, facts: Facts, now: datetime, settings: WatchdogSettings
) -> Iterator[Alarm]:
    """It has messages that the store refuses, although others can use the store."""
    if it.state != ListenerState.STORE_DOWN or facts.store_error:
        return
    if _age(it.good_at, now) > settings.unreachable_s or f"store {it.name}" in facts.standing:
        yield Alarm(
            f"store {it.name}",
            Severity.PAGE,
            f"Listener {it.name} has not been able to store its messages for "
            f"{_span(_age(it.good_at, now))}{_because(it)}. They are kept at the broker, but "
            "nothing that comes after them is read. See the log and report it.",
        )


def _behind(it: ListenerFacts, facts: Facts, settings: WatchdogSettings) -> Iterator[Alarm]:
    limit = settings.bulk_lag if it.is_bulk else settings.lag
    if it.lag is None or it.lag <= limit:
        return
    if it.lag_before is None:
        is_growing = f"lag {it.name}" in facts.standing
    else:
        is_growing = it.lag >= it.lag_before
    if not is_growing:
        return
    before = "many" if it.lag_before is None else f"{it.lag_before:,}"
    yield Alarm(
        f"lag {it.name}",
        Severity.WARN if it.is_bulk else Severity.PAGE,
        f"{it.lag:,} messages wait at the broker for listener {it.name}, and "
        f"{before} did {settings.lag_min:g} minutes ago: it does not keep up. Look at "
        "the load of this machine and of its disk; the health page says which stage is slow.",
    )


def _unused(it: ListenerFacts, now: datetime, settings: WatchdogSettings) -> Iterator[Alarm]:
    last = it.connected_at or it.first_started_at
    if it.transport == "gcn" and _age(last, now) > settings.gcn_unused_day * 86400:
        yield Alarm(
            f"unused {it.name}",
            Severity.WARN,
            f"Listener {it.name} has not connected to GCN for {_span(_age(last, now))}. GCN "
            "disables credentials that have not been used for 30 days; mend the connection "
            "before, or renew the credentials at https://gcn.nasa.gov/user/credentials.",
        )


# -- what the store says -----------------------------------------------------------------


def _store(store: StoreFacts, now: datetime, settings: WatchdogSettings) -> Iterator[Alarm]:
    if store.lost:
        counts = ", ".join(f"{stage} {lost:+d}" for stage, lost in sorted(store.lost.items()))
        yield Alarm(
            "ledger",
            Severity.PAGE,
            f"The counts of the ledger do not agree (lost: {counts}). Something was received and "
            "is neither served, nor parked, nor pending. Do not trust tonight's results blindly; "
            "save a copy of the store and report it.",
        )
    for unread in store.unread:
        yield Alarm(
            f"unread {unread.source} {unread.hour:%Y-%m-%dT%HZ}",
            Severity.PAGE,
            f"{_count(unread.number, 'notice')} of {unread.source} could not be read in the hour "
            f"from {unread.hour:%H:%M} UTC, and might have been an alert. The newest is notice "
            f"{unread.notice_id}: {_short(unread.reason)}. Read it on the page (/notices/"
            f"{unread.notice_id}); after a fix, mmcoord dead-letters --retry.",
        )
    for (stage, is_bulk), since in sorted(store.waiting.items()):
        yield from _waiting(stage, since, now, settings, is_bulk=is_bulk)
    for failing in store.failing:
        yield Alarm(
            f"deliveries {failing.sink}",
            Severity.WARN if failing.is_practice else Severity.PAGE,
            f"{_count(failing.number, 'delivery', 'deliveries')} to sink {failing.sink} did not "
            f"get through: {_short(failing.detail) or 'no reason given'}. Plans are not "
            "seen there. mmcoord doctor asks the service; what is pending is tried again by "
            "itself.",
        )


def _waiting(
    stage: str, since: datetime, now: datetime, settings: WatchdogSettings, *, is_bulk: bool
) -> Iterator[Alarm]:
    limit_min = settings.bulk_wait_min if is_bulk else settings.wait_min
    if _age(since, now) <= 60 * limit_min:
        return
    what = "candidates" if is_bulk else "alerts and what they ask for"
    yield Alarm(
        f"waiting {stage} {'candidates' if is_bulk else 'alerts'}",
        Severity.WARN if is_bulk else Severity.PAGE,
        f"In stage {stage}, {what} have waited for {_span(_age(since, now))}. The stage hangs "
        "or is too slow: look at the log and the load of this machine; a restart loses nothing.",
    )


def _canaries(
    facts: Facts, store: StoreFacts, now: datetime, settings: WatchdogSettings
) -> Iterator[Alarm]:
    """Messages that come by themselves and prove the whole way."""
    lvk = [it for it in facts.listeners if it.source == _LVK]
    snews = [it for it in facts.listeners if _SNEWS_TOPIC in it.topics]
    superk = [it for it in facts.listeners if _SUPERK_TOPIC in it.topics]
    hour, day = timedelta(hours=1), timedelta(days=1)
    for kind, those, last, limit, what, often, severity in (
        ("mock", lvk, store.last_mock_at, settings.mock_superevent_h * hour,
         "mock superevent of LVK", "one comes every hour", Severity.PAGE),
        ("snews", snews, store.last_snews_test_at, settings.snews_test_day * day,
         "test alert of SNEWS", "one comes every week", Severity.WARN),
        ("superk", superk, store.last_superk_test_at, settings.superk_test_day * day,
         "test notice of Super-Kamiokande", "two come every month", Severity.WARN),
    ):  # fmt: skip
        if not those:
            continue
        first = min(it.first_started_at for it in those)
        since = max(first, last) if last is not None else first
        is_late = now - since > limit
        can_know = now - facts.started_at > timedelta(minutes=settings.catch_up_min)
        if not is_late or not (can_know or kind in facts.standing):
            continue
        names = ", ".join(it.name for it in those)
        yield Alarm(
            kind,
            severity,
            f"No {what} has arrived for {_span((now - since).total_seconds())} over "
            f"{names}, and {often}. Either the sender pauses (see its status page) or a real "
            "alert would not arrive either: compare with the broker by mmcoord doctor.",
        )


def _paths(facts: Facts, store: StoreFacts) -> Iterator[Alarm]:
    """LVK notices that came over one of several brokers and not over another."""
    by_broker = {it.broker: it for it in facts.listeners if it.source == _LVK and it.broker}
    if len(by_broker) < 2:
        return
    for it in by_broker.values():
        missed = [
            notice
            for notice in store.lvk_notices
            if it.broker not in notice.brokers and notice.received_at > it.first_started_at
        ]
        if not missed:
            continue
        newest = max(missed, key=lambda notice: notice.received_at)
        others = ", ".join(sorted(newest.brokers)) or "no broker known"
        yield Alarm(
            f"path {it.broker}",
            Severity.WARN,
            f"{_count(len(missed), 'notice')} of LVK did not come over {it.broker} (listener "
            f"{it.name}), the newest is {newest.alert_type} of {newest.event_id}, which came "
            f"over {others}. Only one path is left: see the status page of {it.broker}.",
        )


def _bursts(store: StoreFacts, settings: WatchdogSettings) -> Iterator[Alarm]:
    for burst in store.bursts:
        if burst.contradictions:
            yield Alarm(
                f"markers {burst.event_id}",
                Severity.PAGE,
                f"Markers of {burst.event_id} disagree on whether it is a test: "
                f"{'; '.join(burst.contradictions)}. It is held to be a test and goes to practice "
                "sinks only. Look at the network's own page at once: if it is real, tell people "
                "by hand.",
            )
        if not burst.is_practice and burst.probability_real >= settings.supernova_probability:
            yield Alarm(
                f"supernova {burst.event_id}",
                Severity.PAGE,
                f"A Galactic supernova may be under way: {burst.event_id}. "
                f"{' '.join(burst.headlines)} See its page; the plan says which stars are up "
                "where. If the network takes it back without an alert: mmcoord withdraw.",
            )


def _disk(facts: Facts, settings: WatchdogSettings) -> Iterator[Alarm]:
    free = facts.disk_free_gib
    if free is None or free >= settings.disk_low_gib:
        return
    where = f"{free:.1f} GiB are free for {facts.data_dir}"
    if free < settings.disk_full_gib:
        yield Alarm(
            "disk nearly full",
            Severity.PAGE,
            f"{where}. A full disk stops the intake: make room now, or enlarge the volume.",
        )
    else:
        yield Alarm("disk low", Severity.WARN, f"{where}. Make room within days.")


# -- words -------------------------------------------------------------------------------


def _age(moment: datetime, now: datetime) -> float:
    return (now - moment).total_seconds()


def _span(seconds: float) -> str:
    """A span of time as people say it."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def _because(it: ListenerFacts) -> str:
    return f" ({_short(it.last_error)})" if it.last_error else ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LEFT_OUT else f"{line[: _LEFT_OUT - 1]}…"
