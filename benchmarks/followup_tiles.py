"""What tiles cost a plan of the daemon: the same plans with them and without, by the plan stage.

    python -m benchmarks.followup_tiles [--candidates 225] [--radius 8] [--instants 6] [--rounds 2]

One event with a map, all instruments that are asked, no inference; SQLite. At each instant (ten
minutes apart) a plan that is the first for it, then one after each of two claims. With and
without take turns, each in a process of its own: what one has kept must not serve the other.
Processor seconds of the plan stage; JSON.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

import skymaps
from benchmarks.skymaps_common import report
from followup.claims import Verb
from mmcoord.config import PlanSettings
from mmcoord.stages import intake, plan
from mmcoord.stages.context import Context
from mmcoord.stages.match import MatchStage
from mmcoord.stages.planrows import newest_rows
from mmcoord.store import claims, queue
from mmcoord.store.claims import Act
from mmcoord.store.database import Database
from mmcoord.store.migrate import upgrade
from mmcoord.store.queue import Wish
from mmcoord.store.tiles import newest_tiles
from tests.making import (
    T0,
    candidate_row,
    gaussian_map,
    lvk_notice,
    make_context,
    photometry_row,
    send,
)

EVENT = "MS260301a"
CENTRE = (150.0, -20.0)
STEP = timedelta(minutes=10)


def heard(ctx: Context, candidates: int, radius_deg: float) -> None:
    """The alert, and candidates over its map with a point of 18 to 22 mag each."""
    rng = np.random.default_rng(0)
    fits = skymaps.to_fits_bytes(gaussian_map(*CENTRE, radius_deg=radius_deg))
    messages = [("igwn", lvk_notice(EVENT, skymap=fits))]
    for n in range(candidates):
        along, across = rng.normal(0.0, 0.4 * radius_deg, 2)
        name = f"tiles-{n:04d}."
        place = candidate_row(name, CENTRE[0] + float(across), CENTRE[1] + float(along))
        messages.append(("table_candidates", place))
        point = photometry_row(name, 0.03, "lsst:r", float(rng.uniform(18.0, 22.0)))
        messages.append(("table_photometry", point))
    send(ctx, messages)
    while intake.run(ctx):
        pass
    matching = MatchStage()
    while matching.run(ctx):
        pass


def timed(ctx: Context) -> float:
    """Processor seconds until no plan is wished for."""
    begun = time.process_time()
    while plan.run(ctx):
        pass
    return time.process_time() - begun


def side(tiles: int, candidates: int, radius_deg: float, instants: int) -> dict[str, Any]:
    """The plans of one store, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'mmcoord.db'}")
        upgrade(database)
        now = [T0 + timedelta(hours=1)]
        base = make_context(
            database, Path(folder) / "out", plan=PlanSettings(debounce_s=0.0, tiles=tiles), sinks={}
        )
        settings = replace(base.settings, clock="wall")
        ctx = replace(base, settings=settings, sinks={}, now=lambda: now[0])
        heard(ctx, candidates, radius_deg)
        first_ever_s = timed(ctx)
        first, again = [], []
        for _ in range(instants):
            now[0] += STEP
            first.append(asked(ctx, now[0]))
            with database.read() as session:
                best = [row.object_id for row in newest_rows(session, EVENT)[:2]]
            for name in best:
                said = Act(Verb.CLAIM, EVENT, name, f"group-{now[0]:%H%M}", "cli")
                with database.write() as session:
                    claims.act(session, said, now[0])
                again.append(timed(ctx))
        with database.read() as session:
            count = len(newest_tiles(session, EVENT))
            rows = len(newest_rows(session, EVENT))
        database.close()
    return {
        "first_ever_s": first_ever_s, "first_s": first, "again_s": again, "tiles": count,
        "rows": rows,
    }  # fmt: skip


def asked(ctx: Context, now: datetime) -> float:
    """A plan that somebody wishes for."""
    with ctx.database.write() as session:
        queue.enqueue(session, [Wish("plan", EVENT, "benchmark")], now)
    return timed(ctx)


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over all rounds."""
    both = {name: [s for one in found for s in one[name]] for name in ("first_s", "again_s")}
    return {
        "tiles": found[-1]["tiles"],
        "rows": found[-1]["rows"],
        "first_ever_s": round(statistics.median(one["first_ever_s"] for one in found), 3),
        **{name: round(statistics.median(values), 3) for name, values in both.items()},
        **{name.replace("_s", "_max_s"): round(max(values), 3) for name, values in both.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=225)
    parser.add_argument("--radius", type=float, default=8.0, help="of the 90 % region, deg")
    parser.add_argument("--instants", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    wanted = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {"with": [], "without": []}
    spawned = multiprocessing.get_context("spawn")
    for _ in range(wanted.rounds):
        for name, tiles in (("with", PlanSettings().tiles), ("without", 0)):
            with ProcessPoolExecutor(1, mp_context=spawned) as alone:
                made = alone.submit(side, tiles, wanted.candidates, wanted.radius, wanted.instants)
                found[name].append(made.result())
    sides = {name: summary(rounds) for name, rounds in found.items()}
    ratios = {
        name: round(sides["with"][name] / sides["without"][name], 3)
        for name in ("first_ever_s", "first_s", "again_s")
    }
    report({"candidates": wanted.candidates, **sides, "with_over_without": ratios})


if __name__ == "__main__":
    main()
