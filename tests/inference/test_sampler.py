"""The sampler on problems whose evidence is known, and against dynesty."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import genpareto, multivariate_t

from mmcoord.inference.job import SamplerSettings
from mmcoord.inference.mixture import Mixture, fit
from mmcoord.inference.pilots import run_pilots
from mmcoord.inference.sampler import sample
from mmcoord.inference.weights import pareto_k

Array = npt.NDArray[np.float64]


def normal(u: Array, mean: float, sigma: float) -> Array:
    """Log density of independent normals: its integral over the cube is 1."""
    d = u.shape[1]
    chi2 = (((u - mean) / sigma) ** 2).sum(axis=1)
    return np.asarray(-0.5 * chi2 - d * np.log(sigma * np.sqrt(2 * np.pi)))


@pytest.mark.parametrize("n_dim", [1, 4, 9])
def test_evidence_and_moments_of_a_gaussian(n_dim: int) -> None:
    post = sample(lambda u: normal(u, 0.45, 0.02), n_dim, seed=1)
    assert post.converged
    assert abs(post.log_evidence) < max(4 * post.log_evidence_err, 0.01)
    n = len(post.u)
    np.testing.assert_allclose(post.u.mean(axis=0), 0.45, atol=5 * 0.02 / np.sqrt(n) * 2)
    np.testing.assert_allclose(post.u.std(axis=0), 0.02, rtol=0.15)


def test_the_reported_error_is_the_scatter() -> None:
    runs = [sample(lambda u: normal(u, 0.5, 0.05), 2, seed=s) for s in range(8)]
    pulls = np.array([r.log_evidence / r.log_evidence_err for r in runs])
    assert 0.4 < pulls.std() < 2.0


@pytest.mark.parametrize(("n_dim", "share"), [(2, 0.05), (6, 0.1)])
def test_a_minor_mode_far_away_is_found(n_dim: int, share: float) -> None:
    def two(u: Array) -> Array:
        major = normal(u, 0.25, 0.02) + np.log1p(-share)
        return np.logaddexp(major, normal(u, 0.7, 0.03) + np.log(share))

    for seed in (0, 1):
        post = sample(two, n_dim, seed=seed)
        assert post.converged
        assert abs(post.log_evidence) < 0.05
        found = float((post.u[:, 0] > 0.5).mean())
        assert found == pytest.approx(share, abs=0.25 * share + 0.01)


def test_a_flat_likelihood_gives_the_prior() -> None:
    post = sample(lambda u: np.zeros(len(u)), 3, seed=0)
    assert post.converged
    assert post.log_evidence == pytest.approx(0.0, abs=0.02)
    np.testing.assert_allclose(
        np.quantile(post.u[:, 1], [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.05
    )


def test_points_without_likelihood_count_as_nothing() -> None:
    # Half of the cube is impossible, by -inf and by NaN.
    def half(u: Array) -> Array:
        return np.where(u[:, 0] < 0.25, -np.inf, np.where(u[:, 0] > 0.75, np.nan, 0.0))

    post = sample(half, 2, seed=0)
    assert post.log_evidence == pytest.approx(np.log(0.5), abs=0.03)
    assert post.u[:, 0].min() >= 0.25
    assert post.u[:, 0].max() <= 0.75


def test_same_seed_same_bytes_and_other_seed_other_draws() -> None:
    def f(u: Array) -> Array:
        return normal(u, 0.5, 0.1)

    a, b, c = (sample(f, 3, seed=s) for s in (5, 5, 6))
    assert a.u.tobytes() == b.u.tobytes()
    assert a.log_evidence == b.log_evidence
    assert a.u.tobytes() != c.u.tobytes()


def test_what_cannot_be_sampled_is_not_called_converged() -> None:
    # A spike of 1e-4 in nine dimensions of a plateau: too few calls to resolve it.
    settings = SamplerSettings(ess_target=10**6, max_calls=60_000)
    post = sample(lambda u: normal(u, 0.5, 0.02), 4, seed=0, settings=settings)
    assert not post.converged
    assert "effective sample size" in post.reason


def test_a_hopeless_model_is_ruled_out_cheaply() -> None:
    full = sample(lambda u: normal(u, 0.5, 0.05) - 500.0, 5, seed=0)
    quick = sample(lambda u: normal(u, 0.5, 0.05) - 500.0, 5, seed=0, must_reach=-30.0)
    assert quick.ruled_out
    assert not quick.converged
    assert quick.n_calls < 0.3 * full.n_calls
    assert quick.log_evidence < -400.0


def test_pilots_arrive_where_the_mass_lies_behind_a_cliff() -> None:
    # As with faint points, the likelihood is flat beyond 5 sigma of each coordinate: at a few
    # tenths of the exponent the population falls off a plateau, and there is too little way left.
    n_dim, sigma = 8, 0.01

    def capped(u: Array) -> Array:
        chi2 = np.minimum(((u - 0.5) / sigma) ** 2, 25.0).sum(axis=1)
        return np.asarray(-0.5 * chi2)

    pilots, _ = run_pilots(capped, n_dim, np.random.default_rng(0), n_chains=110, n_steps=30)
    for pilot in pilots:
        # chi^2 of n_dim degrees of freedom: mean n_dim. Without settling it is 11.5 in one.
        assert -2.0 * pilot.log_likelihood.mean() == pytest.approx(n_dim, abs=1.0)


@pytest.mark.parametrize("n_dim", [1, 6])
def test_a_mixture_is_the_sum_of_its_student_t_components(n_dim: int) -> None:
    rng = np.random.default_rng(2)
    spread = rng.standard_normal((3, n_dim, n_dim))
    shapes = spread @ spread.transpose(0, 2, 1) + 0.1 * np.eye(n_dim)
    share = np.array([0.5, 0.3, 0.2])
    mixture = Mixture(np.log(share), rng.standard_normal((3, n_dim)), np.linalg.cholesky(shapes))
    x = 2.0 * rng.standard_normal((700, n_dim))
    density = 0.05 * np.exp(-0.5 * (x**2).sum(axis=1)) / (2.0 * np.pi) ** (n_dim / 2.0)
    for p, mean, shape in zip(share, mixture.mean, shapes, strict=True):
        for part, wide in ((0.9, 1.0), (0.05, 9.0)):  # a copy three times as wide
            t = multivariate_t(loc=mean, shape=wide * shape, df=8)
            density += part * p * t.pdf(x)
    np.testing.assert_allclose(mixture.log_density(x), np.log(density), rtol=1e-9)


def test_one_component_of_many_points_has_their_moments() -> None:
    x = np.random.default_rng(4).multivariate_normal([1.0, -2.0], [[2.0, 0.6], [0.6, 0.5]], 20_000)
    fitted = fit(x, 1, np.random.default_rng(5))
    np.testing.assert_allclose(fitted.mean[0], [1.0, -2.0], atol=0.03)
    shape = fitted.cholesky[0] @ fitted.cholesky[0].T
    # A Student-t of 8 degrees fitted to normal points: one scale below theirs, the same shape.
    np.testing.assert_allclose(shape[0] / shape[0, 0], [1.0, 0.3], atol=0.02)
    assert 0.75 < shape[0, 0] / 2.0 < 1.0


@pytest.mark.parametrize("shape", [0.2, 0.9])
def test_pareto_shape_is_recovered(shape: float) -> None:
    rng = np.random.default_rng(1)
    weights = genpareto(c=shape).rvs(size=40_000, random_state=rng)
    assert pareto_k(np.log(weights)) == pytest.approx(shape, abs=0.15)


def test_the_likelihood_may_overwrite_its_input() -> None:
    def rude(u: Array) -> Array:
        value = normal(u, 0.5, 0.1)
        u[:] = 0.0
        return value

    kind = sample(lambda u: normal(u, 0.5, 0.1), 2, seed=3)
    assert sample(rude, 2, seed=3).u.tobytes() == kind.u.tobytes()
