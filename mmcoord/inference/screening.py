"""The quick look: P(class) of a candidate in well under a millisecond, from a bank of curves.

The bank (:mod:`mmcoord.inference.bank`) holds light curves drawn once from the priors of the
kilonova models and of every contaminant, relative to the event's time. For a candidate, each
curve's likelihood is marginalised over its brightness in closed form (kilonovae: Normal in
distance modulus, from the map's distance; contaminants: flat in apparent magnitude, or, where
the host's redshift is known, at the host's distance as well), averaged over each class, weighed
with the class priors, and mapped to odds that come true (:mod:`mmcoord.inference.calibration`).

It is coarse on purpose and says so: curves are drawn, not fitted; 0.25 mag is added to every
error for the spacing of the bank; a misfit is shared by all points of a light curve, so no more
than 15 points' worth of information is used. What survives gets a run of the engine.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmcoord.bands import canonical, is_modelled
from mmcoord.errors import BadPhotometry
from mmcoord.inference import bank, bank_curves
from mmcoord.inference.calibration import installed
from mmcoord.inference.classes import BASE_RATE, CLASSES, Verdict, class_priors, verdict_of
from mmcoord.inference.job import DistancePrior, detected_before
from mmcoord.inference.passbands import passbands
from mmcoord.inference.screen_kernels import (
    add_detection,
    add_limit,
    log_mean_exp,
    marginalise_flat,
    marginalise_normal,
)
from mmcoord.records import Photometry

__all__ = [
    "Fitted",
    "ScreenRequest",
    "ScreenResult",
    "fit_bank",
    "log_bayes_factor",
    "screen",
    "screen_many",
]

Array = npt.NDArray[np.float64]
Array32 = npt.NDArray[np.float32]

_LN_T = np.log(bank_curves.T_DAY)
_BANK_SIGMA_MAG = 0.25
_MAX_INFORMATION = 15.0
_APPARENT_RANGE_MAG = 13.0
_UNKNOWN_DISTANCE = (720.0, 0.72)
"""Mpc and deviation of the modulus for sources uniform in volume to 1 Gpc."""
_LEAST_RELATIVE_ERROR = 0.02
_NEGLIGIBLE = 40.0
_OTHERS = slice(0, bank_curves.N_OTHERS)
_EDGES = np.append(bank_curves.EDGES, bank_curves.N_OTHERS + bank_curves.N_KILONOVAE)
_KILONOVAE = slice(bank_curves.N_OTHERS, bank_curves.N_OTHERS + bank_curves.N_KILONOVAE)
_EBV_NODES = (0.05, 0.5, 1.0, 2.0)
_DUST_ERROR = 0.16
"""Relative error of a Milky Way E(B-V) (Schlegel, Finkbeiner & Davis 1998)."""


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
    redshift: float | None = None
    """Of the host; it stands in place of the map's distance."""
    redshift_err: float | None = None


@dataclass(frozen=True, slots=True)
class ScreenResult:
    """What the quick look says."""

    p_kilonova: float
    reason: str
    verdict: Verdict = "undecided"
    probabilities: tuple[float, ...] = ()
    """P(class) in the order of ``CLASSES``."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Every curve of the bank against one candidate; contaminants first, then kilonovae."""

    log_l: npt.NDArray[np.float32]
    """(n_curves,) log likelihood, marginalised over the shift."""
    shift: npt.NDArray[np.float32]
    """(n_curves,) best magnitudes to add to the curve, given the data."""
    spread_at_distance: float
    """Deviation of the shift where the distance is known: of kilonovae, say."""
    spread_free: float
    """The same where any brightness is possible."""
    is_at_host: bool
    """Whether supernovae lie at the distance too."""
    node: int
    """Which of the bank's distances the kilonovae are from."""
    n_detections: int
    n_limits: int


