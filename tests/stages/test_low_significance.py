"""Low-significance notices, which are the bulk of what LVK sends, start nothing dear."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import healpy
import numpy as np
from astropy.time import Time
from sqlalchemy import select

import skymaps
from mmcoord.config import InferSettings
from mmcoord.stages import intake, plan
from mmcoord.stages.context import Context
from mmcoord.stages.infer import InferStage
from mmcoord.stages.match import MatchStage
from mmcoord.store.tables import EventRow, MatchRow, RequestRow
from tests.making import StandInExecutor, candidate_row, make_context, send
from tests.shared import shared
from tests.stages.test_infer import FADING
from tests.stores import migrated


def night(path: Path) -> list[tuple[str, bytes]]:
    """A real notice, and at its map's peak a candidate that fades like a kilonova."""
    payload = path.read_bytes()
    event = json.loads(payload)["event"]
    skymap = skymaps.load(base64.b64decode(event["skymap"]))
    peak = int(skymap.start[np.argmax(skymap.density_sr)])
    ra, dec = healpy.pix2ang(2**29, peak, nest=True, lonlat=True)
    name = f"fader-{path.stem}"
    t0 = float(Time(event["time"]).tai.mjd)
    points = [
        {"id": name, "mjd": repr(t0 + day), "band": band, "mag": repr(mag), "mag_err": "0.05"}
        for day, band, mag in FADING
    ]
    return [
        ("igwn", payload),
        ("table_candidates", candidate_row(name, float(ra), float(dec), z="0.0135")),
        *(("table_photometry", json.dumps(point).encode()) for point in points),
    ]


def work(ctx: Context, executor: StandInExecutor) -> None:
    match, infer = MatchStage(), InferStage(executor)
    while intake.run(ctx) or match.run(ctx) or infer.run(ctx) or plan.run(ctx):
        pass


def whole(ctx: Context) -> tuple[StandInExecutor, list[MatchRow], list[EventRow], list[RequestRow]]:
    notices = sorted(shared("gw/o4_low_significance").glob("*.json"))
    assert len(notices) == 12
    messages = [message for path in notices for message in night(path)]
    send(ctx, messages)
    executor = StandInExecutor()
    work(ctx, executor)
    with ctx.database.read() as session:
        found = [list(session.execute(select(row)).scalars()) for row in (MatchRow, EventRow)]
        requests = list(session.execute(select(RequestRow)).scalars())
    return executor, found[0], found[1], requests


def test_twelve_real_low_significance_notices_start_no_inference(
    sqlite_url: str, tmp_path: Path
) -> None:
    executor, matches, events, requests = whole(_context(sqlite_url, tmp_path))
    assert len(events) == 6
    assert {event.significant for event in events} == {False}
    assert len({match.object_id for match in matches}) == 12  # stored and matched all the same
    assert executor.jobs == []
    assert requests == []


def test_the_same_notices_start_inference_when_the_operator_wants_it(
    sqlite_url: str, tmp_path: Path
) -> None:
    """What the other test does not see is there to be seen."""
    ctx = _context(sqlite_url, tmp_path, low_significance=True)
    executor, _, _, _ = whole(ctx)
    assert executor.jobs


def _context(url: str, folder: Path, **infer: bool) -> Context:

    database = migrated(url)
    return replace(
        make_context(database, folder / "out", infer=InferSettings(debounce_s=0.0, **infer))
    )
