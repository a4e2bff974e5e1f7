"""A real TOM: ranked targets through their life, and the way from posterior to TOM.

``python -m benchmarks.followup_tom [--app] [--targets 100]`` prints JSON. The TOM is the one of
the tests (``tests/tom_server.py``): Django's development server on SQLite, on this machine.
``--app`` gives it our Django app. Every number is checked at the TOM's own REST interface, and a
deviation ends the run. The peer for the last figure is what a person does by hand.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, select

import skymaps
from benchmarks.skymaps_common import report
from followup.claims import ClaimState
from followup.sinks import tom as tom_sink
from followup.sinks._tom_app import request_key
from followup.sinks.base import Outcome
from mmcoord.config import PlanSettings, SinkSettings
from mmcoord.records import AlertType, OutgoingKind, PlanRow
from mmcoord.stages import deliver, hear, intake, plan
from mmcoord.stages.context import Context
from mmcoord.stages.match import MatchStage
from mmcoord.store import claims, queue
from mmcoord.store.database import Database
from mmcoord.store.migrate import upgrade
from mmcoord.store.queue import Wish
from mmcoord.store.tables import DeliveryRow, RunRow
from mmcoord.wiring import build_context
from tests.making import candidate_row, gaussian_map, lvk_notice, make_context, photometry_row, send
from tests.sinks.sample import outgoing, row_of
from tests.tom_server import TomServer, extras, running_tom

TOP = 20
EVENT = "MS261123bench"
NIGHT = "MS260301speed"


def life(tom: TomServer, app: bool, targets: int) -> dict[str, Any]:
    """So many targets posted, re-posted, re-ranked, one claimed, one completed, all withdrawn."""
    rows = [
        replace(row_of(n, n + 1), object_id=f"bench-{n}.", ra_deg=300.0 + 0.01 * n, dec_deg=5.0)
        for n in range(targets)
    ]
    seconds: dict[str, Any] = {}
    with httpx.Client() as client:
        sink = tom_sink.build("tom", {"url": tom.url, "token": tom.bot.token}, client)

        def post(some: list[PlanRow], revision: int, what: str) -> None:
            begun = time.perf_counter()
            for row in some:
                made = outgoing((row,), event_id=EVENT, revision=revision, with_photometry=False)
                answer = sink.send(sink.payload(made), key=made.key)
                assert answer.outcome is Outcome.SENT, answer
            seconds[f"{what}_s"] = round(time.perf_counter() - begun, 2)

        post(rows, 1, "post")
        assert len(tom.targets(name="bench-")) == targets
        post(rows, 1, "post_again")
        assert len(tom.targets(name="bench-")) == targets
        turned = [replace(row, rank=targets + 1 - row.rank) for row in rows]
        post(turned, 2, "rank_anew")
        there = ranks(tom, app)
        assert there == {row.object_id: row.rank for row in turned}
        if app:
            say(tom, rows[0].object_id, "claim")
            say(tom, rows[1].object_id, "complete")
            heard = [(w.verb.value, w.object_id) for w in sink.hear(0) if w.event_id == EVENT]
            assert heard == [("claim", rows[0].object_id), ("complete", rows[1].object_id)]
            seconds["heard"] = heard
        begun = time.perf_counter()
        for row in turned:
            gone = outgoing(
                (row,),
                event_id=EVENT,
                revision=3,
                kind=OutgoingKind.WITHDRAW,
                alert_type=AlertType.RETRACTION,
            )
            answer = sink.withdraw(sink.payload(gone), key="w", remote_id=None)
            assert answer.outcome is Outcome.SENT, answer
        seconds["withdraw_s"] = round(time.perf_counter() - begun, 2)
    states = {extras(target)["mmcoord_state"] for target in tom.targets(name="bench-")}
    assert states == {"retracted"}, states
    return seconds


def ranks(tom: TomServer, app: bool) -> dict[str, int]:
    """What the TOM says."""
    if app:
        found = tom.get("/api/mmcoordrequests/", event_id=EVENT, limit=1000).json()["results"]
        return {one["object_id"]: one["rank"] for one in found}
    return {t["name"]: int(extras(t)["mmcoord_rank"]) for t in tom.targets(name="bench-")}


def say(tom: TomServer, object_id: str, verb: str) -> None:
    """As an observer of the TOM."""
    url = f"{tom.url}/api/mmcoordrequests/{request_key(EVENT, object_id)}/say/"
    httpx.post(
        url, json={"verb": verb}, headers=tom.observer.headers, timeout=60
    ).raise_for_status()


def planned(tom: TomServer, folder: Path, targets: int) -> Context:
    """A practice event with so many candidates, its first plan posted to the TOM."""
    database = Database(f"sqlite:///{folder / 'mmcoord.db'}")
    upgrade(database)
    table = {"url": tom.url, "token": tom.bot.token, "photometry": False}
    base = make_context(database, folder / "out")
    settings = replace(
        base.settings,
        plan=PlanSettings(debounce_s=0.0, post_top=TOP),
        sinks={"tom": SinkSettings("tom", True, table)},
    )
    ctx = build_context(settings, database, httpx.Client())
    fits = skymaps.to_fits_bytes(gaussian_map())
    names = [f"{NIGHT}-{n:03d}." for n in range(targets)]
    messages = [("igwn", lvk_notice(NIGHT, "INITIAL", skymap=fits))]
    messages += [
        ("table_candidates", candidate_row(name, 149.0 + 0.02 * n, -20.0 + 0.01 * n))
        for n, name in enumerate(names)
    ]
    messages += [("table_photometry", photometry_row(name, 0.5, "lsst:r", 19.0)) for name in names]
    send(ctx, messages)
    intake.run(ctx)
    stage = MatchStage()
    while stage.run(ctx):
        pass
    turn(ctx)
    return ctx


def turn(ctx: Context) -> None:
    """Plan and deliver what there is."""
    while plan.run(ctx) or deliver.run(ctx):
        pass


def from_posterior(ctx: Context, number: int, p_kilonova: float) -> dict[str, Any]:
    """A finished inference lifts the last target to the front: every rank changes."""
    name, now = f"{NIGHT}-{number:03d}.", datetime.now(UTC)
    with ctx.database.write() as session:
        before = session.execute(select(func.max(DeliveryRow.id))).scalar_one()  # type: ignore[arg-type]
        session.add(
            RunRow(
                run_key=f"{number:064d}",
                event_id=NIGHT,
                object_id=name,
                state="done",
                created_at=now,
                finished_at=now,
                summary={"p_kilonova": p_kilonova},
            )
        )
        queue.enqueue(session, [Wish("plan", NIGHT, "benchmark")], now)
    begun = time.perf_counter()
    while plan.run(ctx):
        pass
    made = time.perf_counter()
    while deliver.run(ctx):
        pass
    done = time.perf_counter()
    with ctx.database.read() as session:
        rows = session.execute(select(DeliveryRow).where(DeliveryRow.id > before)).scalars()  # type: ignore[operator,arg-type]
        states = [row.state for row in rows]
    assert states.count("sent") == len(states) >= TOP, states
    return {
        "changed_rows": len(states),
        "plan_s": round(made - begun, 3),
        "posted_s": round(done - made, 3),
        "all_s": round(done - begun, 3),
    }


def claim_moves_the_plan(ctx: Context, tom: TomServer) -> dict[str, Any]:
    """An observer claims the first target in the TOM; our next plan has it lower."""
    found = tom.get("/api/mmcoordrequests/", event_id=NIGHT, limit=1000).json()["results"]
    first = min(found, key=lambda one: one["rank"])
    url = f"{tom.url}/api/mmcoordrequests/{first['key']}/say/"
    httpx.post(url, json={"verb": "claim"}, headers=tom.observer.headers, timeout=60)
    begun = time.perf_counter()
    assert hear.run(ctx) >= 1
    turn(ctx)
    seconds = time.perf_counter() - begun
    with ctx.database.read() as session:
        states = [row.state for row in claims.of_event(session, NIGHT)]
    assert states == [ClaimState.CLAIMED.value]
    after = tom.get(f"/api/mmcoordrequests/{first['key']}/").json()
    assert after["score"] < 0.5 * first["score"], (after["score"], first["score"])
    return {
        "heard_replanned_posted_s": round(seconds, 2),
        "score_before": first["score"],
        "score_after": after["score"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--app", action="store_true", help="give the TOM our Django app")
    parser.add_argument("--targets", type=int, default=100, help="21 at least")
    wanted = parser.parse_args()
    app, targets = wanted.app, wanted.targets
    with running_tom(app=app) as tom, tempfile.TemporaryDirectory() as folder:
        document: dict[str, Any] = {"tom": tom.version, "app": app, "targets": targets}
        document["life"] = life(tom, app, targets)
        ctx = planned(tom, Path(folder), targets)
        runs = [from_posterior(ctx, targets - 1 - n, 0.9 + 0.01 * n) for n in range(3)]
        document["posterior_to_tom"] = runs
        if app:
            document["claim_in_the_tom"] = claim_moves_the_plan(ctx, tom)
        ctx.database.close()
    report(document)


if __name__ == "__main__":
    main()
