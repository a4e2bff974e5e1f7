"""Flat HEALPix maps to multi-order tiles: equal siblings become their parent, losslessly.

BAYESTAR's flat maps are multi-order maps written out pixel by pixel, so that most of their
pixels merge back; ``ligo.skymap.moc.rasterize`` is the opposite operation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from skymaps.healpix import nest_to_ring
from skymaps.skymap import FloatArray, IntArray
from skymaps.threads import run_chunks

__all__ = ["merge_flat"]

_RUN_ORDER = 6
"""Nested indices of RING maps are made in runs of 4**6 pixels."""


@njit(cache=True, nogil=True, inline="always")
def _same(values: npt.NDArray, a: int, b: int) -> bool:
    for k in range(values.shape[0]):
        x = values[k, a]
        y = values[k, b]
        if x != y and (x == x or y == y):  # two NaN are the same
            return False
    return True


@njit(cache=True, nogil=True)
def _merge_part(
    values: npt.NDArray,
    order: int,
    ring: bool,
    lo: int,
    hi: int,
    tile: IntArray,
    where: IntArray,
    depth: npt.NDArray,
) -> int:
    """Tiles of the pixels lo..hi (whole base pixels) into the three arrays; their number."""
    run = min(np.int64(1) << (2 * _RUN_ORDER), np.int64(1) << (2 * order))
    position = np.empty(run, np.int64)
    top = 0
    for begin in range(lo, hi, run):
        if ring:
            nest_to_ring(order, begin, begin + run, position)
        for i in range(run):
            pixel = begin + i
            tile[top] = pixel
            where[top] = position[i] if ring else pixel
            depth[top] = order
            top += 1
            level = order
            # Complete at every level whose last child this pixel ends.
            while level > 0 and top >= 4 and (pixel >> (2 * (order - level))) & 3 == 3:
                a = top - 4
                if depth[a] != level or depth[a + 1] != level or depth[a + 2] != level:
                    break
                if not (
                    _same(values, where[a], where[a + 1])
                    and _same(values, where[a], where[a + 2])
                    and _same(values, where[a], where[a + 3])
                ):
                    break
                level -= 1
                top -= 3
                tile[a] = tile[a] >> 2
                depth[a] = level
    return top


@njit(cache=True, nogil=True)
def _gather(values: npt.NDArray, at: IntArray, lo: int, hi: int, out: FloatArray) -> None:
    """Columns of the tiles lo..hi."""
    for k in range(values.shape[0]):
        for i in range(lo, hi):
            out[k, i] = values[k, at[i]]


def merge_flat(
    values: npt.NDArray[np.float32] | FloatArray, order: int, ring: bool
) -> tuple[IntArray, npt.NDArray[np.int8], FloatArray]:
    """Merge the pixels of a flat map.

    Parameters
    ----------
    values
        Shape (columns, 12 * 4**order), in RING or NESTED order; tiles merge where all
        columns are equal.

    Returns
    -------
    Nested index and order of each tile, ascending on the sky, and the columns as float64 of
    shape (columns, tiles).
    """
    per_base = 4**order
    npix = 12 * per_base
    tile = np.empty(npix, np.int64)
    where = np.empty(npix, np.int64)
    depth = np.empty(npix, np.int8)
    counts = [0] * 12

    def part(lo: int, hi: int) -> None:
        for base in range(12):
            if lo <= base * per_base < hi:
                span = slice(base * per_base, (base + 1) * per_base)
                counts[base] = _merge_part(
                    values, order, ring, span.start, span.stop, tile[span], where[span], depth[span]
                )

    run_chunks(part, npix)
    kept = [slice(base * per_base, base * per_base + counts[base]) for base in range(12)]
    at = np.concatenate([where[s] for s in kept])
    merged = np.empty((len(values), len(at)))
    run_chunks(lambda lo, hi: _gather(values, at, lo, hi, merged), len(at))
    return (
        np.concatenate([tile[s] for s in kept]),
        np.concatenate([depth[s] for s in kept]),
        merged,
    )
