"""Probability maps of the sky: load them, ask them, combine them, draw them.

Stands alone: an astronomer can use it without the daemon. ``docs/skymaps.md`` has the
definitions and the equations. Pictures are in :mod:`skymaps.picture` (matplotlib).
"""

from skymaps.active import ActiveMaps, ActiveMatches
from skymaps.build import build_map
from skymaps.circle import from_circle, from_ellipse
from skymaps.coincidence import (
    WINDOWS_S,
    TimeWindow,
    joint_far_space_time,
    joint_far_targeted,
    joint_far_untargeted,
)
from skymaps.credible import credible_area_deg2, searched_area_deg2
from skymaps.crossmatch import (
    CrossMatch,
    PreparedMap,
    match,
    match_distance_pdf,
    prepare,
    within,
)
from skymaps.distance import conditional_moments, distance_summary
from skymaps.draw import draw_position, draw_positions
from skymaps.healpix import order29_index
from skymaps.index import BulkMatches, CandidateIndex, IndexMatches
from skymaps.load import load, to_fits_bytes
from skymaps.overlap import (
    combined_map,
    overlap_integral,
    overlap_with_circle,
    overlap_with_point,
)
from skymaps.position_error import match_position_error
from skymaps.redshift import PLANCK15, FlatCosmology, redshift_distance
from skymaps.regions import (
    credible_region_polygons,
    region_moc,
    region_moc_json,
    region_tiles,
)
from skymaps.skymap import SkyMap, SkyMapError
from skymaps.table import TableSummary, match_table
from skymaps.volume import credible_volume_mpc3, searched_volume_mpc3

__all__ = [
    "PLANCK15",
    "WINDOWS_S",
    "ActiveMaps",
    "ActiveMatches",
    "BulkMatches",
    "CandidateIndex",
    "CrossMatch",
    "FlatCosmology",
    "IndexMatches",
    "PreparedMap",
    "SkyMap",
    "SkyMapError",
    "TableSummary",
    "TimeWindow",
    "build_map",
    "combined_map",
    "conditional_moments",
    "credible_area_deg2",
    "credible_region_polygons",
    "credible_volume_mpc3",
    "distance_summary",
    "draw_position",
    "draw_positions",
    "from_circle",
    "from_ellipse",
    "joint_far_space_time",
    "joint_far_targeted",
    "joint_far_untargeted",
    "load",
    "match",
    "match_distance_pdf",
    "match_position_error",
    "match_table",
    "order29_index",
    "overlap_integral",
    "overlap_with_circle",
    "overlap_with_point",
    "prepare",
    "redshift_distance",
    "region_moc",
    "region_moc_json",
    "region_tiles",
    "searched_area_deg2",
    "searched_volume_mpc3",
    "to_fits_bytes",
    "within",
]
