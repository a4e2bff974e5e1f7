"""Credible levels and areas in two dimensions.

The credible level of a position is the probability inside the smallest region that contains
it: the sum over all tiles that are at least as dense. Tiles of equal density share one
level, so that the answer depends on neither the sequence of the tiles nor how finely a
region of constant density is divided.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skymaps.skymap import SR_TO_DEG2, FloatArray, SkyMap, SkyMapError

__all__ = ["check_level", "credible_area_deg2", "searched_area_deg2", "tile_levels"]


def check_level(level: float) -> float:
    """A probability, or SkyMapError."""
    if not 0.0 <= level <= 1.0:  # false for NaN too
        raise SkyMapError(f"level {level!r} is not in [0, 1]")
    return float(level)


def tile_levels(skymap: SkyMap) -> FloatArray:
    """Credible level of each tile, in (0, 1]."""
    by_density = np.argsort(-skymap.density_sr, kind="stable")
    density = skymap.density_sr[by_density]
    cumulative = np.cumsum(skymap.probability[by_density])
    last_of_tie = np.append(density[1:] != density[:-1], True)
    last = np.flatnonzero(last_of_tie)
    group = np.cumsum(last_of_tie) - last_of_tie
    levels = np.empty(len(skymap))
    levels[by_density] = np.minimum(cumulative[last][group], 1.0)
    return levels


def credible_area_deg2(skymap: SkyMap, level: float) -> float:
    """Area of the smallest region that holds at least ``level`` of the probability.

    The tile that crosses the level is counted in part, in proportion to the probability
    needed from it; ``level`` 1 is all tiles of positive density.
    """
    check_level(level)
    by_density = np.argsort(-skymap.density_sr, kind="stable")
    probability = np.cumsum(skymap.probability[by_density])
    area = np.cumsum(skymap.area_sr[by_density])
    positive = int(np.count_nonzero(skymap.density_sr > 0.0))
    if level >= 1.0 or level >= probability[positive - 1]:
        return float(area[positive - 1]) * SR_TO_DEG2
    return float(np.interp(level, np.append(0.0, probability), np.append(0.0, area))) * SR_TO_DEG2


def searched_area_deg2(skymap: SkyMap, density_sr: npt.ArrayLike) -> FloatArray:
    """Area that is at least as dense as each given density: what is searched before a source
    there is found, its own tile and all of equal density included.

    Parameters
    ----------
    density_sr
        ``CrossMatch.prob_density_sr`` of the candidates; NaN gives NaN.
    """
    density = np.atleast_1d(np.asarray(density_sr, np.float64))
    ascending = np.argsort(skymap.density_sr, kind="stable")
    ordered = skymap.density_sr[ascending]
    # Area from tile k to the densest; gaps are as dense as density 0, last of all.
    area = np.append(np.cumsum(skymap.area_sr[ascending][::-1])[::-1], 0.0)
    area[0] = 4.0 * np.pi if ordered[0] == 0.0 else area[0]
    found = area[np.searchsorted(ordered, density, side="left")]
    found = np.where(density == 0.0, 4.0 * np.pi, found)
    return np.where(np.isnan(density), np.nan, found * SR_TO_DEG2)
