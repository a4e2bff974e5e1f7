"""Candidates against a sky map: density, credible level and distance at every position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from skymaps.credible import tile_levels
from skymaps.distance import conditional_moments
from skymaps.healpix import as_positions, index_block
from skymaps.skymap import MAX_ORDER, NPIX_MAX, FloatArray, IntArray, SkyMap, SkyMapError
from skymaps.threads import run_chunks
from skymaps.volume import VolumeTable, tile_log_peaks, volume_levels, volume_table

__all__ = ["CrossMatch", "PreparedMap", "match", "prepare"]

_COARSE_ORDER = 6
_BLOCK = 256


@dataclass(frozen=True, eq=False)
class CrossMatch:
    """What a map says about each candidate; arrays of one element per candidate.

    NaN means "no answer": a position that is none, or in 3D a candidate or a tile without
    distance. It never means far away.
    """

    prob_density_sr: FloatArray
    """Probability per steradian at the position."""
    credible_level_2d: FloatArray
    """Probability of all that is at least as dense: 0 at the peak, 1 outside the map."""
    prob_density_mpc3: FloatArray
    """Probability per Mpc^3 at position and distance."""
    credible_level_3d: FloatArray
    """Probability of all points in space that are denser."""
    distance_mean_mpc: FloatArray
    """Mean of the map's distance posterior along the line of sight."""
    distance_std_mpc: FloatArray


@dataclass(frozen=True, eq=False)
class PreparedMap:
    """A map with everything that can be computed before the candidates are known."""

    skymap: SkyMap
    start: IntArray
    """First order-29 index of each range; the ranges follow one another over the whole sky."""
    answers: FloatArray
    """Shape (ranges, 2): density per sr and 2D credible level."""
    tile: npt.NDArray[np.int32]
    """Tile of the map behind each range, -1 in gaps."""
    first: npt.NDArray[np.int32]
    """Range that holds the first index of each coarse cell, and one past the end."""
    distance_mean_mpc: FloatArray
    distance_std_mpc: FloatArray
    log_amplitude: FloatArray
    """Logarithm of the largest density per Mpc^3 in each tile; empty for a map in 2D."""
    volume: VolumeTable | None


def prepare(skymap: SkyMap, *, workers: int | None = None) -> PreparedMap:
    """Sort, sum and tabulate a map once, so that :func:`match` only looks up."""
    start, tile = _fill_gaps(skymap)
    answers = np.empty((len(start), 2))
    answers[:, 0] = np.where(tile >= 0, skymap.density_sr[tile], 0.0)
    answers[:, 1] = np.where(tile >= 0, tile_levels(skymap)[tile], 1.0)
    cells = np.arange(12 * 4**_COARSE_ORDER + 1, dtype=np.int64) << 2 * (MAX_ORDER - _COARSE_ORDER)
    first = (np.searchsorted(start, cells, side="right") - 1).astype(np.int32)
    if skymap.distances is not None:
        mean, std = conditional_moments(*skymap.distances[:2])
        log_amplitude = tile_log_peaks(skymap)
    else:
        mean = std = log_amplitude = np.empty(0)
    volume = volume_table(skymap, workers=workers)
    return PreparedMap(skymap, start, answers, tile, first, mean, std, log_amplitude, volume)


def _fill_gaps(skymap: SkyMap) -> tuple[IntArray, npt.NDArray[np.int32]]:
    """Ranges that cover the whole sky, and the tile of each (-1: none)."""
    start, end = skymap.start, skymap.end
    following = np.append(start[1:], NPIX_MAX)
    gap = end < following
    tiles = np.arange(len(start), dtype=np.int32)
    if start[0] == 0 and not gap.any():
        return start, tiles
    starts = np.concatenate([start, end[gap]])
    owners = np.concatenate([tiles, np.full(int(gap.sum()), -1, np.int32)])
    if start[0] > 0:
        starts = np.append(starts, 0)
        owners = np.append(owners, np.int32(-1))
    by_start = np.argsort(starts, kind="stable")
    return starts[by_start], owners[by_start]


