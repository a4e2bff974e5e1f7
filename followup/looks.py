"""Further looks at a target: a second colour, and both again some hours later.

A kilonova fades and reddens within a night, a supernova or a variable star hardly does: two colours
twice tell them apart where one image does not. A target whose class is undecided is offered, beside
its first look (:mod:`followup.assign`),

* ``colour``: the other of two bands, begun within an hour of the first look;
* ``again``: the first look's band, ``gap`` to ``gap + 8 h`` later;
* ``colour again``: the other band within an hour of that.

Each is a goal of its own, worth a part of what the same observation would be worth as the first,
and :class:`followup.schedule.Sequences` puts it after the look that it follows. So a cadence
competes with all other targets and is given where time is left for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from followup.bands import EFFECTIVE_WAVELENGTH_NM, nearest_band
from followup.evidence import TargetEvidence
from followup.factors import Factor
from followup.schedule import Cover, Options, Sequences
from followup.schedule_parts import (
    SUBSTEPS,
    Frame,
    Part,
    options_of,
    put_together,
    slot_of,
    start_of,
)
from mmcoord.records import PlanLook, PlanRow

__all__ = [
    "BandSheet",
    "Cadence",
    "Look",
    "Role",
    "is_undecided",
    "looks_at",
    "looks_chosen",
    "part_of",
    "spots_of",
]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


class Role(StrEnum):
    """What a further look is."""

    COLOUR = "colour"
    AGAIN = "again"
    COLOUR_AGAIN = "colour again"


@dataclass(frozen=True, slots=True)
class Cadence:
    """Which targets are looked at more than once, and when.

    Raises
    ------
    ValueError
        A value out of range.
    """

    targets: int = 3
    """The first so many that are undecided."""
    gap_h: float = 4.0
    """From the first look to the same again."""
    slack_h: float = 8.0
    """How much later than that is still good."""
    pair_h: float = 1.0
    """Within which the second colour begins."""
    bands: tuple[str, str] = ("lsst:g", "lsst:i")
    """Canonical."""
    worth: float = 0.5
    """Of a further look, relative to the same observation as the first. A choice: nothing is
    known before the first is made of what it leaves open."""
    undecided: tuple[float, float] = (0.05, 0.95)
    """P(kilonova) between which a class is undecided."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{one.name}: {value!r} is negative or not finite")
        if self.worth > 1 or self.gap_h == 0:
            raise ValueError("worth is in [0, 1], gap_h is positive")
        if any(band not in EFFECTIVE_WAVELENGTH_NM for band in self.bands):
            raise ValueError(f"bands: {self.bands!r} are not canonical")


@dataclass(frozen=True, slots=True)
class BandSheet:
    """What one target could have with one instrument in one band, arrays (T,) over the night."""

    value: Float
    exposure_s: Float
    magnitude: Float
    """Predicted median; NaN where no model predicts it."""


@dataclass(frozen=True, slots=True)
class Look:
    """A further look that a schedule may take, at one of its targets."""

    target: int
    """Number among the targets of the problem, whose first look is the goal of that number."""
    role: Role
    sheets: Mapping[int, tuple[int, BandSheet]] = field(repr=False)
    """By number of the instrument: its band, and what it could have there."""


def is_undecided(target: TargetEvidence, factors: Mapping[str, Factor], cadence: Cadence) -> bool:
    """Whether it may be a kilonova or not, as far as anybody knows."""
    low, high = cadence.undecided
    p = target.p_kilonova
    return p is not None and low <= p <= high and factors["classified"].value is None


def looks_at(
    target: int,
    sheets: Mapping[int, Mapping[int, BandSheet]],
    canonical: Mapping[int, Sequence[str]],
    cadence: Cadence,
) -> list[Look]:
    """The further looks at one target; none where only one colour can be had.

    Parameters
    ----------
    sheets
        By number of the instrument, by number of its band.
    canonical
        Names of the bands of each instrument.
    """
    tops = {
        (number, place): float(sheet.value.max())
        for number, some in sheets.items()
        for place, sheet in some.items()
    }
    if not tops or max(tops.values()) <= 0:
        return []
    number, place = max(tops, key=lambda key: (tops[key], -key[0], -key[1]))
    first = canonical[number][place]
    other = _other(first, cadence.bands)
    same = _in_band(first, sheets, canonical)
    colour = _in_band(other, sheets, canonical)
    looks = [Look(target, Role.COLOUR, colour)] if colour else []
    looks.append(Look(target, Role.AGAIN, same))
    if colour:
        looks.append(Look(target, Role.COLOUR_AGAIN, colour))
    return looks


