"""What an observation is expected to teach: mutual information with class and parameters.

**Observation.** A source of magnitude ``m`` observed to a 5-sigma depth ``m5`` has the flux
``s = 5 x 10^(-0.4 (m - m5))`` in units of the noise, and a relative error ``c`` that more light
does not lessen (calibration, scatter of the model): ``c = 0.4 ln(10) x floor_mag``. What is
measured is the asinh magnitude (Lupton, Gunn & Szalay 1999, AJ 118, 1406) in units of its error,

    v = u + Normal(0, 1),   u = asinh(c s) / c,

a flux with unit noise when faint and a magnitude with error ``floor_mag`` when bright. Below
5 sigma (``v < asinh(5 c) / c``) only "not detected" is known. An outcome is therefore a number
or a non-detection, and both count.

**Information.** With draws of ``u`` per class, p(outcome | class) is a mixture of unit normals
cut at the threshold, and

    I(class; outcome)          = H(outcome) - sum_c P(c) H(outcome | c)
    I(parameters; outcome | c) = H(outcome | c) - mean_i H(outcome | u_i)

in bits (Lindley 1956, Ann. Math. Stat. 27, 986). The entropies of mixtures are one-dimensional
integrals on a grid that begins at the threshold (Gregory's rule, fourth order); those of single
draws are closed. With ``n`` draws p has a variance; to first order that lowers each class's entropy
by the integral of Var(p) / 2p, about (resolved cells) / 2n nats, and lets the classes seem
different. The term is computed in the same pass and taken back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from mmcoord.predictions import ClassPredictions

__all__ = ["FLOOR_MAG", "Information", "information", "interpolated", "signal", "threshold_of"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

FLOOR_MAG = 0.1
"""Error of a bright magnitude: calibration, and how well a model's light curve can be trusted."""
_THRESHOLD_SNR = 5.0
_STEP = 0.5
"""Of the grid, in units of the noise. The trapezium rule errs by exp(-2 pi^2 / step^2) inside."""
_REACH = 5.0
"""Beyond so many sigmas a draw adds nothing."""
_BLOCK = 512
"""Options worked on at once; bounds the memory."""
_NAT = 1.0 / math.log(2.0)
_HALF_LN_2PI = 0.5 * math.log(2.0 * math.pi)
_OFFSETS = 512


def _kernel() -> Float:
    """(offsets, points) unit normal on grids that begin ``_REACH`` below it plus an offset."""
    offset = (np.arange(_OFFSETS) + 0.5) / _OFFSETS * _STEP
    y = -_REACH + offset[:, None] + _STEP * np.arange(int(2 * _REACH / _STEP))
    return np.asarray(np.exp(-0.5 * y * y - _HALF_LN_2PI))


_KERNEL = _kernel()


@dataclass(frozen=True, slots=True)
class Information:
    """Expected information of ``O`` observations, in bits."""

    about_class: Float
    """(O,) about which of the classes it is."""
    about_first: Float
    """(O,) about whether it is the first class (a kilonova) or any other."""
    about_parameters: Float
    """(C, O) about the light curve if it is of that class."""
    detection: Float
    """(O,) chance of a detection."""


