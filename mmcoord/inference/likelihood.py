"""From the unit cube to a log likelihood: priors, distance, magnitudes, photometric noise.

* Detection: Normal in magnitude with variance mag_err^2 + sigma_sys^2, normalised. Where the
  model is fainter than the point, its chi^2 is at most (1.0857/mag_err)^2, the point's own
  significance: in flux, no light at all is no further off than that.
* Limit: probability that the source is fainter, Phi((m_model - m_limit)/sigma), with
  sigma^2 = 0.217^2 + sigma_sys^2 (a 5-sigma limit has 20 % of flux error).
* sigma_sys is free, uniform on [0.02, 0.5] mag: capped, so that no model fits by noise alone.
  One for all bands, or one for each (``Job.systematics``).
* Dust in the host (``Job.host_dust``) is added to what a model gives, unless the model has its own
  or speaks of apparent magnitudes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numba
import numpy as np
import numpy.typing as npt

from mmcoord.inference.dust import HOST_AV, HOST_RV, R_V, host_extinction
from mmcoord.inference.job import DistancePrior, Job, Row, rows
from mmcoord.inference.models.base import FAINTEST_MAG, Array, Model, Parameter, restrict
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

    The cube's axes are the model's parameters, host_av and host_rv (if asked for and the model has
    a use for them), then the distance (if the model has one), then sigma_sys, of all bands or
    of each in the order of ``data.bands``.

    Raises
    ------
    ConfigError
        A prior of the job does not fit the model.
    """

    def __init__(self, model: Model, data: Data, job: Job) -> None:
        self.model = model.with_priors(job.priors)
        self.data = data
        new = {p.name: p for p in job.priors}
        host = tuple(restrict(p, new.get(p.name)) for p in _host_parameters(model, job))
        self.theta_parameters = (*self.model.parameters, *host)
        """What the columns of theta are: the model's parameters, then the host's dust."""
        self.sigma_parameters = tuple(
            restrict(replace(SIGMA_SYS, name=name), new.get(name) or new.get("sigma_sys"))
            for name in _sigma_names(data, job)
        )
        self._quantiles = _distance_quantiles(model, job)
        self._redshift = job.redshift
        self.has_distance = self._quantiles is not None
        self.uses_jobs_distance = _lies_at_the_event(model, job)
        """Else the source is anywhere, or has no distance."""
        self.n_dim = (
            len(self.theta_parameters) + int(self.has_distance) + len(self.sigma_parameters)
        )

    def __call__(self, u: Array) -> Array:
        """(n, n_dim) -> (n,)."""
        theta, distance_mpc, sigma_sys = self.values(u)
        mags = self.magnitudes(theta, distance_mpc, self.data.t_day, self.data.band)
        which = self.data.band if len(self.sigma_parameters) > 1 else np.zeros_like(self.data.band)
        log_likelihood: Array = _log_likelihood(
            mags, self.data.mag, self.data.err, sigma_sys.reshape(len(u), -1), which
        )
        return log_likelihood

    def values(self, u: Array) -> tuple[Array, Array, Array]:
        """(theta (n, len(theta_parameters)), distance_mpc (n,), sigma_sys) of points in the cube.

        sigma_sys is (n,), or (n, n_bands) if each band has its own.
        """
        n_theta = len(self.theta_parameters)
        columns = [p.from_unit(u[:, k]) for k, p in enumerate(self.theta_parameters)]
        theta = np.stack(columns, axis=1) if columns else np.empty((len(u), 0))
        if self._quantiles is None:
            distance_mpc = np.full(len(u), 1.0)
        else:
            p, r = self._quantiles
            distance_mpc = np.interp(u[:, n_theta], p, r)
        first = self.n_dim - len(self.sigma_parameters)
        sigmas = [p.from_unit(u[:, first + k]) for k, p in enumerate(self.sigma_parameters)]
        sigma_sys = sigmas[0] if len(sigmas) == 1 else np.stack(sigmas, axis=1)
        return theta, distance_mpc, sigma_sys

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
        bands = bands or self.data.bands
        n_model = len(self.model.parameters)
        mags = self.model.magnitudes(
            np.ascontiguousarray(theta[:, :n_model]), distance_mpc, redshift, t_day, band, bands
        )
        if theta.shape[1] == n_model:
            return mags
        rv = theta[:, n_model + 1] if theta.shape[1] > n_model + 1 else np.full(len(theta), R_V)
        dust = host_extinction(bands, theta[:, n_model], rv, redshift)
        return np.minimum(mags + dust[:, band], FAINTEST_MAG)

    def parameters(self) -> tuple[Parameter, ...]:
        """Every axis of the cube; the distance's range is that of its prior."""
        named = list(self.theta_parameters)
        if self._quantiles is not None:
            r = self._quantiles[1]
            named.append(replace(_OWN_DISTANCE, low=float(r[0]), high=float(r[-1])))
        return (*named, *self.sigma_parameters)

    def axes(self) -> tuple[str, ...]:
        """Names of the cube's axes."""
        return tuple(p.name for p in self.parameters())


def _host_parameters(model: Model, job: Job) -> tuple[Parameter, ...]:
    has_its_own = any(p.name == HOST_AV.name for p in model.parameters)
    if job.host_dust == "own" or has_its_own or model.distance == "none":
        return ()
    return (HOST_AV,) if job.host_dust == "av" else (HOST_AV, HOST_RV)


def _sigma_names(data: Data, job: Job) -> tuple[str, ...]:
    if job.systematics == "common":
        return (SIGMA_SYS.name,)
    return tuple(f"{SIGMA_SYS.name} {name}" for name in data.bands.names)


def _lies_at_the_event(model: Model, job: Job) -> bool:
    return model.distance == "event" or (model.distance == "own" and job.redshift is not None)


def _distance_quantiles(model: Model, job: Job) -> tuple[Array, Array] | None:
    if model.distance == "none":
        return None
    if _lies_at_the_event(model, job):
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
    mags: np.ndarray, mag: np.ndarray, err: np.ndarray, sigma_sys: np.ndarray, which: np.ndarray
) -> np.ndarray:
    """(n,); ``sigma_sys`` is (n, k), ``which`` (m,) tells the column of each point."""
    n, m = mags.shape
    out = np.empty(n)
    half_log_2pi = 0.5 * math.log(2.0 * math.pi)
    for i in numba.prange(n):
        total = 0.0
        for j in range(m):
            sys2 = sigma_sys[i, which[j]] ** 2
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
