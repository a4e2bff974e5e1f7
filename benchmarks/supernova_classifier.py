"""Is what the classifier of neutrino bursts says true: reliability on simulated alerts and series.

    python -m benchmarks.supernova_classifier [--alerts 4000] [--series 600] [--figure F]

Stage A (the alert alone): a world in which ten detectors each raise one false alarm a week,
supernovae happen at the rate that is believed, at distances of the Galactic disc, detectors are
off a tenth of the time, clocks jump, and flashers make one detector report twice. Coincidences
are drawn in the proportion in which that world makes them. Stage B (binned counts): the three
classes with parameters drawn between those of the templates, and noise: flashers and muons, noisy
runs, and flashes that repeat, which no template has.

Expected calibration error: mean over cases of |said - true| in ten bins of what was said.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.skymaps_common import machine
from mmcoord.supernova.burst import Sighting, Statement, join
from mmcoord.supernova.classify import classify
from mmcoord.supernova.falsealarm import BIG, Rules, coincidence_rate_hz
from mmcoord.supernova.series import (
    CLASSES,
    BinnedCounts,
    collapsing,
    cooling,
    response,
    weigh_series,
)

Array = npt.NDArray[np.float64]
T0 = datetime(2026, 3, 1, tzinfo=UTC)
NETWORK = (*BIG,)
"""Ten detectors: those whose silence is heard."""
_OFF = 0.1


@dataclass(frozen=True)
class Case:
    """What was said of the true class, and what was true."""

    said: float
    true: bool


def alert_case(rng: np.random.Generator, rules: Rules) -> Case:
    """One coincidence of at least two, real or not in the proportion of their rates."""
    rates = [
        coincidence_rate_hz(
            r, n=len(NETWORK), rate_hz=rules.false_alarm_hz, window_s=rules.window_s
        )
        for r in (2, 3)
    ]
    total = rules.supernova_rate_hz + sum(rates)
    is_real = rng.uniform() < rules.supernova_rate_hz / total
    on = {name for name in NETWORK if rng.uniform() > _OFF}
    if is_real:
        fired = {name: 0.03 * rng.normal() for name in on if rng.uniform() > BIG[name]}
    else:
        number = 2 if rng.uniform() < rates[0] / sum(rates) else 3
        names = rng.choice(sorted(on), size=min(number, len(on)), replace=False)
        fired = {str(name): rng.uniform(0.0, rules.window_s) for name in names}
        first = min(fired.values())
        fired = {name: t for name, t in fired.items() if t - first <= rules.window_s}
    if len(fired) < 2:
        return alert_case(rng, rules)
    if rng.uniform() < 0.02:  # a clock that jumps by up to half a second
        name = str(rng.choice(sorted(fired)))
        fired[name] += rng.uniform(-0.5, 0.5)
    status = {name: "off" for name in NETWORK}
    status |= {name: "on" for name in on} | {name: "triggered" for name in fired}
    sightings = [Sighting(n, T0 + timedelta(seconds=t)) for n, t in fired.items()]
    if rng.uniform() < 0.05:  # a flasher: the same detector a second time
        name = str(rng.choice(sorted(fired)))
        sightings.append(Sighting(name, T0 + timedelta(seconds=fired[name] + 2.0)))
    statement = Statement(
        "E", "SNEWS2", "one", T0, min(s.time for s in sightings), False,
        sightings=tuple(sightings),
        status=status if rng.uniform() < 0.8 else {},
    )  # fmt: skip
    found, _ = classify(join([statement]), rules)
    return Case(found.probability_real, is_real)


def series_case(rng: np.random.Generator, prior: dict[str, float]) -> dict[str, Case]:
    """One burst as binned counts in one or two detectors."""
    kind = str(rng.choice(CLASSES, p=[prior[name] for name in CLASSES]))
    number = 10.0 ** rng.uniform(1.2, 4.0)
    bin_s = 0.01
    t = np.arange(0.5 * bin_s, 10.0, bin_s)
    shape = _shape(rng, kind, t)
    series = []
    for name in ("Super-K", "JUNO")[: int(rng.integers(1, 3))]:
        background = 10.0 ** rng.uniform(-3.0, -0.5)
        mean = background + np.concatenate([np.zeros(100), number * shape / shape.sum()])
        series.append(BinnedCounts(name, rng.poisson(mean), bin_s, background))
    found = weigh_series(series, prior)
    return {name: Case(found.probabilities[name], name == kind) for name in CLASSES}


def _shape(rng: np.random.Generator, kind: str, t: Array) -> Array:
    energies, tables = response()
    if kind == "noise":
        style = rng.integers(3)
        if style == 0:  # a flasher, a muon and what it breaks up
            return np.exp(-t / 10.0 ** rng.uniform(-2.5, -1.0))
        if style == 1:  # a noisy run
            return (t < rng.uniform(0.2, 9.0)).astype(float)
        flashes = rng.uniform(0.0, 8.0, int(rng.integers(2, 6)))
        since = t - flashes[:, None]
        return np.where(since > 0.0, np.exp(-np.maximum(since, 0.0) / 0.02), 0.0).sum(axis=0)
    if kind == "failed":
        luminosity, energy = collapsing(rng.uniform(0.3, 2.0), t)
    else:
        luminosity, energy = cooling(
            10.0 ** rng.uniform(-1.0, -0.2), 10.0 ** rng.uniform(0.0, 0.7), t
        )
    table = tables["Super-K"]
    total: Array = sum(
        (luminosity[f] * np.interp(energy[f], energies, table[f]) for f in range(3)),
        start=np.zeros_like(t),
    )
    return total


def expected_calibration_error(cases: list[Case], bins: int = 10) -> float:
    """Mean over cases of |mean said - share true| within bins of what was said."""
    said = np.array([case.said for case in cases])
    true = np.array([case.true for case in cases], dtype=float)
    place = np.minimum((said * bins).astype(int), bins - 1)
    error = 0.0
    for k in range(bins):
        inside = place == k
        if inside.any():
            error += inside.sum() * abs(float(said[inside].mean() - true[inside].mean()))
    return float(error / len(cases))


def diagram(cases: list[Case], bins: int = 10) -> list[dict[str, float]]:
    said = np.array([case.said for case in cases])
    true = np.array([case.true for case in cases], dtype=float)
    place = np.minimum((said * bins).astype(int), bins - 1)
    return [
        {
            "said": round(float(said[place == k].mean()), 4),
            "true": round(float(true[place == k].mean()), 4),
            "cases": int((place == k).sum()),
        }
        for k in range(bins)
        if (place == k).any()
    ]


def draw(figure: Path, groups: dict[str, list[Case]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(groups), figsize=(3.2 * len(groups), 3.2), sharey=True)
    for axis, (name, cases) in zip(np.atleast_1d(axes), groups.items(), strict=True):
        rows = diagram(cases)
        error = [
            math.sqrt(max(r["true"] * (1 - r["true"]), 0.25 / r["cases"]) / r["cases"])
            for r in rows
        ]
        axis.plot([0, 1], [0, 1], color="0.7", lw=1)
        axis.errorbar(
            [r["said"] for r in rows], [r["true"] for r in rows], yerr=error, fmt="o", ms=4
        )
        axis.set_title(f"{name}\nECE {expected_calibration_error(cases):.3f}", fontsize=9)
        axis.set_xlabel("said")
    np.atleast_1d(axes)[0].set_ylabel("true")
    fig.tight_layout()
    fig.savefig(figure, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--alerts", type=int, default=4000)
    parser.add_argument("--series", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    rules = Rules()
    alerts = [alert_case(rng, rules) for _ in range(args.alerts)]
    prior = {"noise": 0.4, "core_collapse": 0.4, "failed": 0.2}
    series = [series_case(rng, prior) for _ in range(args.series)]
    groups = {"alert: real": alerts} | {
        f"series: {name.replace('_', ' ')}": [case[name] for case in series] for name in CLASSES
    }
    if args.figure:
        draw(args.figure, groups)
    document = {
        "machine": machine(),
        "alerts": args.alerts,
        "series": args.series,
        "prior_of_series": prior,
        "expected_calibration_error": {
            name: round(expected_calibration_error(cases), 4) for name, cases in groups.items()
        },
        "diagrams": {name: diagram(cases) for name, cases in groups.items()},
    }
    json.dump(document, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
