"""Mixtures of multivariate Student-t: the shape that importance sampling draws from.

Sampling happens in x = probit(u), u the unit cube: there the prior is a standard normal, so that
directions which the data leave alone are exactly what an elliptical component can follow.

The kernels are imported where they are used: a job carries mixtures, and is read without Numba.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["MAX_X", "Mixture", "fit", "log_prior", "logsumexp", "shapes_of"]

Array = npt.NDArray[np.float64]

_DOF = 8.0
MAX_X = 8.0
"""Beyond it u rounds to 0 or 1."""
_WIDE_SHARE, _WIDE_SCALE = 0.05, 3.0
_PRIOR_SHARE = 0.05
_LOG_SHARES = np.log([1.0 - _WIDE_SHARE - _PRIOR_SHARE, _WIDE_SHARE, _PRIOR_SHARE])


@dataclass(frozen=True)
class Mixture:
    """Student-t components in probit space with a wide copy of each, and the prior.

    The prior is the defensive component: wherever the posterior has mass the density is at
    least a twentieth of the prior's, so no importance weight is unbounded by more than that.
    """

    log_weight: Array
    """(k,)"""
    mean: Array
    """(k, d)"""
    cholesky: Array
    """(k, d, d) lower."""

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """(n, d) draws."""
        k, d = self.mean.shape
        share = np.exp(self.log_weight)
        which = rng.choice(k, size=n, p=share / share.sum())
        kind = rng.random(n)
        z = rng.standard_normal((n, d))
        chi2 = rng.chisquare(_DOF, size=n)
        prior = rng.standard_normal((n, d))
        radius = np.sqrt(_DOF / chi2) * np.where(kind < _WIDE_SHARE, _WIDE_SCALE, 1.0)
        x = self.mean[which] + radius[:, None] * np.einsum("nij,nj->ni", self.cholesky[which], z)
        from_prior = kind > 1.0 - _PRIOR_SHARE
        return np.where(from_prior[:, None], prior, np.clip(x, -MAX_X, MAX_X))

    def nearest(self, x: Array) -> npt.NDArray[np.int64]:
        """(n,): the component that each of (n, d) points most likely belongs to."""
        from mmcoord.inference.mixture_kernels import memberships

        share, _ = memberships(x, self.log_weight, self.mean, self.cholesky, _DOF)
        return np.asarray(share.argmax(axis=1))

    def beside(self, other: Mixture, share: float) -> Mixture:
        """Both, ``share`` being the weight of the other."""
        if len(other.mean) == 0:
            return self
        if len(self.mean) == 0:
            return other
        return Mixture(
            np.concatenate(
                [self.log_weight + math.log1p(-share), other.log_weight + math.log(share)]
            ),
            np.concatenate([self.mean, other.mean]),
            np.concatenate([self.cholesky, other.cholesky]),
        )

    def log_density(self, x: Array) -> Array:
        """(n, d) -> (n,)."""
        from mmcoord.inference.mixture_kernels import log_mixture_density

        density: Array = log_mixture_density(
            x, self.log_weight, self.mean, self.cholesky, _DOF, _WIDE_SCALE, _LOG_SHARES
        )
        return density


def logsumexp(values: Array, axis: int | None = None) -> Array:
    """ln(sum(exp(values))); SciPy's own takes a multiple of the time on small arrays."""
    top = values.max(axis=axis, keepdims=True)
    total = np.log(np.exp(values - top).sum(axis=axis, keepdims=True)) + top
    return np.asarray(total.squeeze(axis))


def log_prior(x: Array) -> Array:
    """Log density of x = probit(u) for u uniform in the unit cube: a standard normal."""
    return np.asarray(-0.5 * (x * x).sum(axis=1) - 0.5 * x.shape[1] * math.log(2.0 * math.pi))


