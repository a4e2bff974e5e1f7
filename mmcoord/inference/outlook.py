"""What a candidate will look like in the coming days, from the screening bank. Pure.

:func:`predictions` has the shape of a run's ``light_curve`` and serves candidates that have no
posterior yet; :func:`class_predictions` tells the classes apart, for whoever weighs what an
observation would teach. Both draw curves of the bank with their weights given the candidate's
photometry, each shifted in brightness by a draw from what the photometry leaves open.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from mmcoord.inference import bank
from mmcoord.inference.bank_curves import (
    EDGES,
    N_KILONOVAE,
    N_OTHERS,
    NODES_MPC,
    T_DAY,
    moduli,
    node_of,
)
from mmcoord.inference.classes import BASE_RATE, CLASSES, class_priors, probabilities_of
from mmcoord.inference.models.base import FAINTEST_MAG
from mmcoord.inference.screening import (
    Fitted,
    ScreenRequest,
    fit_bank,
    mw_extinction,
    screen,
)
from mmcoord.predictions import ClassPredictions

__all__ = ["class_predictions", "predictions", "unseen"]

Array = npt.NDArray[np.float64]
Array32 = npt.NDArray[np.float32]
LightCurve = dict[str, dict[str, list[float | None]]]

_N_DRAWS = 128
_TOO_FAINT_MAG = 40.0
_QUANTILES = {"q05": 0.05, "q50": 0.5, "q95": 0.95}


def predictions(request: ScreenRequest, bands: Sequence[str], mjd_tai: npt.ArrayLike) -> LightCurve:
    """Magnitudes of the candidate if it is a kilonova, without photometric noise.

    Parameters
    ----------
    request : ScreenRequest
    bands : canonical names with a curve
    mjd_tai : (n_times,) increasing; times outside of the bank (0 to 14 d after the event) are
        left out

    Returns
    -------
    Band -> ``mjd_tai``, ``q05``, ``q50``, ``q95`` (AB magnitude; None: fainter than 40), as
    ``RunRow.light_curve``. Empty where nothing can be said: no usable detection, no such time.
    """
    fitted = fit_bank(request)
    if fitted is None:
        return {}
    return _quantiles(request, fitted, bands, mjd_tai)


def unseen(
    t0_mjd_tai: float,
    distance_mpc: float,
    distance_std_mpc: float,
    bands: Sequence[str],
    mjd_tai: npt.ArrayLike,
) -> LightCurve:
    """Magnitudes of an event's kilonova of which nothing has been seen, as :func:`predictions`.

    Every curve of the bank is as likely, and the distance is all that shifts it; times outside of
    the bank are left out.
    """
    node = node_of(distance_mpc)
    shift = 5.0 * math.log10(distance_mpc / NODES_MPC[node])
    relative = min(max(distance_std_mpc / distance_mpc, 0.0), 1.0)
    n = N_OTHERS + N_KILONOVAE
    anything = Fitted(
        log_l=np.zeros(n, np.float32),
        shift=np.full(n, shift, np.float32),
        spread_at_distance=5.0 / math.log(10.0) * relative,
        spread_free=math.inf,
        is_at_host=False,
        node=node,
        n_detections=0,
        n_limits=0,
    )
    return _quantiles(ScreenRequest((), t0_mjd_tai), anything, bands, mjd_tai)


def _quantiles(
    request: ScreenRequest, fitted: Fitted, bands: Sequence[str], mjd_tai: npt.ArrayLike
) -> LightCurve:
    times = _inside(request, mjd_tai)
    if not len(times) or not bands:
        return {}
    mags = _draw(request, fitted, "kilonova", bands, times, _N_DRAWS, np.random.default_rng(0))
    found = np.quantile(mags, list(_QUANTILES.values()), axis=0)
    stated: list[float | None] = [round(float(t), 6) for t in times]
    return {
        band: {
            "mjd_tai": stated,
            **{
                label: [round(float(m), 4) if m < _TOO_FAINT_MAG else None for m in found[q, k]]
                for q, label in enumerate(_QUANTILES)
            },
        }
        for k, band in enumerate(bands)
    }


def class_predictions(
    request: ScreenRequest,
    bands: Sequence[str],
    mjd_tai: npt.ArrayLike,
    *,
    n_draws: int = 64,
    seed: int = 0,
    base_rate: float = BASE_RATE,
    run_summary: Mapping[str, Any] | None = None,
    run_light_curve: Mapping[str, Mapping[str, Sequence[float | None]]] | None = None,
) -> ClassPredictions | None:
    """Per class its probability and draws of its light curve, given the candidate's photometry.

    With a finished run's ``summary`` the probabilities are the run's (classes of which the run
    knows nothing get none); with its ``light_curve`` the kilonova's draws are moved onto its
    quantiles, band by band and time by time, ranks kept. Everything else is the bank's. Times
    outside of the bank (0 to 14 d after the event) are left out.

    None where nothing can be said: no usable detection after the event, or no such time.
    """
    fitted = fit_bank(request)
    times = _inside(request, mjd_tai)
    if fitted is None or not len(times):
        return None
    known = probabilities_of(run_summary or {})
    if known:
        p = np.array([known.get(name, 0.0) for name in CLASSES])
        p = p / p.sum() if p.sum() > 0 else np.full(len(CLASSES), 1.0 / len(CLASSES))
    else:
        p = np.array(screen(request, class_priors(base_rate)).probabilities)
    rng = np.random.default_rng(seed)
    mags = np.stack([_draw(request, fitted, name, bands, times, n_draws, rng) for name in CLASSES])
    for k, band in enumerate(bands):
        curve = (run_light_curve or {}).get(band)
        if curve is not None:
            mags[0, :, k] = _onto(mags[0, :, k], curve, times)
    return ClassPredictions(
        CLASSES, p, tuple(bands), times, mags, "inference" if known else "screen"
    )


def _inside(request: ScreenRequest, mjd_tai: npt.ArrayLike) -> Array:
    times = np.asarray(mjd_tai, dtype=np.float64)
    age = times - request.t0_mjd_tai
    return times[(age > 0.0) & (age <= T_DAY[-1])]


def _draw(
    request: ScreenRequest,
    fitted: Fitted,
    name: str,
    bands: Sequence[str],
    times: Array,
    n_draws: int,
    rng: np.random.Generator,
) -> Array32:
    """(n_draws, n_bands, n_times) of one class."""
    curves, columns, spread = _class(fitted, name)
    log_l = fitted.log_l[curves].astype(np.float64)
    cumulative = np.cumsum(np.exp(log_l - log_l.max()))
    # Systematic: every curve comes as often as its weight says, to within one.
    at = (np.arange(n_draws) + rng.random()) / n_draws * cumulative[-1]
    chosen = np.minimum(np.searchsorted(cumulative, at), len(log_l) - 1)
    shift = fitted.shift[curves][chosen] + spread * rng.standard_normal(n_draws)
    log_t = np.log(np.maximum(times - request.t0_mjd_tai, T_DAY[0]))
    place = (log_t - np.log(T_DAY[0])) / np.log(T_DAY[1] / T_DAY[0])
    row = np.minimum(place.astype(np.int64), len(T_DAY) - 2)
    part = (place - row).astype(np.float32)[:, None]
    out = np.empty((n_draws, len(bands), len(times)), dtype=np.float32)
    for k, band in enumerate(bands):
        mags = bank.band(band)[:, columns.start + chosen]
        dust = mw_extinction(band, request.ebv_mw or 0.0)
        light = mags[row] * (1.0 - part) + mags[row + 1] * part
        seen = light + (shift + dust).astype(np.float32)
        dark = light > FAINTEST_MAG - 1.0
        out[:, k] = np.where(dark, FAINTEST_MAG, np.minimum(seen, FAINTEST_MAG)).T
    return out


def _class(fitted: Fitted, name: str) -> tuple[slice, slice, float]:
    """(its curves in the fit, its columns in the bank, deviation of the shift)."""
    if name == "kilonova":
        first = N_OTHERS + fitted.node * N_KILONOVAE
        curves = slice(N_OTHERS, N_OTHERS + N_KILONOVAE)
        return curves, slice(first, first + N_KILONOVAE), fitted.spread_at_distance
    a, b = list(itertools.pairwise(EDGES))[CLASSES.index(name) - 1]
    at_distance = fitted.is_at_host and np.isfinite(moduli()[a])
    spread = fitted.spread_at_distance if at_distance else fitted.spread_free
    return slice(a, b), slice(a, b), spread


def _onto(mags: Array32, curve: Mapping[str, Sequence[float | None]], times: Array) -> Array32:
    """(n_draws, n_times) with the quantiles of ``curve``, each draw keeping its rank."""
    known = np.array(curve["mjd_tai"], dtype=np.float64)
    low, mid, high = (
        np.interp(times, known, [FAINTEST_MAG if m is None else m for m in curve[label]])
        for label in _QUANTILES
    )
    rank = mags.argsort(axis=0).argsort(axis=0)
    z = ndtri((rank + 0.5) / len(mags)) / 1.6448536269514722
    moved = mid + np.where(z < 0, z * (mid - low), z * (high - mid))
    inside = (times >= known[0]) & (times <= known[-1])
    return np.where(inside, np.minimum(moved, FAINTEST_MAG), mags).astype(np.float32)
