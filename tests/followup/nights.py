"""Small random problems for the schedule, with everything that it can hold."""

from __future__ import annotations

import numpy as np

from followup.schedule import Cover, Options, Problem, Sequences, one_goal_each


def problem(
    seed: int,
    *,
    n_options: int = 40,
    n_pointings: int = 10,
    n_instruments: int = 3,
    n_slots: int = 8,
    tiles: bool = False,
    quotas: bool = False,
    sequences: bool = False,
    price: float = 0.0,
) -> Problem:
    rng = np.random.default_rng(seed)
    options = Options(
        pointing=rng.integers(0, n_pointings, n_options),
        instrument=rng.integers(0, n_instruments, n_options),
        band=np.zeros(n_options, np.int64),
        start=rng.integers(0, n_slots, n_options),
        duration_s=rng.uniform(10.0, 300.0, n_options),
        value=rng.lognormal(0.0, 1.0, n_options),
        cost=rng.uniform(0.0, 1.0, n_options),
        programme=rng.integers(-1, 2, n_options) if quotas else np.full(n_options, -1),
    )
    return Problem(
        options,
        overlapping(rng, n_pointings) if tiles else one_goal_each(n_pointings),
        n_instruments,
        n_slots,
        slot_s=100.0,
        quota_s=rng.uniform(100.0, 900.0, 2) if quotas else np.zeros(0),
        sequences=pairs(n_pointings if sequences else 0),
        price=price,
    )


def overlapping(rng: np.random.Generator, n_pointings: int) -> Cover:
    """The first half are tiles of two to four shared goals, the rest plain targets."""
    n_tiles = n_pointings // 2
    members = [
        rng.choice(n_tiles, rng.integers(2, min(5, n_tiles + 1)), replace=False)
        for _ in range(n_tiles)
    ]
    shares = [rng.dirichlet(np.ones(len(m))) for m in members]
    members += [np.array([n_tiles + i]) for i in range(n_pointings - n_tiles)]
    shares += [np.ones(1)] * (n_pointings - n_tiles)
    first = np.concatenate([[0], np.cumsum([len(m) for m in members])])
    return Cover(first, np.concatenate(members), np.concatenate(shares))


def pairs(n_pointings: int) -> Sequences:
    """The last pointings follow those before them, two to five slots later."""
    second = np.array([n_pointings - 1, n_pointings - 3]) if n_pointings else np.zeros(0, int)
    least = np.full(len(second), 200.0)
    return Sequences(second - 1, second, least, least + 300.0)
