"""Where the expected information enters the ranking, and how it is told."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from followup.brightness import depth_mag
from followup.evidence import TargetEvidence
from followup.factors import Factor
from followup.sites import Instrument
from followup.tonight import Choice, Night, Option
from followup.value_table import Lesson
from mmcoord.predictions import ClassPredictions
from mmcoord.timescales import mjd_utc

__all__ = ["certainly_a_kilonova", "cost_told", "informed", "look_of", "most_promising"]


def most_promising(
    targets: Sequence[TargetEvidence],
    merits: Sequence[Mapping[str, Factor]],
    n: int,
    lesson_of: Callable[[TargetEvidence, bool], Lesson | None],
) -> dict[str, Lesson]:
    """Lessons of the ``n`` targets of the largest merit that have one.

    ``lesson_of``: of a target, and whether it is certainly a kilonova.
    """
    able = sorted(
        (-math.prod(f.counted for f in factors.values()), target.object_id, place)
        for place, (target, factors) in enumerate(zip(targets, merits, strict=True))
        if target.classes is not None
    )
    found: dict[str, Lesson] = {}
    for _, object_id, place in able:
        if len(found) == n:
            break
        is_certain = merits[place]["classified"].value == 1.0
        if (lesson := lesson_of(targets[place], is_certain)) is not None:
            found[object_id] = lesson
    return found


def certainly_a_kilonova(predictions: ClassPredictions) -> ClassPredictions:
    """The predictions of a source that a spectrum shows to be a kilonova: no class is in doubt."""
    certain = np.zeros(len(predictions.classes))
    certain[0] = 1.0
    return dataclasses.replace(predictions, probability=certain)


def look_of(option: Option, instrument: Instrument, night: Night) -> tuple[float, str, float]:
    """MJD (TAI), canonical band and depth of an observation."""
    return float(night.tai[option.time]), instrument.bands[option.band].canonical, option.depth


def informed(
    option: Option, instrument: Instrument, night: Night, lesson: Lesson
) -> dict[str, Factor]:
    """The factors of the night of a target with predictions."""
    at, band, depth = look_of(option, instrument, night)
    told = option.told
    reason = (
        f"{lesson.sentence(band, at, depth)}: {100 * told:.0f} % of equally likely possibilities "
        f"would be ruled out with {instrument.id}"
    )
    seen = (
        f"best at airmass {option.airmass:.2f} with {instrument.id}; the depth counts the airmass"
    )
    return {"information": Factor(told, told, reason), "observability": Factor(1.0, 1.0, seen)}


def cost_told(lesson: Lesson, choice: Choice, night: Night) -> str:
    """What the proposed observation takes, and what it is worth for that, in a sentence."""
    instrument = choice.instrument
    band = instrument.bands[choice.band]
    depth = float(depth_mag(instrument, band, np.asarray(choice.airmass), choice.exposure_s))
    at = float(np.interp(mjd_utc(choice.start), night.utc, night.tai))
    bits = float(lesson.worth(band.canonical, at, depth))
    overhead = instrument.overhead_s + instrument.slew_s
    hours = (choice.exposure_s + overhead) / 3600.0
    return (
        f"{choice.exposure_s:.0f} s and {overhead:.0f} s of overhead for {bits:.2f} bit: "
        f"{bits / hours:.1f} bit per hour, {bits / hours / instrument.aperture_m**2:.2g} per hour "
        "and square metre of aperture"
    )
