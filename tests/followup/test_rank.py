"""The ranking as a whole: small cases by hand, and what must hold for all."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_sun
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from followup.evidence import Prediction, TargetEvidence
from followup.explain import explain
from followup.factors import RankSettings
from followup.rank import rank
from followup.sites import Band, Instrument, Site, load_catalogue
from mmcoord.records import PlanRow
from mmcoord.timescales import mjd_tai
from tests.followup.sample import EVENT, NOW, PALOMAR, PARANAL, instrument, steady, target

COARSE = RankSettings(step_minutes=60.0)
CAMERA = instrument()
BIG = instrument(id="eight-metre", aperture_m=8.0, bands=(Band("r", "lsst:r", 26.0),))
FULL = {
    "credible_level_2d": 0.1,
    "credible_level_3d": 0.2,
    "first_detection_mjd_tai": mjd_tai(EVENT) + 0.5,
    "detected_before_event": False,
    "p_kilonova": 0.9,
    "p_kilonova_origin": "inference",
    "run_key": "k" * 64,
    "predicted": {"lsst:r": steady(19.0)},
    "distance_mean_mpc": 100.0,
    "distance_std_mpc": 20.0,
}
SCREENED = FULL | {"p_kilonova_origin": "screen", "run_key": None}
"""Not looked into: nobody's rival."""


def ranked(
    *targets: TargetEvidence,
    cameras: tuple[Instrument, ...] = (CAMERA,),
    now: datetime = NOW,
    event_time: datetime | None = EVENT,
    tuning: RankSettings = COARSE,
) -> tuple[PlanRow, ...]:
    return rank(targets, event_time=event_time, now=now, instruments=cameras, settings=tuning)


def score(**changes: Any) -> float:
    return ranked(target(**(FULL | changes)))[0].score


def test_a_score_by_hand() -> None:
    """0.8 (3D level) x 1 (on time, nothing before) x 0.9 x 1 (3 mag within reach) / airmass."""
    row = ranked(target(**FULL))[0]
    grid = NOW + np.arange(25) * timedelta(hours=1)
    frame = AltAz(
        obstime=Time(list(grid)),
        location=EarthLocation.from_geodetic(
            PARANAL.longitude_deg, PARANAL.latitude_deg, PARANAL.altitude_m
        ),
    )
    airmass = SkyCoord(60 * u.deg, -30 * u.deg).transform_to(frame).secz.value
    dark = get_sun(frame.obstime).transform_to(frame).alt.deg < -18
    usable = [
        airmass[k] for k in range(24) if dark[k] and dark[k + 1] and 1 <= airmass[k + 1] <= 2
        and 1 <= airmass[k] <= 2
    ]  # fmt: skip
    assert row.score == pytest.approx(0.8 * 0.9 / min(usable), rel=1e-4)
    assert row.factors["membership"] == pytest.approx(0.8)
    assert row.factors["time"] == 1.0
    assert row.factors["kilonova"] == 0.9
    assert row.factors["brightness"] == pytest.approx(1.0, abs=1e-4)
    assert row.factors["observability"] == pytest.approx(1 / min(usable), rel=1e-4)
    assert (row.rank, row.instrument, row.band) == (1, "one-metre", "r")
    assert row.predicted_mag == pytest.approx(19.0)
    assert (row.distance_mpc, row.distance_err_mpc) == (100.0, 20.0)
    assert row.run_key == "k" * 64


def test_the_order_of_three_by_hand() -> None:
    """Scores over the common airmass factor: b 0.8 x 0.5, a 0.8 x 0.2, c 0.1 x 0.9."""
    rows = ranked(
        target("a", **(SCREENED | {"p_kilonova": 0.2})),
        target("b", **(SCREENED | {"p_kilonova": 0.5})),
        target("c", **(SCREENED | {"credible_level_3d": 0.9})),
    )
    assert [row.object_id for row in rows] == ["b", "a", "c"]
    assert rows[1].score / rows[0].score == pytest.approx(0.4)
    assert rows[2].score / rows[0].score == pytest.approx(0.09 / 0.4)


def test_ties_go_by_name() -> None:
    rows = ranked(*(target(name, **FULL) for name in ("c", "a", "b")))
    assert [row.object_id for row in rows] == ["a", "b", "c"]
    assert len({row.score for row in rows}) == 1


