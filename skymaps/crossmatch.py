"""Candidates against a sky map: density, credible level and distance at every position."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from skymaps.average import GAUSS_RULE, volume_levels, volume_levels_gridded
from skymaps.credible import check_level, tile_levels
from skymaps.distance import conditional_moments
from skymaps.healpix import as_positions, index_block
from skymaps.skymap import MAX_ORDER, NPIX_MAX, FloatArray, IntArray, SkyMap, SkyMapError
from skymaps.threads import run_chunks
from skymaps.volume import VolumeTable, tile_log_peaks, volume_table

__all__ = ["CrossMatch", "PreparedMap", "match", "match_distance_pdf", "prepare", "within"]

_FINEST_CELLS = 6
"""HEALPix order of the coarse cells of a map of many tiles."""
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
    """log(p N / (sqrt(2 pi) sigma)) of each tile; empty for a map in 2D."""

    @cached_property
    def volume(self) -> VolumeTable | None:
        """Table of 3D levels, made when first asked for; None without distances."""
        return volume_table(_bare(self.skymap))

    @property
    def cell_shift(self) -> int:
        """Bits of an order-29 index below those of its coarse cell."""
        return 2 * MAX_ORDER - (((len(self.first) - 1) // 12).bit_length() - 1)

    @property
    def n_bytes(self) -> int:
        """Memory that it takes now; an array that is in it twice counts once."""
        parts = [vars(self), vars(self.skymap)]
        volume = vars(self).get("volume")
        if volume is not None:
            parts.append(vars(volume))
        arrays = [a for part in parts for a in part.values() if isinstance(a, np.ndarray)]
        return sum({id(a): a.nbytes for a in arrays}.values())


def prepare(skymap: SkyMap) -> PreparedMap:
    """Sort, sum and tabulate a map once, so that :func:`match` only looks up."""
    start, tile = _fill_gaps(skymap)
    answers = np.empty((len(start), 2))
    answers[:, 0] = np.where(tile >= 0, skymap.density_sr[tile], 0.0)
    answers[:, 1] = np.where(tile >= 0, tile_levels(skymap)[tile], 1.0)
    first = _first_ranges(start)
    if skymap.distances is not None:
        mean, std = conditional_moments(*skymap.distances[:2])
        log_amplitude = tile_log_peaks(skymap)
    else:
        mean = std = log_amplitude = np.empty(0)
    return PreparedMap(_bare(skymap), start, answers, tile, first, mean, std, log_amplitude)


def within(prepared: PreparedMap, level: float) -> PreparedMap:
    """The same answers out to a 2D credible level, in the memory that these need.

    Outside it is as where a map has no tiles: density 0, level 1, no distance. Levels in 3D are
    those of the whole map. Its ``skymap`` has only the tiles that stay, so that it is no map by
    itself: its probability is not one.
    """
    check_level(level)
    stays = (prepared.answers[:, 1] <= level) & (prepared.tile >= 0)
    tile = prepared.tile[stays]
    if not len(tile) or len(tile) == len(prepared.skymap):
        return prepared
    whole = prepared.skymap
    columns: dict[str, Any] = {
        f.name: column[tile]
        for f in fields(whole)
        if isinstance(column := getattr(whole, f.name), np.ndarray)
    }
    skymap = replace(whole, **columns)
    start, owner = _fill_gaps(skymap)
    answers = np.where((owner >= 0)[:, None], prepared.answers[stays][owner], (0.0, 1.0))
    moments = (prepared.distance_mean_mpc, prepared.distance_std_mpc, prepared.log_amplitude)
    mean, std, log_amplitude = (m[tile] if len(m) else m for m in moments)
    first = _first_ranges(start)
    cut = PreparedMap(_bare(skymap), start, answers, owner, first, mean, std, log_amplitude)
    vars(cut)["volume"] = prepared.volume  # of all tiles: not to be made again from these
    return cut


def _bare(skymap: SkyMap) -> SkyMap:
    """The same arrays, without what a map computes when asked for it and then keeps."""
    return replace(skymap)


def _first_ranges(start: IntArray) -> npt.NDArray[np.int32]:
    """For each coarse cell, and the end of the sky, the range that holds its first index."""
    order = _cell_order(len(start))
    cells = np.arange(12 * 4**order + 1, dtype=np.int64) << 2 * (MAX_ORDER - order)
    return (np.searchsorted(start, cells, side="right") - 1).astype(np.int32)


def _cell_order(n_ranges: int) -> int:
    """The finest order with no more than four coarse cells to a range."""
    fitting = (4 * n_ranges // 12).bit_length() - 1
    return min(max(fitting // 2, 0), _FINEST_CELLS)


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
def _find(index: int, start: IntArray, first: npt.NDArray, shift: int) -> np.int64:
    """Range that holds an order-29 index."""
    cell = index >> shift
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
    shift: int,
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
        index_block(ra[at : at + n], dec[at : at + n], work, index)
        for i in range(n):
            if index[i] < 0:
                density[at + i] = np.nan
                level[at + i] = np.nan
                k = -1
            else:
                k = _find(index[i], start, first, shift)
                density[at + i] = answers[k, 0]
                level[at + i] = answers[k, 1]
            if len(found):
                found[at + i] = tile[k] if k >= 0 else -1
        at += n


@njit(cache=True, nogil=True)
def _gather(
    tile: npt.NDArray,
    lo: int,
    hi: int,
    mean_of: FloatArray,
    std_of: FloatArray,
    mean: FloatArray,
    std: FloatArray,
) -> None:
    for i in range(lo, hi):
        k = tile[i]
        mean[i] = mean_of[k] if k >= 0 else np.nan
        std[i] = std_of[k] if k >= 0 else np.nan


def match(
    prepared_or_map: PreparedMap | SkyMap,
    ra_deg: npt.ArrayLike,
    dec_deg: npt.ArrayLike,
    distance_mpc: npt.ArrayLike | None = None,
    distance_err_mpc: npt.ArrayLike | tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
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
        Its standard deviation, or a tuple (below, above) of two; density and level in 3D are
        then averaged over the (two-piece) normal distribution, cut at zero distance. NaN,
        zero or None: the distance is taken as exact.

    Raises
    ------
    SkyMapError
        Arrays of different lengths.
    """
    prepared = prepare(prepared_or_map) if isinstance(prepared_or_map, SkyMap) else prepared_or_map
    ra, dec = _positions(ra_deg, dec_deg)
    distance = None if distance_mpc is None else _column(distance_mpc, len(ra))
    if distance_err_mpc is None or distance is None:
        errors = np.empty((2, 0))
    elif isinstance(distance_err_mpc, tuple):
        errors = np.stack([_column(side, len(ra)) for side in distance_err_mpc])
    else:
        errors = np.stack([_column(distance_err_mpc, len(ra))] * 2)
    answer, tile = _in_2d(prepared, ra, dec, workers)
    volume, distances = prepared.volume if distance is not None else None, prepared.skymap.distances
    if volume is None or distances is None:
        return answer
    n = len(ra)
    density, level = np.empty(n), np.empty(n)
    model = (*distances[:2], prepared.log_amplitude)
    curve = volume.curve
    run_chunks(
        lambda lo, hi: volume_levels(
            tile, distance, errors, lo, hi, model, curve, GAUSS_RULE, density, level
        ),
        n,
        workers,
    )
    return replace(answer, prob_density_mpc3=density, credible_level_3d=level)


