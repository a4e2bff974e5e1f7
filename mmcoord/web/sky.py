"""The sky map of an event as a drawing: shapes in the units of an SVG view box. Pure.

A window about the 90 % region (azimuthal equal-area), or the whole sky (Mollweide) where the
region is too wide for that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcoord.store.views_candidates import Spot
from mmcoord.web.projection import Array, closed_path, lambert, mollweide, open_path, pieces

__all__ = ["Cloud", "Dot", "Label", "Region", "SkyPicture", "draw"]

Project = Callable[[Array, Array], tuple[Array, Array]]

_WIDTH, _HEIGHT = 640.0, 460.0
_WIDEST_DEG = 55.0
"""Half-width of a region from which the whole sky is drawn."""
_STEPS_DEG = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 45.0)
_LEVELS = ("0.9", "0.5")
_BINS = (0.1, 0.5, 0.9)


@dataclass(frozen=True, slots=True)
class Region:
    """A credible region: one path of closed rings, to be filled even-odd."""

    level: str
    path: str


@dataclass(frozen=True, slots=True)
class Label:
    """A coordinate written at the edge."""

    x: float
    y: float
    text: str
    edge: str
    """left or bottom."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A candidate. ``shade`` 0: P(kilonova) not known; 1 to 4: below 0.1, 0.5, 0.9, above."""

    object_id: str
    x: float
    y: float
    shade: int
    rank: int
    p_kilonova: float | None


@dataclass(frozen=True, slots=True)
class Cloud:
    """Every candidate of one shade that no plan holds, as one path of points without length:
    thousands of shapes of their own would cost a browser and the server more than they say."""

    shade: int
    number: int
    path: str


@dataclass(frozen=True, slots=True)
class SkyPicture:
    """Everything that the template draws."""

    width: float
    height: float
    is_all_sky: bool
    regions: tuple[Region, ...]
    graticule: str
    fields: str
    """Path of the plan's tiles, outlines alone."""
    frame: str
    """Path of the edge of the sky; empty for a window into it."""
    labels: tuple[Label, ...]
    dots: tuple[Dot, ...]
    """Of the targets of the plan; one by one."""
    clouds: tuple[Cloud, ...]
    """All the others."""
    outside: int
    """Candidates beyond the window."""
    scale_px_per_deg: float
    """At the middle of a window; 0 for the whole sky."""


def draw(
    outlines: dict[str, Any], candidates: Sequence[Spot], tiles: Sequence[Array] = ()
) -> SkyPicture | None:
    """The picture of a localization (level -> rings of [ra_deg, dec_deg]) and its candidates.

    ``tiles``: corners (n, 2) of the fields that the plan asks for. None when there is nothing to
    draw.
    """
    rings = {level: _rings(outlines.get(level)) for level in _LEVELS}
    outline = [ring for level in _LEVELS for ring in rings[level]]
    spots = np.array([[c.ra_deg, c.dec_deg] for c in candidates], dtype=np.float64).reshape(-1, 2)
    anchor = np.concatenate(outline) if outline else spots
    if not len(anchor):
        return None
    ra0, dec0, reach = _middle(anchor)
    if reach > _WIDEST_DEG:
        return _whole_sky(rings, candidates, spots, tiles, ra0)
    return _window(rings, candidates, spots, tiles, anchor, ra0, dec0)


def _rings(value: Any) -> list[Array]:
    """Rings as (n, 2) arrays; what is not a ring of finite numbers is left out."""
    found = []
    for ring in value or []:
        try:
            points = np.array(ring, dtype=np.float64)
        except (TypeError, ValueError):
            continue
        is_ring = points.ndim == 2 and points.shape[1] == 2 and len(points) > 2
        if is_ring and np.all(np.isfinite(points)):
            found.append(points)
    return found


def _middle(points: Array) -> tuple[float, float, float]:
    """Middle of points on the sphere (deg) and the distance of the farthest from it."""
    ra, dec = np.radians(points[:, 0]), np.radians(points[:, 1])
    vectors = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    mean = vectors.mean(axis=0)
    length = float(np.linalg.norm(mean))
    if length < 1e-6:
        return 180.0, 0.0, 180.0
    mean /= length
    reach = float(np.degrees(np.arccos(np.clip(vectors @ mean, -1.0, 1.0).min())))
    ra0 = math.degrees(math.atan2(mean[1], mean[0])) % 360.0
    return ra0, math.degrees(math.asin(float(np.clip(mean[2], -1.0, 1.0)))), reach


