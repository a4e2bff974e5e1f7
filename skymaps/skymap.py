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
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MAX_ORDER = 29
"""Deepest HEALPix order whose nested indices fit in 64-bit integers."""
NPIX_MAX = 12 * 4**MAX_ORDER
"""Number of pixels at ``MAX_ORDER``; nested indices run from 0 up to, not including, this."""
SR_TO_DEG2 = (180.0 / np.pi) ** 2


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
