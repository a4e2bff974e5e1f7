"""How bright the targets will be tonight, and whether that is within an instrument's reach."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from followup.bands import EFFECTIVE_WAVELENGTH_NM, extinction_mag, nearest_band
from followup.evidence import Prediction, TargetEvidence
from followup.factors import RankSettings
from followup.sites import Band, Instrument

__all__ = [
    "Magnitudes",
    "depth_mag",
    "expected_magnitudes",
    "exposure_for",
    "exposures_for",
    "reach_probability",
]

Array = npt.NDArray[np.float64]

_Z95 = 1.6448536269514722  # standard normal quantile of 0.95
_FAINTEST = 40.0
"""Stands for "too faint to state": 40 mag is out of reach of anything."""
_SAME_COLOUR_DEX = 0.15
"""Neighbouring optical bands (g to z is wider): a last-seen magnitude is carried this far."""


@dataclass(frozen=True, slots=True)
class Magnitudes:
    """Expected magnitudes of ``N`` targets in one canonical band at ``T`` times.

    The distribution is a split normal: ``sigma_bright`` towards brighter than the median,
    ``sigma_faint`` towards fainter. NaN where not known.
    """

    median: Array
    """(N, T) AB."""
    sigma_bright: Array
    sigma_faint: Array
    used: tuple[str | None, ...]
    """(N,) the band each target's numbers come from."""
    is_predicted: npt.NDArray[np.bool_]
    """(N,) from a model prediction; otherwise "as last seen", or not known."""


def expected_magnitudes(
    targets: Sequence[TargetEvidence],
    band: str,
    mjd_tai: Array,
    settings: RankSettings,
    memory: dict[tuple[int, str], tuple[Array, ...]] | None = None,
) -> Magnitudes:
    """Predicted magnitudes, else "about as bright as last seen", else NaN.

    Predictions are interpolated linearly between their times and never extrapolated.
    ``memory``: handed from band to band for the same targets and times, it saves the work for
    bands that one prediction serves.

    Raises
    ------
    ValueError
        A prediction whose arrays differ in length or whose times do not increase.
    """
    n_targets, n_times = len(targets), len(mjd_tai)
    median, bright, faint = (np.full((n_targets, n_times), np.nan) for _ in range(3))
    used: list[str | None] = []
    carried: dict[str, list[int]] = {}
    memory = {} if memory is None else memory
    predicted = np.zeros(n_targets, bool)
    for row, target in enumerate(targets):
        if target.predicted:
            name = nearest_band(band, target.predicted)
            if name is not None:
                if (row, name) not in memory:
                    where = f"{target.object_id}: prediction in {name}"
                    memory[row, name] = _interpolated(target.predicted[name], mjd_tai, where)
                low, mid, high = memory[row, name]
                median[row], bright[row], faint[row] = mid, (mid - low) / _Z95, (high - mid) / _Z95
                predicted[row] = True
            used.append(name)
        else:
            name = _carried_from(target, band)
            if name is not None:
                carried.setdefault(name, []).append(row)
            used.append(name)
    for name, rows in carried.items():
        last = np.array([targets[row].latest_mag for row in rows], float)
        when = np.array([targets[row].latest_mjd_tai for row in rows], float)
        median[rows] = last[:, None]
        bright[rows] = faint[rows] = _persistence(name, band, mjd_tai - when[:, None], settings)
    return Magnitudes(median, bright, faint, tuple(used), predicted)


def depth_mag(instrument: Instrument, band: Band, airmass: Array, exposure_s: float) -> Array:
    """5-sigma depth at an airmass for a sky-limited exposure, AB.

    Ivezic et al. (2019, ApJ 873, 111) equation 6 with seeing growing as airmass^0.6:
    m5(X, t) = m5(1, t0) + 1.25 log10(t / t0) - 1.5 log10(X) - k (X - 1).
    """
    gain = 1.25 * math.log10(exposure_s / instrument.depth_exposure_s)
    result: Array = band.limit_mag + gain - _airmass_loss(band, airmass)
    return result


