"""From tiles of any provenance to a sound map: what is refused and what is mended."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from skymaps.distance import NORM_RECOMPUTED, NORM_UNUSABLE, mend_norms
from skymaps.skymap import (
    MAX_ORDER,
    NPIX_MAX,
    FloatArray,
    IntArray,
    SkyMap,
    SkyMapError,
)
from skymaps.threads import run_chunks

__all__ = ["build_map"]

NORM_TOLERANCE = 1e-6
"""A map whose sum is within this of one is taken as it is (float32 maps reach 1e-8)."""
NEGATIVE_TOLERANCE = 1e-7
"""Negative density down to this fraction of the maximum is float32 rounding, set to zero."""


_TILE_SR = np.pi / 3.0 * np.exp2(-2.0 * np.arange(MAX_ORDER + 1))
"""Solid angle of a tile by its order."""


def build_map(
    order: npt.ArrayLike,
    ipix: npt.ArrayLike,
    density_sr: npt.ArrayLike,
    distances: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike] | None = None,
    *,
    header: Mapping[str, Any] | None = None,
    repairs: tuple[str, ...] = (),
    is_ours: bool = False,
) -> SkyMap:
    """Check, mend and sort tiles into a map.

    Parameters
    ----------
    order, ipix
        HEALPix order and nested index of each tile, in any sequence.
    density_sr
        Probability per steradian; normalised here when the sum is off by more than 1e-6.
    distances
        DISTMU, DISTSIGMA (Mpc) and DISTNORM (Mpc^-2) for a map in 3D.

    is_ours
        The arrays may be kept and changed: nobody else holds them.

    Raises
    ------
    SkyMapError
        Tiles out of range, repeated or overlapping; density not finite or negative beyond
        rounding; nothing to normalise.
    """
    with np.errstate(all="ignore"):  # whatever is not finite is looked for explicitly
        take = np.asarray if is_ours else np.array
        columns = [density_sr, *(distances or ())]
        return _build(
            _orders(order),
            take(ipix, np.int64).ravel(),
            [take(column, np.float64).ravel() for column in columns],
            header or {},
            list(repairs),
        )


def _orders(order: npt.ArrayLike) -> npt.NDArray[np.int8]:
    """HEALPix orders in eight bits, after the check that they fit."""
    given = np.asarray(order).ravel()
    if given.dtype != np.int8:
        given = given.astype(np.int64)
    if len(given) and not 0 <= given.min() <= given.max() <= MAX_ORDER:
        row = int(np.argmax((given < 0) | (given > MAX_ORDER)))
        raise SkyMapError(f"row {row}: HEALPix order {given[row]} is not in 0..{MAX_ORDER}")
    return given.astype(np.int8)


def _build(
    order: npt.NDArray[np.int8],
    ipix: IntArray,
    values: list[FloatArray],
    header: Mapping[str, Any],
    notes: list[str],
) -> SkyMap:
    density, *columns = values
    if len({len(order), len(ipix), *map(len, values)}) != 1:
        raise SkyMapError("columns of different lengths")
    if len(density) == 0:
        raise SkyMapError("a map without tiles")
    start = _order29_start(order, ipix)
    if not np.all(start[1:] > start[:-1]):
        by_start = np.argsort(start, kind="stable")
        start, order, density = start[by_start], order[by_start], density[by_start]
        columns = [c[by_start] for c in columns]
    _check_disjoint(start, order, notes)
    density = _mend_density(density, order, notes)
    if columns:
        columns = _mend_distances(columns, density, order, notes)
    return SkyMap(
        start,
        order,
        density,
        distmu_mpc=columns[0] if columns else None,
        distsigma_mpc=columns[1] if columns else None,
        distnorm_mpc2=columns[2] if columns else None,
        header=MappingProxyType(dict(header)),
        repairs=tuple(notes),
    )


def _order29_start(order: npt.NDArray[np.int8], ipix: IntArray) -> IntArray:
    """First order-29 index of each tile, after the check that the tiles exist."""
    start = np.empty(len(ipix), np.int64)
    run_chunks(lambda lo, hi: _shift(order, ipix, lo, hi, start), len(ipix))
    if len(start) and start.min() < 0:
        row = int(np.argmax(start < 0))
        raise SkyMapError(f"row {row}: no pixel {ipix[row]} at order {order[row]}")
    return start


@njit(cache=True, nogil=True)
def _shift(order: npt.NDArray[np.int8], ipix: IntArray, lo: int, hi: int, start: IntArray) -> None:
    """First order-29 index of the tiles lo..hi; -1 where there is no such pixel."""
    for i in range(lo, hi):
        pixel = ipix[i]
        depth = np.int64(order[i])
        exists = 0 <= pixel < (np.int64(12) << (2 * depth))
        start[i] = pixel << (2 * (MAX_ORDER - depth)) if exists else -1


def _check_disjoint(start: IntArray, order: npt.NDArray[np.int8], notes: list[str]) -> None:
    """Refuse overlaps; note gaps."""
    row, covered = _first_overlap(start, order)
    if row >= 0:
        a, b = (
            f"order {order[i]} pixel {start[i] >> 2 * (29 - int(order[i]))}" for i in (row, row + 1)
        )
        raise SkyMapError(f"tiles overlap or repeat: {a} and {b}")
    if covered != NPIX_MAX:
        notes.append(f"covers {covered / NPIX_MAX:.6f} of the sky; density 0 elsewhere")


def _name(start: IntArray, order: npt.NDArray[np.int8], row: int) -> str:
    return f"order {order[row]} pixel {start[row] >> 2 * (MAX_ORDER - int(order[row]))}"


@njit(cache=True, nogil=True)
def _first_overlap(start: IntArray, order: npt.NDArray[np.int8]) -> tuple[int, np.int64]:
    """Row of the first tile that reaches into the next (-1: none), and the indices covered."""
    covered = np.int64(0)
    for i in range(len(start)):
        size = np.int64(1) << (2 * (MAX_ORDER - np.int64(order[i])))
        covered += size
        if i + 1 < len(start) and start[i] + size > start[i + 1]:
            return i, covered
    return -1, covered


def _mend_density(density: FloatArray, order: npt.NDArray[np.int8], notes: list[str]) -> FloatArray:
    """Finite, not negative, normalised."""
    wrong = ~np.isfinite(density)
    if wrong.any():
        raise SkyMapError(f"density of {int(wrong.sum())} tiles is not finite")
    peak = float(density.max())
    lowest = float(density.min())
    if lowest < 0.0:
        if peak <= 0.0 or lowest < -NEGATIVE_TOLERANCE * peak:
            raise SkyMapError(f"negative density {lowest:g} per sr (maximum {peak:g})")
        notes.append(f"{int((density < 0).sum())} tiles with density below 0 by rounding set to 0")
        density = np.maximum(density, 0.0)
    if peak <= 0.0:
        raise SkyMapError("the density is zero everywhere")
    # Scaled by the peak, so that neither tiny nor huge densities over- or underflow.
    weight = (density / peak) * _TILE_SR[order]
    total = float(weight.sum()) * peak
    if not (np.isfinite(total) and total > 0.0 and np.isfinite(1.0 / total)):
        raise SkyMapError(f"the probabilities sum to {total:g}")
    if abs(total - 1.0) > NORM_TOLERANCE:
        notes.append(f"normalised: the probabilities summed to {total:.9g}")
        density = density / total
    return density


def _mend_distances(
    columns: list[FloatArray],
    density: FloatArray,
    order: npt.NDArray[np.int8],
    notes: list[str],
) -> list[FloatArray]:
    """NaN in all three columns wherever one of them cannot be used."""
    mu, sigma, norm = columns
    state = np.empty(len(mu), np.int8)
    run_chunks(lambda lo, hi: mend_norms(mu, sigma, norm, lo, hi, state), len(mu))
    wrong, bad = state == NORM_RECOMPUTED, state == NORM_UNUSABLE
    if wrong.any():
        notes.append(f"DISTNORM of {int(wrong.sum())} tiles contradicts the others; recomputed")
    if bad.any():
        lost = float(np.sum((density * _TILE_SR[order])[bad]))
        notes.append(
            f"{int(bad.sum())} tiles with {lost:.3g} of the probability have no usable distance"
        )
        for column in columns:
            column[bad] = np.nan
    return columns
