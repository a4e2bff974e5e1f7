"""Google Cloud Pub/Sub: raw bytes into durable storage, then acknowledge.

For Pitt-Google, whose streams are Pub/Sub topics. A subscription of one's own is pulled; what
is not acknowledged in time comes again, with the same message id, and the store drops the
repeat. Needs the extra ``pubsub`` (google-cloud-pubsub), which is imported when it is used.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from listeners.polling import content_offset
from listeners.settings import ListenerState, ListenerStatus
from mmcoord.errors import ConfigError
from mmcoord.records import Notice

__all__ = ["PubSubListener", "PubSubSettings", "subscriber"]

logger = logging.getLogger(__name__)
_REPEATED_S = 10.0


@dataclass(frozen=True, slots=True)
class PubSubSettings:
    """One subscription.

    Raises
    ------
    ConfigError
        No project or no subscription.
    """

    name: str
    """Name of the connection in the configuration."""
    source: str
    project: str
    """Our own project, which the subscription belongs to."""
    subscription: str
    batch_size: int = 200
    pull_s: float = 5.0
    """How long to wait for messages in one pull."""
    backoff_s: float = 1.0
    backoff_max_s: float = 60.0

    def __post_init__(self) -> None:
        for key in ("project", "subscription"):
            value = getattr(self, key)
            if not value or "/" in value:
                raise ConfigError(f"listeners.{self.name}.options.{key}: {value!r} is no name")

    @property
    def path(self) -> str:
        """The subscription's full name."""
        return f"projects/{self.project}/subscriptions/{self.subscription}"


def subscriber(credentials_file: str | None = None) -> Any:
    """Google's subscriber client; by default with the credentials of its environment.

    Raises
    ------
    ConfigError
        The extra is not installed, or the credentials cannot be used.
    """
    try:
        from google.auth.exceptions import GoogleAuthError
        from google.cloud import pubsub_v1
    except ImportError as error:
        raise ConfigError("pubsub: pip install mmcoord[pubsub]") from error
    try:
        if credentials_file:
            return pubsub_v1.SubscriberClient.from_service_account_file(credentials_file)
        return pubsub_v1.SubscriberClient()
    except (GoogleAuthError, OSError, ValueError) as error:
        raise ConfigError(f"pubsub: no usable credentials: {type(error).__name__}") from None


