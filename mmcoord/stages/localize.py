"""Sky maps in the house: loading, keeping them prepared, asking them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

import skymaps
from mmcoord.errors import BadNotice
from mmcoord.records import ErrorRegion
from skymaps import CrossMatch, PreparedMap, SkyMap, SkyMapError

__all__ = [
    "CrossMatch",
    "Localization",
    "PreparedMap",
    "cross_match",
    "distance_from_redshift",
    "from_region",
    "load",
    "prepared",
]

_NAN = float("nan")
_KEEP = 32
"""Prepared maps held in memory (about 10 MB each)."""
_PECULIAR_KM_S = 300.0
_SPEED_OF_LIGHT_KM_S = 299792.458

_cache: OrderedDict[str, PreparedMap] = OrderedDict()
_cache_lock = threading.Lock()


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


def load(fits: bytes, *, where: str) -> Localization:
    """Read and measure a map.

    Raises
    ------
    BadNotice
        The map cannot be used; the message says what is wrong with it.
    """
    try:
        return _measured(skymaps.load(fits), fits)
    except SkyMapError as error:
        raise BadNotice(str(error), where=where) from error


def from_region(region: ErrorRegion) -> Localization:
    """The map of a notice that carries a circle or an ellipse instead of one."""
    skymap = skymaps.from_ellipse(
        region.ra_deg,
        region.dec_deg,
        region.semi_major_deg,
        region.semi_minor_deg,
        region.position_angle_deg,
        region.containment,
    )
    return _measured(skymap, skymaps.to_fits_bytes(skymap))


def _measured(skymap: SkyMap, fits: bytes) -> Localization:
    ready = skymaps.prepare(skymap)
    _remember(skymap.content_id, ready)
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
    with _cache_lock:
        if localization_id in _cache:
            _cache.move_to_end(localization_id)
            return _cache[localization_id]
    ready = skymaps.prepare(skymaps.load(fits()))
    _remember(localization_id, ready)
    return ready


def _remember(localization_id: str, ready: PreparedMap) -> None:
    with _cache_lock:
        _cache[localization_id] = ready
        _cache.move_to_end(localization_id)
        while len(_cache) > _KEEP:
            _cache.popitem(last=False)


def cross_match(
    ready: PreparedMap,
    ra_deg: npt.NDArray[np.float64],
    dec_deg: npt.NDArray[np.float64],
    distance_mpc: npt.NDArray[np.float64],
    distance_err_mpc: npt.NDArray[np.float64],
) -> CrossMatch:
    """Candidates against a map; see :func:`skymaps.match`. NaN distance: not known."""
    return skymaps.match(ready, ra_deg, dec_deg, distance_mpc, distance_err_mpc)


def distance_from_redshift(
    redshift: float | None, redshift_err: float | None
) -> tuple[float, float]:
    """Luminosity distance and error in Mpc (Planck 2018, 300 km/s peculiar velocity), or NaN."""
    if redshift is None or redshift <= 0:
        return _NAN, _NAN
    from astropy.cosmology import Planck18

    mean = float(Planck18.luminosity_distance(redshift).value)
    error_z = float(np.hypot(redshift_err or 0.0, _PECULIAR_KM_S / _SPEED_OF_LIGHT_KM_S))
    return mean, mean * error_z / redshift