def match_distance_pdf(
    prepared_or_map: PreparedMap | SkyMap,
    ra_deg: npt.ArrayLike,
    dec_deg: npt.ArrayLike,
    grid: npt.ArrayLike,
    pdf: npt.ArrayLike,
    distance_mpc: npt.ArrayLike | None = None,
    *,
    workers: int | None = None,
) -> CrossMatch:
    """:func:`match` for candidates whose distances are known as densities on a grid.

    Parameters
    ----------
    grid
        Ascending nodes, shape (nodes,): distances in Mpc, or redshifts of a photo-z.
    pdf
        Density at the nodes, shape (candidates, nodes), in any normalisation; a row of zeros
        or NaN is a candidate without distance.
    distance_mpc
        Distance at each node; None when the grid is of distances.

    Raises
    ------
    SkyMapError
        Shapes that do not fit together, or a grid that does not ascend.
    """
    prepared = prepare(prepared_or_map) if isinstance(prepared_or_map, SkyMap) else prepared_or_map
    ra, dec = _positions(ra_deg, dec_deg)
    nodes = np.ascontiguousarray(grid, np.float64)
    distance = nodes if distance_mpc is None else np.ascontiguousarray(distance_mpc, np.float64)
    table = np.atleast_2d(np.ascontiguousarray(pdf, np.float64))
    if nodes.ndim != 1 or distance.shape != nodes.shape or table.shape != (len(ra), len(nodes)):
        raise SkyMapError(
            f"pdf has shape {table.shape}, not ({len(ra)} candidates, {len(nodes)} nodes)"
        )
    if len(nodes) < 2 or not (np.all(np.diff(nodes) > 0) and np.all(np.diff(distance) > 0)):
        raise SkyMapError("the nodes of a distance grid must ascend")
    answer, tile = _in_2d(prepared, ra, dec, workers)
    volume, distances = prepared.volume, prepared.skymap.distances
    if volume is None or distances is None:
        return answer
    density, level = np.empty(len(ra)), np.empty(len(ra))
    model = (*distances[:2], prepared.log_amplitude)
    curve = volume.curve
    run_chunks(
        lambda lo, hi: volume_levels_gridded(
            tile, distance, table, nodes, lo, hi, model, curve, density, level
        ),
        len(ra),
        workers,
    )
    return replace(answer, prob_density_mpc3=density, credible_level_3d=level)


