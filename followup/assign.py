"""From a ranking to a schedule: every target an instrument, a band, a start, no collisions.

While the targets are ranked, a :class:`~followup.slate.Slate` keeps what each could have.
:func:`assign` then solves the schedule over the whole slate, in one objective with further looks at
a few of them (:mod:`followup.looks`) and with tiles of the map (:mod:`followup.search`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from followup import looks, search
from followup.looks import Look
from followup.schedule import Problem, Warm, one_goal_each
from followup.schedule_parts import (
    SUBSTEPS,
    Frame,
    joined,
    options_of,
    put_together,
    slot_of,
    start_of,
)
from followup.scheduler import schedule
from followup.search import Search
from followup.sites import Instrument
from followup.slate import Slate
from followup.spoken_for import Booking
from followup.weather import Spell
from mmcoord.records import PlanRow, PlanTile

__all__ = ["Assigned", "assign"]

Int = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Assigned:
    """A plan with its certificate."""

    rows: tuple[PlanRow, ...]
    objective: float
    """Worth of what is scheduled, less what it costs."""
    upper_bound: float
    certified_gap: float
    tiles: tuple[PlanTile, ...] = ()
    """In order of time."""

    @property
    def sentence(self) -> str:
        """The certificate for people."""
        n = sum(row.instrument is not None for row in self.rows)
        n_looks = sum(len(row.looks) for row in self.rows)
        more = f", {n_looks} further looks" if n_looks else ""
        more += f", {len(self.tiles)} tiles" if self.tiles else ""
        return (
            f"Scheduled: {n} of {len(self.rows)} targets{more}, worth {self.objective:.4g}; no "
            f"schedule can be worth more than {self.upper_bound:.4g} (gap "
            f"{100 * self.certified_gap:.2g} %)."
        )


def assign(
    rows: Sequence[PlanRow],
    slate: Slate,
    *,
    tolerance: float,
    previous: Sequence[PlanRow] = (),
    weather: Mapping[str, Sequence[Spell]] | None = None,
    bookings: Sequence[Booking] = (),
    tiles: Search | None = None,
    previous_tiles: Sequence[PlanTile] = (),
) -> Assigned:
    """Give each row an instrument, a band, a start and an exposure, or the reason for none.

    Parameters
    ----------
    tolerance
        Part of a target's best worth that the dearest instrument must bring beyond the
        cheapest to be preferred.
    previous
        The plan before: what need not move stays.
    weather
        Spells by site; where nothing is known nothing is weighed.
    bookings
        What other events' plans ask of the instruments.
    tiles
        Fields of the map that compete with the targets; ``previous_tiles``: of the plan before.
    """
    if tiles is not None and slate.night is None:
        slate.night, slate.instruments = tiles.night, tiles.instruments
    if slate.night is None or not (slate.sheets or tiles):
        return Assigned(tuple(rows), 0.0, 0.0, 0.0)
    names = [row.object_id for row in rows if row.object_id in slate.sheets]
    score = {row.object_id: row.score for row in rows}
    frame = Frame(
        slate.night, slate.instruments, _programmes(slate.instruments), weather or {}, bookings
    )
    problem = _problem({name: score[name] for name in names}, slate, tolerance, frame)
    further = _further(rows, names, slate)
    n_first, n_targets = len(names) + len(further), len(names)
    if further and slate.cadence is not None:
        scores = [score[name] for name in names]
        part = looks.part_of(further, scores, frame, slate.cadence, n_targets)
        problem = joined(problem, part)
    if tiles is not None:
        problem = joined(problem, search.part_of(tiles, frame))
    options = problem.options
    code = _codes(problem, options.pointing, options.instrument, options.start)
    held = [_spot_of(row, names, slate) for row in previous]
    held += [(n_targets + n, i, s) for n, i, s in looks.spots_of(further, names, previous, frame)]
    if tiles is not None:
        held += [(n_first + n, i, s) for n, i, s in search.spots_of(tiles, previous_tiles)]
    spots = np.array([spot for spot in held if spot is not None], np.int64).reshape(-1, 3)
    kept = np.flatnonzero(np.isin(code, _codes(problem, *spots.T)))
    solved = schedule(problem, Warm(kept) if len(kept) else None)
    at = {
        int(options.pointing[i]): (int(options.instrument[i]), int(options.start[i]))
        for i in solved.chosen
    }
    got = {name: at[n] for n, name in enumerate(names) if n in at}
    taken = [(n - n_targets, *where) for n, where in at.items() if n_targets <= n < n_first]
    more = looks.looks_chosen(further, taken, frame)
    looks_of = {names[n]: some for n, some in more.items()}
    new = tuple(
        dataclasses.replace(
            _filled(row, got.get(row.object_id), slate), looks=looks_of.get(row.object_id, ())
        )
        for row in rows
    )
    fields = [(n - n_first, slot) for n, (_, slot) in at.items() if n >= n_first]
    return Assigned(
        new,
        solved.objective,
        solved.upper_bound,
        solved.certified_gap,
        search.tiles_chosen(tiles, fields) if tiles is not None else (),
    )


def _further(rows: Sequence[PlanRow], names: Sequence[str], slate: Slate) -> list[Look]:
    """Further looks at the first targets that are undecided and not left to others."""
    if slate.cadence is None:
        return []
    number = {name: n for n, name in enumerate(names)}
    canonical = {n: [b.canonical for b in i.bands] for n, i in enumerate(slate.instruments)}
    able = [
        row.object_id
        for row in rows
        if row.object_id in slate.by_band
        and row.object_id in number
        and row.object_id not in slate.left_to
    ]
    return [
        look
        for name in able[: slate.cadence.targets]
        for look in looks.looks_at(number[name], slate.by_band[name], canonical, slate.cadence)
    ]


def _codes(problem: Problem, target: Int, number: Int, slot: Int) -> Int:
    """One number for a target, an instrument and a slot."""
    code: Int = (target * problem.n_instruments + number) * problem.n_slots + slot
    return code


def _problem(scores: Mapping[str, float], slate: Slate, tolerance: float, frame: Frame) -> Problem:
    """``scores``: of the targets, in the order in which the problem numbers them."""
    names, score = list(scores), np.array(list(scores.values()))
    top = np.array(
        [max(float(s.value.max()) for s in slate.sheets[name].values()) for name in names]
    )
    some = []
    for number in range(len(frame.instruments)):
        target = _sought(names, number, slate)
        if len(target):
            sheets = [slate.sheets[names[t]][number] for t in target]
            worth, band, exposure_s = (
                np.stack([getattr(sheet, name) for sheet in sheets])
                for name in ("value", "band", "exposure_s")
            )
            some.append(
                options_of(
                    frame, number, target, worth, band, exposure_s, score[target], top[target]
                )
            )
    return Problem(
        put_together(some),
        one_goal_each(len(scores)),
        n_instruments=len(frame.instruments),
        n_slots=len(frame.night.utc) * SUBSTEPS,
        slot_s=frame.slot_s,
        quota_s=np.array([3600.0 * hours for _, hours in frame.programmes.values()]),
        price=tolerance,
    )


def _sought(names: Sequence[str], number: int, slate: Slate) -> Int:
    """Numbers of the targets for which an instrument is sought."""
    instrument = slate.instruments[number].id
    return np.array(
        [
            target
            for target, name in enumerate(names)
            if number in slate.sheets[name]
            and (name not in slate.left_to or instrument in slate.left_to[name])
        ],
        np.int64,
    )


def _programmes(instruments: Sequence[Instrument]) -> dict[int, tuple[int, float]]:
    """Number of the instrument -> (number of its quota, hours): what all its programmes have."""
    counted = [n for n, i in enumerate(instruments) if i.programmes]
    return {
        n: (q, math.fsum(p.hours for p in instruments[n].programmes)) for q, n in enumerate(counted)
    }


def _spot_of(row: PlanRow, names: Sequence[str], slate: Slate) -> tuple[int, int, int] | None:
    """Target, instrument and slot of a planned row, as numbers of this problem."""
    assert slate.night is not None
    numbers = {instrument.id: n for n, instrument in enumerate(slate.instruments)}
    if row.start is None or row.instrument not in numbers or row.object_id not in names:
        return None
    number = numbers[row.instrument]
    slot = slot_of(row.start, slate.night, slate.instruments[number])
    return None if slot is None else (names.index(row.object_id), number, slot)


def _filled(row: PlanRow, spot: tuple[int, int] | None, slate: Slate) -> PlanRow:
    """The row as it is scheduled; the exposure begins after the slew."""
    assert slate.night is not None
    reasons = dict(row.reasons)
    if spot is None:
        if row.object_id in slate.left_to:
            reasons["choice"] = (
                "not scheduled: left to those who claimed it, a second observation is worth less "
                "than what nobody has claimed"
            )
        elif row.object_id in slate.sheets:
            reasons["choice"] = (
                "not scheduled: every instrument that could observe it does something of more "
                "worth at that time, for this event or another, or is not worth its cost"
            )
        return dataclasses.replace(
            row, reasons=reasons, instrument=None, band=None, start=None, exposure_s=None,
            predicted_mag=None,
        )  # fmt: skip
    number, slot = spot
    instrument, sheet = slate.instruments[number], slate.sheets[row.object_id][number]
    step = slot // SUBSTEPS
    start = start_of(slot, slate.night, instrument)
    where = "from orbit, time not exact" if instrument.is_in_space else (
        f"at airmass {sheet.airmass[step]:.2f}"
    )  # fmt: skip
    reasons["choice"] = (
        f"{instrument.id} {where} from {start:%Y-%m-%d %H:%M} UTC: scheduled beside the others; "
        f"alone: {row.reasons.get('choice', 'nothing')}"
    )
    if "cost" in reasons:
        overhead = instrument.overhead_s + instrument.slew_s
        taken = f"{sheet.exposure_s[step]:.0f} s and {overhead:.0f} s of overhead as scheduled"
        reasons["cost"] = f"{taken}; alone: {reasons['cost']}"
    magnitude = float(sheet.magnitude[step])
    return dataclasses.replace(
        row,
        reasons=reasons,
        instrument=instrument.id,
        band=instrument.bands[int(sheet.band[step])].name,
        start=start,
        exposure_s=float(sheet.exposure_s[step]),
        predicted_mag=magnitude if math.isfinite(magnitude) else None,
    )
