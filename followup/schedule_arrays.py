"""The schedule's problem, checked and sorted as its kernels want it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from followup.schedule import Problem

__all__ = ["Packed", "pack"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]


class Packed(NamedTuple):
    """Options worth anything that fit into the time, by (instrument, start, length, -net).

    A group is the options of one instrument, start and length.
    """

    which: Int
    """(O',) where each stands in the problem's options."""
    pointing: Int32
    instrument: Int32
    start: Int32
    length: Int32
    """Slots taken."""
    value: Float
    toll: Float
    """price x cost."""
    duration_s: Float
    programme: Int32
    instrument_first: Int
    """(K + 1,) into the groups, which go by instrument, start and length."""
    group_start: Int32
    group_length: Int32
    """(N,) of each group."""
    group_first: Int
    group_end: Int
    of_group: Int
    """The options of each group, best first: ``of_group[group_first:group_end]``."""
    first: Int
    goal: Int
    share: Float
    """The cover, as given."""
    covering_first: Int
    covering: Int
    """Its transpose: which pointings cover each goal."""
    of_pointing_first: Int
    of_pointing_end: Int
    of_pointing: Int
    """The options of each pointing, best first."""
    after: Int
    """(P,) the pointing that each must follow; -1: none."""
    min_gap: Float
    max_gap: Float
    """(P,) in slots."""
    n_slots: int
    n_goals: int
    quota_s: Float


def pack(problem: Problem) -> Packed:
    """Check and sort.

    Raises
    ------
    ValueError
        Arrays of different length, an index out of range, a value, cost or duration that is
        negative or not finite, shares that do not sum to 1, or a broken sequence.
    """
    _check(problem)
    options, cover = problem.options, problem.cover
    length = np.ceil(options.duration_s / problem.slot_s - 1e-9).astype(np.int64)
    toll = problem.price * options.cost
    net = options.value - toll
    index = np.flatnonzero((net > 0) & (options.start + length <= problem.n_slots))
    index = index[np.argsort(-net[index], kind="stable")]
    place = options.instrument[index] * problem.n_slots + options.start[index]
    place = place * (problem.n_slots + 1) + length[index]
    order = np.argsort(place, kind="stable")
    index, place = index[order], place[order]
    edges = np.flatnonzero(np.diff(place, prepend=-1)).astype(np.int64)
    instrument = options.instrument[index]
    instrument_first = np.searchsorted(instrument[edges], np.arange(problem.n_instruments + 1))
    n_pointings = len(cover.first) - 1
    pointing = options.pointing[index]
    best_first = np.lexsort((-net[index], pointing))
    of_pointing_edge = np.searchsorted(pointing[best_first], np.arange(n_pointings + 1))
    goal_owner = np.repeat(np.arange(n_pointings), np.diff(cover.first))
    by_goal = np.argsort(cover.goal, kind="stable")
    after, min_gap, max_gap = _after(problem, goal_owner[by_goal], cover.goal[by_goal])
    return Packed(
        which=index,
        pointing=pointing.astype(np.int32),
        instrument=instrument.astype(np.int32),
        start=options.start[index].astype(np.int32),
        length=length[index].astype(np.int32),
        value=options.value[index].astype(np.float64),
        toll=toll[index].astype(np.float64),
        duration_s=options.duration_s[index].astype(np.float64),
        programme=options.programme[index].astype(np.int32),
        instrument_first=instrument_first.astype(np.int64),
        group_start=options.start[index[edges]].astype(np.int32),
        group_length=length[index[edges]].astype(np.int32),
        group_first=edges,
        group_end=np.append(edges[1:], len(index)).astype(np.int64)[: len(edges)],
        of_group=np.arange(len(index)),
        first=cover.first.astype(np.int64),
        goal=cover.goal.astype(np.int64),
        share=cover.share.astype(np.float64),
        covering_first=np.searchsorted(cover.goal[by_goal], np.arange(cover.n_goals + 1)),
        covering=goal_owner[by_goal].astype(np.int64),
        of_pointing_first=of_pointing_edge[:-1],
        of_pointing_end=of_pointing_edge[1:],
        of_pointing=best_first.astype(np.int64),
        after=after,
        min_gap=min_gap,
        max_gap=max_gap,
        n_slots=problem.n_slots,
        n_goals=cover.n_goals,
        quota_s=problem.quota_s.astype(np.float64),
    )


def _after(problem: Problem, owner: Int, goal: Int) -> tuple[Int, Float, Float]:
    """Per pointing, the pointing that it must follow and the gaps in slots."""
    n_pointings = len(problem.cover.first) - 1
    after = np.full(n_pointings, -1, np.int64)
    min_gap, max_gap = np.zeros(n_pointings), np.zeros(n_pointings)
    sequences = problem.sequences
    for one, other, least, most in zip(
        sequences.first,
        sequences.second,
        sequences.min_gap_s,
        sequences.max_gap_s,
        strict=True,
    ):
        pair = []
        for wanted in (one, other):
            low, high = np.searchsorted(goal, [wanted, wanted + 1])
            if high - low != 1 or np.diff(problem.cover.first)[owner[low]] != 1:
                raise ValueError(f"sequences: goal {wanted} has no pointing of its own alone")
            pair.append(int(owner[low]))
        if after[pair[1]] >= 0:
            raise ValueError(f"sequences: goal {other} is second twice")
        after[pair[1]] = pair[0]
        min_gap[pair[1]], max_gap[pair[1]] = least / problem.slot_s, most / problem.slot_s
    _no_circle(after)
    return after, min_gap, max_gap


def _no_circle(after: Int) -> None:
    for start in np.flatnonzero(after >= 0):
        here, steps = int(start), 0
        while here >= 0:
            here, steps = int(after[here]), steps + 1
            if steps > len(after):
                raise ValueError("sequences: a goal follows itself")


def _check(problem: Problem) -> None:
    options, cover = problem.options, problem.cover
    if problem.slot_s <= 0 or problem.n_slots < 1 or problem.n_instruments < 0:
        raise ValueError("slot_s and n_slots must be positive")
    for name in options.__dataclass_fields__:
        column = getattr(options, name)
        if column.shape != (len(options),):
            raise ValueError(f"options.{name}: shape {column.shape}, wanted ({len(options)},)")
    n_pointings = len(cover.first) - 1
    for name, low, end in (
        ("pointing", 0, n_pointings),
        ("instrument", 0, problem.n_instruments),
        ("start", 0, problem.n_slots),
        ("programme", -1, len(problem.quota_s)),
    ):
        column = getattr(options, name)
        if len(column) and (column.min() < low or column.max() >= end):
            raise ValueError(f"options.{name}: not all in {low} to {end - 1}")
    for name in ("value", "cost", "duration_s"):
        column = getattr(options, name)
        if not np.all(np.isfinite(column)) or (len(column) and column.min() < 0):
            raise ValueError(f"options.{name}: negative or not finite")
    if len(options) and options.duration_s.min() <= 0:
        raise ValueError("options.duration_s: not positive")
    if not np.all(np.isfinite(problem.quota_s)) or np.any(problem.quota_s < 0):
        raise ValueError("quota_s: negative or not finite")
    if problem.price < 0 or not np.isfinite(problem.price):
        raise ValueError("price: negative or not finite")
    if np.any(np.diff(cover.first) < 1) or cover.first[-1] != len(cover.goal):
        raise ValueError("cover.first: every pointing needs a goal")
    if len(cover.goal) and (cover.share.min() < 0 or cover.goal.min() < 0):
        raise ValueError("cover: negative goal or share")
    sums = np.add.reduceat(cover.share, cover.first[:-1]) if n_pointings else np.zeros(0)
    if not np.allclose(sums, 1.0):
        raise ValueError("cover.share: the shares of a pointing do not sum to 1")
