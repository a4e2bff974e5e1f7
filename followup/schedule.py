"""The schedule: which observations are made, where and when, and how far that is from the best.

The problem is given as arrays, one entry per **option** (a pointing, with an instrument, in a
band, from a time slot, for a duration). What an option brings is counted by **goal**: a goal
is whatever is worth having once. A plain target is one goal of its own. The second look at a
target is another goal (worth less: the caller says how much), with a :class:`Sequence` that
puts it after the first; a cadence pair is the same with a gap of hours. A tile of a map covers
many goals (patches of sky), and patches that two tiles share count once.

    maximise   sum over goals g of max over chosen options o of  value_o share_{p(o), g}
               - price x sum over chosen options of cost_o

subject to: an instrument does one thing at a time (an option occupies ``ceil(duration_s /
slot_s)`` whole slots; slew and overheads belong to its duration); the durations charged to a
programme stay within its quota; the second goal of a sequence only with its first, the starts
apart by its gap.

:func:`schedule` returns the chosen options with the objective **and a certified upper bound**
of what any schedule could reach, so that the gap is known without an exact solver.

Who gives what: the value of an option (dimensionless, >= 0: expected information x chance of
membership x chance that nobody else has it) is the business of ``followup.value``; when it can
be observed that of ``followup.observability``; options that are not allowed are left out.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = [
    "Change",
    "Cover",
    "Options",
    "Problem",
    "Schedule",
    "Sequences",
    "Warm",
    "changed",
    "one_goal_each",
]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Options:
    """``O`` possible observations, all arrays (O,). Order does not matter."""

    pointing: Int
    """What is looked at: index into the problem's :class:`Cover`."""
    instrument: Int
    """0 .. n_instruments - 1."""
    band: Int
    """A label of the caller's; not read here."""
    start: Int
    """Slot in which it begins, 0 .. n_slots - 1."""
    duration_s: Float
    """Time that the instrument is taken: slew, exposures and overheads. Positive."""
    value: Float
    """What it is worth if nothing else covers its goals; dimensionless, >= 0, finite."""
    cost: Float
    """In the caller's unit of cost, >= 0; weighed by ``Problem.price``."""
    programme: Int
    """Whose time it takes: index into ``Problem.quota_s``; -1: nobody counts."""

    def __len__(self) -> int:
        return len(self.pointing)


@dataclass(frozen=True, slots=True)
class Cover:
    """Which goals each of ``P`` pointings covers, as compressed rows.

    Pointing ``p`` covers ``goal[first[p]:first[p + 1]]`` with the ``share`` of its value that
    each is worth; the shares of a pointing sum to 1.
    """

    first: Int
    """(P + 1,)"""
    goal: Int
    share: Float

    @property
    def n_goals(self) -> int:
        return int(self.goal.max()) + 1 if len(self.goal) else 0


@dataclass(frozen=True, slots=True)
class Sequences:
    """Goals that make sense only after another, arrays (Q,).

    Each goal is ``second`` at most once, and is covered by a pointing of its own alone.
    """

    first: Int
    second: Int
    min_gap_s: Float
    """From the start of the first to the start of the second."""
    max_gap_s: Float


def _no_sequences() -> Sequences:
    none, zero = np.zeros(0, np.int64), np.zeros(0)
    return Sequences(none, none, zero, zero)


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything that the schedule depends on."""

    options: Options
    cover: Cover
    n_instruments: int
    n_slots: int
    slot_s: float
    quota_s: Float = field(default_factory=lambda: np.zeros(0))
    """Time that each programme has left in this plan."""
    sequences: Sequences = field(default_factory=_no_sequences)
    price: float = 0.0
    """Value that a unit of cost is worth: an option that brings less is left alone."""


def _nothing() -> Int:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Change:
    """What is new since the problem was stated: some of its options give way to others."""

    options: Options
    """What comes."""
    pointings: Int = field(default_factory=_nothing)
    instruments: Int = field(default_factory=_nothing)
    """Every option of these pointings, and every option with these instruments, goes."""


def changed(problem: Problem, change: Change) -> Problem:
    """The problem after a change. Options keep their numbers: those that went are worth nothing,
    those that came follow the others."""
    old, new = problem.options, change.options
    gone = np.isin(old.pointing, change.pointings) | np.isin(old.instrument, change.instruments)
    old = dataclasses.replace(old, value=np.where(gone, 0.0, old.value))
    names = [column.name for column in dataclasses.fields(Options)]
    both = {name: np.concatenate([getattr(old, name), getattr(new, name)]) for name in names}
    return dataclasses.replace(problem, options=Options(**both))


@dataclass(frozen=True, slots=True)
class Warm:
    """What an earlier schedule leaves for the next."""

    chosen: Int
    """Indices of the options (of the *new* problem) that the earlier schedule had chosen."""
    goal_price: Float | None = None
    """(G,) multipliers of the earlier bound, in the new problem's numbering."""
    quota_price: Float | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """A feasible schedule and its certificate."""

    chosen: Int
    """Indices of the chosen options, by instrument and start."""
    objective: float
    upper_bound: float
    """No schedule of this problem is worth more."""
    goal_price: Float
    """(G,) multipliers that prove the bound; they start the next one (:class:`Warm`)."""
    quota_price: Float
    wall_s: float

    @property
    def certified_gap(self) -> float:
        """(upper bound - objective) / upper bound, 0 for an empty problem."""
        return 0.0 if self.upper_bound <= 0 else 1.0 - self.objective / self.upper_bound


def one_goal_each(n_pointings: int) -> Cover:
    """The cover of plain targets: pointing ``n`` has goal ``n`` to itself."""
    return Cover(
        np.arange(n_pointings + 1, dtype=np.int64),
        np.arange(n_pointings, dtype=np.int64),
        np.ones(n_pointings),
    )
