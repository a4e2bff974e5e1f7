"""A night with everything on it, for screenshots and for the check of accessibility."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select
from sqlmodel import col

import skymaps
from followup.search import tile_id
from mmcoord.practice_burst import notice_of
from mmcoord.records import PlanLook
from mmcoord.simulate.burst import make_burst
from mmcoord.stages import bursts, intake, plan
from mmcoord.stages.planrows import row_to_json
from mmcoord.store.database import Database
from mmcoord.store.tables import (
    AccessGroupRow,
    BurstRow,
    LocalizationRow,
    RequestRow,
    RunRequestRow,
)
from mmcoord.store.tables_claims import ClaimRow
from mmcoord.store.tables_tiles import PlanTileRow
from tests.making import gaussian_map, make_context
from tests.web import sample
from tests.web.sample import CENTRE, EVENT, FIRST, HEARD, MAP

__all__ = ["PAGES", "burst_page", "busy", "search_wide"]

PAGES = {
    "tonight": "/",
    "events": "/events",
    "event": f"/events/{EVENT}",
    "object": f"/objects/{FIRST}",
    "runs": "/runs",
    "search": "/search?q=SN27",
    "notices": "/notices",
    "notice": "/notices/1",
    "health": "/health",
    "viewer": f"/viewer?event={EVENT}",
    "signin": "/signin",
}


def busy(database: Database, now: datetime | None = None) -> None:
    """Add to the sample store what waits, what is claimed, what was asked for and failed.

    ``now``: of the wall clock where it is not told.
    """
    now = now or datetime.now(UTC)
    with database.write() as session:
        row = session.get(LocalizationRow, MAP)
        assert row is not None
        row.fits = skymaps.to_fits_bytes(gaussian_map())
    sample.add(
        database,
        sample.event_row("S270302f", is_practice=False, state="retracted", alert_type="RETRACTION"),
        sample.event_row("S270303c", is_practice=False, significant=False),
        sample.alarm_row("disk low", "warn"),
        sample.alarm_row("silent igwn"),
        sample.delivery_row(7, state="held", sink="gcn_circular", finished_at=None, target=""),
        ClaimRow(event_id=EVENT, object_id=FIRST, group="southern-lights", state="claimed",
                 via="page", instrument="lco-1m-sso", created_at=now, changed_at=now,
                 expires_at=now + timedelta(minutes=50)),
        AccessGroupRow(name="southern-lights", quota_cpu_s=36_000.0, created_at=HEARD),
        AccessGroupRow(name="night-owls", quota_cpu_s=7200.0, created_at=HEARD),
        RunRequestRow(run_key=sample.RUN, group="southern-lights", token_id="t", how="executed",
                      requested_at=now, charged_cpu_s=31.0),
        RunRequestRow(run_key=sample.RUN, group="night-owls", token_id="u", how="coalesced",
                      requested_at=now, charged_cpu_s=31.0),
        sample.run_row(run_key="a" * 64, object_id="SN27bbb", state="running", finished_at=None,
                       started_at=HEARD, coalesced=0, cached=0, summary={}),
        sample.run_row(run_key="b" * 64, object_id="SN27ccc", state="queued", finished_at=None,
                       summary={}),
        sample.run_row(run_key="c" * 64, object_id="CAND003", state="failed", summary={},
                       error="too few points: 1 of at least 2", attempts=3),
        sample.run_row(run_key="d" * 64, object_id="CAND004", partition="night-owls"),
        *(
            ClaimRow(event_id=EVENT, object_id=name, group=group, state=state, via="page",
                     instrument="decam", created_at=now, changed_at=now, expires_at=expires)
            for name, group, state, expires in (
                (_tile(1).tile_id, "night-owls", "claimed", now + timedelta(minutes=40)),
                (tile_id("decam", 195.2, -25.1), "southern-lights", "completed", None),
            )
        ),
    )  # fmt: skip
    search_wide(database)


def search_wide(database: Database) -> list[PlanTileRow]:
    """Give the newest plan its tiles, and its first target further looks; the tiles."""
    looks = tuple(
        PlanLook(role, "lco-1m-sso", band, HEARD + timedelta(hours=hours), 120.0, 18.6)
        for role, band, hours in (("colour", "sdss:g", 4.1), ("again", "sdss:i", 5.5))
    )
    with database.write() as session:
        first = session.get(RequestRow, (EVENT, 2, 1))
        assert first is not None
        first.row = row_to_json(sample.plan_row(1, FIRST, 0.57, looks=looks))
    sample.add(database, *(_tile(number) for number in range(1, 6)))
    return [_tile(number) for number in range(1, 6)]


def _tile(number: int) -> PlanTileRow:
    """A field of DECam, one beside the other along the map."""
    ra_deg, dec_deg = CENTRE[0] + 1.5 * (number - 3), CENTRE[1] + 2.2 * (number - 3)
    held = 0.11 / (1 + abs(number - 3))
    return PlanTileRow(
        event_id=EVENT,
        revision=2,
        number=number,
        tile_id=tile_id("decam", ra_deg, dec_deg),
        instrument="decam",
        band="decam:i",
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        field_deg2=3.0,
        start=HEARD + timedelta(hours=3, minutes=2 * number),
        exposure_s=90.0,
        probability=held,
        new_probability=0.8 * held,
        reach=0.88,
        score=0.7 * held,
        reason=(
            f"{100 * held:.2g} % of the map; a counterpart in it is within reach with 88 % in "
            f"decam:i at airmass 1.21; {80 * held:.2g} % that this image shows it and nothing "
            "before did; 91 % that no candidate looked into is it"
        ),
    )


def burst_page(database: Database, folder: Path, now: datetime | None = None) -> str:
    """Play a supernova's neutrinos through the stages; the address of the page of the burst."""
    now = now or datetime.now(UTC)
    ctx = replace(make_context(database, folder), now=lambda: now)
    burst = make_burst(3, distance_kpc=8.0, at=now - timedelta(hours=2))
    for number in range(len(burst.messages)):
        intake.receive(ctx, [notice_of(ctx, burst, number)])
    while intake.run(ctx) + bursts.run(ctx) + plan.run(ctx):
        pass
    with database.read() as session:
        return f"/events/{session.execute(select(col(BurstRow.event_id))).scalars().first()}"
