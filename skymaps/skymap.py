"""The one type of this package: a probability map of the sky made of HEALPix tiles."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "MAX_ORDER",
    "NPIX_MAX",
    "SR_TO_DEG2",
    "FloatArray",
    "IntArray",
    "SkyMap",
    "SkyMapError",
    "build_map",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MAX_ORDER = 29
"""Deepest HEALPix order whose nested indices fit in 64-bit integers."""
NPIX_MAX = 12 * 4**MAX_ORDER
"""Number of pixels at ``MAX_ORDER``; nested indices run from 0 up to, not including, this."""
SR_TO_DEG2 = (180.0 / np.pi) ** 2
NORM_TOLERANCE = 1e-6
"""A map whose sum is within this of one is taken as it is (float32 maps reach 1e-8)."""
NEGATIVE_TOLERANCE = 1e-7
"""Negative density down to this fraction of the maximum is float32 rounding, set to zero."""
DISTNORM_TOLERANCE = 1e-2
"""Relative disagreement of DISTNORM with DISTMU and DISTSIGMA that is worth a remark."""


class SkyMapError(ValueError):
    """A map that cannot be used, or a question that has no answer on it.

    The message says what is wrong and where (column, row, header keyword).
    """


@dataclass(frozen=True, eq=False)
class SkyMap:
    """Probability map of the sky: sorted, non-overlapping HEALPix tiles, never flattened.

    Arrays have one element per tile and are read-only. Tile ``i`` is the nested pixel
    ``start[i] >> 2 * (29 - order[i])`` of order ``order[i]`` and covers the order-29 indices
    ``start[i] <= index < end[i]``. Where no tile is, the density is zero.

    Make one with :func:`skymaps.load`, :func:`skymaps.from_circle` or
    :func:`skymaps.build_map`; these check what this constructor takes for granted.
    """

    start: IntArray
    """First nested index at order 29, ascending."""
    order: npt.NDArray[np.int8]
    """HEALPix order of the tile, 0 to 29."""
    density_sr: FloatArray
    """Probability per steradian, not negative; sums to one over the sky."""
    distmu_mpc: FloatArray | None = None
    """Location of p(r) = DISTNORM r^2 Normal(r; DISTMU, DISTSIGMA), r >= 0; NaN: no distance."""
    distsigma_mpc: FloatArray | None = None
    """Scale of the same; positive, NaN without distance."""
    distnorm_mpc2: FloatArray | None = None
    """Normalisation of the same in Mpc^-2; NaN without distance."""
    header: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """FITS keywords of the map that say where it comes from (INSTRUME, CREATOR, DISTMEAN ...)."""
    repairs: tuple[str, ...] = ()
    """What the loader had to mend, one sentence each; empty for a flawless map."""

    def __post_init__(self) -> None:
        for name in ("start", "order", "density_sr", "distmu_mpc", "distsigma_mpc"):
            array = getattr(self, name)
            if array is not None:
                array.flags.writeable = False
        if self.distnorm_mpc2 is not None:
            self.distnorm_mpc2.flags.writeable = False

    def __len__(self) -> int:
        return len(self.start)

    def __repr__(self) -> str:
        kind = "3D" if self.is_3d else "2D"
        return f"<SkyMap {kind} tiles={len(self)} orders={self.order.min()}..{self.order.max()}>"

    @property
    def is_3d(self) -> bool:
        """Whether the map has distance columns (whatever pipeline made it)."""
        return self.distmu_mpc is not None

    @cached_property
    def end(self) -> IntArray:
        """One past the last nested index at order 29 of each tile."""
        return self.start + (np.int64(1) << (2 * (MAX_ORDER - self.order.astype(np.int64))))

    @cached_property
    def area_sr(self) -> FloatArray:
        """Area of each tile."""
        return 4.0 * np.pi / 12.0 * np.exp2(-2.0 * self.order)

    @cached_property
    def probability(self) -> FloatArray:
        """Probability of each tile."""
        return self.density_sr * self.area_sr

    @cached_property
    def uniq(self) -> IntArray:
        """NUNIQ index of each tile: ``ipix + 4 * 4**order``."""
        order = self.order.astype(np.int64)
        return (self.start >> (2 * (MAX_ORDER - order))) + (np.int64(4) << (2 * order))

    @property
    def distances(self) -> tuple[FloatArray, FloatArray, FloatArray] | None:
        """(DISTMU, DISTSIGMA, DISTNORM) of a map in 3D, else None."""
        if self.distmu_mpc is None or self.distsigma_mpc is None or self.distnorm_mpc2 is None:
            return None
        return self.distmu_mpc, self.distsigma_mpc, self.distnorm_mpc2

    @cached_property
    def has_distance(self) -> npt.NDArray[np.bool_]:
        """Which tiles have a distance distribution."""
        if self.distmu_mpc is None:
            return np.zeros(len(self), bool)
        return np.isfinite(self.distmu_mpc)

    @cached_property
    def content_id(self) -> str:
        """SHA-256 (hex) of the tiles: equal for the same map, however it was carried."""
        digest = hashlib.sha256(b"skymaps 1\n")
        arrays = (self.density_sr, self.distmu_mpc, self.distsigma_mpc, self.distnorm_mpc2)
        digest.update(self.start.astype("<i8").tobytes())
        digest.update(self.order.astype("<i1").tobytes())
        for array in arrays:
            digest.update(b"-" if array is None else array.astype("<f8").tobytes())
        return digest.hexdigest()


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
    notes = list(repairs)
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
        header=MappingProxyType(dict(header or {})),
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
    end = start + (np.int64(1) << (2 * (MAX_ORDER - order)))
    overlap = end[:-1] > start[1:]
    if overlap.any():
        i = int(np.argmax(overlap))
        shift = 2 * (MAX_ORDER - order)
        raise SkyMapError(
            f"tiles overlap or repeat: order {order[i]} pixel {start[i] >> shift[i]} and "
            f"order {order[i + 1]} pixel {start[i + 1] >> shift[i + 1]}"
        )
    covered = float(np.sum(np.exp2(-2.0 * order)) / 12.0)
    if int(np.sum(end - start)) != NPIX_MAX:
        notes.append(f"covers {covered:.6f} of the sky; density 0 elsewhere")


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
    bad = ~(np.isfinite(mu) & np.isfinite(sigma) & np.isfinite(norm) & (sigma > 0) & (norm > 0))
    if bad.any():
        lost = float(np.sum((density * np.pi / 3.0 * np.exp2(-2.0 * order))[bad]))
        notes.append(
            f"{int(bad.sum())} tiles with {lost:.3g} of the probability have no usable distance"
        )
        mu, sigma, norm = (np.where(bad, np.nan, c) for c in (mu, sigma, norm))
    return [mu, sigma, norm]
