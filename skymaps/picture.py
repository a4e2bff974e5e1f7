"""Pictures of a map with candidates on it, as PNG: the whole sky, and a zoom.

Uses matplotlib (extra ``pictures``), through figures of its own and without ``pyplot``, so
that any thread may draw.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skymaps.credible import credible_area_deg2
from skymaps.crossmatch import match, prepare
from skymaps.distance import distance_summary
from skymaps.healpix import pixel_center, to_xyz
from skymaps.regions import credible_region_polygons, region_tiles
from skymaps.skymap import MAX_ORDER, FloatArray, SkyMap, SkyMapError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["sky_picture"]

Candidate = tuple[str, float, float]
"""Name, right ascension, declination (deg)."""
_ORANGE = "#d95f02"
_LABEL: dict[str, Any] = {"xytext": (6, 4), "textcoords": "offset points"}
_LINES = {0.5: "-", 0.9: "--"}


def sky_picture(
    skymap: SkyMap,
    candidates: Sequence[Candidate] = (),
    *,
    title: str = "",
    zoom: tuple[float, float, float] | None = None,
    dpi: int = 120,
) -> bytes:
    """PNG with the whole sky to the left (Mollweide) and a zoom to the right (gnomonic).

    Contours enclose 50 % (full line) and 90 % (dashed). East is to the left.

    Parameters
    ----------
    zoom
        (ra, dec, width) of the zoom in deg; by default the part of the 90 % region around
        the densest tile.

    Raises
    ------
    SkyMapError
        matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SkyMapError("pictures need matplotlib (extra: pictures)") from error
    figure = Figure(figsize=(12.0, 4.8), dpi=dpi, layout="constrained")
    grid = figure.add_gridspec(1, 2, width_ratios=(1.7, 1.0))
    rings = {level: credible_region_polygons(skymap, level) for level in _LINES}
    whole = figure.add_subplot(grid[0], projection="mollweide")
    _draw_whole(whole, skymap, rings, candidates)
    detail = figure.add_subplot(grid[1])
    _draw_zoom(detail, skymap, rings, candidates, zoom or _default_zoom(skymap))
    figure.suptitle(_caption(skymap, title), fontsize=11)
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": "skymaps"})
    return png.getvalue()


def _caption(skymap: SkyMap, title: str) -> str:
    areas = [
        f"{100 * level:.0f}%: {credible_area_deg2(skymap, level):,.1f} deg²" for level in _LINES
    ]
    text = "   ".join([title or str(skymap.header.get("OBJECT", "")), *areas])
    if skymap.has_distance.any():
        mean, std = distance_summary(skymap)
        text += f"   {mean:.0f} ± {std:.0f} Mpc"
    return text.strip()


def _draw_whole(
    axes: Axes,
    skymap: SkyMap,
    rings: dict[float, list[FloatArray]],
    candidates: Sequence[Candidate],
) -> None:
    # The sky seen from inside: right ascension grows to the left, 180 deg in the middle.
    x = np.linspace(-np.pi, np.pi, 721)
    y = np.linspace(-np.pi / 2, np.pi / 2, 361)
    mid_x, mid_y = 0.5 * (x[1:] + x[:-1]), 0.5 * (y[1:] + y[:-1])
    ra, dec = np.meshgrid(180.0 - np.degrees(mid_x), np.degrees(mid_y))
    density = match(prepare(skymap), ra.ravel(), dec.ravel()).prob_density_sr.reshape(ra.shape)
    axes.pcolormesh(x, y, density, cmap="Blues", rasterized=True)
    for level, style in _LINES.items():
        for ring in rings[level]:
            _plot_broken(axes, np.radians(180.0 - ring[:, 0]), np.radians(ring[:, 1]), style)
    for name, a, d in candidates:
        axes.plot(np.radians(180.0 - a % 360.0), np.radians(d), "*", color=_ORANGE, ms=9)
        axes.annotate(name, (np.radians(180.0 - a % 360.0), np.radians(d)), fontsize=7, **_LABEL)
    axes.grid(alpha=0.3)
    axes.set_xticks(np.radians([-120, -60, 0, 60, 120]), ["20h", "16h", "12h", "8h", "4h"])


