"""New data begin with the posterior of the old ones, and the answer is that of a cold start."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numba
import numpy as np
import numpy.typing as npt
import pytest

from mmcoord.inference.engine import run
from mmcoord.inference.importance import Posterior
from mmcoord.inference.job import DistancePrior, Job, Result, SamplerSettings, question_key, run_key
from mmcoord.inference.mixture import Mixture
from mmcoord.inference.models import registry
from mmcoord.inference.sampler import sample
from mmcoord.inference.start import Start, packed
from mmcoord.stages.jobs import job_from_json, job_to_json
from tests.inference.light import T0, simulate

pytestmark = pytest.mark.long

Array = npt.NDArray[np.float64]

ONE = registry.load("villar17_1")
LIGHT = simulate(
    ONE, [0.03, 0.2, 2500.0, 1.5], [0.6, 1.5, 2.6, 4.5], ["lsst:g", "lsst:r", "lsst:z"], err=0.1
)
JOB = Job(
    LIGHT,
    T0,
    DistancePrior("gaussian", 100.0, 10.0),
    models=("villar17_1",),
    sampler=SamplerSettings(ess_target=1000),
)
EARLIER = replace(JOB, photometry=tuple(p for p in LIGHT if p.obs_mjd_tai < T0 + 2.0))


def normal(u: Array, mean: float, sigma: float) -> Array:
    """Log density of independent normals: its integral over the cube is 1."""
    chi2 = (((u - mean) / sigma) ** 2).sum(axis=1)
    return np.asarray(-0.5 * chi2 - u.shape[1] * np.log(sigma * np.sqrt(2 * np.pi)))


@cache
def earlier(mean: float, sigma: float, n_dim: int = 4) -> Mixture:
    found = sample(lambda u: normal(u, mean, sigma), n_dim, seed=11)
    assert found.proposal is not None
    return found.proposal


def right(post: Posterior) -> bool:
    """Converged, on an evidence of 1."""
    return post.converged and abs(post.log_evidence) < max(4 * post.log_evidence_err, 0.01)


def test_a_posterior_that_narrowed_is_reached_from_the_earlier_one_with_fewer_calls() -> None:
    def likelihood(u: Array) -> Array:
        return normal(u, 0.47, 0.03)

    cold = sample(likelihood, 4, seed=1)
    warm = sample(likelihood, 4, seed=1, start=earlier(0.45, 0.06))
    assert right(warm)
    assert warm.begun == "earlier posterior"
    assert cold.begun == "prior"
    assert warm.n_calls < 0.6 * cold.n_calls
    np.testing.assert_allclose(warm.u.mean(axis=0), 0.47, atol=0.005)
    np.testing.assert_allclose(warm.u.std(axis=0), 0.03, rtol=0.15)


def test_an_earlier_posterior_elsewhere_does_no_harm() -> None:
    # 13 sigma apart: nothing of the old posterior is left.
    post = sample(lambda u: normal(u, 0.8, 0.03), 4, seed=2, start=earlier(0.2, 0.03))
    assert right(post)
    np.testing.assert_allclose(post.u.mean(axis=0), 0.8, atol=0.005)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_mode_that_the_earlier_posterior_did_not_have_is_found(seed: int) -> None:
    def two(u: Array) -> Array:
        return np.logaddexp(normal(u, 0.25, 0.03), normal(u, 0.75, 0.03)) - np.log(2.0)

    post = sample(two, 4, seed=seed, start=earlier(0.25, 0.04))
    assert right(post)
    assert float((post.u[:, 0] > 0.5).mean()) == pytest.approx(0.5, abs=0.07)


def test_an_earlier_mode_that_new_data_exclude_is_given_up() -> None:
    def two(u: Array) -> Array:
        return np.logaddexp(normal(u, 0.25, 0.04), normal(u, 0.75, 0.04)) - np.log(2.0)

    both = sample(two, 4, seed=5).proposal
    post = sample(lambda u: normal(u, 0.75, 0.03), 4, seed=6, start=both)
    assert right(post)
    assert post.u[:, 0].min() > 0.5


def test_a_start_on_other_axes_is_no_start() -> None:
    post = sample(lambda u: normal(u, 0.5, 0.05), 3, seed=3, start=earlier(0.5, 0.05, n_dim=4))
    assert right(post)
    assert post.begun == "prior"


def test_a_hopeless_model_is_ruled_out_from_an_earlier_posterior_too() -> None:
    post = sample(
        lambda u: normal(u, 0.5, 0.05) - 500.0, 4, seed=0, must_reach=-30.0,
        start=earlier(0.5, 0.06),
    )  # fmt: skip
    assert post.ruled_out


def test_a_proposal_survives_its_packing() -> None:
    mixture = earlier(0.3, 0.05)
    axes = ("a", "b", "c", "d")
    proposal = packed("m", axes, mixture)
    back = proposal.mixture()
    assert packed("m", axes, back) == proposal
    x = np.random.default_rng(0).standard_normal((50, 4))
    np.testing.assert_allclose(back.log_density(x), mixture.log_density(x), atol=1e-3)
    start = Start("k", (proposal,))
    assert start.of("m", axes) is not None
    assert start.of("m", ("a", "b", "c", "e")) is None
    assert start.of("other", axes) is None


@pytest.fixture(scope="module")
def parent() -> Result:
    return run(EARLIER)


@pytest.fixture(scope="module")
def update(parent: Result) -> Job:
    return replace(JOB, start=Start(parent.run_key, parent.proposals))


@pytest.fixture(scope="module")
def warm(update: Job) -> Result:
    return run(update)


def test_an_update_of_a_kilonova_agrees_with_a_cold_start(parent: Result, warm: Result) -> None:
    cold = run(JOB)
    assert warm.summary["comparison"][0]["begun"] == "earlier posterior"
    assert warm.summary["parent_run_key"] == parent.run_key
    assert warm.summary["converged"]
    error = np.hypot(warm.summary["log_evidence_err"], cold.summary["log_evidence_err"])
    assert abs(warm.summary["log_evidence"] - cold.summary["log_evidence"]) < 4 * error
    for name, mine in warm.summary["parameters"].items():
        theirs = cold.summary["parameters"][name]
        width = theirs["hi90"] - theirs["lo90"]
        for key in ("median", "lo90", "hi90"):
            # 1000 effective draws each place a 5 % quantile to 0.07 of the width (2 sigma).
            assert mine[key] == pytest.approx(theirs[key], abs=0.12 * width)


def test_an_update_that_was_kept_as_json_repeats_itself(update: Job, warm: Result) -> None:
    again = run(job_from_json(job_to_json(update)))
    assert again.samples == warm.samples
    assert again.proposals == warm.proposals


def test_the_key_names_what_a_run_begins_with_and_the_question_does_not() -> None:
    proposal = packed("villar17_1", ("a", "b", "c", "d"), earlier(0.3, 0.05))
    started = replace(JOB, start=Start("one", (proposal,)))
    other = replace(JOB, start=Start("two", (proposal,)))
    assert len({run_key(JOB), run_key(started), run_key(other)}) == 3
    assert len({question_key(JOB), question_key(started), question_key(other)}) == 1
    assert question_key(JOB) == run_key(JOB)
    assert job_from_json(job_to_json(started)) == started


def digest(parent: Result, child: Result) -> str:
    """Of all that two runs say but the time that they took."""
    said = repr({**child.summary, "wall_s": 0})
    return hashlib.sha256(parent.samples + child.samples + said.encode()).hexdigest()


_SCRIPT = """
from tests.inference.test_update import EARLIER, JOB, Start, digest, replace, run

parent = run(EARLIER)
print(digest(parent, run(replace(JOB, start=Start(parent.run_key, parent.proposals)))))
"""


@pytest.mark.timeout(900)
def test_another_process_and_number_of_threads_give_the_same_bytes(
    parent: Result, warm: Result
) -> None:
    threads = "2" if numba.get_num_threads() == 1 else "1"
    there = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        env={**os.environ, "NUMBA_NUM_THREADS": threads},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert there.strip() == digest(parent, warm)
