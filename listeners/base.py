"""What a source must offer: bytes in, records out. Transport is elsewhere.

A source is found by the entry-point group ``mmcoord.listeners``: the entry point's name
is the source's name, its value a :class:`Source`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mmcoord.records import ParsedRecord

__all__ = ["Parse", "Source"]

Parse = Callable[[bytes], Sequence[ParsedRecord]]
"""Turns one payload into records.

Pure: no I/O, no clock. Raises :class:`mmcoord.errors.BadInput` (and nothing else) on a
payload that cannot be used; the intake stage parks it with the message.
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
    is_bulk: bool = False
    """Candidates and photometry by the thousand: read after anything that may wake people."""
