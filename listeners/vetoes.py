"""Which candidates are left out before they are stored: our own rules, for every source.

Brokers have filters of their own, but some are wrong (docs/sources.md) and none is ours to
set. A veto needs positive evidence: a value that a packet does not carry vetoes nothing.
What is left out is counted by rule (:class:`mmcoord.records.Vetoed`), and its bytes are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mmcoord.errors import ConfigError
from mmcoord.records import Vetoed

__all__ = ["NO_VETOES", "Evidence", "Vetoes", "judge", "known_number"]


@dataclass(frozen=True, slots=True)
class Vetoes:
    """The rules; None switches one off (``false`` in the configuration).

    Raises
    ------
    ConfigError
        A reliability outside [0, 1], or an age that is not positive.
    """

    moving: bool = True
    """Leave out known solar-system objects (``ssObjectId``, ``ssdistnr``)."""
    star: bool = True
    """Leave out what lies on a catalogued star."""
    least_reliability: float | None = 0.1
    """Real/bogus score below which a source is left out."""
    oldest_day: float | None = None
    """Leave out what was first seen longer before its newest detection than this. Off,
    because matching looks at the first detection anyway and an old flicker (an artefact, an
    active nucleus) at the place of a new transient must not hide it; it saves room."""

    def __post_init__(self) -> None:
        least, oldest = self.least_reliability, self.oldest_day
        if least is not None and not 0.0 <= least <= 1.0:
            raise ConfigError(f"vetoes: least_reliability: {least!r} is not in [0, 1], nor false")
        if oldest is not None and not oldest > 0.0:
            raise ConfigError(f"vetoes: oldest_day: {oldest!r} is not a positive number, nor false")


NO_VETOES = Vetoes(moving=False, star=False, least_reliability=None)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a packet says against its source, in words for people; empty and None: nothing."""

    moving: str = ""
    """Which solar-system object it is: ``ssObjectId 21163624394469969``."""
    star: str = ""
    """Which catalogue has a star there: ``Gaia DR3 parallax of 6.7 sigma``."""
    reliability: float | None = None
    """Real/bogus score in [0, 1]."""
    history_day: float | None = None
    """From the first detection to the newest."""
    withdrawn: str = ""
    """Whether its survey took it back; no setting keeps such a source."""


def judge(evidence: Evidence, vetoes: Vetoes, object_id: str, source: str) -> Vetoed | None:
    """The first rule that leaves the candidate out, or None.

    ``source`` is the listener's name: the rules are counted by it.
    """
    score, age = evidence.reliability, evidence.history_day
    least, oldest = vetoes.least_reliability, vetoes.oldest_day
    if evidence.withdrawn:
        return Vetoed(object_id, source, "withdrawn", evidence.withdrawn)
    if vetoes.moving and evidence.moving:
        return Vetoed(object_id, source, "moving", evidence.moving)
    if vetoes.star and evidence.star:
        return Vetoed(object_id, source, "star", evidence.star)
    if least is not None and score is not None and score < least:
        return Vetoed(object_id, source, "bogus", f"reliability {score:.4g} < {least:g}")
    if oldest is not None and age is not None and age > oldest:
        return Vetoed(object_id, source, "old", f"first seen {age:.4g} > {oldest:g} days before")
    return None


def known_number(value: object) -> float | None:
    """A finite number, or None for whatever else stands for "not known"."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
