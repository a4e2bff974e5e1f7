"""What is gathered from the records, and the clocks it depends on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from astropy.time import Time

from followup.evidence import gather
from mmcoord.records import Candidate, Match, Photometry
from mmcoord.timescales import mjd_tai, mjd_utc, tai_minus_utc_s

EVENT = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
T0 = mjd_tai(EVENT)
CANDIDATE = Candidate("a", 10.0, -20.0, "test")


def seen(day: float, mag: float = 20.0, band: str = "lsst:r") -> Photometry:
    return Photometry("a", T0 + day, band, mag, 0.1)


def limit(day: float) -> Photometry:
    return Photometry("a", T0 + day, "lsst:r", 22.0, None, is_limit=True)


@pytest.mark.parametrize(
    "moment",
    [datetime(2015, 7, 1, 1, tzinfo=UTC), datetime(2017, 8, 17, 12, 41, 4, tzinfo=UTC), EVENT],
)
def test_times_are_astropys(moment: datetime) -> None:
    oracle = Time(moment)
    assert mjd_utc(moment) == pytest.approx(oracle.mjd, abs=1e-9)
    assert mjd_tai(moment) == pytest.approx(oracle.tai.mjd, abs=1e-9)


def test_leap_seconds_change_at_midnight_of_their_day() -> None:
    assert tai_minus_utc_s(np.array([57753.9, 57754.0, 70000.0])).tolist() == [36.0, 37.0, 37.0]


def test_a_zone_other_than_utc_is_the_same_instant_and_no_zone_is_refused() -> None:
    assert mjd_utc(EVENT.astimezone(timezone(timedelta(hours=-3)))) == mjd_utc(EVENT)
    with pytest.raises(ValueError, match="no time zone"):
        mjd_utc(EVENT.replace(tzinfo=None))


def test_first_latest_and_last_limit_are_found_in_any_order() -> None:
    points = [seen(2.0, 21.0, "lsst:i"), limit(-3.0), seen(1.0), limit(0.5), limit(1.5)]
    for order in (points, points[::-1]):
        evidence = gather(CANDIDATE, None, order, event_time=EVENT)
        assert evidence.first_detection_mjd_tai == T0 + 1.0
        assert evidence.last_nondetection_mjd_tai == T0 + 0.5
        assert (evidence.latest_mag, evidence.latest_band) == (21.0, "lsst:i")
        assert evidence.latest_mjd_tai == T0 + 2.0


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([seen(-1.0), seen(1.0)], True),
        ([limit(-1.0), seen(1.0)], False),
        ([limit(-1.0)], False),
        ([seen(1.0)], None),
        ([limit(0.5), seen(1.0)], None),
        ([], None),
    ],
)
def test_history_before_the_event_is_yes_no_or_not_known(
    points: list[Photometry], expected: bool | None
) -> None:
    assert gather(CANDIDATE, None, points, event_time=EVENT).detected_before_event is expected
    assert gather(CANDIDATE, None, points, event_time=None).detected_before_event is None


def test_a_match_gives_place_and_distance_and_none_gives_not_known() -> None:
    match = Match("S1", "m", "a", 3.0, 0.4, 1e-6, 0.6, 120.0, 30.0, None)
    evidence = gather(
        CANDIDATE, match, [], event_time=EVENT, p_kilonova=0.3, p_kilonova_origin="screen"
    )
    assert (evidence.credible_level_2d, evidence.credible_level_3d) == (0.4, 0.6)
    assert (evidence.distance_mean_mpc, evidence.distance_std_mpc) == (120.0, 30.0)
    assert (evidence.p_kilonova, evidence.p_kilonova_origin) == (0.3, "screen")
    bare = gather(CANDIDATE, None, [], event_time=EVENT)
    assert bare.credible_level_2d is None
    assert bare.p_kilonova is None
