"""From a ranking to a schedule: every target an instrument, a band, a start, no collisions.

While the targets are ranked, a :class:`Slate` keeps what each could have: for the best of them,
every instrument and start with its worth (merit x brightness x observability, as in the score),
its best band and its exposure. :func:`assign` then solves the schedule over the whole slate, in one
objective with further looks at a few of them (:mod:`followup.looks`) and with tiles of the map
(:mod:`followup.search`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from followup import looks, search
from followup.brightness import exposures_for
from followup.looks import BandSheet, Cadence, Look
from followup.schedule import Options, Problem, Warm, one_goal_each
from followup.schedule_parts import SUBSTEPS as _SUBSTEPS
from followup.schedule_parts import Frame, joined
from followup.scheduler import schedule
from followup.search import Search
from followup.sites import Instrument
from followup.spoken_for import Booking, booked
from followup.tonight import Night, Sight
from followup.weather import Spell, usable_chance
from mmcoord.records import PlanRow, PlanTile

__all__ = ["Assigned", "Slate", "assign"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Sheet:
    """What one target could have with one instrument, arrays (T,) over the night's grid."""

    value: Float
    band: Int
    exposure_s: Float
    airmass: Float
    magnitude: Float
    """Predicted median in that band; NaN where no model predicts it."""


