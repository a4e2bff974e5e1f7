"""The quick look on simulated and real candidates."""

from __future__ import annotations

import csv
from collections import defaultdict

import numpy as np
import pytest
from astropy.time import Time

from mmcoord.bands import canonical
from mmcoord.config import InferSettings
from mmcoord.inference import bank
from mmcoord.inference.bank_curves import N_KILONOVAE, N_OTHERS, NODES_MPC, T_DAY
from mmcoord.inference.classes import CLASSES, class_priors
from mmcoord.inference.files import read_photometry
from mmcoord.inference.job import DEFAULT_CLASS_PRIORS
from mmcoord.inference.models import registry
from mmcoord.inference.screening import ScreenRequest, ScreenResult, fit_bank, screen_many
from mmcoord.inference.screening import screen as screen_request
from mmcoord.records import Photometry
from mmcoord.timescales import utc_mjd_to_tai
from tests.inference.light import T0, simulate
from tests.shared import shared


def screen(
    photometry: tuple[Photometry, ...] | list[Photometry],
    t0_mjd_tai: float,
    mean_mpc: float | None,
    std_mpc: float | None,
    **more: float,
) -> ScreenResult:
    return screen_request(ScreenRequest(tuple(photometry), t0_mjd_tai, mean_mpc, std_mpc, **more))


PRIOR = dict(DEFAULT_CLASS_PRIORS)["kilonova"]
AT2017GFO_LIKE = [0.017, 0.3, 2500.0, 0.033, 0.19, 2800.0, 0.027, 0.15, 700.0]


def kilonova(days: list[float], bands: list[str], **kw: float) -> tuple[Photometry, ...]:
    return simulate(registry.load("villar17_3"), AT2017GFO_LIKE, days, bands, **kw)  # type: ignore[arg-type]


def test_a_well_observed_kilonova_stands_out() -> None:
    light = kilonova([0.6, 1.6, 2.6, 3.6], ["lsst:g", "lsst:r", "lsst:i", "lsst:z"])
    assert screen(light, T0, 100.0, 15.0).p_kilonova > 0.9


def test_evidence_grows_night_by_night() -> None:
    bands = ["lsst:g", "lsst:r", "lsst:i"]
    p = [
        screen(kilonova([0.6, 1.6, 2.6, 3.6][:n], bands), T0, 100.0, 15.0).p_kilonova
        for n in (1, 2, 4)
    ]
    assert PRIOR < p[0] < p[2]
    assert p[1] < p[2]


@pytest.mark.parametrize("mag", [18.0, 21.0])
def test_a_flat_source_does_not(mag: float) -> None:
    light = simulate(
        registry.load("steady"), [mag, 0.0, 6500.0], [0.6, 2.6, 5.6, 8.6], ["lsst:g", "lsst:r"]
    )
    assert screen(light, T0, 100.0, 15.0).p_kilonova < PRIOR


def test_an_old_source_is_ruled_out_with_the_reason() -> None:
    light = kilonova([0.6, 1.6], ["lsst:g", "lsst:r"])
    old = Photometry("sim", T0 - 20.0, "lsst:r", 21.0, 0.1)
    result = screen((*light, old), T0, 100.0, 15.0)
    assert result.p_kilonova == 0.0
    assert "detected 20.00 d before the event" in result.reason


def test_no_usable_point_leaves_the_prior_and_says_so() -> None:
    late = Photometry("a", T0 + 40.0, "lsst:r", 20.0, 0.1)
    odd = Photometry("a", T0 + 1.0, "radio-3GHz", 20.0, 0.1)
    limit = Photometry("a", T0 + 1.0, "lsst:r", 22.0, None, True)
    for light in ((), (late,), (odd,), (limit,)):
        result = screen(light, T0, 100.0, 15.0)
        assert result.p_kilonova == pytest.approx(PRIOR)
        assert "prior" in result.reason


def test_a_deep_limit_counts_against_a_source_that_should_be_seen() -> None:
    light = kilonova([1.0], ["lsst:g", "lsst:r"])
    deep_before = Photometry("sim", T0 + 0.5, "lsst:r", 25.0, None, True)
    shallow = Photometry("sim", T0 + 0.5, "lsst:r", 17.0, None, True)
    plain = screen(light, T0, 100.0, 15.0).p_kilonova
    assert screen((*light, shallow), T0, 100.0, 15.0).p_kilonova == pytest.approx(plain, rel=0.2)
    assert screen((*light, deep_before), T0, 100.0, 15.0).p_kilonova < 0.5 * plain


