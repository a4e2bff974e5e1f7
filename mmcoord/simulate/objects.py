"""The transients of a practice night: one kilonova and what is mistaken for one.

Supernovae, the afterglow and the kilonova come from the models of the inference engine, so a
practice night tests the way and the ranking, not the models.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from astropy.cosmology import Planck18

from mmcoord.inference.models import registry
from mmcoord.inference.models.base import FAINTEST_MAG, Model
from mmcoord.inference.passbands import passbands
from mmcoord.simulate.survey import BANDS, Visits

__all__ = [
    "KILONOVA_MODEL",
    "MIX",
    "Kind",
    "Light",
    "draw_afterglow",
    "draw_kilonova",
    "population",
    "redshift_of",
]

Array = npt.NDArray[np.float64]

KILONOVA_MODEL = "villar17_2"


class Kind(StrEnum):
    """What an object truly is."""

    AFTERGLOW = "afterglow"
    KILONOVA = "kilonova"
    SINGLE = "single"
    STEADY = "steady"
    SUPERNOVA_IA = "supernova_ia"
    SUPERNOVA_IBC = "supernova_ibc"
    SUPERNOVA_IIB = "supernova_iib"
    VARIABLE = "variable"


MIX: Mapping[Kind, float] = {
    Kind.SINGLE: 0.45,
    Kind.VARIABLE: 0.25,
    Kind.SUPERNOVA_IA: 0.16,
    Kind.STEADY: 0.06,
    Kind.SUPERNOVA_IBC: 0.04,
    Kind.SUPERNOVA_IIB: 0.04,
}
"""Shares of the candidates other than the kilonova and the afterglow."""


@dataclass(frozen=True, slots=True)
class Light:
    """True light curves of ``n`` objects of one kind.

    ``mag`` gives (n, m) AB magnitudes at the ``m`` visits of a group; only the rows asked for
    are computed.
    """

    kind: Kind
    mag: Callable[[npt.NDArray[np.int64], Visits], Array]
    redshift: Array
    """(n,) true redshift; NaN for what is not in a galaxy."""


def population(rng: np.random.Generator, kind: Kind, n: int) -> Light:
    """``n`` objects of a kind other than the kilonova and the afterglow."""
    if kind in _SUPERNOVAE:
        return _supernovae(rng, kind, n)
    colours = np.cumsum(rng.normal([0.0, 0.4, 0.15, 0.1], 0.15, (n, len(BANDS))), axis=1)
    mean = rng.uniform(17.0, 23.0, (n, 1)) - colours + colours[:, 1:2]
    if kind is Kind.SINGLE:
        return _single(rng, n)
    amplitude = rng.uniform(0.3, 1.2, (n, 1)) if kind is Kind.VARIABLE else np.zeros((n, 1))
    period_day = 10.0 ** rng.uniform(-0.5, 2.0, (n, 1))
    phase = rng.uniform(0.0, 2.0 * np.pi, (n, 1))

    def mag(rows: npt.NDArray[np.int64], visits: Visits) -> Array:
        wave = np.sin(2.0 * np.pi * visits.t_day / period_day[rows] + phase[rows])
        result: Array = mean[rows][:, visits.band] + amplitude[rows] * wave
        return result

    return Light(kind, mag, np.full(n, np.nan))


def draw_kilonova(rng: np.random.Generator, distance_mpc: float) -> tuple[Light, dict[str, float]]:
    """One kilonova near the two-component fit of AT2017gfo, and its parameters.

    Centres: Villar et al. (2017, ApJL 851, L21), table 3, two components; ejecta masses
    scatter by 0.15 dex, speeds and opacity by 10 %.
    """
    model = registry.load(KILONOVA_MODEL)
    centre = np.array([0.023, 0.256, 3983.0, 0.050, 0.149, 1151.0, 3.65])
    dex = np.array([0.15, 0.04, 0.04, 0.15, 0.04, 0.04, 0.04])
    theta = centre * 10.0 ** (dex * rng.standard_normal(len(centre)))
    low = np.array([p.low for p in model.parameters])
    high = np.array([p.high for p in model.parameters])
    theta = np.clip(theta, low, high)
    names = [p.name for p in model.parameters]
    light = _modelled(Kind.KILONOVA, model, theta[None], np.array([distance_mpc]))
    return light, dict(zip(names, theta.tolist(), strict=True))


def draw_afterglow(rng: np.random.Generator) -> Light:
    """One afterglow of an unrelated burst a few hours after the event: it fades fast too."""
    model = registry.load("afterglow")
    theta = np.array(
        [[rng.uniform(0.0, 0.25), rng.uniform(20.0, 21.0), 1.1, 1.0, rng.uniform(0.5, 2.0), 0.7]]
    )
    return _modelled(Kind.AFTERGLOW, model, theta, np.array([np.nan]))


_SUPERNOVAE: Mapping[Kind, tuple[str, float, float, float]] = {
    # model, earliest and latest value of its first parameter (peak or explosion, days since
    # the event), largest redshift
    Kind.SUPERNOVA_IA: ("sn_ia", -20.0, 26.0, 0.25),
    Kind.SUPERNOVA_IBC: ("sn_ibc", -25.0, 1.5, 0.12),
    Kind.SUPERNOVA_IIB: ("sn_iib", -25.0, 1.5, 0.12),
}


def _supernovae(rng: np.random.Generator, kind: Kind, n: int) -> Light:
    name, earliest, latest, farthest = _SUPERNOVAE[kind]
    model = registry.load(name)
    theta = model.theta(rng.uniform(size=(n, len(model.parameters))))
    theta[:, 0] = rng.uniform(earliest, latest, n)
    redshift = farthest * rng.uniform(0.001, 1.0, n) ** (1.0 / 3.0)  # uniform in volume
    distance = np.interp(redshift, *_distance_grid())
    return _modelled(kind, model, theta, distance, redshift)


def redshift_of(distance_mpc: Array) -> Array:
    """Cosmological redshift of luminosity distances (Planck 2018), by interpolation."""
    redshift, distance = _distance_grid()
    result: Array = np.interp(distance_mpc, distance, redshift)
    return result


@functools.cache
def _distance_grid() -> tuple[Array, Array]:
    redshift = np.geomspace(1e-4, 0.5, 2000)
    return redshift, np.asarray(Planck18.luminosity_distance(redshift).value)


def _modelled(
    kind: Kind, model: Model, theta: Array, distance_mpc: Array, redshift: Array | None = None
) -> Light:
    if redshift is None:
        redshift = redshift_of(distance_mpc)
    known = np.isfinite(distance_mpc)
    distance = np.where(known, distance_mpc, 1.0)
    z = np.where(known, redshift, 0.0)

    def mag(rows: npt.NDArray[np.int64], visits: Visits) -> Array:
        return model.magnitudes(
            np.ascontiguousarray(theta[rows]),
            np.ascontiguousarray(distance[rows]),
            np.ascontiguousarray(z[rows]),
            visits.t_day,
            visits.band,
            passbands(BANDS),
        )

    return Light(kind, mag, np.where(known, redshift, np.nan))


def _single(rng: np.random.Generator, n: int) -> Light:
    """Asteroids and artefacts: there in one visit and never again."""
    bright = rng.uniform(18.0, 23.0, (n, 1))
    where = rng.uniform(size=(n, 1))

    def mag(rows: npt.NDArray[np.int64], visits: Visits) -> Array:
        visit = (where[rows] * len(visits.t_day)).astype(np.int64)
        here = np.arange(len(visits.t_day)) == visit
        return np.where(here, bright[rows], FAINTEST_MAG)

    return Light(Kind.SINGLE, mag, np.full(n, np.nan))
