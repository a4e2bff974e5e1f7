"""Semi-analytic kilonovae of one, two and three components (Villar et al. 2017, ApJL 851 L21).

The components are those of :mod:`mmcoord.inference.models.components`. The printed equation
lacks the factor 2 of the diffusion solution; it is here.

Opacities are fixed as in the paper where a component is named (blue 0.5, purple 3, red
10 cm^2/g). Gamma-ray leakage: kappa_gamma = 1e4 cm^2/g, full trapping, as in MOSFiT.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mmcoord.inference.models.base import Array, Model, Parameter
from mmcoord.inference.models.components import (
    KAPPA_GAMMA_TRAPPED,
    NOTHING_MORE,
    SPHERICAL,
    component_magnitudes,
)
from mmcoord.inference.passbands import Passbands

__all__ = ["ONE_COMPONENT", "THREE_COMPONENTS", "TWO_COMPONENTS"]

_REFERENCE = "Villar et al. 2017, ApJL 851, L21; Guillochon et al. 2018, ApJS 236, 6"


def _magnitudes(
    columns: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
    kappa: Array,
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    mass, speed, floor = (np.ascontiguousarray(theta[:, list(c)]) for c in columns)
    magnitudes: Array = component_magnitudes(
        mass, speed, np.ascontiguousarray(kappa), floor, KAPPA_GAMMA_TRAPPED,
        distance_mpc, redshift, t_day, band, bands.blackbody, SPHERICAL, NOTHING_MORE,
    )  # fmt: skip
    return magnitudes


def _one(
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    return _magnitudes(
        ((0,), (1,), (2,)), theta[:, 3:4], theta, distance_mpc, redshift, t_day, band, bands
    )


def _two(
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    kappa = np.stack([np.full(len(theta), 0.5), theta[:, 6]], axis=1)
    return _magnitudes(
        ((0, 3), (1, 4), (2, 5)), kappa, theta, distance_mpc, redshift, t_day, band, bands
    )


def _three(
    theta: Array,
    distance_mpc: Array,
    redshift: Array,
    t_day: Array,
    band: npt.NDArray[np.int64],
    bands: Passbands,
) -> Array:
    kappa = np.broadcast_to(np.array([0.5, 3.0, 10.0]), (len(theta), 3))
    return _magnitudes(
        ((0, 3, 6), (1, 4, 7), (2, 5, 8)),
        kappa, theta, distance_mpc, redshift, t_day, band, bands,
    )  # fmt: skip


def _component(suffix: str) -> tuple[Parameter, Parameter, Parameter]:
    return (
        Parameter(f"ejecta_mass{suffix}", "Msun", 1e-3, 0.1, "log_uniform"),
        Parameter(f"ejecta_velocity{suffix}", "c", 0.03, 0.4),
        Parameter(f"temperature_floor{suffix}", "K", 400.0, 6000.0, "log_uniform"),
    )


ONE_COMPONENT = Model(
    name="villar17_1",
    version="1",
    reference=_REFERENCE,
    parameters=(*_component(""), Parameter("opacity", "cm2/g", 0.3, 20.0, "log_uniform")),
    magnitudes=_one,
    is_kilonova=True,
    distance="event",
    derived={"ejecta_mass_total_msun": ("Msun", lambda theta: theta[:, 0])},
)

TWO_COMPONENTS = Model(
    name="villar17_2",
    version="1",
    reference=_REFERENCE,
    parameters=(
        *_component("_blue"),
        *_component("_red"),
        Parameter("opacity_red", "cm2/g", 1.0, 20.0, "log_uniform"),
    ),
    magnitudes=_two,
    is_kilonova=True,
    distance="event",
    derived={"ejecta_mass_total_msun": ("Msun", lambda theta: theta[:, 0] + theta[:, 3])},
)

THREE_COMPONENTS = Model(
    name="villar17_3",
    version="1",
    reference=_REFERENCE,
    parameters=(*_component("_blue"), *_component("_purple"), *_component("_red")),
    magnitudes=_three,
    is_kilonova=True,
    distance="event",
    derived={
        "ejecta_mass_total_msun": ("Msun", lambda theta: theta[:, 0] + theta[:, 3] + theta[:, 6])
    },
)
