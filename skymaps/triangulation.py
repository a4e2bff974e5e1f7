"""From arrival times of a neutrino burst at several detectors to a map of the sky.

The model. Detector i at r_i (metres, GCRS at the event) sees the front of a burst from the
unit direction n at t_i = t0 - r_i . n / c + b_i + noise of variance s_i^2. The arrival time
t0 at the geocentre has a flat prior and is integrated out in closed form, as is an unknown
distance, which moves the biases b_i of all detectors together. What is left is, for given
clocks, the exponential of a polynomial of second degree in n (a Fisher-Bingham distribution,
Mardia & Jupp 2000, section 9.3.4): its cost does not depend on the number of detectors.

All pairs of detectors enter with their covariance, which is what the common t0 means. Sums
over pairs as if they were independent count N (N - 1) / 2 differences where N - 1 are, and
give areas up to two times too small.

Wrong clocks. Each detector's clock is off with a small prior probability, in which case its
time says nothing (a flat density, :attr:`BadClocks.density_hz`). The map is the sum over the
ways in which at most two clocks are off, weighted by what the data say of each.

Directions are ICRS; the 20 arcsec of the Earth's aberration (4 us of delay) are neglected,
as is UT1 - UTC (below 0.9 s: 1.4 us).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from skymaps.arrival_model import Hypotheses, Times, p_value, weigh_clocks
from skymaps.build import build_map
from skymaps.burst_tiles import Terms, tile_sphere
from skymaps.circle import concentration
from skymaps.detectors import Detector, Timing
from skymaps.earth import LIGHT_M_S, gcrs_position_m
from skymaps.healpix import pixel_center, to_xyz
from skymaps.skymap import FloatArray, IntArray, SkyMap, SkyMapError

__all__ = [
    "INCONSISTENT_P",
    "Arrival",
    "BadClocks",
    "Pointing",
    "Triangulation",
    "relative_seconds",
    "triangulate",
]

INCONSISTENT_P = 1e-3
"""Times that fit worse than this are said to contradict each other."""
CULPRIT_P = 0.51
"""A clock is named when it is more likely wrong than right; of two alike, neither is."""
_DISAGREE = 13.8
"""Chi-square that two degrees of freedom exceed once in a thousand."""
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


@dataclass(frozen=True)
class Arrival:
    """The time of the burst at one detector.

    Make it from a row of the table with :meth:`of` or give the numbers.
    """

    detector: str
    lon_deg: float
    lat_deg: float
    height_m: float
    time_s: float
    """Seconds after a common epoch (any); see :func:`relative_seconds`."""
    sigma_s: float
    """Standard deviation of the time; positive."""
    bias_s: float = 0.0
    """How late the detector is on average (first-event bias)."""
    bias_per_ln_distance_s: float = 0.0
    """How much later per unit of the logarithm of the distance."""

    @classmethod
    def of(cls, detector: Detector, time_s: float, timing: Timing | None = None) -> Arrival:
        """At a detector of the table; without ``timing``, of a first event at 10 kpc."""
        timing = detector.timing() if timing is None else timing
        return cls(
            detector=detector.name,
            lon_deg=detector.lon_deg,
            lat_deg=detector.lat_deg,
            height_m=detector.height_m,
            time_s=time_s,
            sigma_s=timing.sigma_s,
            bias_s=timing.bias_s,
            bias_per_ln_distance_s=timing.bias_per_ln_distance_s,
        )


@dataclass(frozen=True)
class BadClocks:
    """What is believed about wrong clocks before the burst."""

    probability: float = 0.05
    """That the time of any one detector is wrong."""
    density_hz: float = 5.0
    """Density of a wrong time per second, without end. Times further off than light takes
    through the Earth (43 ms) betray themselves whatever it is; with others it weighs how often
    regions hold the source when all clocks are right against when one is wrong
    (``docs/neutrinos.md``)."""
    at_most: int = 2
    """How many may be wrong at once; 0: all clocks are trusted."""


@dataclass(frozen=True)
class Pointing:
    """A direction from one detector alone (Super-K's or DUNE's electron scattering).

    A von Mises-Fisher distribution whose circle of radius ``radius_deg`` holds the
    probability ``containment``.
    """

    ra_deg: float
    dec_deg: float
    radius_deg: float
    containment: float = 0.68
    source: str = ""


@dataclass(frozen=True, eq=False)
class Triangulation:
    """A map and what to think of it."""

    skymap: SkyMap
    detectors: tuple[str, ...]
    """Whose times went in, earliest first."""
    p_value: float
    """Probability of times that fit as badly as these, were all clocks right: small values
    mean that no direction explains the times. 1 where nothing can be tested."""
    is_consistent: bool
    """``p_value`` above 0.001."""
    bad_clock_probability: Mapping[str, float]
    """Posterior probability that a detector's time is wrong, by detector."""
    culprit: str | None
    """The detector whose time is more likely wrong than right, when there is just one."""
    notes: tuple[str, ...]
    """What a reader of the map must know (a ring, no ring at all, contradicting times)."""


