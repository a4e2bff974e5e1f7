"""What the best targets of a ranking could have: every instrument and start, with its worth.

Gathered while the targets are ranked; :mod:`followup.assign` makes the schedule of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from followup.brightness import exposures_for
from followup.looks import BandSheet, Cadence
from followup.sites import Instrument
from followup.tonight import Night, Sight

__all__ = ["Sheet", "Slate"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sheet:
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
    sheets: dict[str, dict[int, Sheet]] = field(default_factory=dict)
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
                self.sheets.setdefault(names[row], {})[number] = Sheet(
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
