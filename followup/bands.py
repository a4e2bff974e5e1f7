"""Canonical passbands: where they lie, how the air dims them, which one stands in for which.

A canonical name is ``system:filter`` (``lsst:r``, ``ps1:i``, ``2mass:ks``). Effective
wavelengths are those of the filter curves in speclite 1.0 for an AB-flat source; ZTF's are
from Dekany et al. (2020, PASP 132, 038001).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from types import MappingProxyType

__all__ = ["EFFECTIVE_WAVELENGTH_NM", "MAX_BAND_OFFSET_DEX", "extinction_mag", "nearest_band"]

EFFECTIVE_WAVELENGTH_NM = MappingProxyType(
    {
        "2mass:h": 1651.0,
        "2mass:j": 1241.0,
        "2mass:ks": 2166.0,
        "bessell:b": 444.0,
        "bessell:i": 809.0,
        "bessell:r": 665.0,
        "bessell:u": 362.0,
        "bessell:v": 554.0,
        "decam:g": 489.0,
        "decam:i": 785.0,
        "decam:r": 647.0,
        "decam:u": 397.0,
        "decam:y": 989.0,
        "decam:z": 920.0,
        "euclid:h": 1786.0,
        "euclid:j": 1379.0,
        "euclid:y": 1089.0,
        "hsc:g": 484.0,
        "hsc:i": 777.0,
        "hsc:r": 626.0,
        "hsc:y": 979.0,
        "hsc:z": 891.0,
        "lsst:g": 485.0,
        "lsst:i": 758.0,
        "lsst:r": 625.0,
        "lsst:u": 375.0,
        "lsst:y": 977.0,
        "lsst:z": 869.0,
        "megacam:g": 482.0,
        "megacam:i": 772.0,
        "megacam:r": 643.0,
        "megacam:u": 369.0,
        "megacam:z": 901.0,
        "ps1:g": 490.0,
        "ps1:i": 756.0,
        "ps1:r": 624.0,
        "ps1:y": 965.0,
        "ps1:z": 869.0,
        "sdss:g": 475.0,
        "sdss:i": 753.0,
        "sdss:r": 621.0,
        "sdss:u": 361.0,
        "sdss:z": 895.0,
        "wise:w1": 3400.0,
        "wise:w2": 4652.0,
        "ztf:g": 475.0,
        "ztf:i": 783.0,
        "ztf:r": 637.0,
    }
)
"""Effective wavelength, nm, of the canonical bands narrow enough to stand in for each other.

The very broad ones (``gaia:*``, ``ps1:w``, ``euclid:vis``) are left out on purpose.
"""

MAX_BAND_OFFSET_DEX = 0.03
"""Bands farther apart than this in log10(wavelength) never stand in for each other.

LSST z to DECam z is 0.025 dex; DECam z to y, the closest neighbours of one survey, 0.031.
"""

_EXTINCTION = (
    # (upper edge nm, mag per airmass): Ivezic et al. (2019, ApJ 873, 111) table 2 up to y;
    # 0.1 beyond is our round figure for J, H, Ks.
    (430.0, 0.491),
    (550.0, 0.213),
    (690.0, 0.126),
    (815.0, 0.096),
    (930.0, 0.069),
    (1100.0, 0.170),
    (math.inf, 0.100),
)


def extinction_mag(band: str) -> float:
    """Atmospheric extinction of a canonical band, mag per unit airmass."""
    wavelength = EFFECTIVE_WAVELENGTH_NM[band]
    return next(k for edge, k in _EXTINCTION if wavelength < edge)


def nearest_band(band: str, available: Iterable[str]) -> str | None:
    """The band of ``available`` that is ``band`` or stands in for it, else None.

    Nearest in log wavelength among those within :data:`MAX_BAND_OFFSET_DEX`; ties go to the
    alphabetically first name. No colour term is applied. Names that are not canonical are
    passed over.
    """
    return _nearest(band, tuple(sorted(available)))


@functools.lru_cache(maxsize=4096)
def _nearest(band: str, names: tuple[str, ...]) -> str | None:
    if band in names:
        return band
    here = math.log10(EFFECTIVE_WAVELENGTH_NM[band])
    offsets = [
        (abs(math.log10(EFFECTIVE_WAVELENGTH_NM[name]) - here), name)
        for name in names
        if name in EFFECTIVE_WAVELENGTH_NM
    ]
    offset, name = min(offsets, default=(math.inf, ""))
    return name if offset <= MAX_BAND_OFFSET_DEX else None