def test_distance_matters() -> None:
    light = kilonova([0.6, 1.6, 2.6], ["lsst:g", "lsst:r"])
    here = screen(light, T0, 100.0, 10.0).p_kilonova
    assert screen(light, T0, 1500.0, 100.0).p_kilonova < 0.1 * here
    assert 0.0 <= screen(light, T0, None, None).p_kilonova <= 1.0
    assert 0.0 <= screen(light, T0, float("nan"), 1.0).p_kilonova <= 1.0


def test_hundreds_of_points_are_no_trouble() -> None:
    light = kilonova(list(np.linspace(0.3, 9.0, 60)), ["lsst:g", "lsst:r", "lsst:z", "2mass:ks"])
    assert len(light) > 200
    assert screen(light, T0, 100.0, 15.0).p_kilonova > 0.99


def test_candidates_do_not_know_of_each_other() -> None:
    requests = [
        ScreenRequest(kilonova([0.6 + k], ["lsst:g", "lsst:r"]), T0, 100.0, 15.0) for k in range(4)
    ]
    together = screen_many(requests)
    assert together == [screen_many([r])[0] for r in requests]
    assert screen_many(reversed(requests)) == list(reversed(together))


def test_dust_that_is_stated_is_removed() -> None:
    light = kilonova([0.6, 1.6, 2.6], ["lsst:g", "lsst:r"])
    from mmcoord.inference.passbands import passbands

    dim = dict(zip(("lsst:g", "lsst:r"), passbands(("lsst:g", "lsst:r"), 0.5).mw_mag, strict=True))
    dusty = tuple(
        Photometry(p.object_id, p.obs_mjd_tai, p.band, p.mag_ab + dim[p.band], p.mag_err)
        for p in light
    )
    plain = fit_bank(ScreenRequest(light, T0, 100.0, 15.0))
    clean = fit_bank(ScreenRequest(dusty, T0, 100.0, 15.0, ebv_mw=0.5))
    assert plain is not None
    assert clean is not None
    # The same curve fits best, at the same brightness; only the dust's own error is new.
    assert clean.log_l.argmax() == plain.log_l.argmax()
    assert np.abs(clean.shift - plain.shift)[plain.log_l.argmax()] < 0.05
    sure = screen(light, T0, 100.0, 15.0).p_kilonova
    assert PRIOR < screen(dusty, T0, 100.0, 15.0, ebv_mw=0.5).p_kilonova < sure


def test_the_marginal_over_brightness_is_the_integral() -> None:
    """Against quadrature over the shift, for one curve of either kind."""
    light = kilonova([0.6, 1.6], ["lsst:g", "lsst:r"])
    fitted = fit_bank(ScreenRequest(light, T0, 110.0, 22.0))
    assert fitted is not None
    deviation = 5.0 / np.log(10.0) * 0.2
    modulus = 5.0 * np.log10(110.0e5)
    node = NODES_MPC[fitted.node]
    grid = np.linspace(-25.0, 25.0, 200_001)
    for curve, is_kilonova in ((N_OTHERS + 7, True), (N_OTHERS - 5, False)):
        column = curve + fitted.node * N_KILONOVAE if is_kilonova else curve
        log_l = np.zeros_like(grid)
        for point in light:
            curve_mag = np.interp(
                np.log(point.obs_mjd_tai - T0),
                np.log(T_DAY),
                bank.band(point.band)[:, column],
            )
            sigma = np.hypot(0.05, 0.25)
            log_l += -0.5 * ((point.mag_ab - curve_mag - grid) / sigma) ** 2
            log_l -= np.log(sigma * np.sqrt(2.0 * np.pi))
        if is_kilonova:
            mean = modulus - 5.0 * np.log10(node * 1e5)
            prior = np.exp(-0.5 * ((grid - mean) / deviation) ** 2)
            prior /= deviation * np.sqrt(2.0 * np.pi)
        else:
            prior = np.full_like(grid, 1.0 / 13.0)
        top = log_l.max()
        expected = top + np.log(np.trapezoid(np.exp(log_l - top) * prior, grid))
        assert fitted.log_l[curve] == pytest.approx(expected, abs=2e-3)


def test_a_host_redshift_puts_supernovae_at_its_distance() -> None:
    # A supernova at 400 Mpc in front of a host at 100 Mpc would be three magnitudes too faint.
    model = registry.load("sn_ia")
    theta = [2.0, 1.0, -19.3, 0.0]
    light = simulate(model, theta, [0.6, 2.6], ["lsst:g", "lsst:r"], distance_mpc=400.0)
    free = screen(light, T0, 100.0, 15.0)
    held = screen(light, T0, 100.0, 15.0, redshift=0.0222)
    sn_ia = CLASSES.index("sn_ia")
    assert held.probabilities[sn_ia] < 0.5 * free.probabilities[sn_ia]


