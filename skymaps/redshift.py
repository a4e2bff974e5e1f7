"""Redshift to luminosity distance, with the scatter of peculiar velocities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from skymaps.skymap import FloatArray, SkyMapError

__all__ = ["PECULIAR_VELOCITY_KM_S", "PLANCK15", "FlatCosmology", "redshift_distance"]

LIGHT_KM_S = 299_792.458
PECULIAR_VELOCITY_KM_S = 300.0
"""Scatter of galaxies' line-of-sight velocities about the Hubble flow."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)


@dataclass(frozen=True)
class FlatCosmology:
    """Flat universe of matter and a cosmological constant, without radiation."""

    h0_km_s_mpc: float
    omega_m: float

    def luminosity_distance_mpc(self, redshift: npt.ArrayLike) -> FloatArray:
        """(1 + z) c / H0 times the integral of 1 / E(z) (Hogg 1999, astro-ph/9905116, eq. 15, 21).

        Gauss-Legendre quadrature with 32 nodes, good to 1e-10 for 0 <= z <= 10.
        """
        z = np.asarray(redshift, np.float64)
        out = np.empty(z.size)
        _comoving(np.ascontiguousarray(z).ravel(), self.omega_m, _NODES, _WEIGHTS, out)
        return (1.0 + z) * (LIGHT_KM_S / self.h0_km_s_mpc) * out.reshape(z.shape)


@njit(cache=True, nogil=True, error_model="numpy")
def _comoving(
    redshift: FloatArray, omega_m: float, nodes: FloatArray, weights: FloatArray, out: FloatArray
) -> None:
    """Integral of 1 / E(z), in units of c / H0."""
    for i in range(len(redshift)):
        half = 0.5 * redshift[i]
        total = 0.0
        for j in range(len(nodes)):
            a = 1.0 + half * (1.0 + nodes[j])
            total += weights[j] / math.sqrt(omega_m * a * a * a + 1.0 - omega_m)
        out[i] = half * total


PLANCK15 = FlatCosmology(67.74, 0.3075)
"""Planck Collaboration 2016, A&A 594, A13, table 4, last column; as LVK analyses use."""


def redshift_distance(
    redshift: npt.ArrayLike,
    redshift_err: npt.ArrayLike = 0.0,
    *,
    cosmology: FlatCosmology = PLANCK15,
    peculiar_velocity_km_s: float = PECULIAR_VELOCITY_KM_S,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Luminosity distance (Mpc) and its errors below and above, as arrays.

    The redshift's error and the scatter of peculiar velocities, v (1 + z) / c, are added in
    quadrature, and the interval z - s .. z + s is carried over to distance: two errors for
    :func:`skymaps.match`. NaN in ``redshift_err`` counts as 0; a redshift that is NaN or not
    positive gives NaN.

    Raises
    ------
    SkyMapError
        A negative error.
    """
    z = np.atleast_1d(np.asarray(redshift, np.float64))
    error = np.nan_to_num(np.asarray(redshift_err, np.float64))
    if np.any(error < 0.0):
        raise SkyMapError("a redshift error is negative")
    z = np.where(z > 0.0, z, np.nan)
    scatter = np.hypot(error, peculiar_velocity_km_s / LIGHT_KM_S * (1.0 + z))
    middle = cosmology.luminosity_distance_mpc(z)
    low = cosmology.luminosity_distance_mpc(np.maximum(z - scatter, 0.0))
    # Where the interval reaches redshift zero, the scale below is that of the linear law.
    below = np.where(z > scatter, middle - low, middle * scatter / z)
    return middle, below, cosmology.luminosity_distance_mpc(z + scatter) - middle
