"""Simulated candidates for the quick look: surveys' cadence and depth, light from two worlds.

``own``: the models of the bank with other draws. ``others``: what the bank does not know:
kilonovae of Metzger (2017), Hotokezaka & Nakar (2020) and Nicholl et al. (2021), supernovae
uniform in volume and so mostly at the survey's limit, bare shock cooling, variables that swing,
and Milky Way dust misjudged by 16 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmcoord.inference.classes import CLASSES
from mmcoord.inference.likelihood import hubble_redshift
from mmcoord.inference.models import registry
from mmcoord.inference.models.base import FAINTEST_MAG
from mmcoord.inference.passbands import passbands
from mmcoord.inference.screening import ScreenRequest
from mmcoord.records import Photometry

__all__ = ["Simulated", "population"]

Array = npt.NDArray[np.float64]

T0 = 60000.0
_OWN = {"kilonova": ("villar17_3", "villar17_3", "villar17_2", "villar17_1")}
_OTHERS = {
    "kilonova": ("metzger17", "hotokezaka20", "nicholl21_bns"),
    "sn_iib": ("sn_iib", "shock_cooling"),
    "steady": ("steady", "variable"),
}
_SURVEYS: dict[str, dict[str, float]] = {
    "lsst": {"lsst:g": 25.0, "lsst:r": 24.7, "lsst:i": 24.0, "lsst:z": 23.3},
    "ztf": {"ztf:g": 20.8, "ztf:r": 20.6, "ztf:i": 19.9},
}
_DEPTH_SCATTER_MAG = 0.3
_MOST_POINTS = 6
_PER_CADENCE = 25
_DUST_ERROR = 0.16
_ERR_FLOOR_MAG = 0.02


@dataclass(frozen=True, slots=True)
class Simulated:
    """A candidate and what it truly is."""

    name: str
    """Its class."""
    survey: str
    request: ScreenRequest

    @property
    def n_detections(self) -> int:
        return sum(not p.is_limit for p in self.request.photometry)


def population(world: str, n_each: int, seed: int) -> list[Simulated]:
    """``n_each`` candidates of every class in each survey, all with at least one detection."""
    found = []
    for survey in _SURVEYS:
        for name in CLASSES:
            salt = [seed, CLASSES.index(name), len(survey), len(world)]
            made = _candidates(world, survey, name, np.random.default_rng(salt))
            found += [next(made) for _ in range(n_each)]
    return found


def _candidates(
    world: str, survey: str, name: str, rng: np.random.Generator
) -> Iterator[Simulated]:
    models = (_OTHERS if world == "others" else _OWN).get(name) or (name,)
    while True:
        model_name = models[rng.integers(len(models))]
        t_day, bands = _visits(survey, rng)
        mean_mpc = np.exp(rng.uniform(np.log(40.0), np.log(400.0), _PER_CADENCE))
        std_mpc = mean_mpc * rng.uniform(0.1, 0.3, _PER_CADENCE)
        ebv = rng.exponential(0.05, _PER_CADENCE)
        index = np.array([list(_SURVEYS[survey]).index(b) for b in bands])
        mags = _light(world, survey, model_name, mean_mpc, std_mpc, t_day, index, rng)
        dust = passbands(tuple(_SURVEYS[survey]), 0.1).mw_mag[index] / 0.1
        true_ebv = ebv * (1.0 + _DUST_ERROR * rng.standard_normal(_PER_CADENCE))
        mags = mags + np.maximum(true_ebv, 0.0)[:, None] * dust
        for k in range(_PER_CADENCE):
            points = _observed(survey, mags[k], t_day, bands, rng)
            if any(not p.is_limit for p in points):
                request = ScreenRequest(
                    points, T0, float(mean_mpc[k]), float(std_mpc[k]), float(ebv[k])
                )
                yield Simulated(name, survey, request)


def _visits(survey: str, rng: np.random.Generator) -> tuple[Array, list[str]]:
    """1 to 6 visits: pairs of bands within a night, the next night 1 to 3 days later."""
    n = int(rng.integers(1, _MOST_POINTS + 1))
    names = list(_SURVEYS[survey])
    night = rng.uniform(0.15, 1.5)
    t_day: list[float] = []
    bands: list[str] = []
    while len(t_day) < n:
        pair = rng.choice(len(names), 2, replace=False)
        for k, index in enumerate(pair[: n - len(t_day)]):
            t_day.append(night + 0.03 * k)
            bands.append(names[index])
        night += rng.uniform(0.9, 3.0)
    return np.array(t_day), bands


def _light(
    world: str,
    survey: str,
    model_name: str,
    mean_mpc: Array,
    std_mpc: Array,
    t_day: Array,
    index: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> Array:
    n = len(mean_mpc)
    if model_name == "variable":
        return _variable(n, t_day, index, rng)
    model = registry.load(model_name)
    theta = model.theta(rng.random((n, len(model.parameters))))
    if model.distance == "event":
        distance_mpc = np.maximum(mean_mpc + std_mpc * rng.standard_normal(n), 5.0)
    elif world == "others":
        distance_mpc = 1500.0 * np.cbrt(rng.uniform(1e-4, 1.0, n))
    else:
        distance_mpc = np.exp(rng.uniform(np.log(10.0), np.log(3000.0), n))
    bands = passbands(tuple(_SURVEYS[survey]), 0.0)
    return model.magnitudes(theta, distance_mpc, hubble_redshift(distance_mpc), t_day, index, bands)


def _variable(
    n: int, t_day: Array, index: npt.NDArray[np.int64], rng: np.random.Generator
) -> Array:
    """A sine of 0.3 to 1.2 mag about a mean, colours of stars."""
    colour = np.cumsum(rng.normal(0.2, 0.2, (n, 4)), axis=1)
    mean = rng.uniform(17.0, 24.0, (n, 1)) - colour[:, index]
    period = 10.0 ** rng.uniform(-0.5, 2.0, (n, 1))
    phase = rng.uniform(0.0, 2.0 * np.pi, (n, 1))
    swing = rng.uniform(0.3, 1.2, (n, 1)) * np.sin(2.0 * np.pi * t_day / period + phase)
    return np.asarray(mean + swing)


def _observed(
    survey: str, mags: Array, t_day: Array, bands: list[str], rng: np.random.Generator
) -> tuple[Photometry, ...]:
    """Noise in flux; below 5 sigma a limit."""
    points = []
    for mag, day, band in zip(mags, t_day, bands, strict=True):
        limit = _SURVEYS[survey][band] + _DEPTH_SCATTER_MAG * rng.standard_normal()
        snr = 5.0 * 10.0 ** (0.4 * (limit - min(float(mag), FAINTEST_MAG)))
        seen = snr + rng.standard_normal() * np.hypot(1.0, _ERR_FLOOR_MAG * snr)
        if seen < 5.0:
            points.append(Photometry("sim", T0 + day, band, float(limit), None, True))
            continue
        mag_seen = limit - 2.5 * np.log10(seen / 5.0)
        err = float(np.hypot(1.0857 / seen, _ERR_FLOOR_MAG))
        points.append(Photometry("sim", T0 + day, band, float(mag_seen), err))
    return tuple(points)
