"""Credible regions: which tiles, and their outline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from skymaps.credible import check_level
from skymaps.healpix import point_on_tile
from skymaps.skymap import MAX_ORDER, FloatArray, IntArray, SkyMap, SkyMapError

if TYPE_CHECKING:
    from mocpy import MOC

__all__ = ["credible_region_polygons", "region_moc", "region_moc_json", "region_tiles"]

_NEIGHBOUR_ROWS = (0, 6, 4, 2)
"""Rows of healpy.get_all_neighbours behind the sides SW, SE, NE, NW."""
_CORNERS = ((0.0, 1.0), (0.0, 0.0), (1.0, 0.0), (1.0, 1.0))
"""West, south, east, north corner in (dx, dy); side k runs from corner k to corner k + 1."""


def region_tiles(skymap: SkyMap, level: float) -> IntArray:
    """Indices, ascending, of the tiles of the smallest region that holds at least ``level``.

    Raises
    ------
    SkyMapError
        ``level`` is not in [0, 1].
    """
    check_level(level)
    by_density = np.argsort(-skymap.density_sr, kind="stable")
    cumulative = np.cumsum(skymap.probability[by_density])
    positive = int(np.count_nonzero(skymap.density_sr > 0.0))
    count = min(int(np.searchsorted(cumulative, level, side="left")) + 1, positive)
    return np.sort(by_density[: count if level > 0.0 else 0])


def region_moc_json(skymap: SkyMap, level: float) -> dict[str, list[int]]:
    """The region as a Multi-Order Coverage map, JSON form: order -> nested pixels.

    IVOA MOC 2.0, section 4.3.2. Four complete siblings are one parent.
    """
    tiles = region_tiles(skymap, level)
    order = skymap.order[tiles].astype(np.int64)
    ipix = skymap.start[tiles] >> (2 * (MAX_ORDER - order))
    cells: dict[str, list[int]] = {}
    upward = np.empty(0, np.int64)
    for depth in range(int(order.max(initial=0)), -1, -1):
        here = np.sort(np.concatenate([ipix[order == depth], upward]))
        parents, count = np.unique(here >> 2, return_counts=True)
        upward = parents[count == 4] if depth else np.empty(0, np.int64)
        here = here[~np.isin(here >> 2, upward)] if depth else here
        if len(here):
            cells[str(depth)] = [int(pixel) for pixel in here]
    return dict(sorted(cells.items(), key=lambda item: int(item[0])))


def region_moc(skymap: SkyMap, level: float) -> MOC:
    """The region as a ``mocpy.MOC`` (needs the extra ``moc``)."""
    from mocpy import MOC

    return MOC.from_json(region_moc_json(skymap, level))


def credible_region_polygons(
    skymap: SkyMap, level: float, *, max_pixels: int = 20_000
) -> list[FloatArray]:
    """Outline of a credible region as closed rings.

    Each ring has shape (n, 2): right ascension and declination in deg, without repeating the
    first point. The region lies on one and the same side of every ring, so that outer
    outlines and holes turn in opposite senses. Regions of many tiles are outlined on the
    finest HEALPix grid on which they have at most ``max_pixels`` pixels.
    """
    order, pixels = _uniform_pixels(skymap, region_tiles(skymap, level), max_pixels)
    if len(pixels) == 0 or len(pixels) == 12 * 4**order:
        return []
    begin, end = _boundary_edges(order, pixels)
    return _chain(begin, end)


def _uniform_pixels(skymap: SkyMap, tiles: IntArray, max_pixels: int) -> tuple[int, IntArray]:
    """The region as pixels of one order: those at least half inside."""
    start, end = skymap.start[tiles], skymap.end[tiles]
    area = float(np.sum(end - start))
    finest = int(skymap.order[tiles].max(initial=0))
    order = finest
    while order > 0 and area / 4.0 ** (MAX_ORDER - order) > max_pixels:
        order -= 1
    shift = 2 * (MAX_ORDER - order)
    size = np.int64(1) << shift
    coarse = skymap.order[tiles] <= order
    counts = (end[coarse] - start[coarse]) >> shift
    first = np.repeat(start[coarse] >> shift, counts)
    inner = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    cells, where = np.unique(start[~coarse] >> shift, return_inverse=True)
    covered = np.bincount(where, weights=(end - start)[~coarse], minlength=len(cells))
    return order, np.sort(np.concatenate([first + inner, cells[covered >= 0.5 * size]]))


def _boundary_edges(order: int, pixels: IntArray) -> tuple[FloatArray, FloatArray]:
    """Sides between a pixel inside and one outside: (ra, dec) of both ends, shape (n, 2)."""
    import healpy

    around = np.asarray(healpy.get_all_neighbours(1 << order, pixels, nest=True), np.int64)
    begin, end = [], []
    for side, row in enumerate(_NEIGHBOUR_ROWS):
        for pixel in pixels[~np.isin(around[row], pixels)]:
            begin.append(point_on_tile(order, pixel, *_CORNERS[side]))
            end.append(point_on_tile(order, pixel, *_CORNERS[(side + 1) % 4]))
    return np.array(begin), np.array(end)


def _vertex_names(points: FloatArray) -> npt.NDArray[np.int64]:
    """One number for each distinct point; computed ends of one corner differ by rounding."""
    from scipy.spatial import cKDTree

    ra, dec = np.radians(points).T
    xyz = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    names = np.arange(len(points))
    pairs = cKDTree(xyz).query_pairs(1e-10, output_type="ndarray")
    np.minimum.at(names, pairs.max(axis=1), pairs.min(axis=1))
    return names


def _chain(begin: FloatArray, end: FloatArray) -> list[FloatArray]:
    """Join directed edges to rings."""
    n = len(begin)
    names = _vertex_names(np.concatenate([begin, end]))
    leaving: dict[int, list[int]] = {}
    for edge in range(n):
        leaving.setdefault(int(names[edge]), []).append(edge)
    rings = []
    while leaving:
        home, edges = next(iter(leaving.items()))
        ring = []
        at = home
        while True:
            edges = leaving.get(at)  # type: ignore[assignment]
            if not edges:
                raise SkyMapError("the outline of the region does not close")
            edge = edges.pop()
            if not edges:
                del leaving[at]
            ring.append(begin[edge])
            at = int(names[n + edge])
            if at == home:
                break
        rings.append(np.array(ring))
    return rings
