"""The cones that are asked of a TOM cover the circle that is meant, poles and 0 h included."""

from __future__ import annotations

import math

import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from hypothesis import example, given
from hypothesis import strategies as st

from followup.sinks._tom_rest import _cones, separation_arcsec


def _tom_finds(cone: str, ra: float, dec: float) -> bool:
    """What a TOM 3.1 does: a square without cos(dec) or wrap, then the arc cosine."""
    ra0, dec0, radius = (float(part) for part in cone.split(","))
    if abs(ra - ra0) > 2 * radius or abs(dec - dec0) > 2 * radius:
        return False
    cosine = math.sin(math.radians(dec0)) * math.sin(math.radians(dec)) + math.cos(
        math.radians(dec0)
    ) * math.cos(math.radians(dec)) * math.cos(math.radians(ra0) - math.radians(ra))
    if cosine > 1.0:
        return False
    return math.degrees(math.acos(cosine)) <= radius


@given(
    ra=st.floats(0.0, 360.0, exclude_max=True),
    dec=st.one_of(st.floats(-90.0, 90.0), st.floats(89.99, 90.0), st.floats(-90.0, -89.99)),
    radius=st.floats(0.1, 60.0),
    share=st.floats(0.0, 1.0),
    angle=st.floats(0.0, 360.0),
)
@example(ra=0.00001, dec=0.0, radius=1.0, share=1.0, angle=270.0)
@example(ra=359.99999, dec=0.0, radius=1.0, share=1.0, angle=90.0)
@example(ra=2.63, dec=9.6301, radius=1.0, share=0.0, angle=0.0)  # cosine just above 1
@example(ra=10.0, dec=90.0, radius=60.0, share=1.0, angle=180.0)
def test_a_target_within_the_radius_is_found(
    ra: float, dec: float, radius: float, share: float, angle: float
) -> None:
    centre = SkyCoord(ra, dec, unit="deg")
    place = centre.directional_offset_by(angle * units.deg, share * radius * units.arcsec)
    there = (float(place.ra.wrap_at("360d").deg) % 360.0, float(place.dec.deg))
    assert any(_tom_finds(cone, *there) for cone in _cones(ra, dec, radius / 3600.0))
    # and our own check afterwards does not lose it (astropy as the oracle)
    ours = separation_arcsec(ra, dec, *there)
    assert ours == pytest.approx(centre.separation(place).arcsec, abs=1e-4)


@given(ra=st.floats(0.0, 359.9), dec=st.floats(-80.0, 80.0))
def test_away_from_the_poles_few_strangers_are_asked_for(ra: float, dec: float) -> None:
    cones = _cones(ra, dec, 1.0 / 3600.0)
    assert len(cones) <= 2
    assert all(float(cone.split(",")[2]) * 3600.0 <= 10.0 for cone in cones)
