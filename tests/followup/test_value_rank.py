"""The information in the ranking: its table, its factor, what others and hosts do to it."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from followup.explain import explain
from followup.factors import RankSettings
from followup.hosts import Galaxies
from followup.rank import rank
from followup.sites import Band, load_catalogue
from followup.value import information
from followup.value_table import Lesson, ValueSettings, share_told
from mmcoord.elsewhere import Elsewhere
from mmcoord.predictions import ClassPredictions
from mmcoord.records import KnownTransient, PlanRow
from mmcoord.timescales import mjd_tai
from tests.followup.sample import EVENT, NOW, instrument, target

MOMENT = RankSettings(step_minutes=60.0, horizon_hours=0.5)
"""A night of one instant: nothing can be put off."""
CAMERA = instrument(
    bands=(Band("r", "lsst:r", 23.0), Band("i", "lsst:i", 22.5), Band("Ks", "2mass:ks", 21.0))
)
FULL = {
    "credible_level_3d": 0.2,
    "first_detection_mjd_tai": mjd_tai(EVENT) + 0.5,
    "detected_before_event": False,
    "p_kilonova_origin": "screen",
}


def predictions(
    p_kilonova: float = 0.5, kilonova: float = 22.0, other: float = 20.0, scatter: float = 0.4
) -> ClassPredictions:
    """A kilonova that fades by a magnitude a day, a supernova that stays; r and i."""
    rng = np.random.default_rng(1)
    t = mjd_tai(NOW) + np.linspace(-0.5, 3.0, 8)
    fade = np.array([1.0, 0.0])[:, None, None, None] * (t - mjd_tai(NOW))
    mean = np.array([kilonova, other])[:, None, None, None]
    draws = mean + fade + scatter * rng.standard_normal((2, 64, 1, 1)) * np.ones((1, 1, 2, 1))
    return ClassPredictions(
        ("kilonova", "sn_ia"),
        np.array([p_kilonova, 1 - p_kilonova]),
        ("lsst:i", "lsst:r"),
        t,
        draws.astype(np.float32),
        "screen",
    )


def made(object_id: str, p_kilonova: float = 0.5, **changes: Any) -> Any:
    light = {k: changes.pop(k) for k in ("kilonova", "other", "scatter") if k in changes}
    classes = predictions(p_kilonova, **light)
    return target(object_id, **(FULL | {"p_kilonova": p_kilonova, "classes": classes} | changes))


def ranked(*targets: Any, **asked: Any) -> tuple[PlanRow, ...]:
    given = {"instruments": (CAMERA,), "settings": MOMENT, "now": NOW} | asked
    return rank(targets, event_time=EVENT, **given)


def test_the_table_agrees_with_the_direct_computation() -> None:
    classes = predictions()
    cameras = load_catalogue().instruments
    begin = mjd_tai(NOW)
    lesson = Lesson.of(classes, cameras, begin, begin + 1.0, ValueSettings(1.0, 0.0, 0.0))
    rng = np.random.default_rng(2)
    t, depth = begin + rng.random(200), rng.uniform(19.0, 24.0, 200)
    for canonical, index in (("lsst:r", 1), ("sdss:r", 1), ("ztf:i", 0)):
        direct = information(classes, np.full(200, index), t, depth).about_first
        assert lesson.worth(canonical, t, depth) == pytest.approx(direct, abs=0.08)
    assert (lesson.worth("2mass:ks", t, depth) == 0.0).all()
    assert lesson.worth("lsst:r", begin, math.nan) == 0.0


def test_the_score_is_the_product_of_the_factors_shown() -> None:
    row = ranked(made("a"))[0]
    assert set(row.factors) == {"membership", "time", "classified", "information", "observability"}
    counted = [1.0 if f is None else f for f in row.factors.values()]
    assert row.score == pytest.approx(math.prod(counted))
    assert row.factors["membership"] == pytest.approx(0.8)
    assert "part of the information" in row.reasons["kilonova"]
    assert "bit per hour" in row.reasons["cost"]
    assert "bit about whether it is a kilonova (now 50 %)" in row.reasons["information"]
    text = explain([row])
    assert all(reason in text for reason in row.reasons.values())


def test_the_information_factor_by_hand() -> None:
    """Two magnitudes apart with 0.4 of scatter: r to 23 tells nearly one bit of the class."""
    sharp = predictions(scatter=0.01)
    row = ranked(target("a", **(FULL | {"classes": sharp, "p_kilonova": 0.5})),
                 worth=ValueSettings(kilonova=1.0, classes=0.0, parameters=0.0))[0]  # fmt: skip
    assert row.factors["information"] == pytest.approx(share_told(1.0), abs=0.01)


def test_what_is_undecided_goes_before_what_is_settled() -> None:
    rows = ranked(made("undecided", 0.5), made("settled", 0.001))
    assert [row.object_id for row in rows] == ["undecided", "settled"]
    assert rows[1].factors["information"] is not None
    assert rows[1].factors["information"] < 0.1
    rows = ranked(made("tells", 0.5), made("alike", 0.5, kilonova=20.0))
    assert [row.object_id for row in rows] == ["tells", "alike"]


def test_a_likely_kilonova_is_worth_studying() -> None:
    rows = ranked(made("likely", 0.999), made("unlikely", 0.02))
    assert [row.object_id for row in rows] == ["likely", "unlikely"]
    certain = KnownTransient("tns", "1", "AT 2026abc", 60.0, -30.0, classification="kilonova")
    by_spectrum = ranked(made("a", 0.2, known=(certain,)))[0]
    assert "tell 0.00 bit about whether" in by_spectrum.reasons["information"]
    assert by_spectrum.score > ranked(made("a", 0.02))[0].score


def test_an_event_has_one_kilonova_by_hand() -> None:
    """Odds 9 and 1, both surely of the event: 9/11 and 1/11 in place of 9/10 and 1/2."""
    sure = FULL | {"credible_level_3d": 0.0, "p_kilonova_origin": "inference"}
    rows = ranked(target("a", **(sure | {"p_kilonova": 0.9})),
                  target("b", **(sure | {"p_kilonova": 0.5})))  # fmt: skip
    assert [row.object_id for row in rows] == ["a", "b"]
    assert rows[0].factors["rivals"] == pytest.approx((9 / 11) / (9 / 10))
    assert rows[1].factors["rivals"] == pytest.approx((1 / 11) / (1 / 2))
    assert "a first (odds 9)" in rows[1].reasons["rivals"]


def test_a_certain_kilonova_that_is_well_known_goes_before_what_is_undecided() -> None:
    """Its class teaches nothing more and its light 1/2 log2(1 + (0.05 / 0.1)^2) = 0.16 bit."""
    certain = made("certain", 0.9999, scatter=0.05, kilonova=18.0, p_kilonova_origin="inference")
    undecided = made("undecided", 0.5)
    rows = {row.object_id: row for row in ranked(certain, undecided)}
    told = rows["certain"].factors["information"], rows["undecided"].factors["information"]
    assert told[0] == pytest.approx(share_told(0.16), abs=0.03)
    assert told[1] is not None
    assert told[1] > 0.5
    assert rows["certain"].rank == 1
    assert "rivals" not in rows["certain"].factors
    # Odds 99 (no model is trusted further) and 1, each times 0.8 of membership.
    assert rows["undecided"].factors["rivals"] == pytest.approx(1.8 / (1.8 + 79.2))
    # By the screen alone nothing is settled, and both are worth asking.
    screened = ranked(made("certain", 0.9999, scatter=0.05, kilonova=18.0), undecided)
    assert [row.object_id for row in screened] == ["undecided", "certain"]


def test_a_kilonova_of_another_event_is_hardly_a_rival() -> None:
    """Seen before the event: 0.01 of its odds. A spectrum makes a rival without an inference."""
    kilonova = KnownTransient("tns", "1", "AT 2026abc", 60.0, -30.0, classification="kilonova")
    here, old = made("here", 0.2, known=(kilonova,)), made("old", 0.2, known=(kilonova,),
                                                           detected_before_event=True)  # fmt: skip
    beside = {row.object_id: row for row in ranked(here, made("other", 0.5))}["other"]
    assert beside.factors["rivals"] == pytest.approx(1.8 / (1.8 + 79.2))
    beside = {row.object_id: row for row in ranked(old, made("other", 0.5))}["other"]
    assert beside.factors["rivals"] == pytest.approx(1.8 / (1.8 + 0.792))


def test_another_groups_plan_lowers_the_value_of_the_same_observation_by_hand() -> None:
    """Planned for the same band, time, depth and field: made with chance 1/2. Other bands serve."""
    only_r = instrument(bands=(Band("r", "lsst:r", 23.0),))
    alone = ranked(made("a"), instruments=(only_r,))[0]
    theirs = Elsewhere(
        "treasuremap", "1", "GOTO", "planned", mjd_tai(NOW), 60.0, -30.0, "sdss:r", 30.0, 1.0
    )
    shared = ranked(made("a"), instruments=(only_r,), elsewhere=[theirs])[0]
    assert shared.factors["elsewhere"] == pytest.approx(0.5)
    assert shared.score == pytest.approx(0.5 * alone.score)
    assert "GOTO plans to observe it" in shared.reasons["elsewhere"]
    free = ranked(made("a"), elsewhere=[theirs])[0]
    assert free.band == "i"
    assert free.factors["elsewhere"] == pytest.approx(1 - 0.5 * 0.4)
    # A target that nobody predicts is weighed in the same way.
    plain = target("b", **(FULL | {"latest_mag": 19.0, "latest_band": "lsst:r",
                                   "latest_mjd_tai": mjd_tai(NOW)}))  # fmt: skip
    before = ranked(plain, instruments=(only_r,))[0]
    after = ranked(plain, instruments=(only_r,), elsewhere=[theirs])[0]
    assert after.score == pytest.approx(0.5 * before.score)


def test_the_observation_moves_to_a_time_that_nobody_else_takes() -> None:
    tuning = RankSettings(step_minutes=30.0, horizon_hours=3.0)
    only_r = instrument(bands=(Band("r", "lsst:r", 23.0),))
    same = {"instruments": (only_r,), "settings": tuning}
    first = ranked(made("a"), **same)[0]
    assert first.start is not None
    theirs = Elsewhere(
        "treasuremap", "1", "GOTO", "completed", mjd_tai(first.start),
        60.0, -30.0, "sdss:r", 30.0, 1.0,
    )  # fmt: skip
    moved = ranked(made("a"), elsewhere=[theirs], **same)[0]
    assert moved.start is not None
    assert abs(moved.start - first.start) >= timedelta(hours=1)


class OneGalaxy:
    """A host at the target's place, so many Mpc away."""

    def __init__(self, distance_mpc: float) -> None:
        self.distance_mpc = distance_mpc

    def near(self, ra_deg: float, dec_deg: float, radius_deg: float) -> Galaxies:
        return Galaxies(
            "made", ("NGC 1",), np.array([60.0]), np.array([-30.0]),
            np.array([self.distance_mpc]), np.array([2.0]), np.array([13.0]),
            np.array([math.nan]), np.array([math.nan]),
        )  # fmt: skip


