"""An executor whose answers are draws from the prior of a real model: fast, and good to predict
from and to draw; and an application that draws in its own process."""

from __future__ import annotations

import io
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from fastapi import FastAPI

from mmcoord.api.app import create_app
from mmcoord.inference.engine import light_curve
from mmcoord.inference.job import Job, Result, run_key
from mmcoord.inference.likelihood import Data, Likelihood
from mmcoord.inference.models import registry
from mmcoord.posteriors.workshop import Workshop
from mmcoord.stages.context import Context

N_DRAWS = 200


def answered(job: Job, model: str, seed: int = 1, n_draws: int = N_DRAWS) -> Result:
    """A result of the right form: prior draws in place of posterior ones."""
    likelihood = Likelihood(registry.load(model), Data.of(job), job)
    u = np.random.default_rng(seed).random((n_draws, likelihood.n_dim))
    theta, distance_mpc, sigma_sys = likelihood.values(u)
    columns = {p.name: theta[:, k] for k, p in enumerate(likelihood.theta_parameters)}
    if likelihood.has_distance:
        columns["distance"] = distance_mpc
    columns["sigma_sys"] = sigma_sys
    content = io.BytesIO()
    np.savez(content, **columns)
    units = {p.name: {"unit": p.unit} for p in likelihood.theta_parameters}
    summary = {
        "model": model,
        "parameters": units,
        "p_kilonova": 0.9,
        "converged": True,
        "cpu_s": 12.0,
    }
    return Result(run_key(job), summary, content.getvalue(), light_curve(likelihood, u, job))


class Drawn:
    """Answers every job at once with prior draws of its first model."""

    capacity = 8

    def __init__(self, n_draws: int = N_DRAWS) -> None:
        self._n_draws = n_draws

    def submit(self, job: Job, priority: float = 0.0) -> Future[Result]:
        future: Future[Result] = Future()
        future.set_result(answered(job, job.model_names()[0], n_draws=self._n_draws))
        return future

    def close(self) -> None:
        """Nothing to free."""


def drawing_app(ctx: Context) -> FastAPI:
    """The application, with a thread in place of the process: starting one takes seconds."""
    workshop = Workshop(lambda: ThreadPoolExecutor(1))
    return create_app(ctx.database, ctx.settings, list, workshop=workshop)
