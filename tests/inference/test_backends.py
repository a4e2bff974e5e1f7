"""Samplers that others maintain, behind the same interface, against evidences in closed form."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest

from mmcoord.errors import ConfigError
from mmcoord.inference.engine import run
from mmcoord.inference.job import DistancePrior, Job, SamplerSettings
from mmcoord.inference.models import registry
from mmcoord.inference.sampler import sample
from tests.inference.light import T0, simulate

pytestmark = pytest.mark.long

Array = npt.NDArray[np.float64]
Backend = Literal["dynesty", "nautilus", "smc-is"]

BACKENDS: tuple[Backend, ...] = ("dynesty", "nautilus", "smc-is")


def normal(u: Array, mean: float, sigma: float) -> Array:
    """Log density of independent normals: its integral over the cube is 1."""
    chi2 = (((u - mean) / sigma) ** 2).sum(axis=1)
    return np.asarray(-0.5 * chi2 - u.shape[1] * np.log(sigma * np.sqrt(2 * np.pi)))


def settings(backend: Backend) -> SamplerSettings:
    return SamplerSettings(ess_target=400, max_calls=60_000, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_evidence_and_moments_of_a_gaussian(backend: Backend) -> None:
    post = sample(lambda u: normal(u, 0.45, 0.08), 2, seed=1, settings=settings(backend))
    assert post.converged
    assert abs(post.log_evidence) < max(4 * post.log_evidence_err, 0.02)
    error = 0.08 / math.sqrt(len(post.u))
    np.testing.assert_allclose(post.u.mean(axis=0), 0.45, atol=5 * error)


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_modes_have_their_shares(backend: Backend) -> None:
    def two(u: Array) -> Array:
        return np.logaddexp(
            normal(u, 0.25, 0.05) + math.log(0.7), normal(u, 0.75, 0.05) + math.log(0.3)
        )

    post = sample(two, 2, seed=2, settings=settings(backend))
    assert abs(post.log_evidence) < max(4 * post.log_evidence_err, 0.02)
    # 400 effective draws: 0.023 (1 sigma); nested sampling's volumes add about as much.
    assert float((post.u[:, 0] > 0.5).mean()) == pytest.approx(0.3, abs=0.12)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nautilus_agrees_on_a_kilonova() -> None:
    one = registry.load("villar17_1")
    light = simulate(one, [0.03, 0.2, 2500.0, 1.5], [0.6, 2.6], ["lsst:g", "lsst:z"], err=0.3)
    job = Job(light, T0, DistancePrior("gaussian", 100.0, 10.0), models=("villar17_1",))
    ours = run(replace(job, sampler=settings("smc-is"))).summary
    theirs = run(replace(job, sampler=settings("nautilus"))).summary
    error = math.hypot(ours["log_evidence_err"], theirs["log_evidence_err"])
    assert abs(ours["log_evidence"] - theirs["log_evidence"]) < max(4 * error, 0.1)
    for name, mine in ours["parameters"].items():
        interval = theirs["parameters"][name]
        width = interval["hi90"] - interval["lo90"]
        for key in ("median", "lo90", "hi90"):
            # 400 effective draws each place a 5 % quantile to 0.05 of the width (1 sigma each).
            assert mine[key] == pytest.approx(interval[key], abs=0.25 * width)


def test_a_sampler_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nautilus", None)
    with pytest.raises(ConfigError, match=r"nautilus.*not installed"):
        sample(lambda u: normal(u, 0.5, 0.1), 2, seed=0, settings=settings("nautilus"))
