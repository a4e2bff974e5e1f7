"""How much the Moon brightens the sky, and what that costs in depth.

Krisciunas and Schaefer (1991, PASP 103, 1033): moonlight scattered once, by air (Rayleigh)
and by aerosols (Mie). Their model is for V; other bands use it with their own extinction and
the Moon's colour taken as the Sun's (Willmer 2018, ApJS 236, 47, rounded), which is good to
some tenths of a magnitude of sky. A full Moon within a few degrees is not meant.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from followup.bands import EFFECTIVE_WAVELENGTH_NM, extinction_mag

__all__ = ["depth_loss_mag", "moon_sky_nl", "nl_from_mag", "path_length"]

Array = npt.NDArray[np.float64]

_BANDS = (
    # (upper edge nm, dark zenith sky AB: Ivezic et al. 2019 table 2; Sun's colour minus V, AB)
    (430.0, 22.99, 1.6),
    (550.0, 22.26, 0.3),
    (690.0, 21.20, -0.15),
    (815.0, 20.48, -0.27),
    (930.0, 19.60, -0.3),
    (1100.0, 18.61, -0.28),
)
"""Beyond them the air's own glow outshines the Moon: no loss is counted."""


def nl_from_mag(mag_arcsec2: npt.ArrayLike) -> Array:
    """Surface brightness in nanolambert; the paper's equation 1 (V)."""
    brightness: Array = 34.08 * np.exp(20.7233 - 0.92104 * np.asarray(mag_arcsec2, float))
    return brightness


def path_length(sin_altitude: npt.ArrayLike) -> Array:
    """Path through the glowing or scattering air in units of the zenith's; equation 3."""
    cosine2 = 1.0 - np.asarray(sin_altitude, float) ** 2
    path: Array = 1.0 / np.sqrt(1.0 - 0.96 * cosine2)
    return path


def moon_sky_nl(
    phase_deg: npt.ArrayLike,
    separation_deg: npt.ArrayLike,
    sin_moon_altitude: npt.ArrayLike,
    sin_altitude: npt.ArrayLike,
    extinction: float,
) -> Array:
    """Brightness of scattered moonlight in nanolambert; equations 15, 20 and 21.

    Parameters
    ----------
    phase_deg
        Angle Sun-Moon-Earth: 0 full, 180 new.
    separation_deg
        From the Moon to where one looks.
    extinction
        mag per unit airmass.
    """
    phase, separation = np.abs(np.asarray(phase_deg, float)), np.asarray(separation_deg, float)
    moon = 10.0 ** (-0.4 * (3.84 + 0.026 * phase + 4e-9 * phase**4))
    air = 10.0**5.36 * (1.06 + np.cos(np.radians(separation)) ** 2)
    aerosol = 10.0 ** (6.15 - separation / 40.0)
    arrives = 10.0 ** (-0.4 * extinction * path_length(sin_moon_altitude))
    scattered = 1.0 - 10.0 ** (-0.4 * extinction * path_length(sin_altitude))
    brightness: Array = (air + aerosol) * moon * arrives * scattered
    return np.where(np.asarray(sin_moon_altitude) > 0.0, brightness, 0.0)


def depth_loss_mag(
    band: str,
    phase_deg: npt.ArrayLike,
    separation_deg: npt.ArrayLike,
    sin_moon_altitude: npt.ArrayLike,
    sin_altitude: npt.ArrayLike,
) -> Array:
    """What moonlight takes from a sky-limited depth in a canonical band, >= 0 mag.

    Half of what it adds to the sky's brightness, as the noise is the root of the sky.
    """
    wavelength = EFFECTIVE_WAVELENGTH_NM[band]
    dark_mag, colour = next(
        ((sky, c) for edge, sky, c in _BANDS if wavelength < edge), (math.nan, math.nan)
    )
    if math.isnan(dark_mag):
        return np.zeros(np.broadcast_shapes(*(np.shape(a) for a in (phase_deg, separation_deg,
                        sin_moon_altitude, sin_altitude))))  # fmt: skip
    extinction = extinction_mag(band)
    moon = moon_sky_nl(phase_deg, separation_deg, sin_moon_altitude, sin_altitude, extinction)
    path = path_length(sin_altitude)
    dark = nl_from_mag(dark_mag) * 10.0 ** (-0.4 * extinction * (path - 1.0)) * path
    loss: Array = 1.25 * np.log10(1.0 + moon * 10.0 ** (-0.4 * colour) / dark)
    return loss