def _window(
    rings: dict[str, list[Array]],
    candidates: Sequence[Spot],
    spots: Array,
    tiles: Sequence[Array],
    anchor: Array,
    ra0: float,
    dec0: float,
) -> SkyPicture:
    best = spots[[i for i, c in enumerate(candidates) if c.rank is not None and c.rank <= 3]]
    x, y = lambert(anchor[:, 0], anchor[:, 1], ra0, dec0)
    bx, by = lambert(best[:, 0], best[:, 1], ra0, dec0)
    near = np.hypot(bx, by) < _WIDEST_DEG
    x, y = np.concatenate([x, bx[near]]), np.concatenate([y, by[near]])
    width = max(float(np.ptp(x)), float(np.ptp(y)) * _WIDTH / _HEIGHT, 0.1) * 1.2
    scale = _WIDTH / width
    middle_x, middle_y = (x.min() + x.max()) / 2, (y.min() + y.max()) / 2

    def project(ra: Array, dec: Array) -> tuple[Array, Array]:
        px, py = lambert(ra, dec, ra0, dec0)
        return (px - middle_x) * scale + _WIDTH / 2, (middle_y - py) * scale + _HEIGHT / 2

    regions = tuple(
        Region(level, " ".join(closed_path(*project(r[:, 0], r[:, 1])) for r in rings[level]))
        for level in _LEVELS
        if rings[level]
    )
    reach = min(
        math.hypot(width, width * _HEIGHT / _WIDTH) / 2 + math.hypot(middle_x, middle_y), 90
    )
    graticule, labels = _graticule(project, ra0, dec0, reach, width * _HEIGHT / _WIDTH)
    dots, clouds, outside = _placed(candidates, *project(spots[:, 0], spots[:, 1]))
    fields = " ".join(closed_path(*project(t[:, 0], t[:, 1])) for t in tiles)
    return SkyPicture(
        _WIDTH, _HEIGHT, False, regions, graticule, fields, "", labels, dots, clouds, outside, scale
    )


def _whole_sky(
    rings: dict[str, list[Array]],
    candidates: Sequence[Spot],
    spots: Array,
    tiles: Sequence[Array],
    ra0: float,
) -> SkyPicture:
    ra0 = float(round(ra0 / 15.0) * 15 % 360)
    height = _WIDTH / 2
    unit = _WIDTH / 2 / 2 * 0.98

    def place(offset: Array, dec: Array) -> tuple[Array, Array]:
        x, y = mollweide(offset, dec)
        return x * unit + _WIDTH / 2, height / 2 - y * unit

    regions = tuple(
        Region(
            level,
            " ".join(
                closed_path(*place(piece[:, 0], piece[:, 1]))
                for ring in rings[level]
                for piece in pieces(ring, ra0)
            ),
        )
        for level in _LEVELS
        if rings[level]
    )
    dec = np.linspace(-90.0, 90.0, 91)
    sides = [open_path(*place(np.full_like(dec, side), dec)) for side in range(-150, 180, 30)]
    along = np.linspace(-180.0, 180.0, 121)
    sides += [open_path(*place(along, np.full_like(along, d))) for d in range(-60, 90, 30)]
    edge = np.concatenate([np.full_like(dec, -180.0), np.full_like(dec, 180.0)])
    labels = [
        Label(float(x), float(y), f"{d:+d}°" if d else "0°", "left")
        for d in (-60, -30, 0, 30, 60)
        for x, y in [_point(place, 180.0, float(d))]
    ] + [
        Label(float(x), float(y), f"{(ra0 + side) % 360:.0f}°", "bottom")
        for side in (-120, -60, 0, 60, 120)
        for x, y in [_point(place, float(side), -4.0)]
    ]
    offset = (spots[:, 0] - ra0 + 180.0) % 360.0 - 180.0
    dots, clouds, outside = _placed(candidates, *place(offset, spots[:, 1]))
    return SkyPicture(
        _WIDTH,
        height,
        True,
        regions,
        " ".join(sides),
        " ".join(
            closed_path(*place(piece[:, 0], piece[:, 1]))
            for tile in tiles
            for piece in pieces(tile, ra0)
        ),
        closed_path(*place(edge, np.concatenate([dec, dec[::-1]]))),
        tuple(labels),
        dots,
        clouds,
        outside,
        0.0,
    )


def _point(place: Project, offset: float, dec: float) -> tuple[float, float]:
    x, y = place(np.array([offset]), np.array([dec]))
    return float(x[0]), float(y[0])


