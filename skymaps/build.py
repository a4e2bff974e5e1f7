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


def build_map(
    order: npt.ArrayLike,
    ipix: npt.ArrayLike,
    density_sr: npt.ArrayLike,
    distances: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike] | None = None,
    *,
    header: Mapping[str, Any] | None = None,
    repairs: tuple[str, ...] = (),
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

    Raises
    ------
    SkyMapError
        Tiles out of range, repeated or overlapping; density not finite or negative beyond
        rounding; nothing to normalise.
    """
    with np.errstate(all="ignore"):  # whatever is not finite is looked for explicitly
        return _build(order, ipix, density_sr, distances, header or {}, list(repairs))


def _build(
    order: npt.ArrayLike,
    ipix: npt.ArrayLike,
    density_sr: npt.ArrayLike,
    distances: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike] | None,
    header: Mapping[str, Any],
    notes: list[str],
) -> SkyMap:
    order64 = np.array(order, np.int64).ravel()
    ipix64 = np.array(ipix, np.int64).ravel()
    density = np.array(density_sr, np.float64).ravel()
    columns = [] if distances is None else [np.array(c, np.float64).ravel() for c in distances]
    if len({len(a) for a in (order64, ipix64, density, *columns)}) != 1:
        raise SkyMapError("columns of different lengths")
    if len(density) == 0:
        raise SkyMapError("a map without tiles")
    start = _order29_start(order64, ipix64)
    if not np.all(start[1:] > start[:-1]):
        by_start = np.argsort(start, kind="stable")
        start, order64, density = start[by_start], order64[by_start], density[by_start]
        columns = [c[by_start] for c in columns]
    _check_disjoint(start, order64, notes)
    density = _mend_density(density, order64, notes)
    if columns:
        columns = _mend_distances(columns, density, order64, notes)
    return SkyMap(
        start,
        order64.astype(np.int8),
        density,
        distmu_mpc=columns[0] if columns else None,
        distsigma_mpc=columns[1] if columns else None,
        distnorm_mpc2=columns[2] if columns else None,
        header=MappingProxyType(dict(header)),
        repairs=tuple(notes),
    )


def _order29_start(order: IntArray, ipix: IntArray) -> IntArray:
    """First order-29 index of each tile, after the check that the tiles exist."""
    wrong = (order < 0) | (order > MAX_ORDER)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise SkyMapError(f"row {row}: HEALPix order {order[row]} is not in 0..{MAX_ORDER}")
    wrong = (ipix < 0) | (ipix >= np.int64(12) << (2 * order))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise SkyMapError(f"row {row}: no pixel {ipix[row]} at order {order[row]}")
    return ipix << (2 * (MAX_ORDER - order))


def _check_disjoint(start: IntArray, order: IntArray, notes: list[str]) -> None:
    """Refuse overlaps; note gaps."""
    row, covered = _first_overlap(start, order)
    if row >= 0:
        a, b = (f"order {order[i]} pixel {start[i] >> 2 * (29 - order[i])}" for i in (row, row + 1))
        raise SkyMapError(f"tiles overlap or repeat: {a} and {b}")
    if covered != NPIX_MAX:
        notes.append(f"covers {covered / NPIX_MAX:.6f} of the sky; density 0 elsewhere")


@njit(cache=True, nogil=True)
def _first_overlap(start: IntArray, order: IntArray) -> tuple[int, int]:
    """Row of the first tile that reaches into the next (-1: none), and the indices covered."""
    covered = 0
    for i in range(len(start)):
        size = np.int64(1) << (2 * (MAX_ORDER - order[i]))
        covered += size
        if i + 1 < len(start) and start[i] + size > start[i + 1]:
            return i, covered
    return -1, covered


def _mend_density(density: FloatArray, order: IntArray, notes: list[str]) -> FloatArray:
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
    weight = (density / peak) * (np.pi / 3.0 * np.exp2(-2.0 * order))
    total = float(weight.sum()) * peak
    if not (np.isfinite(total) and total > 0.0 and np.isfinite(1.0 / total)):
        raise SkyMapError(f"the probabilities sum to {total:g}")
    if abs(total - 1.0) > NORM_TOLERANCE:
        notes.append(f"normalised: the probabilities summed to {total:.9g}")
        density = density / total
    return density


def _mend_distances(
    columns: list[FloatArray], density: FloatArray, order: IntArray, notes: list[str]
) -> list[FloatArray]:
    """NaN in all three columns wherever one of them cannot be used."""
    mu, sigma, norm = columns
    state = np.empty(len(mu), np.int8)
    run_chunks(lambda lo, hi: mend_norms(mu, sigma, norm, lo, hi, state), len(mu))
    wrong, bad = state == NORM_RECOMPUTED, state == NORM_UNUSABLE
    if wrong.any():
        notes.append(f"DISTNORM of {int(wrong.sum())} tiles contradicts the others; recomputed")
    if bad.any():
        lost = float(np.sum((density * np.pi / 3.0 * np.exp2(-2.0 * order))[bad]))
        notes.append(
            f"{int(bad.sum())} tiles with {lost:.3g} of the probability have no usable distance"
        )
        for column in columns:
            column[bad] = np.nan
    return columns
