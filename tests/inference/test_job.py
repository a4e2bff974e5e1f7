"""Run keys: what is the same question, and what is not."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcoord.errors import BadCandidate, BadPhotometry, ConfigError
from mmcoord.inference.job import (
    WINDOW_DAY,
    DistancePrior,
    Job,
    SamplerSettings,
    detected_before,
    run_key,
    select,
)
from mmcoord.records import Photometry

T0 = 60000.0
GW = DistancePrior("gaussian", 40.0, 8.0)


def point(
    day: float, band: str = "lsst:r", mag: float = 20.0, err: float | None = 0.1, name: str = "a"
) -> Photometry:
    return Photometry(name, T0 + day, band, mag, err, err is None)


POINTS = (
    point(0.5), point(1.5, "ztf:g", 20.5), point(2.5, "ps1:z", 21.0, None), point(3.0, mag=21.2)
)  # fmt: skip
JOB = Job(POINTS, T0, GW, models=("villar17_1", "steady"))

days = st.floats(-60, 60, allow_nan=False)
points = st.lists(
    st.builds(
        point, days, st.sampled_from(["lsst:r", "ztf:g", "2mass:ks"]), st.floats(15, 25),
        st.one_of(st.none(), st.floats(0.01, 0.5)),
    ),
    max_size=12,
)  # fmt: skip


@given(st.permutations(POINTS))
def test_order_of_rows_does_not_matter(shuffled: list[Photometry]) -> None:
    assert run_key(replace(JOB, photometry=tuple(shuffled))) == run_key(JOB)


def test_spelling_names_and_repeats_do_not_matter() -> None:
    spelled = tuple(
        replace(p, band={"lsst:r": "LSSTr", "ztf:g": "ztfg", "ps1:z": "ps1::z"}[p.band])
        for p in POINTS
    )
    assert run_key(replace(JOB, photometry=spelled)) == run_key(JOB)
    renamed = tuple(replace(p, object_id="another survey's name") for p in POINTS)
    assert run_key(replace(JOB, photometry=renamed)) == run_key(JOB)
    assert run_key(replace(JOB, photometry=POINTS + POINTS[:2])) == run_key(JOB)
    assert run_key(replace(JOB, models=("steady", "villar17_1", "steady"))) == run_key(JOB)


def test_rounding_of_the_wire_does_not_matter() -> None:
    noisy = tuple(
        replace(p, obs_mjd_tai=p.obs_mjd_tai + 2e-7, mag_ab=p.mag_ab + 2e-5) for p in POINTS
    )
    assert run_key(replace(JOB, photometry=noisy)) == run_key(JOB)


def test_points_outside_the_window_or_without_a_curve_do_not_matter() -> None:
    more = (*POINTS, point(WINDOW_DAY[1] + 1.0), point(2.0, "radio-3GHz"), point(-2.0, err=None))
    assert run_key(replace(JOB, photometry=more)) == run_key(JOB)


@pytest.mark.parametrize(
    "change",
    [
        {"photometry": (replace(POINTS[0], mag_ab=20.001), *POINTS[1:])},
        {"photometry": (replace(POINTS[0], mag_err=0.11), *POINTS[1:])},
        {"photometry": (replace(POINTS[0], band="sdss:r"), *POINTS[1:])},
        {"photometry": (replace(POINTS[0], obs_mjd_tai=T0 + 0.50001), *POINTS[1:])},
        {"photometry": POINTS[:-1]},
        {"photometry": (*POINTS, point(-40.0))},  # seen before the event: a different verdict
        {"t0_mjd_tai": T0 + 0.01},
        {"distance": DistancePrior("gaussian", 41.0, 8.0)},
        {"distance": DistancePrior("ansatz", 40.0, 8.0)},
        {"redshift": 0.01},
        {"ebv_mw": 0.1},
        {"models": ("villar17_1",)},
        {"seed": 1},
        {"sampler": SamplerSettings(ess_target=100)},
        {"class_priors": (("kilonova", 0.5), ("steady", 0.5))},
        {"partition": "group-7"},
    ],
)
def test_everything_that_changes_the_answer_changes_the_key(change: dict[str, object]) -> None:
    assert run_key(replace(JOB, **change)) != run_key(JOB)  # type: ignore[arg-type]


@given(points, points)
@settings(max_examples=60, deadline=None)
def test_selection_is_a_projection_and_ignores_late_points(
    early: list[Photometry], late: list[Photometry]
) -> None:
    chosen = select(early, T0)
    assert select(chosen, T0) == chosen
    assert all(WINDOW_DAY[0] <= p.obs_mjd_tai - T0 <= WINDOW_DAY[1] for p in chosen)
    beyond = [replace(p, obs_mjd_tai=T0 + 20 + abs(p.obs_mjd_tai - T0)) for p in late]
    assert select([*early, *beyond], T0) == chosen


def test_a_clear_detection_before_the_event_is_seen() -> None:
    assert detected_before([point(-0.01), point(1.0)], T0) is None
    assert detected_before([point(-3.0, err=0.4), point(-3.0, err=None)], T0) is None
    first = detected_before([point(-3.0), point(-50.0)], T0)
    assert first is not None
    assert first.obs_mjd_tai == T0 - 50.0


def test_nothing_to_fit_and_nonsense_are_errors() -> None:
    with pytest.raises(BadPhotometry, match="no point in a known band"):
        run_key(replace(JOB, photometry=(point(50.0),)))
    with pytest.raises(ConfigError, match="no model"):
        run_key(replace(JOB, models=("nope",)))
    for mean, std in ((-1.0, 1.0), (np.nan, 1.0), (40.0, 0.0), (40.0, np.inf)):
        with pytest.raises(BadCandidate):
            DistancePrior("gaussian", mean, std)


def test_a_job_survives_pickling() -> None:
    assert run_key(pickle.loads(pickle.dumps(JOB))) == run_key(JOB)


def test_keys_need_no_numba() -> None:
    code = "import sys, mmcoord.inference.job as j; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_redshift_gives_the_hubble_distance() -> None:
    prior = DistancePrior.from_redshift(0.0098)
    assert prior.mean_mpc == pytest.approx(0.0098 * 299792.458 / 67.7 * 1.0076, rel=0.01)
    assert prior.std_mpc / prior.mean_mpc == pytest.approx(300 / (0.0098 * 299792.458), rel=0.01)
