"""The quick look: P(kilonova) of a candidate in well under a millisecond, from a bank of curves.

The bank holds light curves drawn once from the priors of the kilonova models and of every
contaminant, relative to the event's time. For a candidate, each curve's likelihood is
marginalised over its brightness in closed form (kilonovae: Normal in distance modulus, from
the map's distance; contaminants: flat in apparent magnitude), averaged over each class, and
weighed with the class priors of a job.

It is coarse on purpose and says so: curves are drawn, not fitted; 0.25 mag is added to every
error for the spacing of the bank; a misfit is shared by all points of a light curve, so no more
than 15 points' worth of information is used; redshift acts on the brightness only (the curves
are those at 100 Mpc). What survives gets a run of the engine.
"""

from __future__ import annotations

import functools
import itertools
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from mmcoord.bands import canonical, is_modelled
from mmcoord.errors import BadPhotometry
from mmcoord.inference.job import DEFAULT_CLASS_PRIORS, detected_before
from mmcoord.inference.likelihood import LIMIT_SIGMA_MAG, hubble_redshift
from mmcoord.inference.models import registry
from mmcoord.inference.passbands import passbands
from mmcoord.records import Photometry

__all__ = ["ScreenRequest", "ScreenResult", "screen", "screen_many"]

_T_DAY = np.geomspace(0.05, 14.0, 44)
_LN_T = np.log(_T_DAY)
_REFERENCE_MPC = 100.0
_BANK_SIGMA_MAG = 0.25
_MAX_INFORMATION = 15.0
_APPARENT_RANGE_MAG = 13.0
_UNKNOWN_DISTANCE = (4.28, 0.72)
"""Mean and deviation of the modulus beyond 100 Mpc for sources uniform in volume to 1 Gpc."""
_CLASSES: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = (
    ("kilonova", (("villar17_3", 2048), ("villar17_2", 1024), ("villar17_1", 1024))),
    ("sn_ia", (("sn_ia", 2048),)),
    ("sn_ibc", (("sn_ibc", 2048),)),
    ("sn_iib", (("sn_iib", 2048),)),
    ("afterglow", (("afterglow", 2048),)),
    ("fast_blackbody", (("fast_blackbody", 2048),)),
    ("steady", (("steady", 2048),)),
)
_SIZES = np.array([sum(n for _, n in models) for _, models in _CLASSES])
_EDGES = np.concatenate([[0], np.cumsum(_SIZES)])
_N_KILONOVAE = int(_SIZES[0])
_LOG_PRIOR = np.log([dict(DEFAULT_CLASS_PRIORS)[name] for name, _ in _CLASSES])

Array32 = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScreenRequest:
    """A candidate to look at."""

    photometry: tuple[Photometry, ...]
    t0_mjd_tai: float
    distance_mean_mpc: float | None = None
    """Of the event along the line of sight; None: not known."""
    distance_std_mpc: float | None = None
    ebv_mw: float | None = None
    """Milky Way E(B-V) still in the photometry."""


@dataclass(frozen=True, slots=True)
class ScreenResult:
    """What the quick look says."""

    p_kilonova: float
    reason: str


def screen(
    photometry: Sequence[Photometry],
    t0_mjd_tai: float,
    distance_mean_mpc: float | None,
    distance_std_mpc: float | None,
    ebv_mw: float | None = None,
) -> ScreenResult:
    """P(kilonova) of one candidate, with the reason in a sentence.

    A source clearly detected before the event gets 0; one without a usable detection after it
    gets the prior. Odd points (unknown bands) are left out, never an error.
    """
    early = detected_before(photometry, t0_mjd_tai)
    if early is not None:
        days = t0_mjd_tai - early.obs_mjd_tai
        return ScreenResult(
            0.0, f"detected {days:.2f} d before the event ({early.band} {early.mag_ab:.2f})"
        )
    points = _usable(photometry, t0_mjd_tai)
    n_detections = sum(p.mag_err is not None for _, _, p in points)
    if n_detections == 0:
        return ScreenResult(
            math.exp(_LOG_PRIOR[0]), "no usable detection after the event: prior only"
        )
    modulus = _modulus(distance_mean_mpc, distance_std_mpc)
    log_l = _bank_log_likelihood(points, modulus, ebv_mw or 0.0)
    log_z = np.array([_log_mean_exp(log_l[a:b]) for a, b in itertools.pairwise(_EDGES)])
    log_p = log_z + _LOG_PRIOR
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    best = int(p.argmax())
    return ScreenResult(
        float(p[0]),
        f"{n_detections} detections, {len(points) - n_detections} limits: "
        f"most like {_CLASSES[best][0]} ({p[best]:.2f})",
    )


