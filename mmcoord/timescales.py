"""UTC to TAI and back, in the forms that the records use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

import erfa

__all__ = ["datetime_from_mjd_tai", "mjd_tai", "tai_minus_utc_s"]

_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)


@lru_cache(maxsize=4096)
def _offset_on(year: int, month: int, day: int) -> float:
    return float(erfa.dat(year, month, day, 0.0))


def tai_minus_utc_s(moment: datetime) -> float:
    """TAI - UTC in seconds on the UTC day of ``moment`` (37 s since 2017)."""
    utc = moment.astimezone(UTC)
    return _offset_on(utc.year, utc.month, utc.day)


def mjd_tai(moment: datetime) -> float:
    """MJD on the TAI scale of an aware ``datetime``."""
    utc = moment.astimezone(UTC)
    return (utc - _MJD_EPOCH + timedelta(seconds=tai_minus_utc_s(utc))) / timedelta(days=1)


def datetime_from_mjd_tai(mjd: float) -> datetime:
    """Aware UTC ``datetime`` of an MJD on the TAI scale (to the microsecond).

    Raises
    ------
    OverflowError
        Outside the years 1 to 9999.
    """
    tai = _MJD_EPOCH + timedelta(days=mjd)
    guess = tai - timedelta(seconds=tai_minus_utc_s(tai))
    return tai - timedelta(seconds=tai_minus_utc_s(guess))
