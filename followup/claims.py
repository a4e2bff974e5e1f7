"""Who observes what: claims of groups on targets, and what they leave worth doing. Pure.

A group claims a target, starts, and completes or gives it back; or declines it with a reason.
Claims order nobody about: a second group may claim the same target, and is told of the first.
The ranking counts a claimed target for less (:func:`worth_left`), so that two groups are sent
to one target only where a second observation is worth it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum

__all__ = [
    "STANDING",
    "Claim",
    "ClaimState",
    "ClaimTimes",
    "ClaimWorth",
    "SkipReason",
    "Verb",
    "next_state",
    "worth_left",
]


class Verb(StrEnum):
    """What an observer says."""

    CLAIM = "claim"
    """We mean to observe it. Said again, it lasts longer."""
    START = "start"
    COMPLETE = "complete"
    RELEASE = "release"
    """We do not observe it after all; somebody else may."""
    DECLINE = "decline"
    """We shall not, and this is why."""


class ClaimState(StrEnum):
    """How a claim stands."""

    CLAIMED = "claimed"
    STARTED = "started"
    COMPLETED = "completed"
    RELEASED = "released"
    DECLINED = "declined"
    EXPIRED = "expired"
    """Neither started nor completed in its time."""


class SkipReason(StrEnum):
    """Why a target or an event is not observed; the codes are those of the ZTF neutrino
    programme (Stein et al. 2023, MNRAS 521, 5046, table of alerts not followed) and more."""

    RETRACTED = "retracted"
    SUN = "sun"
    """Too near the Sun: never up in the dark."""
    LOW = "low"
    """Up in the dark, and never high enough."""
    OUT_OF_REACH = "out_of_reach"
    """Never above the telescope's horizon."""
    MOON = "moon"
    GALACTIC_PLANE = "galactic_plane"
    POOR = "poor"
    """Too likely a false alarm, or too large a region, for the time that it costs."""
    WEATHER = "weather"
    MAINTENANCE = "maintenance"
    TOO_FAINT = "too_faint"
    BUSY = "busy"
    """The telescope has better to do."""
    DONE_ELSEWHERE = "done_elsewhere"
    OTHER = "other"


STANDING = (ClaimState.CLAIMED, ClaimState.STARTED)
"""States in which somebody is expected to observe."""

_NEXT = {
    (None, Verb.CLAIM): ClaimState.CLAIMED,
    (None, Verb.START): ClaimState.STARTED,
    (None, Verb.COMPLETE): ClaimState.COMPLETED,
    (None, Verb.DECLINE): ClaimState.DECLINED,
    (ClaimState.CLAIMED, Verb.CLAIM): ClaimState.CLAIMED,
    (ClaimState.CLAIMED, Verb.START): ClaimState.STARTED,
    (ClaimState.CLAIMED, Verb.COMPLETE): ClaimState.COMPLETED,
    (ClaimState.CLAIMED, Verb.RELEASE): ClaimState.RELEASED,
    (ClaimState.CLAIMED, Verb.DECLINE): ClaimState.DECLINED,
    (ClaimState.STARTED, Verb.START): ClaimState.STARTED,
    (ClaimState.STARTED, Verb.COMPLETE): ClaimState.COMPLETED,
    (ClaimState.STARTED, Verb.RELEASE): ClaimState.RELEASED,
    (ClaimState.STARTED, Verb.DECLINE): ClaimState.DECLINED,
}


def next_state(standing: ClaimState | None, verb: Verb) -> ClaimState | None:
    """The state after ``verb``; None when it cannot be said now.

    ``standing`` is the group's claim that stands on the target; None when there is none.
    """
    return _NEXT.get((standing, verb))


@dataclass(frozen=True, slots=True)
class Claim:
    """What one group has said of one target."""

    object_id: str
    group: str
    state: ClaimState
    changed_at: datetime
    """When it came into this state."""
    expires_at: datetime | None = None
    """Of a standing claim."""
    instrument: str | None = None
    band: str | None = None
    reason: SkipReason | None = None
    """Of a declined one."""