def screen_many(objects: Iterable[ScreenRequest]) -> list[ScreenResult]:
    """Screen candidates one after the other; each answer is that of :func:`screen`."""
    return [
        screen(o.photometry, o.t0_mjd_tai, o.distance_mean_mpc, o.distance_std_mpc, o.ebv_mw)
        for o in objects
    ]


def _usable(
    photometry: Sequence[Photometry], t0_mjd_tai: float
) -> list[tuple[float, str, Photometry]]:
    points = []
    for point in photometry:
        t_day = point.obs_mjd_tai - t0_mjd_tai
        if not 0.0 < t_day <= _T_DAY[-1]:
            continue
        try:
            band = canonical(point.band)
        except BadPhotometry:
            continue
        if is_modelled(band):
            points.append((t_day, band, point))
    return points


def _modulus(mean_mpc: float | None, std_mpc: float | None) -> tuple[float, float]:
    """Mean and deviation of the distance modulus relative to the bank's distance."""
    if mean_mpc is None or not (math.isfinite(mean_mpc) and mean_mpc > 0):
        return _UNKNOWN_DISTANCE
    relative = (std_mpc or 0.0) / mean_mpc
    if not math.isfinite(relative):
        return _UNKNOWN_DISTANCE
    width = 5.0 / math.log(10.0) * min(max(relative, 0.02), 1.0)
    return 5.0 * math.log10(mean_mpc / _REFERENCE_MPC), width


def _bank_log_likelihood(
    points: list[tuple[float, str, Photometry]], modulus: tuple[float, float], ebv_mw: float
) -> Array:
    """(n_curves,) log likelihood of every curve, marginalised over its brightness."""
    size = int(_EDGES[-1])
    sum_wr = np.zeros(size, dtype=np.float32)
    sum_wr2 = np.zeros(size, dtype=np.float32)
    total_w, log_norm, n_detections = 0.0, 0.0, 0
    for t_day, band, point in points:
        if point.mag_err is None:
            continue
        variance = point.mag_err**2 + _BANK_SIGMA_MAG**2
        low, high, part = _rows(band, t_day)
        mag = point.mag_ab - _extinction(band, ebv_mw)
        _add_detection(low, high, part, mag, 1.0 / variance, sum_wr, sum_wr2)
        total_w += 1.0 / variance
        log_norm -= 0.5 * math.log(2.0 * math.pi * variance)
        n_detections += 1
    share = min(1.0, _MAX_INFORMATION / n_detections)
    mean, deviation = modulus
    log_l, offset = _marginalise(
        sum_wr, sum_wr2, total_w, share, mean, deviation, _N_KILONOVAE, _APPARENT_RANGE_MAG
    )
    best = log_l.max()
    for t_day, band, point in points:
        if point.mag_err is None:
            low, high, part = _rows(band, t_day)
            mag = point.mag_ab - _extinction(band, ebv_mw)
            _add_limit(low, high, part, mag, best - 40.0, offset, log_l)
    return np.asarray(log_l + share * log_norm)