def fit(x: Array, n_components: int, rng: np.random.Generator, n_rounds: int = 20) -> Mixture:
    """Expectation-maximisation from (n, d) equally weighted points (Peel & McLachlan 2000)."""
    from mmcoord.inference.mixture_kernels import memberships

    n, d = x.shape
    k = max(1, min(n_components, n // (4 * d)))
    centre = x.mean(axis=0)
    x = x - centre  # so that products of coordinates keep their digits
    lower, upper = _triangle(d)
    products = x[:, lower] * x[:, upper]
    pooled = np.cov(x, rowvar=False).reshape(d, d) + 1e-8 * np.eye(d)
    label = _k_means(x @ np.linalg.inv(np.linalg.cholesky(pooled)).T, k, rng)
    responsibility = np.zeros((n, k))
    responsibility[np.arange(n), label] = 1.0
    scale = np.ones((n, k))
    for _ in range(n_rounds):
        weight = responsibility.sum(axis=0)
        keep = weight > 2.0 * d
        if not keep.any():
            keep = weight == weight.max()
        responsibility, scale, weight = responsibility[:, keep], scale[:, keep], weight[keep]
        mean, cholesky = _moments(x, products, responsibility * scale, weight, pooled)
        log_weight = np.log(weight / weight.sum())
        responsibility, scale = memberships(x, log_weight, mean, cholesky, _DOF)
    return Mixture(log_weight, mean + centre, cholesky)


def shapes_of(
    x: Array, label: npt.NDArray[np.int64], mean: Array, cholesky: Array
) -> tuple[Array, Array]:
    """Means and Cholesky factors of the points with each label; the fewer they are, the more of
    the factors given remains."""
    d = x.shape[1]
    mean, cholesky = mean.copy(), cholesky.copy()
    for j in range(len(mean)):
        members = x[label == j]
        if len(members) < 2:
            mean[j] = members[0] if len(members) else mean[j]
            continue
        mean[j] = members.mean(axis=0)
        shrink = d / (d + len(members))
        covariance = (1.0 - shrink) * np.cov(members, rowvar=False).reshape(d, d)
        covariance += shrink * cholesky[j] @ cholesky[j].T
        cholesky[j] = np.linalg.cholesky(covariance + 1e-9 * np.eye(d))
    return mean, cholesky


@functools.lru_cache(maxsize=64)
def _triangle(d: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of the lower triangle of a (d, d) matrix."""
    return np.tril_indices(d)


def _moments(
    x: Array, products: Array, ru: Array, weight: Array, pooled: Array
) -> tuple[Array, Array]:
    """Means (k, d) and factors (k, d, d); ``products`` (n, d (d + 1) / 2) of the points' own
    coordinates are those of the lower triangle."""
    d = x.shape[1]
    total = ru.sum(axis=0)
    mean = (ru.T @ x) / total[:, None]
    lower, upper = _triangle(d)
    covariance = np.empty((len(weight), d, d))
    covariance[:, lower, upper] = ru.T @ products - total[:, None] * mean[:, lower] * mean[:, upper]
    covariance[:, upper, lower] = covariance[:, lower, upper]
    covariance /= weight[:, None, None]
    shrink = (d / (d + weight))[:, None, None]
    covariance = (1.0 - shrink) * covariance + shrink * 0.1 * pooled
    return mean, np.linalg.cholesky(covariance + 1e-9 * np.eye(d))


def _k_means(x: Array, k: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Labels after k-means++ seeding and a few Lloyd rounds."""
    from mmcoord.inference.mixture_kernels import squared_distances

    centres = x[rng.integers(len(x))][None, :]
    nearest = squared_distances(x, centres)[:, 0]
    for _ in range(k - 1):
        pick = int(np.searchsorted(np.cumsum(nearest), rng.random() * nearest.sum()))
        centre = x[min(pick, len(x) - 1)][None, :]
        centres = np.vstack([centres, centre])
        nearest = np.minimum(nearest, squared_distances(x, centre)[:, 0])
    label = np.zeros(len(x), dtype=np.int64)
    for _ in range(5):
        label = squared_distances(x, centres).argmin(axis=1)
        for j in range(k):
            if np.any(label == j):
                centres[j] = x[label == j].mean(axis=0)
    return label