def triangulate(
    arrivals: Sequence[Arrival],
    mjd_utc: float,
    *,
    pointings: Sequence[Pointing] = (),
    galactic_prior: bool = True,
    bad_clocks: BadClocks = BadClocks(),
    ln_distance_sigma: float = 0.5,
) -> Triangulation:
    """Map of the direction of a burst.

    Parameters
    ----------
    arrivals
        One for each detector, in any order. One gives the prior (and pointings) alone.
    mjd_utc
        Time of the burst: how the Earth stands.
    galactic_prior
        Weigh directions as :func:`skymaps.galaxy.log_sky_density`; else uniformly.
    ln_distance_sigma
        Uncertainty of the distance for which the biases were computed.

    Raises
    ------
    SkyMapError
        No arrival; an error that is not positive; a time, site or pointing that is none; a
        detector given twice.
    """
    times = sorted(arrivals, key=lambda arrival: (arrival.time_s, arrival.detector))
    _check(times, mjd_utc, bad_clocks, ln_distance_sigma)
    likelihood = _times(times, mjd_utc, ln_distance_sigma)
    found = weigh_clocks(
        likelihood, bad_clocks.probability, bad_clocks.density_hz, bad_clocks.at_most
    )
    terms = _terms(found, pointings)
    order, ipix, density, shares = tile_sphere(terms, galactic_prior)
    names = tuple(arrival.detector for arrival in times)
    chance = p_value(found, len(names))
    wrong = dict(zip(names, map(float, shares @ found.wrong), strict=True))
    likely = [name for name, probability in wrong.items() if probability > CULPRIT_P]
    best = _centre_of_densest(order, ipix, density)
    header = {
        "CREATOR": "skymaps",
        "INSTRUME": ",".join(names)[:60],
        "MJD-OBS": float(mjd_utc),
    }
    return Triangulation(
        skymap=build_map(order, ipix, density / _integral(order, density), header=header),
        detectors=names,
        p_value=chance,
        is_consistent=chance > INCONSISTENT_P,
        bad_clock_probability=MappingProxyType(wrong),
        culprit=likely[0] if len(likely) == 1 else None,
        notes=tuple(_notes(found, chance, likely, pointings, best)),
    )


def _check(
    arrivals: Sequence[Arrival], mjd_utc: float, clocks: BadClocks, ln_distance_sigma: float
) -> None:
    if not arrivals:
        raise SkyMapError("triangulation: no arrival times")
    if not math.isfinite(mjd_utc):
        raise SkyMapError(f"triangulation: the time of the burst is {mjd_utc}")
    if len({arrival.detector for arrival in arrivals}) < len(arrivals):
        raise SkyMapError("triangulation: a detector is given more than once")
    for arrival in arrivals:
        place = (arrival.lon_deg, arrival.lat_deg, arrival.height_m)
        if not all(map(math.isfinite, place)) or abs(arrival.lat_deg) > 90.0:
            raise SkyMapError(f"{arrival.detector}: not a place on Earth: {place}")
        shift = (arrival.time_s, arrival.bias_s, arrival.bias_per_ln_distance_s)
        if not all(map(math.isfinite, shift)):
            raise SkyMapError(f"{arrival.detector}: not a time: {shift}")
        if not 0.0 < arrival.sigma_s < math.inf:
            raise SkyMapError(
                f"{arrival.detector}: the error of its time is {arrival.sigma_s} s, not positive"
            )
    if not (0.0 <= clocks.probability < 1.0 and 0.0 < clocks.density_hz < math.inf):
        raise SkyMapError(f"triangulation: {clocks}")
    if not 0.0 <= ln_distance_sigma < math.inf:
        raise SkyMapError(f"triangulation: error of ln distance {ln_distance_sigma}")


