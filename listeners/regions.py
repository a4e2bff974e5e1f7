"""Localizations that come as numbers instead of a map: circles, ellipses, boxes.

Fields as in core/Localization of GCN's unified schema. Two rules are ours: an error radius of
zero stands for 0.05 deg (IceCube sends it for "small"), and one of half the sky or more is no
position at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from listeners.fields import finite
from mmcoord.errors import BadNotice
from mmcoord.records import ErrorRegion

__all__ = ["enclosing_circle", "error_region", "pointing"]

_DEFAULT_CONTAINMENT = 0.9  # core/Localization.schema.json
_ZERO_RADIUS_DEG = 0.05
_NO_POSITION_DEG = 180.0


def error_region(notice: Mapping[str, Any]) -> ErrorRegion | None:
    """The localization of the schema's core: a position with a circle or an ellipse.

    None without a position or without an error, and for the whole sky: SNEWS and others
    send 0, 0 with a radius of 360 deg for "not known".

    Raises
    ------
    BadNotice
        Values that are no position, axis or probability.
    """
    if notice.get("ra") is None or notice.get("dec") is None or notice.get("ra_dec_error") is None:
        return None
    axes = notice["ra_dec_error"]
    values = axes if isinstance(axes, list) else [axes]
    if not 1 <= len(values) <= 3:
        raise BadNotice(f"{len(values)} values, one to three are needed", where="ra_dec_error")
    numbers = [finite(value, "ra_dec_error") for value in values]
    first, second = numbers[0], numbers[1] if len(numbers) > 1 else numbers[0]
    angle = numbers[2] if len(numbers) > 2 else 0.0
    if min(first, second) < 0:
        raise BadNotice(f"a radius of {min(first, second)} deg", where="ra_dec_error")
    if max(first, second) >= _NO_POSITION_DEG:
        return None
    containment = notice.get("containment_probability")
    right_ascension = finite(notice["ra"], "ra")
    return ErrorRegion(
        ra_deg=0.0 if right_ascension == 360.0 else right_ascension,
        dec_deg=finite(notice["dec"], "dec"),
        semi_major_deg=max(first, second) or _ZERO_RADIUS_DEG,
        semi_minor_deg=min(first, second) or max(first, second) or _ZERO_RADIUS_DEG,
        position_angle_deg=(angle if first >= second else angle + 90.0) % 180.0,
        containment=(
            _DEFAULT_CONTAINMENT
            if containment is None
            else finite(containment, "containment_probability")
        ),
    )


def enclosing_circle(notice: Mapping[str, Any]) -> ErrorRegion | None:
    """The circle about MAXI's error box (``rectangular_error_corners``), too large rather than
    too small; None without one.

    Raises
    ------
    BadNotice
        Corners that are no positions.
    """
    corners = notice.get("rectangular_error_corners")
    if not isinstance(corners, list) or notice.get("ra") is None or notice.get("dec") is None:
        return None
    where = "rectangular_error_corners"
    if not 3 <= len(corners) <= 100 or not all(
        isinstance(c, list) and len(c) == 2 for c in corners
    ):
        raise BadNotice("a list of positions is needed", where=where)
    centre = (finite(notice["ra"], "ra"), finite(notice["dec"], "dec"))
    radius = max(
        _separation_deg(centre, (finite(c[0], where), finite(c[1], where))) for c in corners
    )
    return error_region({**notice, "ra_dec_error": radius})


def _separation_deg(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Angle between two positions (haversine)."""
    ra, dec = (math.radians(b - a) for a, b in zip(one, other, strict=True))
    cosines = math.cos(math.radians(one[1])) * math.cos(math.radians(other[1]))
    chord = math.sin(dec / 2) ** 2 + cosines * math.sin(ra / 2) ** 2
    return math.degrees(2 * math.asin(math.sqrt(min(max(chord, 0.0), 1.0))))


def pointing(region: ErrorRegion) -> dict[str, float]:
    """The circle of an instrument that enters a joint localization, for ``Alert.extra``.

    Beside the alert's own map, because that one has lost where it came from.
    """
    return {
        "ra_deg": region.ra_deg,
        "dec_deg": region.dec_deg,
        "radius_deg": region.semi_major_deg,
        "containment": region.containment,
    }
