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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from skymaps.skymap import FloatArray, SkyMap

__all__ = ["Arrival", "BadClocks", "Pointing", "Triangulation", "triangulate"]


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


@dataclass(frozen=True)
class BadClocks:
    """What is believed about wrong clocks before the burst."""

    probability: float = 0.02
    """That the time of any one detector is wrong."""
    density_hz: float = 1.0
    """Density of a wrong time per second: 1 / (range over which it may be off)."""
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
        Weigh directions as :func:`skymaps.galaxy.sky_density`; else uniformly.
    ln_distance_sigma
        Uncertainty of the distance for which the biases were computed.

    Raises
    ------
    SkyMapError
        No arrival; an error that is not positive; a time, site or pointing that is none; a
        detector given twice.
    """
    raise NotImplementedError


def relative_seconds(times: Sequence[int | float | np.datetime64], unit: str = "s") -> FloatArray:
    """Times in s, ms, us or ns (or ``datetime64``) as seconds after the first, without loss."""
    raise NotImplementedError
