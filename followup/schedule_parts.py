"""A problem put together of parts: first looks, further looks, tiles of a map.

Each part has pointings and goals of its own, numbered from 0; :func:`joined` puts one behind
another. :func:`options_of` makes the options of one instrument out of what they are worth on the
grid of the night.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from followup.schedule import Cover, Options, Problem, Sequences
from followup.sites import Instrument
from followup.spoken_for import Booking, booked
from followup.tonight import Night
from followup.weather import Spell, usable_chance

__all__ = [
    "SUBSTEPS",
    "Frame",
    "Part",
    "joined",
    "options_of",
    "put_together",
    "slot_of",
    "start_of",
]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

SUBSTEPS = 3
"""Slots of the schedule in a step of the night's grid: 5 min in 15."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What all options of a schedule are made in."""

    night: Night
    instruments: tuple[Instrument, ...]
    programmes: Mapping[int, tuple[int, float]]
    """Number of an instrument -> (number of its quota, hours)."""
    weather: Mapping[str, Sequence[Spell]]
    bookings: Sequence[Booking]

    @property
    def slot_s(self) -> float:
        return self.night.step / timedelta(seconds=1) / SUBSTEPS


@dataclass(frozen=True, slots=True)
class Part:
    """Options of pointings that a problem did not have; pointings and goals from 0."""

    options: Options
    cover: Cover
    sequences: Sequences | None = None
    """In the numbers of the whole problem's goals."""


def slot_of(start: datetime, night: Night, instrument: Instrument) -> int | None:
    """The slot in which the slew to an exposure begins; None where none of the night does."""
    slew = timedelta(seconds=instrument.slew_s)
    slot = (start - slew - night.begin) / (night.step / SUBSTEPS)
    return round(slot) if slot >= 0 and abs(slot - round(slot)) <= 1e-6 else None


def start_of(slot: int, night: Night, instrument: Instrument) -> datetime:
    """When the exposure begins whose slew begins with a slot."""
    begin = night.begin + slot * night.step / SUBSTEPS
    return begin + timedelta(seconds=instrument.slew_s)


def options_of(
    frame: Frame,
    number: int,
    pointing: Int,
    worth: Float,
    band: Int,
    exposure_s: Float,
    score: npt.ArrayLike,
    top: npt.ArrayLike,
) -> Options:
    """All options of ``n`` pointings with one instrument.

    Parameters
    ----------
    number
        Of the instrument.
    pointing
        (n,) numbers of the pointings in their part.
    worth, band, exposure_s
        (n, T) over the night's grid; a worth of 0 is not allowed.
    score
        (n,) what decides who yields where another event has booked the instrument.
    top
        (n,) the best worth of each pointing, of which the telescope's price is a part.
    """
    instrument = frame.instruments[number]
    usable = usable_chance(frame.weather.get(instrument.site.id, ()), frame.night.utc)
    worth = worth * usable
    slots = np.arange((len(frame.night.utc) - 1) * SUBSTEPS)
    steps, between = slots // SUBSTEPS, slots % SUBSTEPS > 0
    good = (worth[:, steps] > 0) & (~between | (worth[:, steps + 1] > 0))
    row, slot = np.nonzero(good)
    step = slot // SUBSTEPS
    taken = exposure_s[row, step] / instrument.visible_fraction
    duration = instrument.slew_s + taken + instrument.overhead_s
    theirs = [b for b in frame.bookings if b.instrument == instrument.id]
    busy = booked(theirs, np.asarray(score)[row], frame.night.begin, slot * frame.slot_s, duration)
    row, slot, step, duration = row[~busy], slot[~busy], step[~busy], duration[~busy]
    dearest = max(i.cost_rate for i in frame.instruments)
    programme, _ = frame.programmes.get(number, (-1, 0.0))
    return Options(
        pointing=np.asarray(pointing)[row],
        instrument=np.full(len(row), number, np.int64),
        band=band[row, step],
        start=slot,
        duration_s=duration,
        value=worth[row, step],
        cost=np.asarray(top, np.float64)[row] * instrument.cost_rate / dearest,
        programme=np.full(len(row), programme, np.int64),
    )


def put_together(some: Sequence[Options]) -> Options:
    """Options one behind the other, as they are numbered."""

    def whole(name: str) -> Int:
        return np.concatenate([np.zeros(0, np.int64), *(getattr(o, name) for o in some)])

    def real(name: str) -> Float:
        return np.concatenate([np.zeros(0), *(getattr(o, name) for o in some)])

    return Options(
        pointing=whole("pointing"),
        instrument=whole("instrument"),
        band=whole("band"),
        start=whole("start"),
        duration_s=real("duration_s"),
        value=real("value"),
        cost=real("cost"),
        programme=whole("programme"),
    )


def joined(problem: Problem, part: Part) -> Problem:
    """The problem with a part behind it."""
    n_pointings = len(problem.cover.first) - 1
    n_goals = problem.cover.n_goals
    moved = dataclasses.replace(part.options, pointing=part.options.pointing + n_pointings)
    cover = Cover(
        np.concatenate([problem.cover.first, part.cover.first[1:] + problem.cover.first[-1]]),
        np.concatenate([problem.cover.goal, part.cover.goal + n_goals]),
        np.concatenate([problem.cover.share, part.cover.share]),
    )
    sequences = problem.sequences
    if part.sequences is not None:
        sequences = Sequences(
            *(
                np.concatenate([getattr(sequences, f.name), getattr(part.sequences, f.name)])
                for f in dataclasses.fields(Sequences)
            )
        )
    return dataclasses.replace(
        problem,
        options=put_together([problem.options, moved]),
        cover=cover,
        sequences=sequences,
    )
