"""Time of one light curve (100 times x 9 bands, one thread) of every kernel, and their errors.

The answer is checked in the same run: the luminosity of a component against SciPy's quadrature at
random points of the priors, the whole light curve against bands integrated directly.
"""

from __future__ import annotations

import itertools
import json
import time

import numba
import numpy as np
from scipy.integrate import quad

from mmcoord.inference.kernels import C_CM_S, DAY_S, MPC_CM, MSUN_G, SIGMA_CGS
from mmcoord.inference.models import registry
from mmcoord.inference.models.components import (
    KAPPA_GAMMA_TRAPPED,
    bolometric_luminosity,
    heating_rate,
    thermalization_coefficients,
)
from mmcoord.inference.passbands import curve, passbands

BANDS = (
    "lsst:u",
    "lsst:g",
    "lsst:r",
    "lsst:i",
    "lsst:z",
    "lsst:y",
    "2mass:j",
    "2mass:h",
    "2mass:ks",
)
MODELS = (
    "villar17_1",
    "villar17_2",
    "villar17_3",
    "nicholl21_bns",
    "nicholl21_bns_cocoon",
    "nsbh",
    "metzger17",
    "hotokezaka20",
    "sn_ibc",
    "sn_iib",
    "shock_cooling",
)
N_SAMPLES = 100


def exact_luminosity(mass: float, speed: float, kappa: float, t_day: float) -> float:
    """2/t_d^2 int L_in t' exp((t'^2 - t^2)/t_d^2) dt' by adaptive quadrature."""
    a, b, d = thermalization_coefficients(mass, speed)
    td2 = 2 * kappa * mass * MSUN_G / (13.7 * speed * C_CM_S**2)
    end = t_day * DAY_S

    def integrand(ln_t: float) -> float:
        t = np.exp(ln_t)
        y = 2 * b * (t / DAY_S) ** d
        thermal = 0.36 * (np.exp(-a * t / DAY_S) + np.log1p(y) / y)
        rate = mass * MSUN_G * heating_rate(t) * thermal
        return float(rate * t * t * np.exp((t * t - end * end) / td2))

    knots = np.log([1e-4, 1.0, 1.3, 1.6, 3.0, 30.0, 1e3, end / 3, end / 1.2, end])
    pieces = itertools.pairwise(knots)
    return 2 / td2 * sum(quad(integrand, x, y, epsrel=1e-8, limit=300)[0] for x, y in pieces)


def worst_luminosity_mag(n: int = 60) -> float:
    """Largest difference from quadrature at random points of the one-component prior."""
    model = registry.load("villar17_1")
    rng = np.random.default_rng(1)
    theta = model.theta(rng.random((n, 4)))
    worst = 0.0
    for (mass, speed, _, kappa), t_day in zip(theta, np.geomspace(0.05, 20.0, n), strict=True):
        ours = bolometric_luminosity(mass, speed, kappa, 1e12, np.array([t_day]))[0]
        exact = exact_luminosity(mass, speed, kappa, t_day)
        worst = max(worst, abs(2.5 * np.log10(ours / exact)))
    return float(worst)


def worst_magnitude(n: int = 12) -> float:
    """Largest difference of magnitudes from exact luminosity and direct integration of bands."""
    model = registry.load("villar17_1")
    theta = model.theta(np.random.default_rng(2).random((n, 4)))
    t_day = np.geomspace(0.3, 8.0, n)
    worst = 0.0
    for (mass, speed, floor, kappa), t in zip(theta, t_day, strict=True):
        light = exact_luminosity(mass, speed, kappa, t)
        front = speed * C_CM_S * t * DAY_S
        leak = 3 * KAPPA_GAMMA_TRAPPED * mass * MSUN_G / (4 * np.pi * (speed * C_CM_S) ** 2)
        light *= -np.expm1(-leak / (t * DAY_S) ** 2)
        hot = (light / (4 * np.pi * SIGMA_CGS * front**2)) ** 0.25
        temperature = max(hot, floor)
        radius2 = min(front**2, light / (4 * np.pi * SIGMA_CGS * floor**4))
        for k, band in enumerate(BANDS):
            wave, response = curve(band)
            nu = C_CM_S / (wave * 1e-8)
            x = np.minimum(6.62607015e-27 * nu / (1.380649e-16 * temperature), 600.0)
            planck = 2 * 6.62607015e-27 * nu**3 / C_CM_S**2 / np.expm1(x)
            mean = np.trapezoid(planck * response / wave, wave)
            mean /= np.trapezoid(response / wave, wave)
            exact = -2.5 * np.log10(np.pi * mean * radius2 / (40 * MPC_CM) ** 2 / 3.631e-20)
            if exact > 40:
                continue
            ours = model.magnitudes(
                np.array([[mass, speed, floor, kappa]]), np.array([40.0]), np.zeros(1),
                np.array([t]), np.array([k]), passbands(BANDS),
            )[0, 0]  # fmt: skip
            worst = max(worst, abs(ours - exact))
    return float(worst)


def microseconds(name: str, bands: tuple[str, ...], n_times: int) -> dict[str, float]:
    """Best of 25: wall and processor time of one light curve in a batch, one thread.

    On a busy machine the wall is mostly the others'; the processor time is the kernel's.
    """
    t_day = np.repeat(np.geomspace(0.1, 14.0, n_times), len(bands))
    band = np.tile(np.arange(len(bands)), n_times)
    model = registry.load(name)
    theta = model.theta(np.random.default_rng(0).random((N_SAMPLES, len(model.parameters))))
    d, z = np.full(N_SAMPLES, 40.0), np.full(N_SAMPLES, 0.0098)
    table = passbands(bands)
    model.magnitudes(theta, d, z, t_day, band, table)
    walls, cpus = [], []
    for _ in range(25):
        wall, cpu = time.perf_counter(), time.process_time()
        model.magnitudes(theta, d, z, t_day, band, table)
        cpus.append(time.process_time() - cpu)
        walls.append(time.perf_counter() - wall)
    each = 1e6 / N_SAMPLES
    return {"wall_us": round(min(walls) * each, 2), "cpu_us": round(min(cpus) * each, 2)}


def main() -> None:
    numba.set_num_threads(1)
    figures = {name: microseconds(name, BANDS, 100) for name in MODELS}
    errors = {
        "luminosity_error_mag": round(worst_luminosity_mag(), 5),
        "magnitude_error_mag": round(worst_magnitude(), 5),
    }
    good = bool(errors["luminosity_error_mag"] <= 1e-3 and errors["magnitude_error_mag"] <= 0.01)
    print(json.dumps({**figures, **errors, "accurate": good}))


if __name__ == "__main__":
    main()
