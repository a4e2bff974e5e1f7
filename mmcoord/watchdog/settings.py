"""The limits of the watchdog: the table ``[watchdog]`` of the configuration."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from mmcoord.errors import ConfigError

__all__ = ["KINDS", "WatchdogSettings"]

KINDS = (
    "unreachable",
    "stuck",
    "rebuilt",
    "silent",
    "topics",
    "lag",
    "unused",
    "store",
    "mock",
    "snews",
    "superk",
    "path",
    "ledger",
    "unread",
    "disk",
    "weather",
    "waiting",
    "deliveries",
    "supernova",
    "markers",
)
"""The kinds of alarm; each is a heading of ``docs/alarms.md``."""


@dataclass(frozen=True, slots=True)
class WatchdogSettings:
    """When an alarm is raised.

    Raises
    ------
    ConfigError
        A negative limit, or ``off`` names no kind of alarm.
    """

    off: tuple[str, ...] = ()
    """Kinds of alarm that are never raised."""
    every_s: float = 5.0
    """How often the listeners are looked at."""
    store_every_s: float = 15.0
    """How often the store is looked at."""
    clear_after_s: float = 60.0
    """An alarm is cleared when its reason has been gone for so long."""
    unreachable_s: float = 60.0
    """A listener that has not worked for so long is unreachable."""
    stuck_s: float = 180.0
    """A listener's thread that has said nothing for so long is stuck."""
    rebuilds_per_hour: int = 6
    """More new clients in an hour than this are too many."""
    silence_s: float = 60.0
    """Longest wait for a message where a heartbeat topic is listened to (about one a second)."""
    lag: int = 1000
    """Messages that may wait at the broker, for a source of alerts."""
    bulk_lag: int = 100_000
    """The same for a source of candidates: one LSST visit brings 10,000."""
    lag_min: float = 10.0
    """A lag is an alarm only if it has not shrunk in so many minutes."""
    gcn_unused_day: float = 20.0
    """GCN disables credentials that have not been used for 30 days."""
    mock_superevent_h: float = 2.5
    """Longest wait for a mock superevent of LVK; one comes every hour."""
    snews_test_day: float = 10.0
    """Longest wait for a test alert of SNEWS; one comes every week."""
    superk_test_day: float = 45.0
    """Longest wait for a test notice of Super-Kamiokande; two come every month."""
    catch_up_min: float = 10.0
    """After a start, time to catch up before an expected message is missed."""
    one_path_min: float = 10.0
    """How long an LVK notice may be known over one of two brokers only."""
    one_path_window_h: float = 2.0
    """Notices older than this are no longer compared."""
    unread_h: float = 24.0
    """An alert that could not be read is an alarm for so long, or until it is tried again."""
    wait_min: float = 10.0
    """Longest wait of an alert, or of what it asks for, for its stage."""
    bulk_wait_min: float = 60.0
    """The same for candidates."""
    delivery_attempts: int = 4
    """A delivery tried so often without success is failing."""
    delivery_failed_h: float = 6.0
    """A delivery that was given up is an alarm for so long."""
    supernova_probability: float = 0.1
    """A burst of neutrinos that is real with at least this probability wakes people."""
    burst_h: float = 48.0
    """A burst is an alarm for so long after its last assessment."""
    weather_min: float = 30.0
    """The weather from an address (``plan.weather``) may be as old as so many minutes."""
    disk_low_gib: float = 10.0
    """Free space below which a warning is raised."""
    disk_full_gib: float = 2.0
    """Free space below which somebody is woken."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "off" and not (0 <= value < math.inf):
                raise ConfigError(f"watchdog.{field.name}: {value!r} is not a number from 0 up")
        if self.every_s < 0.01:
            raise ConfigError("watchdog.every_s: must be at least 0.01")
        unknown = sorted(set(self.off) - set(KINDS))
        if unknown:
            raise ConfigError(f"watchdog.off: {unknown[0]!r} is none of {', '.join(KINDS)}")
