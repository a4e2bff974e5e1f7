"""What changes during a night, as changes of the schedule's problem: one of each kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from followup.schedule import Change, Options, Problem, Schedule

__all__ = ["KINDS", "Kind"]

Int = npt.NDArray[np.int64]
Kind = Callable[[Problem, Schedule, np.random.Generator], Change]


def alert_revision(problem: Problem, plan: Schedule, rng: np.random.Generator) -> Change:
    """The new map puts a target that was left out where the event most likely is."""
    target = rng.choice(_left_out(problem, plan))
    here = _options_of(problem, target)
    top = problem.options.value[plan.chosen].max()
    return _instead(here, target, value=here.value * top / here.value.max())


def posterior(problem: Problem, plan: Schedule, rng: np.random.Generator) -> Change:
    """A planned target fades sooner than was thought: worth less later on, and longer to see."""
    target = problem.options.pointing[rng.choice(plan.chosen)]
    here = _options_of(problem, target)
    fading = np.exp(-here.start / problem.n_slots)
    return _instead(
        here, target, value=here.value * fading, duration_s=here.duration_s + problem.slot_s
    )


def claim(problem: Problem, plan: Schedule, rng: np.random.Generator) -> Change:
    """The most valuable planned target is claimed by somebody else, and left to them."""
    options = problem.options
    target = options.pointing[plan.chosen[np.argmax(options.value[plan.chosen])]]
    return _instead(_taken(options, np.zeros(0, np.int64)), target)


def weather(problem: Problem, plan: Schedule, rng: np.random.Generator) -> Change:
    """Over one telescope's site clouds, for the first half of the day, and a fair chance after."""
    k = int(problem.options.instrument[rng.choice(plan.chosen)])
    here = np.flatnonzero((problem.options.instrument == k) & (problem.options.value > 0))
    here = here[problem.options.start[here] >= problem.n_slots // 2]
    there = _taken(problem.options, here)
    there = dataclasses.replace(there, value=0.7 * there.value)
    return Change(there, instruments=np.array([k]))


def completed(problem: Problem, plan: Schedule, rng: np.random.Generator) -> Change:
    """A planned observation is made: a further one is worth a fifth."""
    target = problem.options.pointing[rng.choice(plan.chosen)]
    here = _options_of(problem, target)
    return _instead(here, target, value=0.2 * here.value)


KINDS: dict[str, Kind] = {
    "alert_revision": alert_revision,
    "posterior": posterior,
    "claim": claim,
    "weather": weather,
    "completed": completed,
}


def _left_out(problem: Problem, plan: Schedule) -> Int:
    options = problem.options
    able = np.unique(options.pointing[options.value > 0])
    return np.setdiff1d(able, options.pointing[plan.chosen])


def _options_of(problem: Problem, target: int) -> Options:
    options = problem.options
    return _taken(options, np.flatnonzero((options.pointing == target) & (options.value > 0)))


def _taken(options: Options, rows: Int) -> Options:
    names = [column.name for column in dataclasses.fields(Options)]
    return Options(**{name: getattr(options, name)[rows] for name in names})


def _instead(options: Options, target: int, **columns: Any) -> Change:
    return Change(dataclasses.replace(options, **columns), pointings=np.array([target]))
