"""A light curve as a drawing: photometry, limits, and the inference's posterior. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from mmcoord.store.views_log import Point

__all__ = ["Band", "LightCurve", "Mark", "Tick", "draw", "wavelength_order"]

_WIDTH, _HEIGHT = 640.0, 420.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 628.0, 14.0, 376.0
_ORDER = "ubgvrizyjhk"
"""Filters by wavelength; the last letter group of a band name decides its colour."""
_BEFORE_DAY, _AFTER_DAY = -3.0, 21.0
_SHOWN_AT_FIRST = 5


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick of an axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A point (with the ends of its error bar) or an upper limit."""

    x: float
    y: float
    y_bright: float
    y_faint: float
    is_limit: bool
    text: str


@dataclass(frozen=True, slots=True)
class Band:
    """One band: its marks and its posterior."""

    name: str
    colour: str
    """One of u b g v r i z y j h k, or other."""
    marks: tuple[Mark, ...]
    area: str
    """Path of the 5-95 % posterior band; empty without one."""
    median: str
    shown: bool
    """Drawn at first; the others wait for their button."""


@dataclass(frozen=True, slots=True)
class LightCurve:
    """Everything that the template draws; positions are in the view box."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_label: str
    event_x: float | None
    bands: tuple[Band, ...]
    outside: int
    """Points beyond the drawn times."""
    n_points: int
    n_limits: int


@dataclass(frozen=True, slots=True)
class _Frame:
    t0: float
    x_low: float
    x_high: float
    bright: float
    faint: float

    def x(self, mjd: float) -> float:
        share = (mjd - self.t0 - self.x_low) / (self.x_high - self.x_low)
        return _LEFT + share * (_RIGHT - _LEFT)

    def y(self, mag: float) -> float:
        return _TOP + (mag - self.bright) / (self.faint - self.bright) * (_BOTTOM - _TOP)


def draw(
    points: Sequence[Point],
    posterior: dict[str, Any] | None,
    event_mjd_tai: float | None,
    *,
    all_bands: bool = False,
) -> LightCurve | None:
    """The picture of one object; None when there is neither a point nor a posterior.

    ``posterior`` is a run's ``light_curve``: band -> mjd_tai, q05, q50, q95 (AB mag; None
    where too faint to state). Time is counted from the event, or from the first point where
    the event's time is not known.
    """
    posterior = posterior or {}
    if not points and not posterior:
        return None
    t0 = event_mjd_tai
    if t0 is None:
        t0 = min([p.obs_mjd_tai for p in points] or [min(c["mjd_tai"]) for c in posterior.values()])
    frame = _frame(points, posterior, t0)
    inside = [p for p in points if frame.x_low <= p.obs_mjd_tai - t0 <= frame.x_high]
    per_band: dict[str, list[Point]] = defaultdict(list)
    for point in inside:
        per_band[point.band].append(point)
    names = sorted({*per_band, *posterior}, key=wavelength_order)
    shown = set(names) if all_bands else _first_shown(per_band, names)
    return LightCurve(
        _WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM,
        x_ticks=tuple(
            Tick(frame.x(t0 + value), text) for value, text in _ticks(frame.x_low, frame.x_high)
        ),
        y_ticks=tuple(
            Tick(frame.y(value), text) for value, text in _ticks(frame.bright, frame.faint)
        ),
        x_label="days since the event" if event_mjd_tai is not None else "days since first point",
        event_x=frame.x(t0) if event_mjd_tai is not None else None,
        bands=tuple(
            _band(name, per_band.get(name, []), posterior.get(name), frame, name in shown)
            for name in names
        ),
        outside=len(points) - len(inside),
        n_points=sum(not p.is_limit for p in points),
        n_limits=sum(p.is_limit for p in points),
    )  # fmt: skip


def wavelength_order(band: str) -> tuple[int, str]:
    """Sorts bands from blue to red, systems by name within a filter."""
    letter = _letter(band)
    return (_ORDER.index(letter) if letter in _ORDER else len(_ORDER), band)


def _letter(band: str) -> str:
    name = band.rpartition(":")[2]
    return "k" if name == "ks" else name if name in tuple(_ORDER) else "other"


def _first_shown(per_band: dict[str, list[Point]], names: Sequence[str]) -> set[str]:
    """Per filter the band with most detections, and of those the best sampled few."""

    def weight(name: str) -> tuple[int, int]:
        found = per_band.get(name, [])
        return (sum(not p.is_limit for p in found), len(found))

    best = [
        max(group, key=weight) for _, group in groupby(names, key=lambda n: wavelength_order(n)[0])
    ]
    observed = [name for name in best if per_band.get(name)]
    chosen = sorted(observed or best, key=lambda n: (-weight(n)[0], -weight(n)[1]))
    return set(chosen[:_SHOWN_AT_FIRST])


def _frame(points: Sequence[Point], posterior: dict[str, Any], t0: float) -> _Frame:
    times = [p.obs_mjd_tai - t0 for p in points if _BEFORE_DAY <= p.obs_mjd_tai - t0 <= _AFTER_DAY]
    low = min([-0.5, *times])
    high = max([*(t + 2.0 for t in times), 7.0])
    high = min(high, _AFTER_DAY)
    seen = [p for p in points if low <= p.obs_mjd_tai - t0 <= high]
    mags = [m for p in seen for m in ((p.mag_ab,) if p.is_limit else _ends(p))]
    curves = [
        m
        for curve in posterior.values()
        for t, m in zip(curve["mjd_tai"], curve["q50"], strict=True)
        if m is not None and low <= t - t0 <= high
    ]
    everything = mags or curves or [20.0]
    bright = min(everything)
    faint = max(mags) + 0.3 if mags else min(max(curves or [22.0]), bright + 6.0)
    pad = max(0.08 * (faint - bright), 0.3)
    return _Frame(t0, low - 0.02 * (high - low), high, bright - pad, faint + pad)


def _ends(point: Point) -> tuple[float, float]:
    error = min(point.mag_err or 0.0, 1.0)
    return point.mag_ab - error, point.mag_ab + error


def _band(
    name: str, points: Iterable[Point], curve: dict[str, Any] | None, frame: _Frame, shown: bool
) -> Band:
    marks = []
    for point in points:
        bright, faint = _ends(point)
        since = point.obs_mjd_tai - frame.t0
        value = (
            f"> {point.mag_ab:.2f} mag (limit)"
            if point.is_limit
            else f"{point.mag_ab:.2f} ± {point.mag_err or 0.0:.2f} mag"
        )
        marks.append(
            Mark(
                round(frame.x(point.obs_mjd_tai), 1),
                round(frame.y(point.mag_ab), 1),
                round(frame.y(bright), 1),
                round(frame.y(faint), 1),
                point.is_limit,
                f"{name} {value} at {since:+.2f} d",
            )
        )
    area, median = _posterior(curve, frame) if curve else ("", "")
    return Band(name, _letter(name), tuple(marks), area, median, shown)


def _posterior(curve: dict[str, Any], frame: _Frame) -> tuple[str, str]:
    """Paths of the 5-95 % band and the median; broken where the model is too faint to state."""
    rows = list(zip(curve["mjd_tai"], curve["q05"], curve["q50"], curve["q95"], strict=True))
    areas, medians = [], []
    for known, group in groupby(rows, key=lambda row: row[1] is not None):
        run = list(group)
        if not known or len(run) < 2:
            continue
        # Magnitudes: q05 is the bright edge; a faint edge too faint to state leaves the frame.
        floor = frame.faint + 5.0
        bright = [(frame.x(t), frame.y(q05)) for t, q05, _, _ in run]
        dim = [(frame.x(t), frame.y(q95 if q95 is not None else floor)) for t, _, _, q95 in run]
        areas.append(_path([*bright, *dim[::-1]]) + "Z")
        middle = [(frame.x(t), frame.y(q50)) for t, _, q50, _ in run if q50 is not None]
        if len(middle) > 1:
            medians.append(_path(middle))
    return " ".join(areas), " ".join(medians)


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    span = high - low
    step = next(s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 1e9) if span / s <= 8)
    places = 1 if step < 1 else 0
    return [
        (k * step, f"{k * step:.{places}f}")
        for k in range(math.ceil(low / step), math.floor(high / step) + 1)
    ]
