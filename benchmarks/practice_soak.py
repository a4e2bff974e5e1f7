"""A long practice: candidates at a steady rate, a superevent every few minutes.

    python -m benchmarks.practice_soak [--minutes 60] [--rate 500] [--every-s 300]

Each superevent brings a night of candidates as rows of tables, spread over the time to the next
one; ``--rate`` counts rows (a candidate, a detection or a limit). The stream has its own clock:
what is received late, behind a plan or while the next night is made, is caught up with. How far
behind it fell, and the rate that was reached, are printed; it is not thinned.

Detectable: the survey saw the kilonova at 5 sigma three times or more after the merger (the
simulation sees to it) and it lies in the part of the newest map where matches are kept (99 %).
A superevent whose stream was cut off by the end of the time is not judged.

Passes if the rate was reached (99 %), the ledger balances, all work is finished soon after,
memory grows by less than 20 MB/h after a warm-up (the first third), and four of five detectable
kilonovae are among the three first targets. Prints one JSON document; exit code 1 if not.
``--screen-only`` leaves out the full inferences, for machines that cannot do them in the time.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.skymaps_common import machine
from mmcoord.config import Settings
from mmcoord.opening import open_database
from mmcoord.practice import Pace, play, practice_settings
from mmcoord.practice_score import event_score
from mmcoord.simulate.night import make_night
from mmcoord.stages.executor import build_executor
from mmcoord.stages.pipeline import Pipeline
from mmcoord.store.summary import summary
from mmcoord.wiring import build_context, with_default_sink

_ROWS_PER_CANDIDATE = 10
_SAMPLE_S = 5.0
_SLICE = 2000
_MAX_SLOPE_MB_H = 20.0
_MIN_SHARE = 0.8
_MIN_RATE = 0.99


class Memory:
    """Resident memory of this process, sampled on a thread of its own."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        page_mb = os.sysconf("SC_PAGE_SIZE") / 1e6
        begun = time.monotonic()
        while not self._stop.wait(_SAMPLE_S):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.samples.append((time.monotonic() - begun, pages * page_mb))

    def slope_mb_h(self) -> float | None:
        """Least-squares slope after the first third; None with too few samples."""
        kept = self.samples[len(self.samples) // 3 :]
        if len(kept) < 5:
            return None
        seconds, megabytes = np.array(kept).T
        return round(float(np.polyfit(seconds / 3600.0, megabytes, 1)[0]), 1)


def main() -> int:
    """Run it and judge it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--every-s", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--drain-s", type=float, default=600.0, help="time to finish afterwards")
    parser.add_argument("--screen-only", action="store_true")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mmcoord-soak-") as folder:
        report = soak(wanted, Path(folder))
    print(json.dumps(report, indent=2))
    return 0 if report["passed"] else 1


def soak(wanted: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The report."""
    settings = practice_settings(Settings(data_dir=str(folder)), debounce_s=4.0)
    if wanted.screen_only:
        infer = dataclasses.replace(settings.infer, screen_threshold=1.1)
        settings = dataclasses.replace(settings, infer=infer)
    settings = with_default_sink(settings, folder / "outbox")
    database = open_database(settings)
    load_before = machine()
    truths: list[tuple[str, str | None]] = []
    with httpx.Client() as client, database.pipeline_lock(), Memory() as memory:
        ctx = build_context(settings, database, client)
        pipeline = Pipeline(ctx, build_executor(settings.infer))
        pace = Pace(wanted.rate)
        begun = pace.begun_s
        seed = wanted.seed
        while time.monotonic() - begun < 60.0 * wanted.minutes:
            n_candidates = max(2, int(wanted.rate * wanted.every_s / _ROWS_PER_CANDIDATE))
            night = make_night(seed, n_candidates=n_candidates)
            seed += 1
            for start in range(0, len(night.messages), _SLICE):
                if time.monotonic() - begun > 60.0 * wanted.minutes:
                    break
                part = night.messages[start : start + _SLICE]
                play(ctx, pipeline, part, f"{night.truth.event_id}/{start}", pace)
            else:  # only what was sent to its end is judged
                truths.append((night.truth.event_id, night.truth.kilonova_id))
            told = f"{pace.n_received} rows, {time.monotonic() - begun:.0f} s"
            print(f"{night.truth.event_id}: {told}", file=sys.stderr)
        played_s = time.monotonic() - begun
        drained = pipeline.drain(wanted.drain_s)
        pipeline.close()
    with database.snapshot() as session:
        whole = summary(session)
        scores = [event_score(session, event_id, kilonova) for event_id, kilonova in truths]
    database.close()
    detectable = [score for score in scores if score["matched"]]
    found = [score for score in detectable if score["found"]]
    slope = memory.slope_mb_h()
    share = len(found) / len(detectable) if detectable else None
    return {
        "benchmark": "practice_soak",
        "machine": {**load_before, "load_1min_after": round(os.getloadavg()[0], 2)},
        "asked": {"minutes": wanted.minutes, "rate_hz": wanted.rate, "every_s": wanted.every_s},
        "screen_only": wanted.screen_only,
        "wall_s": round(played_s, 1),
        "rows": pace.n_received,
        "rate_reached_hz": round(pace.n_received / played_s, 1),
        "furthest_behind_s": round(pace.furthest_behind_s, 1),
        "processor_s": round(time.process_time(), 1),
        "drained": drained,
        "superevents": len(scores),
        "detectable": len(detectable),
        "found_in_top_3": len(found),
        "ranks": [score["rank"] for score in scores],
        "found_after_s": [score["found_after_s"] for score in scores],
        "false_starts": sum(score.get("false_starts", 0) for score in scores),
        "runs": whole["runs"],
        "ledger_balanced": whole["ledger_balanced"],
        "dead_letters": whole["dead_letters"],
        "latency_s": whole["latency_s"],
        "memory_mb": [round(mb) for _, mb in memory.samples[:: max(1, len(memory.samples) // 24)]],
        "memory_slope_mb_h": slope,
        "passed": bool(
            pace.n_received >= _MIN_RATE * wanted.rate * played_s
            and whole["ledger_balanced"]
            and drained
            and share is not None
            and share >= _MIN_SHARE
            and slope is not None
            and slope < _MAX_SLOPE_MB_H
        ),
    }


if __name__ == "__main__":
    sys.exit(main())
