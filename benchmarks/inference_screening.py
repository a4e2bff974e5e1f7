"""Screening rate of one core against the number of points a candidate, answers checked.

The peer, in the same run: fitting each candidate, for the one class SN Ia, with sncosmo's model
(the template in its wheel, the same curves) and SciPy's least squares.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import sncosmo
from scipy.optimize import least_squares

from benchmarks.skymaps_common import report
from mmcoord.inference.models import registry
from mmcoord.inference.models.sn_ia import template
from mmcoord.inference.outlook import class_predictions, predictions
from mmcoord.inference.passbands import curve, passbands
from mmcoord.inference.screening import ScreenRequest, screen_many
from mmcoord.records import Photometry

T0 = 60000.0
BANDS = ("lsst:g", "lsst:r", "lsst:i", "lsst:z")
_PREDICTED = (*BANDS, "lsst:u", "lsst:y", "2mass:j", "2mass:h", "2mass:ks")
_N_PEER = 10


def candidates(name: str, n: int, n_points: int, *, limits: bool = False) -> list[ScreenRequest]:
    """``limits``: every other point is an upper limit, 1 mag above the light."""
    rng = np.random.default_rng(1)
    model = registry.load(name)
    theta = model.theta(rng.random((n, len(model.parameters))))
    t_day = np.sort(rng.uniform(0.3, 8.0, n_points))
    band = rng.integers(len(BANDS), size=n_points)
    mags = model.magnitudes(
        theta, np.full(n, 100.0), np.full(n, 0.023), t_day, band, passbands(BANDS)
    )
    mags = np.minimum(mags, 30.0) + 0.05 * rng.standard_normal(mags.shape)

    def point(k: int, t: float, b: int, mag: float) -> Photometry:
        if limits and k % 2:
            return Photometry("x", T0 + t, BANDS[b], mag - 1.0, None, True)
        return Photometry("x", T0 + t, BANDS[b], mag, 0.05)

    return [
        ScreenRequest(
            tuple(
                point(k, float(t), int(b), float(m))
                for k, (t, b, m) in enumerate(zip(t_day, band, row, strict=True))
            ),
            T0,
            100.0,
            15.0,
            0.03,
        )
        for row in mags
    ]


def rate(objects: list[ScreenRequest]) -> float:
    """Candidates a second of processor time, the best of three."""
    best = np.inf
    for _ in range(3):
        start = time.process_time()
        screen_many(objects)
        best = min(best, time.process_time() - start)
    return round(len(objects) / best, 1)


def peer_rate(objects: list[ScreenRequest]) -> float:
    phase, wave, flux = template()
    model = sncosmo.Model(sncosmo.TimeSeriesSource(phase, wave, flux))
    model.set(z=0.023)
    bands = {name: sncosmo.Bandpass(*curve(name), name=name) for name in BANDS}
    start = time.process_time()
    for one in objects:
        points = one.photometry

        def misfit(p: Any, points: tuple[Photometry, ...] = points) -> Any:
            model.set(t0=p[0], amplitude=10.0 ** (-0.4 * p[1]))
            found = [model.bandmag(bands[q.band], "ab", q.obs_mjd_tai) for q in points]
            seen = [q.mag_ab for q in points]
            return np.clip(np.nan_to_num(np.subtract(found, seen), nan=40.0), -40, 40) / 0.3

        least_squares(misfit, [T0 + 10.0, points[0].mag_ab], max_nfev=50)
    return round(len(objects) / (time.process_time() - start), 2)


def main() -> None:
    screen_many(candidates("steady", 2, 64))  # maps the bands, compiles
    screen_many(candidates("steady", 2, 4, limits=True))
    figures: dict[str, Any] = {}
    for n_points in (1, 2, 4, 8, 16, 64):
        figures[f"per_s_{n_points}_points"] = rate(candidates("steady", 300, n_points))
    for name in ("sn_ia", "villar17_3"):
        figures[f"per_s_4_points_{name}"] = rate(candidates(name, 300, 4))
    figures["per_s_2_points_2_limits"] = rate(candidates("steady", 300, 4, limits=True))
    figures["peer_sncosmo_per_s_4_points_one_class"] = peer_rate(candidates("sn_ia", _N_PEER, 4))
    times = T0 + np.linspace(8.2, 13.2, 11)
    objects = candidates("villar17_3", 50, 4)
    for label, function in (("predictions", predictions), ("class_predictions", class_predictions)):
        function(objects[0], _PREDICTED, times)
        start = time.process_time()
        for one in objects:
            function(one, _PREDICTED, times)
        figures[f"{label}_ms"] = round((time.process_time() - start) / len(objects) * 1e3, 2)
    for name in ("steady", "villar17_3"):
        answers = screen_many(candidates(name, 300, 16))
        figures[f"median_p_{name}"] = float(np.median([a.p_kilonova for a in answers]))
    report(figures)


if __name__ == "__main__":
    main()
