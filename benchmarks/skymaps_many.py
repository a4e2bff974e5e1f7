"""Many candidates against many maps; prints JSON, checks its own answers.

``python -m benchmarks.skymaps_many [CANDIDATES] [MAPS]``, by default 4e7 and 100. With
``--growth FILE.png`` it draws time against candidates, tiles and maps instead.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np

import skymaps
from benchmarks.skymaps_common import best_of, machine, peak_gb, report, sky
from tests.skymaps.maps import random_tiles


def made_map(seed: int, tiles: int = 19_200, area_deg2: float | None = None) -> skymaps.SkyMap:
    """An error ellipse with the number of tiles and the spread of areas of LVK maps."""
    rng = np.random.default_rng(seed)
    # Areas of 90 % like those of the O4 maps in the data: 10 to 10,000 deg2, 1,700 on average.
    area = area_deg2 or float(np.exp(rng.uniform(np.log(10.0), np.log(10_000.0))))
    minor = np.sqrt(area / np.pi / 6.0)
    ra, dec = sky(1, seed)
    major = min(6.0 * minor, 80.0)
    skymap = skymaps.from_ellipse(
        float(ra[0]), float(dec[0]), major, minor, float(rng.uniform(0, 180)), 0.9
    )
    return skymap


def tiled_map(tiles: int) -> skymaps.SkyMap:
    """A map of a given number of random tiles."""
    order, pixel = random_tiles(np.random.default_rng(tiles), (tiles - 12) // 3)
    density = np.exp(np.random.default_rng(1).normal(0, 2, len(order)))
    return skymaps.build_map(order, pixel, density)


def check(index: skymaps.CandidateIndex, prepared: skymaps.PreparedMap, n: int) -> bool:
    """The index's answer is that of one lookup for each candidate."""
    ra, dec = sky(n)
    direct = skymaps.match(prepared, ra, dec).credible_level_2d
    found = index.match(prepared)
    inside = np.flatnonzero(direct <= 0.9)
    same = np.array_equal(np.sort(found.candidate_id), inside)
    return bool(same and np.array_equal(direct[found.candidate_id], found.credible_level_2d))


