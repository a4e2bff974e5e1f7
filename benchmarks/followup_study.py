"""Does choosing by expected information pay? Simulated kilonovae and contaminants, one telescope.

    python -m benchmarks.followup_study [--nights 10] [--targets 120] [--figure docs/img/x.svg]

Each night of ``--nights`` has its own event and ``--targets`` candidates: kilonovae, supernovae, an
afterglow, steady and variable sources as ``mmcoord.simulate`` makes them, each detected by a survey
about 0.4 d after the event in one band. One 2 m telescope has 2.5 h in each of the three nights
that follow. Every choice has the same hours, sees the same kind of noise, and its observer has
the same knowledge: particles (light curves of the engine's models with a brightness each), weighed
by what was seen. Only the choice of target, band and exposure differs:

* ours: the largest expected information about the class per second, overheads included;
* brightest: the brightest first (as last seen), bands in turn;
* level: the smallest credible level first, bands in turn;
* r band: r of every candidate in turn, in the order of the catalogue.

The three others are run with each exposure time, and the best of the three is what ours is compared
with. Told are the mean entropy of the class (7 classes, bits) and, because entropy can fall in
error, the mean surprise -log2 P(true class); errors by bootstrap over the nights.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr

from followup.value import information, signal
from mmcoord.inference.likelihood import hubble_redshift
from mmcoord.inference.models import registry
from mmcoord.inference.passbands import passbands
from mmcoord.predictions import ClassPredictions
from mmcoord.simulate.objects import Kind, draw_afterglow, draw_kilonova, population
from mmcoord.simulate.survey import BANDS, Visits

Array = npt.NDArray[np.float64]

MIX = {
    Kind.KILONOVA: 0.2, Kind.SUPERNOVA_IA: 0.3, Kind.SUPERNOVA_IBC: 0.15,
    Kind.SUPERNOVA_IIB: 0.15, Kind.AFTERGLOW: 0.05, Kind.STEADY: 0.15,
}  # fmt: skip
CLASSES = ("kilonova", "sn_ia", "sn_ibc", "sn_iib", "afterglow", "fast_blackbody", "steady")
CLASS_OF = dict(zip(MIX, ("kilonova", "sn_ia", "sn_ibc", "sn_iib", "afterglow", "steady"),
                    strict=True))  # fmt: skip
PRIOR = np.array([0.2, 0.28, 0.14, 0.14, 0.06, 0.04, 0.14])
KILONOVA_MODELS = ("villar17_1", "villar17_2", "villar17_3")
EXPOSURES_S = np.array([60.0, 180.0, 540.0])
DEPTH_60S = np.array([22.6, 22.3, 21.9, 21.2])
"""5 sigma in g, r, i, z: LSST's depths (Ivezic et al. 2019) scaled to 2 m, 1.2 arcsec, 60 s."""
OVERHEAD_S = 60.0
NIGHTS_DAY = (1.0, 2.0, 3.0)
HOURS_A_NIGHT = 2.5
FIRST_DAY = 0.4
FLOOR_MAG = 0.1
APPARENT_RANGE_MAG = 13.0
MAP_MPC, MAP_ERR_MPC = 120.0, 25.0
GRID_DAY = np.geomspace(0.2, 4.5, 28)
N_CURVES, N_DRAWS = 2001, 64
C = 0.4 * math.log(10.0) * FLOOR_MAG
THRESHOLD = math.asinh(5.0 * C) / C


@functools.cache
def bank(seed: int) -> npt.NDArray[np.float32]:
    """(classes, curves, bands, times) magnitudes at 100 Mpc, or as the model has them."""
    rng = np.random.default_rng(seed)
    t = np.repeat(GRID_DAY, len(BANDS))
    band = np.tile(np.arange(len(BANDS)), len(GRID_DAY))
    out = []
    for name in CLASSES:
        models = KILONOVA_MODELS if name == "kilonova" else (name,)
        parts = []
        for model_name in models:
            model = registry.load(model_name)
            n = N_CURVES // len(models)
            theta = model.theta(rng.random((n, len(model.parameters))))
            distance = np.full(n, 100.0)
            if name != "kilonova":
                distance = np.exp(rng.uniform(np.log(30.0), np.log(1500.0), n))
            mags = model.magnitudes(
                theta, distance, hubble_redshift(distance), t, band, passbands(BANDS)
            )
            parts.append(mags.reshape(n, len(GRID_DAY), len(BANDS)).transpose(0, 2, 1))
        out.append(np.minimum(np.concatenate(parts), 40.0))
    return np.stack(out).astype(np.float32)