@dataclass(slots=True)
class Slate:
    """Gathers the sheets of the best targets while they are ranked."""

    keep: int
    """How many targets of a block may be scheduled."""
    night: Night | None = None
    instruments: tuple[Instrument, ...] = ()
    sheets: dict[str, dict[int, _Sheet]] = field(default_factory=dict)
    """By target, by number of the instrument."""
    left_to: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Targets for which no telescope is sought beyond those that their claims name."""
    unfound: float = 1.0
    """Chance that none of the targets that were looked into is the counterpart."""
    cadence: Cadence | None = None
    """Whether and how some targets are looked at more than once."""
    by_band: dict[str, dict[int, dict[int, BandSheet]]] = field(default_factory=dict)
    """Of targets that may be: by target, by number of the instrument, by number of its band."""

    def take(
        self,
        names: Sequence[str],
        merit: Float,
        score: Float,
        sight: Sight,
        undecided: Sequence[bool] = (),
    ) -> None:
        """Note what the best targets of a block could have.

        ``merit`` (N,) is the part of the score that does not depend on the telescope; of the best
        that are ``undecided`` each band is noted.
        """
        self.night, self.instruments = sight.night, tuple(sight.instruments)
        rows = np.sort(np.argsort(-score, kind="stable")[: self.keep])
        for number in range(len(sight.instruments)):
            _, worth = sight.values(number, rows)
            band = worth.argmax(axis=2)
            best = np.take_along_axis(worth, band[..., None], axis=2)[..., 0]
            exposure_s, magnitude = _exposures(sight, number, rows, band)
            for place in np.flatnonzero(best.any(axis=1)):
                row = rows[place]
                self.sheets.setdefault(names[row], {})[number] = _Sheet(
                    value=best[place] * merit[row],
                    band=band[place],
                    exposure_s=exposure_s[place],
                    airmass=sight.airmass[number][row],
                    magnitude=magnitude[place],
                )
            if self.cadence is not None:
                open_rows = [n for n, row in enumerate(rows) if undecided[row]]
                best_first = sorted(open_rows, key=lambda n: -score[rows[n]])
                some = np.array(best_first[: self.cadence.targets], np.int64)
                self._note_bands(number, names, merit, rows[some], worth[some], sight)

    def _note_bands(
        self,
        number: int,
        names: Sequence[str],
        merit: Float,
        rows: Int,
        worth: Float,
        sight: Sight,
    ) -> None:
        for band in range(worth.shape[2]):
            every = np.full(worth.shape[:2], band, np.int64)
            exposure_s, magnitude = _exposures(sight, number, rows, every)
            for place in np.flatnonzero(worth[..., band].any(axis=1)):
                row = rows[place]
                its = self.by_band.setdefault(names[row], {}).setdefault(number, {})
                value = worth[place, :, band] * merit[row]
                its[band] = BandSheet(value, exposure_s[place], magnitude[place])


def _exposures(sight: Sight, number: int, rows: Int, band: Int) -> tuple[Float, Float]:
    """Exposure and predicted magnitude (NaN: no prediction) in the bands chosen, (n, T)."""
    instrument, airmass = sight.instruments[number], sight.airmass[number][rows]
    safe = np.where(np.isfinite(airmass), airmass, 1.0)
    exposure, magnitude = np.zeros(safe.shape), np.full(safe.shape, np.nan)
    for place, one in enumerate(instrument.bands):
        here = band == place
        if not here.any():
            continue
        expected = sight.magnitudes[one.canonical]
        median = expected.median[rows]
        faint = median + 1.6449 * expected.sigma_faint[rows]
        wanted = exposures_for(instrument, one, safe, faint, snr=sight.settings.wanted_snr)
        exposure[here] = wanted[here]
        predicted = here & expected.is_predicted[rows][:, None]
        magnitude[predicted] = median[predicted]
    return exposure, magnitude


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
    problem = _problem(
        {name: score[name] for name in names}, slate, tolerance, weather or {}, bookings
    )
    frame = Frame(
        slate.night, slate.instruments, _programmes(slate.instruments), weather or {}, bookings
    )
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


def _problem(
    scores: Mapping[str, float],
    slate: Slate,
    tolerance: float,
    weather: Mapping[str, Sequence[Spell]],
    bookings: Sequence[Booking],
) -> Problem:
    """``scores``: of the targets, in the order in which the problem numbers them."""
    assert slate.night is not None
    n_steps = len(slate.night.utc)
    slot_s = slate.night.step / timedelta(seconds=1) / _SUBSTEPS
    usable = [usable_chance(weather.get(i.site.id, ()), slate.night.utc) for i in slate.instruments]
    dearest = max(i.cost_rate for i in slate.instruments)
    programmes = _programmes(slate.instruments)
    columns: list[Int] = []
    reals: list[Float] = []
    names, score = list(scores), np.array(list(scores.values()))
    top = np.array(
        [max(float(s.value.max()) for s in slate.sheets[name].values()) for name in names]
    )
    slot = np.arange((n_steps - 1) * _SUBSTEPS)
    step, between = slot // _SUBSTEPS, slot % _SUBSTEPS > 0
    for number, instrument in enumerate(slate.instruments):
        target = _sought(names, number, slate)
        if not len(target):
            continue
        sheets = [slate.sheets[names[t]][number] for t in target]
        worth = np.stack([sheet.value for sheet in sheets]) * usable[number]
        good = (worth > 0)[:, step] & (~between | (worth > 0)[:, step + 1])
        row, starts = np.nonzero(good)
        taken = np.stack([sheet.exposure_s for sheet in sheets])[row, step[starts]]
        duration = instrument.slew_s + taken / instrument.visible_fraction + instrument.overhead_s
        busy = booked(
            [booking for booking in bookings if booking.instrument == instrument.id],
            score[target[row]],
            slate.night.begin,
            starts * slot_s,
            duration,
        )
        row, starts, duration = row[~busy], starts[~busy], duration[~busy]
        same = np.ones(len(row), np.int64)
        programme, _ = programmes.get(number, (-1, 0.0))
        band = np.stack([sheet.band for sheet in sheets])[row, step[starts]]
        columns.append(np.stack([target[row], same * number, band, starts, same * programme]))
        price = top[target[row]] * instrument.cost_rate / dearest
        reals.append(np.stack([duration, worth[row, step[starts]], price]))
    whole = np.concatenate(columns, axis=1) if columns else np.zeros((5, 0), np.int64)
    real = np.concatenate(reals, axis=1) if reals else np.zeros((3, 0))
    options = Options(
        pointing=whole[0],
        instrument=whole[1],
        band=whole[2],
        start=whole[3],
        duration_s=real[0],
        value=real[1],
        cost=real[2],
        programme=whole[4],
    )
    return Problem(
        options,
        one_goal_each(len(scores)),
        n_instruments=len(slate.instruments),
        n_slots=n_steps * _SUBSTEPS,
        slot_s=slot_s,
        quota_s=np.array([3600.0 * hours for _, hours in programmes.values()]),
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
    slew = timedelta(seconds=slate.instruments[numbers[row.instrument]].slew_s)
    slot = (row.start - slew - slate.night.begin) / (slate.night.step / _SUBSTEPS)
    if slot < 0 or abs(slot - round(slot)) > 1e-6:
        return None
    return (names.index(row.object_id), numbers[row.instrument], round(slot))


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
    step = slot // _SUBSTEPS
    start = slate.night.begin + slot * slate.night.step / _SUBSTEPS
    start += timedelta(seconds=instrument.slew_s)
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