@dataclass(frozen=True, slots=True)
class ClaimTimes:
    """How long what is said holds."""

    claimed_hours: float = 12.0
    """A claim that nobody has begun to observe lapses after so long."""
    started_hours: float = 6.0
    """One whose observation has begun, counted from then."""
    longest_hours: float = 72.0
    """What a caller may ask for at most."""

    def __post_init__(self) -> None:
        for one in fields(self):
            if not 0 < getattr(self, one.name) < math.inf:
                raise ValueError(f"{one.name}: not a positive time")

    def hours(self, state: ClaimState, wanted: float | None) -> float:
        """How long a claim in ``state`` stands."""
        usual = self.started_hours if state is ClaimState.STARTED else self.claimed_hours
        return min(wanted or usual, self.longest_hours)


@dataclass(frozen=True, slots=True)
class ClaimWorth:
    """How far the claims of others lower the worth of an observation.

    The probabilities are guesses, not measurements: nobody publishes how many announced
    observations are made.

    Raises
    ------
    ValueError
        A value out of range.
    """

    p_claimed: float = 0.7
    """Probability that a claimed observation is made."""
    p_started: float = 0.95
    second: float = 0.2
    """Worth of an observation right after another group's, relative to the first."""
    renewal_hours: float = 24.0
    """e-folding time in which a new observation is worth as much as the first again: a
    kilonova is another object a day later."""
    spoken_for: float = 0.5
    """A target of which claims leave less than this part is left to those who claimed it, unless
    it still scores this part of the best that nobody has claimed."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{field.name}: {value!r} is negative or not finite")
        parts = (self.p_claimed, self.p_started, self.second, self.spoken_for)
        if max(parts) > 1 or self.renewal_hours == 0:
            raise ValueError("probabilities and worth are in [0, 1], renewal_hours is positive")


def worth_left(
    claims: Sequence[Claim], now: datetime, settings: ClaimWorth | None = None
) -> tuple[float, str] | None:
    """What the claims on one target leave of the worth of a further observation, in [0, 1].

    Each group's observation is made with probability p and leaves a second one the worth w;
    groups decide independently::

        worth = product over groups of 1 - p (1 - w)

    with w = ``second`` for what is to come, and 1 - (1 - ``second``) exp(-age / renewal) for
    what was done. Returns the worth and a sentence; None when no claim bears on it.
    Declined, released and expired claims leave the worth as it is.
    """
    settings = settings or ClaimWorth()
    worth, said = 1.0, []
    for claim in sorted(claims, key=lambda c: (c.changed_at, c.group)):
        factor = _left_by(claim, now, settings)
        if factor is not None:
            worth *= factor
            said.append(_sentence(claim))
    if not said:
        return None
    return worth, f"{'; '.join(said)}: a further observation is worth {100 * worth:.0f} %"


def _left_by(claim: Claim, now: datetime, settings: ClaimWorth) -> float | None:
    if claim.state is ClaimState.COMPLETED:
        age_hours = max(0.0, (now - claim.changed_at).total_seconds() / 3600.0)
        return 1.0 - (1.0 - settings.second) * math.exp(-age_hours / settings.renewal_hours)
    if claim.state not in STANDING or (claim.expires_at and claim.expires_at <= now):
        return None
    p = settings.p_started if claim.state is ClaimState.STARTED else settings.p_claimed
    return 1.0 - p * (1.0 - settings.second)


def _sentence(claim: Claim) -> str:
    who = f"{claim.group} with {claim.instrument}" if claim.instrument else claim.group
    if claim.state is ClaimState.COMPLETED:
        return f"observed by {who} at {claim.changed_at:%m-%d %H:%M} UTC"
    until = f" until {claim.expires_at:%m-%d %H:%M} UTC" if claim.expires_at else ""
    return f"{claim.state.value} by {who}{until}"
