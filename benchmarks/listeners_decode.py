"""How many Rubin packets one core decodes; prints JSON, checks its own answers.

``python -m benchmarks.listeners_decode [SECONDS]``: each method runs for as long (default 1),
three times; the best is told, in packets a second of processor time, so that other work on
the machine counts less. The packets are of version 10.0: ``new`` without a history, ``typical``
(71 kB) with 20 detections and 40 forced fluxes before, ``old`` with several hundred of each. They
are rebuilt from a real alert where the sample data are, else made by the official schema; the
images are cut to 20 kB each.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from typing import Any

import fastavro

from benchmarks.skymaps_common import machine, report
from listeners import projection
from listeners.brokers import lsst, rubin
from listeners.layout import Layout, Packet
from listeners.vetoes import NO_VETOES, Vetoes
from mmcoord.records import Candidate, Vetoed
from tests.listeners.packets import off_the_wire, official_schema, on_the_wire, packet, source
from tests.listeners.test_projection import cut_down, same
from tests.shared import have_shared, shared

VERSION = 1000
IMAGE_BYTES = 20_000
HEADER = 5
AIM_FIRST_PASS_HZ = 8_000


def alert(detections: int, forced: int) -> tuple[dict[str, Any], str]:
    """(an alert with a history of that length, where it is from)."""
    if have_shared():
        with shared("lsst/part-2-918301.avro").open("rb") as stream:
            made = list(fastavro.reader(stream))[2]
        origin = "real alert of Fink's sample, re-encoded"
    else:
        history = [source(midpointMjdTai=61000.0 + k / 8) for k in range(400)]
        made = packet(prvDiaSources=history, prvDiaForcedSources=history)
        origin = "made by the official schema"
    images = {f"cutout{name}": bytes(IMAGE_BYTES) for name in ("Difference", "Science", "Template")}
    cut = {
        "prvDiaSources": made["prvDiaSources"][:detections],
        "prvDiaForcedSources": made["prvDiaForcedSources"][:forced],
    }
    return {**made, **cut, **images, "ssSource": None, "mpc_orbits": None}, origin


def rate_hz(call: Callable[[], Any], seconds: float) -> float:
    """Calls a second of processor time, the best of three."""
    call()
    rates = []
    for _ in range(3):
        calls, start = 0, time.process_time()
        while time.process_time() - start < seconds:
            for _ in range(10):
                call()
            calls += 10
        rates.append(calls / (time.process_time() - start))
    return round(max(rates), 1)


def general(layout: Layout) -> Layout:
    """The same layout without plans: what fastavro does by its schemas of the two passes."""
    return Layout(None, None, None, layout.general)


def right(payload: bytes, layout: Layout) -> bool:
    """Both passes read what fastavro reads in full, and the records are the same."""
    whole = off_the_wire(payload)
    found = Packet(payload, HEADER, layout)
    records = rubin.parse(payload)
    return (
        same(found.beginning(), cut_down(whole, lsst.FIRST))
        and same(found.whole(), cut_down(whole, lsst.WHOLE))
        and records == lsst.records(whole)
        and isinstance(records[0], Candidate)
    )


def measure(payload: bytes, seconds: float) -> dict[str, Any]:
    layout = rubin._layout(VERSION)
    assert layout.beginning is not None
    assert layout.whole is not None
    plain = general(layout)
    body, schema = payload[HEADER:], official_schema(VERSION)
    nothing = Vetoes(least_reliability=1.0)
    (vetoed,) = rubin.sift(payload, nothing)
    beginning, whole = layout.beginning, layout.whole

    def survivor_by_fastavro() -> Any:
        alert = fastavro.schemaless_reader(io.BytesIO(body), schema, None)
        return lsst.records(alert)

    calls: dict[str, Callable[[], Any]] = {
        "fastavro_full": lambda: fastavro.schemaless_reader(io.BytesIO(body), schema, None),
        "fastavro_first_pass": lambda: Packet(payload, HEADER, plain).beginning(),
        "plan_first_pass": lambda: projection.read(payload, beginning, HEADER),
        "plan_second_pass": lambda: projection.read(payload, whole, HEADER),
        "vetoed_in_first_pass": lambda: rubin.sift(payload, nothing),
        "survivor_to_records_fastavro_full": survivor_by_fastavro,
        "survivor_to_records": lambda: rubin.sift(payload, NO_VETOES),
    }
    return {
        "bytes": len(payload),
        "answers_agree_with_fastavro": right(payload, layout) and isinstance(vetoed, Vetoed),
        "points": len(rubin.parse(payload)) - 1,
        "packets_per_cpu_s": {name: rate_hz(call, seconds) for name, call in calls.items()},
    }


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    results: dict[str, Any] = {}
    origin = ""
    for name, (detections, forced) in {
        "new": (0, 0),
        "typical": (20, 40),
        "old": (400, 800),
    }.items():
        made, origin = alert(detections, forced)
        results[name] = measure(on_the_wire(VERSION, made), seconds)
    first = results["typical"]["packets_per_cpu_s"]["plan_first_pass"]
    report(
        {
            "packets": origin,
            "version": f"{VERSION // 100}.{VERSION % 100}",
            "fastavro": fastavro.__version__,
            "results": results,
            "aim_first_pass_hz": AIM_FIRST_PASS_HZ,
            "aim_reached": first >= AIM_FIRST_PASS_HZ
            and all(result["answers_agree_with_fastavro"] for result in results.values()),
            "load_after": machine()["load_1min"],
        }
    )


if __name__ == "__main__":
    main()
