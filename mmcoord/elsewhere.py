"""What others observe: one record for pointings, photometry and requests of other groups."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from mmcoord.errors import BadNotice

__all__ = ["Elsewhere", "ElsewhereStatus"]

ElsewhereStatus = Literal["planned", "completed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An observation that somebody else has made, means to make or has given up.

    Raises
    ------
    BadNotice
        A position, time, radius or depth that is impossible.
    """

    source: str
    """``treasuremap``, ``hermes``, ``tom``."""
    key: str
    """Identity within the source: a newer record under it replaces the older one."""
    who: str
    """Group, telescope or submitter, as told; for people."""
    status: ElsewhereStatus
    obs_mjd_tai: float
    ra_deg: float
    dec_deg: float
    band: str | None = None
    """Canonical name; None: not told, or so broad that it is none."""
    depth_mag: float | None = None
    """5-sigma depth or, of a measurement, the magnitude seen; AB."""
    radius_deg: float | None = None
    """Of the field about the position; 0: one object; None: not told."""
    object_name: str | None = None
    """Of what was looked at, where one object was."""

    def __post_init__(self) -> None:
        if not self.source or not self.key or len(self.key) > 256:
            raise BadNotice(f"{self.key[:40]!r} is no identifier", where="id")
        if not 0.0 <= self.ra_deg < 360.0:  # false for NaN too
            raise BadNotice(f"{self.ra_deg!r} is not in [0, 360) deg", where="ra")
        if not -90.0 <= self.dec_deg <= 90.0:
            raise BadNotice(f"{self.dec_deg!r} is not in [-90, 90] deg", where="dec")
        if not 0.0 <= self.obs_mjd_tai < 100_000.0:
            raise BadNotice(f"{self.obs_mjd_tai!r} is no MJD of an observation", where="time")
        if self.radius_deg is not None and not 0.0 <= self.radius_deg <= 90.0:
            raise BadNotice(f"{self.radius_deg!r} deg is no radius", where="radius")
        if self.depth_mag is not None and not math.isfinite(self.depth_mag):
            raise BadNotice(f"{self.depth_mag!r} is no depth", where="depth")