def test_what_cannot_be_observed_is_weighed_down_with_its_reason() -> None:
    """By hand: membership 0.8, time 1, brightness unknown 0.5, observability 0.02."""
    north = target("polar", **(FULL | {"dec_deg": 80.0, "p_kilonova": 0.9}))
    rows = ranked(north, target("up", **SCREENED))
    assert [row.object_id for row in rows] == ["up", "polar"]
    last = rows[1]
    assert last.score == pytest.approx(0.8 * 0.9 * 0.5 * 0.02)
    assert last.factors["observability"] == 0.02
    assert "cannot be observed" in last.reasons["observability"]
    assert "1 of 1 has it too low" in last.reasons["observability"]
    assert (last.instrument, last.band, last.start, last.exposure_s) == (None,) * 4
    assert last.predicted_mag is None
    assert last.p_kilonova == 0.9


def test_a_likely_kilonova_behind_the_sun_ranks_above_an_unlikely_one_in_the_dark() -> None:
    north = target("polar", **(FULL | {"dec_deg": 80.0, "p_kilonova": 1.0}))
    weak = target("weak", **(FULL | {"p_kilonova": 0.001}))
    assert [row.object_id for row in ranked(north, weak)] == ["polar", "weak"]


def test_unobservable_targets_are_ordered_by_what_speaks_for_them() -> None:
    up = {"dec_deg": 80.0}
    rows = ranked(
        target("a", **(FULL | up | {"p_kilonova": 0.1})),
        target("b", **(FULL | up | {"p_kilonova": 0.7})),
    )
    assert [row.object_id for row in rows] == ["b", "a"]


def test_reasons_name_daylight_and_the_moon() -> None:
    arctic = Site("arctic", "arctic", 80.0, 0.0, 0.0, "test")
    june = datetime(2026, 6, 21, tzinfo=UTC)
    bright = ranked(target(dec_deg=80.0), cameras=(instrument(site=arctic),), now=june)
    assert "1 of 1 has no darkness" in bright[0].reasons["observability"]
    # On 2026-11-24 the full Moon stands near ra 60, dec +20.
    full_moon = datetime(2026, 11, 24, 0, tzinfo=UTC)
    shy = instrument(site=PALOMAR, moon_separation_deg=40.0)
    dazzled = ranked(target(dec_deg=20.0), cameras=(shy,), now=full_moon)
    assert "1 of 1 has it too near the Moon" in dazzled[0].reasons["observability"]
    bold = replace(shy, moon_separation_deg=0.0)
    assert ranked(target(dec_deg=20.0), cameras=(bold,), now=full_moon)[0].score > 0


def test_a_start_leaves_room_for_the_longest_exposure() -> None:
    """Sixteen hours fit into no night of November at Paranal."""
    endless = instrument(max_exposure_s=16 * 3600.0)
    row = ranked(target(**FULL), cameras=(endless,))[0]
    assert "less than an exposure" in row.reasons["observability"]


def test_the_proposed_start_is_dark_and_high_by_astropy() -> None:
    rng = np.random.default_rng(2)
    cameras = load_catalogue().asked
    targets = [
        target(f"t{k}", **(FULL | {"ra_deg": ra, "dec_deg": dec}))
        for k, (ra, dec) in enumerate(
            zip(
                rng.uniform(0, 360, 20),
                np.degrees(np.arcsin(rng.uniform(-1, 1, 20))),
                strict=True,
            )
        )
    ]
    by_id = {camera.id: camera for camera in cameras}
    rows = ranked(*targets, cameras=cameras, tuning=RankSettings())
    assert any(row.instrument for row in rows)
    for row in rows:
        if row.instrument is None or row.start is None or row.exposure_s is None:
            continue
        camera = by_id[row.instrument]
        place = EarthLocation.from_geodetic(
            camera.site.longitude_deg, camera.site.latitude_deg, camera.site.altitude_m
        )
        span = [row.start, row.start + timedelta(seconds=row.exposure_s)]
        assert NOW <= row.start <= NOW + timedelta(days=1)
        frame = AltAz(obstime=Time(span), location=place)
        star = SkyCoord(row.ra_deg * u.deg, row.dec_deg * u.deg).transform_to(frame)
        assert (get_sun(frame.obstime).transform_to(frame).alt.deg < camera.sun_altitude_deg).all()
        assert (star.secz.value < camera.max_airmass * 1.0001).all()
        assert (star.alt.deg > camera.min_altitude_deg).all()
        assert row.band in [band.name for band in camera.bands]
        assert camera.min_exposure_s <= row.exposure_s <= camera.max_exposure_s


def test_a_small_telescope_is_proposed_when_it_is_good_enough() -> None:
    bright = ranked(target(**FULL), cameras=(BIG, CAMERA))[0]
    assert bright.instrument == "one-metre"
    faint = ranked(
        target(**(FULL | {"predicted": {"lsst:r": steady(24.0)}})), cameras=(BIG, CAMERA)
    )
    assert faint[0].instrument == "eight-metre"


