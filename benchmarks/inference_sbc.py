"""Simulation-based calibration (Talts et al. 2018): is the truth where the posterior says it is?

Parameters are drawn from the prior, photometry from the likelihood, and the rank of each true
value among the posterior's draws is noted: ranks of a right posterior are uniform. Limits are not
drawn but given: parameters are kept with the probability that all limits hold, which makes
prior times likelihood of the limits the distribution that truths are drawn from.

Usage: python -m benchmarks.inference_sbc [--simulations N] [--first K] [--ranks FILE.jsonl]
       [--picture FILE.png]

With ``--ranks`` every simulation is a line of that file, and the figures are of all its lines:
several processes with other ``--first`` may share one, and a broken one goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import kstest

from benchmarks.skymaps_common import machine
from mmcoord.inference.job import DistancePrior, Job, Row, SamplerSettings
from mmcoord.inference.likelihood import Data, Likelihood
from mmcoord.inference.models import registry
from mmcoord.inference.sampler import sample

Array = npt.NDArray[np.float64]

T0 = 60000.0
ERR_MAG = 0.15
EPOCHS = tuple(
    Row(T0 + day, band, 20.0, ERR_MAG)
    for day in (0.7, 1.7, 3.7, 6.7)
    for band in ("2mass:j", "lsst:g", "lsst:i", "lsst:z")
)
LIMITS = (Row(T0 + 0.3, "lsst:r", 20.5, None), Row(T0 + 8.7, "lsst:r", 22.0, None))
JOB = Job((), T0, DistancePrior("gaussian", 100.0, 15.0), models=("villar17_1",))
SETTINGS = SamplerSettings(ess_target=500)
N_RANKS = 100
"""Draws that a truth is ranked among."""


def likelihood_of(points: tuple[Row, ...]) -> Likelihood:
    """Of the one model, for points in time order."""
    return Likelihood(registry.load(JOB.models[0]), Data.of_rows(points, T0, 0.0), JOB)


def simulate(rng: np.random.Generator) -> tuple[Array, tuple[Row, ...]]:
    """A true point of the cube and the photometry that it gives."""
    limits, epochs = likelihood_of(LIMITS), likelihood_of(EPOCHS)
    while True:
        u = rng.random((1, limits.n_dim))
        if np.log(rng.random()) < limits(u)[0]:
            break
    theta, distance_mpc, sigma_sys = epochs.values(u)
    mags = epochs.magnitudes(theta, distance_mpc, epochs.data.t_day, epochs.data.band)[0]
    noisy = mags + np.hypot(ERR_MAG, sigma_sys[0]) * rng.standard_normal(len(mags))
    seen = [row._replace(mag_ab=float(mag)) for row, mag in zip(EPOCHS, noisy, strict=True)]
    return u[0], tuple(sorted((*seen, *LIMITS), key=lambda row: row.mjd_tai))


def ranks_of(seed: int) -> tuple[npt.NDArray[np.int64], bool]:
    """Rank of each true coordinate among the posterior's draws, and whether it converged."""
    truth, points = simulate(np.random.default_rng(seed))
    likelihood = likelihood_of(points)
    post = sample(likelihood, likelihood.n_dim, seed, SETTINGS)
    return (post.u[:N_RANKS] < truth).sum(axis=0), post.converged


@dataclass(slots=True)
class Kept:
    """Simulations that are done."""

    seeds: list[int] = field(default_factory=list)
    ranks: list[list[int]] = field(default_factory=list)
    converged: list[bool] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path | None) -> Kept:
        kept = cls()
        if path and path.exists():
            for line in path.read_text().splitlines():
                one = json.loads(line)
                if one["seed"] in kept.seeds:
                    continue  # two processes were given it
                kept.add(one["seed"], np.array(one["ranks"]), one["converged"], None)
        return kept

    def add(
        self, seed: int, ranks: npt.NDArray[np.int64], converged: bool, path: Path | None
    ) -> None:
        self.seeds.append(seed)
        self.ranks.append(ranks.tolist())
        self.converged.append(converged)
        if path:
            one = {"seed": seed, "ranks": ranks.tolist(), "converged": bool(converged)}
            with path.open("a") as file:
                file.write(json.dumps(one) + "\n")


def picture(path: Path, names: tuple[str, ...], ranks: npt.NDArray[np.int64]) -> None:
    """Histograms of the ranks with the band in which 99 % of the bars of a right one lie."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from scipy.stats import binom

    bins = 10
    low, high = binom.ppf([0.005, 0.995], len(ranks), 1.0 / bins)
    figure, axes = pyplot.subplots(2, -(-len(names) // 2), figsize=(9, 4.5), sharey=True)
    for axis, name, column in zip(axes.flat, names, ranks.T, strict=False):
        axis.axhspan(low, high, color="0.85")
        axis.hist(column / N_RANKS, bins=bins, range=(0, 1), color="tab:blue")
        axis.set_title(name, fontsize=9)
    figure.supxlabel("rank of the truth among the posterior's draws")
    figure.supylabel("simulations")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="seed of the first one")
    parser.add_argument("--ranks", type=Path, help="a line for each simulation, added to")
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    start, cpu = time.perf_counter(), time.process_time()
    names = likelihood_of(EPOCHS).axes()
    kept = Kept.read(arguments.ranks)
    for seed in range(arguments.first, arguments.first + arguments.simulations):
        if seed not in kept.seeds:
            kept.add(seed, *ranks_of(seed), arguments.ranks)
    kept = Kept.read(arguments.ranks) if arguments.ranks else kept
    ranks = np.array(kept.ranks)
    # Within its bin of 1/(n + 1), a rank lies anywhere.
    spread = np.random.default_rng(0).random(ranks.shape)
    position = (ranks + spread) / (N_RANKS + 1)
    inside = (position > 0.05) & (position < 0.95)
    if arguments.picture:
        picture(arguments.picture, names, ranks)
    print(
        json.dumps(
            {
                "model": JOB.models[0],
                "simulations": len(ranks),
                "converged": sum(kept.converged),
                "ks_p": {n: round(float(kstest(position[:, k], "uniform").pvalue), 4)
                         for k, n in enumerate(names)},
                "coverage_90": {n: round(float(inside[:, k].mean()), 3)
                                for k, n in enumerate(names)},
                "wall_s": round(time.perf_counter() - start, 1),
                "cpu_s": round(time.process_time() - cpu, 1),
                "load_1min": machine()["load_1min"],
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