def information(
    predictions: ClassPredictions,
    band: npt.ArrayLike,
    mjd_tai: npt.ArrayLike,
    depth_mag: npt.ArrayLike,
    *,
    floor_mag: float = FLOOR_MAG,
    is_corrected: bool = True,
) -> Information:
    """Expected information of observations of one target.

    Parameters
    ----------
    predictions
        Draws of each class. A class of probability 0 gives no information and takes none.
    band
        (O,) index into ``predictions.bands``; -1: nobody predicts the band, no information.
    mjd_tai
        (O,) times; draws are interpolated linearly and held constant beyond their ends.
    depth_mag
        (O,) 5-sigma point-source depths; NaN: cannot be observed, no information.
    is_corrected
        Take back the bias of a finite number of draws.

    Raises
    ------
    ValueError
        Probabilities that are negative or do not add up to 1, magnitudes that are not finite.
    """
    magnitudes = np.asarray(predictions.magnitudes, np.float32)
    probability = np.asarray(predictions.probability, np.float64)
    if not np.isfinite(magnitudes).all():
        raise ValueError("magnitudes: not all are finite")
    if (probability < 0).any() or abs(float(probability.sum()) - 1.0) > 1e-6:
        raise ValueError(f"probability: {probability!r} are not of exclusive classes")
    wanted, time = np.asarray(band, np.int64), np.asarray(mjd_tai, np.float64)
    depth = np.asarray(depth_mag, np.float64)
    threshold = threshold_of(floor_mag)
    outcome = np.zeros((3 + len(probability), len(wanted)))
    possible = np.flatnonzero((wanted >= 0) & np.isfinite(depth) & np.isfinite(time))
    by_option = np.ascontiguousarray(magnitudes.transpose(2, 3, 0, 1))
    for start in range(0, len(possible), _BLOCK):
        some = possible[start : start + _BLOCK]
        mags = interpolated(
            by_option, np.asarray(predictions.mjd_tai, np.float64), wanted[some], time[some]
        )
        u = signal(mags, depth[some, None, None], floor_mag)
        _every_option(u, probability, threshold, is_corrected, _KERNEL, some, outcome)
    return Information(outcome[0], outcome[1], outcome[3:], outcome[2])


def signal(magnitude: npt.ArrayLike, depth_mag: npt.ArrayLike, floor_mag: float) -> Float:
    """Asinh magnitude in units of its error: ``u`` of the module's equation."""
    c = 0.4 * math.log(10.0) * floor_mag
    fainter = np.asarray(magnitude, np.float64) - np.asarray(depth_mag, np.float64)
    x = (c * _THRESHOLD_SNR) * np.exp(-0.4 * math.log(10.0) * fainter)
    return np.asarray(np.log(x + np.sqrt(x * x + 1.0)) / c)


def threshold_of(floor_mag: float) -> float:
    """``u`` of a source at the limit."""
    c = 0.4 * math.log(10.0) * floor_mag
    return math.asinh(_THRESHOLD_SNR * c) / c


