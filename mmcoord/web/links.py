"""Links out of notices, as the page may show them. Pure.

Whoever publishes a notice chooses its links, and a tired person clicks. Only a link to a listed
host is one that can be followed; any other is text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from mmcoord.errors import Refused
from mmcoord.fetching import permitted

__all__ = ["Link", "links"]

_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a notice."""

    name: str
    text: str
    """As the notice has it, cut where it is long."""
    href: str | None
    """Where it may lead; None: it is shown as text alone."""


def links(urls: Iterable[Mapping[str, str]], hosts: Collection[str]) -> list[Link]:
    """The links of one or several notices, each once, in the order of their appearance."""
    unique = dict.fromkeys((name, url) for some in urls for name, url in some.items())
    return [_link(name, url, hosts) for name, url in unique]


def _link(name: str, url: str, hosts: Collection[str]) -> Link:
    try:
        href = permitted(url, hosts)
    except Refused:
        href = None
    return Link(name, url if len(url) <= _SHOWN else f"{url[:_SHOWN]}…", href)
