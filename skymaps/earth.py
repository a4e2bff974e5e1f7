"""Where a place on Earth is among the stars: geodetic coordinates to GCRS at an instant."""

from __future__ import annotations

import erfa
import numpy as np
import numpy.typing as npt

from skymaps.skymap import FloatArray

__all__ = ["LIGHT_M_S", "gcrs_position_m"]

LIGHT_M_S = 299_792_458.0
_MJD0 = 2_400_000.5
_WGS84 = 1
_TT_MINUS_UTC_DAY = 69.184 / 86_400.0
"""Since 2017; at most some 10 s from the truth since 1990."""


def gcrs_position_m(
    lon_deg: npt.ArrayLike, lat_deg: npt.ArrayLike, height_m: npt.ArrayLike, mjd_utc: float
) -> FloatArray:
    """Geocentric positions in GCRS axes, shape (n, 3).

    IAU 2006/2000A (SOFA ``c2t06a``). UT1 is taken as UTC and the pole as unmoved, which
    needs no tables: below 420 m (1.4 us of light) at the largest UT1 - UTC allowed, 0.9 s, and
    30 m at today's.

    Parameters
    ----------
    lon_deg, lat_deg, height_m
        Geodetic on WGS84, east and north positive.
    """
    itrs = erfa.gd2gc(
        _WGS84,
        np.radians(np.asarray(lon_deg, np.float64)),
        np.radians(np.asarray(lat_deg, np.float64)),
        np.asarray(height_m, np.float64),
    )
    # TT only drives precession and nutation, which minutes do not change.
    to_terrestrial = erfa.c2t06a(_MJD0, mjd_utc + _TT_MINUS_UTC_DAY, _MJD0, mjd_utc, 0.0, 0.0)
    return np.atleast_2d(np.asarray(itrs @ to_terrestrial))
