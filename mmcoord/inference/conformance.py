"""What a model from others has to show on arrival before the engine uses it.

Everything runs in the sandbox with fixed seeds: the same file gets the same verdict (but for the
measured speed). A check that fails says where; checks after it that depend on it are not made.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mmcoord.errors import BadModel
from mmcoord.inference.hosted import POINTS, hosted
from mmcoord.inference.job import DistancePrior, Job, Row, SamplerSettings
from mmcoord.inference.likelihood import Data, Likelihood, hubble_redshift
from mmcoord.inference.models.base import FAINTEST_MAG, Array, Model
from mmcoord.inference.passbands import passbands
from mmcoord.inference.sampler import sample
from mmcoord.inference.sandbox import Limits
from mmcoord.inference.source import Speed
from mmcoord.inference.usermodel import UserModel

__all__ = ["Check", "Report", "examine"]

Indices = npt.NDArray[np.int64]

_BANDS = ("2mass:h", "2mass:ks", "lsst:g", "lsst:i", "lsst:r", "lsst:u", "lsst:y", "lsst:z")
_DISTANCES_MPC = (10.0, 100.0, 1000.0)
_N_DRAWS = 192
_SAME_MAG = 1e-6
_FAST_MS, _MEDIUM_MS = 0.3, 10.0
_CALLS_OF_A_FIT = 50_000
"""Measured: what a fit of 5 parameters to an effective size of 400 asks for."""
_N_FITS = 8
_BUDGET_S = 120.0
_RECOVERY = SamplerSettings(ess_target=400, max_calls=100_000)
_RECOVERY_BANDS = ("lsst:g", "lsst:r", "lsst:z")
_RECOVERY_DAYS = (0.5, 1.5, 3.0, 5.0)
_RECOVERY_ERR_MAG = 0.1
_MIN_P_VALUE = 1e-3


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    passed: bool | None
    """None: not made, for the reason in ``text``."""
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict on one file."""

    model: str
    source_sha256: str
    accepted: bool
    speed: Speed | None
    ms_per_curve: float | None
    checks: tuple[Check, ...]

    def to_json(self) -> dict[str, Any]:
        """For the store."""
        return {**asdict(self), "checks": [asdict(check) for check in self.checks]}

    def text(self) -> str:
        """For people."""
        mark = {True: "ok  ", False: "BAD ", None: "--  "}
        verdict = "accepted" if self.accepted else "refused"
        speed = f", {self.speed} ({self.ms_per_curve:.3g} ms a curve)" if self.speed else ""
        lines = [f"model {self.model}: {verdict}{speed}"]
        lines += [f"{mark[check.passed]}{check.name}: {check.text}" for check in self.checks]
        return "\n".join(lines)


def examine(
    model: UserModel, *, limits: Limits | None = None, budget_s: float = _BUDGET_S
) -> Report:
    """Run every check on a model.

    Parameters
    ----------
    model : UserModel
    limits : Limits, optional
    budget_s : float
        About how long the recovery test may take; fewer light curves are fitted for slow models,
        none where not even one would be done by then.

    Raises
    ------
    NoSandbox
        Code cannot be confined on this machine; nothing was run.
    """
    bench = _Bench(model, limits or Limits())
    steps: tuple[tuple[str, Callable[[], str]], ...] = (
        ("priors", bench.priors),
        ("finite", bench.finite),
        ("deterministic", bench.deterministic),
        ("samples", bench.samples),
        ("times", bench.times),
        ("parameters", bench.sensitive),
        ("brightness", bench.bright),
        ("speed", bench.speed),
        ("recovery", lambda: bench.recovery(budget_s)),
    )
    checks: list[Check] = []
    with hosted(model, bench.limits) as bench.model:
        for name, step in steps:
            if any(check.passed is False for check in checks):
                checks.append(Check(name, None, "not looked at"))
                continue
            try:
                checks.append(Check(name, True, step()))
            except _Skip as skip:
                checks.append(Check(name, None, str(skip)))
            except (BadModel, _Bad) as error:
                checks.append(Check(name, False, str(error)))
    return Report(
        model=model.name,
        source_sha256=model.source.sha256,
        accepted=all(check.passed is not False for check in checks),
        speed=bench.speed_class,
        ms_per_curve=bench.ms,
        checks=tuple(checks),
    )


class _Bad(Exception):
    """A check failed; in words."""


class _Skip(Exception):
    """A check was not made; in words."""


