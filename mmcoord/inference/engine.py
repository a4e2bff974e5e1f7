"""A job's way through the engine: data -> one posterior per model -> comparison -> result.

Pure: no store, no network, no clock but the one that fills ``wall_s``. The same job gives the
same bytes on one machine, whatever the number of threads.
"""

from __future__ import annotations

import io
import math
import time
import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmcoord.bands import MODELLED
from mmcoord.errors import BadModel, ConfigError, NoSandbox
from mmcoord.inference import mixture
from mmcoord.inference.classes import verdict_of
from mmcoord.inference.hosted import models_for
from mmcoord.inference.job import (
    DistancePrior,
    Job,
    Result,
    Row,
    SamplerSettings,
    detected_before,
    rows,
    run_key,
)
from mmcoord.inference.likelihood import Data, Likelihood
from mmcoord.inference.models import registry
from mmcoord.inference.models.base import FAINTEST_MAG, Array, Model
from mmcoord.inference.passbands import passbands
from mmcoord.inference.sampler import Posterior, sample
from mmcoord.inference.source import Speed
from mmcoord.inference.start import packed

__all__ = ["light_curve", "run", "warm_up"]

_RIVAL_ESS, _RIVAL_CALLS = 400, 450_000
"""What an evidence to 0.05 needs; nobody asks for a contaminant's posterior."""
_MATTERS = 0.01
"""Probability from which an unconverged rival makes the whole answer unconverged."""
_RULED_OUT_LNZ = 30.0
"""A model whose highest likelihood lies this far below the best evidence is sampled no more."""
_AFFORDABLE = {"fast": (10**9, 10**9), "medium": (1000, 200_000), "slow": (400, 100_000)}
"""Speed -> the most effective samples and likelihood calls of a model from others."""
_STANDARD_BANDS = tuple(b for b in MODELLED if b.split(":")[0] in ("2mass", "lsst"))
_GRID_DAY = np.geomspace(0.1, 20.0, 40)
_N_CURVES, _N_SLOW_CURVES = 1000, 200
_TOO_FAINT_MAG = 40.0

LightCurve = dict[str, dict[str, list[float | None]]]


@dataclass(frozen=True)
class _Fit:
    model: Model
    likelihood: Likelihood
    posterior: Posterior
    curve: LightCurve | None = None
    """Of a model from others, which may fail here too."""


def run(job: Job) -> Result:
    """Answer a job.

    Raises
    ------
    BadPhotometry
        No usable point.
    BadModel, NoSandbox
        Only models from others were asked for, and none of them works.
    ConfigError
        Unknown model, or a prior that fits none of the models or not the one it is for.
    """
    start = time.perf_counter()
    key = run_key(job)
    with models_for(job.model_names(), job.user_models) as (models, failed):
        result = _answer(job, key, models, failed)
    result.summary["wall_s"] = round(time.perf_counter() - start, 3)
    return result


def _answer(job: Job, key: str, models: list[Model], failed: dict[str, str]) -> Result:
    data = Data.of(job)
    fits = _fit_all(job, data, models, failed)
    if not fits:
        raise BadModel("; ".join(failed.values()))
    log_z = np.array([f.posterior.log_evidence for f in fits])
    probability = model_probabilities([f.model for f in fits], log_z, dict(job.class_priors))
    p_kilonova, reason = _p_kilonova(job, fits, probability)
    best = _reported(fits)
    summary = {
        "model": best.model.name,
        "converged": _converged(fits, best, probability),
        "ess": round(best.posterior.ess, 1),
        "log_evidence": best.posterior.log_evidence,
        "log_evidence_err": best.posterior.log_evidence_err,
        "parameters": _parameters(best),
        "derived": _derived(best),
        "comparison": _comparison(fits, probability),
        "failed_models": failed,
        "p_kilonova": p_kilonova,
        "verdict": verdict_of(p_kilonova),
        "reason": reason,
        "n_points": len(data.t_day),
        "n_detections": int((data.err > 0).sum()),
        "seed": job.seed,
        "run_key": key,
        "parent_run_key": None if job.start is None else job.start.parent_key,
        "wall_s": 0.0,
    }
    curve = best.curve or light_curve(best.likelihood, best.posterior.u, job)
    proposals = tuple(
        packed(f.model.name, f.likelihood.axes(), f.posterior.proposal)
        for f in fits
        if f.posterior.proposal is not None
    )
    return Result(key, summary, _npz(best), curve, proposals)


