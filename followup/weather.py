"""What is known of the weather at a site: how likely a night is usable.

One JSON file for all sites, written by whoever watches the weather:

    {"cerro-pachon": [{"start": "2026-11-23T00:00:00Z", "end": "2026-11-23T04:00:00Z",
                       "usable": 0.2, "source": "CTIO all-sky camera"}]}

Where and when nothing is said, nothing is known, and nothing is weighed: silence never closes
a dome.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmcoord.errors import ConfigError
from mmcoord.timescales import mjd_utc as to_mjd_utc

__all__ = ["Spell", "read_weather", "usable_chance"]


@dataclass(frozen=True, slots=True)
class Spell:
    """The weather of a site for a while."""

    start: datetime
    end: datetime
    usable: float
    """Chance that one can observe, in [0, 1]; 0: closed."""
    source: str


def read_weather(path: Path) -> dict[str, tuple[Spell, ...]]:
    """Spells by site id.

    Raises
    ------
    ConfigError
        Unreadable, not JSON, or an entry that is not as described; names file, site, entry.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path}: weather cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: weather: not an object of sites")
    return {
        str(site): tuple(_spell(e, f"{path}: {site} entry {n}") for n, e in enumerate(some, 1))
        for site, some in document.items()
        if isinstance(some, list) or _refuse(f"{path}: {site}: not a list")
    }


def usable_chance(
    spells: Sequence[Spell], mjd_utc: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(T,) chance that the site can be used; 1 where nothing is known. The last entry counts."""
    chance = np.ones(len(mjd_utc))
    for spell in spells:
        inside = (mjd_utc >= to_mjd_utc(spell.start)) & (mjd_utc < to_mjd_utc(spell.end))
        chance[inside] = spell.usable
    return chance


def _spell(entry: object, where: str) -> Spell:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where}: not an object")
    usable = entry.get("usable")
    if isinstance(usable, bool) or not isinstance(usable, int | float) or not 0 <= usable <= 1:
        raise ConfigError(f"{where}: usable: {usable!r} is not in [0, 1]")
    start, end = (_instant(entry.get(key), f"{where}: {key}") for key in ("start", "end"))
    if start >= end:
        raise ConfigError(f"{where}: end: not after start")
    return Spell(start, end, float(usable), str(entry.get("source", "")))


def _instant(value: object, where: str) -> datetime:
    try:
        instant = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise ConfigError(f"{where}: {value!r} is not a time") from error
    return instant.replace(tzinfo=instant.tzinfo or UTC).astimezone(UTC)


def _refuse(message: str) -> bool:
    raise ConfigError(message)
