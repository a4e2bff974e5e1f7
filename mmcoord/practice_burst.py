"""Practice of a supernova: its messages through the real way, one after another, and a score."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select
from sqlmodel import col

import skymaps
from mmcoord.records import Notice
from mmcoord.simulate.burst import DETECTORS, PracticeBurst, make_burst
from mmcoord.stages import localize
from mmcoord.stages.context import Context
from mmcoord.stages.intake import receive
from mmcoord.stages.pipeline import Pipeline
from mmcoord.store import bursts
from mmcoord.store.reading import newest_plan
from mmcoord.store.tables import BurstRow, LocalizationRow, RequestRow

__all__ = ["notice_of", "play_burst"]


def play_burst(
    ctx: Context,
    pipeline: Pipeline,
    *,
    seed: int,
    distance_kpc: float | None,
    detectors: Sequence[str] = DETECTORS,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Send the messages of a practice burst and say how it went.

    ``latency_s`` is, for each message, the time from its receipt until everything that it
    causes is done, the plan sent to the sinks included.

    Raises
    ------
    ConfigError
        As :func:`mmcoord.simulate.burst.make_burst`.
    """
    burst = make_burst(seed, distance_kpc=distance_kpc, detectors=detectors)
    say(f"practice: {burst.truth.star} collapses at {burst.truth.distance_kpc:g} kpc")
    localize.warm_up()
    latencies = []
    for number, message in enumerate(burst.messages):
        begun = time.perf_counter()
        receive(ctx, [notice_of(ctx, burst, number)])
        pipeline.drain()
        latencies.append(round(time.perf_counter() - begun, 3))
        say(f"practice: {message.source} after {latencies[-1]:.2f} s")
    return _score(ctx, burst) | {"latency_s": latencies}


def notice_of(ctx: Context, burst: PracticeBurst, number: int) -> Notice:
    """A message of a practice burst as if a broker had brought it."""
    message = burst.messages[number]
    return Notice(
        source=message.source,
        broker="practice",
        topic=f"supernova {burst.truth.event_time.isoformat()}",
        partition=0,
        offset=number,
        payload=message.payload,
        received_at=ctx.now(),
        sent_at=message.sent_at,
    )


def _score(ctx: Context, burst: PracticeBurst) -> dict[str, Any]:
    truth = burst.truth
    with ctx.database.read() as session:
        row = session.execute(
            select(BurstRow).order_by(col(BurstRow.id).desc()).limit(1)
        ).scalar_one()
        newest = bursts.newest(session, row.event_id)
        assert newest is not None
        found = newest.assessment
        level = None
        if newest.localization_id is not None:
            place = session.get_one(LocalizationRow, newest.localization_id)
            ready = skymaps.prepare(skymaps.load(place.fits))
            level = float(
                skymaps.match(ready, [truth.ra_deg], [truth.dec_deg]).credible_level_2d[0]
            )
        plan = newest_plan(session, row.event_id)
        rank = session.execute(
            select(col(RequestRow.rank)).where(
                col(RequestRow.event_id) == row.event_id,
                col(RequestRow.revision) == (plan.revision if plan else 0),
                col(RequestRow.object_id) == truth.star,
            )
        ).scalar_one_or_none()
        event_id = row.event_id
    return {
        "event": event_id,
        "star": truth.star,
        "distance_kpc": truth.distance_kpc,
        "counts": truth.counts,
        "messages": len(burst.messages),
        "probability_real": found["probability_real"],
        "verdict": found["verdict"],
        "distance_found_kpc": found["distance_kpc"],
        "area_90_deg2": found["area_90_deg2"],
        "credible_level_of_star": level,
        "rank_of_star": rank,
        "stars_in_plan": plan.n_targets if plan else 0,
    }
