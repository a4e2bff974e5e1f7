"""The ranked plan of one event: which candidate first, where, when and in which band.

``score = membership x time x kilonova x classified x brightness x observability``, and for the
most promising targets with predictions ``membership x time x classified x information``; where
galaxies or observations of others are known, x ``host`` and x ``elsewhere``, x ``claims`` where
observers claim, and x ``rivals`` where another candidate has been looked into. All factors are
in [0, 1] and kept with their sentences. Nothing reads the clock: ``now`` is data. For the
telescopes each target is looked at alone here; :mod:`followup.assign` makes a schedule of them.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from followup.elsewhere import Others, others_of
from followup.evidence import TargetEvidence
from followup.factors import (
    Factor,
    RankSettings,
    claimed,
    classified,
    kilonova,
    membership,
    timing,
)
from followup.hosts import GalaxySource, host
from followup.looks import is_undecided
from followup.prospects import Frame, Memory, Prospect
from followup.rivals import add_rivals
from followup.sites import Instrument
from followup.slate import Slate
from followup.spoken_for import left_to_claimants
from followup.tonight import Best, Choice, Night, Sight, night_from
from followup.value_rank import cost_told, informed, most_promising, option_of
from followup.value_table import Lesson, ValueSettings
from mmcoord.elsewhere import Elsewhere
from mmcoord.predictions import ClassPredictions
from mmcoord.records import PlanRow

__all__ = ["explain", "outlook", "rank"]


def rank(
    targets: Sequence[TargetEvidence],
    *,
    event_time: datetime | None,
    now: datetime,
    instruments: Sequence[Instrument],
    settings: RankSettings | None = None,
    worth: ValueSettings | None = None,
    galaxies: GalaxySource | None = None,
    elsewhere: Sequence[Elsewhere] = (),
    slate: Slate | None = None,
    memory: Memory | None = None,
) -> tuple[PlanRow, ...]:
    """Rank the targets of one event for the day that follows ``now``.

    A target that no instrument can observe in the coming day keeps its row, with the reason;
    its observability counts as ``settings.unobservable``.
    ``slate``: where what the targets could have is kept for :func:`followup.assign.assign`.
    The same inputs in any order give the same rows; ties go by ``object_id``.
    ``galaxies`` None: no catalogue, hosts are not a factor; ``elsewhere``: what others observe.
    ``memory``: of the plans before; the rows are the same with it and without.

    Raises
    ------
    ValueError
        A time without a zone, two targets with one ``object_id``, a broken prediction or a
        ``p_kilonova`` outside [0, 1].
    """
    settings = settings or RankSettings()
    ordered = sorted(targets, key=lambda target: target.object_id)
    for one, other in itertools.pairwise(ordered):
        if one.object_id == other.object_id:
            raise ValueError(f"two targets are called {one.object_id!r}")
    question = _Question(
        night_from(now, settings),
        tuple(instruments),
        event_time,
        settings,
        worth or ValueSettings(),
        galaxies,
        tuple(elsewhere),
        now,
        memory or Memory(),
    )
    merits = [_merits(target, question) for target in ordered]
    odds_found = add_rivals(ordered, merits, settings)
    chosen = most_promising(ordered, merits, question.worth.informed_targets)
    drafts = _drafts(ordered, merits, chosen, question)
    drafts.sort(key=lambda d: (-d.score, d.target.object_id))
    rows = tuple(_row(place, draft) for place, draft in enumerate(drafts, start=1))
    if slate is not None:
        _take(slate, drafts[: slate.keep], question)
        slate.left_to = left_to_claimants(rows, ordered, settings.claims)
        slate.unfound = 1.0 / (1.0 + odds_found)
    return rows


def outlook(rows: Sequence[PlanRow]) -> str:
    """What can be observed at all, in a line or two; why a plan is empty."""
    if not rows:
        return "The plan is empty: no candidate of this event was given to the planner."
    observable = [row for row in rows if row.instrument is not None]
    lines = [f"{len(observable)} of {len(rows)} targets can be observed in the coming day."]
    if not observable:
        lines.append("Nothing to observe. Why:")
        counts = Counter(row.reasons["observability"] for row in rows)
        lines += [f"  {count} x {reason}" for reason, count in sorted(counts.items())]
    return "\n".join(lines)


def explain(rows: Sequence[PlanRow], *, limit: int = 10) -> str:
    """The plan in words: why each of the first ``limit`` targets stands where it does.

    Says why a plan is empty, and why targets cannot be observed.
    """
    lines = [outlook(rows)]
    for row in rows[:limit]:
        lines.append(f"{row.rank}. {row.object_id}  score {row.score:.3g}")
        for name, reason in row.reasons.items():
            value = row.factors.get(name)
            shown = f"{value:.3f}" if value is not None else "  -  "
            lines.append(f"     {name:<13} {shown}  {reason}")
    if len(rows) > limit:
        lines.append(f"... and {len(rows) - limit} more.")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class _Draft:
    """A row before its rank is known."""

    target: TargetEvidence
    factors: dict[str, Factor]
    score: float
    choice: Choice | None
    said: dict[str, str]
    """Sentences beside those of the factors."""
    merit: float
    """The part of the score that does not depend on the telescope."""
    lesson: Lesson | None
    others: Others | None


@dataclass(frozen=True, slots=True)
class _Question:
    """What the ranking is asked, apart from the targets."""

    night: Night
    instruments: tuple[Instrument, ...]
    event_time: datetime | None
    settings: RankSettings
    worth: ValueSettings
    galaxies: GalaxySource | None
    elsewhere: tuple[Elsewhere, ...]
    now: datetime
    memory: Memory

    @property
    def frame(self) -> Frame:
        return Frame(self.night.begin, self.instruments, self.settings)


def _merits(target: TargetEvidence, question: _Question) -> dict[str, Factor]:
    """The factors that do not depend on the telescope."""
    settings, event_time = question.settings, question.event_time
    factors = {
        "membership": membership(target, settings),
        "time": timing(target, event_time, settings),
        "kilonova": kilonova(target, settings, event_time),
        "classified": classified(target, event_time, settings),
    }
    if (left := claimed(target, question.now, settings)) is not None:
        factors["claims"] = left
    if question.galaxies is not None:
        factors["host"] = host(
            question.galaxies,
            target.ra_deg,
            target.dec_deg,
            map_mpc=target.distance_mean_mpc,
            map_err_mpc=target.distance_std_mpc,
            has_own_distance=target.credible_level_3d is not None,
        )
    return factors


def _drafts(
    targets: Sequence[TargetEvidence],
    merits: Sequence[dict[str, Factor]],
    chosen: Mapping[str, ClassPredictions],
    question: _Question,
) -> list[_Draft]:
    night, memory, frame = question.night, question.memory, question.frame
    lessons = {
        row: memory.lesson(
            target.object_id,
            chosen[target.object_id],
            merits[row]["classified"].value == 1.0,
            night,
            frame,
            question.worth,
        )
        for row, target in enumerate(targets)
        if target.object_id in chosen
    }
    others = [
        others_of(target.object_id, target.ra_deg, target.dec_deg, question.elsewhere)
        for target in targets
    ] if question.elsewhere else []  # fmt: skip
    prospects = memory.prospects(targets, lessons, others, night, frame)
    return [
        _draft(
            target,
            dict(merits[row]),
            prospects[row],
            lessons.get(row),
            others[row] if others else None,
            question,
        )
        for row, target in enumerate(targets)
    ]


def _draft(
    target: TargetEvidence,
    factors: dict[str, Factor],
    prospect: Prospect,
    lesson: Lesson | None,
    others: Others | None,
    question: _Question,
) -> _Draft:
    """``factors``: those that do not depend on the telescope; the others are put to them."""
    instruments, night, settings = question.instruments, question.night, question.settings
    best, choice = prospect.best, prospect.choice
    if choice is None:
        factors |= _out_of_reach(prospect.why_not, settings)
        score = math.prod(f.counted for f in factors.values())
        return _Draft(target, factors, _rounded(score), None, {}, 0.0, lesson, others)
    winner = int(best.value.argmax())
    said = {"choice": _why(choice, winner, instruments)}
    if lesson is None:
        factors |= _in_reach(winner, best, instruments[winner], choice, settings)
    else:
        said["kilonova"] = f"{factors.pop('kilonova').reason}; part of the information"
        said["cost"] = cost_told(lesson, choice, night)
        factors |= informed(winner, best, instruments[winner], night, lesson)
    if others is not None:
        at, band, depth = option_of(winner, best, instruments[winner], night)
        factors["elsewhere"] = others.factor(band, at, depth)
    merit = math.prod(f.counted for name, f in factors.items() if name not in _OF_THE_NIGHT)
    score = merit * float(best.value[winner])
    return _Draft(target, factors, _rounded(score), choice, said, merit, lesson, others)


def _rounded(score: float) -> float:
    """Twelve digits: the order of a product decides about the last ones."""
    return float(f"{score:.12g}")


def _take(slate: Slate, drafts: Sequence[_Draft], question: _Question) -> None:
    """Let the slate note what the best targets could have."""
    sight = Sight(
        [draft.target for draft in drafts],
        question.instruments,
        question.night,
        question.settings,
        {n: draft.lesson for n, draft in enumerate(drafts) if draft.lesson is not None},
        [draft.others for draft in drafts if draft.others is not None],
    )
    slate.take(
        [draft.target.object_id for draft in drafts],
        np.array([draft.merit for draft in drafts]),
        np.array([draft.score for draft in drafts]),
        sight,
        [
            slate.cadence is not None and is_undecided(draft.target, draft.factors, slate.cadence)
            for draft in drafts
        ],
    )


_OF_THE_NIGHT = ("brightness", "observability", "information", "elsewhere")
"""Factors that the value of an observation holds already."""


def _in_reach(
    winner: int, best: Best, instrument: Instrument, choice: Choice, settings: RankSettings
) -> dict[str, Factor]:
    airmass, reach = float(best.airmass[winner]), float(best.brightness[winner])
    observable = Factor(
        1.0 / airmass, 1.0 / airmass, f"best at airmass {airmass:.2f} with {instrument.id}"
    )
    if choice.magnitude is None:
        default = f"counted as {settings.unknown_brightness:g}"
        reason = f"not known (no prediction for the coming night, no usable detection); {default}"
        return {"brightness": Factor(None, reach, reason), "observability": observable}
    expected = f"{choice.magnitude:.1f} mag in {choice.magnitude_band}"
    source = f"predicted {expected}" if choice.is_predicted else f"last seen at {expected}"
    reason = (
        f"{source}, 95 % brighter than {choice.faint:.1f}; reach {choice.depth:.1f} with "
        f"{choice.instrument.id}; best chance to be within reach {100 * reach:.0f} %"
    )
    return {"brightness": Factor(reach, reach, reason), "observability": observable}


def _out_of_reach(why: str, settings: RankSettings) -> dict[str, Factor]:
    brightness = Factor(
        None,
        settings.unknown_brightness,
        f"not judged: cannot be observed; counted as {settings.unknown_brightness:g}",
    )
    counted = settings.unobservable
    reason = f"cannot be observed in the coming day: {why}; counted as {counted:g}"
    return {"brightness": brightness, "observability": Factor(counted, counted, reason)}


def _why(choice: Choice, winner: int, instruments: Sequence[Instrument]) -> str:
    here, best = choice.instrument, instruments[winner]
    told = f"{here.id} at airmass {choice.airmass:.2f} from {choice.start:%Y-%m-%d %H:%M} UTC"
    if here.id == best.id:
        return f"{told}: the best instrument, at its first good time"
    return f"{told}: the smallest telescope about as good as the best ({best.id})"


def _row(place: int, draft: _Draft) -> PlanRow:
    target, choice = draft.target, draft.choice
    reasons = {name: factor.reason for name, factor in draft.factors.items()} | draft.said
    row = PlanRow(
        rank=place,
        object_id=target.object_id,
        ra_deg=target.ra_deg,
        dec_deg=target.dec_deg,
        score=draft.score,
        factors={name: factor.value for name, factor in draft.factors.items()},
        reasons=reasons,
        credible_level_2d=target.credible_level_2d,
        credible_level_3d=target.credible_level_3d,
        p_kilonova=target.p_kilonova,
        run_key=target.run_key if target.p_kilonova_origin == "inference" else None,
        instrument=None,
        band=None,
        start=None,
        exposure_s=None,
        predicted_mag=None,
        distance_mpc=target.distance_mean_mpc,
        distance_err_mpc=target.distance_std_mpc,
    )
    if choice is None:
        return row
    return dataclasses.replace(
        row,
        instrument=choice.instrument.id,
        band=choice.instrument.bands[choice.band].name,
        start=choice.start,
        exposure_s=choice.exposure_s,
        predicted_mag=choice.magnitude if choice.is_predicted else None,
    )
