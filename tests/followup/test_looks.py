"""Cadence: an undecided target in two colours, twice; nobody else's time for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from followup.assign import Assigned, assign
from followup.evidence import Prediction, TargetEvidence
from followup.factors import RankSettings
from followup.looks import Cadence
from followup.rank import rank
from followup.sites import Band, Downtime, Instrument
from followup.slate import Slate
from mmcoord.records import PlanLook, PlanRow
from mmcoord.timescales import mjd_tai
from tests.followup.sample import instrument, target

EVENT = datetime(2026, 11, 8, 20, 0, tzinfo=UTC)
NOW = datetime(2026, 11, 9, 20, 0, tzinfo=UTC)
"""Before a night without a Moon; RA 60 deg passes the meridian of Paranal at 05:30."""
SETTINGS = RankSettings()
CADENCE = Cadence(targets=2, gap_h=4.0)
BANDS = (Band("r", "lsst:r", 22.0), Band("g", "lsst:g", 22.0), Band("i", "lsst:i", 22.0))


def steady(magnitude: float) -> Prediction:
    times = mjd_tai(NOW) + np.array([-2.0, 5.0])
    return Prediction(times, *([magnitude + more] * 2 for more in (-0.5, 0.0, 0.5)))


def open_for(minutes: int) -> tuple[Downtime, ...]:
    """Down but for some time from 05:00 on."""
    begin = NOW.replace(hour=4, minute=59) + timedelta(days=1)
    return (
        Downtime(NOW - timedelta(days=1), begin, "closed"),
        Downtime(begin + timedelta(minutes=minutes + 2), NOW + timedelta(days=2), "closed"),
    )


def camera(**changes: object) -> Instrument:
    return instrument(**{"bands": BANDS} | changes)


def undecided(object_id: str = "a", p: float = 0.5, **changes: object) -> TargetEvidence:
    """Brightest in i, so that the first look is in i and the other colour is g."""
    predicted = {"lsst:g": steady(21.5), "lsst:r": steady(21.2), "lsst:i": steady(20.0)}
    values = {
        "credible_level_2d": 0.1, "p_kilonova": p, "p_kilonova_origin": "inference",
        "predicted": predicted,
    }  # fmt: skip
    return target(object_id, **(values | changes))


def planned(
    targets: list[TargetEvidence],
    cameras: list[Instrument],
    cadence: Cadence | None = CADENCE,
    previous: tuple[PlanRow, ...] = (),
) -> Assigned:
    slate = Slate(keep=100, cadence=cadence)
    rows = rank(targets, event_time=EVENT, now=NOW, instruments=cameras, slate=slate)
    return assign(rows, slate, tolerance=SETTINGS.choice_tolerance, previous=previous)


def of(got: Assigned, object_id: str) -> PlanRow:
    return next(row for row in got.rows if row.object_id == object_id)


def by_role(row: PlanRow) -> dict[str, PlanLook]:
    return {look.role: look for look in row.looks}


def test_an_undecided_target_is_seen_in_two_colours_twice_four_hours_apart() -> None:
    row = of(planned([undecided()], [camera()]), "a")
    looks = by_role(row)
    assert row.band == "i"
    assert {role: look.band for role, look in looks.items()} == {
        "colour": "g",
        "again": "i",
        "colour again": "g",
    }
    assert row.start is not None
    hours = {role: (look.start - row.start) / timedelta(hours=1) for role, look in looks.items()}
    assert 0.0 <= hours["colour"] <= 1.0
    assert 4.0 <= hours["again"] <= 12.0
    assert 0.0 <= hours["colour again"] - hours["again"] <= 1.0
    assert [look.start for look in row.looks] == sorted(look.start for look in row.looks)
    assert looks["again"].predicted_mag == pytest.approx(20.0)
    assert ", 3 further looks, worth" in planned([undecided()], [camera()]).sentence


@pytest.mark.parametrize(
    "decided",
    [undecided(p=0.999), undecided(p=0.001), undecided(p_kilonova=None, p_kilonova_origin=None)],
)
def test_a_class_that_is_settled_or_unknown_gets_one_look(decided: TargetEvidence) -> None:
    assert of(planned([decided], [camera()]), "a").looks == ()
    assert of(planned([undecided()], [camera()], cadence=None), "a").looks == ()


def test_only_the_first_of_them_are_followed_so() -> None:
    targets = [undecided(f"t{n}", p=0.9 - 0.1 * n) for n in range(5)]
    got = planned(targets, [camera()], Cadence(targets=2))
    assert [bool(row.looks) for row in got.rows] == [True, True, False, False, False]


def test_a_look_waits_behind_the_first_look_at_another_target() -> None:
    """Two images fit. Half the worth of the better target is less than the whole of the other."""
    cameras = [camera(downtimes=open_for(30), max_exposure_s=300.0, min_exposure_s=300.0)]
    got = planned([undecided("a"), undecided("b", p=0.45)], cameras)
    assert of(got, "a").instrument == of(got, "b").instrument == "one-metre"
    assert of(got, "a").looks == of(got, "b").looks == ()
    # A target that is worth less than half leaves the time to the other's second colour.
    got = planned([undecided("a"), undecided("b", p=0.06)], cameras)
    assert [look.role for look in of(got, "a").looks] == ["colour"]
    assert of(got, "b").instrument is None


def test_where_only_one_colour_can_be_had_it_is_seen_again() -> None:
    row = of(planned([undecided()], [camera(bands=BANDS[2:])]), "a")
    assert [(look.role, look.band) for look in row.looks] == [("again", "i")]


def test_looks_stay_where_they_are_when_nothing_changes() -> None:
    targets = [undecided("a"), undecided("b", p=0.4)]
    first = planned(targets, [camera()])
    assert planned(targets, [camera()], previous=first.rows).rows == first.rows


def test_a_gap_that_no_plan_holds_leaves_the_first_look_alone() -> None:
    row = of(planned([undecided()], [camera()], Cadence(targets=1, gap_h=30.0)), "a")
    assert row.instrument == "one-metre"
    assert [look.role for look in row.looks] == ["colour"]


def test_impossible_settings_are_named() -> None:
    with pytest.raises(ValueError, match="gap_h is positive"):
        Cadence(gap_h=0.0)
    with pytest.raises(ValueError, match="not canonical"):
        Cadence(bands=("lsst:g", "purple"))
