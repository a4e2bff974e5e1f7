"""What any observation of one target tonight would teach: a table by band, time and depth.

Thousands of options (instruments, bands, starts) share a few numbers: the information depends on
the instrument through its depth alone, and changes slowly with time. It is computed on a coarse
grid and interpolated linearly; steps of 0.6 mag and 8 h keep that within 0.08 bit of the direct
computation (tested).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from followup.bands import nearest_band
from followup.evidence import Origin
from followup.sites import Instrument
from followup.value import FLOOR_MAG, information
from mmcoord.predictions import ClassPredictions

__all__ = ["Lesson", "ValueSettings", "share_told"]

Float = npt.NDArray[np.float64]

_TIME_STEP_DAY = 1.0 / 3.0
_DEPTH_STEP_MAG = 0.6
_SHALLOWER_MAG = 2.0
"""Below the shallowest of the shortest exposures at the zenith: high airmass, moonlight."""


@dataclass(frozen=True, slots=True)
class ValueSettings:
    """What is worth knowing.

    ``kilonova`` and ``parameters`` are equal by default: their sum is then one mutual information,
    that with "no kilonova, or a kilonova with this light curve" (chain rule).

    Raises
    ------
    ValueError
        A value out of range.
    """

    kilonova: float = 1.0
    """Worth of a bit about whether it is a kilonova."""
    classes: float = 0.1
    """Worth of a bit about which of the classes it is."""
    parameters: float = 1.0
    """Worth of a bit about the light curve if it is a kilonova."""
    floor_mag: float = FLOOR_MAG
    informed_targets: int = 20
    """So many targets, the most promising, are weighed by what an observation would teach."""
    enough: float = 0.75
    """The exposure proposed keeps at least this share of the longest one's worth."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{field.name}: {value!r} is negative or not finite")
        if not self.floor_mag or not 0 < self.enough <= 1:
            raise ValueError("floor_mag is positive, enough in (0, 1]")


def share_told(bits: npt.ArrayLike) -> Float:
    """``1 - 2^-bits``: the share of equally likely possibilities that would be ruled out."""
    return np.asarray(-np.expm1(-math.log(2.0) * np.asarray(bits, np.float64)))