def warm_up() -> float:
    """Compile, or load from the cache, every kernel; returns the seconds it took."""
    start = time.perf_counter()
    prior = DistancePrior("gaussian", 40.0, 8.0)
    job = Job((), 60000.0, prior, models=("all",), sampler=SamplerSettings())
    points = (Row(60001.0, "lsst:g", 20.0, 0.1), Row(60002.0, "lsst:r", 21.0, None))
    data = Data.of_rows(points, job.t0_mjd_tai, 0.0)
    for name in job.model_names():
        likelihood = Likelihood(registry.load(name), data, job)
        likelihood(np.full((2, likelihood.n_dim), 0.5))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 2))
    mixture.fit(x, 2, rng).log_density(x)
    return time.perf_counter() - start


def model_probabilities(
    models: list[Model], log_evidence: Array, class_priors: dict[str, float]
) -> Array:
    """P(model | data) from evidences and class priors; kilonova models share their class's."""
    smallest = min(class_priors.values(), default=1.0)
    n_kilonova = max(sum(m.is_kilonova for m in models), 1)
    prior = np.array(
        [
            class_priors.get("kilonova", smallest) / n_kilonova
            if m.is_kilonova
            else class_priors.get(m.name, smallest)
            for m in models
        ]
    )
    log_p = log_evidence + np.log(prior)
    weights = np.exp(log_p - log_p.max())
    return np.asarray(weights / weights.sum())


def _fit_all(job: Job, data: Data, models: list[Model], failed: dict[str, str]) -> list[_Fit]:
    """Kilonova models first: what they reach decides how long the others are worth sampling.

    A model from others that misbehaves costs nobody else's answer: it is left out, and the
    reason is added to ``failed``.
    """
    _check_priors(job, models)
    speeds = {source.name: source.speed for source in job.user_models}
    fits: list[_Fit] = []
    for model in sorted(models, key=lambda m: (not m.is_kilonova, m.name)):
        likelihood = Likelihood(model, data, job)
        reached = max((f.posterior.log_evidence for f in fits), default=-math.inf)
        floor, settings = -math.inf, _affordable(job.sampler, speeds.get(model.name, "fast"))
        if fits and not model.is_kilonova:
            floor = reached - _RULED_OUT_LNZ
            settings = replace(
                settings,
                ess_target=min(settings.ess_target, _RIVAL_ESS),
                max_calls=min(settings.max_calls, _RIVAL_CALLS),
            )
        seed = zlib.crc32(model.name.encode()) + (job.seed << 32)
        try:
            start = None if job.start is None else job.start.of(model.name, likelihood.axes())
            posterior = sample(
                likelihood, likelihood.n_dim, seed, settings, must_reach=floor, start=start
            )
            curve = None
            if model.name in speeds:
                curve = light_curve(likelihood, _few(posterior.u, speeds[model.name]), job)
        except (BadModel, NoSandbox) as error:
            if len(models) == 1:
                raise
            failed[model.name] = str(error)
            continue
        fits.append(_Fit(model, likelihood, posterior, curve))
    return fits


def _check_priors(job: Job, models: list[Model]) -> None:
    """A prior whose parameter nothing has is a slip of the pen, not a wish."""
    known = {p.name for m in models for p in m.parameters}
    unknown = {
        p.name
        for p in job.priors
        if p.name not in known and not p.name.startswith(("host_", "sigma_sys"))
    }
    if unknown:
        raise ConfigError(
            f"no model asked for has a parameter {', '.join(sorted(unknown))}: "
            f"there are {', '.join(sorted(known))}"
        )


def _few(u: Array, speed: Speed) -> Array:
    return u[:_N_SLOW_CURVES] if speed == "slow" else u


def _affordable(settings: SamplerSettings, speed: Speed) -> SamplerSettings:
    """Fewer effective samples and calls for models that take longer."""
    ess, calls = _AFFORDABLE[speed]
    return replace(
        settings,
        ess_target=min(settings.ess_target, ess),
        max_calls=min(settings.max_calls, calls),
    )


def _converged(fits: list[_Fit], reported: _Fit, probability: Array) -> bool:
    """The reported posterior is converged, and so is every evidence that weighs."""
    return all(
        f.posterior.converged
        for f, p in zip(fits, probability, strict=True)
        if f is reported or (p > _MATTERS and not f.posterior.ruled_out)
    )


def _reported(fits: list[_Fit]) -> _Fit:
    """The best kilonova model if any was asked for: people want its ejecta; else the best."""
    kilonovae = [f for f in fits if f.model.is_kilonova]
    return max(kilonovae or fits, key=lambda f: f.posterior.log_evidence)


