"""The lines about a plan that people read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from followup.sinks._plan_json import iso_utc, summary_line, table_line
from followup.sinks._times import utc_of_mjd_tai
from tests.sinks.sample import EVENT, outgoing, row

YEAR_S = 365.25 * 86400.0


def test_an_event_in_one_line() -> None:
    assert summary_line(replace(outgoing((row(1),)), far_hz=1.0 / (100.0 * YEAR_S))) == (
        f"{EVENT} (BNS 98%, Terrestrial 2%; 40 +/- 8 Mpc; 90% area 32 deg2; "
        "one false alarm in 100 yr)"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.0, "1 s"),
        (7200.0, "2 h"),
        (40 * 86400.0, "40 d"),
        (364.0 * 86400.0, "364 d"),
        (YEAR_S, "1 yr"),
        (250.0 * YEAR_S, "250 yr"),
    ],
)
def test_a_false_alarm_rate_is_told_as_a_waiting_time(seconds: float, text: str) -> None:
    line = summary_line(replace(outgoing(()), far_hz=1.0 / seconds))
    assert line.endswith(f"one false alarm in {text})")


def test_a_row_that_knows_nothing_says_so() -> None:
    bare = replace(row(1), p_kilonova=None, instrument=None, band=None, exposure_s=None)
    assert table_line(bare).endswith("P(KN) -  -")


@pytest.mark.parametrize(
    ("mjd_tai", "utc"),
    [
        # TAI - UTC: 37 s since 2017-01-01, 36 s from 2015-07-01, 32 s in 2000
        (60000.0, "2023-02-24T23:59:23.000000Z"),
        (57753.0, "2016-12-30T23:59:24.000000Z"),
        (51544.5, "2000-01-01T11:59:28.000000Z"),
        (60000.000001, "2023-02-24T23:59:23.086400Z"),
    ],
)
def test_times_of_photometry_become_utc(mjd_tai: float, utc: str) -> None:
    got = utc_of_mjd_tai(mjd_tai)
    assert got[:19] == utc[:19]
    assert float(got[19:-1]) == pytest.approx(float(utc[19:-1]), abs=2e-6)


def test_a_time_without_value_stays_without() -> None:
    assert iso_utc(None) is None
