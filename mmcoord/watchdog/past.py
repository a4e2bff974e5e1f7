"""The recent past of each listener, as its statuses told it; in memory only."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from listeners.base import Source
from listeners.settings import ListenerState, ListenerStatus
from mmcoord.config import ListenerSettings
from mmcoord.watchdog.facts import ListenerFacts
from mmcoord.watchdog.settings import WatchdogSettings

__all__ = ["Past", "listener_facts"]

_WORKING = (ListenerState.RUNNING, ListenerState.PAUSED)
_HOUR = timedelta(hours=1)


@dataclass(slots=True)
class _Track:
    status: ListenerStatus
    good_at: datetime
    reported_at: datetime
    working_since: datetime | None = None
    history: deque[tuple[datetime, int, int | None]] = field(default_factory=deque)
    """(when, rebuilds, lag), of the last hour."""


class Past:
    """What the listeners have done since ``started_at``."""

    def __init__(self, started_at: datetime, settings: WatchdogSettings) -> None:
        self._started_at = started_at
        self._lag_span = timedelta(minutes=settings.lag_min)
        self._tracks: dict[str, _Track] = {}

    def take(self, statuses: Mapping[str, ListenerStatus], now: datetime) -> None:
        """Note the statuses as they are now. A listener makes a new one at each report."""
        for name, status in statuses.items():
            track = self._tracks.get(name)
            if track is None:
                track = self._tracks[name] = _Track(status, self._started_at, now)
            if status is not track.status:
                track.status, track.reported_at = status, now
            if status.state in _WORKING:
                track.good_at = now
                track.working_since = track.working_since or now
            else:
                track.working_since = None
            track.history.append((now, status.rebuilds, status.lag))
            while now - track.history[0][0] > _HOUR:
                track.history.popleft()

    def is_working(self, name: str) -> bool:
        """Whether the listener was connected when it was last looked at."""
        track = self._tracks.get(name)
        return track is not None and track.status.state in _WORKING

    def of(self, name: str) -> _Track | None:
        """What is known of one listener; None before its first report."""
        return self._tracks.get(name)

    def lag_before(self, name: str, now: datetime) -> int | None:
        """The lag ``lag_min`` minutes ago."""
        track = self._tracks.get(name)
        old = [lag for at, _, lag in track.history if at <= now - self._lag_span] if track else []
        return old[-1] if old else None

    @property
    def started_at(self) -> datetime:
        """When this past begins."""
        return self._started_at


def listener_facts(
    name: str,
    wanted: ListenerSettings,
    source: Source | None,
    past: Past,
    first_started_at: datetime,
    connected_at: datetime | None,
    now: datetime,
) -> ListenerFacts:
    """One configured listener as it is now."""
    track = past.of(name)
    status = track.status if track else ListenerStatus(name, wanted.source)
    return ListenerFacts(
        name=name,
        source=wanted.source,
        transport=wanted.transport,
        broker=status.broker,
        topics=wanted.topics,
        heartbeat_topic=str(wanted.options.get("heartbeat_topic", "")),
        is_bulk=source is not None and source.is_bulk,
        state=status.state.value if track else "",
        good_at=track.good_at if track else past.started_at,
        working_since=track.working_since if track else None,
        reported_at=track.reported_at if track else past.started_at,
        last_error=status.last_error,
        last_received_at=status.last_received_at,
        lag=status.lag,
        lag_before=past.lag_before(name, now),
        missing_topics=status.missing_topics,
        rebuilds_last_hour=status.rebuilds - track.history[0][1] if track else 0,
        missed=status.missed,
        first_started_at=first_started_at,
        connected_at=connected_at,
    )
