"""Error circles and ellipses as maps: Fermi, Swift, IceCube and all who give "radius, 90 %".

A circle is a von Mises-Fisher distribution, exp(-kappa (1 - cos theta)), whose concentration
is solved on the sphere for the stated containment (Mardia & Jupp 2000, section 9.3.2). An
ellipse has a concentration for each position angle, k0 / (1 - cos R(angle)), with R the
ellipse's radius there: its contours are ellipses, the stated one holds exactly the stated
probability, and a round one is the circle.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from skymaps.build import build_map
from skymaps.healpix import pixel_center, to_xyz
from skymaps.skymap import FloatArray, IntArray, SkyMap, SkyMapError

__all__ = ["concentration", "from_circle", "from_ellipse"]

MIN_RADIUS_DEG = 0.01 / 3600.0
"""Smaller circles are beyond double precision on unit vectors."""
_FIRST_ORDER = 3
_LAST_ORDER = 27
_TILE_TOLERANCE = 2e-5
"""A tile is divided while the density over it varies by this much probability."""
_ANGLES = np.radians(np.arange(0.5, 360.0, 1.0))


def from_circle(
    ra_deg: float, dec_deg: float, radius_deg: float, containment: float = 0.9
) -> SkyMap:
    """Map of an error circle.

    Parameters
    ----------
    radius_deg
        Radius that holds the probability ``containment``.
    containment
        0.9, 0.68, 0.3935 (1 sigma of a two-dimensional Gaussian) ...

    Raises
    ------
    SkyMapError
        A position, radius or containment that is none, or a circle that holds less than
        its share of a uniform sky.
    """
    return from_ellipse(ra_deg, dec_deg, radius_deg, radius_deg, 0.0, containment)


def from_ellipse(
    ra_deg: float,
    dec_deg: float,
    semi_major_deg: float,
    semi_minor_deg: float,
    position_angle_deg: float,
    containment: float = 0.9,
) -> SkyMap:
    """Map of an error ellipse; the position angle of the major axis is east of north.

    Raises
    ------
    SkyMapError
        As :func:`from_circle`.
    """
    numbers = (ra_deg, dec_deg, semi_major_deg, semi_minor_deg, position_angle_deg, containment)
    if not all(math.isfinite(v) for v in numbers) or abs(dec_deg) > 90.0:
        raise SkyMapError(f"error region: not a position and radius: {numbers}")
    for radius in (semi_major_deg, semi_minor_deg):
        if not MIN_RADIUS_DEG <= radius <= 180.0:
            raise SkyMapError(f"error region: radius {radius} deg")
    if not 0.0 < containment < 1.0:
        raise SkyMapError(f"error region: containment {containment}")
    angle = _ANGLES - math.radians(position_angle_deg)
    shape = _radius(angle, semi_major_deg, semi_minor_deg)
    k0 = _solve_k0(shape, containment)
    centre = to_xyz(ra_deg, dec_deg)
    east, north = _tangent_basis(ra_deg, dec_deg)

    def density(xyz: FloatArray) -> FloatArray:
        offset = xyz - centre
        one_minus_cos = 0.5 * np.sum(offset * offset, axis=-1)
        if semi_major_deg == semi_minor_deg:
            scale = _one_minus_cos(np.radians(semi_major_deg))
        else:
            turn = np.arctan2(offset @ east, offset @ north) - math.radians(position_angle_deg)
            scale = _one_minus_cos(_radius(turn, semi_major_deg, semi_minor_deg))
        return np.asarray(np.exp(-k0 * one_minus_cos / scale))

    widest = math.radians(max(semi_major_deg, semi_minor_deg)) / math.sqrt(k0)
    narrowest = math.radians(min(semi_major_deg, semi_minor_deg)) / math.sqrt(k0)
    # Integral over the sphere: over cos(theta) in closed form, over the position angle by sum.
    kappa = k0 / _one_minus_cos(shape)
    total = 2.0 * math.pi * float(np.mean(-np.expm1(-2.0 * kappa) / kappa))
    order, ipix, value = _adaptive_tiles(density, centre, total, widest, narrowest)
    area = np.pi / 3.0 * np.exp2(-2.0 * order)
    header = {"CREATOR": "skymaps", "RA": float(ra_deg), "DEC": float(dec_deg)}
    return build_map(order, ipix, value / float(np.sum(value * area)), header=header)


def concentration(radius_deg: float, containment: float) -> float:
    """kappa of the von Mises-Fisher distribution whose circle holds ``containment``.

    Raises
    ------
    SkyMapError
        As :func:`from_circle`.
    """
    if not MIN_RADIUS_DEG <= radius_deg <= 180.0:  # false for NaN too
        raise SkyMapError(f"error region: radius {radius_deg} deg")
    if not 0.0 < containment < 1.0:
        raise SkyMapError(f"error region: containment {containment}")
    shape = np.full(1, math.radians(radius_deg))
    return _solve_k0(shape, containment) / float(_one_minus_cos(shape)[0])


def _one_minus_cos(angle: FloatArray | float) -> FloatArray:
    return np.asarray(2.0 * np.sin(0.5 * np.asarray(angle)) ** 2)


def _radius(angle: FloatArray, major_deg: float, minor_deg: float) -> FloatArray:
    """Radius (rad) of the ellipse at an angle from its major axis."""
    a, b = math.radians(major_deg), math.radians(minor_deg)
    return np.asarray(a * b / np.hypot(b * np.cos(angle), a * np.sin(angle)))


def _contained(k0: float, shape: FloatArray) -> float:
    """Probability inside the ellipse of radii ``shape``."""
    kappa = k0 / _one_minus_cos(shape)
    return float(-np.expm1(-k0) * np.sum(1.0 / kappa) / np.sum(-np.expm1(-2.0 * kappa) / kappa))


def _solve_k0(shape: FloatArray, containment: float) -> float:
    """The k0 for which the ellipse holds ``containment``, by bisection of log k0."""
    low, high = -25.0, 8.0
    if _contained(math.exp(low), shape) >= containment:
        uniform = float(np.mean(_one_minus_cos(shape))) / 2.0
        raise SkyMapError(
            f"error region: holds {containment:g}, less than the {uniform:g} of a uniform sky"
        )
    for _ in range(80):
        middle = 0.5 * (low + high)
        if _contained(math.exp(middle), shape) < containment:
            low = middle
        else:
            high = middle
    return math.exp(0.5 * (low + high))


def _tangent_basis(ra_deg: float, dec_deg: float) -> tuple[FloatArray, FloatArray]:
    """Unit vectors to the east and to the north at a position."""
    ra, dec = math.radians(ra_deg), math.radians(dec_deg)
    east = np.array([-math.sin(ra), math.cos(ra), 0.0])
    north = np.array([-math.sin(dec) * math.cos(ra), -math.sin(dec) * math.sin(ra), math.cos(dec)])
    return east, north


def _adaptive_tiles(
    density: Callable[[FloatArray], FloatArray],
    centre: FloatArray,
    total: float,
    widest: float,
    narrowest: float,
) -> tuple[IntArray, IntArray, FloatArray]:
    """Tiles with the mean density over 16 points each, fine where the density varies.

    ``widest`` and ``narrowest`` are the scales (rad) of the density, whose integral over the
    sphere is ``total``.
    """
    done: list[tuple[IntArray, IntArray, FloatArray]] = []
    ipix = np.arange(12 * 4**_FIRST_ORDER, dtype=np.int64)
    for level in range(_FIRST_ORDER, _LAST_ORDER + 1):
        inner = (ipix[:, None] * 16 + np.arange(16)).ravel()
        xyz = to_xyz(*pixel_center(np.full(len(inner), level + 2, np.int64), inner))
        values = density(xyz).reshape(-1, 16)
        size = 2.0 ** (-level)  # rad; half the diagonal of a tile is at most 1.3 of this
        area = math.pi / 3.0 * size * size
        chord = np.linalg.norm(xyz.reshape(-1, 16, 3) - centre, axis=-1).min(axis=1)
        core = (chord < 7.0 * widest + size) & (size > narrowest)
        split = core | (np.ptp(values, axis=1) * area > _TILE_TOLERANCE * total)
        if level == _LAST_ORDER:
            split[:] = False
        keep = ~split
        done.append(
            (np.full(int(keep.sum()), level, np.int64), ipix[keep], values[keep].mean(axis=1))
        )
        if not split.any():
            break
        ipix = (ipix[split][:, None] * 4 + np.arange(4)).ravel()
    order, ipix, value = (np.concatenate(part) for part in zip(*done, strict=True))
    return order, ipix, value
