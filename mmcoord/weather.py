"""The weather at observing sites as it is told: one JSON object for all sites.

{"cerro-pachon": [{"start": "2026-11-23T00:00:00Z", "end": "2026-11-23T04:00:00Z",
                   "usable": 0.2, "source": "CTIO all-sky camera"}]}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mmcoord.errors import BadNotice

__all__ = ["Spell", "Weather", "spells_of"]


@dataclass(frozen=True, slots=True)
class Spell:
    """The weather of a site for a while."""

    start: datetime
    end: datetime
    usable: float
    """Chance that one can observe, in [0, 1]; 0: closed."""
    source: str


@dataclass(frozen=True, slots=True)
class Weather:
    """What a service says of the weather, as it said it.

    Raises
    ------
    BadNotice
        It is not as described; with site and entry.
    """

    source: str
    """Address of the service."""
    said: Mapping[str, Any]

    def __post_init__(self) -> None:
        spells_of(self.said)


def spells_of(document: object) -> dict[str, tuple[Spell, ...]]:
    """Spells by site id.

    Raises
    ------
    BadNotice
        Not an object of sites, or an entry that is not as described; with site and entry.
    """
    if not isinstance(document, Mapping):
        raise BadNotice("not an object of sites", where="weather")
    found = {}
    for site, some in document.items():
        if not isinstance(some, list):
            raise BadNotice("not a list", where=str(site))
        found[str(site)] = tuple(_spell(e, f"{site} entry {n}") for n, e in enumerate(some, 1))
    return found


def _spell(entry: object, where: str) -> Spell:
    if not isinstance(entry, Mapping):
        raise BadNotice("not an object", where=where)
    usable = entry.get("usable")
    if isinstance(usable, bool) or not isinstance(usable, int | float) or not 0 <= usable <= 1:
        raise BadNotice(f"usable: {usable!r} is not in [0, 1]", where=where)
    start, end = (_instant(entry.get(key), f"{where}: {key}") for key in ("start", "end"))
    if start >= end:
        raise BadNotice("end: not after start", where=where)
    return Spell(start, end, float(usable), str(entry.get("source", "")))


def _instant(value: object, where: str) -> datetime:
    try:
        instant = datetime.fromisoformat(str(value))
        return instant.replace(tzinfo=instant.tzinfo or UTC).astimezone(UTC)
    except (OverflowError, ValueError) as error:
        raise BadNotice(f"{value!r} is not a time", where=where) from error