def _positions(ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    try:
        ra, dec = as_positions(ra_deg, dec_deg)
    except (TypeError, ValueError) as mistake:
        raise SkyMapError(f"positions: {mistake}") from mistake
    return ra.ravel(), dec.ravel()


def _column(values: npt.ArrayLike, n: int) -> FloatArray:
    try:
        return np.ascontiguousarray(np.broadcast_to(np.asarray(values, np.float64), (n,)))
    except (TypeError, ValueError) as mistake:
        raise SkyMapError(f"distances: {mistake}") from mistake


def _in_2d(
    prepared: PreparedMap, ra: FloatArray, dec: FloatArray, workers: int | None
) -> tuple[CrossMatch, npt.NDArray[np.int32]]:
    """The answer without candidates' distances, and each one's tile (none for a map in 2D)."""
    n = len(ra)
    is_3d = prepared.skymap.is_3d
    density, level = np.empty(n), np.empty(n)
    tile = np.empty(n if is_3d else 0, np.int32)
    cells = (prepared.first, prepared.cell_shift)
    tables = (prepared.start, prepared.answers, *cells, prepared.tile)
    run_chunks(lambda lo, hi: _lookup(ra, dec, lo, hi, *tables, density, level, tile), n, workers)
    # One NaN seen n times: no memory is touched for answers that do not exist.
    nothing = np.broadcast_to(np.float64(np.nan), (n,))
    if not is_3d:
        return CrossMatch(density, level, nothing, nothing, nothing, nothing), tile
    mean, std = np.empty(n), np.empty(n)
    moments = (prepared.distance_mean_mpc, prepared.distance_std_mpc)
    run_chunks(lambda lo, hi: _gather(tile, lo, hi, *moments, mean, std), n, workers)
    return CrossMatch(density, level, nothing, nothing, mean, std), tile
