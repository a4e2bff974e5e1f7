"""Kilonovae of neutron-star binaries from their masses (Nicholl et al. 2021, MNRAS 505, 3016).

The masses, which the gravitational waves tell, set the ejecta: dynamical ejecta after Dietrich &
Ujevic (2017, CQGra 34, 105014), their shocked, blue part after Sekiguchi et al. (2016), the disk
after Coughlin et al. (2019, MNRAS 489, L91), opacities after Tanaka et al. (2020, MNRAS 496,
1369). Three components shine: blue in two polar cones, red outside, purple (the disk's wind) in
the cones. The viewing angle acts as in :mod:`mmcoord.inference.models.viewing`.

What differs from the paper's program: the stars' radius is a parameter (both stars have it)
instead of the tidal deformability with quasi-universal relations; the two fits carry free errors;
the collapse mass and the visible areas are those of the papers cited, where the program has slips
(see :func:`collapse_mass` and :func:`mmcoord.inference.models.viewing.polar_area`); a star
heavier than the largest mass of a star gives no light.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmcoord.inference.models.base import Array, Model, Parameter
from mmcoord.inference.models.cocoon import cocoon_flux
from mmcoord.inference.models.components import (
    KAPPA_GAMMA_TRAPPED,
    NOTHING_MORE,
    component_magnitudes,
)
from mmcoord.inference.models.viewing import aspects
from mmcoord.inference.passbands import Passbands

__all__ = ["BNS", "BNS_COCOON", "BnsEjecta", "bns_ejecta", "collapse_mass", "component_masses"]

KAPPA_BLUE, KAPPA_RED = 0.5, 10.0
"""cm^2/g."""
GM_SUN_KM = 1.4766250385
"""G Msun/c^2 in km."""
_COS_OPEN = 0.7071067811865476
_SHOCKED_FRACTION, _SHOCK_S = 0.2, 1.7


@dataclass(frozen=True)
class BnsEjecta:
    """What n mergers throw out: masses in Msun, speeds in c, opacity in cm^2/g; each (n,)."""

    mass_blue: Array
    mass_red: Array
    mass_purple: Array
    mass_dynamical: Array
    """Of the fit, before winds add to the blue part."""
    speed_blue: Array
    speed_red: Array
    speed_purple: Array
    kappa_purple: Array


def component_masses(chirp_mass: Array, mass_ratio: Array) -> tuple[Array, Array]:
    """(heavier, lighter) in the unit of the chirp mass; ``mass_ratio`` is lighter/heavier."""
    heavier = chirp_mass * mass_ratio**-0.6 * (1.0 + mass_ratio) ** 0.2
    return heavier, heavier * mass_ratio


def bns_ejecta(
    chirp_mass: Array,
    mass_ratio: Array,
    radius_km: Array,
    tov_mass: Array,
    disk_fraction: Array,
    alpha: Array,
    cos_open: float = _COS_OPEN,
    length_km: float = GM_SUN_KM,
) -> BnsEjecta:
    """Ejecta of a binary.

    Parameters
    ----------
    chirp_mass, tov_mass : (n,)
        Msun, in the source's frame; the largest mass of a star that does not rotate.
    mass_ratio : (n,) in (0, 1]
        Lighter over heavier.
    radius_km : (n,)
        Of either star.
    disk_fraction : (n,)
        Part of the disk that is expelled.
    alpha : (n,) in (0, 1]
        Part of the blue ejecta that is dynamical, the rest being a wind of the remnant; without
        effect when the remnant collapses at once.
    cos_open : float
        Of the polar cones.
    length_km : float
        G Msun/c^2 in the collapse mass, see :func:`collapse_mass`.
    """
    m1, m2 = component_masses(chirp_mass, mass_ratio)
    c1, c2 = (GM_SUN_KM * m / radius_km for m in (m1, m2))
    dynamical = _dynamical_mass(m1, m2, c1, c2)
    ratio = m1 / m2
    red = np.minimum(14.8609 * ratio**2 - 28.6148 * ratio + 13.9597, 1.0)
    speed_blue, speed_red = _dynamical_speeds(ratio, c1, c2, cos_open)
    total = m1 + m2
    threshold = collapse_mass(tov_mass, radius_km, length_km)
    blue = dynamical * (1.0 - red)
    log_disk = -31.335 * (1.0 - 0.9760 * np.tanh((1.0474 - total / threshold) / 0.05957))
    electrons, speed_purple = _disk_wind(total, tov_mass, threshold)
    return BnsEjecta(
        mass_blue=np.where(total < threshold, blue / alpha, blue),
        mass_red=dynamical * red,
        mass_purple=disk_fraction * 10.0 ** np.maximum(log_disk, -3.0),
        mass_dynamical=dynamical,
        speed_blue=speed_blue,
        speed_red=speed_red,
        speed_purple=speed_purple,
        kappa_purple=2112.0 * electrons**3 - 2238.9 * electrons**2 + 742.35 * electrons - 73.14,
    )


def collapse_mass(tov_mass: Array, radius_km: Array, length_km: float = GM_SUN_KM) -> Array:
    """Total mass (Msun) from which a merger collapses at once (Bauswein et al. 2013).

    (2.38 - 3.606 G Mtov/(c^2 R)) Mtov. ``length_km`` is G Msun/c^2; MOSFiT has 1, which puts the
    threshold of GW170817-like stars at 3.6 instead of 2.95 Msun.
    """
    threshold: Array = (2.38 - 3.606 * length_km * tov_mass / radius_km) * tov_mass
    return threshold


def _dynamical_mass(m1: Array, m2: Array, c1: Array, c2: Array) -> Array:
    """Msun; Dietrich & Ujevic (2017), baryonic masses after Gao et al. (2020)."""
    b1, b2 = m1 + 0.08 * m1**2, m2 + 0.08 * m2**2
    x = m2 / m1
    tidal = x ** (1.0 / 3.0) * (1.0 - 2.0 * c1) / c1 * b1
    tidal = tidal + x ** (-1.0 / 3.0) * (1.0 - 2.0 * c2) / c2 * b2
    n = -2.5484
    mixed = x**n * b1 + x**-n * b2
    mass = -1.35695 * tidal + 6.11252 * mixed - 49.43355 * (b1 - m1 + b2 - m2) + 16.1144
    return np.asarray(np.maximum(1e-3 * mass, 0.0))


def _dynamical_speeds(ratio: Array, c1: Array, c2: Array, cos_open: float) -> tuple[Array, Array]:
    """Mean speed (c) inside and outside the cones: Dietrich & Ujevic (2017)."""
    plane = -0.219479 * (ratio * (1.0 - 2.67385 * c1) + (1.0 - 2.67385 * c2) / ratio) + 0.444836
    axis = -0.315585 * (ratio * (1.0 - 1.00757 * c1) + (1.0 - 1.00757 * c2) / ratio) + 0.63808
    return (
        _mean_speed(axis, plane, cos_open, 1.0),
        _mean_speed(axis, plane, 0.0, cos_open),
    )


def _mean_speed(axis: Array, plane: Array, low: float, high: float) -> Array:
    """Mean over solid angle of sqrt((axis mu)^2 + plane^2 (1 - mu^2)), mu from low to high."""
    nodes, weights = _GAUSS
    mu = 0.5 * (low + high) + 0.5 * (high - low) * nodes[:, None]
    speed = np.sqrt((axis * mu) ** 2 + plane**2 * (1.0 - mu**2))
    return np.asarray(0.5 * weights @ speed)


_GAUSS = np.polynomial.legendre.leggauss(12)


def _disk_wind(total: Array, tov: Array, threshold: Array) -> tuple[Array, Array]:
    """(electron fraction, speed in c): the longer the remnant lives, the less neutrons are left.

    Lippuner et al. (2017) with the lifetimes of Metzger (2019), Table 3; speeds after Metzger &
    Fernandez (2014), linear from 0.15 c (stable) to 0.03 c (prompt collapse).
    """
    long_lived = 1.2 * tov
    electrons = np.where(
        total < long_lived,
        0.38 - 0.04 * (total - tov) / (0.2 * tov),
        0.34 - 0.09 * (total - long_lived) / (threshold - long_lived),
    )
    speed = 0.15 - 0.12 * (total - tov) / (threshold - tov)
    stable, prompt = total < tov, total >= threshold
    return (
        np.where(stable, 0.38, np.where(prompt, 0.25, electrons)),
        np.where(stable, 0.15, np.where(prompt, 0.03, speed)),
    )


def _light(
    with_cocoon: bool,
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    chirp, ratio, radius, tov, fraction, alpha, view, floor, dex_dynamical, dex_disk = theta.T[:10]
    e = bns_ejecta(chirp, ratio, radius, tov, fraction, alpha)
    stars = component_masses(chirp, ratio)[0] <= tov
    more = stars * 10.0**dex_dynamical
    mass = np.stack(
        [e.mass_blue * more, e.mass_red * more, e.mass_purple * stars * 10.0**dex_disk], axis=1
    )
    speed = np.stack([e.speed_blue, e.speed_red, e.speed_purple], axis=1)
    kappa = np.empty_like(mass)
    kappa[:, 0], kappa[:, 1], kappa[:, 2] = KAPPA_BLUE, KAPPA_RED, e.kappa_purple
    polar, equatorial = aspects(view, np.full_like(view, _COS_OPEN))
    shocked = NOTHING_MORE
    if with_cocoon:
        shocked = cocoon_flux(
            _SHOCKED_FRACTION * mass[:, 0], e.speed_blue, KAPPA_BLUE,
            np.ascontiguousarray(theta[:, 10]), _SHOCK_S,
            distance_mpc, redshift, t_day, band, bands.blackbody,
        )  # fmt: skip
    magnitudes: Array = component_magnitudes(
        mass, speed, kappa, np.repeat(floor[:, None], 3, axis=1), KAPPA_GAMMA_TRAPPED,
        distance_mpc, redshift, t_day, band, bands.blackbody,
        np.stack([polar, equatorial, polar], axis=1), shocked,
    )  # fmt: skip
    return magnitudes


def _ejecta_mass(theta: Array) -> Array:
    chirp, ratio, radius, tov, fraction, alpha, _, _, dex_dynamical, dex_disk = theta.T[:10]
    e = bns_ejecta(chirp, ratio, radius, tov, fraction, alpha)
    dynamical = (e.mass_blue + e.mass_red) * 10.0**dex_dynamical
    return np.asarray(dynamical + e.mass_purple * 10.0**dex_disk)


def _total_mass(theta: Array) -> Array:
    heavier, lighter = component_masses(theta[:, 0], theta[:, 1])
    return heavier + lighter


_PARAMETERS = (
    Parameter("chirp_mass", "Msun", 0.87, 1.9, "normal", 1.19, 0.15),
    Parameter("mass_ratio", "", 0.4, 1.0),
    Parameter("radius_ns", "km", 10.0, 14.0, "normal", 12.0, 0.8),
    Parameter("tov_mass", "Msun", 2.0, 2.5),
    Parameter("disk_fraction", "", 0.05, 0.5),
    Parameter("dynamical_blue_fraction", "", 0.1, 1.0),
    Parameter("cos_viewing_angle", "", 0.0, 1.0),
    Parameter("temperature_floor", "K", 1000.0, 4000.0, "log_uniform"),
    Parameter("dynamical_error", "dex", -0.6, 0.6, "normal", 0.0, 0.2),
    Parameter("disk_error", "dex", -0.6, 0.6, "normal", 0.0, 0.2),
)
_DERIVED = {
    "ejecta_mass_total_msun": ("Msun", _ejecta_mass),
    "total_mass_msun": ("Msun", _total_mass),
}

BNS = Model(
    name="nicholl21_bns",
    version="1",
    reference="Nicholl et al. 2021, MNRAS 505, 3016",
    parameters=_PARAMETERS,
    magnitudes=functools.partial(_light, False),
    is_kilonova=True,
    distance="event",
    derived=_DERIVED,
)

BNS_COCOON = Model(
    name="nicholl21_bns_cocoon",
    version="1",
    reference="Nicholl et al. 2021, MNRAS 505, 3016; Piro & Kollmeier 2018, ApJ 855, 103",
    parameters=(*_PARAMETERS, Parameter("cos_cocoon_angle", "", _COS_OPEN, 1.0)),
    magnitudes=functools.partial(_light, True),
    is_kilonova=True,
    distance="event",
    derived=_DERIVED,
)
