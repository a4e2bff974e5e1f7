"""Wide fields over a map: where to point, what each pointing covers, what is shared.

Each camera gets a grid of its own: rings of constant declination, a field's width apart, and
on each ring fields a width apart. A field is a square of the instrument's area, north up. The
map is cut into small pixels; those that lie in the same fields, of whatever camera, become one
**patch**, which is what the schedule counts once (:class:`followup.schedule.Cover`). What
others have covered already is taken off before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from followup.observability import unit_vectors
from followup.schedule import Cover
from followup.sites import Instrument
from skymaps import SkyMap
from skymaps.healpix import pixel_center
from skymaps.regions import region_tiles
from skymaps.skymap import MAX_ORDER

__all__ = [
    "Covered",
    "Fields",
    "Tiling",
    "field_corners",
    "lay_fields",
    "tile_map",
    "tiles_of",
]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_PIXELS_ACROSS = 12
"""Pixels across the narrowest field, at least: its edge is known to a few per cent."""
_MAX_PIXELS = 400_000


@dataclass(frozen=True, slots=True)
class Covered:
    """A field that somebody has observed, or will."""

    ra_deg: float
    dec_deg: float
    field_deg2: float
    detection: float
    """Chance that the source would have been seen there, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Grids of ``F`` fields over a map cut into ``N`` pixels: what does not change by the hour."""

    places: Float
    """(N, 3) unit vectors."""
    weight: Float
    """(N,) probability of the map."""
    tree: cKDTree
    """Of ``places``."""
    instrument: Int
    """(F,) index into the instruments asked for."""
    ra_deg: Float
    dec_deg: Float
    members: tuple[npt.NDArray[np.int32], ...]
    """(F,) the pixels in each field; instruments with fields of one size share them."""
    held: Float
    """(F,) probability in each field, whoever has covered it."""

    @property
    def n_bytes(self) -> int:
        """Memory that it takes, about: the tree holds as much as ``places`` again."""
        each = {id(some): some.nbytes for some in self.members}
        return 2 * self.places.nbytes + self.weight.nbytes + sum(each.values())


@dataclass(frozen=True, slots=True)
class Tiling:
    """``P`` fields of several instruments, and the patches that they cover."""

    instrument: Int
    """(P,) index into the instruments asked for."""
    ra_deg: Float
    dec_deg: Float
    held: Float
    """(P,) probability of the map within each field."""
    probability: Float
    """(P,) the same, less what is covered already."""
    cover: Cover
    """Shares of each field's probability by patch."""
    patch_probability: Float
    """(G,)"""
    outside: float
    """Probability that lies in none of the fields, or is covered already."""


def tile_map(
    skymap: SkyMap,
    instruments: Sequence[Instrument],
    *,
    level: float = 0.95,
    covered: Sequence[Covered] = (),
    least: float = 1e-4,
) -> Tiling:
    """Fields of every instrument over the credible region of ``level``.

    Fields that hold less than ``least`` are left out.

    Raises
    ------
    ValueError
        A field wider than 60 deg.
    """
    return tiles_of(lay_fields(skymap, instruments, level=level), covered=covered, least=least)


def lay_fields(
    skymap: SkyMap,
    instruments: Sequence[Instrument],
    *,
    level: float = 0.95,
    max_pixels: int = _MAX_PIXELS,
) -> Fields:
    """The grids of every instrument over the credible region of ``level``.

    Raises
    ------
    ValueError
        A field wider than 60 deg.
    """
    ra, dec, weight = _pixels(skymap, level, instruments, max_pixels)
    places = unit_vectors(ra, dec)
    tree = cKDTree(places)
    which: list[int] = []
    centres: list[tuple[float, float]] = []
    members: list[npt.NDArray[np.int32]] = []
    laid: dict[float, list[tuple[tuple[float, float], npt.NDArray[np.int32]]]] = {}
    for number, instrument in enumerate(instruments):
        size = instrument.field_deg2
        if size not in laid:
            laid[size] = _fields_of(size, places, tree, dec)
        for centre, some in laid[size]:
            which.append(number)
            centres.append(centre)
            members.append(some)
    return Fields(
        places=places,
        weight=weight,
        tree=tree,
        instrument=np.array(which, np.int64),
        ra_deg=np.array([c[0] for c in centres]),
        dec_deg=np.array([c[1] for c in centres]),
        members=tuple(members),
        held=np.array([weight[some].sum() for some in members]),
    )


