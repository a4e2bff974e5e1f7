"""Input that the project's tests make themselves: notices, tables, contexts."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np

import skymaps
from mmcoord.config import InferSettings, PlanSettings, Settings, SinkSettings
from mmcoord.inference.job import Job, Result, run_key
from mmcoord.records import Notice
from mmcoord.stages.context import Context
from mmcoord.stages.intake import receive
from mmcoord.store.database import Database
from mmcoord.wiring import build_context

T0 = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
"""Event time of the notices made here."""


def gaussian_map(
    ra_deg: float = 150.0,
    dec_deg: float = -20.0,
    radius_deg: float = 5.0,
    distance_mpc: float | None = 60.0,
) -> skymaps.SkyMap:
    """A round localization; 3D when a distance is given (20 % wide)."""
    flat = skymaps.from_circle(ra_deg, dec_deg, radius_deg)
    if distance_mpc is None:
        return flat
    n = len(flat)
    sigma = 0.2 * distance_mpc
    mu = np.full(n, distance_mpc)
    norm = np.full(n, 1.0 / (distance_mpc**2 + sigma**2))
    ipix = flat.start >> (2 * (29 - flat.order.astype(np.int64)))
    return skymaps.build_map(flat.order, ipix, flat.density_sr, (mu, np.full(n, sigma), norm))


def lvk_notice(
    superevent_id: str = "MS260301a",
    alert_type: str = "PRELIMINARY",
    created: datetime = T0 + timedelta(minutes=5),
    *,
    skymap: bytes | None = None,
    **event: Any,
) -> bytes:
    """A notice as GCN sends it (JSON, map in base64). RETRACTION has no event."""
    document: dict[str, Any] = {
        "alert_type": alert_type,
        "time_created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "superevent_id": superevent_id,
        "urls": {"gracedb": f"https://example.org/superevents/{superevent_id}/view/"},
        "event": None,
        "external_coinc": None,
    }
    if alert_type != "RETRACTION":
        document["event"] = {
            "time": T0.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "far": 1e-12,
            "significant": True,
            "instruments": ["H1", "L1", "V1"],
            "group": "CBC",
            "pipeline": "gstlal",
            "search": "AllSky",
            "properties": {"HasNS": 1.0, "HasRemnant": 1.0, "HasMassGap": 0.0},
            "classification": {"BNS": 0.99, "NSBH": 0.0, "BBH": 0.0, "Terrestrial": 0.01},
            "duration": None,
            "central_frequency": None,
            "skymap": base64.b64encode(skymap).decode() if skymap is not None else None,
            **event,
        }
    return json.dumps(document).encode()


def candidate_row(object_id: str, ra: float, dec: float, **more: str) -> bytes:
    """A row of a candidates table, as the replay reads it."""
    return json.dumps({"id": object_id, "ra": repr(ra), "dec": repr(dec), **more}).encode()


def photometry_row(
    object_id: str, days_after: float, band: str, mag: float, err: float | str = 0.05
) -> bytes:
    """A row of a photometry table; time in days after :data:`T0`."""
    mjd = 61100.0 + (T0 - datetime(2026, 3, 1, tzinfo=UTC)) / timedelta(days=1) + days_after
    return json.dumps(
        {"id": object_id, "mjd": repr(mjd), "band": band, "mag": repr(mag), "mag_err": str(err)}
    ).encode()


def csv_of(rows: list[bytes]) -> str:
    """Rows of one table, as :func:`candidate_row` makes them, as the text of a CSV file."""
    documents = [json.loads(row) for row in rows]
    head = list(documents[0])
    return "\n".join([",".join(head), *(",".join(d[k] for k in head) for d in documents)]) + "\n"


def make_context(database: Database, folder: Path, **changes: Any) -> Context:
    """A context with one practice sink that writes into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(
        data_dir=str(folder),
        clock="data",
        infer=InferSettings(debounce_s=0.0),
        plan=PlanSettings(debounce_s=0.0),
        sinks={"folder": SinkSettings("file", True, {"folder": str(folder)})},
    )
    return build_context(replace(settings, **changes), database, httpx.Client())


def send(
    ctx: Context,
    messages: Sequence[tuple[str, bytes]],
    *,
    topic: str = "test",
    first_offset: int = 0,
    sent_at: datetime | None = T0 + timedelta(hours=1),
) -> int:
    """Receive (source, payload) messages with consecutive offsets."""
    return receive(
        ctx,
        [
            Notice(source, "test", topic, 0, first_offset + i, payload, ctx.now(), sent_at)
            for i, (source, payload) in enumerate(messages)
        ],
    )


STAND_IN_CPU_S = 2.5


class StandInExecutor:
    """Answers every job at once with a fixed posterior, and counts how often it was asked.

    For tests of what happens around inference; the engine has tests of its own.
    """

    capacity = 2

    def __init__(self, p_kilonova: float = 0.9) -> None:
        self.jobs: list[Job] = []
        self._p_kilonova = p_kilonova

    def submit(self, job: Job, priority: float = 0.0) -> Future[Result]:
        self.jobs.append(job)
        future: Future[Result] = Future()
        summary = {
            "model": "stand-in",
            "p_kilonova": self._p_kilonova,
            "converged": True,
            "cpu_s": STAND_IN_CPU_S,
        }
        future.set_result(Result(run_key(job), summary, b"", {}))
        return future

    def close(self) -> None:
        """Nothing to free."""


def half_map_fits() -> bytes:
    """A multi-order FITS map whose probability sums to 0.5."""
    import io

    from astropy.io import fits

    with fits.open(io.BytesIO(skymaps.to_fits_bytes(gaussian_map()))) as hdus:
        hdus[1].data["PROBDENSITY"] *= 0.5
        out = io.BytesIO()
        hdus.writeto(out)
    return out.getvalue()
