"""Afterglow of a gamma-ray burst: smoothly broken power law in time, power law in frequency.

Sari, Piran & Narayan (1998, ApJL 497, L17) for the spectrum; the jet break of Rhoads (1999)
for the steepening. The burst need not be the event: it starts at a time of its own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mmcoord.inference.models.base import FAINTEST_MAG, Array, Model, Parameter
from mmcoord.inference.passbands import Passbands

__all__ = ["AFTERGLOW"]

_SHARPNESS = 3.0
_REFERENCE_ANGSTROM = 6200.0


def _magnitudes(
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    start, mag_1d, slope, steepening, t_break, beta = theta.T[:, :, None]
    age = np.maximum(t_day[None, :] - start, 1e-4)
    ratio = bands.pivot_angstrom[band] / _REFERENCE_ANGSTROM
    decay = _decay_mag(age, slope, steepening, t_break)
    at_one_day = _decay_mag(np.ones_like(t_break), slope, steepening, t_break)
    magnitudes = mag_1d + decay - at_one_day - 2.5 * beta * np.log10(ratio) + bands.mw_mag[band]
    return np.where(t_day[None, :] > start, np.minimum(magnitudes, FAINTEST_MAG), FAINTEST_MAG)


def _decay_mag(age: Array, slope: Array, steepening: Array, t_break: Array) -> Array:
    ln_age = np.log(age / t_break)
    steps = np.logaddexp(_SHARPNESS * slope * ln_age, _SHARPNESS * (slope + steepening) * ln_age)
    return np.asarray(2.5 / np.log(10.0) * steps / _SHARPNESS)


AFTERGLOW = Model(
    name="afterglow",
    version="1",
    reference="Sari, Piran & Narayan 1998, ApJL 497, L17; Rhoads 1999, ApJ 525, 737",
    parameters=(
        Parameter("start_day", "d", -10.0, 14.0),
        Parameter("mag_at_one_day", "mag", 14.0, 27.0),
        Parameter("decay_index", "", 0.3, 1.6),
        Parameter("steepening", "", 0.3, 1.6),
        Parameter("break_day", "d", 0.05, 20.0, "log_uniform"),
        Parameter("spectral_index", "", 0.3, 1.3),
    ),
    magnitudes=_magnitudes,
    distance="none",
)