class _Bench:
    """The checks, and what they share: draws from the priors and their magnitudes."""

    model: Model

    def __init__(self, user: UserModel, limits: Limits) -> None:
        self.user = user
        self.limits = limits
        self.bands = passbands(_BANDS, 0.0)
        days = np.geomspace(0.05, 20.0, 12)
        if not user.is_kilonova:
            days = np.concatenate([[-29.0, -5.0, -0.5], days])
        self.t_day = np.repeat(days, len(_BANDS))
        self.band = np.tile(np.arange(len(_BANDS)), len(days))
        rng = np.random.default_rng(0)
        n_parameters = len(user.parameters)
        corners = rng.integers(0, 2, (64, n_parameters)).astype(np.float64)
        self.u = np.concatenate([rng.random((_N_DRAWS - 64, n_parameters)), corners])
        self.theta = np.stack(
            [p.from_unit(self.u[:, k]) for k, p in enumerate(user.parameters)], axis=1
        )
        self.distance_mpc = np.resize(np.array(_DISTANCES_MPC), _N_DRAWS)
        self.mags: Array = np.empty((0, 0))
        self.ms: float | None = None
        self.speed_class: Speed | None = None

    def _at(self, rows: slice, points: slice | Indices, model: Model | None = None) -> Array:
        distance_mpc = self.distance_mpc[rows]
        return (model or self.model).magnitudes(
            self.theta[rows],
            distance_mpc,
            hubble_redshift(distance_mpc),
            self.t_day[points],
            self.band[points],
            self.bands,
        )

    def priors(self) -> str:
        """Inverse cumulative functions: finite, inside, increasing."""
        u = np.linspace(0.0, 1.0, 1001)
        for p in self.user.parameters:
            values = p.from_unit(u)
            if not np.isfinite(values).all() or (np.diff(values) < 0).any():
                raise _Bad(f"prior of {p.name!r} is not proper")
            if values[0] == values[-1]:
                raise _Bad(f"prior of {p.name!r} has no width")
        return ", ".join(
            f"{p.name} {p.prior} {p.low:g} to {p.high:g} {p.unit}".rstrip()
            for p in self.user.parameters
        )

    def finite(self) -> str:
        """Shapes and numbers on draws from the priors and at their corners."""
        self.mags = self._at(slice(None), slice(None))
        return (
            f"{self.mags.size} magnitudes from {_N_DRAWS} draws, corners of the priors among "
            f"them, {self.t_day[0]:g} to {self.t_day[-1]:g} d after the event"
        )

    def deterministic(self) -> str:
        """Equal bytes again, and from a fresh process."""
        with hosted(self.user, self.limits) as fresh:
            again = self._at(slice(None), slice(None))
            anew = self._at(slice(None), slice(None), fresh)
        for other, what in ((again, "a second call"), (anew, "a fresh process")):
            if other.tobytes() != self.mags.tobytes():
                raise _Bad(
                    f"{what} gives other numbers, by up to {np.abs(other - self.mags).max():.3g} "
                    "mag: no random numbers, no memory of earlier calls"
                )
        return "a second call and a fresh process give the same bytes"

    def samples(self) -> str:
        """One draw alone gives what it gives among others."""
        for k in (0, _N_DRAWS // 2, _N_DRAWS - 1):
            alone = self._at(slice(k, k + 1), slice(None))
            self._same(alone, self.mags[k : k + 1], "a sample alone differs from it among others")
        return "a sample's light does not depend on the other samples"

    def times(self) -> str:
        """The light at a time is that of this time, whatever other times are asked for."""
        few = slice(8, len(self.t_day), 3)
        text = "the light at a time depends on which other times are asked for"
        self._same(self._at(slice(0, 24), few), self.mags[:24, few], text)
        one = slice(len(self.t_day) - 1, len(self.t_day))
        self._same(self._at(slice(0, 24), one), self.mags[:24, one], text)
        twice = np.repeat(np.arange(len(self.t_day)), 2)
        self._same(
            self._at(slice(0, 8), twice), self.mags[:8][:, twice], "a time that is given twice"
        )
        return "the light at a time does not depend on the other times"

    def _same(self, one: Array, other: Array, text: str) -> None:
        worst = float(np.abs(one - other).max())
        if worst > _SAME_MAG:
            raise _Bad(f"{text}, by up to {worst:.3g} mag")

    def sensitive(self) -> str:
        """Every parameter does something."""
        rng = np.random.default_rng(1)
        rows = slice(0, 32)
        original = self.theta.copy()
        idle = []
        for k, p in enumerate(self.user.parameters):
            self.theta = original.copy()
            self.theta[:, k] = p.from_unit(rng.random(_N_DRAWS))
            changed = self._at(rows, slice(None))
            if np.abs(changed - self.mags[rows]).max() < _SAME_MAG:
                idle.append(p.name)
        self.theta = original
        if idle:
            raise _Bad(f"changing {', '.join(idle)} changes no light")
        return "each of them changes the light"

    def bright(self) -> str:
        """Guards against a wrong unit: some light that somebody could see, none absurd."""
        brightest = self.mags.min(axis=1)
        seen = float((brightest < 30.0).mean())
        if seen == 0.0:
            raise _Bad(f"never brighter than {brightest.min():.1f} mag at 10 Mpc: units?")
        if brightest.min() < -10.0:
            raise _Bad(f"as bright as {brightest.min():.1f} mag at 10 Mpc: units?")
        return f"{100 * seen:.0f} % of the draws get brighter than 30 mag at 10 to 1000 Mpc"

    def speed(self) -> str:
        """Milliseconds per light curve of 40 points, the best of three."""
        points = np.linspace(0, len(self.t_day) - 1, POINTS).astype(np.int64)
        times_s = []
        for _ in range(3):
            start = time.perf_counter()
            self._at(slice(0, 64), points)
            times_s.append(time.perf_counter() - start)
        self.ms = 1e3 * min(times_s) / 64
        self.speed_class = (
            "fast" if self.ms <= _FAST_MS else "medium" if self.ms <= _MEDIUM_MS else "slow"
        )
        minutes = self.ms * 1e-3 * _CALLS_OF_A_FIT / 60
        return f"{self.ms:.3g} ms per light curve of 40 points; a fit takes about {minutes:.2g} min"

    def recovery(self, budget_s: float) -> str:
        """Simulation-based calibration (Talts et al. 2018, arXiv:1804.06788), small.

        Truths are drawn from the priors, light curves simulated and fitted; the truths' ranks
        among the posterior draws must be uniform.
        """
        from scipy.stats import kstest

        assert self.ms is not None
        one_s = max(self.ms * 1e-3 * _CALLS_OF_A_FIT, 1.0)
        n_fits = min(_N_FITS, int(budget_s / one_s))
        if n_fits == 0:
            raise _Skip(f"not tried: one fit would take about {one_s:.0f} s")
        ranks, unconverged = [], 0
        for k in range(n_fits):
            fitted, converged = self._fit(k)
            ranks.append(fitted)
            unconverged += not converged
        if unconverged > n_fits // 2:
            raise _Bad(f"{unconverged} of {n_fits} fits to simulated light did not converge")
        p_value = float(kstest(np.concatenate(ranks), "uniform").pvalue)
        if p_value < _MIN_P_VALUE:
            raise _Bad(
                f"fits to {n_fits} simulated light curves miss their truths "
                f"(ranks are not uniform, p = {p_value:.1g})"
            )
        return (
            f"truths of {n_fits} simulated light curves lie where the posteriors say "
            f"(p = {p_value:.2f}; {unconverged} fits did not converge)"
        )

    def _fit(self, seed: int) -> tuple[Array, bool]:
        """(n_dim,) ranks of the truth in the posterior of one simulated light curve."""
        rng = np.random.default_rng(100 + seed)
        prior = DistancePrior("gaussian", 100.0, 10.0)
        job = Job((), 60000.0, prior, models=("all",))
        points = [
            Row(60000.0 + day, band, 20.0, _RECOVERY_ERR_MAG)
            for day in _RECOVERY_DAYS
            for band in _RECOVERY_BANDS
        ]
        likelihood = Likelihood(self.model, Data.of_rows(points, 60000.0, 0.0), job)
        data = likelihood.data
        for _ in range(200):
            truth = rng.random((1, likelihood.n_dim))
            theta, distance_mpc, sigma_sys = likelihood.values(truth)
            mags = likelihood.magnitudes(theta, distance_mpc, data.t_day, data.band)[0]
            if mags.max() < FAINTEST_MAG - 1.0:
                break
        else:
            raise _Skip("not tried: no draw has light in g, r and z from 0.5 to 5 d at 100 Mpc")
        sigma = np.hypot(_RECOVERY_ERR_MAG, sigma_sys[0])
        noisy = mags + sigma * rng.standard_normal(len(mags))
        rows = [p._replace(mag_ab=float(m)) for p, m in zip(points, noisy, strict=True)]
        likelihood = Likelihood(self.model, Data.of_rows(rows, 60000.0, 0.0), job)
        posterior = sample(likelihood, likelihood.n_dim, seed, _RECOVERY)
        return (posterior.u < truth).mean(axis=0), posterior.converged
