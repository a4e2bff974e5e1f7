"""What the service's benchmarks share: a store with a candidate, groups with tokens, timing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np

import skymaps
from mmcoord.access import Scope
from mmcoord.store import access
from mmcoord.store.database import Database
from mmcoord.store.migrate import upgrade
from tests.making import (
    T0,
    candidate_row,
    gaussian_map,
    lvk_notice,
    make_context,
    photometry_row,
    send,
)

__all__ = ["BROUGHT", "EVENT", "OBJECT", "first_byte_s", "spread_ms", "stored", "token"]

EVENT, OBJECT = "MS260301a", "fader"
_LIGHT = [
    (day, f"lsst:{band}", 19.0 + slope * day + 0.2 * k)
    for day in (0.5, 1.0, 1.5, 2.5, 3.5, 5.0)
    for k, (band, slope) in enumerate({"g": 1.3, "r": 0.9, "i": 0.7, "z": 0.6}.items())
]
"""24 points that fade and redden."""
_T0_MJD = 61100.0 + (T0 - datetime(2026, 3, 1, tzinfo=UTC)).total_seconds() / 86400.0
BROUGHT: dict[str, Any] = {
    "photometry": [
        {"mjd": _T0_MJD + day, "band": band, "mag": mag, "mag_err": 0.05}
        for day, band, mag in _LIGHT
    ],
    "t0": T0.isoformat(),
    "distance": {"mean_mpc": 60.0, "std_mpc": 12.0},
}


@contextmanager
def stored(url: str) -> Iterator[Database]:
    """The store with one event and one candidate, received and not worked on yet."""
    database = Database(url)
    upgrade(database)
    with TemporaryDirectory() as folder:
        ctx = make_context(database, Path(folder))
        send(
            ctx,
            [
                ("igwn", lvk_notice(skymap=skymaps.to_fits_bytes(gaussian_map()))),
                ("table_candidates", candidate_row(OBJECT, 150.0, -20.0)),
                *(("table_photometry", photometry_row(OBJECT, *point)) for point in _LIGHT),
            ],
        )
    try:
        yield database
    finally:
        database.close()


def token(database: Database, group: str) -> dict[str, str]:
    """Headers of a new token of a group with plenty of quota."""
    now = datetime.now(UTC)
    with database.write() as session:
        access.add_group(session, group, quota_cpu_s=1e6, period_day=30.0, priority=0.5, now=now)
        session.flush()
        _, minted = access.add_token(
            session, group, label="", scopes=(Scope.READ, Scope.RUN), valid_day=1.0, now=now
        )
    return {"Authorization": f"Bearer {minted.text}"}


def first_byte_s(client: httpx.Client, method: str, url: str, **more: Any) -> tuple[float, bytes]:
    """From the call to the first byte of the body, s; and the whole body."""
    begun = time.perf_counter()
    with client.stream(method, url, **more) as response:
        parts = response.iter_raw()
        first = next(parts, b"")
        took = time.perf_counter() - begun
        body = first + b"".join(parts)
        assert response.status_code < 300, (response.status_code, body)
    return took, body


def spread_ms(times_s: list[float]) -> dict[str, float]:
    """Median, 95th percentile and largest, ms."""
    ms = 1000.0 * np.array(times_s)
    return {
        "median_ms": round(float(np.median(ms)), 2),
        "p95_ms": round(float(np.quantile(ms, 0.95)), 2),
        "max_ms": round(float(ms.max()), 2),
    }