def _p_kilonova(job: Job, fits: list[_Fit], probability: Array) -> tuple[float | None, str]:
    early = detected_before(job.photometry, job.t0_mjd_tai)
    if early is not None:
        days = job.t0_mjd_tai - early.obs_mjd_tai
        return 0.0, (
            f"detected {days:.2f} d before the event ({early.band} {early.mag_ab:.2f}): "
            "not its kilonova"
        )
    is_kilonova = np.array([f.model.is_kilonova for f in fits])
    if is_kilonova.all() or not is_kilonova.any():
        return None, "no comparison: only one class of model was asked for"
    p = min(float(probability[is_kilonova].sum()), 1.0)
    rivals = [(float(q), f.model.name) for q, f in zip(probability, fits, strict=True)]
    best = max(rivals)
    return p, f"{verdict_of(p)}: best model {best[1]} with probability {best[0]:.3g}"


def _comparison(fits: list[_Fit], probability: Array) -> list[dict[str, Any]]:
    lines = []
    for fit, p in zip(fits, probability, strict=True):
        post = fit.posterior
        lines.append(
            {
                "model": fit.model.name,
                "version": fit.model.version,
                "is_kilonova": fit.model.is_kilonova,
                "uses_distance": fit.likelihood.uses_jobs_distance,
                "log_evidence": post.log_evidence,
                "log_evidence_err": post.log_evidence_err,
                "probability": float(p),
                "converged": post.converged,
                "ess": round(post.ess, 1),
                "khat": round(post.khat, 3) if math.isfinite(post.khat) else None,
                "ruled_out": post.ruled_out,
                "n_calls": post.n_calls,
                "begun": post.begun,
                "reason": post.reason,
            }
        )
    return sorted(lines, key=lambda line: (-float(str(line["log_evidence"])), line["model"]))


def _columns(fit: _Fit) -> dict[str, tuple[str, Array]]:
    theta, distance_mpc, sigma_sys = fit.likelihood.values(fit.posterior.u)
    named = fit.likelihood.theta_parameters
    columns = {p.name: (p.unit, theta[:, k]) for k, p in enumerate(named)}
    if fit.likelihood.has_distance:
        columns["distance"] = ("Mpc", distance_mpc)
    errors = sigma_sys.reshape(len(theta), -1)
    for k, p in enumerate(fit.likelihood.sigma_parameters):
        columns[p.name] = (p.unit, errors[:, k])
    return columns


def _parameters(fit: _Fit) -> dict[str, dict[str, Any]]:
    return {name: _interval(unit, value) for name, (unit, value) in _columns(fit).items()}


def _derived(fit: _Fit) -> dict[str, dict[str, Any]]:
    theta = fit.likelihood.values(fit.posterior.u)[0][:, : len(fit.model.parameters)]
    return {
        name: _interval(unit, function(theta))
        for name, (unit, function) in fit.model.derived.items()
    }


def _interval(unit: str, values: Array) -> dict[str, Any]:
    low, median, high = np.quantile(values, [0.05, 0.5, 0.95])
    return {"median": float(median), "lo90": float(low), "hi90": float(high), "unit": unit}


def _npz(fit: _Fit) -> bytes:
    buffer = io.BytesIO()
    columns = {name: value for name, (_, value) in _columns(fit).items()}
    # Not compressed, and zip entries carry a fixed date: same draws, same bytes.
    np.savez(buffer, allow_pickle=False, **columns)
    return buffer.getvalue()


def light_curve(likelihood: Likelihood, u: Array, job: Job) -> LightCurve:
    """Quantiles of the predicted magnitude per band and time, over posterior draws ``u``.

    Bands are those observed and LSST's and 2MASS's; times run from 0.1 to 20 d after the event.
    None where the quantile is fainter than 40 mag. Photometric noise is not included.
    """
    observed = {row.band for row in rows(job)}
    names = tuple(sorted(observed | set(_STANDARD_BANDS)))
    theta, distance_mpc, _ = likelihood.values(u[:_N_CURVES])
    t_day = np.repeat(_GRID_DAY, len(names))
    band = np.tile(np.arange(len(names)), len(_GRID_DAY))
    mags = likelihood.magnitudes(
        theta, distance_mpc, t_day, band, passbands(names, job.ebv_mw or 0.0)
    ).reshape(len(theta), len(_GRID_DAY), len(names))
    quantiles = np.quantile(np.minimum(mags, FAINTEST_MAG), [0.05, 0.5, 0.95], axis=0)
    times: list[float | None] = [round(job.t0_mjd_tai + float(t), 6) for t in _GRID_DAY]
    return {
        name: {
            "mjd_tai": times,
            **{
                label: [round(float(v), 4) if v < _TOO_FAINT_MAG else None for v in q[:, k]]
                for label, q in zip(("q05", "q50", "q95"), quantiles, strict=True)
            },
        }
        for k, name in enumerate(names)
    }
