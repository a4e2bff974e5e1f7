"""Models from others inside the engine: their magnitudes, their keys, their failures."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from mmcoord.errors import BadModel, ConfigError
from mmcoord.inference.engine import run
from mmcoord.inference.hosted import hosted
from mmcoord.inference.job import DistancePrior, Job, run_key
from mmcoord.inference.likelihood import Data, Likelihood
from mmcoord.inference.models import registry
from mmcoord.inference.models.base import Model
from mmcoord.inference.passbands import LN_T_MAX, LN_T_MIN, N_TEMPERATURES, Passbands, passbands
from mmcoord.inference.source import UserSource
from mmcoord.inference.usermodel import read_source
from mmcoord.records import Photometry
from mmcoord.stages.executor import PoolExecutor
from mmcoord.stages.jobs import job_from_json, job_to_json
from tests.inference.light import T0, simulate
from tests.inference.usermodels import FADER, HEAD, model

Array = npt.NDArray[np.float64]
in_sandbox = pytest.mark.usefixtures("sandbox_works")

BANDS = ("2mass:ks", "lsst:g", "lsst:u", "lsst:z", "ztf:r")
T_DAY = np.repeat([0.3, 1.0, 4.0], len(BANDS))
BAND = np.tile(np.arange(len(BANDS)), 3)

PHOTOSPHERE = """
import numpy as np
KIND = "kilonova"
VECTORISED = True
PARAMETERS = {
    "radius_1d_cm": ("log_uniform", 1e14, 1e16, "cm"),
    "temperature_k": ("log_uniform", 2000, 20000, "K"),
}

def spectral_luminosity(p, t_day, wavelength_angstrom):
    wave_cm = 1e-8 * wavelength_angstrom
    x = 6.62607015e-27 * 2.99792458e10 / (wave_cm * 1.380649e-16 * p.temperature_k)
    planck = 2 * 6.62607015e-27 * 2.99792458e10**2 / wave_cm**5 / np.expm1(np.minimum(x, 600))
    return 4 * np.pi * (p.radius_1d_cm * t_day) ** 2 * np.pi * planck * 1e-8
"""


def magnitudes(
    text: str, theta: Array, distance_mpc: Array, redshift: Array, ebv_mw: float = 0.0
) -> Array:
    with hosted(read_source(text, name="mine")) as one:
        return one.magnitudes(theta, distance_mpc, redshift, T_DAY, BAND, passbands(BANDS, ebv_mw))


@in_sandbox
@pytest.mark.parametrize("ebv_mw", [0.0, 0.3])
def test_a_spectrum_becomes_the_light_of_a_black_body_in_every_band(ebv_mw: float) -> None:
    # Oracle: the engine's own table of band-averaged B_nu(T), with B_nu(T) of a receding source
    # being (1 + z)^4 times brighter at T/(1 + z).
    theta = np.array([[3e14, 2500.0], [1e15, 6000.0], [2e15, 15000.0]])
    distance_mpc, redshift = np.array([40.0, 150.0, 600.0]), np.array([0.009, 0.033, 0.12])
    bands = passbands(BANDS, ebv_mw)
    nodes = np.exp(np.linspace(LN_T_MIN, LN_T_MAX, N_TEMPERATURES))
    wanted = np.empty((3, len(T_DAY)))
    for i, (radius_cm, temperature_k) in enumerate(theta):
        z = redshift[i]
        solid_angle = np.pi * (radius_cm * T_DAY / (1 + z) / (distance_mpc[i] * 3.0856776e24)) ** 2
        mean = [np.interp(temperature_k / (1 + z), nodes, bands.blackbody[k]) for k in BAND]
        wanted[i] = -2.5 * np.log10(solid_angle * (1 + z) ** 4 * np.array(mean))
    got = magnitudes(PHOTOSPHERE, theta, distance_mpc, redshift, ebv_mw)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=0.003)


@in_sandbox
def test_an_absolute_magnitude_is_shifted_by_distance_redshift_and_dust() -> None:
    theta = np.array([[-16.0, 0.5], [-14.0, 1.5]])
    distance_mpc, redshift = np.array([100.0, 200.0]), np.array([0.02, 0.05])
    bands = passbands(BANDS, 0.2)
    z = redshift[:, None]
    wanted = (
        theta[:, :1]
        + theta[:, 1:] * T_DAY / (1 + z)
        + (bands.pivot_angstrom[BAND] / (1 + z) - 6000.0) / 5000.0
        + (35.0 + 5 * np.log10(distance_mpc / 100.0))[:, None]
        - 2.5 * np.log10(1 + z)
        + bands.mw_mag[BAND]
    )
    got = magnitudes(FADER, theta, distance_mpc, redshift, 0.2)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)
    at_once = magnitudes(FADER + "\nVECTORISED = True\n", theta, distance_mpc, redshift, 0.2)
    np.testing.assert_allclose(at_once, got, rtol=0, atol=1e-12)


def linear_fader(
    theta: Array, distance_mpc: Array, redshift: Array, t_day: Array,
    band: npt.NDArray[np.int64], bands: Passbands,
) -> Array:  # fmt: skip
    """The example of an installed model in docs/inference.md."""
    peak, rise_day, fade = theta.T[:, :, None]
    age = t_day[None, :] - rise_day
    mags = peak + fade * age + bands.mw_mag[band]
    return np.where(age > 0, np.minimum(mags, 60.0), 60.0)


LINEAR = """
import numpy as np
PARAMETERS = {
    "peak": ("uniform", 14.0, 25.0, "mag"),
    "rise_day": ("uniform", -10.0, 14.0, "d"),
    "fade": ("log_uniform", 0.01, 3.0, "mag/d"),
}