def test_a_predicted_band_is_preferred_to_one_that_nobody_predicts() -> None:
    infrared = instrument(id="infrared", bands=(Band("Ks", "2mass:ks", 22.0),))
    hopeless = {"predicted": {"lsst:r": steady(30.0)}}
    row = ranked(target(**(FULL | hopeless)), cameras=(CAMERA, infrared))[0]
    assert row.factors["brightness"] == COARSE.floor
    assert ranked(target(**(FULL | hopeless)), cameras=(infrared,))[0].factors["brightness"] is None


def test_a_fading_source_is_caught_early_in_the_night() -> None:
    begin = mjd_tai(NOW) - 1.0
    times = [begin, begin + 3.0]
    fading = Prediction(times, [18.5, 36.5], [19.0, 37.0], [19.5, 37.5])  # 6 mag a day
    evening = datetime(2026, 11, 20, 22, tzinfo=UTC)
    steady_row = ranked(target(**FULL), now=evening)[0]
    fading_row = ranked(target(**(FULL | {"predicted": {"lsst:r": fading}})), now=evening)[0]
    assert steady_row.start is not None
    assert fading_row.start is not None
    assert fading_row.start <= steady_row.start
    assert fading_row.score < steady_row.score


def test_a_target_without_prediction_is_planned_as_last_seen() -> None:
    last = {
        "predicted": None,
        "latest_mag": 19.0,
        "latest_band": "ztf:r",
        "latest_mjd_tai": mjd_tai(NOW) - 0.5,
    }
    row = ranked(target(**(FULL | last)))[0]
    assert row.factors["brightness"] is not None
    assert row.factors["brightness"] > 0.9
    assert row.predicted_mag is None
    assert "last seen" in row.reasons["brightness"]
    unknown = ranked(target(**(FULL | {"predicted": None})))[0]
    assert unknown.factors["brightness"] is None
    assert unknown.exposure_s == CAMERA.depth_exposure_s


def test_only_inference_leaves_a_run_key() -> None:
    assert ranked(target(**(FULL | {"p_kilonova_origin": "screen"})))[0].run_key is None


def test_a_replay_is_planned_at_its_own_time() -> None:
    """GW170817's field from Paranal, one evening later; nothing depends on today's date."""
    event = datetime(2017, 8, 17, 12, 41, 4, tzinfo=UTC)
    source = target(
        ra_deg=197.45, dec_deg=-23.38, first_detection_mjd_tai=mjd_tai(event) + 0.45, p_kilonova=0.9
    )
    row = ranked(
        source,
        now=datetime(2017, 8, 18, 12, tzinfo=UTC),
        event_time=event,
        cameras=(instrument(sun_altitude_deg=-12.0),),
        tuning=RankSettings(),
    )[0]
    assert row.start is not None
    # Sunset at Paranal is near 22:15 UTC in August and the field sets soon after.
    assert datetime(2017, 8, 18, 22, tzinfo=UTC) < row.start < datetime(2017, 8, 19, 1, tzinfo=UTC)


def test_every_step_of_the_way_up_and_unknown_in_between() -> None:
    assert score(credible_level_3d=1.0) < score(credible_level_3d=None, credible_level_2d=None)
    assert score(credible_level_3d=None, credible_level_2d=None) < score(credible_level_3d=0.0)
    assert score(p_kilonova=0.0) < score(p_kilonova=None) < score(p_kilonova=1.0)
    assert score(detected_before_event=True) < score(detected_before_event=None) < score()
    no, yes = steady(35.0), steady(12.0)
    dim, unseen = score(predicted={"lsst:r": no}), score(predicted=None)
    assert dim < unseen < score(predicted={"lsst:r": yes})
    assert 0.0 < score(dec_deg=80.0) < 0.05 * score()


@settings(max_examples=30, deadline=None)
@given(
    levels=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    chances=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    magnitude=st.floats(16.0, 26.0),
    gain=st.floats(0.0, 4.0),
    width=st.floats(0.01, 2.0),
)
def test_more_evidence_never_lowers_the_score(
    levels: tuple[float, float],
    chances: tuple[float, float],
    magnitude: float,
    gain: float,
    width: float,
) -> None:
    (near, far), (little, much) = sorted(levels), sorted(chances)
    cameras = (CAMERA, BIG)

    def one(level: float, chance: float, mag: float) -> float:
        source = target(
            **(
                FULL
                | {
                    "credible_level_3d": level,
                    "p_kilonova": chance,
                    "predicted": {"lsst:r": steady(mag, width)},
                }
            )
        )
        return ranked(source, cameras=cameras)[0].score

    low, high = one(far, little, magnitude), one(near, much, magnitude - gain)
    assert 0.0 <= low <= high * (1 + 1e-11) <= 1.0 + 1e-11