def screen(
    request: ScreenRequest, priors: Sequence[tuple[str, float]] = class_priors(BASE_RATE)
) -> ScreenResult:
    """P(class) of one candidate, with the reason in a sentence.

    A source clearly detected before the event gets P(kilonova) = 0; one without a usable
    detection after it gets the prior and stays undecided. Odd points (unknown bands) are left
    out, never an error. ``priors`` are those of :func:`class_priors`.
    """
    prior = np.array([p for _, p in priors])
    early = detected_before(request.photometry, request.t0_mjd_tai)
    if early is not None:
        days = request.t0_mjd_tai - early.obs_mjd_tai
        others = np.concatenate([[0.0], prior[1:] / prior[1:].sum()])
        return ScreenResult(
            0.0,
            f"detected {days:.2f} d before the event ({early.band} {early.mag_ab:.2f})",
            "not favoured",
            tuple(others.tolist()),
        )
    fitted = fit_bank(request)
    if fitted is None:
        return ScreenResult(
            float(prior[0]),
            "no usable detection after the event: prior only",
            "undecided",
            tuple(prior.tolist()),
        )
    p = _probabilities(fitted, prior)
    best = int(p.argmax())
    verdict = verdict_of(float(p[0]))
    return ScreenResult(
        float(p[0]),
        f"{verdict}: {fitted.n_detections} detections, {fitted.n_limits} limits, "
        f"most like {CLASSES[best]} ({p[best]:.2f})",
        verdict,
        tuple(p.tolist()),
    )


def screen_many(
    requests: Iterable[ScreenRequest], priors: Sequence[tuple[str, float]] = class_priors(BASE_RATE)
) -> list[ScreenResult]:
    """Screen candidates one after the other; each answer is that of :func:`screen`."""
    return [screen(request, priors) for request in requests]


def fit_bank(request: ScreenRequest) -> Fitted | None:
    """All curves against a candidate; None without a usable detection after the event."""
    points = _usable(request)
    detections = [p for p in points if p.mag_err is not None]
    if not detections:
        return None
    mean_mpc, deviation = _distance(request)
    at_host = _has_redshift(request)
    node = bank_curves.node_of(mean_mpc)
    n = bank_curves.N_OTHERS + bank_curves.N_KILONOVAE
    sum_wr, sum_wr2, log_l, shift = np.zeros((4, n), dtype=np.float32)
    total_w, log_norm = 0.0, 0.0
    for point in detections:
        assert point.mag_err is not None
        variance = point.mag_err**2 + _BANK_SIGMA_MAG**2 + point.dust_err_mag**2
        for low, high, to in _pieces(point, node):
            add_detection(low, high, point.part, point.mag, 1 / variance, sum_wr[to], sum_wr2[to])
        total_w += 1.0 / variance
        log_norm -= 0.5 * math.log(2.0 * math.pi * variance)
    share = min(1.0, _MAX_INFORMATION / len(detections))
    for to, mean in _distance_shifts(mean_mpc, node, at_host):
        if mean is None:
            marginalise_flat(
                sum_wr[to], sum_wr2[to], total_w, share, _APPARENT_RANGE_MAG, log_l[to], shift[to]
            )
        else:
            marginalise_normal(
                sum_wr[to], sum_wr2[to], total_w, share, mean, deviation, log_l[to], shift[to]
            )
    floor = float(log_l.max()) - _NEGLIGIBLE
    for point in points:
        if point.mag_err is None:
            extra = math.hypot(_BANK_SIGMA_MAG, point.dust_err_mag)
            for low, high, to in _pieces(point, node):
                add_limit(low, high, point.part, point.mag, extra, floor, shift[to], log_l[to])
    log_l += np.float32(share * log_norm)
    w = share * total_w
    return Fitted(
        log_l=log_l,
        shift=shift,
        spread_at_distance=deviation / math.sqrt(1.0 + w * deviation**2),
        spread_free=1.0 / math.sqrt(w),
        is_at_host=at_host,
        node=node,
        n_detections=len(detections),
        n_limits=len(points) - len(detections),
    )


def _pieces(point: _Point, node: int) -> Iterator[tuple[Array32, Array32, slice]]:
    """Magnitudes at the nodes about a point, and which of the candidate's curves they are of:
    the contaminants, then the kilonovae of one distance."""
    mags = bank.band(point.band)
    low, high = mags[point.row], mags[point.row + 1]
    first = bank_curves.N_OTHERS + node * bank_curves.N_KILONOVAE
    for columns, to in (
        (_OTHERS, _OTHERS),
        (slice(first, first + bank_curves.N_KILONOVAE), _KILONOVAE),
    ):
        yield low[columns], high[columns], to


def _distance_shifts(
    mean_mpc: float, node: int, at_host: bool
) -> Iterator[tuple[slice, Array | None]]:
    """Which curves, and the shift (n,) that the distance alone would give them; None: any."""
    modulus = 5.0 * math.log10(mean_mpc * 1e5)
    if at_host:
        for a, b in itertools.pairwise(bank_curves.EDGES):
            own = bank_curves.moduli()[a:b]
            yield slice(a, b), None if math.isnan(own[0]) else modulus - own
    else:
        yield _OTHERS, None
    shift = modulus - 5.0 * math.log10(bank_curves.NODES_MPC[node] * 1e5)
    yield _KILONOVAE, np.full(bank_curves.N_KILONOVAE, shift)


