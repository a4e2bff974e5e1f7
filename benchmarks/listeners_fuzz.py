"""Every installed source on broken messages and bombs.

``python -m benchmarks.listeners_fuzz [--messages N] [--seed S]``

Sources are found through the entry points. Their seeds are the real notices where those are
(looked for as the tests do) and messages that the tests make. Each message goes through
``intake.read``, which must never raise; one in twenty also through a store of its own, whose
ledger must balance in the end. Prints JSON; exit status 1 on a fault in a listener, on a
message that takes more than a second of processor time, or on more memory than the bound.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from listeners.base import Source
from mmcoord.errors import BadInput
from mmcoord.stages import intake
from mmcoord.stages.context import load_sources
from mmcoord.store import queue
from mmcoord.store.database import Database
from mmcoord.store.migrate import upgrade
from mmcoord.store.tables import NoticeRow
from tests.listeners.mutate import bombs, mutate
from tests.making import candidate_row, lvk_notice, make_context, photometry_row, send
from tests.shared import have_shared, shared
from tests.stages.orders import messages as made_messages

STALL_S = 1.0
MAX_RSS_GB = 1.5
LARGE = 20_000
"""Messages above this size are tried less often, so that the run ends."""
ONE_IN = {"large": 60, "bomb": 400, "store": 20}


def pool() -> list[bytes]:
    """Good messages of any kind."""
    found = [payload for _, payload in made_messages()]
    found += [candidate_row("a", 10.0, 20.0), photometry_row("a", 1.0, "lsst:r", 20.0)]
    if have_shared():
        root = shared("gw").parent
        for pattern in ("gw/**/*", "nu/**/*", "lsst/*", "ztf/*"):
            found += [
                path.read_bytes()
                for path in sorted(root.glob(pattern))
                if path.suffix in (".json", ".avro", ".xml") and path.stat().st_size < 3_000_000
            ]
    return found


def seeds(sources: Mapping[str, Source], payloads: Sequence[bytes]) -> dict[str, list[bytes]]:
    """For each source what it reads; all small ones for a source that reads none of them."""
    found: dict[str, list[bytes]] = {}
    for name, source in sources.items():
        found[name] = []
        for payload in payloads:
            try:
                if source.parse(payload):
                    found[name].append(payload)
            except BadInput:
                continue
        if not found[name]:
            found[name] = [payload for payload in payloads if len(payload) < LARGE]
    return found


class Run:
    """Counts, the slowest message and the messages kept for the store."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self.sources = sources
        self.outcomes: dict[str, Counter[str]] = defaultdict(Counter)
        self.faults: list[str] = []
        self.stalls: list[str] = []
        self.slowest = (0.0, 0.0, "")
        self.kept: list[tuple[str, bytes]] = []

    def read(self, name: str, payload: bytes, number: int) -> None:
        """One message through ``intake.read``."""
        row = NoticeRow(
            id=number + 1, source=name, broker="fuzz", topic="fuzz", partition=0, offset=number,
            payload=payload, sha256="", received_at=datetime.now(UTC), state="pending",
        )  # fmt: skip
        began, used = time.perf_counter(), time.process_time()
        try:
            readout = intake.read(row, self.sources)
        except BaseException as error:  # what must not happen is what this run looks for
            self.faults.append(f"{number} {name}: {type(error).__name__}: {error}"[:200])
            return
        wall, cpu = time.perf_counter() - began, time.process_time() - used
        what = f"{number} {name}, {len(payload)} bytes"
        self.slowest = max(self.slowest, (cpu, wall, what))
        if cpu > STALL_S:
            self.stalls.append(f"{what}: {cpu:.2f} s")
        if readout.error is not None and readout.error.startswith("fault in listener"):
            self.faults.append(f"{what}: {readout.error}"[:300])
        kind = "records" if readout.records else "nothing"
        if readout.error is not None:
            kind = "kept without its map" if readout.records else "refused"
        self.outcomes[name][kind] += 1


def through_a_store(
    sources: Mapping[str, Source], kept: list[tuple[str, bytes]]
) -> dict[str, object]:
    """The kept messages through receive and intake; whether everything is accounted for."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/fuzz.db")
        upgrade(database)
        ctx = make_context(database, Path(folder) / "out")
        for start in range(0, len(kept), 200):
            send(ctx, kept[start : start + 200], first_offset=start)
            while intake.run(ctx):
                pass
        with database.read() as session:
            balance = {b.stage: b for b in queue.balance(session)}["intake"]
        database.close()
    return {
        "messages": len(kept),
        "processed": balance.processed,
        "dead_letters": balance.dead,
        "pending": balance.pending,
        "lost": balance.lost,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    sources = load_sources()
    rng = random.Random(asked.seed)
    payloads = pool()
    by_source = seeds(sources, payloads)
    foreign = [payload for payload in payloads if len(payload) < LARGE]
    small = {
        name: [p for p in found if len(p) < LARGE] or [p for p in found if len(p) < 10 * LARGE]
        for name, found in by_source.items()
    }
    small = {name: found or foreign for name, found in small.items()}
    large = {n: [p for p in found if len(p) >= LARGE] or found for n, found in by_source.items()}
    blasts = bombs(lvk_notice("S260301a"))
    run = Run(sources)
    names = sorted(sources)
    began = time.perf_counter()
    for number in range(asked.messages):
        name = names[number % len(names)]
        if rng.randrange(ONE_IN["bomb"]) == 0:
            payload = rng.choice(blasts)
        else:
            found = large if rng.randrange(ONE_IN["large"]) == 0 else small
            payload = mutate(rng.choice(found[name]), rng, small[rng.choice(names)])
        run.read(name, payload, number)
        if rng.randrange(ONE_IN["store"]) == 0 and len(payload) < LARGE:
            run.kept.append((name, payload))
    seconds = time.perf_counter() - began
    stored = through_a_store(sources, run.kept)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    bad = bool(run.faults or run.stalls or peak > MAX_RSS_GB)
    bad = bad or stored["lost"] != 0 or stored["pending"] != 0
    document = {
        "messages": asked.messages,
        "seed": asked.seed,
        "real_seeds": have_shared(),
        "outcomes": {name: dict(sorted(run.outcomes[name].items())) for name in names},
        "store": stored,
        "faults": run.faults[:10],
        "stalls": run.stalls[:10],
        "slowest": {"cpu_s": round(run.slowest[0], 3), "wall_s": round(run.slowest[1], 3),
                    "message": run.slowest[2]},
        "seconds": round(seconds, 1),
        "peak_rss_gb": round(peak, 3),
        "bounds": {"cpu_s": STALL_S, "rss_gb": MAX_RSS_GB},
    }  # fmt: skip
    print(json.dumps(document))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
