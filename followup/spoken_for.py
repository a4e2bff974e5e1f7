"""What is spoken for before a schedule is made: targets by claims, telescopes by other events.

A claim does not forbid a second observation; it must be worth one (:func:`left_to_claimants`).
Each event has a plan of its own, and two plans must not meet on one telescope: what other
events' newest plans ask is a :class:`Booking`, and the target of the lower score yields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import numpy.typing as npt

from followup.claims import STANDING, ClaimWorth
from followup.evidence import TargetEvidence
from followup.sites import Instrument
from mmcoord.records import PlanRow

__all__ = [
    "Asked",
    "AskedRow",
    "Booking",
    "booked",
    "booking_of",
    "bookings_of_row",
    "left_to_claimants",
    "meeting",
]


class Asked(Protocol):
    """An observation that a plan asks for: the first of a row, a further look, a tile."""

    @property
    def instrument(self) -> str | None: ...
    @property
    def start(self) -> datetime | None: ...
    @property
    def exposure_s(self) -> float | None: ...


class AskedRow(Asked, Protocol):
    """A target of a plan: its first observation, and further looks."""

    @property
    def score(self) -> float: ...
    @property
    def looks(self) -> Sequence[Asked]: ...


@dataclass(frozen=True, slots=True)
class Booking:
    """Time that a row of another event's plan asks of an instrument, slew and overhead counted."""

    event_id: str
    instrument: str
    begin: datetime
    end: datetime
    score: float
    """Of the row that asks; a target yields to what scores as much as itself or more."""


def booking_of(
    asked: Asked, score: float, event_id: str, instruments: Mapping[str, Instrument]
) -> Booking | None:
    """The time that is asked for; None when none is, or of an instrument of no concern.

    ``score``: of the row or tile that asks; ``instruments``: by id.
    """
    instrument = instruments.get(asked.instrument or "")
    if instrument is None or asked.start is None or asked.exposure_s is None:
        return None
    taken = asked.exposure_s / instrument.visible_fraction + instrument.overhead_s
    return Booking(
        event_id,
        instrument.id,
        asked.start - timedelta(seconds=instrument.slew_s),
        asked.start + timedelta(seconds=taken),
        score,
    )


def bookings_of_row(
    row: AskedRow, event_id: str, instruments: Mapping[str, Instrument]
) -> list[Booking]:
    """What a row asks for, its further looks included."""
    asked: tuple[Asked, ...] = (row, *row.looks)
    found = [booking_of(one, row.score, event_id, instruments) for one in asked]
    return [booking for booking in found if booking is not None]


def booked(
    bookings: Iterable[Booking],
    score: npt.ArrayLike,
    begin: datetime,
    start_s: npt.NDArray[np.floating],
    duration_s: npt.NDArray[np.floating],
) -> npt.NDArray[np.bool_]:
    """(O,) which observations meet a booking that their target yields to.

    ``score``: of the target or of each one's; ``start_s`` (O,) counts from ``begin``; the
    bookings are those of one instrument.
    """
    taken = np.zeros(len(start_s), bool)
    for one in bookings:
        first, last = ((t - begin) / timedelta(seconds=1) for t in (one.begin, one.end))
        meets = (start_s < last) & (start_s + duration_s > first)
        taken |= meets & (one.score >= np.asarray(score))
    return taken


def meeting(ours: Iterable[Booking], others: Sequence[Booking]) -> list[tuple[Booking, Booking]]:
    """Pairs of ours and another event's that want one instrument at one time."""
    return [
        (mine, other)
        for mine in ours
        for other in others
        if mine.instrument == other.instrument and mine.begin < other.end and other.begin < mine.end
    ]


def left_to_claimants(
    rows: Sequence[PlanRow], targets: Iterable[TargetEvidence], worth: ClaimWorth
) -> dict[str, frozenset[str]]:
    """Targets that no second telescope is sent to -> instruments that their claims name.

    A target is left to the groups that claimed or observed it where that leaves less than
    ``worth.spoken_for`` of its worth, unless its score, claims counted, is still that part
    of the best score of what nobody has claimed.
    """
    left = {row.object_id: row.factors.get("claims") for row in rows}
    free = [row.score for row in rows if left[row.object_id] is None and row.instrument is not None]
    enough = worth.spoken_for * max(free, default=0.0)
    score = {row.object_id: row.score for row in rows}
    return {
        target.object_id: frozenset(
            claim.instrument
            for claim in target.claims
            if claim.instrument is not None and claim.state in STANDING
        )
        for target in targets
        if (part := left[target.object_id]) is not None
        and part < worth.spoken_for
        and score[target.object_id] < enough
    }
