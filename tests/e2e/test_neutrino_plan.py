"""A real IceCube track, its better position, and what the plan makes of both."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from astropy.time import Time
from sqlalchemy import select

from mmcoord.config import InferSettings
from mmcoord.stages import intake, plan
from mmcoord.stages.context import Context
from mmcoord.stages.infer import InferStage
from mmcoord.stages.match import MatchStage
from mmcoord.stages.planrows import newest_rows
from mmcoord.store.summary import plan_document
from mmcoord.store.tables import EventRow, PlanRevisionRow, RequestRow
from tests.making import StandInExecutor, candidate_row, make_context, send
from tests.shared import shared
from tests.stores import migrated

NORTH = "nu/icecube_voevent/fink_45412.xml"
"""2022-12-23, RA 350.55, Dec +34.71, 90 % radius 0.66 deg: an evening object of the north."""
BEHIND_THE_SUN = "nu/icecube_voevent/AMON_ICECUBE_BRONZE_190819.xml"
"""2019-08-19, RA 148.81, Dec +0.96: the Sun was at RA 148."""


def context(url: str, folder: Path) -> Context:
    database = migrated(url)
    infer = InferSettings(debounce_s=0.0, messengers=("GW", "NEUTRINO"))
    return make_context(database, folder, infer=infer)


def work(ctx: Context) -> None:
    match, infer = MatchStage(), InferStage(StandInExecutor())
    while intake.run(ctx) or match.run(ctx) or infer.run(ctx) or plan.run(ctx):
        pass


def seen(name: str, ra: float, dec: float, when: datetime) -> list[tuple[str, bytes]]:
    """A candidate with one detection."""
    mjd = repr(float(Time(when + timedelta(hours=3)).mjd))
    point = {"id": name, "mjd": mjd, "band": "ztf:r", "mag": "19.5", "mag_err": "0.1"}
    return [
        ("table_candidates", candidate_row(name, ra, dec)),
        ("table_photometry", json.dumps(point).encode()),
    ]


def test_a_better_position_makes_a_new_plan_and_the_old_one_stays(
    sqlite_url: str, tmp_path: Path
) -> None:
    """Revision 1 is made from the real revision 0: 1 deg east, as such revisions can be."""
    first = shared(NORTH).read_bytes()
    when = datetime(2022, 12, 23, 7, 43, tzinfo=UTC)
    second = first.replace(b"350.5486", b"351.7486").replace(b'_0"', b'_1"')
    second = second.replace(b'name="Rev"          value="0"', b'name="Rev"          value="1"')
    assert second.count(b"351.7486") >= 1
    ctx = context(sqlite_url, tmp_path / "out")
    found = [*seen("west", 350.55, 34.71, when), *seen("east", 351.75, 34.71, when)]
    send(ctx, [("voevent", first), *found], sent_at=when + timedelta(hours=5))
    work(ctx)
    send(ctx, [("voevent", second)], first_offset=10, sent_at=when + timedelta(hours=6))
    work(ctx)
    with ctx.database.read() as session:
        event = session.execute(select(EventRow)).scalars().one()
        plans = list(
            session.execute(select(PlanRevisionRow).order_by(PlanRevisionRow.revision)).scalars()  # type: ignore[arg-type]
        )
        by_revision: dict[int, list[str]] = {}
        for row in session.execute(select(RequestRow)).scalars():
            by_revision.setdefault(row.revision, []).append(row.object_id)
        newest = newest_rows(session, event.event_id)
        document = plan_document(session, event.event_id)
    held = [by_revision.get(p.revision, []) for p in plans]
    assert ["west"] in held
    assert held[-1] == ["east"]
    assert held.index(["west"]) < len(held) - 1
    assert newest[0].instrument is not None
    assert newest[0].start is not None
    assert plans[-1].upper_bound is not None
    assert 0.0 < plans[-1].objective <= plans[-1].upper_bound
    assert document["objective"] == plans[-1].objective
    assert document["upper_bound"] == plans[-1].upper_bound
    assert 0.0 <= document["certified_gap"] < 0.05


def test_a_neutrino_behind_the_sun_has_an_empty_schedule_that_says_why(
    sqlite_url: str, tmp_path: Path
) -> None:
    when = datetime(2019, 8, 19, 17, 34, tzinfo=UTC)
    ctx = context(sqlite_url, tmp_path / "out")
    found = seen("hidden", 148.81, 0.96, when)
    payload = shared(BEHIND_THE_SUN).read_bytes()
    send(ctx, [("voevent", payload), *found], sent_at=when + timedelta(hours=5))
    work(ctx)
    with ctx.database.read() as session:
        event = session.execute(select(EventRow)).scalars().one()
        rows = newest_rows(session, event.event_id)
        document = plan_document(session, event.event_id)
    assert [row.object_id for row in rows] == ["hidden"]
    assert rows[0].instrument is None
    assert "cannot be observed" in rows[0].reasons["observability"]
    assert "Nothing to observe. Why:" in document["note"]
    assert document["objective"] == document["upper_bound"] == 0.0