def _times(arrivals: Sequence[Arrival], mjd_utc: float, ln_distance_sigma: float) -> Times:
    position = gcrs_position_m(
        [arrival.lon_deg for arrival in arrivals],
        [arrival.lat_deg for arrival in arrivals],
        [arrival.height_m for arrival in arrivals],
        mjd_utc,
    )
    first = arrivals[0].time_s
    return Times(
        delay_s=np.array([(a.time_s - first) - a.bias_s for a in arrivals]),
        light_s=position / LIGHT_M_S,
        sigma_s=np.array([a.sigma_s for a in arrivals]),
        drift_s=np.array([a.bias_per_ln_distance_s for a in arrivals]),
        ln_distance_sigma=ln_distance_sigma,
    )


def _terms(found: Hypotheses, pointings: Sequence[Pointing]) -> Terms:
    """The polynomials, with those of the pointings added: ln of a vMF is linear in n."""
    slope = -found.linear
    level = found.log_weight - 0.5 * found.constant
    for pointing in pointings:
        kappa, centre = _von_mises_fisher(pointing)
        slope = slope + kappa * centre
        level = level - kappa
    return Terms(level, np.ascontiguousarray(slope), np.ascontiguousarray(found.quadratic))


def _von_mises_fisher(pointing: Pointing) -> tuple[float, FloatArray]:
    if not math.isfinite(pointing.ra_deg) or not abs(pointing.dec_deg) <= 90.0:
        raise SkyMapError(f"{pointing.source or 'pointing'}: not a position")
    kappa = concentration(pointing.radius_deg, pointing.containment)
    return kappa, to_xyz(pointing.ra_deg, pointing.dec_deg)


def _integral(order: IntArray, density: FloatArray) -> float:
    return float(np.sum(density * np.exp2(-2.0 * order))) * np.pi / 3.0


def _centre_of_densest(order: IntArray, ipix: IntArray, density: FloatArray) -> FloatArray:
    i = int(np.argmax(density))
    return to_xyz(*pixel_center(order[i : i + 1], ipix[i : i + 1]))[0]


def _notes(
    found: Hypotheses,
    chance: float,
    likely: Sequence[str],
    pointings: Sequence[Pointing],
    best: FloatArray,
) -> Iterator[str]:
    """What the numbers of the likelihood mean for the reader."""
    n_detectors = found.wrong.shape[1]
    shape = found.quadratic[0]
    # Times vary by this many standard deviations over the sphere, along three axes.
    reach = 2.0 * np.sqrt(np.maximum(np.linalg.eigvalsh(shape), 0.0))
    dimensions = int(np.count_nonzero(reach > 1.0))
    if n_detectors == 1:
        yield "one detector: its time says nothing about the direction"
    elif dimensions == 0:
        yield "the detectors stand too close for their errors: times say nothing"
    elif dimensions == 1:
        yield "a ring: times differ along one line only"
    elif dimensions == 2:
        yield "two mirrored regions: the detectors lie in one plane"
    if chance <= INCONSISTENT_P:
        yield (
            f"no direction explains the times (p = {chance:.2g}): a clock is wrong, or they "
            "are not of one burst"
        )
        if not likely:
            yield "which clock is wrong cannot be told: the map allows for each"
    for name in likely:
        yield f"the time of {name} is more likely wrong than right"
    for pointing in pointings:
        kappa, centre = _von_mises_fisher(pointing)
        times = found.constant[0] + 2.0 * found.linear[0] @ best + best @ shape @ best
        excess = float(times - found.least_chi2()[0])
        if n_detectors > 1 and excess + 2.0 * kappa * (1.0 - float(centre @ best)) > _DISAGREE:
            yield f"the times and the direction from {pointing.source or 'one detector'} disagree"


def relative_seconds(
    times: Sequence[int | float | np.datetime64] | npt.NDArray[np.generic],
    unit: Literal["s", "ms", "us", "ns"] = "s",
) -> FloatArray:
    """Times in s, ms, us or ns (or ``datetime64``, whatever the unit) as seconds after the first.

    Whole numbers and dates are subtracted before they are rounded, so that nanoseconds of an
    epoch are kept.

    Raises
    ------
    SkyMapError
        An unknown unit; no times; not numbers.
    """
    if unit not in _PER_SECOND:
        raise SkyMapError(f"times: unknown unit {unit!r}")
    values = np.asarray(times)
    scale = _PER_SECOND[unit]
    if values.dtype.kind == "M" and not np.isnat(values).any():
        values, scale = values.astype("datetime64[ns]").astype(np.int64), _PER_SECOND["ns"]
    if values.ndim != 1 or not len(values) or values.dtype.kind not in "iuf":
        raise SkyMapError(f"times: {values.dtype} of shape {values.shape}")
    if values.dtype.kind == "u":
        values = values.astype(np.int64)
    return np.asarray((values - values[0]) / scale, np.float64)
