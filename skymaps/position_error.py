"""Candidates whose own position is uncertain by more than a tile: X-ray and radio transients."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import numpy.typing as npt

from skymaps.crossmatch import CrossMatch, PreparedMap, match, prepare
from skymaps.healpix import as_positions, to_xyz
from skymaps.skymap import FloatArray, SkyMap, SkyMapError

__all__ = ["match_position_error"]

_RINGS = 12
_SPOKES = 24
MAX_SIGMA_DEG = 30.0
_CHUNK = 4096


def match_position_error(
    prepared_or_map: PreparedMap | SkyMap,
    ra_deg: npt.ArrayLike,
    dec_deg: npt.ArrayLike,
    sigma_deg: npt.ArrayLike,
    distance_mpc: npt.ArrayLike | None = None,
) -> CrossMatch:
    """:func:`skymaps.match` averaged over a circular Gaussian error of each position.

    Densities and levels are means over the error; the distance moments are those at the
    nominal position. The mean is a sum over 12 rings (Gauss-Laguerre in r^2 / 2 sigma^2) of 24
    points each, so that detail of the map finer than about a third of sigma is averaged at
    random. For errors below a tile (an optical survey's) it changes nothing: use ``match``.

    Parameters
    ----------
    sigma_deg
        Standard deviation in each of the two directions (radius of 39.3 %); 0 is exact, NaN
        gives NaN.

    Raises
    ------
    SkyMapError
        An error that is negative or above 30 deg, or shapes that do not fit together.
    """
    prepared = prepare(prepared_or_map) if isinstance(prepared_or_map, SkyMap) else prepared_or_map
    nominal = match(prepared, ra_deg, dec_deg, distance_mpc)
    ra, dec = (a.ravel() for a in as_positions(ra_deg, dec_deg))
    try:
        sigma = np.broadcast_to(np.asarray(sigma_deg, np.float64), ra.shape)
        distance = np.broadcast_to(
            np.asarray(np.nan if distance_mpc is None else distance_mpc, np.float64), ra.shape
        )
    except ValueError as mistake:
        raise SkyMapError(f"position errors: {mistake}") from mistake
    if np.any((sigma < 0.0) | (sigma > MAX_SIGMA_DEG)):
        raise SkyMapError(f"position error not in 0 .. {MAX_SIGMA_DEG:g} deg")
    columns = {f.name: np.array(getattr(nominal, f.name)) for f in fields(CrossMatch)}
    averaged = [name for name in columns if not name.startswith("distance_")]
    weights = np.repeat(np.polynomial.laguerre.laggauss(_RINGS)[1] / _SPOKES, _SPOKES)
    weights /= weights.sum()
    rows = np.flatnonzero(~(sigma == 0.0))
    for part in np.array_split(rows, max(1, -(-len(rows) // _CHUNK))):
        around = _points(ra[part], dec[part], sigma[part])
        repeated = np.repeat(distance[part], len(weights))
        answer = match(prepared, *around, None if distance_mpc is None else repeated)
        for name in averaged:
            values = getattr(answer, name).reshape(len(part), len(weights))
            columns[name][part] = values @ weights
    return CrossMatch(**columns)


def _points(ra: FloatArray, dec: FloatArray, sigma: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Positions on rings about each centre, flat."""
    radii = np.sqrt(2.0 * np.polynomial.laguerre.laggauss(_RINGS)[0])
    turn = 2.0 * np.pi * (np.arange(_SPOKES) + 0.5) / _SPOKES
    apart = np.minimum(np.radians(sigma)[:, None] * np.repeat(radii, _SPOKES), np.pi)
    angle = np.tile(turn, _RINGS)
    centre = to_xyz(ra, dec)[:, None, :]
    a = np.radians(ra)
    east = np.stack([-np.sin(a), np.cos(a), np.zeros_like(a)], axis=-1)[:, None, :]
    north = np.cross(centre, east)
    side = np.sin(angle)[:, None] * east + np.cos(angle)[:, None] * north
    xyz = np.cos(apart)[..., None] * centre + np.sin(apart)[..., None] * side
    dec_out = np.degrees(np.arcsin(np.clip(xyz[..., 2], -1.0, 1.0)))
    return np.degrees(np.arctan2(xyz[..., 1], xyz[..., 0])).ravel(), dec_out.ravel()