@njit(cache=True, nogil=True, inline="always")
def _find(index: int, start: IntArray, first: npt.NDArray) -> np.int64:
    """Range that holds an order-29 index."""
    cell = index >> (2 * (MAX_ORDER - _COARSE_ORDER))
    lo = np.int64(first[cell])
    hi = np.int64(first[cell + 1])
    while lo < hi:
        middle = (lo + hi + 1) >> 1
        if start[middle] <= index:
            lo = middle
        else:
            hi = middle - 1
    return lo


@njit(cache=True, nogil=True)
def _lookup(
    ra: FloatArray,
    dec: FloatArray,
    lo: int,
    hi: int,
    start: IntArray,
    answers: FloatArray,
    first: npt.NDArray,
    tile: npt.NDArray,
    density: FloatArray,
    level: FloatArray,
    found: npt.NDArray,
) -> None:
    work = np.empty((4, _BLOCK))
    index = np.empty(_BLOCK, np.int64)
    at = lo
    while at < hi:
        n = min(_BLOCK, hi - at)
        index_block(ra, dec, at, n, work, index)
        for i in range(n):
            if index[i] < 0:
                density[at + i] = np.nan
                level[at + i] = np.nan
                k = -1
            else:
                k = _find(index[i], start, first)
                density[at + i] = answers[k, 0]
                level[at + i] = answers[k, 1]
            if len(found):
                found[at + i] = tile[k] if k >= 0 else -1
        at += n


def match(
    prepared_or_map: PreparedMap | SkyMap,
    ra_deg: npt.ArrayLike,
    dec_deg: npt.ArrayLike,
    distance_mpc: npt.ArrayLike | None = None,
    distance_err_mpc: npt.ArrayLike | None = None,
    *,
    workers: int | None = None,
) -> CrossMatch:
    """Look candidates up on a map.

    Each candidate's answer depends on that candidate and the map alone.

    Parameters
    ----------
    ra_deg, dec_deg
        Positions, ICRS.
    distance_mpc
        Luminosity distance; NaN or None where not known.
    distance_err_mpc
        Its standard deviation; density and level in 3D are then averaged over a Gaussian cut
        at zero distance. NaN, zero or None: the distance is taken as exact.

    Raises
    ------
    SkyMapError
        Arrays of different lengths.
    """
    prepared = prepare(prepared_or_map) if isinstance(prepared_or_map, SkyMap) else prepared_or_map
    try:
        ra, dec = as_positions(ra_deg, dec_deg)
        ra, dec = ra.ravel(), dec.ravel()
        shape = ra.shape
        distance, error = (
            np.full(shape, np.nan)
            if value is None
            else np.ascontiguousarray(np.broadcast_to(np.asarray(value, np.float64), shape))
            for value in (distance_mpc, distance_err_mpc)
        )
    except ValueError as mistake:
        raise SkyMapError(f"candidates: {mistake}") from mistake
    density, level = np.empty(shape), np.empty(shape)
    is_3d = prepared.skymap.is_3d
    tile = np.empty(shape if is_3d else (0,), np.int32)
    tables = (prepared.start, prepared.answers, prepared.first, prepared.tile)
    run_chunks(
        lambda lo, hi: _lookup(ra, dec, lo, hi, *tables, density, level, tile), len(ra), workers
    )
    nothing = [np.full(shape, np.nan) for _ in range(4)]
    if not is_3d:
        return CrossMatch(density, level, *nothing)
    density_3d, level_3d, mean, std = nothing
    inside = tile >= 0
    mean[inside] = prepared.distance_mean_mpc[tile[inside]]
    std[inside] = prepared.distance_std_mpc[tile[inside]]
    volume = prepared.volume
    distances = prepared.skymap.distances
    if volume is not None and distance_mpc is not None and distances is not None:
        curve = (volume.lowest, volume.step, volume.level, volume.slope, volume.total)
        model = (*distances[:2], prepared.log_amplitude)

        def part(lo: int, hi: int) -> None:
            s = slice(lo, hi)
            volume_levels(
                tile[s], distance[s], error[s], *model, *curve, density_3d[s], level_3d[s]
            )

        run_chunks(part, len(ra), workers)
    return CrossMatch(density, level, density_3d, level_3d, mean, std)