def _fields_of(
    field_deg2: float, places: Float, tree: cKDTree, dec_deg: Float
) -> list[tuple[tuple[float, float], npt.NDArray[np.int32]]]:
    """Centres (ra, dec) of the fields of one size that hold any pixels, and those."""
    width = _width_deg(field_deg2)
    grid = np.array(_grid(dec_deg, width)).reshape(-1, 2)
    near = tree.query_ball_point(unit_vectors(*grid.T), np.radians(width) * 0.75)
    laid = []
    for (ra, dec), found in zip(grid.tolist(), near, strict=True):
        if not found:
            continue
        some = np.sort(np.array(found, np.int32))
        some = some[_inside(places[some], ra, dec, field_deg2)]
        if len(some):
            laid.append(((ra, dec), some))
    return laid


def tiles_of(
    fields: Fields,
    *,
    covered: Sequence[Covered] = (),
    least: float = 1e-4,
    most: int | None = None,
) -> Tiling:
    """The fields that are worth having, given what is covered; ``most``: of each instrument."""
    weight = fields.weight
    for one in covered:
        half_diagonal = np.radians(_width_deg(one.field_deg2)) * 0.75
        near = fields.tree.query_ball_point(unit_vectors(one.ra_deg, one.dec_deg), half_diagonal)
        some = np.array(sorted(near), np.int64)
        some = some[_inside(fields.places[some], one.ra_deg, one.dec_deg, one.field_deg2)]
        if weight is fields.weight:
            weight = weight.copy()
        weight[some] *= 1.0 - one.detection
    left = np.array([weight[some].sum() for some in fields.members])
    kept = np.flatnonzero(left >= least)
    if most is not None:
        kept = kept[np.argsort(-left[kept], kind="stable")]
        # The rank of each field among those of its instrument, the fullest first.
        place = np.zeros(len(kept), np.int64)
        for number in np.unique(fields.instrument[kept]):
            its = np.flatnonzero(fields.instrument[kept] == number)
            place[its] = np.arange(len(its))
        kept = np.sort(kept[place < most])
    cover, patches = _patches([fields.members[n] for n in kept.tolist()], weight)
    return Tiling(
        instrument=fields.instrument[kept],
        ra_deg=fields.ra_deg[kept],
        dec_deg=fields.dec_deg[kept],
        held=fields.held[kept],
        probability=left[kept],
        cover=cover,
        patch_probability=patches,
        outside=1.0 - float(patches.sum()),
    )


def field_corners(ra_deg: float, dec_deg: float, field_deg2: float) -> Float:
    """(4, 2) right ascension and declination of a field's corners, deg."""
    half = np.tan(np.radians(_width_deg(field_deg2)) / 2.0)
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    ahead = unit_vectors(ra_deg, dec_deg)
    east = np.array([-np.sin(ra), np.cos(ra), 0.0])
    north = np.array([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)])
    sides = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], np.float64) * half
    corners = ahead + sides[:, :1] * east + sides[:, 1:] * north
    lat = np.arctan2(corners[:, 2], np.hypot(corners[:, 0], corners[:, 1]))
    lon = np.arctan2(corners[:, 1], corners[:, 0])
    corners_deg: Float = np.degrees(np.stack([lon % (2.0 * np.pi), lat], axis=1))
    return corners_deg


def _width_deg(field_deg2: float) -> float:
    width = float(np.sqrt(field_deg2))
    if width > 60.0:
        raise ValueError(f"field of {field_deg2:g} deg2: wider than 60 deg")
    return width


