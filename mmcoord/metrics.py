"""What Prometheus scrapes: the state of the store and of the listeners as metric families.

Nothing is counted here: every value is read when it is asked for, from the ledger, the tables
and the listeners' statuses, so that the figures agree with the health page and a restart loses
none. Labels are names from the configuration or short fixed lists; no event or candidate is one.
``docs/metrics.md`` describes each name.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.orm import Session

from listeners.settings import ListenerState
from mmcoord.store import views_log
from mmcoord.store.views_log import LedgerLine
from mmcoord.store.views_metrics import Counts, counts
from mmcoord.store.views_queue import STATES
from mmcoord.watchdog.reading import Canaries, read_canaries

__all__ = ["Reading", "exposition", "families", "read"]

_PREFIX = "mmcoord_"
_JOURNAL_ENTRIES = 2000


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that is read from the store, at one instant."""

    ledger: list[LedgerLine]
    counts: Counts
    deliveries: Mapping[tuple[str, str], int]
    """(sink, state) -> deliveries."""
    latencies: Mapping[str, tuple[float, float, int]]
    """Stage -> (median, maximum, number), seconds."""
    canaries: Canaries


def read(session: Session) -> Reading:
    """Call inside ``Database.snapshot``."""
    return Reading(
        ledger=views_log.ledger(session),
        counts=counts(session),
        deliveries=views_log.delivery_counts(session),
        latencies=views_log.recent_latencies(session, _JOURNAL_ENTRIES),
        canaries=read_canaries(session),
    )


