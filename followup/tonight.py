"""The best observation of each target in the coming day, and the one that is proposed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from followup.brightness import (
    Magnitudes,
    depth_mag,
    expected_magnitudes,
    exposure_for,
    reach_probability,
)
from followup.elsewhere import Others
from followup.evidence import TargetEvidence
from followup.factors import RankSettings
from followup.moonlight import depth_loss_mag
from followup.observability import (
    Observability,
    dots,
    observability,
    sky_over,
    unit_vectors,
)
from followup.sites import Instrument
from followup.value_table import Lesson, share_told
from mmcoord.timescales import mjd_utc, tai_minus_utc_s

__all__ = ["Best", "Choice", "Night", "Option", "Parts", "Sight", "night_from"]

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

_N_EXPOSURES = 9
"""Tried between the shortest and the longest."""


@dataclass(frozen=True, slots=True)
class Night:
    """The time grid: a day from ``now``, rounded up to the minute."""

    begin: datetime
    step: timedelta
    utc: Array
    tai: Array

    def at(self, index: int) -> datetime:
        return self.begin + index * self.step


@dataclass(frozen=True, slots=True)
class Parts:
    """What makes up the value of observations with one instrument, each (n, T, bands)."""

    brightness: Array
    """Chance to be within reach."""
    told: Array
    """``1 - 2^-bits`` of what it is expected to teach; NaN for a target without predictions."""
    nobody_else: Array
    """Chance that nobody else has got or will get it."""
    depth: Array
    """5-sigma depth of the longest exposure, AB."""
    value: Array
    """``told``, else brightness x observability, times ``nobody_else``; 0 where not allowed."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best observation of each of ``n`` targets with one instrument, arrays (n,)."""

    value: Array
    """See :class:`Parts`; 0 where the target cannot be observed."""
    brightness: Array
    """At that best observation."""
    told: Array
    depth: Array
    airmass: Array
    time: Index
    band: Index
    """Indices of that best observation in the night and among the instrument's bands."""


@dataclass(frozen=True, slots=True)
class Option:
    """The best observation of one target with the instrument that is worth most for it."""

    number: int
    """Of the instrument."""
    value: float
    """See :class:`Parts`, as for the next four."""
    brightness: float
    told: float
    depth: float
    airmass: float
    time: int
    band: int
    """Indices in the night and among the instrument's bands."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The observation proposed for one target."""

    instrument: Instrument
    band: int
    start: datetime
    airmass: float
    depth: float
    exposure_s: float
    magnitude: float | None
    """Expected median magnitude; None when not known."""
    faint: float | None
    """Magnitude that it is brighter than with probability 95 %."""
    is_predicted: bool
    magnitude_band: str | None


def night_from(now: datetime, settings: RankSettings) -> Night:
    """The grid of the day that follows ``now``; raises ValueError if ``now`` has no zone."""
    if now.tzinfo is None:
        raise ValueError(f"now: {now!r} has no time zone")
    begin = now.astimezone(UTC)
    if begin.second or begin.microsecond:
        begin = begin.replace(second=0, microsecond=0) + timedelta(minutes=1)
    step = timedelta(minutes=settings.step_minutes)
    count = max(1, math.floor(timedelta(hours=settings.horizon_hours) / step)) + 1
    utc = mjd_utc(begin) + np.arange(count, dtype=np.float64) * (step / timedelta(days=1))
    return Night(begin, step, utc, utc + tai_minus_utc_s(utc) / 86400.0)


