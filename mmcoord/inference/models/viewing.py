"""What an observer sees of polar cones in a sphere (Darbha & Kasen 2020, ApJ 897, 150).

Ejecta poor in lanthanides fill two cones about the axis, the rest lies outside of them. The area
that each shows towards the observer scales its early light.
"""

from __future__ import annotations

import numpy as np

from mmcoord.inference.models.base import Array

__all__ = ["REFERENCE_COS_VIEW", "aspects", "polar_area"]

REFERENCE_COS_VIEW = 0.5
"""Viewing angle at which the visible area is taken as the average one."""


def polar_area(cos_view: Array, cos_open: Array, *, ellipse_power: int = 2) -> Array:
    """Projected area of both caps of a unit sphere, of pi.

    The rim of a cap is a circle of radius sin(open), seen as an ellipse with half axes sin(open)
    and sin(open) cos(view); beyond it the sphere's limb cuts off circular segments.

    Parameters
    ----------
    cos_view : (n,) in [0, 1]
        Cosine of the angle between axis and observer.
    cos_open : (n,) in (0, 1)
        Cosine of half the opening angle of each cone.
    ellipse_power : int
        Power of sin(open) in the area of the ellipse. Geometry says 2; MOSFiT has 1.
    """
    mu, c = np.broadcast_arrays(np.abs(cos_view), cos_open)
    s = np.sqrt(1.0 - c**2)
    across = np.sqrt(np.maximum(1.0 - mu**2, 1e-30))
    ellipse = s**ellipse_power * mu
    cos_p = np.minimum(c / across, 1.0)
    sin_p = np.sqrt(1.0 - cos_p**2)
    limb = np.arccos(cos_p) - sin_p * cos_p
    d = np.arctan2(sin_p * across, c * mu)
    beyond = ellipse * (d - np.sin(d) * np.cos(d))
    whole = mu > s
    near = np.where(whole, np.pi * ellipse, limb + np.pi * ellipse - beyond)
    far = np.where(whole, 0.0, np.maximum(limb - beyond, 0.0))
    return np.asarray(near + far)


def aspects(cos_view: Array, cos_open: Array) -> tuple[Array, Array]:
    """(n,) visible area over the reference's: of the cones, and of what lies outside them."""
    polar = polar_area(cos_view, cos_open)
    reference = polar_area(np.full_like(polar, REFERENCE_COS_VIEW), cos_open)
    return polar / reference, (np.pi - polar) / (np.pi - reference)
