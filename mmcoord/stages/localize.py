"""Sky maps in the house: loading, keeping them prepared, asking them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

import skymaps
from mmcoord.errors import BadNotice
from mmcoord.kept import Kept
from mmcoord.records import ErrorRegion
from skymaps import CrossMatch, PreparedMap, SkyMap, SkyMapError
from skymaps.redshift import redshift_distance

__all__ = [
    "CrossMatch",
    "Localization",
    "PreparedMap",
    "cross_match",
    "distances",
    "forget",
    "from_region",
    "load",
    "measured",
    "prepared",
    "prepared_within",
    "warm_up",
]

_NAN = float("nan")
_MAX_RATIO = 8.0
"""Axes of an ellipse. The tiles grow with it: 21 takes a second, 100 fourteen and 2 million
tiles. A narrower one is widened, which is the careful side, and says so."""
_FRESH = 8
_FRESH_BYTES = 16_000_000
"""Whole maps: between their arrival and the first match."""
_KEEP = 1024
_KEEP_BYTES = 64_000_000
"""Parts of maps that are matched. Every batch of candidates may ask for each active one, so that
with less than these need they would be made again and again. 85 B a tile, 20 to 100 kB for 3D."""
FloatArray = npt.NDArray[np.float64]

_prepared: Kept[PreparedMap] = Kept(
    _FRESH, most_bytes=_FRESH_BYTES, n_bytes=lambda ready: ready.n_bytes
)
_within: Kept[PreparedMap] = Kept(_KEEP, most_bytes=_KEEP_BYTES, n_bytes=lambda cut: cut.n_bytes)


@dataclass(frozen=True, slots=True)
class Localization:
    """A sky map as the store keeps it."""

    id: str
    fits: bytes
    is_3d: bool
    n_tiles: int
    area_50_deg2: float
    area_90_deg2: float
    distance_mpc: float | None
    distance_std_mpc: float | None
    repairs: tuple[str, ...]
    outlines: dict[str, Any] = field(default_factory=dict)


def load(fits: bytes, *, where: str, max_bytes: int | None = None) -> Localization:
    """Read and measure a map; ``max_bytes`` bounds what it may inflate to.

    Raises
    ------
    BadNotice
        The map cannot be used; the message says what is wrong with it.
    """
    try:
        bound = {} if max_bytes is None else {"max_bytes": max_bytes}
        return _measured(skymaps.load(fits, **bound), fits)
    except SkyMapError as error:
        raise BadNotice(str(error), where=where) from error


def from_region(region: ErrorRegion) -> Localization:
    """The map of a notice that carries a circle or an ellipse instead of one.

    Raises
    ------
    BadNotice
        No such map: far too small, or less inside than on a uniform sky.
    """
    minor_deg = max(region.semi_minor_deg, region.semi_major_deg / _MAX_RATIO)
    try:
        skymap = skymaps.from_ellipse(
            region.ra_deg,
            region.dec_deg,
            region.semi_major_deg,
            minor_deg,
            region.position_angle_deg,
            region.containment,
        )
    except SkyMapError as error:
        raise BadNotice(str(error), where="region") from error
    found = measured(skymap)
    if minor_deg == region.semi_minor_deg:
        return found
    widened = f"ellipse widened from {region.semi_minor_deg:g} to {minor_deg:g} deg"
    return replace(found, repairs=(*found.repairs, widened))


def warm_up() -> None:
    """Load the compiled kernels on a small map: the first alert does not wait for them."""
    circle = skymaps.from_circle(10.0, 20.0, 5.0)
    tiles = len(circle)
    ipix = circle.start >> (2 * (29 - circle.order.astype(np.int64)))
    distances = (np.full(tiles, 40.0), np.full(tiles, 8.0), np.full(tiles, 6.0e-4))
    made = skymaps.build_map(circle.order, ipix, circle.density_sr, distances)
    load(skymaps.to_fits_bytes(made), where="warm_up")


def measured(skymap: SkyMap) -> Localization:
    """A map that was made here, ready for the store."""
    return _measured(skymap, skymaps.to_fits_bytes(skymap))


def _measured(skymap: SkyMap, fits: bytes) -> Localization:
    ready = skymaps.prepare(skymap)
    _prepared.put(skymap.content_id, ready)
    mean, std = _distance(skymap)
    return Localization(
        id=skymap.content_id,
        fits=fits,
        is_3d=skymap.is_3d,
        n_tiles=len(skymap.start),
        area_50_deg2=skymaps.credible_area_deg2(skymap, 0.5),
        area_90_deg2=skymaps.credible_area_deg2(skymap, 0.9),
        distance_mpc=mean,
        distance_std_mpc=std,
        repairs=skymap.repairs,
        outlines={
            str(level): [
                [[round(ra, 4), round(dec, 4)] for ra, dec in ring]
                for ring in skymaps.credible_region_polygons(skymap, level)
            ]
            for level in (0.5, 0.9)
        },
    )


def _distance(skymap: SkyMap) -> tuple[float | None, float | None]:
    if not skymap.is_3d:
        return None, None
    mean, std = skymaps.distance_summary(skymap)
    return (mean, std) if np.isfinite(mean) and np.isfinite(std) else (None, None)


def prepared(localization_id: str, fits: Callable[[], bytes]) -> PreparedMap:
    """The map ready for matching, from memory or from its stored bytes."""
    return _prepared.get(localization_id, lambda: skymaps.prepare(skymaps.load(fits())))


def prepared_within(localization_id: str, fits: Callable[[], bytes], level: float) -> PreparedMap:
    """The map ready for matching out to a credible level, which is all that is kept of it."""

    def cut() -> PreparedMap:
        found = skymaps.within(prepared(localization_id, fits), level)
        _prepared.drop(localization_id)
        return found

    return _within.get((localization_id, level), cut)


def forget(localization_id: str, level: float) -> None:
    """Hold a map no longer: a revision has taken its place. It can be prepared again."""
    _prepared.drop(localization_id)
    _within.drop((localization_id, level))


def cross_match(
    ready: PreparedMap,
    ra_deg: FloatArray,
    dec_deg: FloatArray,
    distance_mpc: FloatArray,
    distance_err_mpc: FloatArray,
) -> CrossMatch:
    """Candidates against a map; see :func:`skymaps.match`. NaN distance: not known."""
    below, above = distance_err_mpc
    return skymaps.match(ready, ra_deg, dec_deg, distance_mpc, (below, above))


def distances(
    redshift: Sequence[float | None],
    redshift_err: Sequence[float | None],
    attributes: Sequence[Mapping[str, Any]],
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Luminosity distances and their errors below and above in Mpc; NaN where not known.

    A distance that the broker gives (``distance_mpc``, ``distance_err_mpc``) goes before one
    from the redshift (:func:`skymaps.redshift.redshift_distance`).
    """
    mean, below, above = redshift_distance(_column(redshift), _column(redshift_err))
    given = _column([_positive(a.get("distance_mpc")) for a in attributes])
    error = _column([_positive(a.get("distance_err_mpc")) for a in attributes])
    has = np.isfinite(given)
    error = np.nan_to_num(error, nan=0.0)
    return np.where(has, given, mean), np.where(has, error, below), np.where(has, error, above)


def _column(values: Sequence[float | None]) -> FloatArray:
    return np.array([_NAN if value is None else value for value in values], dtype=np.float64)


def _positive(value: Any) -> float | None:
    return value if isinstance(value, float) and value > 0 else None
