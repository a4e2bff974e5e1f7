"""An LSST-like survey: when it looks, how deep, and what it then measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["BANDS", "GROUPS", "Measurements", "Visits", "measure", "schedule"]

Array = npt.NDArray[np.float64]

BANDS = ("lsst:g", "lsst:r", "lsst:i", "lsst:z")
_DEPTH_MAG = np.array([24.81, 24.35, 23.92, 23.34])
"""5-sigma depth of a 30 s visit: Ivezic et al. (2019, ApJ 873, 111), table 2."""
_DEPTH_SCATTER_MAG = 0.15
_CALIBRATION = 0.01
"""Relative error of the flux that more light does not lessen."""
_DETECTION_SNR = 5.0

GROUPS = 16
"""The sky is observed in this many groups of fields, each at its own times."""
_NIGHTS_BEFORE = (-3, -1)
_NIGHTS_AFTER = (0, 1, 2)
_FIRST_NIGHT_DAY = 0.3
"""The first night after the event begins this long after it."""
_NIGHT_DAY = 0.3


@dataclass(frozen=True, slots=True)
class Visits:
    """The visits to one group of fields, in time order."""

    t_day: Array
    """(m,) days since the event."""
    band: npt.NDArray[np.int64]
    """(m,) index in BANDS."""
    depth_mag: Array
    """(m,) 5-sigma depth, AB."""


@dataclass(frozen=True, slots=True)
class Measurements:
    """What ``n`` objects look like in ``m`` visits."""

    detected: npt.NDArray[np.bool_]
    """(n, m)"""
    mag: Array
    """(n, m) AB; the 5-sigma limit where not detected."""
    mag_err: Array
    """(n, m) 1 sigma; meaningless where not detected."""


def schedule(rng: np.random.Generator) -> tuple[Visits, ...]:
    """The visits of each group: pairs of bands in the nights before, triples after the event."""
    groups = []
    for _ in range(GROUPS):
        t_day: list[float] = []
        band: list[int] = []
        for night in (*_NIGHTS_BEFORE, *_NIGHTS_AFTER):
            start = night + _FIRST_NIGHT_DAY + rng.uniform(0.0, _NIGHT_DAY - 0.1)
            if night < 0:
                chosen = rng.permutation(len(BANDS))[:2]
            else:
                chosen = np.array([0, 1, 2 + int(rng.integers(2))])
            t_day += [start + 0.023 * k for k in range(len(chosen))]  # 33 min apart
            band += [int(b) for b in chosen]
        depth = _DEPTH_MAG[band] + _DEPTH_SCATTER_MAG * rng.standard_normal(len(band))
        groups.append(Visits(np.array(t_day), np.array(band, np.int64), depth))
    return tuple(groups)


def measure(rng: np.random.Generator, true_mag: Array, visits: Visits) -> Measurements:
    """Observe true magnitudes (n, m): Gaussian noise in flux, detections at 5 sigma."""
    snr = _DETECTION_SNR * 10.0 ** (-0.4 * (true_mag - visits.depth_mag))
    sigma = np.hypot(1.0, _CALIBRATION * snr)
    seen = snr + sigma * rng.standard_normal(snr.shape)
    detected = seen >= _DETECTION_SNR * sigma
    safe = np.where(detected, seen, 1.0)
    mag = visits.depth_mag - 2.5 * np.log10(safe / _DETECTION_SNR)
    return Measurements(
        detected=detected,
        mag=np.where(detected, mag, np.broadcast_to(visits.depth_mag, mag.shape)),
        mag_err=2.5 / np.log(10.0) * sigma / safe,
    )
