"""What the benchmarks of the listeners share: a real Kafka, a daemon, messages."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from confluent_kafka import Producer
from sqlalchemy import func, select

import skymaps
from mmcoord.store.database import Database
from mmcoord.store.tables import NoticeRow
from tests.fixtures_postgres import fresh_database, running_postgres
from tests.listeners.broker import Broker
from tests.making import gaussian_map, lvk_notice

__all__ = [
    "CENTRES",
    "LONG_OPEN",
    "Daemon",
    "boom_message",
    "candidates",
    "counted",
    "daemon",
    "kafka_broker",
    "notices",
    "produce",
    "store_url",
    "wait_for",
]

CENTRES = ((150.0, -20.0), (30.0, 10.0), (200.0, -50.0), (300.0, -30.0), (10.0, -60.0))
"""Centres (deg) of the active events' maps, 90 % within 8 deg, 3D."""
_RADIUS_DEG = 8.0
LONG_OPEN = {"late_day": 100_000.0}
"""Settings of the match stage: the made events lie in the past and must still take candidates."""


@contextmanager
def kafka_broker() -> Iterator[Broker]:
    """Apache Kafka as the tests start it, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="mmcoord-kafka-") as folder:
        broker = Broker(Path(folder))
        try:
            yield broker
        finally:
            broker.kill()


@contextmanager
def store_url(kind: str) -> Iterator[str]:
    """URL of an empty store: ``sqlite`` in a folder, or ``postgresql`` on a server of its own."""
    with ExitStack() as stack:
        if kind == "postgresql":
            server = stack.enter_context(running_postgres())
            yield stack.enter_context(fresh_database(server))
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mmcoord-store-"))
            yield f"sqlite:///{folder}/mmcoord.db"


@dataclass
class Daemon:
    """A running ``mmcoord serve``."""

    process: subprocess.Popen[bytes]
    page: str

    def peak_mb(self) -> float:
        """Peak resident memory, MB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return round(int(next(x for x in lines if x.startswith("VmHWM")).split()[1]) / 1000, 1)

    def cpu_s(self) -> float:
        """Processor time used so far, s."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def daemon(url: str, listeners: Sequence[dict[str, Any]], **tables: Any) -> Iterator[Daemon]:
    """``mmcoord serve`` on a configuration file, until the block ends.

    ``listeners`` are tables as in the file, with their ``name``; ``tables`` are further ones.
    """
    with tempfile.TemporaryDirectory(prefix="mmcoord-bench-") as folder:
        port = _free_port()
        by_name = {x["name"]: {k: v for k, v in x.items() if k != "name"} for x in listeners}
        document = {
            "data_dir": folder,
            "database_url": url,
            "web": {"port": port},
            "listeners": by_name,
            **tables,
        }
        config = Path(folder) / "mmcoord.toml"
        config.write_text("\n".join(_toml(document)))
        process = subprocess.Popen(
            [sys.executable, "-m", "mmcoord.cli", "serve", "--config", str(config)],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.DEVNULL,
        )
        page = f"http://127.0.0.1:{port}"
        try:
            wait_for(lambda: _answers(page), 120, "the daemon does not answer")
            yield Daemon(process, page)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _toml(document: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    for key, value in document.items():
        if not isinstance(value, dict):
            yield f"{key} = {json.dumps(value)}"
    for key, value in document.items():
        if isinstance(value, dict):
            yield f"[{'.'.join((*path, key))}]"
            yield from _toml(value, (*path, key))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _answers(page: str) -> bool:
    try:
        return httpx.get(f"{page}/healthz", timeout=2).is_success
    except httpx.TransportError:
        return False


def wait_for(condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Wait until something holds, looking ten times a second."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.1)


def counted(database: Database, state: str | None = None) -> int:
    """Notices in the store, all or in one state."""
    query = select(func.count()).select_from(NoticeRow)
    if state is not None:
        query = query.where(NoticeRow.state == state)  # type: ignore[arg-type]
    with database.read() as session:
        return int(session.execute(query).scalar_one())


def notices() -> list[bytes]:
    """One LVK notice per centre: practice superevents, so that nothing leaves the house."""
    return [
        lvk_notice(f"MS2603{day:02d}a", skymap=_map(ra, dec))
        for day, (ra, dec) in enumerate(CENTRES, start=1)
    ]


def _map(ra: float, dec: float) -> bytes:
    return skymaps.to_fits_bytes(gaussian_map(ra, dec, _RADIUS_DEG))


@dataclass(frozen=True)
class Candidates:
    """Positions (deg) by number; names are ``LSST26a0000000`` and on."""

    ra: np.ndarray
    dec: np.ndarray

    def name(self, i: int) -> str:
        return f"LSST26a{i:07d}"


def candidates(n: int, seed: int = 1) -> Candidates:
    """Positions uniform over the sky that LSST sees (declination below +10 deg)."""
    rng = np.random.default_rng(seed)
    top = np.sin(np.radians(10.0))
    return Candidates(rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, top, n))))


def boom_message(sky: Candidates, i: int, points: int = 4) -> bytes:
    """A candidate with its photometry as BOOM announces it (JSON, about 800 bytes)."""
    name = sky.name(i)
    photometry = [
        {
            "event_name": name,
            "filter": "lsstr",
            "mag": 20.0 + 0.1 * k,
            "mag_error": 0.05,
            "mag_system": "AB",
            "observation_start": f"2026-03-{k + 2:02d}T02:00:00Z",
        }
        for k in range(points)
    ]
    target = {"event_name": name, "ra": float(sky.ra[i]), "dec": float(sky.dec[i])}
    return json.dumps(
        {
            "alert_datetime": "2026-03-02T00:00:00Z",
            "mission": "Boom",
            "data": {"targets": [target], "photometry": photometry},
        }
    ).encode()


def produce(broker: Broker, topic: str, payloads: Iterator[bytes] | Sequence[bytes]) -> int:
    """Send everything and wait until the broker has it; returns the bytes sent."""
    producer = Producer(
        {
            "bootstrap.servers": broker.address("plain"),
            "message.max.bytes": 8_000_000,
            "queue.buffering.max.messages": 1_000_000,
            "linger.ms": 20,
            "acks": "all",
        }
    )
    size = 0
    for payload in payloads:
        size += len(payload)
        producer.produce(topic, payload)
        producer.poll(0)
    if producer.flush(120):
        raise RuntimeError("the broker did not take everything")
    return size