def _pixels(
    skymap: SkyMap, level: float, instruments: Sequence[Instrument], max_pixels: int
) -> tuple[Float, Float, Float]:
    """Centres and probabilities of equal pixels over the credible region."""
    narrowest = min((i.field_deg2 for i in instruments), default=1.0)
    wanted = np.log2(58.6 * _PIXELS_ACROSS / np.sqrt(narrowest))  # 58.6 deg: a base pixel
    tiles = region_tiles(skymap, level)
    region_deg2 = float(skymap.area_sr[tiles].sum()) * (180.0 / np.pi) ** 2
    most = np.log2(max_pixels / max(region_deg2, 1e-9) * 41253.0 / 12.0) / 2.0
    order = int(np.clip(np.ceil(min(wanted, most)), 0, 20))
    depth = skymap.order[tiles].astype(np.int64)
    first = skymap.start[tiles] >> (2 * (MAX_ORDER - order))
    count = np.where(depth < order, 4 ** np.maximum(order - depth, 0), 1)
    step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    pixel = np.repeat(first, count) + step
    weight = np.repeat(skymap.probability[tiles] / count, count)
    unique, inverse = np.unique(pixel, return_inverse=True)
    ra, dec = pixel_center(np.full(len(unique), order), unique)
    return ra, dec, np.bincount(inverse, weight, len(unique)).astype(np.float64)


def _grid(dec_deg: Float, width: float) -> list[tuple[float, float]]:
    """Centres of the rings that the declinations touch; rings start at the south pole."""
    if not len(dec_deg):
        return []
    n_rings = int(np.ceil(180.0 / width))
    height = 180.0 / n_rings
    low = max(0, int((dec_deg.min() + 90.0) // height))
    high = min(n_rings - 1, int((dec_deg.max() + 90.0) // height))
    centres = []
    for ring in range(low, high + 1):
        dec = -90.0 + (ring + 0.5) * height
        # The ring's edge that is nearer to the equator is the longest.
        widest = np.cos(np.radians(max(abs(dec) - height / 2, 0.0)))
        n_fields = max(1, int(np.ceil(360.0 * widest / width)))
        centres += [(360.0 * i / n_fields, dec) for i in range(n_fields)]
    return centres


def _inside(places: Float, ra_deg: float, dec_deg: float, field_deg2: float) -> Flags:
    """Whether unit vectors (N, 3) lie within a square field, in its tangent plane."""
    half = np.tan(np.radians(_width_deg(field_deg2)) / 2.0)
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    ahead = places @ unit_vectors(ra_deg, dec_deg)
    east = places @ np.array([-np.sin(ra), np.cos(ra), 0.0])
    north = places @ np.array([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)])
    inside: Flags = (ahead > 0) & (np.abs(east) <= half * ahead) & (np.abs(north) <= half * ahead)
    return inside


def _patches(members: Sequence[npt.NDArray[np.int32]], weight: Float) -> tuple[Cover, Float]:
    """Pixels that lie in the same fields, put together."""
    # Each field in turn divides the patches that it cuts; label 0 lies in none.
    label = np.zeros(len(weight), np.int64)
    last = 0
    for pixels in members:
        old, place = np.unique(label[pixels], return_inverse=True)
        label[pixels] = last + 1 + place
        last += len(old)
    left, number = np.unique(label, return_inverse=True)
    total: Float = np.bincount(number, weight, len(left)).astype(np.float64)
    outside = int(len(left) > 0 and left[0] == 0)
    patches = total[outside:]
    goals = [np.unique(number[pixels]) - outside for pixels in members]
    first = np.concatenate([[0], np.cumsum([len(g) for g in goals])]).astype(np.int64)
    goal = np.concatenate([np.zeros(0, np.int64), *goals])
    whole = np.repeat([patches[some].sum() for some in goals], np.diff(first))
    return Cover(first, goal, patches[goal] / whole if len(goal) else np.zeros(0)), patches
