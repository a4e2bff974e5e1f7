"""Kilonovae of a black hole and a neutron star, from the binary's masses, spin and radius.

What stays outside the hole: Foucart, Hinderer & Nissanke (2018, PhRvD 98, 081501). What
of it is unbound at once: Kruger & Foucart (2020, PhRvD 101, 103002), at the speed of
Kawaguchi et al. (2016, ApJ 825, 52). The rest is a disk, of which a part leaves as a thermal wind
(Raaijmakers et al. 2021, ApJ 922, 269, eq. 12; blue and purple shares and speed after Fernandez
et al. 2020, MNRAS 497, 3221) and a part as a magnetic wind (Fernandez et al. 2019, MNRAS 482,
3373). Components and opacities as in Gompertz et al. (2023, MNRAS 526, 4585): dynamical and
magnetic 10, purple 5, blue 1 cm^2/g. The dynamical ejecta lie within 10 degrees of the plane, the
winds in the cones above and below.

MOSFiT multiplies the dynamical mass by 1.68 and gives no reason; here it stays as published.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmcoord.inference.models.base import Array, Model, Parameter
from mmcoord.inference.models.components import (
    KAPPA_GAMMA_TRAPPED,
    NOTHING_MORE,
    component_magnitudes,
)
from mmcoord.inference.models.nicholl21 import GM_SUN_KM, component_masses
from mmcoord.inference.models.viewing import aspects
from mmcoord.inference.passbands import Passbands

__all__ = ["NSBH", "NsbhEjecta", "isco_radius", "nsbh_ejecta"]

_SPEED_THERMAL, _SPEED_MAGNETIC = 0.034, 0.22
_COS_OPEN = 0.17364817766693033
_KAPPA = np.array([10.0, 10.0, 1.0, 5.0])


@dataclass(frozen=True)
class NsbhEjecta:
    """What n mergers throw out: masses in Msun, speeds in c; each (n,)."""

    mass_remnant: Array
    """Outside of the hole, bound or not."""
    mass_dynamical: Array
    mass_disk: Array
    mass_magnetic: Array
    mass_blue: Array
    mass_purple: Array
    """The thermal wind is blue and purple."""
    speed_dynamical: Array
    speed_magnetic: Array
    speed_thermal: float


def isco_radius(spin: Array) -> Array:
    """Innermost stable orbit in G M/c^2 (Bardeen et al. 1972), prograde for spin > 0."""
    z1 = 1.0 + (1.0 - spin**2) ** (1 / 3) * ((1.0 + spin) ** (1 / 3) + (1.0 - spin) ** (1 / 3))
    z2 = np.sqrt(3.0 * spin**2 + z1**2)
    radius: Array = 3.0 + z2 - np.sign(spin) * np.sqrt((3.0 - z1) * (3.0 + z1 + 2.0 * z2))
    return radius


def nsbh_ejecta(
    hole_mass: Array,
    star_mass: Array,
    spin: Array,
    radius_km: Array,
    magnetic: Array,
    dynamical_factor: Array | float = 1.0,
) -> NsbhEjecta:
    """Ejecta of a binary.

    Parameters
    ----------
    hole_mass, star_mass : (n,)
        Msun.
    spin : (n,)
        Of the hole along the orbit, -1 to 1.
    radius_km : (n,)
        Of the star.
    magnetic : (n,)
        Mass of the magnetic wind over that of the thermal one.
    dynamical_factor : float or (n,)
        On the published dynamical mass.
    """
    q = hole_mass / star_mass
    eta = q / (1.0 + q) ** 2
    c = GM_SUN_KM * star_mass / radius_km
    isco = isco_radius(spin)
    baryons = star_mass * (1.0 + 0.6 * c / (1.0 - 0.5 * c))
    outside = 0.406 * (1.0 - 2.0 * c) * eta ** (-1 / 3) - 0.139 * isco * c / eta + 0.255
    remnant = baryons * np.maximum(outside, 0.0) ** 1.761
    unbound = 0.007116 * q**0.8636 * (1.0 - 2.0 * c) / c - 0.001436 * q**1.6840 * isco - 0.02762
    dynamical = np.minimum(np.maximum(unbound, 0.0) * baryons * dynamical_factor, remnant)
    disk = remnant - dynamical
    thermal = disk * (0.18 + 0.11 / (1.0 + np.exp(1.5 * (q - 3.0))))
    # A fit to Table 2 of Fernandez et al. (2020).
    blue = np.clip(0.20199 * np.log10(np.maximum(disk, 1e-10)) + 1.12629, 0.0, 1.0)
    return NsbhEjecta(
        mass_remnant=remnant,
        mass_dynamical=dynamical,
        mass_disk=disk,
        mass_magnetic=thermal * magnetic,
        mass_blue=thermal * blue,
        mass_purple=thermal * (1.0 - blue),
        speed_dynamical=0.01533 * q + 0.1907,
        speed_magnetic=np.maximum(_SPEED_MAGNETIC * magnetic, _SPEED_THERMAL),
        speed_thermal=_SPEED_THERMAL,
    )


def _ejecta(theta: Array) -> tuple[NsbhEjecta, Array, Array]:
    """Ejecta and (n, 4) masses and speeds: dynamical, magnetic, blue, purple."""
    chirp, ratio, spin, radius, magnetic, _, _, dex = theta.T
    hole, star = component_masses(chirp, ratio)
    e = nsbh_ejecta(hole, star, spin, radius, magnetic, 10.0**dex)
    mass = np.stack([e.mass_dynamical, e.mass_magnetic, e.mass_blue, e.mass_purple], axis=1)
    thermal = np.full_like(chirp, e.speed_thermal)
    speed = np.stack([e.speed_dynamical, e.speed_magnetic, thermal, thermal], axis=1)
    return e, mass, speed


def _magnitudes(
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    _, mass, speed = _ejecta(theta)
    polar, equatorial = aspects(theta[:, 5], np.full(len(theta), _COS_OPEN))
    magnitudes: Array = component_magnitudes(
        mass, speed, np.tile(_KAPPA, (len(theta), 1)), np.repeat(theta[:, 6:7], 4, axis=1),
        KAPPA_GAMMA_TRAPPED, distance_mpc, redshift, t_day, band, bands.blackbody,
        np.stack([equatorial, polar, polar, polar], axis=1), NOTHING_MORE,
    )  # fmt: skip
    return magnitudes


NSBH = Model(
    name="nsbh",
    version="1",
    reference=(
        "Foucart et al. 2018, PhRvD 98, 081501; Kruger & Foucart 2020, PhRvD 101, 103002; "
        "Gompertz et al. 2023, MNRAS 526, 4585"
    ),
    parameters=(
        Parameter("chirp_mass", "Msun", 1.4, 5.0, "log_uniform"),
        Parameter("mass_ratio", "", 0.07, 0.6),
        Parameter("spin", "", -0.5, 0.97),
        Parameter("radius_ns", "km", 10.0, 14.0, "normal", 12.0, 0.8),
        Parameter("magnetic_wind", "", 0.1, 1.0),
        Parameter("cos_viewing_angle", "", 0.0, 1.0),
        Parameter("temperature_floor", "K", 1000.0, 4000.0, "log_uniform"),
        Parameter("dynamical_error", "dex", -0.6, 0.6, "normal", 0.0, 0.2),
    ),
    magnitudes=_magnitudes,
    is_kilonova=True,
    distance="event",
    derived={
        "ejecta_mass_total_msun": ("Msun", lambda theta: _ejecta(theta)[1].sum(axis=1)),
        "remnant_mass_msun": ("Msun", lambda theta: _ejecta(theta)[0].mass_remnant),
    },
)
