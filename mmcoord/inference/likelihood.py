"""From the unit cube to a log likelihood: priors, distance, magnitudes, photometric noise.

* Detection: Normal in magnitude with variance mag_err^2 + sigma_sys^2, normalised. Where the
  model is fainter than the point, its chi^2 is at most (1.0857/mag_err)^2, the point's own
  significance: in flux, no light at all is no further off than that.
* Limit: probability that the source is fainter, Phi((m_model - m_limit)/sigma), with
  sigma^2 = 0.217^2 + sigma_sys^2 (a 5-sigma limit has 20 % of flux error).
* sigma_sys is free, uniform on [0.02, 0.5] mag: capped, so that no model fits by noise alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numba
import numpy as np
import numpy.typing as npt

from mmcoord.inference.job import DistancePrior, Job, Row, rows
from mmcoord.inference.models.base import Array, Model, Parameter
from mmcoord.inference.passbands import Passbands, passbands

__all__ = ["LIMIT_SIGMA_MAG", "SIGMA_SYS", "Data", "Likelihood", "hubble_redshift"]

LIMIT_SIGMA_MAG = 0.217
SIGMA_SYS = Parameter("sigma_sys", "mag", 0.02, 0.5)
_OWN_DISTANCE = Parameter("distance", "Mpc", 10.0, 3000.0, "log_uniform")
_SNR_FACTOR = 2.5 / math.log(10.0)


@dataclass(frozen=True)
class Data:
    """Photometry as the kernels want it: sorted by time."""

    t_day: Array
    """Observer's days since the event."""
    band: npt.NDArray[np.int64]
    mag: Array
    err: Array
    """0 for a limit."""
    bands: Passbands

    @classmethod
    def of(cls, job: Job) -> Data:
        """The selected, quantised points of a job."""
        return cls.of_rows(rows(job), job.t0_mjd_tai, job.ebv_mw or 0.0)

    @classmethod
    def of_rows(cls, points: Sequence[Row], t0_mjd_tai: float, ebv_mw: float) -> Data:
        """Arrays of ``points`` (in time order)."""
        names = tuple(sorted({p.band for p in points}))
        return cls(
            t_day=np.array([p.mjd_tai - t0_mjd_tai for p in points]),
            band=np.array([names.index(p.band) for p in points], dtype=np.int64),
            mag=np.array([p.mag_ab for p in points]),
            err=np.array([p.mag_err or 0.0 for p in points]),
            bands=passbands(names, ebv_mw),
        )


class Likelihood:
    """One model against one data set: a function of the unit cube.

    The cube's axes are the model's parameters, then the distance (if the model has one), then
    sigma_sys.
    """

    def __init__(self, model: Model, data: Data, job: Job) -> None:
        self.model = model
        self.data = data
        self._quantiles = _distance_quantiles(model, job)
        self._redshift = job.redshift
        self.has_distance = self._quantiles is not None
        self.n_dim = len(model.parameters) + int(self.has_distance) + 1

    def __call__(self, u: Array) -> Array:
        """(n, n_dim) -> (n,)."""
        theta, distance_mpc, sigma_sys = self.values(u)
        mags = self.magnitudes(theta, distance_mpc, self.data.t_day, self.data.band)
        log_likelihood: Array = _log_likelihood(mags, self.data.mag, self.data.err, sigma_sys)
        return log_likelihood

    def values(self, u: Array) -> tuple[Array, Array, Array]:
        """(theta (n, n_parameters), distance_mpc (n,), sigma_sys (n,)) of points in the cube."""
        n_model = len(self.model.parameters)
        theta = self.model.theta(u[:, :n_model])
        if self._quantiles is None:
            distance_mpc = np.full(len(u), 1.0)
        else:
            p, r = self._quantiles
            distance_mpc = np.interp(u[:, n_model], p, r)
        return theta, distance_mpc, SIGMA_SYS.from_unit(u[:, -1])

    def magnitudes(
        self,
        theta: Array,
        distance_mpc: Array,
        t_day: Array,
        band: npt.NDArray[np.int64],
        bands: Passbands | None = None,
    ) -> Array:
        """(n, m) magnitudes at any times (increasing) and bands."""
        if self._redshift is not None:
            redshift = np.full(len(theta), self._redshift)
        else:
            redshift = hubble_redshift(distance_mpc)
        return self.model.magnitudes(
            theta, distance_mpc, redshift, t_day, band, bands or self.data.bands
        )

    def parameters(self) -> tuple[Parameter, ...]:
        """Every axis of the cube; the distance's range is that of its prior."""
        named = list(self.model.parameters)
        if self._quantiles is not None:
            r = self._quantiles[1]
            named.append(replace(_OWN_DISTANCE, low=float(r[0]), high=float(r[-1])))
        return (*named, SIGMA_SYS)


