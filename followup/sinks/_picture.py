"""Pictures for services that show them: a light curve, a map. Needs the extra ``pictures``."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

__all__ = ["light_curve_png", "sky_png"]


def light_curve_png(
    event_id: str, object_id: str, points: Sequence[Mapping[str, Any]]
) -> tuple[str, bytes]:
    """(name, PNG) of the photometry of a TOM payload; equal points give an equal name."""
    figure, axes = _figure((6.0, 4.0))
    bands = sorted({point["value"]["bandpass"] for point in points})
    for number, band in enumerate(bands):
        colour = f"C{number % 10}"
        for point in points:
            value = point["value"]
            if value["bandpass"] != band:
                continue
            at = datetime.fromisoformat(point["timestamp"])
            if "limit" in value:
                axes.plot(at, value["limit"], "v", color=colour, mfc="none")
            else:
                error = value["brightness_error"]
                axes.errorbar(at, value["brightness"], error, fmt="o", color=colour)
        axes.plot([], [], "o", color=colour, label=band)
    axes.invert_yaxis()
    axes.set_ylabel("AB magnitude")
    axes.set_title(f"{object_id} ({event_id})")
    axes.legend(loc="best", fontsize="small")
    figure.autofmt_xdate()
    digest = hashlib.sha256(json.dumps(list(points), sort_keys=True).encode()).hexdigest()
    return f"mmcoord-{event_id}-{object_id}-{digest[:12]}", _png(figure)


def sky_png(
    title: str,
    outlines: Mapping[str, Sequence[Sequence[Sequence[float]]]],
    places: Sequence[tuple[float, float]],
) -> bytes:
    """PNG of the sky: outlines of the map's regions and the best targets.

    Parameters
    ----------
    outlines : mapping
        Level (``0.5``, ``0.9``) -> rings of [ra_deg, dec_deg].
    places : sequence of (float, float)
        RA and Dec of the targets in deg, the best first; the first ten are numbered.
    """
    import numpy as np

    figure, axes = _figure((8.0, 4.5), projection="mollweide")
    for level, rings in outlines.items():
        for ring in rings:
            x, y = _mollweide(np.asarray(ring, dtype=float).reshape(-1, 2))
            jump = np.abs(np.diff(x, append=x[:1])) > np.pi
            x = np.where(jump, np.nan, x)  # an outline over the edge is broken there
            axes.plot(x, y, "-", color="C0", lw=1.0 if level == "0.9" else 1.6)
    if places:
        x, y = _mollweide(np.asarray(places, dtype=float))
        axes.plot(x, y, "x", color="C3", ms=5)
        for rank, (one, other) in enumerate(zip(x[:10], y[:10], strict=True), start=1):
            axes.annotate(str(rank), (one, other), fontsize=7)
    axes.grid(alpha=0.3)
    axes.set_title(title, fontsize=10)
    return _png(figure)


def _mollweide(places: Any) -> tuple[Any, Any]:
    """RA and Dec in deg -> the projection's angles in rad, east to the left."""
    import numpy as np

    ra = np.radians((places[:, 0] + 180.0) % 360.0 - 180.0)
    return -ra, np.radians(places[:, 1])


def _figure(size_inch: tuple[float, float], **axes: Any) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_inch, layout="constrained")
    return figure, figure.add_subplot(**axes)


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return stream.getvalue()
