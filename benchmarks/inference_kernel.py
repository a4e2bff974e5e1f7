"""Time of one light curve (100 times x 9 bands, one thread) and error of the luminosity.

The answer is checked in the same run against SciPy's quadrature.
"""

from __future__ import annotations

import itertools
import json
import time

import numba
import numpy as np
from scipy.integrate import quad

from mmcoord.inference.kernels import C_CM_S, DAY_S, MSUN_G
from mmcoord.inference.models import registry
from mmcoord.inference.models.components import (
    bolometric_luminosity,
    heating_rate,
    thermalization_coefficients,
)
from mmcoord.inference.passbands import passbands

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


def worst_error_mag() -> float:
    """Largest difference from adaptive quadrature over three components and six times."""
    worst = 0.0
    t_day = np.array([0.1, 0.5, 1.0, 3.0, 8.0, 20.0])
    for mass, speed, kappa in ((0.02, 0.266, 0.5), (0.047, 0.152, 3.0), (0.011, 0.137, 10.0)):
        a, b, d = thermalization_coefficients(mass, speed)
        td2 = 2 * kappa * mass * MSUN_G / (13.7 * speed * C_CM_S**2)
        ours = bolometric_luminosity(mass, speed, kappa, 1e12, t_day)
        for end, light in zip(t_day * DAY_S, ours, strict=True):

            def integrand(
                ln_t: float, end: float = end, c: tuple[float, ...] = (a, b, d, mass, td2)
            ) -> float:
                t = np.exp(ln_t)
                y = 2 * c[1] * (t / DAY_S) ** c[2]
                thermal = 0.36 * (np.exp(-c[0] * t / DAY_S) + np.log1p(y) / y)
                rate = c[3] * MSUN_G * heating_rate(t) * thermal
                return float(rate * t * t * np.exp((t * t - end * end) / c[4]))

            knots = np.log([1e-4, 1.0, 1.3, 1.6, 3.0, 30.0, 1e3, end / 3, end / 1.2, end])
            exact = sum(
                quad(integrand, x, y, epsrel=1e-8, limit=300)[0]
                for x, y in itertools.pairwise(knots)
            )
            worst = max(worst, abs(2.5 * np.log10(light / (2 / td2 * exact))))
    return worst


def main() -> None:
    numba.set_num_threads(1)
    t_day = np.repeat(np.geomspace(0.1, 14.0, 100), 9)
    band = np.tile(np.arange(9), 100)
    bands = passbands(BANDS)
    figures: dict[str, float] = {}
    for name in ("villar17_1", "villar17_2", "villar17_3"):
        model = registry.load(name)
        theta = model.theta(np.random.default_rng(0).random((500, len(model.parameters))))
        d, z = np.full(500, 40.0), np.full(500, 0.0098)
        model.magnitudes(theta, d, z, t_day, band, bands)
        walls = []
        for _ in range(7):
            start = time.perf_counter()
            model.magnitudes(theta, d, z, t_day, band, bands)
            walls.append(time.perf_counter() - start)
        figures[f"{name}_us"] = round(min(walls) / 500 * 1e6, 2)
    print(json.dumps({**figures, "luminosity_error_mag": round(worst_error_mag(), 5)}))


if __name__ == "__main__":
    main()
