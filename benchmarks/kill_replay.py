"""kill -9 a replay at random instants, restart it, and compare with an undisturbed one.

Each trial has a store of its own: the replay is killed once at an instant drawn uniformly
from the duration of the undisturbed replay, then started again and left to finish. It
passes when the final plan equals the undisturbed one, the count ledger balances, and the
outbox folder holds exactly one file per (sink, plan revision, target) that the store calls
sent.

    python -m benchmarks.kill_replay --kills 10 [PATH ...]

Prints one JSON document; exit code 1 if a trial fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

_SHARED = Path(os.environ.get("MMCOORD_SHARED", Path(__file__).parents[2] / "shared"))


def main() -> int:
    """Run the trials."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "paths", nargs="*", default=[str(_SHARED / "data" / "scenarios" / "gw170817")]
    )
    wanted = parser.parse_args()
    instants = random.Random(wanted.seed)
    with tempfile.TemporaryDirectory(prefix="mmcoord-kill-") as folder:
        begun = time.monotonic()
        reference = finish(wanted.paths, Path(folder) / "reference.db")
        duration_s = time.monotonic() - begun
        trials = []
        for number in range(wanted.kills):
            after_s = instants.uniform(0.0, duration_s)
            trials.append(
                trial(wanted.paths, Path(folder) / f"trial{number}.db", after_s, reference)
            )
            print(json.dumps(trials[-1]), file=sys.stderr, flush=True)
    report = {
        "benchmark": "kill_replay",
        "machine": {"cpu_count": os.cpu_count(), "platform": platform.platform()},
        "undisturbed_s": round(duration_s, 1),
        "trials": trials,
        "passed": sum(t["passed"] for t in trials),
        "failed": sum(not t["passed"] for t in trials),
    }
    print(json.dumps(report, indent=2))
    return 1 if report["failed"] else 0


def trial(
    paths: list[str], store: Path, after_s: float, reference: dict[str, Any]
) -> dict[str, Any]:
    """One kill and one restart."""
    process = start(paths, store)
    try:
        process.wait(timeout=after_s)
        landed = False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        landed = True
    result = finish(paths, store)
    doubled, missing, stray = deliveries(store)
    same = plans(result) == plans(reference)
    return {
        "killed_after_s": round(after_s, 2),
        "killed_while_running": landed,
        "same_final_plan": same,
        "ledger_balanced": result["ledger_balanced"],
        "dead_letters": result["dead_letters"],
        "runs": result["runs"],
        "deliveries_sent": result["deliveries"]["sent"],
        "deliveries_doubled": doubled,
        "deliveries_missing": missing,
        "files_unaccounted": stray,
        "passed": same
        and result["ledger_balanced"]
        and result["dead_letters"] == reference["dead_letters"]
        and doubled == missing == stray == 0,
    }


def start(paths: list[str], store: Path) -> subprocess.Popen[str]:
    """A replay in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "mmcoord.cli", "replay", *paths, "--db", str(store), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def finish(paths: list[str], store: Path) -> dict[str, Any]:
    """A replay to its end; its summary."""
    out, _ = start(paths, store).communicate()
    document: dict[str, Any] = json.loads(out)
    return document


def plans(summary: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on crashes: the final plan of each event, whole."""
    return {event["id"]: (event["state"], event["plan"]) for event in summary["events"]}


def deliveries(store: Path) -> tuple[int, int, int]:
    """(doubled, missing, stray): the store's sent deliveries against the files they made."""
    connection = sqlite3.connect(store)
    sent = [
        tuple(row)
        for row in connection.execute(
            "SELECT sink, event_id, plan_revision, target, key FROM delivery WHERE state = 'sent'"
        )
    ]
    known = {row[0] for row in connection.execute("SELECT key FROM delivery")}
    connection.close()
    doubled = sum(n - 1 for n in Counter(row[:4] for row in sent).values())
    files = Counter(
        json.loads(path.read_text())["key"] for path in Path(f"{store}.outbox").glob("*.json")
    )
    doubled += sum(n - 1 for n in files.values())
    missing = sum(row[4] not in files for row in sent)
    stray = sum(key not in known for key in files)
    return doubled, missing, stray


if __name__ == "__main__":
    sys.exit(main())
