"""The plan of a neutrino burst: the stars in its region, and the watch for the first light."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from followup.breakout import Watch, watch_plan
from mmcoord.datasets import candidate_stars
from mmcoord.records import EventState, PlanRow
from mmcoord.stages import localize
from mmcoord.stages.context import Context
from mmcoord.store import bursts
from mmcoord.store.tables import EventRow, LocalizationRow
from mmcoord.supernova.waiting import CADENCE
from skymaps.progenitors import rank_progenitors

__all__ = ["cadence_words", "draft"]

_AGE_OUT = timedelta(hours=24)
"""A burst that is more likely an accident and of which nothing more was said is left then: the
network may never say that it takes it back."""


def draft(
    ctx: Context, session: Session, event: EventRow, followed_as: str, now: datetime
) -> tuple[tuple[PlanRow, ...], str]:
    """Rows of the plan and what is to be said with it."""
    if followed_as != event.event_id:
        return (), f"This burst is followed as {followed_as}, which announced it first."
    if event.state == EventState.RETRACTED.value:
        return (), "The event is retracted."
    row = bursts.newest(session, event.event_id)
    if row is None or event.event_time is None:
        return (), "The burst has not been assessed yet."
    found = row.assessment
    ended = _ended(found, event.event_time, now)
    if ended is not None:
        return (), ended
    words = " ".join(found["headlines"])
    if row.localization_id is None:
        return (), f"{words} No map: nothing can be pointed at."
    place = session.get_one(LocalizationRow, row.localization_id)
    watch = Watch(
        first_neutrino=event.event_time,
        until=event.event_time + timedelta(hours=CADENCE[-1].until_h),
        cadence=cadence_words(),
    )
    rows = watch_plan(
        rank_progenitors(
            localize.prepared(place.id, lambda: place.fits),
            candidate_stars(ctx.settings),
            found["distance_kpc"],
            found["distance_err_kpc"],
        ),
        watch,
        now,
        ctx.catalogue.select(ctx.settings.plan.instruments)
        if ctx.settings.plan.instruments
        else ctx.catalogue.instruments,
        max_rows=ctx.settings.plan.max_rows,
    )
    return rows, f"{words} Look {cadence_words()}."


def cadence_words() -> str:
    """How often to look, in words."""
    steps = ", ".join(f"every {s.every_min:g} min until {s.until_h:g} h" for s in CADENCE)
    return f"at once, then {steps} after the neutrinos"


def _ended(found: dict[str, Any], first: datetime, now: datetime) -> str | None:
    """Why nothing is watched any more; None while something is."""
    if found["is_retracted"]:
        return "Every network that announced the burst has taken it back."
    waited = now - first
    if waited > timedelta(hours=CADENCE[-1].until_h):
        return f"The watch for the first light is over after {CADENCE[-1].until_h:g} h."
    if waited > _AGE_OUT and found["probability_real"] < 0.5:
        hours = waited / timedelta(hours=1)
        return (
            f"Aged out: nobody confirmed it in {hours:.0f} h, and P(real) is "
            f"{found['probability_real']:.2g}."
        )
    return None
