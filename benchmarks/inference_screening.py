"""Screening rate of one core against the number of points a candidate, answers checked."""

from __future__ import annotations

import json
import time

import numpy as np

from mmcoord.inference.models import registry
from mmcoord.inference.passbands import passbands
from mmcoord.inference.screening import ScreenRequest, screen_many
from mmcoord.records import Photometry

T0 = 60000.0
BANDS = ("lsst:g", "lsst:r", "lsst:i", "lsst:z")


def candidates(name: str, n: int, n_points: int) -> list[ScreenRequest]:
    rng = np.random.default_rng(1)
    model = registry.load(name)
    theta = model.theta(rng.random((n, len(model.parameters))))
    t_day = np.sort(rng.uniform(0.3, 8.0, n_points))
    band = rng.integers(len(BANDS), size=n_points)
    mags = model.magnitudes(
        theta, np.full(n, 100.0), np.full(n, 0.023), t_day, band, passbands(BANDS)
    )
    mags = np.minimum(mags, 30.0) + 0.05 * rng.standard_normal(mags.shape)
    return [
        ScreenRequest(
            tuple(
                Photometry("x", T0 + t, BANDS[b], float(m), 0.05)
                for t, b, m in zip(t_day, band, row, strict=True)
            ),
            T0,
            100.0,
            15.0,
        )
        for row in mags
    ]


def main() -> None:
    screen_many(candidates("steady", 2, 64))  # builds the bank of every band
    figures: dict[str, float] = {}
    for n_points in (1, 2, 4, 8, 16, 64):
        objects = candidates("steady", 300, n_points)
        start = time.process_time()
        answers = screen_many(objects)
        figures[f"per_s_{n_points}_points"] = round(300 / (time.process_time() - start), 1)
    steady = float(np.median([a.p_kilonova for a in answers]))
    kilonovae = screen_many(candidates("villar17_3", 300, 16))
    print(
        json.dumps(
            {
                **figures,
                "median_p_steady": steady,
                "median_p_kilonova": float(np.median([a.p_kilonova for a in kilonovae])),
            }
        )
    )


if __name__ == "__main__":
    main()
