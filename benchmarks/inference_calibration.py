"""Whether the quick look's probabilities come true: reliability and expected calibration error.

``--fit`` fits the map of :mod:`mmcoord.inference.calibration` on one half of the simulated
candidates (both worlds of :mod:`benchmarks.screen_population`) and writes its file; what is
reported is always the other half. ``--figure PATH`` draws the reliability diagram.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from benchmarks.screen_population import Simulated, population
from mmcoord.inference.calibration import PATH, Calibration, installed, recipe
from mmcoord.inference.classes import BASE_RATE, class_priors
from mmcoord.inference.screening import fit_bank, log_bayes_factor

Array = npt.NDArray[np.float64]

_BASE_RATES = (BASE_RATE, 0.5)
_GROUPS = ((1, 1), (2, 2), (3, 3), (4, 6))
"""Numbers of detections that share a map."""
_TRAIN_SEED, _TEST_SEED = 101, 202
_LIMIT = 12.0
_THRESHOLDS = (0.01, 0.02, 0.03, 0.05, 0.1)
"""Of the screen; the report says which share of kilonovae and of others they keep."""
_STRETCH = (0.3, 1.0)
"""A map may be less sure than the bank, never surer."""
_EDGES = np.array([0.0, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 1.0])


@dataclass(frozen=True)
class Looked:
    """Simulated candidates as the bank sees them."""

    log_bayes: Array
    n_detections: npt.NDArray[np.int64]
    is_kilonova: npt.NDArray[np.bool_]
    share: Array
    """Of each candidate within the kilonovae or within the contaminants; each adds up to 1."""

    def weights(self, base_rate: float) -> Array:
        return self.share * np.where(self.is_kilonova, base_rate, 1.0 - base_rate)

    def some(self, which: npt.NDArray[np.bool_]) -> Looked:
        return Looked(
            self.log_bayes[which], self.n_detections[which], self.is_kilonova[which],
            self.share[which],
        )  # fmt: skip


def look(candidates: Sequence[Simulated]) -> Looked:
    priors = class_priors()
    log_bayes = []
    for one in candidates:
        fitted = fit_bank(one.request)
        assert fitted is not None
        log_bayes.append(log_bayes_factor(fitted, priors))
    names = np.array([one.name for one in candidates])
    is_kilonova = names == "kilonova"
    prior = dict(priors)
    share = np.array([prior[name] / np.sum(names == name) for name in names])
    n_detections = np.array([one.n_detections for one in candidates])
    share[~is_kilonova] /= share[~is_kilonova].sum()
    for low, high in _GROUPS:
        # The base rate is the same whatever the number of detections: how often a class is
        # detected again depends on a survey's cadence, of which the quick look knows nothing.
        inside = (n_detections >= low) & (n_detections <= high)
        kilonovae = inside & is_kilonova
        share[kilonovae] *= share[inside & ~is_kilonova].sum() / share[kilonovae].sum()
    return Looked(np.array(log_bayes), n_detections, is_kilonova, share)


def fit(train: Looked) -> Calibration:
    """Logistic regression of the truth on ln B, for each number of detections.

    Kilonovae and contaminants weigh the same, so that both ends of the map are determined.
    """
    shift, stretch = [], []
    for low, high in _GROUPS:
        part = train.some((train.n_detections >= low) & (train.n_detections <= high))
        x = np.clip(part.log_bayes, -3.0 * _LIMIT, 3.0 * _LIMIT)
        weight = part.weights(0.5)
        sign = np.where(part.is_kilonova, -1.0, 1.0)
        found = minimize(_loss, [0.0, 0.9], (x, sign, weight), "L-BFGS-B",
                         bounds=[(-5.0, 5.0), _STRETCH])  # fmt: skip
        shift.append(round(float(found.x[0]), 3))
        stretch.append(round(float(found.x[1]), 3))
    return Calibration(recipe(), tuple(shift), tuple(stretch), _LIMIT)


def _loss(p: Array, x: Array, sign: Array, weight: Array) -> float:
    return float(np.average(np.logaddexp(0.0, sign * (p[0] + p[1] * x)), weights=weight))


def predict(found: Looked, base_rate: float, calibration: Calibration | None) -> Array:
    """P(kilonova); without a map the bank's own."""
    log_bayes = found.log_bayes
    if calibration is not None:
        pairs = zip(found.log_bayes, found.n_detections, strict=True)
        log_bayes = np.array([calibration(float(x), int(n)) for x, n in pairs])
    log_odds = log_bayes + np.log(base_rate / (1.0 - base_rate))
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -700.0, 700.0))))


