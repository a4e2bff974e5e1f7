"""Contaminants that are a blackbody of constant colour: a fast flare, a steady source.

``fast_blackbody`` stands for dwarf novae, flares and other blue transients that rise within
hours and fade exponentially; ``steady`` for variables, active nuclei and old supernovae, whose
light changes by at most a tenth of a magnitude a day.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mmcoord.inference.models.base import FAINTEST_MAG, Array, Model, Parameter
from mmcoord.inference.passbands import LN_T_MAX, LN_T_MIN, N_TEMPERATURES, Passbands

__all__ = ["FAST_BLACKBODY", "STEADY"]

_REFERENCE_NU_HZ = 2.99792458e18 / 6200.0
_H_OVER_K = 6.62607015e-27 / 1.380649e-16
_PLANCK_3631 = 2.0 * 6.62607015e-27 / 2.99792458e10**2 / 3.631e-20
_MAG = 2.5 / np.log(10.0)


def _colour_mag(temperature: Array, band: npt.NDArray[np.int64], bands: Passbands) -> Array:
    """Magnitude in each band minus that of f_nu at 6200 Angstrom: (n, 1) -> (n, n_bands).

    The Milky Way's extinction is in the table.
    """
    position = (np.log(temperature) - LN_T_MIN) / (LN_T_MAX - LN_T_MIN) * (N_TEMPERATURES - 1)
    low = np.clip(position.astype(np.int64), 0, N_TEMPERATURES - 2)[:, 0]
    part = position - low[:, None]
    table = bands.blackbody.T
    mean: Array = table[low] * (1.0 - part) + table[low + 1] * part
    at_reference = (
        _PLANCK_3631 * _REFERENCE_NU_HZ**3 / np.expm1(_H_OVER_K * _REFERENCE_NU_HZ / temperature)
    )
    colour: Array = -_MAG * np.log(mean / at_reference)
    return np.asarray(colour[:, band])


def _fast(
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    start, peak_mag, temperature, decay_day = theta.T[:, :, None]
    age = t_day[None, :] - start
    magnitudes = peak_mag + _MAG * age / decay_day + _colour_mag(temperature, band, bands)
    return np.asarray(np.where(age > 0, np.minimum(magnitudes, FAINTEST_MAG), FAINTEST_MAG))


def _steady(
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    mag, slope, temperature = theta.T[:, :, None]
    magnitudes = mag + slope * t_day[None, :] + _colour_mag(temperature, band, bands)
    return np.asarray(np.minimum(magnitudes, FAINTEST_MAG))


FAST_BLACKBODY = Model(
    name="fast_blackbody",
    version="1",
    reference="a blackbody with exponential decay; no paper",
    parameters=(
        Parameter("start_day", "d", -14.0, 14.0),
        Parameter("peak_mag", "mag", 12.0, 25.0),
        Parameter("temperature", "K", 4500.0, 50000.0, "log_uniform"),
        Parameter("decay_day", "d", 0.03, 15.0, "log_uniform"),
    ),
    magnitudes=_fast,
    distance="none",
)

STEADY = Model(
    name="steady",
    version="1",
    reference="a blackbody of constant temperature, linear in magnitude; no paper",
    parameters=(
        Parameter("mag_at_event", "mag", 12.0, 26.0),
        Parameter("slope", "mag/d", -0.1, 0.1, "normal", 0.0, 0.03),
        Parameter("temperature", "K", 2500.0, 40000.0, "log_uniform"),
    ),
    magnitudes=_steady,
    distance="none",
)