class Candidate:
    """What the observer knows of one candidate: weighed particles of every class."""

    def __init__(self, curves: npt.NDArray[np.float32], rng: np.random.Generator) -> None:
        self.curves, self.rng = curves, rng
        self.shift: Array = np.zeros(curves.shape[:2])
        self.log_w: Array = np.zeros(curves.shape[:2])
        self.last_mag = math.nan
        self._probability: Array | None = None

    def begin(self, band: int, t_day: float, mag: float, error: float) -> None:
        """The survey's detection: shifts are drawn from what it leaves open, in closed form."""
        sigma = math.hypot(error, FLOOR_MAG)
        offset = mag - self.at(band, t_day)
        self.shift = offset + sigma * self.rng.standard_normal(offset.shape)
        self.log_w = np.full(offset.shape, -math.log(APPARENT_RANGE_MAG))
        mean = 5.0 * math.log10(MAP_MPC / 100.0)
        width = 5.0 / math.log(10.0) * MAP_ERR_MPC / MAP_MPC
        total = width**2 + sigma**2
        self.log_w[0] = -0.5 * ((offset[0] - mean) ** 2 / total + math.log(2 * math.pi * total))
        self.shift[0] = (offset[0] * width**2 + mean * sigma**2) / total + (
            sigma * width / math.sqrt(total)
        ) * self.rng.standard_normal(offset.shape[1])
        self.last_mag = mag

    def at(self, band: int, t_day: float) -> Array:
        """(classes, curves) magnitudes of the curves."""
        k = min(int(np.searchsorted(GRID_DAY, t_day)) - 1, len(GRID_DAY) - 2)
        part = math.log(t_day / GRID_DAY[k]) / math.log(GRID_DAY[k + 1] / GRID_DAY[k])
        low, high = self.curves[:, :, band, k], self.curves[:, :, band, k + 1]
        return np.asarray(low + part * (high - low), np.float64)

    def learn(self, band: int, t_day: float, depth: float, seen: float | None) -> None:
        """A measurement (asinh magnitude) or a non-detection."""
        u = signal(self.at(band, t_day) + self.shift, depth, FLOOR_MAG)
        self.log_w += log_ndtr(THRESHOLD - u) if seen is None else -0.5 * (seen - u) ** 2
        self._probability = None
        if seen is not None:
            snr = math.sinh(C * seen) / C
            self.last_mag = depth - 2.5 * math.log10(snr / 5.0)

    def probability(self) -> Array:
        if self._probability is None:
            top = self.log_w.max(axis=1)
            log_z = top + np.log(np.exp(self.log_w - top[:, None]).mean(axis=1))
            p = PRIOR * np.exp(log_z - log_z.max())
            self._probability = np.asarray(p / p.sum())
        return self._probability

    def predictions(self, t_day: float) -> ClassPredictions:
        weight = np.exp(self.log_w - self.log_w.max(axis=1, keepdims=True))
        mags = np.empty((len(CLASSES), N_DRAWS, len(BANDS), 1), np.float32)
        light = [self.at(band, t_day) + self.shift for band in range(len(BANDS))]
        for c in range(len(CLASSES)):
            cumulative = np.cumsum(weight[c])
            at = (np.arange(N_DRAWS) + self.rng.random()) / N_DRAWS * cumulative[-1]
            chosen = np.minimum(np.searchsorted(cumulative, at), weight.shape[1] - 1)
            for band in range(len(BANDS)):
                mags[c, :, band, 0] = light[band][c, chosen]
        return ClassPredictions(
            CLASSES, self.probability(), BANDS, np.array([t_day]), np.minimum(mags, 60.0), "screen"
        )


@dataclass
class Field:
    """The candidates of one event, and the truth."""

    known: list[Candidate]
    truth: Callable[[int, int, float], float]
    """(candidate, band, day) -> true magnitude."""
    is_class: npt.NDArray[np.int64]
    level: Array
    rng: np.random.Generator

    def observe(self, n: int, band: int, t_day: float, exposure_s: float) -> None:
        depth = DEPTH_60S[band] + 1.25 * math.log10(exposure_s / 60.0)
        snr = 5.0 * 10.0 ** (-0.4 * (self.truth(n, band, t_day) - depth))
        measured = snr + math.hypot(1.0, 0.02 * snr) * self.rng.standard_normal()
        seen = math.asinh(C * measured) / C if measured >= 5.0 else None
        self.known[n].learn(band, t_day, depth, seen)

    def standing(self) -> tuple[float, float]:
        """Mean entropy and mean surprise, bits."""
        p = np.array([c.probability() for c in self.known])
        entropy = -(p * np.log2(np.maximum(p, 1e-300))).sum(axis=1)
        surprise = -np.log2(np.maximum(p[np.arange(len(p)), self.is_class], 1e-12))
        return float(entropy.mean()), float(surprise.mean())


