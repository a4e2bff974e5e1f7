"""From the alert of a neutrino burst to the plan at a Slack webhook, with ten detectors.

    python -m benchmarks.supernova_latency [--repeats 5]

Everything in between is the real thing: inbox, joining, triangulation, classification, map into
the store, plan of the stars, outbox, HTTP. The webhook is a server of this process. The first
burst warms up; each further one is timed for its last alert, when all ten have reported.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx

from benchmarks.skymaps_common import machine, report
from mmcoord.config import PlanSettings, Settings, SinkSettings
from mmcoord.opening import open_database
from mmcoord.practice_burst import notice_of
from mmcoord.simulate.burst import make_burst
from mmcoord.stages import bursts, coincide, deliver, intake, plan
from mmcoord.wiring import build_context

DETECTORS = (
    "IceCube", "Super-K", "JUNO", "KM3NeT", "NOvA", "LVD", "SNO+", "KamLAND", "DUNE", "Hyper-K",
)  # fmt: skip


class _Webhook(BaseHTTPRequestHandler):
    heard = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        _Webhook.heard += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def _webhook() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/services/T0/B0/x"
    finally:
        server.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder, _webhook() as url, httpx.Client() as client:
        secret = Path(folder) / "webhook"
        secret.write_text(url)
        sink = SinkSettings("slack", True, {"webhook_file": str(secret)})
        settings = replace(
            Settings(data_dir=folder, clock="data", sinks={"slack": sink}),
            database_url=f"sqlite:///{folder}/bench.db",
            plan=PlanSettings(debounce_s=0.0),
        )
        database = open_database(settings)
        ctx = build_context(settings, database, client)
        bursts.warm_up()
        for seed in range(args.repeats + 1):
            burst = make_burst(seed, distance_kpc=8.0, detectors=DETECTORS)
            for number in range(len(burst.messages)):
                before = _Webhook.heard
                begun = time.perf_counter()
                intake.receive(ctx, [notice_of(ctx, burst, number)])
                while (
                    intake.run(ctx)
                    + bursts.run(ctx)
                    + coincide.run(ctx)
                    + plan.run(ctx)
                    + deliver.run(ctx)
                ):
                    pass
                took = time.perf_counter() - begun
            if seed and _Webhook.heard > before:
                times.append(took)
        database.close()
    report(
        {
            "machine": machine(),
            "detectors": len(DETECTORS),
            "bursts": len(times),
            "message_to_slack_s": {
                "median": round(statistics.median(times), 3),
                "max": round(max(times), 3),
            },
            "messages_at_slack": _Webhook.heard,
        }
    )


if __name__ == "__main__":
    main()