def bulk(n: int, maps: Sequence[skymaps.PreparedMap]) -> dict[str, object]:
    ra, dec = sky(n)
    ids = np.arange(n)
    mjd = np.random.default_rng(5).uniform(0.0, 10.0, n)
    skymaps.CandidateIndex().add(ids[:100], ra[:100], dec[:100], mjd[:100])
    start = time.perf_counter()
    index = skymaps.CandidateIndex()
    index.add(ids, ra, dec, mjd)
    build = time.perf_counter() - start
    del ra, dec, ids, mjd
    index.match_many(maps[:1])
    start = time.perf_counter()
    found = index.match_many(maps)
    sorted_s = time.perf_counter() - start
    rows = len(found)
    checksum = all(
        len(found.of_map(k).candidate_id) == len(index.match(maps[k]).candidate_id)
        for k in (0, len(maps) // 2)
    )
    del found
    windows = [(float(k % 10), float(k % 10) + 1.0) for k in range(len(maps))]
    start = time.perf_counter()
    timed = len(index.match_many(maps, windows_mjd=windows))
    return {
        "candidates": n,
        "maps": len(maps),
        "match_rows": rows,
        "from_sorted_store_s": sorted_s,
        "from_unsorted_positions_s": build + sorted_s,
        "from_sorted_store_one_day_windows_s": time.perf_counter() - start,
        "match_rows_in_windows": timed,
        "counts_agree_with_single_maps": checksum,
        "peak_rss_gb": peak_gb(),
    }


def new_map(n: int) -> dict[str, object]:
    ra, dec = sky(n)
    index = skymaps.CandidateIndex()
    index.add(np.arange(n), ra, dec, np.zeros(n))
    data = skymaps.to_fits_bytes(made_map(3, area_deg2=1000.0))
    prepared = skymaps.prepare(skymaps.load(data))
    return {
        "stored_candidates": n,
        "tiles": len(prepared.skymap),
        "bytes_to_matches_ms": best_of(lambda: index.match(skymaps.load(data))) * 1e3,
        "matches": len(index.match(prepared).candidate_id),
        "agrees_with_lookup": check(index, prepared, n),
    }


def active(maps: Sequence[skymaps.PreparedMap], n: int) -> dict[str, object]:
    active_maps = skymaps.ActiveMaps(0.9)
    active_maps.add("warm-up", maps[0])
    active_maps.discard("warm-up")
    add, retract = [], []
    for k, prepared in enumerate(maps):
        start = time.perf_counter()
        active_maps.add(k, prepared, time=k % 10, window=(-1.0, 3.0))
        add.append(time.perf_counter() - start)
    for k in range(0, len(maps), 5):
        start = time.perf_counter()
        active_maps.discard(k)
        retract.append(time.perf_counter() - start)
        active_maps.add(k, maps[k], time=k % 10, window=(-1.0, 3.0))
    ra, dec = sky(n)
    times = np.random.default_rng(5).uniform(0.0, 10.0, n)
    found = active_maps.match(ra, dec)
    direct = skymaps.match(maps[1], ra, dec).credible_level_2d
    same = np.array_equal(np.flatnonzero(direct <= 0.9), found.candidate[found.slot == 1])
    batch = 1000
    return {
        "maps": len(maps),
        "add_ms_median": float(np.median(add)) * 1e3,
        "add_ms_max": float(np.max(add)) * 1e3,
        "retract_ms_median": float(np.median(retract)) * 1e3,
        "retract_ms_max": float(np.max(retract)) * 1e3,
        "matches_per_candidate": len(found.candidate) / n,
        "stream_ns_per_candidate": best_of(lambda: active_maps.match(ra, dec), 3) / n * 1e9,
        "stream_with_windows_ns_per_candidate": best_of(
            lambda: active_maps.match(ra, dec, times), 3
        )
        / n
        * 1e9,
        "batch_of_1000_us": best_of(
            lambda: active_maps.match(ra[:batch], dec[:batch], times[:batch]), 5
        )
        * 1e6,
        "agrees_with_lookup": bool(same),
    }


def growth(path: str) -> None:
    """Time against number of candidates, tiles and maps."""
    from matplotlib.figure import Figure

    prepared = skymaps.prepare(tiled_map(20_000))
    candidates = [10_000, 100_000, 1_000_000, 10_000_000, 40_000_000]
    lookup = []
    for n in candidates:
        ra, dec = sky(n)
        repeats = 5 if n <= 1_000_000 else 2
        lookup.append(best_of(lambda ra=ra, dec=dec: skymaps.match(prepared, ra, dec), repeats))
    tiles = [20_000, 60_000, 200_000, 600_000, 2_000_000]
    ra, dec = sky(1_000_000)
    by_tiles, preparing = [], []
    for count in tiles:
        skymap = tiled_map(count)
        preparing.append(best_of(lambda skymap=skymap: skymaps.prepare(skymap), 2))
        ready = skymaps.prepare(skymap)
        by_tiles.append(best_of(lambda ready=ready: skymaps.match(ready, ra, dec), 3))
    index = skymaps.CandidateIndex()
    index.add(np.arange(len(ra)), ra, dec, np.zeros(len(ra)))
    distinct = [skymaps.prepare(made_map(k)) for k in range(50)]
    counts = [1, 10, 100, 1000]
    scans = [best_of(lambda k=k: index.match_many((distinct * 20)[:k]), 2) for k in counts]
    figure = Figure(figsize=(12, 3.6), layout="constrained", dpi=110)
    panels = (
        (candidates, [("lookup, 20,000 tiles", lookup)], "candidates"),
        (tiles, [("lookup of 1e6 candidates", by_tiles), ("preparation", preparing)], "tiles"),
        (counts, [("1e6 stored candidates, rows written", scans)], "maps"),
    )
    axes = figure.subplots(1, 3)
    for ax, (x, curves, label) in zip(axes, panels, strict=True):
        for name, y in curves:
            ax.loglog(x, y, "o-", label=name)
        ax.set(xlabel=label, ylabel="s")
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
    figure.savefig(path)
    report(
        {
            "candidates": dict(zip(map(str, candidates), lookup, strict=True)),
            "tiles": dict(zip(map(str, tiles), by_tiles, strict=True)),
            "preparation": dict(zip(map(str, tiles), preparing, strict=True)),
            "maps": dict(zip(map(str, counts), scans, strict=True)),
        }
    )


def main() -> None:
    if "--growth" in sys.argv:
        growth(sys.argv[sys.argv.index("--growth") + 1])
        return
    n = int(float(sys.argv[1])) if len(sys.argv) > 1 else 40_000_000
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    before = machine()
    maps = [skymaps.prepare(made_map(seed)) for seed in range(count)]
    areas = [skymaps.credible_area_deg2(m.skymap, 0.9) for m in maps]
    result = {
        "machine_before": before,
        "mean_area_90_deg2": float(np.mean(areas)),
        "mean_tiles": float(np.mean([len(m.skymap) for m in maps])),
        "bulk": bulk(n, maps),
        "active": active(maps, min(n, 1_000_000)),
        "new_map": new_map(min(n, 10_000_000)),
    }
    report(result)


if __name__ == "__main__":
    main()
