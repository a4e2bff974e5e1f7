"""Made-up nights for the schedule, by seed: published, so that others can run the same."""

from __future__ import annotations

import numpy as np

from followup.schedule import Options, Problem, one_goal_each

N_SLOTS = 48
SLOT_S = 1800.0


def night(n_targets: int, n_telescopes: int, seed: int) -> Problem:
    """24 h in half-hour slots; targets over the sky, telescopes over the globe.

    A target needs 1 to 6 slots (fainter: more, larger telescope: fewer, too faint: none);
    its worth has a heavy tail (log-normal, sigma 1.5) and is divided by the airmass.
    Allowed: Sun (declination -20 deg) below -15 deg, airmass below 2 throughout.
    """
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(0, 2 * np.pi, n_targets), np.arcsin(rng.uniform(-1, 1, n_targets))
    magnitude = 18.0 + 6.0 * rng.power(2.5, n_targets)
    worth = rng.lognormal(-3.0, 1.5, n_targets)
    lon = rng.uniform(0, 2 * np.pi, n_telescopes)
    lat = np.radians(rng.choice([-31.0, -30.0, -24.0, 20.0, 29.0, 33.0], n_telescopes))
    aperture = rng.choice([0.6, 1.0, 2.0, 4.0, 8.0], n_telescopes)
    slots = np.arange(N_SLOTS + 1)
    sidereal = 1.0 + 2 * np.pi * slots * SLOT_S / 86164.1
    solar = 2 * np.pi * slots * SLOT_S / 86400.0
    sun = np.radians(-20.0)
    parts: dict[str, list[np.ndarray]] = {"pointing": [], "instrument": [], "start": []}
    length_parts, value_parts, cost_parts = [], [], []
    for k in range(n_telescopes):
        sine_sun = np.sin(lat[k]) * np.sin(sun) + np.cos(lat[k]) * np.cos(sun) * np.cos(
            solar + lon[k] - np.pi
        )
        dark = sine_sun < np.sin(np.radians(-15.0))
        hour = sidereal[None, :] + lon[k] - ra[:, None]
        sine = np.sin(lat[k]) * np.sin(dec)[:, None] + np.cos(lat[k]) * np.cos(dec)[
            :, None
        ] * np.cos(hour)
        good = (sine > 0.5) & dark
        # Half an hour reaches 21.5 with 1 m at S/N 5; twice the light per 2.5 mag ratio.
        need = np.ceil(10 ** ((magnitude - 21.5 - 2.5 * np.log10(aperture[k])) / 1.25))
        need = np.maximum(need, 1).astype(np.int64)
        run = np.zeros((n_targets, N_SLOTS + 1), np.int64)
        for t in range(N_SLOTS - 1, -1, -1):
            run[:, t] = np.where(good[:, t] & good[:, t + 1], run[:, t + 1] + 1, 0)
        target, start = np.nonzero((run >= need[:, None]) & (need <= 6)[:, None])
        parts["pointing"].append(target)
        parts["instrument"].append(np.full(len(target), k))
        parts["start"].append(start)
        length_parts.append(need[target] * SLOT_S)
        value_parts.append(worth[target] * sine[target, start])
        cost_parts.append(aperture[k] ** 2 * need[target])
    pointing, instrument, start = (np.concatenate(parts[name]) for name in parts)
    n = len(pointing)
    options = Options(
        pointing=pointing,
        instrument=instrument,
        band=np.zeros(n, np.int64),
        start=start,
        duration_s=np.concatenate(length_parts),
        value=np.concatenate(value_parts),
        cost=np.concatenate(cost_parts),
        programme=np.full(n, -1),
    )
    return Problem(options, one_goal_each(n_targets), n_telescopes, N_SLOTS, SLOT_S)
