"""Priors from alerts, dust in the host, one error per band: what a job can ask for."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from mmcoord.errors import BadNotice, ConfigError
from mmcoord.inference.dust import HOST_AV, HOST_RV, host_extinction
from mmcoord.inference.engine import run
from mmcoord.inference.job import DistancePrior, Job, SamplerSettings, run_key
from mmcoord.inference.likelihood import LIMIT_SIGMA_MAG, Data, Likelihood
from mmcoord.inference.models import registry
from mmcoord.inference.models.base import Parameter
from mmcoord.inference.models.informed import alert_priors, likely_models, within_reach
from mmcoord.inference.passbands import curve, passbands
from mmcoord.stages.jobs import job_from_json, job_to_json
from tests.inference.light import C_CM_S, T0, planck, simulate

ONE = registry.load("villar17_1")
LIGHT = simulate(
    ONE, [0.03, 0.2, 2500.0, 1.5], [0.6, 2.6, 5.5], ["lsst:g", "lsst:r", "2mass:ks"], limit=23.5
)
JOB = Job(LIGHT, T0, DistancePrior("gaussian", 100.0, 10.0), models=("villar17_1",))
MASSES = {"bin_edges": [0.5, 1.0, 1.2, 1.4, 3.0], "probabilities": [0.1, 0.2, 0.4, 0.3]}

histograms = st.integers(1, 8).flatmap(
    lambda n: st.tuples(
        st.lists(st.floats(0.05, 1.0), min_size=n, max_size=n),
        st.lists(st.floats(0.0, 1.0), min_size=n, max_size=n).filter(lambda w: sum(w) > 0.01),
    )
)


@given(histograms)
def test_a_histogram_prior_has_its_distribution(histogram: tuple[list[float], list[float]]) -> None:
    widths, weights = histogram
    edges = (0.5, *(0.5 + np.cumsum(widths)))
    prior = Parameter(
        "x", "", edges[0], edges[-1], "histogram", edges=edges, weights=tuple(weights)
    )
    x = prior.from_unit((np.arange(200_000) + 0.5) / 200_000)
    assert np.all(np.diff(x) >= 0)
    counts = np.histogram(x, edges)[0] / 200_000
    np.testing.assert_allclose(counts, np.array(weights) / sum(weights), atol=2e-5)


def test_a_histogram_is_cut_to_the_range() -> None:
    edges, weights = tuple(MASSES["bin_edges"]), tuple(MASSES["probabilities"])
    prior = Parameter("x", "", 1.1, 2.2, "histogram", edges=edges, weights=weights)
    x = prior.from_unit(np.linspace(0, 1, 100_001))
    assert x[0] == 1.1
    assert x[-1] == 2.2
    # 0.1 of the bin to 1.2, 0.4 of the next, 0.15 of the last.
    assert np.mean(x < 1.2) == pytest.approx(0.1 / 0.65, abs=1e-4)
    assert np.mean(x < 1.4) == pytest.approx(0.5 / 0.65, abs=1e-4)


@pytest.mark.parametrize(
    ("edges", "weights"),
    [
        ((), ()), ((1.0, 2.0), ()), ((2.0, 1.0), (1.0,)), ((1.0, 2.0), (-1.0,)),
        ((1.0, 2.0), (0.0,)), ((5.0, 6.0), (1.0,)), ((1.0, 2.0), (np.nan,)),
    ],
)  # fmt: skip
def test_what_is_no_histogram_is_refused(
    edges: tuple[float, ...], weights: tuple[float, ...]
) -> None:
    with pytest.raises(ConfigError, match="histogram"):
        Parameter("x", "", 0.5, 3.0, "histogram", edges=edges, weights=weights)


def test_the_alerts_chirp_mass_becomes_the_models_prior() -> None:
    (prior,) = alert_priors({"mchirp_source": MASSES}, ("nicholl21_bns", "sn_ia"))
    model = registry.load("nicholl21_bns").with_priors([prior])
    own = registry.load("nicholl21_bns").parameters[0]
    new = model.parameters[0]
    assert (new.name, new.prior, new.low, new.high) == (
        "chirp_mass",
        "histogram",
        own.low,
        own.high,
    )
    chirp = model.theta(np.random.default_rng(0).random((20_000, len(model.parameters))))[:, 0]
    assert np.mean(chirp < 1.2) == pytest.approx(
        (0.026 + 0.2) / (0.626 + 0.3 * 0.5 / 1.6), abs=0.01
    )
    assert model.parameters[1:] == registry.load("nicholl21_bns").parameters[1:]


def test_an_alert_without_masses_leaves_the_models_own_prior() -> None:
    assert alert_priors({}, ("nicholl21_bns",)) == ()
    assert alert_priors({"mchirp_source": None}, ("nsbh",)) == ()
    assert alert_priors({"mchirp_source": MASSES}, ("villar17_3", "sn_ia")) == ()


@pytest.mark.parametrize(
    "masses",
    [
        7, [], {}, {"bin_edges": [1.0, 2.0]}, {"bin_edges": [], "probabilities": []},
        {"bin_edges": [1.0, 2.0], "probabilities": ["x"]},
        {"bin_edges": [1.0, float("inf")], "probabilities": [1.0]},
        {"bin_edges": [2.0, 1.0], "probabilities": [1.0]},
        {"bin_edges": [1.0, 2.0, 3.0], "probabilities": [1.0]},
    ],
)  # fmt: skip
def test_masses_that_are_no_histogram_are_a_bad_notice(masses: object) -> None:
    with pytest.raises(BadNotice, match="mchirp_source"):
        alert_priors({"mchirp_source": masses}, ("nicholl21_bns",))


def test_the_classification_says_which_model_is_worth_a_run() -> None:
    assert likely_models({"BNS": 0.95, "NSBH": 0.04}) == ("nicholl21_bns", "nicholl21_bns_cocoon")
    assert likely_models({"BNS": 0.2, "NSBH": 0.7})[0] == "nsbh"
    assert likely_models({"BBH": 1.0}) == ()


def test_a_model_that_the_masses_exclude_is_left_out() -> None:
    low = {"bin_edges": [1.1, 1.2, 1.3], "probabilities": [0.5, 0.5]}
    high = {"bin_edges": [2.1, 2.5], "probabilities": [1.0]}
    asked = ("nicholl21_bns", "nsbh", "sn_ia")
    assert within_reach(asked, alert_priors({"mchirp_source": low}, asked)) == (
        "nicholl21_bns", "sn_ia",
    )  # fmt: skip
    assert within_reach(asked, alert_priors({"mchirp_source": high}, asked)) == ("nsbh", "sn_ia")
    assert within_reach(asked, ()) == asked
    heavy = {"bin_edges": [20.0, 30.0], "probabilities": [1.0]}
    alone = ("nicholl21_bns",)
    assert within_reach(alone, alert_priors({"mchirp_source": heavy}, alone)) == alone


def test_masses_out_of_a_models_reach_are_an_error_that_says_so() -> None:
    heavy = Parameter("chirp_mass", "Msun", 5.0, 30.0)
    with pytest.raises(ConfigError, match=r"chirp_mass.*bad range"):
        registry.load("nicholl21_bns").with_priors([heavy])
    with pytest.raises(ConfigError, match="prior is in 'g', not 'Msun'"):
        registry.load("nicholl21_bns").with_priors([Parameter("chirp_mass", "g", 1.0, 1.5)])
    with pytest.raises(ConfigError, match="no model asked for has a parameter chrip_mass"):
        run(replace(JOB, priors=(Parameter("chrip_mass", "Msun", 1.0, 2.0),)))


def test_priors_dust_and_errors_are_in_the_key_and_survive_storage() -> None:
    (prior,) = alert_priors({"mchirp_source": MASSES}, ("nsbh",))
    jobs = [
        JOB,
        replace(JOB, priors=(prior,)),
        replace(JOB, priors=(replace(prior, weights=(0.1, 0.2, 0.3, 0.4)),)),
        replace(JOB, host_dust="av"),
        replace(JOB, host_dust="av_rv"),
        replace(JOB, systematics="per_band"),
    ]
    assert len({run_key(job) for job in jobs}) == len(jobs)
    for job in jobs:
        assert job_from_json(job_to_json(job)) == job
        assert run_key(job_from_json(job_to_json(job))) == run_key(job)
    before = {
        k: v for k, v in asdict(JOB).items() if k not in ("priors", "host_dust", "systematics")
    }
    assert job_from_json(before) == JOB  # a job that waits in a store of before


def test_all_is_what_it_was() -> None:
    assert replace(JOB, models=("all",)).model_names() == (
        "afterglow", "fast_blackbody", "sn_ia", "sn_ibc", "sn_iib", "steady",
        "villar17_1", "villar17_2", "villar17_3",
    )  # fmt: skip
    assert set(registry.default_names()) < set(registry.names())


def test_host_dust_is_the_law_at_the_rest_wavelength() -> None:
    import extinction

    bands = passbands(("lsst:u", "lsst:r", "2mass:ks"))
    av, rv, z = np.array([0.5, 1.0, 2.0]), np.array([2.3, 3.1, 5.7]), np.array([0.0, 0.31, 1.7])
    ours = host_extinction(bands, av, rv, z)
    for k in range(3):
        rest = bands.pivot_angstrom / (1 + z[k])
        exact = extinction.fitzpatrick99(rest, av[k], rv[k])
        np.testing.assert_allclose(ours[k], exact, atol=3e-3 * av[k])


@pytest.mark.parametrize("band", ["lsst:u", "lsst:g", "lsst:i", "ztf:g", "ztf:r", "2mass:ks"])
@pytest.mark.parametrize(("temperature", "within"), [(3000.0, 0.08), (6000.0, 0.03), (2e4, 0.015)])
def test_dust_at_the_pivot_is_near_that_of_the_whole_band(
    band: str, temperature: float, within: float
) -> None:
    if band == "lsst:u" and temperature == 3000.0:
        within = 0.18  # such light comes from the red end of the band
    import extinction

    wave, response = curve(band)
    fine = np.linspace(wave[0], wave[-1], 4001)
    photon = np.interp(fine, wave, response) / fine
    light = planck(C_CM_S / (fine * 1e-8), np.array([temperature])) * photon
    dimmed = light * 10 ** (-0.4 * extinction.fitzpatrick99(fine, 1.0, 3.1))
    exact = -2.5 * np.log10(np.trapezoid(dimmed, fine) / np.trapezoid(light, fine))
    ours = host_extinction(passbands((band,)), np.ones(1), np.full(1, 3.1), np.zeros(1))[0, 0]
    assert ours == pytest.approx(exact, abs=within)


@pytest.mark.parametrize(("host_dust", "extra"), [("av", 1), ("av_rv", 2)])
def test_host_dust_dims_what_the_model_gives(host_dust: str, extra: int) -> None:
    job = replace(JOB, host_dust=host_dust)  # type: ignore[arg-type]
    data = Data.of(job)
    plain, dusty = Likelihood(ONE, data, JOB), Likelihood(ONE, data, job)
    assert dusty.n_dim == plain.n_dim + extra
    names = [p.name for p in dusty.parameters()]
    assert names[4 : 4 + extra] == [HOST_AV.name, HOST_RV.name][:extra]
    u = np.random.default_rng(0).uniform(0.1, 0.9, (7, dusty.n_dim))
    bare = np.delete(u, [4, 5][:extra], axis=1)
    theta, distance, _ = dusty.values(u)
    plain_theta, plain_distance, _ = plain.values(bare)
    np.testing.assert_array_equal(distance, plain_distance)
    mags = dusty.magnitudes(theta, distance, data.t_day, data.band)
    clear = plain.magnitudes(plain_theta, plain_distance, data.t_day, data.band)
    rv = theta[:, 5] if extra == 2 else np.full(7, 3.1)
    from mmcoord.inference.likelihood import hubble_redshift

    expected = host_extinction(data.bands, theta[:, 4], rv, hubble_redshift(distance))
    np.testing.assert_allclose(mags - clear, expected[:, data.band], atol=1e-12)
    blue, red = data.bands.names.index("lsst:g"), data.bands.names.index("2mass:ks")
    assert np.all(expected[:, blue] > 3 * expected[:, red])


def test_models_with_dust_of_their_own_and_apparent_ones_get_no_more() -> None:
    job = replace(JOB, host_dust="av_rv")
    data = Data.of(job)
    for name in ("sn_ia", "sn_iib", "afterglow", "steady"):
        model = registry.load(name)
        assert Likelihood(model, data, job).n_dim == Likelihood(model, data, JOB).n_dim


def test_each_band_may_have_its_own_error() -> None:
    job = replace(JOB, systematics="per_band")
    data = Data.of(job)
    assert (data.err == 0).any()
    each = Likelihood(ONE, data, job)
    bands = data.bands.names
    assert [p.name for p in each.parameters()][-3:] == [f"sigma_sys {b}" for b in bands]
    u = np.random.default_rng(4).uniform(0.2, 0.8, (20, each.n_dim))
    theta, distance, sigma = each.values(u)
    mags = each.magnitudes(theta, distance, data.t_day, data.band)
    slow = np.zeros(20)
    for j, b in enumerate(data.band):
        if data.err[j] > 0:
            total = np.hypot(data.err[j], sigma[:, b])
            z = (mags[:, j] - data.mag[j]) / total
            capped = np.where(z > 0, np.minimum(z, 2.5 / np.log(10) / data.err[j]), z)
            slow += -0.5 * capped**2 - np.log(total * np.sqrt(2 * np.pi))
        else:
            total = np.hypot(LIMIT_SIGMA_MAG, sigma[:, b])
            slow += norm.logcdf((mags[:, j] - data.mag[j]) / total)
    np.testing.assert_allclose(each(u), slow, rtol=1e-9)
    common = Likelihood(ONE, data, JOB)
    u[:, -3:] = u[:, -3:-2]
    np.testing.assert_allclose(each(u), common(u[:, :-2]), rtol=1e-12)


@pytest.mark.long
def test_a_dusty_kilonova_with_one_bad_band_is_recovered() -> None:
    # One band scatters by 0.4 mag, and A_V = 1 in the host: the errors per band single that
    # band out, and the dust is seen.
    truth = [0.03, 0.2, 2500.0, 1.5]
    names = ["lsst:g", "lsst:i", "lsst:r", "lsst:z"]
    light = simulate(ONE, truth, [0.6, 1.1, 1.6, 2.6, 3.6, 4.6], names, err=0.02)
    bands = passbands(tuple(names))
    dust = host_extinction(bands, np.ones(1), np.full(1, 3.1), np.full(1, 0.023))[0]
    rng = np.random.default_rng(5)
    dusty = tuple(
        replace(
            p,
            mag_ab=p.mag_ab
            + dust[names.index(p.band)]
            + (0.4 * rng.standard_normal() if p.band == "lsst:z" else 0.0),
        )
        for p in light
    )
    job = replace(
        JOB,
        photometry=dusty,
        host_dust="av",
        systematics="per_band",
        redshift=0.023,
        sampler=SamplerSettings(ess_target=500),
    )
    summary = run(job).summary
    found = summary["parameters"]
    assert summary["converged"]
    assert found["host_av"]["lo90"] - 0.2 < 1.0 < found["host_av"]["hi90"] + 0.2
    assert found["sigma_sys lsst:z"]["lo90"] > 0.1
    assert found["sigma_sys lsst:r"]["median"] < 0.1
    assert set(summary["derived"]) == {"ejecta_mass_total_msun"}


def test_the_command_line_hands_them_on(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from mmcoord.cli import app

    light = tmp_path / "light.csv"
    light.write_text("mjd,band,mag,mag_err\n60000.5,lsst:r,20.0,0.1\n60001.5,lsst:r,21.0,0.1\n")
    runner = CliRunner()
    fit = ["fit", str(light), "--t0", "60000.0", "--distance-mpc", "100", "--model", "villar17_1"]
    # A prior on a mass that the model does not have is refused before anything is sampled.
    refused = runner.invoke(app, [*fit, "--chirp-mass", "1.2"])
    assert refused.exit_code != 0
    assert "chirp_mass" in str(refused.exception)
    assert runner.invoke(app, [*fit, "--host-dust", "much"]).exit_code == 2
    assert runner.invoke(app, [*fit, "--systematics", "none"]).exit_code == 2


def test_the_time_of_the_event_is_an_mjd_or_a_time_as_people_write_it() -> None:
    from astropy.time import Time

    from mmcoord.cli_fit import event_time
    from mmcoord.errors import ConfigError

    there = Time("2017-08-17T12:41:04", scale="utc").tai.mjd
    for said in ("2017-08-17T12:41:04", "2017-08-17 12:41:04Z", "2017-08-17T14:41:04+02:00"):
        assert event_time(said) == pytest.approx(there, abs=1e-8)
    assert event_time("57982.5285185") == pytest.approx(there, abs=1e-6)
    for said in ("yesterday", "nan", "inf", ""):
        with pytest.raises(ConfigError, match="neither an MJD nor a time"):
            event_time(said)
