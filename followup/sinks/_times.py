"""From the time scale of the photometry (TAI) to the one that services speak (UTC)."""

from __future__ import annotations

import erfa

__all__ = ["utc_of_mjd_tai"]

_MJD_ZERO_JD = 2400000.5


def utc_of_mjd_tai(mjd_tai: float) -> str:
    """ISO 8601 UTC with microseconds and ``Z`` of a TAI MJD.

    Through ``erfa.taiutc``, whose leap seconds are those of the installed pyerfa.
    """
    utc1, utc2 = erfa.taiutc(_MJD_ZERO_JD, mjd_tai)
    year, month, day, clock = erfa.d2dtf("UTC", 6, utc1, utc2)
    hour, minute, second, micro = (int(v) for v in clock.tolist())
    # A leap second (23:59:60) has no name in most services: the second before it stands in.
    second = min(second, 59)
    return (
        f"{int(year):04d}-{int(month):02d}-{int(day):02d}"
        f"T{hour:02d}:{minute:02d}:{second:02d}.{micro:06d}Z"
    )
