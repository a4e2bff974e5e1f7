"""Monotone cubic curves with kinks, and leaving out the knots that they do not need."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skymaps.skymap import FloatArray

__all__ = ["monotone_slopes", "thinned"]

_PASSES = 12
_LEAST_DROPPED = 50
"""A pass that leaves out fewer than one knot in so many is the last."""


def monotone_slopes(x: FloatArray, y: FloatArray, kink: npt.NDArray[np.intp]) -> FloatArray:
    """Slopes that keep a cubic Hermite curve monotone (Fritsch & Butland 1984).

    At a kink each side has its own slope. Shape (2, cells): at their beginnings and ends.
    """
    h = np.diff(x)
    d = np.diff(y) / h
    slope = np.empty_like(y)
    slope[0], slope[-1] = d[0], d[-1]
    left, right = 2.0 * h[1:] + h[:-1], h[1:] + 2.0 * h[:-1]
    rising = (d[:-1] > 0.0) & (d[1:] > 0.0)
    safe = np.where(rising, d[:-1], 1.0), np.where(rising, d[1:], 1.0)
    with np.errstate(over="ignore"):  # a slope of next to nothing is one of nothing
        harmonic = (left + right) / (left / safe[0] + right / safe[1])
    slope[1:-1] = np.where(rising, harmonic, 0.0)
    begin, end = slope[:-1].copy(), slope[1:].copy()
    begin[kink[kink < len(d)]] = d[kink[kink < len(d)]]
    end[kink[kink > 0] - 1] = d[kink[kink > 0] - 1]
    return np.stack([begin, end])


def thinned(
    x: FloatArray,
    y: FloatArray,
    kink: npt.NDArray[np.intp],
    fixed: npt.NDArray[np.integer],
    tolerance: float,
) -> npt.NDArray[np.intp]:
    """Knots (ascending row numbers) with which the curve is the same but for ``tolerance``.

    The ends, kinks and ``fixed`` rows stay. In each pass every other knot is taken out that the
    curve through its neighbours meets. Deviations of several passes add up, the more the fewer
    ``fixed`` rows there are: these should be as close as the smooth part of the curve needs.
    """
    n = len(x)
    is_kink = np.zeros(n, bool)
    is_kink[kink[kink < n]] = True
    stays = is_kink.copy()
    stays[fixed] = True
    stays[[0, -1]] = True
    kept = np.arange(n)
    for number in range(_PASSES):
        slope = monotone_slopes(x[kept], y[kept], np.flatnonzero(is_kink[kept]))
        middle = np.arange(1 + number % 2, len(kept) - 1, 2)
        middle = middle[~stays[kept[middle]]]
        left, here, right = kept[middle - 1], kept[middle], kept[middle + 1]
        width = x[right] - x[left]
        h = (x[here] - x[left]) / width
        g = 1.0 - h
        met = (
            y[left] * (1.0 + 2.0 * h) * g * g
            + slope[0, middle - 1] * width * h * g * g
            + y[right] * h * h * (3.0 - 2.0 * h)
            - slope[1, middle] * width * h * h * g
        )
        dropped = middle[np.abs(met - y[here]) < tolerance]
        kept = np.delete(kept, dropped)
        if number and len(dropped) * _LEAST_DROPPED < len(kept):
            break
    return kept
