"""One burst from what several networks and detectors said of it, in any order.

SNEWS gives a burst no identifier, sends it from several servers, sends it again when a
detector joins, and may send nothing when one retracts. A burst is therefore what was said
within the coincidence window of 10 s, and for each detector the newest word counts: a
server that named a detector before and names it no more has taken it back.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mmcoord.records import BURST_WINDOW

__all__ = [
    "Burst",
    "Sighting",
    "Statement",
    "SuperK",
    "clusters",
    "join",
]


@dataclass(frozen=True, slots=True)
class Sighting:
    """First neutrino of one detector."""

    detector: str | None
    """As the network spells it; None: a time that no detector is named for."""
    time: datetime
    p_value: float | None = None
    """As sent; nobody says over which time it is counted."""


@dataclass(frozen=True, slots=True)
class SuperK:
    """What Super-K's own alert adds."""

    n_events: int
    interval_s: float | None = None
    distance_kpc: float | None = None
    distance_err_kpc: float | None = None
    ra_deg: float | None = None
    dec_deg: float | None = None
    radius_deg: float | None = None
    containment: float | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """One alert, as far as a burst is concerned."""

    event_id: str
    group: str
    sender: str
    """Server and sub-list, or the mission: whose later word replaces its earlier one."""
    said_at: datetime
    first_time: datetime
    is_practice: bool
    is_retraction: bool = False
    sightings: tuple[Sighting, ...] = ()
    status: Mapping[str, str] = field(default_factory=dict)
    """Detector -> ``triggered``, ``on`` or ``off``, where the alert says so."""
    is_pre_supernova: bool = False
    superk: SuperK | None = None
    markers: Mapping[str, bool] = field(default_factory=dict)
    """What marks it as a test (True) or as real (False), by the marker's name."""


@dataclass(frozen=True, slots=True)
class Burst:
    """What is known of one burst now."""

    events: tuple[str, ...]
    """Event ids that announce it."""
    sightings: tuple[Sighting, ...]
    """The newest word of every detector, earliest first."""
    withdrawn: tuple[str, ...]
    """Detectors that were named and are no more."""
    silent: tuple[str, ...]
    """Said to be on and not to have triggered."""
    off: tuple[str, ...]
    is_practice: bool
    is_retracted: bool
    """Every network that announced it has taken it back."""
    is_pre_supernova: bool
    contradictions: tuple[str, ...]
    """Markers that disagree on whether this is a test, in words."""
    superk: SuperK | None
    last_said_at: datetime
    n_statements: int

    @property
    def first_time(self) -> datetime | None:
        """Earliest neutrino; None when nobody stands by one."""
        return min((one.time for one in self.sightings), default=None)

    @property
    def detectors(self) -> tuple[str, ...]:
        """Named detectors, earliest first."""
        return tuple(one.detector for one in self.sightings if one.detector is not None)


def clusters(statements: Iterable[Statement]) -> list[list[Statement]]:
    """Statements that are about one burst: first neutrinos within :data:`BURST_WINDOW` of the
    earliest, practice apart from real. The order of the input does not matter."""
    found: list[list[Statement]] = []
    ordered = sorted(statements, key=lambda s: (s.is_practice, s.first_time, s.event_id, s.said_at))
    for statement in ordered:
        last = found[-1] if found else None
        if (
            last is not None
            and last[0].is_practice == statement.is_practice
            and statement.first_time - last[0].first_time <= BURST_WINDOW
        ):
            last.append(statement)
        else:
            found.append([statement])
    return found


def join(statements: Sequence[Statement]) -> Burst:
    """The burst that ``statements`` (at least one, all of one burst) describe.

    The order of the input does not matter, nor does a repeat.
    """
    ordered = sorted(statements, key=lambda s: (s.said_at, s.sender, s.event_id))
    retracted = {s.event_id for s in ordered if s.is_retraction}
    standing = [s for s in ordered if s.event_id not in retracted]
    words = _newest_words(standing)
    status = {name: state.lower() for s in standing for name, state in s.status.items()}
    seen = {name for name, word in words.items() if word is not None}
    unnamed = [one for s in standing for one in s.sightings if one.detector is None]
    sightings = [word for word in words.values() if word is not None]
    if not sightings:
        sightings = list(dict.fromkeys(unnamed))
    superks = [s.superk for s in standing if s.superk is not None]
    return Burst(
        events=tuple(sorted({s.event_id for s in ordered})),
        sightings=tuple(sorted(sightings, key=lambda one: (one.time, one.detector or ""))),
        withdrawn=tuple(sorted(name for name, word in words.items() if word is None)),
        silent=tuple(sorted(n for n, state in status.items() if state == "on" and n not in seen)),
        off=tuple(sorted(n for n, state in status.items() if state == "off" and n not in seen)),
        is_practice=any(s.is_practice for s in ordered),
        is_retracted=not standing,
        is_pre_supernova=any(s.is_pre_supernova for s in standing),
        contradictions=_contradictions(ordered),
        superk=superks[-1] if superks else None,
        last_said_at=ordered[-1].said_at,
        n_statements=len(set(map(_identity, ordered))),
    )


def _identity(statement: Statement) -> tuple[str, str, datetime]:
    return statement.event_id, statement.sender, statement.said_at


def _newest_words(ordered: Sequence[Statement]) -> dict[str, Sighting | None]:
    """Detector -> its newest sighting, or None where the newest word takes it back.

    A server's list replaces that server's earlier list; another server's older list does not
    bring back what was taken out since.
    """
    words: dict[str, Sighting | None] = {}
    listed: dict[str, set[str]] = {}
    for statement in ordered:
        if not statement.sightings:
            continue
        now = {one.detector: one for one in statement.sightings if one.detector is not None}
        for gone in listed.get(statement.sender, set()) - now.keys():
            words[gone] = None
        words |= now
        listed[statement.sender] = set(now)
    return words


def _contradictions(statements: Sequence[Statement]) -> tuple[str, ...]:
    """Markers of one alert that disagree, and alerts of one event that do."""
    found: list[str] = []
    for statement in statements:
        marks = sorted(statement.markers.items())
        test = [name for name, says in marks if says]
        real = [name for name, says in marks if not says]
        if test and real:
            found.append(
                f"{statement.event_id}: {', '.join(test)} says test, {', '.join(real)} says real"
            )
    by_event = itertools.groupby(
        sorted(statements, key=lambda s: s.event_id), key=lambda s: s.event_id
    )
    for event_id, group in by_event:
        if len({s.is_practice for s in group}) > 1:
            found.append(f"{event_id}: some of its alerts are marked as a test, others are not")
    return tuple(dict.fromkeys(found))