def exposure_for(
    instrument: Instrument, band: Band, airmass: float, mag: float, *, snr: float
) -> float:
    """Exposure in whole s that gives ``snr`` at ``mag``, within the instrument's limits.

    Sky-limited, so S/N grows as the square root of the time.
    """
    return float(exposures_for(instrument, band, np.asarray(airmass), np.asarray(mag), snr=snr))


def exposures_for(
    instrument: Instrument, band: Band, airmass: Array, mag: Array, *, snr: float
) -> Array:
    """:func:`exposure_for` of arrays; where the magnitude is NaN, that of the stated depth."""
    depth = band.limit_mag - _airmass_loss(band, airmass)
    wanted = mag + 2.5 * math.log10(snr / 5.0)
    power = np.clip((wanted - depth) / 1.25, -9.0, 9.0)
    seconds = np.ceil(instrument.depth_exposure_s * 10.0**power)
    seconds = np.where(np.isnan(seconds), instrument.depth_exposure_s, seconds)
    limited: Array = np.clip(seconds, instrument.min_exposure_s, instrument.max_exposure_s)
    return limited


def reach_probability(
    magnitudes: Magnitudes,
    at: npt.NDArray[np.int64] | tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    depth: Array,
    scatter_mag: float,
) -> Array:
    """P(magnitude < depth); NaN where a magnitude is not known.

    ``at``: targets (n,), with depths (n, T); or targets and times, each of the shape of ``depth``.
    The depth itself scatters by ``scatter_mag`` (1 sigma).
    """
    excess = depth - magnitudes.median[at]
    sigma = np.where(excess > 0, magnitudes.sigma_faint[at], magnitudes.sigma_bright[at])
    probability: Array = ndtr(excess / np.hypot(sigma, scatter_mag))
    return probability


def _airmass_loss(band: Band, airmass: Array) -> Array:
    loss: Array = 1.5 * np.log10(airmass) + extinction_mag(band.canonical) * (airmass - 1.0)
    return loss


def _interpolated(prediction: Prediction, mjd_tai: Array, where: str) -> tuple[Array, ...]:
    times = np.asarray(prediction[0], float)
    quantiles = [_stated(q) for q in prediction[1:]]
    if times.ndim != 1 or any(q.shape != times.shape for q in quantiles) or not len(times):
        raise ValueError(f"{where}: arrays must be 1-D, not empty and equally long")
    if not np.all(np.diff(times) > 0):
        raise ValueError(f"{where}: times must increase")
    return tuple(np.interp(mjd_tai, times, q, left=np.nan, right=np.nan) for q in quantiles)


def _stated(magnitudes: npt.ArrayLike) -> Array:
    """Numbers that can be interpolated: a vanishing model (None, infinity) becomes very faint."""
    if not isinstance(magnitudes, np.ndarray) or magnitudes.dtype == object:
        given: Sequence[Any] = list(magnitudes)  # type: ignore[arg-type]
        magnitudes = [_FAINTEST if value is None else value for value in given]
    stated: Array = np.clip(np.asarray(magnitudes, float), -_FAINTEST, _FAINTEST)
    return stated


def _carried_from(target: TargetEvidence, band: str) -> str | None:
    """The band of the last magnitude seen, if that tells of ``band``."""
    seen_in = target.latest_band
    if target.latest_mag is None or target.latest_mjd_tai is None or seen_in is None:
        return None
    return seen_in if _has_its_colour(seen_in, band) else None


@functools.lru_cache(maxsize=4096)
def _has_its_colour(seen_in: str, band: str) -> bool:
    if seen_in not in EFFECTIVE_WAVELENGTH_NM:
        return False
    ratio = EFFECTIVE_WAVELENGTH_NM[seen_in] / EFFECTIVE_WAVELENGTH_NM[band]
    return abs(math.log10(ratio)) <= _SAME_COLOUR_DEX


def _persistence(seen_in: str, band: str, since_day: Array, settings: RankSettings) -> Array:
    """1-sigma error of "as bright as last seen", which grows with the time."""
    colour = 0.0 if nearest_band(band, [seen_in]) else settings.colour_mag
    drift = settings.persistence_mag_per_day * np.abs(since_day)
    return np.sqrt(settings.persistence_mag**2 + drift**2 + colour**2)