class Sight:
    """One block of ``N`` targets seen by all instruments; keeps what the passes share."""

    def __init__(
        self,
        targets: Sequence[TargetEvidence],
        instruments: Sequence[Instrument],
        night: Night,
        settings: RankSettings,
        lessons: Mapping[int, Lesson] | None = None,
        others: Sequence[Others] = (),
    ) -> None:
        """``lessons``: by number of target, where known; ``others``: for each target, or none."""
        seen = observability(
            [t.ra_deg for t in targets], [t.dec_deg for t in targets], instruments, night.utc
        )
        self.seen = seen
        self.instruments = instruments
        self.night = night
        self.settings = settings
        self.lessons = lessons or {}
        self.others = others
        self.airmass = [self._lasting(n, i, seen) for n, i in enumerate(instruments)]
        bands = sorted({band.canonical for i in instruments for band in i.bands})
        memory: dict[tuple[int, str], tuple[Array, ...]] = {}
        self.magnitudes: dict[str, Magnitudes] = {
            band: expected_magnitudes(targets, band, night.tai, settings, memory) for band in bands
        }
        self.known = self._known_anywhere(len(targets))
        places = unit_vectors([t.ra_deg for t in targets], [t.dec_deg for t in targets])
        sites = list({i.site.id: i.site for i in instruments}.values())
        sky = sky_over(sites, night.utc)
        self.moon_phase_deg = np.degrees(np.arccos(2.0 * sky.moon_illumination - 1.0))
        self.moon = {
            site.id: (
                np.degrees(np.arccos(np.clip(dots(places, sky.moon[n]), -1.0, 1.0))),
                np.sin(np.radians(sky.moon_altitude_deg[n])),
            )
            for n, site in enumerate(sites)
        }

    def best(self, number: int) -> Best:
        """The best observation of every target with one instrument."""
        rows = np.arange(len(self.known))
        parts = self.parts(number, rows)
        flat = parts.value.reshape(len(rows), -1)
        index = flat.argmax(axis=1)
        time, band = np.divmod(index, len(self.instruments[number].bands))
        return Best(
            value=flat[rows, index],
            brightness=parts.brightness.reshape(len(rows), -1)[rows, index],
            told=parts.told.reshape(len(rows), -1)[rows, index],
            depth=parts.depth.reshape(len(rows), -1)[rows, index],
            airmass=self.airmass[number][rows, time],
            time=time,
            band=band,
        )

    def options(self, bests: Sequence[Best]) -> list[Option]:
        """Of every target the best with any instrument; ``bests``: with each of them."""
        if not bests:
            return []
        rows = np.arange(len(self.known))
        winner = np.array([best.value for best in bests]).argmax(axis=0)
        columns = {
            field.name: np.array([getattr(best, field.name) for best in bests])[winner, rows]
            for field in dataclasses.fields(Best)
        }
        # Plain numbers: many of them are kept for long.
        lists = [columns[field.name].tolist() for field in dataclasses.fields(Best)]
        return [Option(*row) for row in zip(winner.tolist(), *lists, strict=True)]

    def parts(self, number: int, rows: Index) -> Parts:
        """The value of every start and band with one instrument, of some targets."""
        instrument, settings = self.instruments[number], self.settings
        airmass = self.airmass[number][rows]
        # Most starts are not allowed: only the others are worked out.
        place, time = np.nonzero(np.isfinite(airmass))
        row, x = rows[place], airmass[place, time]
        edge = np.searchsorted(place, np.arange(len(rows) + 1))
        weight = 1.0 / x
        shape = (*airmass.shape, len(instrument.bands))
        reach, told, depths = (np.full(shape, np.nan) for _ in range(3))
        nobody, value = np.ones(shape), np.zeros(shape)
        # A band that nobody predicts must not beat one that is predicted to be too faint.
        unknown = np.where(self.known[row], settings.floor, settings.unknown_brightness)
        for b, band in enumerate(instrument.bands):
            depth = depth_mag(instrument, band, x, instrument.max_exposure_s)
            depth -= self.moonlight(number, row, time, band.canonical)
            depths[place, time, b] = depth
            probability = reach_probability(
                self.magnitudes[band.canonical], (row, time), depth, settings.depth_scatter_mag
            )
            floored = np.maximum(settings.floor, probability)
            reach[place, time, b] = np.where(np.isnan(probability), unknown, floored)
            # The airmass is in the depth already where the depth decides what is told.
            value[place, time, b] = reach[place, time, b] * weight
            for k in self._singular(rows):
                target, these = int(rows[k]), slice(edge[k], edge[k + 1])
                when = time[these]
                if (lesson := self.lessons.get(target)) is not None:
                    bits = lesson.worth(band.canonical, self.night.tai[when], depth[these])
                    told[k, when, b] = np.maximum(settings.floor, share_told(bits))
                    value[k, when, b] = told[k, when, b]
                if self.others and self.others[target].records:
                    nobody[k, when, b] = self.others[target].nobody_else(
                        band.canonical, self.night.tai[when], depth[these]
                    )
                    value[k, when, b] *= nobody[k, when, b]
        return Parts(reach, told, nobody, depths, value)

    def _singular(self, rows: Index) -> list[int]:
        """Which of some targets have a lesson, or others that look at them."""
        return [
            k
            for k, row in enumerate(rows)
            if int(row) in self.lessons or (self.others and self.others[row].records)
        ]

    def values(self, number: int, rows: Index) -> tuple[Array, Array]:
        """Brightness and value of every start and band, each (n, T, bands), of some targets."""
        parts = self.parts(number, rows)
        return parts.brightness, parts.value

    def moonlight(self, number: int, rows: Index, times: Index, band: str) -> Array:
        """What the Moon takes from the depth, mag, of targets at times with one instrument."""
        instrument = self.instruments[number]
        if instrument.is_in_space:
            return np.zeros(len(rows))
        separation, sine = self.moon[instrument.site.id]
        return depth_loss_mag(
            band,
            self.moon_phase_deg[times],
            separation[rows, times],
            sine[times],
            1.0 / self.airmass[number][rows, times],
        )

    def choices(self, values: Array) -> dict[int, Choice]:
        """For each target the cheapest instrument within the tolerance of the best.

        ``values`` (I, N). Cost is aperture squared; then the catalogue's order decides.
        """
        if not len(self.instruments):
            return {}
        enough = values.max(axis=0) * (1.0 - self.settings.choice_tolerance)
        good_enough = (values >= enough) & (values > 0)
        order = sorted(
            range(len(self.instruments)), key=lambda n: (self.instruments[n].aperture_m, n)
        )
        chosen: dict[int, Choice] = {}
        for number in order:
            rows = np.flatnonzero(good_enough[number])
            rows = np.array([row for row in rows if int(row) not in chosen], np.int64)
            if len(rows):
                _, value = self.values(number, rows)
                for place, row in enumerate(rows):
                    chosen[int(row)] = self._choice(number, int(row), value[place], enough[row])
        return chosen

    def _choice(self, number: int, row: int, value: Array, enough: float) -> Choice:
        """The earliest start that is good enough, in the instrument's preferred band."""
        instrument = self.instruments[number]
        good = value >= min(enough, float(value.max()))  # the last bit may differ by position
        time = int(np.flatnonzero(good.any(axis=1))[0])
        place = int(np.flatnonzero(good[time])[0])
        band = instrument.bands[place]
        airmass = float(self.airmass[number][row, time])
        magnitudes = self.magnitudes[band.canonical]
        median = float(magnitudes.median[row, time])
        is_known = math.isfinite(median)
        faint = median + 1.6449 * float(magnitudes.sigma_faint[row, time]) if is_known else None
        longest = instrument.max_exposure_s
        exposure = min(instrument.depth_exposure_s, longest)
        if faint is not None:
            exposure = exposure_for(instrument, band, airmass, faint, snr=self.settings.wanted_snr)
        if (lesson := self.lessons.get(row)) is not None:
            exposure = _worth_its_time(lesson, instrument, place, airmass, self.night.tai[time])
        return Choice(
            instrument=instrument,
            band=place,
            start=self.night.at(time),
            airmass=airmass,
            depth=float(depth_mag(instrument, band, np.asarray(airmass), longest)),
            exposure_s=exposure,
            magnitude=median if is_known else None,
            faint=faint,
            is_predicted=is_known and bool(magnitudes.is_predicted[row]),
            magnitude_band=magnitudes.used[row],
        )

    def _lasting(self, number: int, instrument: Instrument, seen: Observability) -> Array:
        """Airmass (N, T) at starts from which the longest exposure fits, else infinite."""
        allowed = seen.allowed[number]
        needed = timedelta(seconds=instrument.max_exposure_s)
        for later in range(1, math.ceil(needed / self.night.step) + 1):
            shifted = np.zeros_like(allowed)
            shifted[:, :-later] = seen.allowed[number][:, later:]
            allowed = allowed & shifted
        return np.where(allowed, seen.airmass[number], np.inf).astype(float)

    def _known_anywhere(self, n_targets: int) -> npt.NDArray[np.bool_]:
        """(N,) is any magnitude known at any time and band in which one could observe?"""
        known = np.zeros(n_targets, bool)
        for number, instrument in enumerate(self.instruments):
            allowed = np.isfinite(self.airmass[number])
            for band in instrument.bands:
                median = self.magnitudes[band.canonical].median
                known |= (allowed & np.isfinite(median)).any(axis=1)
        return known


def _worth_its_time(
    lesson: Lesson, instrument: Instrument, place: int, airmass: float, mjd_tai: float
) -> float:
    """The exposure (s) worth most for the time it takes, of those that keep enough of the worth."""
    band = instrument.bands[place]
    ladder = np.geomspace(instrument.min_exposure_s, instrument.max_exposure_s, _N_EXPOSURES)
    depth = np.array(
        [float(depth_mag(instrument, band, np.asarray(airmass), float(t))) for t in ladder]
    )
    worth = lesson.worth(band.canonical, mjd_tai, depth)
    per_time = worth / (ladder + instrument.overhead_s + instrument.slew_s)
    enough = worth >= lesson.settings.enough * worth.max()
    return float(ladder[np.argmax(np.where(enough, per_time, -1.0))])
