"""UTC and TAI, in the forms that the records use. The one place that knows leap seconds.

They come from ERFA's table, valid from 1972; the last known one holds for ever after.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import erfa
import numpy as np
import numpy.typing as npt

__all__ = [
    "JULIAN_YEAR_S",
    "by_chance",
    "datetime_from_mjd_tai",
    "mjd_tai",
    "mjd_utc",
    "tai_minus_utc_s",
    "utc_mjd_to_tai",
]

JULIAN_YEAR_S = 365.25 * 86400.0
_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_MJD_OF_UNIX = 40587.0
_DAY_S = 86400.0


def by_chance(far_hz: float) -> str:
    """A false-alarm rate as a sentence's end: ``by chance once in 12 years``."""
    return f"by chance once in {1.0 / max(far_hz * JULIAN_YEAR_S, 1e-30):.2g} years"


@lru_cache(maxsize=1)
def _steps() -> tuple[list[float], list[float]]:
    """First MJD (UTC) of each step of TAI - UTC, and the step in seconds, since 1972."""
    table = erfa.leap_seconds.get()
    table = table[table["year"] >= 1972]
    _, starts = erfa.cal2jd(table["year"], table["month"], 1)
    return [float(start) for start in starts], [float(step) for step in table["tai_utc"]]


@lru_cache(maxsize=4096)
def _on_day(day: int) -> float:
    starts, offsets = _steps()
    return offsets[max(bisect_right(starts, day) - 1, 0)]


def tai_minus_utc_s(mjd: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """TAI - UTC in seconds at MJD UTC (37 s since 2017); any shape."""
    starts, offsets = _steps()
    at = np.asarray(mjd, np.float64)
    index = np.clip(np.searchsorted(np.array(starts), at, side="right") - 1, 0, None)
    return np.asarray(np.array(offsets)[index])


def utc_mjd_to_tai(mjd: float) -> float:
    """MJD on the UTC scale to MJD on TAI.

    On a day that ends with a leap second the fraction counts 86,401 s, as in ERFA's
    quasi-JD.
    """
    day = math.floor(mjd)
    length_s = _DAY_S + _on_day(day + 1) - _on_day(day)
    return day + ((mjd - day) * length_s + _on_day(day)) / _DAY_S


def mjd_utc(moment: datetime) -> float:
    """MJD on the UTC scale of an aware datetime (to 1 s on the day of a leap second).

    Raises
    ------
    ValueError
        The datetime has no zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    return _MJD_OF_UNIX + moment.timestamp() / _DAY_S


def mjd_tai(moment: datetime) -> float:
    """MJD on the TAI scale of an aware datetime; raises ValueError if it has no zone."""
    utc = mjd_utc(moment)
    offset = timedelta(seconds=_on_day(math.floor(utc)))
    return (moment.astimezone(UTC) - _MJD_EPOCH + offset) / timedelta(days=1)


def datetime_from_mjd_tai(mjd: float) -> datetime:
    """Aware UTC ``datetime`` of an MJD on the TAI scale (to the microsecond).

    Raises
    ------
    OverflowError
        Outside the years 1 to 9999.
    """
    guess = mjd - _on_day(math.floor(mjd)) / _DAY_S
    return _MJD_EPOCH + timedelta(days=mjd) - timedelta(seconds=_on_day(math.floor(guess)))