def _graticule(
    project: Project, ra0: float, dec0: float, reach: float, height_deg: float
) -> tuple[str, tuple[Label, ...]]:
    """Lines of equal right ascension and declination, labelled where they meet the edges."""
    step = _nice(height_deg / 4)
    cosine = max(math.cos(math.radians(dec0)), 0.05)
    ra_step = _nice(min(height_deg / 3 / cosine, 45.0))
    decs = [d for d in _multiples(dec0 - reach, dec0 + reach, step) if -90 < d < 90]
    side = min(reach / max(math.cos(math.radians(min(abs(dec0) + reach, 89.0))), 0.02), 180.0)
    ras = _multiples(ra0 - side, ra0 + side, ra_step)
    if side >= 180.0:
        ras = _multiples(0.0, 360.0 - ra_step, ra_step)
    along = np.linspace(ra0 - side, ra0 + side, 120)
    down = np.linspace(max(dec0 - reach, -90.0), min(dec0 + reach, 90.0), 120)
    lines, labels = [], []
    for dec in decs:
        x, y = project(along, np.full_like(along, dec))
        lines.append(open_path(x, y))
        if (place := _crossing(x, y, 0.0)) is not None and 20 < place < _HEIGHT - 24:
            labels.append(Label(4.0, place, _degrees(dec, step, sign=True), "left"))
    for ra in ras:
        x, y = project(np.full_like(down, ra), down)
        lines.append(open_path(x, y))
        if (place := _crossing(y, x, _HEIGHT)) is not None and 40 < place < _WIDTH - 20:
            labels.append(
                Label(place, _HEIGHT - 4.0, _degrees(ra % 360.0, ra_step, sign=False), "bottom")
            )
    return " ".join(lines), tuple(labels)


def _nice(wanted: float) -> float:
    return next((step for step in _STEPS_DEG if step >= wanted), _STEPS_DEG[-1])


def _multiples(low: float, high: float, step: float) -> list[float]:
    return [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _degrees(value: float, step: float, *, sign: bool) -> str:
    places = max(0, -math.floor(math.log10(step) + 1e-9)) if step < 1 else 0
    value = round(value, places) + 0.0
    return f"{value:{'+' if sign and value else ''}.{places}f}°"


def _crossing(across: Array, along: Array, edge: float) -> float | None:
    """Where a line meets ``across == edge``; None when it does not."""
    side = across - edge
    at = np.nonzero(side[:-1] * side[1:] < 0)[0]
    if not len(at):
        return None
    i = int(at[0])
    share = side[i] / (side[i] - side[i + 1])
    return float(along[i] + share * (along[i + 1] - along[i]))


def _placed(
    candidates: Sequence[Spot], x: Array, y: Array
) -> tuple[tuple[Dot, ...], tuple[Cloud, ...], int]:
    """Dots and clouds inside the window, the most important last so that it lies on top."""
    inside = (x >= 0) & (x <= _WIDTH) & (y >= 0) & (y <= _HEIGHT)
    shades = _shades(candidates)
    in_plan = np.array([c.rank is not None for c in candidates], dtype=bool)
    dots = []
    for k in np.flatnonzero(inside & in_plan).tolist():
        c, place = candidates[k], (round(float(x[k]), 1), round(float(y[k]), 1))
        assert c.rank is not None
        dots.append(Dot(c.object_id, *place, int(shades[k]), c.rank, c.p_kilonova))
    dots.sort(key=lambda dot: -dot.rank)
    clouds = []
    for shade in np.unique(shades[inside & ~in_plan]).tolist():
        some = inside & ~in_plan & (shades == shade)
        clouds.append(Cloud(shade, int(some.sum()), _points(x[some], y[some])))
    return tuple(dots), tuple(clouds), int(len(candidates) - inside.sum())


def _points(x: Array, y: Array) -> str:
    """Points without length, each where it is to the nearest unit, and no place twice.

    A unit is about a pixel. From each to the next the way is short, and so is its text.
    """
    places = np.unique(np.rint(np.stack([y, x], axis=1)).astype(np.int64), axis=0)
    steps = np.diff(places, axis=0, prepend=0)
    return "".join([f"m{dx} {dy}h0" for dy, dx in steps.tolist()])


def _shades(candidates: Sequence[Spot]) -> NDArray[np.int64]:
    p = np.array([c.p_kilonova for c in candidates], dtype=np.float64)  # None: not a number
    return np.where(np.isnan(p), 0, 1 + np.searchsorted(_BINS, p, side="right"))
