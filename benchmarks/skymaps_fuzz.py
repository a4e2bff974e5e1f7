"""The loader on broken real maps: ``python -m benchmarks.skymaps_fuzz [N] [SEED]``.

Every input must give a sound map or ``SkyMapError``, in bounded time. Prints JSON; exit
status 1 if anything else happened. The real maps are looked for as the tests do.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import skymaps
from tests.skymaps.maps import random_map, real_blobs
from tests.skymaps.mutate import mutate
from tests.skymaps.test_fuzz import check_sound

BIG = 3_000_000
"""Files above this size are tried less often, so that the run ends."""


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    warnings.simplefilter("error")
    rng = np.random.default_rng(seed)
    blobs = [b for b in real_blobs().values() if len(b) < BIG]
    large = [b for b in real_blobs().values() if BIG <= len(b) < 60_000_000]
    small = [skymaps.to_fits_bytes(random_map(s, is_3d=bool(s % 2))) for s in range(10)]
    outcome: Counter[str] = Counter()
    unexpected: list[str] = []
    slowest = 0.0
    began = time.perf_counter()
    for k in range(count):
        pool = large if k % 400 == 399 else blobs if k % 2 else small
        data = mutate(pool[int(rng.integers(len(pool)))], rng)
        start = time.perf_counter()
        try:
            check_sound(skymaps.load(data, max_bytes=100_000_000))
            outcome["map"] += 1
        except skymaps.SkyMapError:
            outcome["refused"] += 1
        except Exception as error:  # whatever else there is, is what this run looks for
            outcome["unexpected"] += 1
            unexpected.append(f"{k}: {type(error).__name__}: {error}"[:200])
        slowest = max(slowest, time.perf_counter() - start)
    print(
        json.dumps(
            {
                "inputs": count,
                "seed": seed,
                **outcome,
                "unexpected_examples": unexpected[:10],
                "slowest_s": round(slowest, 3),
                "wall_s": round(time.perf_counter() - began, 1),
                "peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
            }
        )
    )
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