def interpolated(
    magnitudes: npt.NDArray[np.float32], grid: Float, band: Int, time: Float
) -> npt.NDArray[np.float32]:
    """(O, C, D) magnitudes from (B, T, C, D), linear in time and held at the ends."""
    if len(grid) == 1:
        return np.asarray(magnitudes[band, 0])
    place = np.clip(np.searchsorted(grid, time, side="right") - 1, 0, len(grid) - 2)
    part = np.clip((time - grid[place]) / (grid[place + 1] - grid[place]), 0.0, 1.0)
    low, high = magnitudes[band, place], magnitudes[band, place + 1]
    return np.asarray(low + part[:, None, None].astype(np.float32) * (high - low))


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _every_option(
    u: Float,
    probability: Float,
    threshold: float,
    is_corrected: bool,
    kernel: Float,
    place: Int,
    out: Float,
) -> None:
    """Fill columns ``place`` of ``out`` (3 + C, O): class, first class, detection, parameters."""
    for o in range(len(u)):
        _one_option(u[o], probability, threshold, is_corrected, kernel, out[:, place[o]])


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _one_option(
    u: Float,
    probability: Float,
    threshold: float,
    is_corrected: bool,
    kernel: Float,
    out: Float,
) -> None:
    n_classes, n_draws = u.shape
    n_offsets = len(kernel)
    top = threshold
    for j in range(n_classes):
        for i in range(n_draws):
            top = max(top, u[j, i])
    n = int((top + _REACH - threshold) / _STEP) + 6
    density = np.zeros((n_classes, n))  # of each class, from the threshold upwards
    square = np.zeros((n_classes, n))
    missed = np.zeros(n_classes)
    missed_square = np.zeros(n_classes)
    conditional = np.zeros(n_classes)
    w = 1.0 / n_draws
    for j in range(n_classes):
        for i in range(n_draws):
            x = threshold - u[j, i]
            if x > _REACH:
                missed[j] += w
                missed_square[j] += w * w
                continue
            if x > -_REACH:
                q = 0.5 * math.erfc(-x / math.sqrt(2.0))
                missed[j] += w * q
                missed_square[j] += (w * q) ** 2
                conditional[j] += w * _single_entropy(x, q)
            else:
                conditional[j] += w * (_HALF_LN_2PI + 0.5)
            first = max(0, math.ceil((-x - _REACH) / _STEP))
            cell = (x + first * _STEP + _REACH) / _STEP
            begin = int(cell)
            row = kernel[int((cell - begin) * n_offsets)]
            shape = row[begin:]
            here, here_square = density[j, first:], square[j, first:]
            for k in range(len(shape)):
                here[k] += shape[k]
                here_square[k] += shape[k] * shape[k]
        for k in range(n):
            density[j, k] *= w
            square[j, k] *= w * w
    _entropies(
        density, square, missed, missed_square, w, conditional, probability, is_corrected, out
    )


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _single_entropy(x: float, q: float) -> float:
    """Nats of the outcome of one draw ``x`` below the threshold, not detected with chance ``q``."""
    above = 1.0 - q if q < 0.5 else 0.5 * math.erfc(x / math.sqrt(2.0))
    density = math.exp(-0.5 * x * x - _HALF_LN_2PI)
    entropy = (_HALF_LN_2PI + 0.5) * above + 0.5 * x * density
    if q > 0.0:
        entropy -= q * math.log(q)
    return entropy


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _entropies(
    density: Float,
    square: Float,
    missed: Float,
    missed_square: Float,
    weight: float,
    conditional: Float,
    probability: Float,
    is_corrected: bool,
    out: Float,
) -> None:
    n_classes, n = density.shape
    entropy = np.zeros(n_classes)
    bias = np.zeros(n_classes)
    whole, whole_bias, other, other_bias = 0.0, 0.0, 0.0, 0.0
    rest = 1.0 - probability[0]
    for k in range(-1, n):
        step = 1.0 if k < 0 else _STEP * _gregory(k)
        mixture, mixture_square, others, others_square = 0.0, 0.0, 0.0, 0.0
        for j in range(n_classes):
            p = missed[j] if k < 0 else density[j, k]
            s = missed_square[j] if k < 0 else square[j, k]
            if p > 1e-30:
                entropy[j] -= step * p * math.log(p)
                bias[j] += 0.5 * step * (s / p - weight * p)
            share = probability[j]
            mixture += share * p
            spread = share * share * (s - weight * p * p)
            mixture_square += spread
            if j > 0:
                others += share * p
                others_square += spread
        if mixture > 1e-30:
            whole -= step * mixture * math.log(mixture)
            whole_bias += 0.5 * step * mixture_square / mixture
        if others > 1e-30 and rest > 0.0:
            other -= step * others / rest * math.log(others / rest)
            other_bias += 0.5 * step * others_square / (others * rest)
    taken = 1.0 if is_corrected else 0.0
    whole += taken * whole_bias
    other += taken * other_bias
    out[0] = whole
    out[2] = 1.0
    for j in range(n_classes):
        entropy[j] += taken * bias[j]
        out[0] -= probability[j] * entropy[j]
        out[2] -= probability[j] * missed[j]
        out[3 + j] = max(0.0, entropy[j] - conditional[j]) * _NAT
    out[0] = max(0.0, out[0]) * _NAT
    out[1] = max(0.0, whole - probability[0] * entropy[0] - rest * other) * _NAT
    out[2] = min(1.0, max(0.0, out[2]))


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _gregory(k: int) -> float:
    """Weight of the k-th point from the threshold; Gregory's rule with three end corrections."""
    if k == 0:
        return 0.375
    if k == 1:
        return 7.0 / 6.0
    if k == 2:
        return 23.0 / 24.0
    return 1.0