def _other(first: str, bands: tuple[str, str]) -> str:
    """The one of two bands that is farther from ``first``."""
    here = math.log(EFFECTIVE_WAVELENGTH_NM[first])
    return max(bands, key=lambda band: abs(math.log(EFFECTIVE_WAVELENGTH_NM[band]) - here))


def _in_band(
    wanted: str,
    sheets: Mapping[int, Mapping[int, BandSheet]],
    canonical: Mapping[int, Sequence[str]],
) -> dict[int, tuple[int, BandSheet]]:
    """Per instrument that has the band, or one that stands in for it."""
    found = {}
    for number, some in sheets.items():
        names = canonical[number]
        name = nearest_band(wanted, [names[place] for place in some])
        place = next((place for place in some if names[place] == name), None)
        if place is not None and some[place].value.max() > 0:
            found[number] = (place, some[place])
    return found


def part_of(looks: Sequence[Look], scores: Sequence[float], frame: Frame, cadence: Cadence,
            first_goal: int) -> Part:  # fmt: skip
    """The looks as a part of the schedule's problem.

    Parameters
    ----------
    scores
        Of the targets, by their number.
    first_goal
        The number that the first look's goal gets in the whole problem.
    """
    options: list[Options] = []
    for n, look in enumerate(looks):
        top = max((float(sheet.value.max()) for _, sheet in look.sheets.values()), default=0.0)
        for number, (place, sheet) in look.sheets.items():
            worth = cadence.worth * sheet.value[None, :]
            band = np.full(worth.shape, place, np.int64)
            options.append(
                options_of(
                    frame, number, np.array([n]), worth, band, sheet.exposure_s[None, :],
                    [scores[look.target]], [cadence.worth * top],
                )
            )  # fmt: skip
    n_looks = len(looks)
    cover = Cover(
        np.arange(n_looks + 1, dtype=np.int64), np.arange(n_looks, dtype=np.int64), np.ones(n_looks)
    )
    goals = {(look.target, look.role): first_goal + n for n, look in enumerate(looks)}
    before, least, most = [], [], []
    for look in looks:
        if look.role is Role.AGAIN:
            before.append(look.target)
            least.append(3600.0 * cadence.gap_h)
            most.append(3600.0 * (cadence.gap_h + cadence.slack_h))
        else:
            again = look.role is Role.COLOUR_AGAIN
            before.append(goals[look.target, Role.AGAIN] if again else look.target)
            least.append(0.0)
            most.append(3600.0 * cadence.pair_h)
    sequences = Sequences(
        np.array(before, np.int64),
        first_goal + np.arange(n_looks, dtype=np.int64),
        np.array(least),
        np.array(most),
    )
    return Part(put_together(options), cover, sequences)


def spots_of(
    looks: Sequence[Look], names: Sequence[str], previous: Iterable[PlanRow], frame: Frame
) -> list[tuple[int, int, int]]:
    """(look, instrument, slot) of the looks of an earlier plan that are there again."""
    numbers = {(names[look.target], look.role.value): n for n, look in enumerate(looks)}
    by_id = {instrument.id: n for n, instrument in enumerate(frame.instruments)}
    spots = []
    for row in previous:
        for one in row.looks:
            n, number = numbers.get((row.object_id, one.role)), by_id.get(one.instrument)
            if n is None or number is None:
                continue
            slot = slot_of(one.start, frame.night, frame.instruments[number])
            if slot is not None:
                spots.append((n, number, slot))
    return spots


def looks_chosen(
    looks: Sequence[Look], chosen: Iterable[tuple[int, int, int]], frame: Frame
) -> dict[int, tuple[PlanLook, ...]]:
    """Number of the target -> its further looks in order of time; ``chosen``: (look, instrument,
    slot)."""
    found: dict[int, list[PlanLook]] = {}
    for n, number, slot in sorted(chosen, key=lambda one: (one[2], one[0])):
        look, instrument = looks[n], frame.instruments[number]
        place, sheet = look.sheets[number]
        step = slot // SUBSTEPS
        magnitude = float(sheet.magnitude[step])
        found.setdefault(look.target, []).append(
            PlanLook(
                role=look.role.value,
                instrument=instrument.id,
                band=instrument.bands[place].name,
                start=start_of(slot, frame.night, instrument),
                exposure_s=float(sheet.exposure_s[step]),
                predicted_mag=magnitude if math.isfinite(magnitude) else None,
            )
        )
    return {target: tuple(some) for target, some in found.items()}
