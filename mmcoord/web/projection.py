"""Projections of the sphere and SVG paths. Pure.

Both projections are equal-area, so that a region looks as large as it is: Lambert's
azimuthal one and Mollweide's (Snyder 1987, USGS Professional Paper 1395, eqs. 24-2 to 24-4
and 31-1 to 31-4). Right ascension increases to the left, as seen from inside the sphere.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "closed_path", "lambert", "mollweide", "open_path", "pieces"]

Array = NDArray[np.float64]


def lambert(ra_deg: Array, dec_deg: Array, ra0_deg: float, dec0_deg: float) -> tuple[Array, Array]:
    """Azimuthal equal-area about (ra0, dec0): x, y in degrees, x to the right (west).

    The antipode of the centre has no place; points near it are far out.
    """
    lon = np.radians(ra_deg - ra0_deg)
    lat, lat0 = np.radians(dec_deg), math.radians(dec0_deg)
    cosine = math.sin(lat0) * np.sin(lat) + math.cos(lat0) * np.cos(lat) * np.cos(lon)
    k = np.degrees(np.sqrt(2.0 / np.maximum(1.0 + cosine, 1e-9)))
    x = -k * np.cos(lat) * np.sin(lon)
    y = k * (math.cos(lat0) * np.sin(lat) - math.sin(lat0) * np.cos(lat) * np.cos(lon))
    return x, y


def mollweide(offset_deg: Array, dec_deg: Array) -> tuple[Array, Array]:
    """Mollweide: x in [-2, 2] to the right (west), y in [-1, 1].

    ``offset_deg`` is right ascension minus that of the central meridian, in [-180, 180].
    """
    lat = np.radians(np.asarray(dec_deg, dtype=np.float64))
    theta = np.array(lat)
    target = np.pi * np.sin(lat)
    for _ in range(60):
        slope = 2.0 + 2.0 * np.cos(2.0 * theta)
        step = (2.0 * theta + np.sin(2.0 * theta) - target) / np.maximum(slope, 1e-6)
        theta = np.clip(theta - step, -np.pi / 2, np.pi / 2)
        if np.all(np.abs(step) < 1e-10):
            break
    theta = np.where(np.abs(np.asarray(dec_deg)) >= 90.0, np.sign(lat) * np.pi / 2, theta)
    x = -np.asarray(offset_deg) / 90.0 * np.cos(theta)
    return x, np.sin(theta)


def pieces(ring: Array, ra0: float) -> list[Array]:
    """A ring as pieces of (offset, dec) inside [-180, 180], cut where the map is cut.

    The ring is followed continuously in right ascension. One that goes round a pole is
    closed over the pole nearer to it.
    """
    closed = np.concatenate([ring, ring[:1]])
    offset = np.degrees(np.unwrap(np.radians(closed[:, 0] - ra0)))
    turn = offset[-1] - offset[0]
    path = np.stack([offset, closed[:, 1]], axis=1)
    if abs(turn) > 180.0:
        pole = 90.0 if ring[:, 1].mean() > 0 else -90.0
        path = np.concatenate([path, [[path[-1, 0], pole], [path[0, 0], pole]]])
    path = densify(path)
    found = []
    first = math.floor((path[:, 0].min() + 180.0) / 360.0)
    last = math.floor((path[:, 0].max() + 180.0) / 360.0)
    for number in range(first, last + 1):
        piece = path - [360.0 * number, 0.0]
        piece = clip(clip(piece, -180.0, keep_above=True), 180.0, keep_above=False)
        if len(piece) > 2:
            found.append(densify(piece))
    return found


def densify(path: Array, step_deg: float = 2.0) -> Array:
    """The closed path with no step longer than ``step_deg`` in either coordinate."""
    following = np.roll(path, -1, axis=0)
    parts = []
    for start, end in zip(path, following, strict=True):
        number = max(int(np.ceil(np.abs(end - start).max() / step_deg)), 1)
        parts.append(start + (end - start) * np.arange(number)[:, None] / number)
    return np.concatenate(parts)


def clip(path: Array, limit: float, *, keep_above: bool) -> Array:
    """The closed path cut at one meridian (Sutherland & Hodgman 1974)."""
    kept: list[Array] = []
    inside = path[:, 0] >= limit if keep_above else path[:, 0] <= limit
    for i in range(len(path)):
        here, there = path[i], path[(i + 1) % len(path)]
        if inside[i]:
            kept.append(here)
        if inside[i] != inside[(i + 1) % len(path)]:
            share = (limit - here[0]) / (there[0] - here[0])
            kept.append(here + share * (there - here))
    return np.array(kept).reshape(-1, 2)


def open_path(x: Array, y: Array) -> str:
    points = [f"{px:.1f} {py:.1f}" for px, py in zip(x, y, strict=True)]
    return "M" + "L".join(points)


def closed_path(x: Array, y: Array) -> str:
    points = [f"{px:.1f} {py:.1f}" for px, py in zip(x, y, strict=True)]
    short = [p for i, p in enumerate(points) if i == 0 or p != points[i - 1]]
    return "M" + "L".join(short) + "Z"