@dataclass(frozen=True, slots=True)
class Lesson:
    """Expected information of observations of one target."""

    p_kilonova: float
    bands: tuple[str, ...]
    """The predicted ones, canonical."""
    origin: Origin
    """Whose predictions they are."""
    mjd_tai: Float
    """(T,) of the table."""
    depth_mag: Float
    """(D,)"""
    about_kilonova: Float
    """(B, T, D) bits, as the two below."""
    about_class: Float
    about_parameters: Float
    """If it is a kilonova."""
    settings: ValueSettings

    @classmethod
    def of(
        cls,
        predictions: ClassPredictions,
        instruments: Sequence[Instrument],
        begin_mjd_tai: float,
        end_mjd_tai: float,
        settings: ValueSettings,
    ) -> Lesson:
        """The table for the bands and depths of these instruments."""
        reach = _reach(predictions.bands, instruments)
        depths = _depths([limit for limits in reach.values() for limit in limits])
        n_times = max(2, math.ceil((end_mjd_tai - begin_mjd_tai) / _TIME_STEP_DAY) + 1)
        times = np.linspace(begin_mjd_tai, end_mjd_tai, n_times)
        tables = np.zeros((3, len(predictions.bands), n_times, len(depths)))
        for index, limits in reach.items():
            reached = _depths(limits)
            part = np.flatnonzero((depths >= reached[0]) & (depths <= reached[-1]))
            t, d = (x.ravel() for x in np.meshgrid(times, depths[part], indexing="ij"))
            found = information(
                predictions, np.full(len(t), index), t, d, floor_mag=settings.floor_mag
            )
            told = (found.about_first, found.about_class, found.about_parameters[0])
            for table, values in zip(tables, told, strict=True):
                table[index][:, part] = values.reshape(n_times, len(part))
        # Not the draws: a lesson is kept for long, and they are a hundred times as large.
        return cls(
            float(predictions.probability[0]),
            predictions.bands,
            predictions.origin,
            times,
            depths,
            tables[0],
            tables[1],
            tables[2],
            settings,
        )

    def band(self, canonical: str) -> str | None:
        """The predicted band that stands for one of an instrument; None: nobody predicts it."""
        return nearest_band(canonical, self.bands)

    def worth(self, canonical: str, mjd_tai: npt.ArrayLike, depth_mag: npt.ArrayLike) -> Float:
        """Worth in bits, of the shape of the times and depths; 0 where nothing can be seen."""
        settings = self.settings
        weighed = (
            settings.kilonova * self.about_kilonova
            + settings.classes * self.about_class
            + settings.parameters * self.p_kilonova * self.about_parameters
        )
        return self._at(weighed, canonical, mjd_tai, depth_mag)

    def sentence(self, canonical: str, mjd_tai: float, depth_mag: float) -> str:
        """What one observation would tell, in words."""
        kilonova, classes, parameters = (
            float(self._at(table, canonical, mjd_tai, depth_mag))
            for table in (self.about_kilonova, self.about_class, self.about_parameters)
        )
        whose = "the inference" if self.origin == "inference" else "the quick screen"
        return (
            f"{canonical} to {depth_mag:.1f} mag is expected to tell {kilonova:.2f} bit about "
            f"whether it is a kilonova (now {100 * self.p_kilonova:.3g} %), {classes:.2f} about "
            f"its class and {parameters:.2f} about the light curve if it is one, by {whose}"
        )

    def _at(
        self, table: Float, canonical: str, mjd_tai: npt.ArrayLike, depth_mag: npt.ArrayLike
    ) -> Float:
        times, depths = np.broadcast_arrays(
            np.asarray(mjd_tai, np.float64), np.asarray(depth_mag, np.float64)
        )
        name = self.band(canonical)
        if name is None or not len(self.depth_mag):
            return np.zeros(times.shape)
        here = table[self.bands.index(name)]
        t, t_part = _place(self.mjd_tai, times)
        d, d_part = _place(self.depth_mag, np.nan_to_num(depths))
        low = here[t, d] * (1 - d_part) + here[t, d + 1] * d_part
        high = here[t + 1, d] * (1 - d_part) + here[t + 1, d + 1] * d_part
        found = low * (1 - t_part) + high * t_part
        return np.asarray(np.where(np.isfinite(depths) & np.isfinite(times), found, 0.0))


def _reach(predicted: Sequence[str], instruments: Sequence[Instrument]) -> dict[int, list[float]]:
    """By number of the predicted band the depths of the shortest and longest exposures, at the
    zenith, with every band of an instrument that it serves."""
    found: dict[int, list[float]] = {}
    for instrument in instruments:
        for band in instrument.bands:
            name = nearest_band(band.canonical, predicted)
            if name is not None:
                found.setdefault(predicted.index(name), []).extend(
                    band.limit_mag + 1.25 * math.log10(exposure / instrument.depth_exposure_s)
                    for exposure in (instrument.min_exposure_s, instrument.max_exposure_s)
                )
    return found


def _depths(reach: Sequence[float]) -> Float:
    """Whole steps of the grid that hold these depths and what airmass and Moon take from them."""
    if not reach:
        return np.zeros(0)
    first = math.floor((min(reach) - _SHALLOWER_MAG) / _DEPTH_STEP_MAG)
    last = math.ceil(max(reach) / _DEPTH_STEP_MAG)
    return np.asarray(np.arange(first, last + 1) * _DEPTH_STEP_MAG, np.float64)


def _place(grid: Float, values: Float) -> tuple[npt.NDArray[np.int64], Float]:
    """Index at or before and the fraction of the way to the next, held at the ends."""
    index = np.clip(np.searchsorted(grid, values, side="right") - 1, 0, len(grid) - 2)
    part = (values - grid[index]) / (grid[index + 1] - grid[index])
    return index, np.asarray(np.clip(part, 0.0, 1.0))
