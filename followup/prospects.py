"""What each target could have tonight, merit aside, and a memory of it between plans.

A plan follows the one before it within seconds, for the same instant and mostly the same targets.
What a target could have depends on where it is, how bright it is expected to be, what it would
teach and who else looks at it: where none of that has changed, what was worked out stands, to the
last bit, since the rows of a block do not see each other.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from followup.elsewhere import Others
from followup.evidence import Classes, Prediction, TargetEvidence
from followup.factors import RankSettings
from followup.observability import Observability
from followup.sites import Instrument
from followup.tonight import Choice, Night, Option, Sight
from followup.value_rank import certainly_a_kilonova
from followup.value_table import Lesson, ValueSettings
from mmcoord.predictions import ClassPredictions

__all__ = ["Frame", "Memory", "Prospect"]

_BLOCK = 500
"""Targets worked on at once; bounds the memory."""
_MOST_TARGETS = 6000
"""Held, of all events; one takes about a kilobyte."""
_MOST_LESSONS = 400


@dataclass(frozen=True, slots=True)
class Frame:
    """What a plan is asked, apart from the targets."""

    begin: datetime
    """Of the night; with the settings it gives the whole grid."""
    instruments: tuple[Instrument, ...]
    settings: RankSettings


@dataclass(frozen=True, slots=True)
class Prospect:
    """What one target could have."""

    option: Option | None
    """The best there is; None without any instrument."""
    choice: Choice | None
    """None: it cannot be observed ..."""
    why_not: str
    """... for this."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A prospect and what it was worked out from."""

    frame: Frame
    seen: tuple[object, ...]
    """See :func:`_seen` ..."""
    predicted: bytes
    """... and :func:`_digest`."""
    lesson: Lesson | None
    others: Others | None
    prospect: Prospect

    def serves(
        self, frame: Frame, target: TargetEvidence, lesson: Lesson | None, others: Others | None
    ) -> bool:
        return (
            self.lesson is lesson
            and self.seen == _seen(target)
            and self.others == others
            and self.frame == frame
            and self.predicted == _digest(target.predicted)
        )


def _question(classes: Classes | None) -> object:
    """By which it is known again: not itself where it says, since it may hold a whole posterior."""
    return getattr(classes, "key", classes)


def _are_equal(one: object, other: object) -> bool:
    """Predictions themselves are compared by identity: they are arrays."""
    return one is other or (not isinstance(one, ClassPredictions) and one == other)


def _seen(target: TargetEvidence) -> tuple[object, ...]:
    """What its prospects depend on, predictions apart."""
    return (
        target.ra_deg,
        target.dec_deg,
        target.latest_mag,
        target.latest_mjd_tai,
        target.latest_band,
    )


@dataclass(frozen=True, slots=True)
class _HeldLesson:
    question: object
    """Of whom, see :func:`_question` ..."""
    asked: tuple[bool, Frame, ValueSettings]
    """... and what, apart from the target."""
    lesson: Lesson | None


class Memory:
    """Prospects and lessons of the targets that were looked at last. Not for several threads."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._lessons: OrderedDict[str, _HeldLesson] = OrderedDict()

    def lesson(
        self,
        target: TargetEvidence,
        is_certain: bool,
        night: Night,
        frame: Frame,
        worth: ValueSettings,
    ) -> Lesson | None:
        """What an observation of a target would teach; None: nothing can be said of it.

        ``is_certain``: it is a kilonova. Who can say what each class would show is not asked again
        while an equal one was asked last.
        """
        if target.classes is None:
            return None
        question, asked = _question(target.classes), (is_certain, frame, worth)
        held = self._lessons.get(target.object_id)
        if held is None or held.asked != asked or not _are_equal(held.question, question):
            lesson = None
            if (predictions := target.class_predictions()) is not None:
                given = certainly_a_kilonova(predictions) if is_certain else predictions
                begin, end = float(night.tai[0]), float(night.tai[-1])
                lesson = Lesson.of(given, frame.instruments, begin, end, worth)
            held = _HeldLesson(question, asked, lesson)
            self._lessons[target.object_id] = held
        self._lessons.move_to_end(target.object_id)
        while len(self._lessons) > _MOST_LESSONS:
            self._lessons.popitem(last=False)
        return held.lesson

    def prospects(
        self,
        targets: Sequence[TargetEvidence],
        lessons: Mapping[int, Lesson],
        others: Sequence[Others],
        night: Night,
        frame: Frame,
    ) -> list[Prospect]:
        """Of each target; ``lessons``: by number of target, ``others``: of each target or none."""
        found: dict[int, Prospect] = {}
        for n, target in enumerate(targets):
            held = self._held.get(target.object_id)
            if held is not None and held.serves(
                frame, target, lessons.get(n), others[n] if others else None
            ):
                found[n] = held.prospect
                self._held.move_to_end(target.object_id)
        missing = [n for n in range(len(targets)) if n not in found]
        for start in range(0, len(missing), _BLOCK):
            some = missing[start : start + _BLOCK]
            sight = Sight(
                [targets[n] for n in some],
                frame.instruments,
                night,
                frame.settings,
                {k: lessons[n] for k, n in enumerate(some) if n in lessons},
                [others[n] for n in some] if others else (),
            )
            for n, prospect in zip(some, _of(sight), strict=True):
                found[n] = prospect
                held = _Held(
                    frame,
                    _seen(targets[n]),
                    _digest(targets[n].predicted),
                    lessons.get(n),
                    others[n] if others else None,
                    prospect,
                )
                self._keep(targets[n].object_id, held)
        return [found[n] for n in range(len(targets))]

    def _keep(self, name: str, held: _Held) -> None:
        self._held[name] = held
        self._held.move_to_end(name)
        while len(self._held) > _MOST_TARGETS:
            self._held.popitem(last=False)


def _of(sight: Sight) -> list[Prospect]:
    """Of every target of a block."""
    bests = [sight.best(number) for number in range(len(sight.instruments))]
    options = sight.options(bests)
    choices = sight.choices(np.array([best.value for best in bests]))
    return [
        Prospect(
            options[row] if options else None,
            choices.get(row),
            "" if row in choices else _why_not(row, sight.seen, len(bests)),
        )
        for row in range(len(sight.known))
    ]


def _why_not(row: int, seen: Observability, n_instruments: int) -> str:
    causes: Counter[str] = Counter()
    for number in range(n_instruments):
        if not seen.dark[number].any():
            causes["has no darkness"] += 1
        elif not seen.up_in_dark[number, row]:
            causes["has it too low, or lost at the zenith, in the dark"] += 1
        elif not seen.allowed[number, row].any():
            causes["has it too near the Moon"] += 1
        else:
            causes["has it up for less than an exposure"] += 1
    told = "; ".join(f"{count} of {n_instruments} {cause}" for cause, count in causes.items())
    return told or "no instrument is configured"


def _digest(predicted: Mapping[str, Prediction] | None) -> bytes:
    """By which predictions are known again: they are many times as large."""
    if not predicted:
        return b""
    found = hashlib.blake2b(digest_size=16)
    for band in sorted(predicted):
        found.update(band.encode() + b"\0")
        for column in predicted[band]:
            values = np.asarray(column, np.float64)
            found.update(len(values).to_bytes(4, "little") + values.tobytes())
    return found.digest()
