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
from followup.tonight import Choice, Night, Option, Sight, night_from
from followup.value_rank import cost_told, informed, look_of, most_promising
from followup.value_table import Lesson, ValueSettings
from mmcoord.elsewhere import Elsewhere
from mmcoord.records import PlanRow

__all__ = ["rank"]

_MOST_VALUE = 1.001
"""No observation is worth more than its target's merit; and a hair for the rounding."""


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
    most: int | None = None,
) -> tuple[PlanRow, ...]:
    """Rank the targets of one event for the day that follows ``now``.

    A target that no instrument can observe in the coming day keeps its row, with the reason;
    its observability counts as ``settings.unobservable``.
    ``slate``: where what the targets could have is kept for :func:`followup.assign.assign`.
    The same inputs in any order give the same rows; ties go by ``object_id``.
    ``galaxies`` None: no catalogue, hosts are not a factor; ``elsewhere``: what others observe.
    ``memory``: of the plans before; the rows are the same with it and without.
    ``most``: only so many of the first rows are wanted. They are the same as the first of all; what
    a target could have is not worked out where its merit cannot bring it among them.

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
    lessons = most_promising(
        ordered,
        merits,
        question.worth.informed_targets,
        lambda target, is_certain: question.memory.lesson(
            target, is_certain, question.night, question.frame, question.worth
        ),
    )
    drafts = _first_drafts(ordered, merits, lessons, question, most or len(ordered))
    drafts.sort(key=lambda d: (-d.score, d.target.object_id))
    rows = tuple(_row(place, draft) for place, draft in enumerate(drafts, start=1))
    if slate is not None:
        _take(slate, drafts[: slate.keep], question)
        targets = [draft.target for draft in drafts]
        slate.left_to = left_to_claimants(rows, targets, settings.claims)
        slate.unfound = 1.0 / (1.0 + odds_found)
    return rows[:most]


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


def _first_drafts(
    targets: Sequence[TargetEvidence],
    merits: Sequence[dict[str, Factor]],
    lessons: Mapping[str, Lesson],
    question: _Question,
    most: int,
) -> list[_Draft]:
    """The ``most`` drafts of the highest score, in no order, and others with them.

    A score is at most the merit, unless a lesson takes the place of P(kilonova) in it. So targets
    are looked at from the highest merit on, until the next cannot reach the ``most``-th score. What
    is claimed is always looked at: whether it is left to its claimants depends on its score.
    """
    merit = [math.prod(f.counted for f in factors.values()) for factors in merits]
    always = [n for n, t in enumerate(targets) if t.object_id in lessons or t.claims]
    left = sorted(set(range(len(targets))) - set(always), key=lambda n: -merit[n])
    drafts: list[_Draft] = []
    following = always
    while following or left:
        some = [targets[n] for n in following]
        drafts += _drafts(some, [merits[n] for n in following], lessons, question)
        enough = sorted((draft.score for draft in drafts), reverse=True)[most - 1 : most]
        able = left if not enough else [n for n in left if _MOST_VALUE * merit[n] >= enough[0]]
        following, left = able[:most], able[most:]
    return drafts


def _drafts(
    targets: Sequence[TargetEvidence],
    merits: Sequence[dict[str, Factor]],
    lessons: Mapping[str, Lesson],
    question: _Question,
) -> list[_Draft]:
    lesson_of = {
        row: lessons[target.object_id]
        for row, target in enumerate(targets)
        if target.object_id in lessons
    }
    others = [
        others_of(target.object_id, target.ra_deg, target.dec_deg, question.elsewhere)
        for target in targets
    ] if question.elsewhere else []  # fmt: skip
    prospects = question.memory.prospects(
        targets, lesson_of, others, question.night, question.frame
    )
    return [
        _draft(
            target,
            dict(merits[row]),
            prospects[row],
            lesson_of.get(row),
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
    option, choice = prospect.option, prospect.choice
    if option is None or choice is None:
        factors |= _out_of_reach(prospect.why_not, settings)
        score = math.prod(f.counted for f in factors.values())
        return _Draft(target, factors, _rounded(score), None, {}, 0.0, lesson, others)
    best = instruments[option.number]
    said = {"choice": _why(choice, best)}
    if lesson is None:
        factors |= _in_reach(option, best, choice, settings)
    else:
        said["kilonova"] = f"{factors.pop('kilonova').reason}; part of the information"
        said["cost"] = cost_told(lesson, choice, night)
        factors |= informed(option, best, night, lesson)
    if others is not None:
        at, band, depth = look_of(option, best, night)
        factors["elsewhere"] = others.factor(band, at, depth)
    merit = math.prod(f.counted for name, f in factors.items() if name not in _OF_THE_NIGHT)
    score = merit * option.value
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
    option: Option, instrument: Instrument, choice: Choice, settings: RankSettings
) -> dict[str, Factor]:
    airmass, reach = option.airmass, option.brightness
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


def _why(choice: Choice, best: Instrument) -> str:
    here = choice.instrument
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
