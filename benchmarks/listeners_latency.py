"""From a broker to a committed alert with its localization, while candidates flow.

A real Apache Kafka carries LVK notices on one topic and candidates at a steady rate on
another; ``mmcoord serve`` reads both. Once a second a notice of 1 MB is sent (the real map
of GW170817 where the shared data are, else one of our own; each time another superevent or
another revision of one). Latency is from just before the producer is handed the notice to
the moment at which another connection to the store sees the alert, localized; the store is
looked at every few milliseconds, which counts as latency.

    python -m benchmarks.listeners_latency [--store sqlite|postgresql] [--seconds 120] [--rate 1000]
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Producer
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session
from sqlmodel import col

import skymaps
from benchmarks.listeners_common import (
    LONG_OPEN,
    Candidates,
    boom_message,
    candidates,
    counted,
    daemon,
    kafka_broker,
    store_url,
    wait_for,
)
from benchmarks.skymaps_common import report
from mmcoord.store import queue
from mmcoord.store.database import Database
from mmcoord.store.tables import AlertRow, NoticeRow
from tests.making import T0, gaussian_map, lvk_notice
from tests.shared import have_shared, shared

_LOOK_S = 0.004
_LOOK = select(col(AlertRow.localization_id)).where(
    col(AlertRow.event_id) == bindparam("event_id"),
    col(AlertRow.alert_type) == bindparam("alert_type"),
    col(AlertRow.time_created) == bindparam("created"),
)
_TYPES = ("PRELIMINARY", "INITIAL", "UPDATE", "UPDATE", "RETRACTION")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--rate", type=float, default=1000.0, help="candidates per second")
    wanted = parser.parse_args()
    n = int(wanted.rate * wanted.seconds)
    sky = candidates(n)
    with kafka_broker() as broker, store_url(wanted.store) as url:
        broker.create("gw")
        broker.create("candidates")
        producer = Producer(
            {
                "bootstrap.servers": broker.address("plain"),
                "message.max.bytes": 8_000_000,
                "linger.ms": 0,
            }
        )
        listeners = [
            {
                "name": name,
                "transport": "kafka",
                "source": source,
                "topics": [topic],
                "group_id": "bench",
                "options": {"bootstrap_servers": broker.address("plain"), "broker": "bench"},
            }
            for name, source, topic in (("gw", "igwn", "gw"), ("lsst", "boom", "candidates"))
        ]
        with daemon(url, listeners, infer={"messengers": []}, match=LONG_OPEN) as running:
            database = Database(url)
            flow = threading.Thread(target=_flow, args=(producer, sky, wanted.rate), daemon=True)
            flow.start()
            wait_for(lambda: counted(database) > 2 * wanted.rate, 60, "no candidate comes")
            latencies = _sent_and_seen(producer, database, wanted.seconds - 5)
            flow.join()
            wait_for(lambda: counted(database) >= n + len(latencies), 300, "not all was received")
            wait_for(lambda: counted(database, "pending") == 0, 300, "not all was read")
            with database.snapshot() as session:
                lost = {b.stage: b.lost for b in queue.balance(session) if b.lost}
                parts = _parts(session)
            cpu_s = running.cpu_s()
    ms = np.array(latencies) * 1e3
    report(
        {
            "benchmark": "listeners_latency",
            "store": wanted.store,
            "candidates_per_s": wanted.rate,
            "notices": len(ms),
            "notice_bytes": len(_notice(0)),
            "real_map": have_shared(),
            "median_ms": round(float(np.median(ms)), 1),
            "p90_ms": round(float(np.percentile(ms, 90)), 1),
            "p99_ms": round(float(np.percentile(ms, 99)), 1),
            "max_ms": round(float(ms.max()), 1),
            "medians_of_parts_ms": parts,
            "daemon_cpu_s": round(cpu_s, 1),
            "lost": lost,
        }
    )
    if lost:
        raise SystemExit("the ledger does not balance")


def _parts(session: Session) -> dict[str, float]:
    """Medians (ms): from the producer's clock to our receipt, and from there to the write."""
    rows = session.execute(
        select(col(NoticeRow.sent_at), col(NoticeRow.received_at), col(NoticeRow.processed_at))
        .where(col(NoticeRow.source) == "igwn")
        .order_by(col(NoticeRow.id))
    ).all()
    to_receipt = [(row[1] - row[0]).total_seconds() for row in rows]
    to_write = [(row[2] - row[1]).total_seconds() for row in rows]
    return {
        name: round(1e3 * float(np.median(values)), 1)
        for name, values in (("broker_to_receipt", to_receipt), ("receipt_to_write", to_write))
    }


def _flow(producer: Producer, sky: Candidates, rate: float) -> None:
    """Candidates at a steady rate, in steps of 20 ms."""
    begun = time.monotonic()
    sent = 0
    while sent < len(sky.ra):
        due = min(int((time.monotonic() - begun) * rate), len(sky.ra))
        for i in range(sent, due):
            producer.produce("candidates", boom_message(sky, i))
        sent = due
        producer.poll(0)
        time.sleep(0.02)
    producer.flush(60)


def _sent_and_seen(producer: Producer, database: Database, count: int) -> list[float]:
    """One notice a second; returns how long (s) each took to be seen as a localized alert."""
    latencies = []
    with database.read() as session:
        for i in range(count):
            second = time.monotonic()
            payload = _notice(i)
            begun = time.monotonic()
            producer.produce("gw", payload)
            producer.poll(0)
            while not _is_there(session, i):
                if time.monotonic() - begun > 30:
                    raise TimeoutError(f"notice {i} did not become an alert")
                time.sleep(_LOOK_S)
            latencies.append(time.monotonic() - begun)
            time.sleep(max(0.0, 1.0 - (time.monotonic() - second)))
    return latencies


def _is_there(session: Session, i: int) -> bool:
    event_id, alert_type, created = _identity(i)
    row = session.execute(
        _LOOK, {"event_id": event_id, "alert_type": alert_type, "created": created}
    ).first()
    session.rollback()  # the next look is at a later instant
    return row is not None and (row[0] is not None or alert_type == "RETRACTION")


def _identity(i: int) -> tuple[str, str, Any]:
    number, revision = divmod(i, len(_TYPES))
    name = f"MS2603{1 + number // 26:02d}{chr(ord('a') + number % 26)}"
    return name, _TYPES[revision], T0 + timedelta(minutes=5 + i)


def _notice(i: int) -> bytes:
    event_id, alert_type, created = _identity(i)
    if not have_shared():
        made = skymaps.to_fits_bytes(gaussian_map(150.0, -20.0 - i % 50, 5.0))
        return lvk_notice(event_id, alert_type, created, skymap=made)
    if alert_type == "RETRACTION":
        return lvk_notice(event_id, alert_type, created)
    document = json.loads(_real(shared("gw/MS181101ab-preliminary.json")))
    document |= {
        "superevent_id": event_id,
        "alert_type": alert_type,
        "time_created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return json.dumps(document).encode()


def _real(path: Path) -> bytes:
    return path.read_bytes()


if __name__ == "__main__":
    main()