def _rows(band: str, t_day: float) -> tuple[Array32, Array32, float]:
    bank = _bank(band)
    position = (math.log(max(t_day, _T_DAY[0])) - _LN_T[0]) / (_LN_T[1] - _LN_T[0])
    k = min(int(position), len(_T_DAY) - 2)
    return bank[k], bank[k + 1], position - k


@functools.lru_cache(maxsize=64)
def _bank(band: str) -> Array32:
    """(n_times, n_curves) magnitudes in one band; the same draws for every band."""
    out = np.empty((len(_T_DAY), int(_EDGES[-1])), dtype=np.float32)
    column = 0
    band_index = np.zeros(len(_T_DAY), dtype=np.int64)
    bands = passbands((band,), 0.0)
    for _, models in _CLASSES:
        for name, n in models:
            model = registry.load(name)
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            theta = model.theta(rng.random((n, len(model.parameters))))
            distance_mpc = np.full(n, _REFERENCE_MPC)
            if model.distance == "own":
                # Contaminants are further away on average, which reddens them.
                distance_mpc = np.exp(rng.uniform(np.log(30.0), np.log(1500.0), n))
            mags = model.magnitudes(
                theta, distance_mpc, hubble_redshift(distance_mpc), _T_DAY, band_index, bands
            )
            out[:, column : column + n] = mags.T
            column += n
    return out


@functools.lru_cache(maxsize=4096)
def _extinction(band: str, ebv_mw: float) -> float:
    return float(passbands((band,), round(ebv_mw, 3)).mw_mag[0]) if ebv_mw > 0 else 0.0


def _log_mean_exp(values: Array) -> float:
    top = float(values.max())
    return top + math.log(float(np.exp(values - top).mean()))


@numba.njit(cache=True, fastmath=True)
def _add_detection(
    low: np.ndarray,
    high: np.ndarray,
    part: float,
    mag: float,
    weight: float,
    sum_wr: np.ndarray,
    sum_wr2: np.ndarray,
) -> None:
    f, w, m = np.float32(part), np.float32(weight), np.float32(mag)
    for i in range(len(low)):
        r = m - (low[i] + f * (high[i] - low[i]))
        sum_wr[i] += w * r
        sum_wr2[i] += w * r * r


@numba.njit(cache=True)
def _marginalise(
    sum_wr: np.ndarray,
    sum_wr2: np.ndarray,
    total_w: float,
    share: float,
    mean: float,
    deviation: float,
    n_kilonovae: int,
    apparent_range: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Log likelihood and best brightness offset of each curve; ``share`` tempers the data."""
    n = len(sum_wr)
    log_l = np.empty(n)
    offset = np.empty(n)
    w = share * total_w
    for i in range(n):
        peak = sum_wr[i] / total_w
        chi2 = share * max(sum_wr2[i] - total_w * peak * peak, 0.0)
        if i < n_kilonovae:
            spread = 1.0 + w * deviation * deviation
            offset[i] = (mean + w * deviation * deviation * peak) / spread
            miss = (peak - mean) ** 2 * w / spread
            log_l[i] = -0.5 * (chi2 + miss + math.log(spread))
        else:
            offset[i] = peak
            log_l[i] = -0.5 * (chi2 - math.log(2.0 * math.pi / w)) - math.log(apparent_range)
    return log_l, offset


@numba.njit(cache=True)
def _add_limit(
    low: np.ndarray,
    high: np.ndarray,
    part: float,
    limit: float,
    floor: float,
    offset: np.ndarray,
    log_l: np.ndarray,
) -> None:
    sigma = math.sqrt(LIMIT_SIGMA_MAG**2 + _BANK_SIGMA_MAG**2)
    for i in range(len(log_l)):
        if log_l[i] < floor:
            continue
        z = (low[i] + part * (high[i] - low[i]) + offset[i] - limit) / sigma
        if z < -6.0:
            log_l[i] += -0.5 * z * z - 2.7
        elif z < 6.0:
            log_l[i] += math.log(0.5 * math.erfc(-z / math.sqrt(2.0)))