def bins(p: Array, found: Looked, base_rate: float) -> Iterator[tuple[float, float, float, float]]:
    """(mean prediction, fraction of kilonovae, its error, weight) of each filled bin."""
    weight = found.weights(base_rate)
    weight = weight / weight.sum()
    for low, high in itertools.pairwise(_EDGES):
        inside = (p >= low) & (p < high if high < 1.0 else p <= high)
        w = weight[inside]
        if len(w) < 5:
            continue
        y = found.is_kilonova[inside]
        fraction = float(np.average(y, weights=w))
        error = float(np.sqrt(np.sum(w**2 * (y - fraction) ** 2)) / w.sum())
        yield float(np.average(p[inside], weights=w)), fraction, error, float(w.sum())


def calibration_error(p: Array, found: Looked, base_rate: float) -> float:
    """Expected calibration error: mean |prediction - fraction| over bins, by weight."""
    return sum(w * abs(mean - fraction) for mean, fraction, _, w in bins(p, found, base_rate))


def score(p: Array, found: Looked, base_rate: float) -> float:
    """Mean log loss in nats."""
    right = np.where(found.is_kilonova, p, 1.0 - p)
    return float(np.average(-np.log(np.maximum(right, 1e-12)), weights=found.weights(base_rate)))


def report(found: Looked, calibration: Calibration) -> dict[str, object]:
    groups = {"all": np.ones(len(found.share), dtype=bool)}
    for low, high in _GROUPS:
        name = f"{low}" if low == high else f"{low}-{high}"
        groups[name] = (found.n_detections >= low) & (found.n_detections <= high)
    out: dict[str, object] = {}
    for base_rate in _BASE_RATES:
        lines = {}
        for name, which in groups.items():
            part = found.some(which)
            raw, mapped = predict(part, base_rate, None), predict(part, base_rate, calibration)
            lines[name] = {
                "n": len(part.share),
                "n_kilonovae": int(part.is_kilonova.sum()),
                "ece_bank": round(calibration_error(raw, part, base_rate), 4),
                "ece": round(calibration_error(mapped, part, base_rate), 4),
                "log_loss_bank": round(score(raw, part, base_rate), 4),
                "log_loss": round(score(mapped, part, base_rate), 4),
                "kept": {
                    f"{threshold:g}": [
                        round(_share_above(part, mapped, threshold, kilonovae=True), 3),
                        round(_share_above(part, mapped, threshold, kilonovae=False), 4),
                    ]
                    for threshold in _THRESHOLDS
                },
            }
        out[f"base_rate_{base_rate:g}"] = lines
    return out


def _share_above(found: Looked, p: Array, threshold: float, *, kilonovae: bool) -> float:
    half = found.is_kilonova == kilonovae
    return float(np.average(p[half] >= threshold, weights=found.share[half]))


def draw(path: Path, worlds: dict[str, Looked], calibration: Calibration) -> None:
    """Reliability by number of detections, at a base rate of a half."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9.0, 4.4), sharey=True, layout="constrained")
    for axis, (world, found) in zip(axes, worlds.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="0.7", lw=1)
        for low, high in _GROUPS:
            part = found.some((found.n_detections >= low) & (found.n_detections <= high))
            p = predict(part, 0.5, calibration)
            mean, fraction, error, _ = np.array(list(bins(p, part, 0.5))).T
            label = f"{low}" if low == high else f"{low} to {high}"
            axis.errorbar(mean, fraction, error, marker="o", ms=4, lw=1, label=label)
        axis.set(title=f"light from the world '{world}'", xlabel="P(kilonova) of the quick look")
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes[0].set_ylabel("fraction that are kilonovae")
    axes[0].legend(title="detections", frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--n", type=int, default=1000, help="of every class, survey and world")
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    start = time.monotonic()
    if arguments.fit:
        train = [
            one
            for world in ("own", "others")
            for one in population(world, arguments.n, _TRAIN_SEED)
        ]
        calibration = fit(look(train))
        PATH.write_text(
            json.dumps(
                {
                    "recipe": calibration.recipe,
                    "shift": calibration.shift,
                    "stretch": calibration.stretch,
                    "limit": calibration.limit,
                }
            )
            + "\n"
        )
    else:
        calibration = installed()
    worlds = {w: look(population(w, arguments.n, _TEST_SEED)) for w in ("own", "others")}
    if arguments.figure:
        draw(arguments.figure, worlds, calibration)
    print(
        json.dumps(
            {
                "calibration": {"shift": calibration.shift, "stretch": calibration.stretch},
                "is_current": calibration.is_current,
                **{world: report(found, calibration) for world, found in worlds.items()},
                "wall_s": round(time.monotonic() - start, 1),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
