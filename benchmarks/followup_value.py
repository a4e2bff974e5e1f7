"""Time of the expected information of 9 bands x 40 times for one target, and of its peer.

The peer is the usual nested Monte Carlo estimate of the same numbers (Rainforth et al. 2018, ICML,
arXiv:1709.06181) in vectorised numpy, with as many outcomes as bring its error to 0.02 bit.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
from scipy.special import log_ndtr, logsumexp

from followup.value import FLOOR_MAG, information, signal
from mmcoord.predictions import ClassPredictions

N_BANDS, N_TIMES, N_DRAWS, N_OUTCOMES = 9, 40, 64, 700
CLASSES = ("kilonova", "sn_ia", "sn_ibc", "sn_iib", "afterglow", "fast_blackbody", "steady")
DEPTH = 22.5


def made() -> ClassPredictions:
    """Light curves with the spread of real ones: fading at a rate of the class's own."""
    rng = np.random.default_rng(1)
    rate = np.array([0.9, -0.1, -0.1, 0.0, 0.7, 0.4, 0.0])
    start = rng.normal(21.0, 0.8, (len(CLASSES), N_DRAWS, N_BANDS, 1))
    slope = rng.normal(rate[:, None, None, None], 0.2, (len(CLASSES), N_DRAWS, N_BANDS, 1))
    mjd = np.linspace(60000.0, 60005.0, N_TIMES)
    return ClassPredictions(
        CLASSES,
        np.array([0.2, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1]),
        tuple(f"band{k}" for k in range(N_BANDS)),
        mjd,
        (start + slope * (mjd - mjd[0])).astype(np.float32),
        "screen",
    )


def nested(predictions: ClassPredictions, band: int, time_index: int) -> float:
    """Class information of one observation in bits, by nested Monte Carlo."""
    rng = np.random.default_rng(band * N_TIMES + time_index)
    u = signal(predictions.magnitudes[:, :, band, time_index], DEPTH, FLOOR_MAG)
    c = 0.4 * np.log(10.0) * FLOOR_MAG
    threshold = np.arcsinh(5 * c) / c
    of_class = rng.choice(len(CLASSES), N_OUTCOMES, p=predictions.probability)
    v = u[of_class, rng.integers(N_DRAWS, size=N_OUTCOMES)] + rng.standard_normal(N_OUTCOMES)
    log_l = np.where(
        v[:, None, None] < threshold, log_ndtr(threshold - u), -0.5 * (v[:, None, None] - u) ** 2
    )
    log_p = logsumexp(log_l, axis=2) - np.log(N_DRAWS)
    evidence = logsumexp(log_p + np.log(predictions.probability), axis=1)
    return float((log_p[np.arange(N_OUTCOMES), of_class] - evidence).mean() / np.log(2.0))


def milliseconds(run: Callable[[], object], repeats: int) -> dict[str, float]:
    wall, cpu = [], []
    for _ in range(repeats):
        begin, used = time.perf_counter(), time.process_time()
        run()
        wall.append(1e3 * (time.perf_counter() - begin))
        cpu.append(1e3 * (time.process_time() - used))
    return {"wall_ms": round(statistics.median(wall), 2), "cpu_ms": round(min(cpu), 2)}


def main() -> None:
    asked = made()
    band, place = (x.ravel() for x in np.meshgrid(range(N_BANDS), range(N_TIMES), indexing="ij"))
    mjd, depth = asked.mjd_tai[place], np.full(len(band), DEPTH)
    found = information(asked, band, mjd, depth, is_corrected=False)  # compiles
    ours = milliseconds(lambda: information(asked, band, mjd, depth), 15)
    some = range(0, len(band), 12)
    peer = milliseconds(lambda: [nested(asked, band[o], place[o]) for o in some], 3)
    other = np.array([nested(asked, band[o], place[o]) for o in some])
    print(
        json.dumps(
            {
                "options": len(band),
                "classes": len(CLASSES),
                "draws": N_DRAWS,
                "ours": ours,
                "peer_nested_monte_carlo": {k: round(v * 12, 1) for k, v in peer.items()},
                "rms_difference_bit": round(
                    float(np.sqrt(np.mean((other - found.about_class[list(some)]) ** 2))), 4
                ),
                "mean_information_bit": round(float(found.about_class.mean()), 3),
                "load_1min": round(os.getloadavg()[0], 2),
                "cpus": os.cpu_count(),
            }
        )
    )


if __name__ == "__main__":
    main()