def make_field(curves: npt.NDArray[np.float32], seed: int, n_targets: int) -> Field:
    """Candidates that the survey detects between 18 and 22 mag."""
    rng = np.random.default_rng(np.random.SeedSequence([20170817, seed]))
    lights: list[tuple[Any, int]] = []
    known: list[Candidate] = []
    classes: list[int] = []
    for kind, share in MIX.items():
        wanted = round(share * n_targets)
        while wanted > 0:
            if kind is Kind.KILONOVA:
                light = draw_kilonova(rng, max(40.0, rng.normal(MAP_MPC, MAP_ERR_MPC)))[0]
            elif kind is Kind.AFTERGLOW:
                light = draw_afterglow(rng)
            else:
                light = population(rng, kind, 1)
            band, t = int(rng.integers(3)), FIRST_DAY + 0.1 * rng.random()
            mag = magnitude(light, 0, band, t)
            if not 18.0 < mag < 22.0:
                continue
            candidate = Candidate(curves, np.random.default_rng(rng.integers(2**63)))
            candidate.begin(band, t, mag + 0.08 * rng.standard_normal(), 0.08)
            lights.append((light, 0))
            known.append(candidate)
            classes.append(CLASSES.index(CLASS_OF[kind]))
            wanted -= 1
    order = rng.permutation(len(known))
    lights = [lights[k] for k in order]

    def truth(n: int, band: int, t_day: float) -> float:
        light, row = lights[n]
        return magnitude(light, row, band, t_day)

    return Field(
        [known[k] for k in order], truth, np.array(classes)[order], rng.random(len(known)), rng
    )


def magnitude(light: Any, row: int, band: int, t_day: float) -> float:
    visit = Visits(np.array([t_day]), np.array([band]), np.array([24.0]))
    return float(light.mag(np.array([row]), visit)[0, 0])


Trace = list[tuple[float, float, float]]
"""(hours used, entropy, surprise)"""


def follow(field: Field, choose: Callable[[Field, float, int], Any]) -> Trace:
    """Three nights by one rule; ``choose(field, day, visit)`` -> target, band, exposure."""
    trace = [(0.0, *field.standing())]
    used_h, visit = 0.0, 0
    for night, begin in enumerate(NIGHTS_DAY):
        until = (night + 1) * HOURS_A_NIGHT
        while True:
            day = begin + (used_h - night * HOURS_A_NIGHT) / 24.0
            target, band, exposure = choose(field, day, visit)
            taken = (exposure + OVERHEAD_S) / 3600.0
            if used_h + taken > until + 1e-9:
                break
            field.observe(target, band, day, exposure)
            used_h += taken
            visit += 1
            if visit % 10 == 0:
                trace.append((used_h, *field.standing()))
        used_h = until
        trace.append((used_h, *field.standing()))
    return trace


class ByInformation:
    """The largest expected information about the class per second."""

    def __init__(self) -> None:
        self.rate: Array = np.zeros(0)
        self.night = -1
        self.last = -1

    def __call__(self, field: Field, day: float, visit: int) -> tuple[int, int, float]:
        if int(day) != self.night:
            self.night = int(day)
            self.rate = np.stack([self._rates(c, day) for c in field.known])
        elif self.last >= 0:
            self.rate[self.last] = self._rates(field.known[self.last], day)
        target, option = np.unravel_index(self.rate.argmax(), self.rate.shape)
        band, exposure = divmod(int(option), len(EXPOSURES_S))
        self.last = int(target)
        return int(target), band, float(EXPOSURES_S[exposure])

    @staticmethod
    def _rates(candidate: Candidate, day: float) -> Array:
        band, k = (
            x.ravel()
            for x in np.meshgrid(range(len(BANDS)), range(len(EXPOSURES_S)), indexing="ij")
        )
        depth = DEPTH_60S[band] + 1.25 * np.log10(EXPOSURES_S[k] / 60.0)
        found = information(
            candidate.predictions(day), band, np.full(len(band), day), depth, floor_mag=FLOOR_MAG
        )
        return found.about_class / (EXPOSURES_S[k] + OVERHEAD_S)


class InTurn:
    """All candidates in an order, then again; the bands in turn from round to round."""

    def __init__(self, order: Callable[[Field], Array], bands: tuple[int, ...], s: float) -> None:
        self.order, self.bands, self.exposure_s = order, bands, s
        self.queue: list[int] = []
        self.round = -1

    def __call__(self, field: Field, day: float, visit: int) -> tuple[int, int, float]:
        if not self.queue:
            self.queue = [int(n) for n in np.argsort(self.order(field), kind="stable")]
            self.round += 1
        return self.queue.pop(0), self.bands[self.round % len(self.bands)], self.exposure_s