def _plot_broken(axes: Axes, x: FloatArray, y: FloatArray, style: str) -> None:
    """A closed line, broken where it jumps from one edge of the sky to the other."""
    x, y = np.append(x, x[0]), np.append(y, y[0])
    jump = np.flatnonzero(np.abs(np.diff(x)) > np.pi) + 1
    x, y = np.insert(x, jump, np.nan), np.insert(y, jump, np.nan)
    axes.plot(x, y, style, color="black", lw=0.7)


def _default_zoom(skymap: SkyMap) -> tuple[float, float, float]:
    """Around the densest tile, wide enough for what of the 90 % region is near it."""
    tiles = region_tiles(skymap, 0.9)
    order = skymap.order[tiles].astype(np.int64)
    ra, dec = pixel_center(order, skymap.start[tiles] >> (2 * (MAX_ORDER - order)))
    peak = int(np.argmax(skymap.density_sr[tiles]))
    cosine = to_xyz(ra, dec) @ to_xyz(ra[peak], dec[peak])
    apart = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    near = apart[apart < 30.0]
    weight = skymap.probability[tiles][apart < 30.0]
    by_distance = np.argsort(near)
    reach = np.interp(0.99 * weight.sum(), np.cumsum(weight[by_distance]), near[by_distance])
    tile_deg = np.degrees(2.0 ** -float(order[peak]))
    return float(ra[peak]), float(dec[peak]), float(min(2.6 * reach + 4.0 * tile_deg, 60.0))


def _draw_zoom(
    axes: Axes,
    skymap: SkyMap,
    rings: dict[float, list[FloatArray]],
    candidates: Sequence[Candidate],
    zoom: tuple[float, float, float],
) -> None:
    ra0, dec0, width = zoom
    half = np.tan(np.radians(0.5 * width))
    side = np.linspace(-half, half, 401)
    mid = 0.5 * (side[1:] + side[:-1])
    ra, dec = _from_plane(*np.meshgrid(-mid, mid), ra0, dec0)
    density = match(prepare(skymap), ra.ravel(), dec.ravel()).prob_density_sr.reshape(ra.shape)
    scale = np.degrees(1.0)
    axes.pcolormesh(side * scale, side * scale, density, cmap="Blues", rasterized=True)
    for level, style in _LINES.items():
        for ring in rings[level]:
            x, y = _to_plane(np.vstack([ring, ring[:1]]), ra0, dec0)
            axes.plot(-x * scale, y * scale, style, color="black", lw=0.9)
    for name, a, d in candidates:
        x, y = _to_plane(np.array([[a, d]]), ra0, dec0)
        if abs(x[0]) < half and abs(y[0]) < half:
            axes.plot(-x * scale, y * scale, "*", color=_ORANGE, ms=11)
            axes.annotate(name, (-x[0] * scale, y[0] * scale), fontsize=8, **_LABEL)
    limit = half * scale
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    axes.set_xlabel(f"west of {ra0:.2f}° [deg]   (east is left)")
    axes.set_ylabel(f"north of {dec0:+.2f}° [deg]")


def _basis(ra_deg: float, dec_deg: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    centre = to_xyz(ra_deg, dec_deg)
    ra = np.radians(ra_deg)
    east = np.array([-np.sin(ra), np.cos(ra), 0.0])
    return centre, east, np.cross(centre, east)


def _to_plane(points: FloatArray, ra0: float, dec0: float) -> tuple[FloatArray, FloatArray]:
    """Gnomonic projection (east, north); NaN for what is behind."""
    centre, east, north = _basis(ra0, dec0)
    xyz = to_xyz(points[:, 0], points[:, 1])
    depth = xyz @ centre
    depth = np.where(depth > 0.2, depth, np.nan)
    return xyz @ east / depth, xyz @ north / depth


def _from_plane(x: FloatArray, y: FloatArray, ra0: float, dec0: float) -> tuple[Any, Any]:
    centre, east, north = _basis(ra0, dec0)
    xyz = centre + x[..., None] * east + y[..., None] * north
    xyz /= np.linalg.norm(xyz, axis=-1, keepdims=True)
    return np.degrees(np.arctan2(xyz[..., 1], xyz[..., 0])) % 360.0, np.degrees(
        np.arcsin(np.clip(xyz[..., 2], -1.0, 1.0))
    )
