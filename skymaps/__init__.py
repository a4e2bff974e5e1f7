"""Probability maps of the sky: load them, ask them, combine them, draw them.

Stands alone: an astronomer can use it without the daemon. ``docs/skymaps.md`` has the
definitions and the equations.
"""

from skymaps.circle import from_circle, from_ellipse
from skymaps.credible import credible_area_deg2
from skymaps.crossmatch import CrossMatch, PreparedMap, match, prepare
from skymaps.distance import conditional_moments, distance_summary
from skymaps.draw import draw_position, draw_positions
from skymaps.healpix import order29_index
from skymaps.load import load, to_fits_bytes
from skymaps.regions import credible_region_polygons, region_tiles
from skymaps.skymap import SkyMap, SkyMapError, build_map

__all__ = [
    "CrossMatch",
    "PreparedMap",
    "SkyMap",
    "SkyMapError",
    "build_map",
    "conditional_moments",
    "credible_area_deg2",
    "credible_region_polygons",
    "distance_summary",
    "draw_position",
    "draw_positions",
    "from_circle",
    "from_ellipse",
    "load",
    "match",
    "order29_index",
    "prepare",
    "region_tiles",
    "to_fits_bytes",
]
