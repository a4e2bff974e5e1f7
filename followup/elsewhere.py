"""Has somebody else got this observation, or will they? A pure function of what is known.

For an option (target, band, time, depth) and each record ``r`` of others,

    P(nobody else) = product over r of  1 - done_r x covers_r x band_r x when_r x deep_r

``done``: 0.9 for what is reported as completed (it may be lost, or kept), 0.5 for what is
planned (announced plans meet clouds). ``covers``: 1 inside the field, 0.5 near a pointing whose
field is not told, 0 elsewhere. ``band``: 1 for the same band, 0.4 for a neighbouring one, 0.1
for another colour, 0.5 when not told. ``when``: exp(-|dt| / 0.5 d), in which a kilonova changes.
``deep``: 1 if as deep as ours, else 10^(-0.8 x what is missing in magnitudes), the share of the
squared S/N; 0.5 when not told. The numbers are choices, not measurements; what is not known
counts between yes and no. Claims made with mmcoord are counted by themselves, spectroscopic types
of TNS by ``followup.factors.classified``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from followup.bands import EFFECTIVE_WAVELENGTH_NM, nearest_band
from followup.factors import Factor
from mmcoord.elsewhere import Elsewhere

__all__ = ["ElsewhereSettings", "Others", "others_of"]

Float = npt.NDArray[np.float64]

_SAME_PLACE_DEG = 3.0 / 3600.0
_NEIGHBOUR_DEX = 0.15
_CATALOGUES = {"treasuremap": "Treasure Map", "hermes": "Hermes", "tom": "a TOM"}


@dataclass(frozen=True, slots=True)
class ElsewhereSettings:
    """How far what others do lowers the worth of the same observation.

    Raises
    ------
    ValueError
        A value out of range.
    """

    planned: float = 0.5
    """Chance that an announced observation is made and shared."""
    completed: float = 0.9
    unknown_field_deg: float = 0.5
    """A pointing whose field is not told may cover what lies so near ..."""
    unknown_field: float = 0.5
    """... with this chance."""
    neighbour_band: float = 0.4
    """How far a neighbouring band stands in for ours."""
    other_band: float = 0.1
    unknown_band: float = 0.5
    unknown_depth: float = 0.5
    renewal_day: float = 0.5
    """e-folding time in which an observation is worth making again."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{field.name}: {value!r} is negative or not finite")
            if field.name not in ("unknown_field_deg", "renewal_day") and value > 1:
                raise ValueError(f"{field.name}: {value!r} is above 1")
        if self.renewal_day == 0:
            raise ValueError("renewal_day: 0 is not positive")


@dataclass(frozen=True, slots=True)
class Others:
    """The records that bear on one target."""

    records: tuple[Elsewhere, ...]
    covers: tuple[float, ...]
    """Chance that each has the target in its field."""
    settings: ElsewhereSettings

    def nobody_else(self, band: str, mjd_tai: npt.ArrayLike, depth_mag: npt.ArrayLike) -> Float:
        """P(nobody else has got or will get it), of the shape of ``mjd_tai`` and ``depth_mag``."""
        times, depths = np.broadcast_arrays(
            np.asarray(mjd_tai, np.float64), np.asarray(depth_mag, np.float64)
        )
        left = np.ones(times.shape)
        for number in range(len(self.records)):
            left *= 1.0 - self._same(number, band, times, depths)
        return left

    def factor(self, band: str, mjd_tai: float, depth_mag: float) -> Factor:
        """That chance for one observation, naming the record that matters most."""
        if not self.records:
            return Factor(None, 1.0, "nobody is known to observe it; counted as 1")
        value = float(self.nobody_else(band, mjd_tai, depth_mag))
        most = max(
            range(len(self.records)),
            key=lambda n: float(self._same(n, band, np.array(mjd_tai), np.array(depth_mag))),
        )
        told = _told(self.records[most], mjd_tai)
        more = f" and {len(self.records) - 1} more" if len(self.records) > 1 else ""
        reason = f"{told}{more}: chance that nobody else gets this one {value:.2f}"
        return Factor(value, value, reason)

    def _same(self, number: int, band: str, mjd_tai: Float, depth_mag: Float) -> Float:
        """Chance that record ``number`` makes an observation superfluous."""
        record, settings = self.records[number], self.settings
        done = settings.completed if record.status == "completed" else settings.planned
        when = np.exp(-np.abs(mjd_tai - record.obs_mjd_tai) / settings.renewal_day)
        deep: Float | float = settings.unknown_depth
        if record.depth_mag is not None:
            missing = np.maximum(0.0, depth_mag - record.depth_mag)
            deep = np.where(np.isnan(missing), settings.unknown_depth, 10.0 ** (-0.8 * missing))
        same = done * self.covers[number] * _band_share(record.band, band, settings)
        return np.asarray(same * when * deep)


def others_of(
    object_id: str,
    ra_deg: float,
    dec_deg: float,
    records: Sequence[Elsewhere],
    settings: ElsewhereSettings | None = None,
) -> Others:
    """The records that may cover a target, in an order that does not depend on theirs."""
    settings = settings or ElsewhereSettings()
    standing = sorted(
        (r for r in records if r.status != "cancelled"), key=lambda r: (r.source, r.key)
    )
    if not standing:
        return Others((), (), settings)
    apart = _separation_deg(
        ra_deg,
        dec_deg,
        np.array([r.ra_deg for r in standing]),
        np.array([r.dec_deg for r in standing]),
    )
    kept = [
        (record, chance)
        for record, distance in zip(standing, apart, strict=True)
        if (chance := _covers(record, float(distance), object_id, settings)) > 0
    ]
    return Others(tuple(r for r, _ in kept), tuple(c for _, c in kept), settings)


def _covers(
    record: Elsewhere, apart_deg: float, object_id: str, settings: ElsewhereSettings
) -> float:
    if record.object_name is not None and record.object_name == object_id:
        return 1.0
    if record.radius_deg is None:
        return settings.unknown_field if apart_deg <= settings.unknown_field_deg else 0.0
    return 1.0 if apart_deg <= max(record.radius_deg, _SAME_PLACE_DEG) else 0.0


def _band_share(theirs: str | None, ours: str, settings: ElsewhereSettings) -> float:
    if theirs is None or theirs not in EFFECTIVE_WAVELENGTH_NM:
        return settings.unknown_band
    if nearest_band(ours, [theirs]) is not None:
        return 1.0
    apart = math.log10(EFFECTIVE_WAVELENGTH_NM[theirs] / EFFECTIVE_WAVELENGTH_NM[ours])
    return settings.neighbour_band if abs(apart) <= _NEIGHBOUR_DEX else settings.other_band


def _separation_deg(ra: float, dec: float, ras: Float, decs: Float) -> Float:
    """Great-circle distance by the haversine formula."""
    lat, lats = math.radians(dec), np.radians(decs)
    half_lon = np.radians(ras - ra) / 2
    h = np.sin((lats - lat) / 2) ** 2 + math.cos(lat) * np.cos(lats) * np.sin(half_lon) ** 2
    return np.asarray(np.degrees(2 * np.arcsin(np.sqrt(np.clip(h, 0.0, 1.0)))))


def _told(record: Elsewhere, mjd_tai: float) -> str:
    hours = 24.0 * (record.obs_mjd_tai - mjd_tai)
    when = f"{abs(hours):.1f} h {'later' if hours > 0 else 'earlier'}"
    does = "has observed" if record.status == "completed" else "plans to observe"
    band = f" in {record.band}" if record.band else ""
    where = _CATALOGUES.get(record.source, record.source)
    return f"{record.who} {does} it{band} {when} ({where})"
