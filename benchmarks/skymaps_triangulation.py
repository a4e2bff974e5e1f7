"""Time from arrival times to a map: ``python -m benchmarks.skymaps_triangulation``.

The peer, run beside it, is what SNEWS-style scripts do: chi-square of every pair of detectors on
every pixel of a flat HEALPix grid, in NumPy with healpy. It is run at nside 64 (0.9 deg, coarser
than the map) and 256 (0.23 deg, about the finest tiles of the map), its directions made
beforehand.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import combinations
from typing import Any

import healpy as hp
import numpy as np

from benchmarks.skymaps_common import best_of, report
from skymaps.credible import credible_area_deg2
from skymaps.detectors import builtin_detectors
from skymaps.earth import LIGHT_M_S, gcrs_position_m
from skymaps.healpix import to_xyz
from skymaps.load import to_fits_bytes
from skymaps.triangulation import Arrival, triangulate

MJD = 61_000.3
SETS = {
    2: ("Super-K", "JUNO"),
    3: ("IceCube", "Super-K", "JUNO"),
    4: ("IceCube", "Hyper-K", "KM3NeT", "JUNO"),
    10: ("IceCube", "Super-K", "JUNO", "KM3NeT", "DUNE", "NOvA", "SNO+", "LVD", "Baksan", "LZ"),
}


def burst(names: tuple[str, ...]) -> list[Arrival]:
    """A noisy burst from the Galactic centre."""
    rows = [builtin_detectors()[name] for name in names]
    timings = [row.timing("light_curve") for row in rows]
    position = gcrs_position_m(
        [r.lon_deg for r in rows], [r.lat_deg for r in rows], [r.height_m for r in rows], MJD
    )
    times = -position @ to_xyz(266.405, -28.936) / LIGHT_M_S
    times += np.random.default_rng(1).standard_normal(len(rows)) * [t.sigma_s for t in timings]
    return [
        Arrival.of(row, float(time), timing)
        for row, time, timing in zip(rows, times, timings, strict=True)
    ]


def pair_sum(arrivals: list[Arrival], pixels: np.ndarray) -> np.ndarray:
    """exp(-chi2 / 2) per pixel, pairs taken as independent; normalised."""
    position = gcrs_position_m(
        [a.lon_deg for a in arrivals],
        [a.lat_deg for a in arrivals],
        [a.height_m for a in arrivals],
        MJD,
    )
    chi2 = np.zeros(len(pixels))
    for i, j in combinations(range(len(arrivals)), 2):
        expected = pixels @ (position[j] - position[i]) / LIGHT_M_S
        variance = arrivals[i].sigma_s ** 2 + arrivals[j].sigma_s ** 2
        chi2 += (arrivals[i].time_s - arrivals[j].time_s - expected) ** 2 / variance
    p = np.exp(-0.5 * (chi2 - chi2.min()))
    return p / p.sum()


def processor_s(call: Callable[[], Any], repeats: int = 10) -> float:
    """Processor time of a call: what a busy machine does not add to."""
    start = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - start) / repeats


def main() -> None:
    grids = {
        nside: np.array(hp.pix2vec(nside, np.arange(hp.nside2npix(nside)))).T for nside in (64, 256)
    }
    result: dict[str, Any] = {}
    for count, names in SETS.items():
        arrivals = burst(names)
        answer = triangulate(arrivals, MJD)
        row: dict[str, Any] = {
            "map_processor_ms": 1e3 * processor_s(lambda a=arrivals: triangulate(a, MJD)),
            "map_ms": 1e3 * best_of(lambda a=arrivals: triangulate(a, MJD), 10),
            "fits_ms": 1e3 * best_of(lambda m=answer.skymap: to_fits_bytes(m), 5),
            "tiles": len(answer.skymap),
            "finest_order": int(answer.skymap.order.max()),
            "area_90_deg2": credible_area_deg2(answer.skymap, 0.9),
        }
        for nside, pixels in grids.items():
            p = np.sort(pair_sum(arrivals, pixels))[::-1]
            seconds = best_of(lambda a=arrivals, n=pixels: pair_sum(a, n), 3)
            area = int(np.searchsorted(np.cumsum(p), 0.9)) * hp.nside2pixarea(nside, degrees=True)
            busy = processor_s(lambda a=arrivals, n=pixels: pair_sum(a, n), 3)
            row[f"pair_sum_nside{nside}"] = {
                "processor_ms": 1e3 * busy,
                "ms": 1e3 * seconds,
                "area_90_deg2": area,
            }
        result[f"{count}_detectors"] = row
    report(result)


if __name__ == "__main__":
    main()
