"""What a source must offer: bytes in, records out. Transport is elsewhere.

A source is found by the entry-point group ``mmcoord.listeners``: the entry point's name
is the source's name, its value a :class:`Source`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from listeners.vetoes import Vetoes
from mmcoord.records import ParsedRecord

__all__ = ["Parse", "Sift", "Source"]

Parse = Callable[[bytes], Sequence[ParsedRecord]]
"""Turns one payload into records.

Pure: no I/O, no clock. Raises :class:`mmcoord.errors.BadInput` (and nothing else) on a
payload that cannot be used; the intake stage parks it with the message.
"""

Sift = Callable[[bytes, Vetoes], Sequence[ParsedRecord]]
"""As :data:`Parse`, for a source of candidates that applies our vetoes while it decodes, so
that what is left out costs little. A candidate left out is a ``Vetoed`` record.
"""


@dataclass(frozen=True, slots=True)
class Source:
    """A stream of notices or candidates.

    ``topics`` are the topics it is published on, for configuration defaults and for the
    check of ``mmcoord doctor``; the parser is told apart by source, not by topic.
    """

    name: str
    parse: Parse
    topics: tuple[str, ...] = ()
    description: str = ""
    is_first: bool = False
    """Read before all other alerts: a flood of those must not delay a gravitational wave."""
    is_bulk: bool = False
    """Candidates and photometry by the thousand: read after anything that may wake people."""
    is_drill: bool = False
    """For topics whose messages are practice whatever they say, and look like the real ones:
    read by this source only where a topic says so, never by guessing (replays)."""
    sift: Sift | None = None
    """How the payload is read when vetoes are configured; without it ``parse`` is used."""

    def read(self, payload: bytes, vetoes: Vetoes) -> Sequence[ParsedRecord]:
        """Turn one payload into records, leaving out what the vetoes say.

        Raises
        ------
        BadInput
            As ``parse``.
        """
        return self.parse(payload) if self.sift is None else self.sift(payload, vetoes)