def others(exposure_s: float) -> dict[str, InTurn]:
    return {
        "brightest": InTurn(
            lambda f: np.array([c.last_mag for c in f.known]), (1, 0, 2), exposure_s
        ),
        "level": InTurn(lambda f: f.level, (1, 0, 2), exposure_s),
        "r band": InTurn(lambda f: np.arange(len(f.known), dtype=float), (1,), exposure_s),
    }


def run(seed: int, n_targets: int) -> dict[str, Trace]:
    curves = bank(11)
    traces = {"ours": follow(make_field(curves, seed, n_targets), ByInformation())}
    for exposure in EXPOSURES_S:
        for name, rule in others(float(exposure)).items():
            field = make_field(curves, seed, n_targets)
            traces[f"{name} {exposure:.0f} s"] = follow(field, rule)
    return traces


def summarise(nights: list[dict[str, Trace]]) -> dict[str, Any]:
    total_h = HOURS_A_NIGHT * len(NIGHTS_DAY)
    fall = {
        name: np.array([(t[name][0][1] - t[name][-1][1]) / total_h for t in nights])
        for name in nights[0]
    }
    surprise = {
        name: np.array([(t[name][0][2] - t[name][-1][2]) / total_h for t in nights])
        for name in nights[0]
    }
    rng = np.random.default_rng(1)
    picks = rng.integers(len(nights), size=(4000, len(nights)))
    out: dict[str, Any] = {
        "entropy_begin_bit": round(float(np.mean([t["ours"][0][1] for t in nights])), 3),
        "fall_bit_per_hour": {k: round(float(v.mean()), 4) for k, v in fall.items()},
        "surprise_fall_bit_per_hour": {k: round(float(v.mean()), 4) for k, v in surprise.items()},
        "margin": {},
    }
    for base in ("brightest", "level", "r band"):
        best = max((k for k in fall if k.startswith(base)), key=lambda k: fall[k].mean())
        lines = {}
        for label, values in (("entropy", fall), ("surprise", surprise)):
            ours, theirs = values["ours"][picks].mean(axis=1), values[best][picks].mean(axis=1)
            lines[label] = {
                "difference_bit_per_hour": round(float((values["ours"] - values[best]).mean()), 4),
                "error": round(float((ours - theirs).std()), 4),
                "ratio": round(float(values["ours"].mean() / values[best].mean()), 3),
                "ratio_90": [round(float(q), 3) for q in np.quantile(ours / theirs, [0.05, 0.95])],
            }
        out["margin"][base] = {"best_of_three": best, **lines}
    return out


def draw(nights: list[dict[str, Trace]], best: list[str], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "mmcoord"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharex=True)
    hours = np.linspace(0.0, HOURS_A_NIGHT * len(NIGHTS_DAY), 61)
    for name in ("ours", *best):
        for axis, column in zip(axes, (1, 2), strict=True):
            curves = np.array(
                [np.interp(hours, [p[0] for p in t[name]], [p[column] for p in t[name]])
                 for t in nights]
            )  # fmt: skip
            mean, error = curves.mean(axis=0), curves.std(axis=0) / math.sqrt(len(nights))
            axis.plot(hours, mean, label=name, lw=2.2 if name == "ours" else 1.3)
            axis.fill_between(hours, mean - error, mean + error, alpha=0.2)
    axes[0].set_ylabel("mean entropy of the class (bit)")
    axes[1].set_ylabel("mean surprise at the true class (bit)")
    for axis in axes:
        axis.set_xlabel("telescope time (h)")
    axes[0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nights", type=int, default=10)
    parser.add_argument("--targets", type=int, default=120)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--figure", type=Path)
    asked = parser.parse_args()
    begin = time.perf_counter()
    with ProcessPoolExecutor(asked.processes) as pool:
        nights = list(pool.map(run, range(asked.nights), [asked.targets] * asked.nights))
    found = summarise(nights)
    if asked.figure is not None:
        draw(nights, [m["best_of_three"] for m in found["margin"].values()], asked.figure)
    print(
        json.dumps(
            {
                "nights": asked.nights,
                "targets_a_night": asked.targets,
                "hours_a_night": HOURS_A_NIGHT,
                **found,
                "wall_s": round(time.perf_counter() - begin, 1),
                "load_1min": round(os.getloadavg()[0], 2),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