def log_bayes_factor(fitted: Fitted, priors: Sequence[tuple[str, float]]) -> float:
    """ln B of the kilonova against the mixture of contaminants, as the bank has it."""
    return _compared(fitted, np.array([p for _, p in priors]))[0]


def _compared(fitted: Fitted, prior: Array) -> tuple[float, Array]:
    """ln B, and the contaminants' shares of what is not the kilonova."""
    *log_z, log_z_kilonova = log_mean_exp(fitted.log_l, _EDGES)
    log_others = np.array(log_z) + np.log(prior[1:] / prior[1:].sum())
    top = float(log_others.max())
    share = np.exp(log_others - top)
    return float(log_z_kilonova - top - math.log(share.sum())), share / share.sum()


def _probabilities(fitted: Fitted, prior: Array) -> Array:
    log_bayes, others = _compared(fitted, prior)
    log_odds = installed()(log_bayes, fitted.n_detections) + math.log(prior[0] / prior[1:].sum())
    p_kilonova = 1.0 / (1.0 + math.exp(-max(min(log_odds, 700.0), -700.0)))
    return np.concatenate([[p_kilonova], (1.0 - p_kilonova) * others])


@dataclass(frozen=True, slots=True)
class _Point:
    """A point placed in the bank."""

    band: str
    row: int
    part: float
    """How far from ``row`` to the next."""
    mag: float
    """Without the Milky Way's dust."""
    mag_err: float | None
    dust_err_mag: float


def _usable(request: ScreenRequest) -> list[_Point]:
    points = []
    ebv_mw = request.ebv_mw or 0.0
    for point in request.photometry:
        t_day = point.obs_mjd_tai - request.t0_mjd_tai
        if not 0.0 < t_day <= bank_curves.T_DAY[-1]:
            continue
        try:
            band = canonical(point.band)
        except BadPhotometry:
            continue
        if not is_modelled(band):
            continue
        dust = mw_extinction(band, ebv_mw)
        row, part = _place(t_day)
        points.append(
            _Point(band, row, part, point.mag_ab - dust, point.mag_err, _DUST_ERROR * dust)
        )
    return points


def _place(t_day: float) -> tuple[int, float]:
    position = (math.log(max(t_day, bank_curves.T_DAY[0])) - _LN_T[0]) / (_LN_T[1] - _LN_T[0])
    row = min(int(position), len(_LN_T) - 2)
    return row, position - row


def _distance(request: ScreenRequest) -> tuple[float, float]:
    """Mean (Mpc) and deviation of the distance modulus."""
    mean, std = request.distance_mean_mpc, request.distance_std_mpc
    if _has_redshift(request):
        assert request.redshift is not None
        mean, std = _distance_at(request.redshift, request.redshift_err)
    if mean is None or not (math.isfinite(mean) and mean > 0):
        return _UNKNOWN_DISTANCE
    relative = (std or 0.0) / mean
    if not math.isfinite(relative):
        return _UNKNOWN_DISTANCE
    return mean, 5.0 / math.log(10.0) * min(max(relative, _LEAST_RELATIVE_ERROR), 1.0)


def _has_redshift(request: ScreenRequest) -> bool:
    return request.redshift is not None and request.redshift > 0


@functools.lru_cache(maxsize=8192)
def _distance_at(redshift: float, redshift_err: float | None) -> tuple[float, float]:
    prior = DistancePrior.from_redshift(redshift, redshift_err)
    return prior.mean_mpc, prior.std_mpc


@functools.lru_cache(maxsize=8192)
def mw_extinction(band: str, ebv_mw: float) -> float:
    """Milky Way extinction of a flat spectrum in a band, in magnitudes."""
    return ebv_mw * float(np.interp(ebv_mw, _EBV_NODES, _mag_per_ebv(band))) if ebv_mw > 0 else 0.0


@functools.lru_cache(maxsize=256)
def _mag_per_ebv(band: str) -> Array:
    # Not quite constant: the more dust, the redder what is left of the band.
    return np.array([float(passbands((band,), e).mw_mag[0]) / e for e in _EBV_NODES])