sources = st.builds(
    dict,
    ra_deg=st.floats(0.0, 359.99),
    dec_deg=st.floats(-90.0, 90.0),
    credible_level_2d=st.none() | st.floats(0.0, 1.0),
    credible_level_3d=st.none() | st.floats(0.0, 1.0),
    first_detection_mjd_tai=st.none() | st.floats(-20.0, 20.0).map(lambda d: mjd_tai(EVENT) + d),
    detected_before_event=st.sampled_from([None, True, False]),
    latest_mag=st.none() | st.floats(10.0, 28.0),
    latest_band=st.sampled_from([None, "lsst:r", "ztf:g", "radio-3GHz"]),
    latest_mjd_tai=st.none() | st.just(mjd_tai(NOW) - 0.5),
    p_kilonova=st.none() | st.floats(0.0, 1.0),
    p_kilonova_origin=st.sampled_from([None, "inference", "screen"]),
    predicted=st.none() | st.floats(10.0, 30.0).map(lambda mag: {"lsst:i": steady(mag)}),
)


@settings(max_examples=25, deadline=None)
@given(drawn=st.lists(sources, min_size=1, max_size=8), seed=st.integers(0, 1000))
def test_no_target_is_lost_and_order_of_input_changes_nothing(
    drawn: list[dict[str, Any]], seed: int
) -> None:
    targets = [target(f"t{k}", **changes) for k, changes in enumerate(drawn)]
    cameras = (CAMERA, BIG, instrument(id="north", site=PALOMAR))
    rows = ranked(*targets, cameras=cameras)
    shuffled = targets.copy()
    random.Random(seed).shuffle(shuffled)
    assert ranked(*shuffled, cameras=cameras) == rows
    assert sorted(row.object_id for row in rows) == sorted(t.object_id for t in targets)
    assert [row.rank for row in rows] == list(range(1, len(rows) + 1))
    scores = [row.score for row in rows]
    assert scores == sorted(scores, reverse=True)
    defaults = {
        "membership": COARSE.unknown_membership,
        "time": COARSE.unknown_time,
        "kilonova": COARSE.prior_kilonova,
        "classified": 1.0,
        "brightness": COARSE.unknown_brightness,
    }
    for row in rows:
        assert set(row.factors) - {"rivals"} == {*defaults, "observability"}
        assert set(row.factors) <= set(row.reasons)
        assert all(value is None or 0.0 <= value <= 1.0 for value in row.factors.values())
        if row.predicted_mag is None:
            counted = [defaults[k] if v is None else v for k, v in row.factors.items()]
            assert row.score == pytest.approx(math.prod(counted))
        assert (row.instrument is None) == (row.factors["observability"] == 0.02)


def test_a_row_does_not_depend_on_others_that_nobody_looked_into() -> None:
    rng = np.random.default_rng(6)
    targets = [
        target(f"t{k:04d}", **(SCREENED | {"ra_deg": ra, "dec_deg": dec}))
        for k, (ra, dec) in enumerate(
            zip(rng.uniform(0, 360, 600), rng.uniform(-90, 60, 600), strict=True)
        )
    ]
    together = {row.object_id: row for row in ranked(*targets)}
    for one in (targets[0], targets[299], targets[599]):
        alone = ranked(one)[0]
        assert replace(together[one.object_id], rank=1) == alone


def test_an_empty_plan_says_why() -> None:
    assert ranked() == ()
    assert "no candidate" in explain(())
    rows = ranked(target(**FULL), cameras=())
    assert rows[0].instrument is None
    assert "no instrument is configured" in explain(rows)
    assert "Nothing to observe" in explain(rows)


def test_the_explanation_shows_every_factor_with_its_sentence() -> None:
    rows = ranked(*(target(f"t{k}", **FULL) for k in range(4)))
    text = explain(rows, limit=2)
    assert "4 of 4 targets" in text
    for reason in rows[0].reasons.values():
        assert reason in text
    assert "t2" not in text
    assert "and 2 more" in text


def test_bad_input_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="two targets are called 'a'"):
        ranked(target("a"), target("a"))
    with pytest.raises(ValueError, match="time zone"):
        ranked(target(), now=NOW.replace(tzinfo=None))
    with pytest.raises(ValueError, match="time zone"):
        ranked(target(**FULL), event_time=EVENT.replace(tzinfo=None))