def _distance_quantiles(model: Model, job: Job) -> tuple[Array, Array] | None:
    if model.distance == "none":
        return None
    if model.distance == "event" or job.redshift is not None:
        return _inverse_cumulative(job.distance)
    p = np.linspace(0.0, 1.0, 1025)
    return p, _OWN_DISTANCE.from_unit(p)


@functools.lru_cache(maxsize=256)
def _inverse_cumulative(prior: DistancePrior) -> tuple[Array, Array]:
    if prior.kind == "volume":
        r = np.linspace(1.0, prior.mean_mpc, 4001)
        density = r**2
    else:
        low = max(prior.mean_mpc - 6.0 * prior.std_mpc, 1.0)
        # r^2 Normal(mu, sigma) peaks beyond mu, far beyond when sigma is large.
        high = max(prior.mean_mpc, 0.0) + 8.0 * prior.std_mpc
        r = np.linspace(low, max(high, low + 1.0), 4001)
        density = np.exp(-0.5 * ((r - prior.mean_mpc) / prior.std_mpc) ** 2)
        if prior.kind == "ansatz":
            density = density * r**2
    steps = 0.5 * (density[1:] + density[:-1])
    p = np.concatenate([[0.0], np.cumsum(steps)])
    keep = np.concatenate([[True], np.diff(p) > 0])
    return p[keep] / p[-1], r[keep]


@functools.lru_cache(maxsize=1)
def _hubble_table() -> tuple[Array, Array]:
    from astropy.cosmology import Planck18

    z = np.concatenate([[0.0], np.geomspace(1e-4, 2.0, 400)])
    d = np.concatenate([[0.0], Planck18.luminosity_distance(z[1:]).value])
    return np.asarray(d, dtype=np.float64), z


def hubble_redshift(distance_mpc: Array) -> Array:
    """Redshift at a luminosity distance (Planck 2018)."""
    d, z = _hubble_table()
    return np.asarray(np.interp(distance_mpc, d, z))


@numba.njit(cache=True, parallel=True)
def _log_likelihood(
    mags: np.ndarray, mag: np.ndarray, err: np.ndarray, sigma_sys: np.ndarray
) -> np.ndarray:
    n, m = mags.shape
    out = np.empty(n)
    half_log_2pi = 0.5 * math.log(2.0 * math.pi)
    for i in numba.prange(n):
        total = 0.0
        sys2 = sigma_sys[i] ** 2
        for j in range(m):
            delta = mags[i, j] - mag[j]
            if err[j] > 0.0:
                variance = err[j] ** 2 + sys2
                chi2 = delta * delta / variance
                if delta > 0.0:
                    chi2 = min(chi2, (_SNR_FACTOR / err[j]) ** 2)
                total -= 0.5 * (chi2 + math.log(variance)) + half_log_2pi
            else:
                z = delta / math.sqrt(LIMIT_SIGMA_MAG**2 + sys2)
                total += _log_normal_cdf(z)
        out[i] = total
    return out


@numba.njit(cache=True)
def _log_normal_cdf(z: float) -> float:
    if z > -10.0:
        return math.log(0.5 * math.erfc(-z / math.sqrt(2.0)))
    # Asymptotic series: erfc underflows beyond 38 sigma.
    inverse = 1.0 / (z * z)
    series = 1.0 - inverse * (1.0 - 3.0 * inverse * (1.0 - 5.0 * inverse))
    return -0.5 * z * z - math.log(-z * math.sqrt(2.0 * math.pi)) + math.log(series)