def test_probabilities_add_up_and_follow_the_base_rate() -> None:
    light = kilonova([0.6, 1.6], ["lsst:g", "lsst:r"])
    request = ScreenRequest(light, T0, 100.0, 15.0)
    odds = []
    for base_rate in (0.01, 0.3):
        result = screen_request(request, class_priors(base_rate))
        assert sum(result.probabilities) == pytest.approx(1.0)
        assert result.probabilities[0] == result.p_kilonova
        odds.append(result.p_kilonova / (1 - result.p_kilonova) / (base_rate / (1 - base_rate)))
    assert odds[0] == pytest.approx(odds[1], rel=1e-6)


def test_the_verdict_is_said() -> None:
    sure = kilonova([0.6, 1.6, 2.6, 3.6], ["lsst:g", "lsst:r", "lsst:i", "lsst:z"])
    flat = simulate(registry.load("steady"), [21.0, 0.0, 6500.0], [0.6, 5.6], ["lsst:g", "lsst:r"])
    assert screen(sure, T0, 100.0, 15.0).verdict == "favoured"
    assert screen(flat, T0, 100.0, 15.0).reason.startswith("not favoured: ")
    assert screen((), T0, 100.0, 15.0).verdict == "undecided"


def test_real_transients_of_ztf_are_not_favoured_or_undecided() -> None:
    for path in sorted(shared("kn/photometry/ztf_candidates").glob("*.dat")):
        if not path.stat().st_size:
            continue
        points = read_photometry(path).photometry
        first = min(p.obs_mjd_tai for p in points if not p.is_limit)
        for before in (0.3, 1.0):
            result = screen(points, first - before, 200.0, 50.0)
            assert result.verdict != "favoured", path.name
            assert (result.verdict == "not favoured") == (result.p_kilonova < 0.1)


def test_at2017gfo_survives_the_screen_in_each_of_its_first_nights() -> None:
    points = read_photometry(shared("kn/photometry/AT2017gfo_corrected.dat")).photometry
    t0 = utc_mjd_to_tai(57982.5285)
    threshold = InferSettings().screen_threshold
    p = [
        screen([q for q in points if q.obs_mjd_tai < t0 + day], t0, 40.0, 8.0).p_kilonova
        for day in (0.6, 1.0, 1.6, 2.6, 4.6)
    ]
    assert p[0] > threshold
    assert min(p) > 0.1 * threshold  # what has passed once is kept down to there
    assert p[-1] > 0.9


def test_simulated_kilonovae_and_supernovae_part_ways() -> None:
    # Draws from the priors, other than the bank's: median answer per class.
    rng = np.random.default_rng(99)
    answers: dict[str, list[float]] = defaultdict(list)
    for name in ("villar17_3", "sn_ia", "steady"):
        model = registry.load(name)
        for seed in range(25):
            theta = list(model.theta(rng.random((1, len(model.parameters))))[0])
            light = simulate(
                model, theta, [0.7, 1.7, 3.7], ["lsst:g", "lsst:i"], limit=24.0, seed=seed
            )
            answers[name].append(screen(light, T0, 100.0, 15.0).p_kilonova)
    assert np.median(answers["villar17_3"]) > 0.3
    assert np.quantile(answers["sn_ia"], 0.9) < 0.05
    assert np.quantile(answers["steady"], 0.9) < 0.02


def test_the_night_of_gw170817() -> None:
    light: dict[str, list[Photometry]] = defaultdict(list)
    with shared("scenarios/gw170817/photometry.csv").open() as handle:
        for row in csv.DictReader(handle):
            err = float(row["mag_err"])
            limit = not np.isfinite(err)
            light[row["id"]].append(
                Photometry(
                    row["id"], float(row["mjd"]) + 37 / 86400, canonical(row["band"]),
                    float(row["mag"]), None if limit else err, limit,
                )
            )  # fmt: skip
    t0 = float(Time("2018-11-01T22:22:46.654", scale="utc").tai.mjd)
    answers = {k: screen(v, t0, 38.6, 8.2).p_kilonova for k, v in light.items()}
    assert answers["AT2017gfo"] > 0.99
    synthetic = np.array([p for k, p in answers.items() if k.startswith("SIM17-")])
    assert len(synthetic) > 4000
    assert np.mean(synthetic > 0.1) < 0.005
