"""What a source over HTTP must offer: the next question, and how to read an answer.

A feed is found by the entry-point group ``mmcoord.feeds``: the entry point's name is the
source's name, its value a :data:`Build`. Everything in it is pure; the loop that asks is
:mod:`listeners.polling`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from listeners.http import Answer, Request

__all__ = ["Build", "Cursor", "Feed", "Options", "Page"]

Cursor = Mapping[str, Any]
"""How far a feed has got: a small JSON object, stored with what it covers."""

Options = Mapping[str, Any]
"""The options of the connection in the configuration, secrets already read."""


@dataclass(frozen=True, slots=True)
class Page:
    """What one answer holds."""

    payloads: Sequence[bytes]
    """One per notice. Equal bytes are one notice, however often they come."""
    cursor: Cursor
    """Where to go on once the payloads are durable."""
    more: bool = False
    """Whether to ask on at once; else the round is over."""
    note: str = ""
    """Something that the operator should know."""


@dataclass(frozen=True, slots=True)
class Feed:
    """One service."""

    broker: str
    """Host of the service; the broker in a receipt's coordinates."""
    start: Callable[[datetime], Cursor]
    """The first cursor."""
    request: Callable[[Cursor, datetime], Request | None]
    """The next question; None when there is nothing to ask yet."""
    read: Callable[[Answer, Cursor, datetime], Page]
    """Raises :class:`mmcoord.errors.BadInput` on an answer that cannot be read."""
    skip: Callable[[Cursor, datetime], Cursor] | None = None
    """Where to go on when an answer stays unreadable; None: ask for ever."""
    poll_s: float = 60.0
    """Between rounds."""


Build = Callable[[Options], Feed]
"""Makes a feed from options. Raises :class:`mmcoord.errors.ConfigError`."""