def apparent_magnitude(p, t_day, wavelength_angstrom):
    age = t_day - p.rise_day
    return np.where(age > 0, p.peak + p.fade * age, np.inf)
"""


@in_sandbox
def test_a_file_and_the_same_model_installed_have_one_likelihood() -> None:
    user = read_source(LINEAR, name="linear")
    native = Model("linear", "1", "", user.parameters, linear_fader, distance="none")
    light = simulate(native, [18.0, -1.0, 0.3], [-0.5, 0.5, 2.0, 6.0], ["lsst:g", "lsst:r"])
    limit = Photometry("sim", T0 + 8.0, "lsst:g", 21.0, None, True)
    job = Job((*light, limit), T0, DistancePrior("gaussian", 100.0, 10.0), ebv_mw=0.1)
    u = np.random.default_rng(0).random((300, 4))
    wanted = Likelihood(native, Data.of(job), job)(u)
    with hosted(user) as one:
        got = Likelihood(one, Data.of(job), job)(u)
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


@in_sandbox
def test_a_kilonova_is_dark_before_the_event_and_not_asked_about_it() -> None:
    strict = model("if (t_day <= 0).any(): raise ValueError('early')\nreturn p.peak + t_day")
    days, band = np.array([-3.0, 0.0, 1.0]), np.zeros(3, dtype=np.int64)
    one_mpc, no_z = np.array([1.0]), np.array([0.0])
    with hosted(strict) as one:
        mags = one.magnitudes(
            np.array([[-16.0, 1.0]]), one_mpc, no_z, days, band, passbands(("lsst:r",), 0.0)
        )
    assert mags[0].tolist() == [60.0, 60.0, 10.0]


@in_sandbox
@pytest.mark.parametrize(
    ("text", "told"),
    [
        (FADER.replace("return p.peak", "return np.nan * p.peak"),
         "absolute_magnitude is nan, not a magnitude (inf: no light), at peak=-16, fade=0.5, "
         "t_day=0.29703, wavelength_angstrom=21389"),
        (FADER.replace("return p.peak", "return -np.inf + p.peak"), "is -inf, not a magnitude"),
        (PHOTOSPHERE.replace("return 4", "return -4"), "not a luminosity of at least 0"),
        (PHOTOSPHERE.replace("return 4", "return np.inf * 4"), "is inf, not a luminosity"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_light_is_told_with_its_place(text: str, told: str) -> None:
    theta = np.array([[-16.0, 0.5]]) if "absolute" in text else np.array([[1e15, 5000.0]])
    with pytest.raises(BadModel) as caught:
        magnitudes(text, theta, np.array([40.0]), np.array([0.01]))
    assert told in str(caught.value)


@in_sandbox
def test_infinite_magnitudes_and_empty_spectra_are_no_light() -> None:
    dark = FADER.replace("return p.peak", "return np.inf + p.peak")
    assert (magnitudes(dark, np.zeros((1, 2)), np.ones(1), np.zeros(1)) == 60.0).all()
    dark = PHOTOSPHERE.replace("return 4", "return 0")
    assert (magnitudes(dark, np.full((1, 2), 1e4), np.ones(1), np.zeros(1)) == 60.0).all()


# -- jobs ----------------------------------------------------------------------------------

SOURCE = UserSource("mine", 1, FADER)
LIGHT = tuple(Photometry("a", T0 + d, "lsst:r", 19.0 + d, 0.1) for d in (0.5, 1.5, 2.5))
JOB = Job(
    LIGHT, T0, DistancePrior("gaussian", 100.0, 10.0), models=("mine",), user_models=(SOURCE,)
)


def test_the_run_key_knows_text_and_version_of_a_model_from_others() -> None:
    others = [
        replace(SOURCE, source=FADER + "\n# a remark\n"),
        replace(SOURCE, version=2),
        replace(SOURCE, speed="slow"),
    ]
    keys = {run_key(replace(JOB, user_models=(source,))) for source in (SOURCE, *others)}
    assert len(keys) == 4
    assert run_key(replace(JOB)) in keys


def test_a_model_that_is_carried_but_not_asked_for_changes_no_key() -> None:
    asked = replace(JOB, models=("steady",))
    assert run_key(asked) == run_key(replace(asked, user_models=()))


def test_all_means_installed_models_alone() -> None:
    assert replace(JOB, models=("all",)).model_names() == registry.default_names()
    both = replace(JOB, models=("all", "mine")).model_names()
    assert both == tuple(sorted((*registry.default_names(), "mine")))


def test_a_job_survives_the_store_with_its_models() -> None:
    back = job_from_json(json.loads(json.dumps(job_to_json(JOB))))
    assert back == JOB
    assert run_key(back) == run_key(JOB)


def test_unknown_names_and_names_of_ours_are_refused() -> None:
    with pytest.raises(ConfigError, match="no model 'mine'"):
        run_key(replace(JOB, user_models=()))
    with pytest.raises(ConfigError, match="'steady' is ours already"):
        run_key(replace(JOB, user_models=(replace(SOURCE, name="steady"),)))


@in_sandbox
@pytest.mark.slow
def test_a_fit_finds_the_truth() -> None:
    user = read_source(FADER, name="mine", version=3)
    with hosted(user) as one:
        light = simulate(one, [-16.0, 0.8], [0.5, 1.5, 3.0, 5.0], ["lsst:g", "lsst:r", "lsst:z"])
    job = replace(JOB, photometry=light, user_models=(replace(user.source, speed="slow"),))
    first, second = run(job), run(job)
    assert first.summary["converged"]
    assert first.samples == second.samples
    assert first.summary["comparison"][0]["version"] == "3"
    for name, truth in (("peak", -16.0), ("fade", 0.8)):
        interval = first.summary["parameters"][name]
        width = interval["hi90"] - interval["lo90"]
        assert interval["lo90"] - 0.5 * width < truth < interval["hi90"] + 0.5 * width


@in_sandbox
@pytest.mark.slow
@pytest.mark.long
def test_the_pool_of_the_daemon_runs_it_as_the_engine_does() -> None:
    executor = PoolExecutor(1)
    try:
        there = executor.submit(JOB).result()
    finally:
        executor.close()
    here = run(JOB)
    assert there.run_key == here.run_key
    assert there.samples == here.samples


NO_PYTHON = UserSource("mine", 1, "def")


@in_sandbox
def test_a_model_that_fails_after_its_fit_is_left_out_too() -> None:
    # Good where there are data; the predicted light curve reaches 20 days.
    late = model("return np.where(t_day < 15, p.peak + p.fade * t_day, np.nan)").source
    result = run(replace(JOB, models=("mine", "steady"), user_models=(late,)))
    assert result.summary["model"] == "steady"
    assert "is nan, not a magnitude" in result.summary["failed_models"]["mine"]


@in_sandbox
def test_a_model_that_fails_costs_nobody_elses_answer() -> None:
    bad = UserSource("mine", 1, HEAD + model("return 1 / 0").source.source.split(HEAD)[1])
    together = run(replace(JOB, models=("mine", "steady"), user_models=(bad,)))
    alone = run(replace(JOB, models=("steady",), user_models=()))
    assert together.samples == alone.samples
    assert "ZeroDivisionError" in together.summary["failed_models"]["mine"]
    assert alone.summary["failed_models"] == {}
    unreadable = run(replace(JOB, models=("mine", "steady"), user_models=(NO_PYTHON,)))
    assert unreadable.samples == alone.samples
    assert "line 1: not Python" in unreadable.summary["failed_models"]["mine"]
    for source, told in ((bad, "ZeroDivisionError"), (NO_PYTHON, "not Python")):
        with pytest.raises(BadModel, match=told):
            run(replace(JOB, user_models=(source,)))
