"""UTC and TAI, against astropy."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta

import pytest
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from mmcoord.timescales import (
    by_chance,
    datetime_from_mjd_tai,
    mjd_tai,
    tai_minus_utc_s,
    utc_mjd_to_tai,
)

MOMENTS = st.datetimes(
    min_value=datetime(1980, 1, 1),  # noqa: DTZ001  (hypothesis wants naive bounds)
    max_value=datetime(2026, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@given(MOMENTS)
def test_mjd_tai_agrees_with_astropy(moment: datetime) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = Time(moment, scale="utc").tai.mjd
    assert mjd_tai(moment) == pytest.approx(expected, abs=2e-11)


@given(MOMENTS)
def test_there_and_back_is_the_same_moment(moment: datetime) -> None:
    assert abs(datetime_from_mjd_tai(mjd_tai(moment)) - moment) < timedelta(microseconds=5)


@pytest.mark.parametrize(
    ("far_hz", "words"),
    [
        (1.0 / (12.0 * 365.25 * 86400.0), "12 years"),
        (1.0 / 86400.0, "0.0027 years"),
        (0.0, "1e+30"),
    ],
)
def test_a_false_alarm_rate_is_told_in_years(far_hz: float, words: str) -> None:
    assert by_chance(far_hz).startswith(f"by chance once in {words}")


def test_the_offset_is_37_s_since_2017() -> None:
    assert tai_minus_utc_s([57753.9, 57754.0, 90000.0]).tolist() == [36.0, 37.0, 37.0]


@given(st.floats(41317.0, 61000.0))
def test_mjd_utc_to_tai_agrees_with_astropy_on_leap_days_too(mjd: float) -> None:
    expected = Time(mjd, format="mjd", scale="utc").tai.mjd
    assert utc_mjd_to_tai(mjd) == pytest.approx(expected, abs=2e-11)