def exposition(found: Iterable[Metric]) -> bytes:
    """Prometheus' text format 0.0.4, with the figures of this process beside ours."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Ready(list(found)))
    return generate_latest(registry)


class _Ready(Collector):
    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return self._found


def families(
    reading: Reading | None,
    sources: Iterable[Mapping[str, Any]],
    version: str,
    watched_at: datetime | None,
    sinks: Iterable[str] = (),
) -> Iterator[Metric]:
    """All metric families.

    Parameters
    ----------
    reading
        None: the store cannot be read. Then ``mmcoord_store_readable`` is 0 and what comes from
        the store is absent, rather than stale or zero.
    sources
        The listeners' statuses, as ``/healthz`` gives them.
    watched_at
        When the watchdog last looked; None where it runs in another process.
    sinks
        Names of the configured sinks: their counts begin at 0, so that a first failure is seen
        as a change.
    """
    yield _gauge("build_info", "The running version; always 1.", {(version,): 1}, ["version"])
    yield _gauge("store_readable", "Whether the store answers.", {(): float(reading is not None)})
    if watched_at is not None:
        name = "watchdog_last_look_timestamp_seconds"
        yield _gauge(name, "When the watchdog last looked.", {(): watched_at.timestamp()})
    yield from _listeners(list(sources))
    if reading is not None:
        yield from _ledger(reading.ledger)
        yield from _runs(reading.counts)
        yield _deliveries(reading.deliveries, sinks)
        yield from _others(reading)


def _ledger(lines: Iterable[LedgerLine]) -> Iterator[Metric]:
    lines = list(lines)

    def of(value: Callable[[LedgerLine], float]) -> dict[tuple[str, ...], float]:
        return {(line.stage,): value(line) for line in lines}

    stage = ["stage"]
    yield _counter(
        "ledger_received", "Wishes and notices written.", of(lambda x: x.received), stage
    )
    yield _counter("ledger_processed", "Of these, served.", of(lambda x: x.processed), stage)
    yield _counter("ledger_dead", "Of these, dead letters.", of(lambda x: x.dead), stage)
    yield _gauge("ledger_pending", "Of these, still to do.", of(lambda x: x.pending), stage)
    yield _gauge("ledger_lost", "What the ledger misses; never other than 0.",
                 of(lambda x: x.lost), stage)  # fmt: skip
    yield _gauge(
        "ledger_oldest_pending_timestamp_seconds",
        "Since when the oldest thing still to do has been there; absent when there is none.",
        {
            (line.stage,): line.oldest_pending_at.timestamp()
            for line in lines
            if line.oldest_pending_at is not None
        },
        stage,
    )


def _runs(counts: Counts) -> Iterator[Metric]:
    states = dict.fromkeys(STATES, 0)
    yield _gauge("runs", "Inferences, of all groups.", _one({**states, **counts.runs}), ["state"])
    yield _counter("run_requests", "Inferences that groups asked for, by how they were answered.",
                   _one(counts.run_requests), ["how"])  # fmt: skip
    yield _counter("run_cpu_seconds", "Processor time of finished runs.", {(): counts.runs_cpu_s})
    durations = counts.run_durations_s
    if durations:
        yield _gauge(
            "run_duration_recent_seconds",
            "Wall time of the newest 200 finished runs.",
            {
                ("median",): statistics.median(durations),
                ("p95",): durations[(95 * (len(durations) - 1)) // 100],
                ("max",): durations[-1],
            },
            ["statistic"],
        )


def _deliveries(found: Mapping[tuple[str, str], int], sinks: Iterable[str]) -> Metric:
    none = {
        (sink, state): 0
        for sink in {*sinks, *(sink for sink, _ in found)}
        for state in ("pending", "sent", "failed")
    }
    return _gauge("deliveries", "Messages of the outbox.", {**none, **found}, ["sink", "state"])


def _others(reading: Reading) -> Iterator[Metric]:
    found = reading.counts
    yield _gauge(
        "events",
        "Events known.",
        {(state, _yes(practice)): n for (state, practice), n in found.events.items()},
        ["state", "practice"],
    )
    yield _gauge("dead_letters", "Dead letters that nobody has tried again.",
                 _one(found.dead_letters), ["stage"])  # fmt: skip
    yield _gauge("alarms_standing", "Alarms that stand.", found.alarms, ["kind", "severity"])
    yield _gauge(
        "plan_last_timestamp_seconds",
        "When the newest plan revision of any event was made.",
        {(_yes(practice),): at.timestamp() for practice, at in found.last_plan_at.items()},
        ["practice"],
    )
    canaries = {
        "lvk_mock": reading.canaries.lvk_mock_at,
        "snews_test": reading.canaries.snews_test_at,
        "superk_test": reading.canaries.superk_test_at,
    }
    yield _gauge(
        "canary_last_timestamp_seconds",
        "When a regular test message last came; absent where none ever did.",
        {(name,): at.timestamp() for name, at in canaries.items() if at is not None},
        ["canary"],
    )
    yield _gauge(
        "stage_latency_recent_seconds",
        "From being asked to being done, over the newest 2000 entries of the journal.",
        {
            key: value
            for stage, (median, longest, _) in reading.latencies.items()
            for key, value in (((stage, "median"), median), ((stage, "max"), longest))
        },
        ["stage", "statistic"],
    )


def _listeners(sources: list[Mapping[str, Any]]) -> Iterator[Metric]:
    labels = ["listener", "source"]

    def of(key: str) -> dict[tuple[str, ...], float]:
        return {(s["name"], s["source"]): s[key] for s in sources if s.get(key) is not None}

    def moments(key: str) -> dict[tuple[str, ...], float]:
        texts = {(s["name"], s["source"]): s.get(key) for s in sources}
        return {k: datetime.fromisoformat(text).timestamp() for k, text in texts.items() if text}

    yield _gauge(
        "listener_state",
        "1 for the state in which the listener is, 0 for the others.",
        {
            (s["name"], s["source"], state.value): float(s["state"] == state)
            for s in sources
            for state in ListenerState
        },
        [*labels, "state"],
    )
    yield _gauge("listener_lag_messages", "Messages waiting at the broker.", of("lag"), labels)
    yield _counter("listener_received", "Messages stored since the start.", of("received"), labels)
    yield _counter("listener_missed", "Messages that the broker deleted before they were read.",
                   of("missed"), labels)  # fmt: skip
    yield _counter("listener_rebuilds", "New clients after failures.", of("rebuilds"), labels)
    yield _gauge("listener_missing_topics", "Topics that the broker does not know.",
                 {(s["name"], s["source"]): len(s.get("missing_topics", ())) for s in sources},
                 labels)  # fmt: skip
    yield _gauge("listener_last_received_timestamp_seconds",
                 "When the last message of any kind came, heartbeats included.",
                 moments("last_received_at"), labels)  # fmt: skip
    yield _gauge("listener_last_sent_timestamp_seconds",
                 "The broker's time stamp of the last stored message.",
                 moments("last_sent_at"), labels)  # fmt: skip


def _one(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(name,): value for name, value in values.items()}


def _yes(value: bool) -> str:
    return "true" if value else "false"


def _gauge(
    name: str, help_text: str, values: Mapping[Any, float], labels: Iterable[str] = ()
) -> Metric:
    return _filled(GaugeMetricFamily(_PREFIX + name, help_text, labels=list(labels)), values)


def _counter(
    name: str, help_text: str, values: Mapping[Any, float], labels: Iterable[str] = ()
) -> Metric:
    return _filled(CounterMetricFamily(_PREFIX + name, help_text, labels=list(labels)), values)


def _filled(family: Any, values: Mapping[Any, float]) -> Metric:
    for key, value in values.items():
        family.add_metric(list(key), value)
    assert isinstance(family, Metric)
    return family
