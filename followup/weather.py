"""What is known of the weather at a site: how likely a night is usable.

One JSON document for all sites (:mod:`mmcoord.weather`), written by whoever watches the weather.
Where and when nothing is said, nothing is known, and nothing is weighed: silence never closes
a dome.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmcoord.errors import BadNotice, ConfigError
from mmcoord.timescales import mjd_utc as to_mjd_utc
from mmcoord.weather import Spell, spells_of

__all__ = ["Spell", "read_weather", "usable_chance"]


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
    try:
        return spells_of(document)
    except BadNotice as error:
        raise ConfigError(f"{path}: {error}") from error


def usable_chance(
    spells: Sequence[Spell], mjd_utc: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(T,) chance that the site can be used; 1 where nothing is known. The last entry counts."""
    chance = np.ones(len(mjd_utc))
    for spell in spells:
        inside = (mjd_utc >= to_mjd_utc(spell.start)) & (mjd_utc < to_mjd_utc(spell.end))
        chance[inside] = spell.usable
    return chance
