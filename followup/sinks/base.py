"""What a sink must offer: say what it would send (pure), send it, take it back.

A sink is found by the entry-point group ``mmcoord.sinks``: the entry point's name is the
sink's kind, its value a :data:`Build` function. Outside systems are reached through an
``httpx.Client`` that is handed in, so that a plain function can stand in for the network
(``httpx.MockTransport``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import httpx

from followup.claims import SkipReason, Verb
from mmcoord.announcements import Announcement
from mmcoord.records import Outgoing

__all__ = [
    "Announces",
    "Answer",
    "Build",
    "Checks",
    "Granularity",
    "Heard",
    "Hears",
    "NotHeard",
    "Outcome",
    "Payload",
    "Preloads",
    "SideBySide",
    "Sink",
    "TakesTiles",
    "Tells",
]

Payload = dict[str, Any]
"""JSON-serialisable; stored in the outbox before anything is sent."""


class Granularity(StrEnum):
    """How a sink speaks."""

    TARGET = "target"
    """One message per target of a plan revision."""
    PLAN = "plan"
    """One message per plan revision."""


class Outcome(StrEnum):
    """How a delivery attempt ended; the outbox acts on nothing else."""

    SENT = "sent"
    """It is there (or was there already)."""
    RETRY = "retry"
    """Not there; trying again may help."""
    REJECTED = "rejected"
    """Not there; the same payload will never be taken."""
    UNKNOWN = "unknown"
    """Nobody can tell; look it up before sending again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A sink's reading of what the service said."""

    outcome: Outcome
    remote_id: str | None = None
    """The service's identifier, needed to update or withdraw."""
    detail: str = ""
    """For people and the log; holds no secret."""
    retry_after_s: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


class Sink(Protocol):
    """One configured destination."""

    name: str
    is_practice: bool
    """Only a practice sink takes practice events, and it takes nothing else.

    A production sink refuses practice events; the check is in the deliver stage and holds
    for every sink, so that no sink can forget it.
    """
    is_public: bool
    """Whether anybody can read there, or a telescope is asked. What is public waits for a
    person or a rule that lets it out; a sink that does not say counts as public."""
    granularity: Granularity
    settle_s: float
    """After a crash, how long to wait before ``lookup`` can be believed (its archive lags)."""

    def payload(self, outgoing: Outgoing) -> Payload:
        """What would be sent. Pure: no network, no clock, same input same output.

        Empty: there is nothing to say, and no delivery is made.
        """
        ...

    def send(self, payload: Payload, *, key: str) -> Answer:
        """Publish. Called again with the same ``key`` after RETRY or a crash."""
        ...

    def lookup(self, payload: Payload, *, key: str) -> Answer | None:
        """Was ``key`` published before? None: this service cannot tell."""
        ...

    def withdraw(self, payload: Payload, *, key: str, remote_id: str | None) -> Answer:
        """Take back what ``send`` published."""
        ...


@runtime_checkable
class Checks(Protocol):
    """A sink that can say whether it would be let in; for ``mmcoord doctor``."""

    def check(self) -> Answer:
        """Ask the service who we are, and send nothing. SENT: ready; else what is wrong."""
        ...


@runtime_checkable
class SideBySide(Protocol):
    """A sink that may be sent several deliveries at once, each of another target.

    Asked of those targets alone that it has published before in the same event: what is made
    anew can meet others that are (a list of the event, another target at the same place).
    """

    at_once: int


@runtime_checkable
class TakesTiles(Protocol):
    """A sink that speaks per target and of tiles too: ``Outgoing.tiles`` then holds one, and
    ``rows`` none. Asked of the tiles that groups have claimed."""

    takes_tiles: bool


@runtime_checkable
class Tells(Protocol):
    """A sink that can tell the operators something; named by ``operators`` in the settings."""

    def tell(self, text: str, *, key: str) -> Answer:
        """Say ``text``, plain words whose first line is the headline; no practice flag matters.

        Called again with the same ``key`` after RETRY, an unclear answer, or a crash.
        """
        ...


@runtime_checkable
class Announces(Protocol):
    """A sink that also tells of public inferences, by the same outbox as plans."""

    announces: bool
    """Whether this one is to; the kind of sink could."""

    def announcement(self, said: Announcement) -> Payload:
        """What would be sent; pure. It goes out by ``send``, keyed like everything else."""
        ...


@runtime_checkable
class Preloads(Protocol):
    """A sink whose service has a form that can be filled in for a person."""

    def preload(self, payload: Payload) -> Answer:
        """Fill the form in; ``extra["link"]`` opens it, and nothing is published."""
        ...


@dataclass(frozen=True, slots=True)
class Heard:
    """Something that an observer said at a service outside."""

    verb: Verb
    event_id: str
    object_id: str
    who: str
    """As the service names its users; never one of our groups."""
    at: datetime
    key: str
    """The same word, however often it is heard."""
    position: int = 0
    """Where it stands in the service's own order; 0: it has none."""
    instrument: str | None = None
    band: str | None = None
    reason: SkipReason | None = None
    note: str = ""


@runtime_checkable
class Hears(Protocol):
    """A sink at which observers answer."""

    def hear(self, after: int) -> Sequence[Heard]:
        """What was said after this position, and all that has no position.

        Raises
        ------
        NotHeard
            The service cannot be asked now.
        """
        ...


class NotHeard(Exception):
    """A service outside cannot be asked now; the message says why."""


Build = Callable[[str, Mapping[str, Any], httpx.Client], Sink]
"""(name, settings of the sink's table in the configuration, client) -> sink.

Raises :class:`mmcoord.errors.ConfigError` naming the key that is wrong.
"""
