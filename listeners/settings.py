"""What a listener is told (:class:`KafkaSettings`) and what it tells (:class:`ListenerStatus`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mmcoord.errors import ConfigError

__all__ = ["KafkaSettings", "ListenerState", "ListenerStatus"]


class ListenerState(StrEnum):
    """What a listener is doing."""

    CONNECTING = "connecting"
    RUNNING = "running"
    UNREACHABLE = "unreachable"
    """No broker answers, or the login is refused; the client keeps trying."""
    PAUSED = "paused"
    """Messages are left at the broker because too many wait in the inbox."""
    STORE_DOWN = "store_down"
    """Messages are held back because they cannot be stored."""
    WAITING = "waiting"
    """The client failed and is rebuilt after a delay."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """What the operator may know of one connection; for ``/healthz``."""

    name: str
    source: str
    state: ListenerState = ListenerState.CONNECTING
    received: int = 0
    """Messages stored since the start, redeliveries included."""
    skipped_tests: int = 0
    """Messages that their sender marked as a test of the transport (``_test``)."""
    last_received_at: datetime | None = None
    """When the last message of any kind came, heartbeats included."""
    last_sent_at: datetime | None = None
    """Broker's time stamp of the last stored message."""
    lag: int | None = None
    """Messages waiting at the broker; None while not known."""
    missing_topics: tuple[str, ...] = ()
    """Subscribed, but unknown to the broker (or not permitted)."""
    missed: int = 0
    """Messages that the broker deleted before they could be read."""
    rebuilds: int = 0
    last_error: str = ""
    last_error_at: datetime | None = None
    broker: str = ""
    """Name of the broker in the receipts."""


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """One connection.

    Raises
    ------
    ConfigError
        No topic or no group id.
    """

    name: str
    """Name of the connection in the configuration."""
    source: str
    """Name of the source (entry point) that reads the payloads."""
    topics: tuple[str, ...]
    group_id: str
    """Fixed for ever: the broker remembers our place under it."""
    batch_size: int = 200
    batch_bytes: int = 32 * 2**20
    poll_s: float = 0.5
    backoff_s: float = 1.0
    backoff_max_s: float = 60.0
    backfill_from: datetime | None = None
    """Go back to this time once, at the first assignment, whatever was committed."""
    topics_check_s: float = 60.0
    """How often the broker is asked whether it knows the topics."""
    heartbeat_topic: str = ""
    """Watched for liveness, from its end, and never stored (``gcn.heartbeat``)."""
    silence_s: float | None = None
    """Rebuild the client when no message of any kind comes for so long."""
    key_is_schema: bool = False
    """The key of each message is the Avro schema of its value (Fink); both are stored
    together as one container file."""
    keep_tests: bool = False
    """Store messages with hop's ``_test`` header, which hop's own client leaves out."""

    def __post_init__(self) -> None:
        where = f"listeners.{self.name}"
        if not self.topics or not all(self.topics):
            raise ConfigError(f"{where}.topics: at least one topic is needed")
        if not self.group_id:
            raise ConfigError(f"{where}.group_id: needed; without it a restart loses its place")
        if self.backfill_from is not None and self.backfill_from.tzinfo is None:
            raise ConfigError(f"{where}.backfill_from: a time without a zone")