def test_a_host_at_the_right_distance_weighs_and_a_wrong_one_forbids_nothing() -> None:
    here = {"distance_mean_mpc": 40.0, "distance_std_mpc": 8.0, "credible_level_3d": None,
            "credible_level_2d": 0.2}  # fmt: skip
    right = ranked(made("a", **here), galaxies=OneGalaxy(40.0))[0]
    wrong = ranked(made("a", **here), galaxies=OneGalaxy(400.0))[0]
    assert right.factors["host"] is not None
    assert right.factors["host"] > 0.95
    assert wrong.factors["host"] == 0.02
    assert 0 < wrong.score < right.score
    assert "NGC 1 (made)" in right.reasons["host"]


def test_only_the_most_promising_are_informed() -> None:
    few = ValueSettings(informed_targets=1)
    rows = ranked(made("a", 0.5), made("b", 0.4), worth=few)
    assert [("information" in r.factors) for r in sorted(rows, key=lambda r: r.object_id)] == [
        True,
        False,
    ]


def test_a_bright_source_is_not_exposed_longer_than_it_is_worth() -> None:
    bright = ranked(made("a", kilonova=17.0, other=15.0))[0]
    faint = ranked(made("a", kilonova=22.5, other=21.5))[0]
    assert bright.exposure_s is not None
    assert faint.exposure_s is not None
    assert bright.exposure_s < 0.2 * CAMERA.max_exposure_s
    assert faint.exposure_s > bright.exposure_s


def test_what_no_light_can_tell_keeps_its_place_and_says_so() -> None:
    dark = ranked(made("a", kilonova=35.0, other=35.0))[0]
    assert dark.factors["information"] == MOMENT.floor
    assert dark.instrument == "one-metre"


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="kilonova"):
        ValueSettings(kilonova=-1.0)
    with pytest.raises(ValueError, match="enough"):
        ValueSettings(enough=0.0)
