"""What the watchdog looks at, and what it says: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

__all__ = [
    "Alarm",
    "BurstFacts",
    "Facts",
    "FailingSink",
    "ListenerFacts",
    "OnePath",
    "Severity",
    "StoreFacts",
    "UnreadAlerts",
]


class Severity(StrEnum):
    """Whether somebody should be woken."""

    PAGE = "page"
    """Alerts may be missed, or the records cannot be trusted: now."""
    WARN = "warn"
    """It can wait for the morning."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that an operator has to know."""

    key: str
    """What it is about; the same key is the same alarm."""
    severity: Severity
    text: str
    """What is wrong and what to do; whole sentences."""


@dataclass(frozen=True, slots=True)
class ListenerFacts:
    """One configured listener, as it is and as it has been since this start."""

    name: str
    source: str
    transport: str
    broker: str
    topics: tuple[str, ...]
    heartbeat_topic: str
    is_bulk: bool
    """A source of candidates; else one whose notices may wake people."""
    state: str
    """A :class:`listeners.settings.ListenerState`; empty before the first report."""
    good_at: datetime
    """When it last worked; before it has, the start of the service."""
    working_since: datetime | None
    """Since when it has worked without a break; None while it does not."""
    reported_at: datetime
    """When its thread last said anything."""
    last_error: str
    last_received_at: datetime | None
    lag: int | None
    lag_before: int | None
    """Lag ``lag_min`` minutes ago; None while not known."""
    missing_topics: tuple[str, ...]
    rebuilds_last_hour: int
    missed: int
    """Messages that the broker had deleted before we read them, since this start."""
    first_started_at: datetime
    """When a listener of this name was started for the first time ever."""
    connected_at: datetime | None
    """When it last worked, over all starts."""


@dataclass(frozen=True, slots=True)
class UnreadAlerts:
    """Alerts of one source that could not be read, received within one hour of the clock."""

    source: str
    hour: datetime
    number: int
    notice_id: int
    """The newest."""
    reason: str


@dataclass(frozen=True, slots=True)
class OnePath:
    """An LVK notice and the brokers over which it came."""

    event_id: str
    alert_type: str
    received_at: datetime
    brokers: frozenset[str]


@dataclass(frozen=True, slots=True)
class FailingSink:
    """Deliveries of one sink that do not get through."""

    sink: str
    is_practice: bool
    number: int
    detail: str


@dataclass(frozen=True, slots=True)
class BurstFacts:
    """A neutrino burst as it stands."""

    event_id: str
    is_practice: bool
    probability_real: float
    headlines: tuple[str, ...]
    contradictions: tuple[str, ...]
    """Markers that disagree on whether it is a test."""


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What the store says, at one instant."""

    lost: Mapping[str, int] = field(default_factory=dict)
    """Stage -> wishes neither served, dead nor pending; zeros left out."""
    unread: tuple[UnreadAlerts, ...] = ()
    waiting: Mapping[tuple[str, bool], datetime] = field(default_factory=dict)
    """(stage, whether it is candidates) -> since when its oldest due wish waits."""
    failing: tuple[FailingSink, ...] = ()
    last_mock_at: datetime | None = None
    last_snews_test_at: datetime | None = None
    last_superk_test_at: datetime | None = None
    lvk_notices: tuple[OnePath, ...] = ()
    """Those old enough to have come over every path."""
    bursts: tuple[BurstFacts, ...] = ()
    """Those assessed lately and not retracted."""
    weather_until: datetime | None = None
    """End of the last spell that the weather service told of; None: it told of none."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is looked at."""

    started_at: datetime
    """When this process began to look."""
    listeners: tuple[ListenerFacts, ...] = ()
    store: StoreFacts | None = None
    """None: the store could not be asked."""
    store_error: str = ""
    disk_free_gib: float | None = None
    """Where the data are; None when it could not be asked."""
    data_dir: str = ""
    standing: frozenset[str] = frozenset()
    """Keys of the alarms that stand: just after a start, what nobody can know yet stays."""