class PubSubListener:
    """Pulls one subscription until told to stop. One thread runs it; see :meth:`run`.

    Parameters
    ----------
    settings
        What to pull.
    make
        Builds a client: ``pull(request=, timeout=)``, ``acknowledge(request=)``, ``close()``
        as ``google.cloud.pubsub_v1.SubscriberClient`` has them.
    write
        Stores notices and returns when they are durable. If it raises, nothing is
        acknowledged, and the messages come again.
    on_status
        Called from the listener's thread at every change.
    """

    def __init__(
        self,
        settings: PubSubSettings,
        make: Callable[[], Any],
        write: Callable[[Sequence[Notice]], None],
        on_status: Callable[[ListenerStatus], None] = lambda status: None,
    ) -> None:
        self.settings = settings
        self.status = ListenerStatus(settings.name, settings.source)
        self._make = make
        self._write = write
        self._on_status = on_status
        self._failures = 0
        self._random = random.SystemRandom()

    def run(self, stop: threading.Event) -> None:
        """Pull until ``stop`` is set, with a new client whenever one breaks."""
        while not stop.is_set():
            self._update(state=ListenerState.CONNECTING)
            try:
                self._session(stop)
            except Exception as error:
                # The one loop that must not die: whatever the client raises, the operator
                # reads it in the status and a new one is made.
                self._fault(f"{type(error).__name__}: {error}", _state_after(error))
                self._update(rebuilds=self.status.rebuilds + 1)
                stop.wait(self._delay())
        self._update(state=ListenerState.STOPPED)

    def check(self) -> str:
        """Ask for the subscription without taking anything from it; what it reads, in words."""
        client = self._make()
        try:
            found = client.get_subscription(
                request={"subscription": self.settings.path}, timeout=self.settings.pull_s
            )
        finally:
            client.close()
        return f"{self.settings.path} of {found.topic}"

    def _session(self, stop: threading.Event) -> None:
        client = self._make()
        try:
            while not stop.is_set():
                messages = self._pull(client)
                if messages and self._store(messages, stop):
                    ids = [message.ack_id for message in messages]
                    client.acknowledge(
                        request={"subscription": self.settings.path, "ack_ids": ids},
                        timeout=self.settings.pull_s,
                    )
                self._failures = 0
                if self.status.state is not ListenerState.RUNNING:
                    self._update(state=ListenerState.RUNNING)
        finally:
            client.close()

    def _pull(self, client: Any) -> Sequence[Any]:
        """Messages at hand; none when none comes in time."""
        try:
            answer = client.pull(
                request={
                    "subscription": self.settings.path,
                    "max_messages": self.settings.batch_size,
                },
                retry=None,
                timeout=self.settings.pull_s,
            )
        except Exception as error:
            if type(error).__name__ == "DeadlineExceeded":
                return ()
            raise
        return list(answer.received_messages)

    def _store(self, messages: Sequence[Any], stop: threading.Event) -> bool:
        """Write a batch, however long it takes; False when told to stop before that."""
        notices = [self._notice(received.message) for received in messages]
        attempt = 0
        while True:
            try:
                self._write(notices)
                break
            except Exception as error:
                # Broad, because the store is not ours to know: nothing is durable yet.
                self._fault(f"store: {type(error).__name__}: {error}", ListenerState.STORE_DOWN)
            if stop.wait(self._delay(attempt)):
                return False
            attempt += 1
        self._update(
            state=ListenerState.RUNNING,
            received=self.status.received + len(notices),
            last_received_at=_now(),
            last_sent_at=notices[-1].sent_at,
        )
        return True

    def _notice(self, message: Any) -> Notice:
        payload = bytes(message.data)
        identity = f"{message.message_id}|{message.publish_time}|".encode() + payload
        return Notice(
            source=self.settings.source,
            broker=f"pubsub:{self.settings.project}",
            topic=self.settings.subscription,
            partition=0,
            offset=content_offset(identity),
            payload=payload,
            received_at=_now(),
            sent_at=_moment(message.publish_time),
        )

    def _delay(self, attempt: int | None = None) -> float:
        if attempt is None:
            attempt, self._failures = self._failures, self._failures + 1
        longest = min(
            self.settings.backoff_s * 2.0 ** min(attempt, 20), self.settings.backoff_max_s
        )
        return longest * self._random.uniform(0.5, 1.0)

    def _fault(self, words: str, state: ListenerState) -> None:
        words = " ".join(words.split())[:500]
        now, last = _now(), self.status.last_error_at
        is_recent = last is not None and (now - last).total_seconds() < _REPEATED_S
        if is_recent and words == self.status.last_error:
            self._update(state=state)
            return
        logger.warning("%s: %s", self.settings.name, words)
        self._update(state=state, last_error=words, last_error_at=now)

    def _update(self, **changes: Any) -> None:
        self.status = replace(self.status, **changes)
        try:
            self._on_status(self.status)
        except Exception:
            # Whoever watches must not stop what he watches.
            logger.exception("%s: the status could not be told", self.settings.name)


def _state_after(error: Exception) -> ListenerState:
    gone = ("PermissionDenied", "Unauthenticated", "NotFound", "ServiceUnavailable", "ConfigError")
    is_out = type(error).__name__ in gone
    return ListenerState.UNREACHABLE if is_out else ListenerState.WAITING


def _moment(given: Any) -> datetime | None:
    """The service's time stamp (a ``datetime`` with a zone, perhaps of a subclass)."""
    if not isinstance(given, datetime):
        return None
    return datetime.fromtimestamp(given.timestamp(), UTC)


def _now() -> datetime:
    return datetime.now(UTC)
