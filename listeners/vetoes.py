"""Which candidates are left out before they are stored: our own rules, for every source.

Brokers have filters of their own, but some are wrong (docs/sources.md) and none is ours to
set. A veto needs positive evidence: a value that a packet does not carry vetoes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Vetoes"]


@dataclass(frozen=True, slots=True)
class Vetoes:
    """The rules; None switches one off."""

    moving: bool = True
    """Leave out known solar-system objects (``ssObjectId``, ``ssdistnr``)."""
    star: bool = True
    """Leave out what lies on a catalogued star."""
    least_reliability: float | None = 0.1
    """Real/bogus score below which a source is left out."""
    oldest_day: float | None = None
    """Leave out what was first seen longer before its newest detection than this."""
