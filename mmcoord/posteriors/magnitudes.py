"""Predicted magnitudes of a finished run at any bands and times, from its own draws and model."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from mmcoord.errors import BadInput, BadModel, MmcoordError
from mmcoord.inference.hosted import models_for
from mmcoord.inference.job import Job, run_key
from mmcoord.inference.likelihood import Data, Likelihood
from mmcoord.inference.models.base import FAINTEST_MAG
from mmcoord.inference.passbands import passbands
from mmcoord.posteriors.draws import Array, columns
from mmcoord.stages.jobs import job_from_json
from mmcoord.store.views_runs import RunContent

__all__ = ["MAX_POINTS", "QUANTILES", "OtherEngine", "Predicted", "predict", "rendered"]

QUANTILES = (0.05, 0.16, 0.5, 0.84, 0.95)
MAX_POINTS = 4000
"""Bands x times of one question."""
_AFFORDABLE = {"fast": (1000, MAX_POINTS), "medium": (200, 1000), "slow": (40, 200)}
"""Speed of a model -> draws for which it is evaluated, and the most points; ours are fast."""
_TOO_FAINT_MAG = 40.0


class OtherEngine(MmcoordError):
    """The engine, the model or a library has changed since the run: its numbers would be others."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """Quantiles of the predicted AB magnitude (without photometric noise)."""

    model: str
    n_draws: int
    bands: tuple[str, ...]
    t_day: tuple[float, ...]
    """Days after the event, observer's frame."""
    mjd_tai: tuple[float, ...]
    quantiles: dict[str, dict[str, list[float | None]]]
    """Band -> ``q05``, ``q16``, ``q50``, ``q84``, ``q95`` at each time; None: fainter than 40."""


def predict(run: RunContent, bands: Sequence[str], t_day: Sequence[float]) -> Predicted:
    """Magnitudes in ``bands`` (canonical) at ``t_day`` (increasing, days after the event).

    Raises
    ------
    BadInput
        More points than a model of this speed is asked for.
    OtherEngine
        Today's engine is not the one that made the run.
    BadModel, NoSandbox
        A model from others fails now, or cannot be confined here.
    """
    job = job_from_json(run.job)
    if run_key(job) != run.run_key or run.model not in job.model_names():
        raise OtherEngine(
            "the engine, the model or a library has changed since this run: its stored light "
            "curve stands, and the same question asked again is a new run"
        )
    draws = columns(run.samples)
    speeds = {source.name: source.speed for source in job.user_models}
    speed = speeds.get(run.model, "fast")
    affordable, max_points = _AFFORDABLE[speed]
    if len(bands) * len(t_day) > max_points:
        raise BadInput(f"{run.model} is {speed}: at most {max_points} bands x times")
    n_draws = min(affordable, len(next(iter(draws.values()))))
    few = {name: values[:n_draws] for name, values in draws.items()}
    with models_for((run.model,), job.user_models) as (models, failed):
        if not models:
            raise BadModel("; ".join(failed.values()))
        likelihood = Likelihood(models[0], Data.of(job), job)
        mags = _magnitudes(likelihood, few, job, bands, np.asarray(t_day))
    found = np.quantile(np.minimum(mags, FAINTEST_MAG), QUANTILES, axis=0)
    return Predicted(
        run.model,
        n_draws,
        tuple(bands),
        tuple(round(float(t), 6) for t in t_day),
        tuple(round(job.t0_mjd_tai + float(t), 6) for t in t_day),
        {
            band: {
                f"q{round(100 * level):02d}": [_shown(mag) for mag in found[i, :, k]]
                for i, level in enumerate(QUANTILES)
            }
            for k, band in enumerate(bands)
        },
    )


def _magnitudes(
    likelihood: Likelihood,
    draws: dict[str, Array],
    job: Job,
    bands: Sequence[str],
    t_day: Array,
) -> Array:
    """(n_draws, n_times, n_bands)."""
    n_draws = len(next(iter(draws.values())))
    theta = np.stack([draws[p.name] for p in likelihood.theta_parameters], axis=1)
    distance_mpc = draws.get("distance", np.ones(n_draws))
    mags = likelihood.magnitudes(
        theta,
        distance_mpc,
        np.repeat(t_day, len(bands)),
        np.tile(np.arange(len(bands)), len(t_day)),
        passbands(tuple(bands), job.ebv_mw or 0.0),
    )
    return mags.reshape(n_draws, len(t_day), len(bands))


def _shown(mag: float) -> float | None:
    return round(float(mag), 4) if mag < _TOO_FAINT_MAG else None


def rendered(
    run: RunContent, bands: Sequence[str], t_day: Sequence[float], fmt: Literal["csv", "json"]
) -> bytes:
    """:func:`predict` as a document; raises as it does."""
    predicted = predict(run, bands, t_day)
    if fmt == "csv":
        return _csv(predicted).encode()
    document = {"run_key": run.run_key, **asdict(predicted)}
    return json.dumps(document, allow_nan=False).encode()


def _csv(predicted: Predicted) -> str:
    """One line per band and time; an empty field is fainter than 40 mag."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f"q{round(100 * level):02d}" for level in QUANTILES]
    writer.writerow(["band", "mjd_tai", "t_day", *names])
    for band in predicted.bands:
        levels = [predicted.quantiles[band][name] for name in names]
        for row in zip(predicted.mjd_tai, predicted.t_day, *levels, strict=True):
            writer.writerow([band, *("" if value is None else value for value in row)])
    return text.getvalue()
